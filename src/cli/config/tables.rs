//! Reads the tables of a file.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::draft::{Draft, ListenerDraft, SiteDraft};
use super::keys::{Table, of_flag};
use super::problem::{Problem, quoted};
use super::protocol::ListenerProtocol;
use super::reader::{Node, Reader, is_empty};
use super::setting::{Settings, Sourced};
use crate::cli::value::LogName;
use crate::http::site::hosts::HostPattern;

/// How many sites, hosts and listeners a configuration may have.
pub(super) const SITES_MAX: usize = 10_000;
pub(super) const HOSTS_MAX: usize = 50_000;
pub(super) const LISTENERS_MAX: usize = 64;

/// How long the name of a site or of a listener may be.
const NAME_BYTES_MAX: usize = 256;

/// The options that are paths, of the process and of a site.
pub(super) const SERVER_PATHS: [&str; 2] = ["tls-client-ca", "tls-key-log"];
pub(super) const SITE_PATHS: [&str; 3] = ["tls-cert", "tls-key", "users"];

/// Paths in a file are relative to its directory. One that is not UTF-8 fits into no text; then
/// they are relative to the current directory.
fn join_paths(flags: &[&str], directory: &Path, settings: &mut Settings) {
    for flag in flags {
        settings
            .replace_texts(of_flag(flag), |text| Some(directory.join(text).to_str()?.to_owned()));
    }
}

impl Reader<'_> {
    /// Reads a whole file. Returns the globs of the files that it includes.
    pub(super) fn top(
        &mut self,
        table: &DeTable<'_>,
        directory: &Path,
        draft: &mut Draft,
    ) -> Vec<Sourced<String>> {
        let mut included = Vec::new();
        for (name, node) in table {
            let span = name.span();
            match &**name.get_ref() {
                "server" => self.one(Table::Server, node, |reader, table| {
                    for (name, node) in table {
                        let name = (&**name.get_ref(), name.span());
                        reader.option(Table::Server, name, node, &mut draft.server);
                    }
                    join_paths(&SERVER_PATHS, directory, &mut draft.server);
                }),
                "site-defaults" => self.one(Table::Defaults, node, |reader, table| {
                    for (name, node) in table {
                        let name = (&**name.get_ref(), name.span());
                        if !reader.path_rule_key(name.0, node, &mut draft.default_rules) {
                            reader.option(Table::Defaults, name, node, &mut draft.defaults);
                        }
                    }
                    join_paths(&SITE_PATHS, directory, &mut draft.defaults);
                }),
                "admin" => self.one(Table::Admin, node, |reader, table| {
                    reader.process_options(Table::Admin, table, directory, &mut draft.server);
                }),
                "log" => self.one(Table::Log, node, |reader, table| {
                    reader.process_options(Table::Log, table, directory, &mut draft.server);
                }),
                "listen" => self.many(Table::Listen, node, |reader, node, table| {
                    let listener = reader.listener(node, table);
                    draft.listeners.push(listener);
                }),
                "site" => self.sites(node, directory, draft),
                "include" => included.extend(self.texts("include", node).into_iter().flatten()),
                other => self.complain_of_key(Table::Top, span, other),
            }
        }
        included
    }

    /// Reads a file that another one includes: it has sites alone.
    pub(super) fn included(&mut self, table: &DeTable<'_>, directory: &Path, draft: &mut Draft) {
        for (name, node) in table {
            match &**name.get_ref() {
                "site" => self.sites(node, directory, draft),
                other if Table::Top.names().any(|name| name == other) => {
                    let title = format!("`{other}` in an included file");
                    let remedy = "an included file holds [[site]] tables alone; move this into the \
                                  file of -c";
                    self.complain(name.span(), title, remedy);
                }
                other => self.complain_of_key(Table::Top, name.span(), other),
            }
        }
    }

    /// A table that occurs once.
    fn one(&mut self, table: Table, node: &Node<'_>, read: impl FnOnce(&mut Self, &DeTable<'_>)) {
        match node.get_ref() {
            DeValue::Table(content) => read(self, content),
            _ => {
                let title = format!("{} occurs once, and is a table", table.heading());
                self.complain(node.span(), title, format!("write {}", table.heading()));
            }
        }
    }

    /// Tables that occur several times.
    pub(super) fn many(
        &mut self,
        table: Table,
        node: &Node<'_>,
        mut read: impl FnMut(&mut Self, &Node<'_>, &DeTable<'_>),
    ) {
        let heading = table.heading();
        let DeValue::Array(nodes) = node.get_ref() else {
            let text = self.sources.text(self.file);
            let is_part = text.get(node.span().end..).is_some_and(|rest| rest.starts_with('.'));
            let (title, remedy) = if is_part {
                (format!("there is no {heading} before it"), format!("begin one with {heading}"))
            } else {
                let remedy = format!("write {heading} with two brackets");
                (format!("there may be several {heading}"), remedy)
            };
            self.complain(node.span(), title, remedy);
            return;
        };
        for node in nodes {
            match node.get_ref() {
                DeValue::Table(content) => read(self, node, content),
                _ => self.complain_of_type(heading, node, &format!("{heading} and its keys below")),
            }
        }
    }

    fn sites(&mut self, node: &Node<'_>, directory: &Path, draft: &mut Draft) {
        self.many(Table::Site, node, |reader, node, table| {
            let site = reader.site(node, table, directory);
            draft.sites.push(site);
        });
    }

    fn site(&mut self, node: &Node<'_>, table: &DeTable<'_>, directory: &Path) -> SiteDraft {
        let mut site = SiteDraft { place: Some(self.place(node.span())), ..SiteDraft::default() };
        for (name, node) in table {
            match &**name.get_ref() {
                "name" => site.name = self.name(node),
                "hosts" => site.hosts = self.hosts(node),
                "default" => site.is_default = self.switch("default", node),
                "listen" => {
                    site.listen = self.texts("listen", node);
                    if is_empty(node) {
                        let remedy = "name a [[listen]], or leave `listen` out for all";
                        self.complain(node.span(), "no client reaches this site", remedy);
                    }
                }
                "root" => {
                    let path = self.text("root", node);
                    if path.as_ref().is_some_and(|path| path.value.is_empty()) {
                        self.complain(node.span(), "`root` is empty", "name a directory");
                    }
                    site.root = path.map(|Sourced { value, origin }| Sourced {
                        value: directory.join(value),
                        origin,
                    });
                }
                "fallback-root" => {
                    site.fallback_root = self.fallback_root(node, directory).map(Box::new);
                }
                other if self.path_rule_key(other, node, &mut site.path_rules) => {}
                other => {
                    let name = (other, name.span());
                    self.option(Table::Site, name, node, &mut site.settings);
                }
            }
        }
        join_paths(&SITE_PATHS, directory, &mut site.settings);
        // A line with a syntax error may be what seems to be missing.
        let hosts = table.get("hosts").is_some_and(|node| !is_empty(node));
        site.has_hosts = self.has_syntax_errors || hosts;
        site.has_root = self.has_syntax_errors || table.contains_key("root");
        site
    }

    /// The name of a site or of a listener.
    fn name(&mut self, node: &Node<'_>) -> Option<Sourced<String>> {
        let name = self.text("name", node)?;
        let fits = |char: char| {
            char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | '*' | '[' | ']' | ':')
        };
        let is_short = (1..=NAME_BYTES_MAX).contains(&name.value.len());
        if is_short && name.value.chars().all(fits) {
            return Some(name);
        }
        let title = format!("`name` cannot be {}", quoted(&name.value));
        let remedy = format!(
            "a name has 1 to {NAME_BYTES_MAX} letters, digits, hyphens, underscores and dots"
        );
        self.complain(node.span(), title, remedy);
        None
    }

    fn hosts(&mut self, node: &Node<'_>) -> Vec<Sourced<HostPattern>> {
        let texts = self.texts("hosts", node).unwrap_or_default();
        let mut hosts = Vec::with_capacity(texts.len());
        for Sourced { value, origin } in texts {
            match value.parse::<HostPattern>() {
                Ok(value) => hosts.push(Sourced { value, origin }),
                Err(remedy) => {
                    let remedy = remedy.to_string();
                    let title = format!("`hosts` cannot have {}", quoted(&value));
                    self.problems.push(Problem::new(origin.place(), title, remedy));
                }
            }
        }
        hosts
    }

    fn listener(&mut self, node: &Node<'_>, table: &DeTable<'_>) -> ListenerDraft {
        let before = self.problems.len();
        let mut listener = ListenerDraft::default();
        for (name, node) in table {
            match &**name.get_ref() {
                "name" => listener.name = self.name(node),
                "address" => listener.addresses = self.texts("address", node).unwrap_or_default(),
                "protocol" => listener.protocol = self.protocol(node),
                other if self.right(other, node, &mut listener.rights) => {}
                other if self.door(other, node, &mut listener.door) => {}
                other => self.complain_of_key(Table::Listen, name.span(), other),
            }
        }
        listener.addresses.iter().for_each(|address| self.check_address(address));
        self.check_rights(&listener.addresses, &listener.rights);
        self.check_door(&listener.door, before);
        if listener.addresses.is_empty() && self.problems.len() == before {
            let remedy = "add `address`, as in address = [\"0.0.0.0:8080\"]";
            self.complain(node.span(), "a [[listen]] has no address", remedy);
        }
        listener
    }

    fn protocol(&mut self, node: &Node<'_>) -> Option<Sourced<ListenerProtocol>> {
        let Sourced { value, origin } = self.text("protocol", node)?;
        let named = ListenerProtocol::NAMED.into_iter().find(|it| it.name() == value);
        if let Some(value) = named {
            return Some(Sourced { value, origin });
        }
        let title = format!("`protocol` cannot be {}", quoted(&value));
        let names = ListenerProtocol::NAMED.map(ListenerProtocol::name).join(", ");
        self.complain(node.span(), title, format!("it must be one of {names}"));
        None
    }

    /// Reads options of the process that have a table of their own.
    fn process_options(
        &mut self,
        own: Table,
        table: &DeTable<'_>,
        directory: &Path,
        settings: &mut Settings,
    ) {
        for (name, node) in table {
            self.option(own, (&**name.get_ref(), name.span()), node, settings);
        }
        // Paths in a file are relative to its directory. One that is not UTF-8 fits into no text;
        // then they are relative to the current directory.
        let Some(directory) = directory.to_str().map(Path::new) else { return };
        let join = |path: &str| Some(directory.join(path).to_str()?.to_owned());
        if own == Table::Admin {
            settings.replace_texts(of_flag("admin"), |text| {
                let path = text.strip_prefix("unix:").filter(|path| !path.starts_with('@'))?;
                Some(format!("unix:{}", join(path)?))
            });
            return;
        }
        for flag in ["log", "error-log"] {
            let is_path = |text: &str| !LogName::WORDS.contains(&text);
            settings.replace_texts(of_flag(flag), |text| join(text).filter(|_| is_path(text)));
        }
    }
}
