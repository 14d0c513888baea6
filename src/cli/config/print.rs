//! The effective configuration as a file: every value, with a comment where it is from.

use std::fmt::Write;

use super::build::LISTEN_FLAGS;
use super::draft::{ListenerDraft, SiteDraft};
use super::keys::{KEYS, Key, Kind, Table, of_flag};
use super::options::{Config, SiteOptions};
use super::setting::{Origin, Settings, Sourced, Value};
use super::source::Sources;
use super::tables::{SERVER_PATHS, SITE_PATHS};
use super::text::toml_string;
use crate::cli::CommandError;
use crate::cli::value::LogName;
use crate::http::Status;
use crate::http::site::rewrites::{PathRule, RuleAction};

impl Config {
    /// The configuration as a file that means the same, wherever it is put.
    ///
    /// # Errors
    ///
    /// When a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, CommandError> {
        let mut printer = Printer { text: String::new(), sources: &self.written.sources };
        let server = with_absolute_paths(&self.written.server);
        printer.server(&server, &self.written.listeners);
        for table in [Table::Admin, Table::Log] {
            printer.heading(table.heading());
            for key in KEYS.iter().filter(|key| key.is_in(table)) {
                printer.option(key, &server);
            }
        }
        printer.listeners(&self.written.listeners);
        for (site, written) in self.sites.iter().zip(&self.written.sites) {
            printer.site(site, written)?;
        }
        Ok(printer.text)
    }
}

/// The same options. Relative paths in them begin at the current directory, and in a file
/// at that of the file.
fn with_absolute_paths(settings: &Settings) -> Settings {
    let absolute = |path: &str| Some(std::path::absolute(path).ok()?.to_str()?.to_owned());
    let mut settings = settings.clone();
    settings.replace_texts(of_flag("admin"), |text| {
        Some(format!("unix:{}", absolute(text.strip_prefix("unix:")?)?))
    });
    for flag in ["log", "error-log"] {
        let is_path = |text: &str| !LogName::WORDS.contains(&text);
        settings.replace_texts(of_flag(flag), |text| absolute(text).filter(|_| is_path(text)));
    }
    for flag in SERVER_PATHS.into_iter().chain(SITE_PATHS) {
        settings.replace_texts(of_flag(flag), absolute);
    }
    settings
}

fn utf8(path: &std::path::Path) -> Result<&str, CommandError> {
    path.to_str().ok_or_else(|| {
        let path = path.display();
        CommandError(format!("the path {path} is not UTF-8, so no file can hold it; rename it"))
    })
}

/// The only listener, if it has no name and no rights: it stands in `[server]`.
fn without_name(listeners: &[ListenerDraft]) -> Option<&ListenerDraft> {
    match listeners {
        [listener]
            if listener.name.is_none()
                && listener.protocol.is_none()
                && listener.rights.written().next().is_none()
                && listener.door.is_empty() =>
        {
            Some(listener)
        }
        _ => None,
    }
}

/// Whether a text may stand in a file as a number. One with leading zeros may not.
fn is_number(key: &Key, text: &str) -> bool {
    matches!(key.kind, Kind::Number | Kind::Size)
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

struct Printer<'a> {
    text: String,
    sources: &'a Sources,
}

impl Printer<'_> {
    fn heading(&mut self, heading: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.push(format_args!("{gap}{heading}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
    }

    fn line(&mut self, key: &str, value: &str, origin: &Origin) {
        let origin = self.origin(origin);
        self.push(format_args!("{key} = {value} # {origin}\n"));
    }

    fn origin(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::Flag(flag) => flag.clone(),
            Origin::File { place, variables } => {
                // A path may have any characters, and a comment ends with its line.
                let name: String = self.sources.name(place).escape_debug().collect();
                let variables = variables.iter().map(|variable| format!(", env {variable}"));
                name + &variables.collect::<String>()
            }
        }
    }

    /// A list: on one line if it has one value, otherwise one line for each with its origin.
    fn list<'v>(&mut self, key: &str, values: impl Iterator<Item = (String, &'v Origin)>) {
        let values: Vec<_> = values.collect();
        match &values[..] {
            [(value, origin)] => self.line(key, &format!("[{value}]"), origin),
            _ => {
                self.push(format_args!("{key} = [\n"));
                for (value, origin) in values {
                    let origin = self.origin(origin);
                    self.push(format_args!("    {value}, # {origin}\n"));
                }
                self.push(format_args!("]\n"));
            }
        }
    }

    fn texts(&mut self, key: &str, texts: &[Sourced<String>]) {
        self.list(key, texts.iter().map(|text| (toml_string(&text.value), &text.origin)));
    }

    fn server(&mut self, settings: &Settings, listeners: &[ListenerDraft]) {
        self.heading("[server]");
        if let Some(listener) = without_name(listeners) {
            self.texts("listen", &listener.addresses);
        }
        let is_address = |key: &Key| LISTEN_FLAGS.iter().any(|(flag, _)| *flag == key.flag);
        for key in KEYS.iter().filter(|key| key.is_in(Table::Server) && !is_address(key)) {
            self.option(key, settings);
        }
    }

    fn listeners(&mut self, listeners: &[ListenerDraft]) {
        if without_name(listeners).is_some() {
            return;
        }
        for listener in listeners {
            self.heading("[[listen]]");
            if let Some(name) = &listener.name {
                self.line("name", &toml_string(&name.value), &name.origin);
            }
            self.texts("address", &listener.addresses);
            if let Some(protocol) = &listener.protocol {
                self.line("protocol", &toml_string(protocol.value.name()), &protocol.origin);
            }
            for (key, text, origin) in listener.rights.written() {
                self.line(key, &toml_string(&text), origin);
            }
            for (key, text, origin) in listener.door.texts() {
                self.line(key, &toml_string(text), origin);
            }
            for (key, list) in listener.door.lists() {
                let list = list.iter();
                self.list(key, list.map(|it| (toml_string(&it.value.to_string()), &it.origin)));
            }
        }
    }

    fn site(&mut self, site: &SiteOptions, written: &SiteDraft) -> Result<(), CommandError> {
        self.heading("[[site]]");
        let name = written.name.as_ref().map(|name| &name.origin);
        self.line("name", &toml_string(&site.name), name.unwrap_or(&Origin::Default));
        if !written.hosts.is_empty() {
            let hosts = written.hosts.iter();
            self.list("hosts", hosts.map(|it| (toml_string(&it.value.to_string()), &it.origin)));
        }
        if let Some(is_default) = &written.is_default {
            self.line("default", &is_default.value.to_string(), &is_default.origin);
        }
        if let Some(listen) = &written.listen {
            self.texts("listen", listen);
        }
        if let Some(root) = &written.root {
            let path = site.absolute_root();
            self.line("root", &toml_string(utf8(&path)?), &root.origin);
        }
        if let (Some(fallback), Some(written)) = (&site.fallback_root, &written.fallback_root) {
            let fallback = fallback.absolute();
            let only = fallback.only.iter().map(|glob| toml_string(glob)).collect::<Vec<_>>();
            let path = toml_string(utf8(&fallback.path)?);
            let value = format!("{{ path = {path}, only = [{}] }}", only.join(", "));
            self.line("fallback-root", &value, &written.path.origin);
        }
        let settings = with_absolute_paths(&written.settings);
        for key in KEYS.iter().filter(|key| key.is_of_site) {
            self.option(key, &settings);
        }
        self.path_rules(&written.path_rules);
        Ok(())
    }

    /// Redirects and rewrites, as tables, because these have an order among each other.
    fn path_rules(&mut self, rules: &[Sourced<PathRule>]) {
        for Sourced { value: rule, origin } in rules {
            let (table, status, navigations) = match rule.action() {
                RuleAction::Redirect(status) => (Table::Redirect, status, None),
                RuleAction::Rewrite { status, navigations } => {
                    let has_it = status == Status::Ok;
                    (Table::Rewrite, status, has_it.then_some(navigations))
                }
            };
            self.heading(table.heading());
            self.line("from", &toml_string(rule.from()), origin);
            self.line("to", &toml_string(rule.to()), origin);
            self.line("status", &status.code().to_string(), origin);
            self.line("force", &rule.force().to_string(), origin);
            if let Some(navigations) = navigations {
                self.line("navigations", &navigations.to_string(), origin);
            }
        }
    }

    /// The values of an option; a comment if it has none.
    fn option(&mut self, key: &Key, settings: &Settings) {
        let written = |value: &Value| match value {
            Value::Text(text) if is_number(key, text) => text.clone(),
            Value::Text(text) => toml_string(text),
            Value::Switch(is_on) => is_on.to_string(),
            Value::Rule { written, .. } => written.clone(),
        };
        match settings.get(key) {
            [] if key.kind == Kind::Switch => {
                self.line(&key.name, &key.is_negated.to_string(), &Origin::Default);
            }
            [] => {
                let default = key.described_default().unwrap_or("not set");
                self.push(format_args!("# {}: {default} # default\n", key.name));
            }
            values if key.is_list => {
                self.list(&key.name, values.iter().map(|it| (written(&it.value), &it.origin)));
            }
            [value, ..] => self.line(&key.name, &written(&value.value), &value.origin),
        }
    }
}
