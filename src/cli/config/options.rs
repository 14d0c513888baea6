//! A configuration that is merged and checked: what a server is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::{ListenerDraft, SiteDraft};
use super::protocol::ListenerProtocol;
use super::setting::Settings;
use super::source::{Place, Sources};
use crate::cli::{ContentArgs, HttpArgs, ObserveArgs, SandboxArgs, ServeArgs, ServerArgs, TlsArgs};
use crate::clients::Door;
use crate::http::site::hosts::HostPattern;
use crate::http::site::rewrites::PathRules;
use crate::server::ListenSpec;

/// The options of a server and of its sites, from a file, from the command line, or from both.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file of `-c`.
    pub path: Option<PathBuf>,
    /// The options of the process.
    pub options: ServerOptions,
    /// At least one.
    pub listeners: Vec<ListenerOptions>,
    /// At least one.
    pub sites: Vec<SiteOptions>,
    /// Notes for the operator.
    pub notes: Vec<String>,
    pub(super) written: Written,
}

/// The options of the process.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Those of all servers. The addresses are those of all listeners, in their order.
    pub server: ServerArgs,
    /// Those of HTTPS. The addresses are those of [`Config::listeners`].
    pub tls: TlsArgs,
    /// Those of an HTTP server.
    pub http: HttpArgs,
    /// Those of the logs and of the administration.
    pub observe: ObserveArgs,
    /// Those of the user and the sandbox.
    pub sandbox: SandboxArgs,
}

/// Addresses with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The name by which sites choose the listener; `None` if it is the only one.
    pub name: Option<String>,
    /// The addresses.
    pub addresses: Vec<ListenSpec>,
    /// What the listener speaks.
    pub protocol: ListenerProtocol,
    /// What it knows of proxies, and whom it lets in; `None` for everybody.
    pub door: Option<Arc<Door>>,
}

/// The options of a site.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// The name in messages. No two sites have the same.
    pub name: String,
    /// The hosts that the site answers for. No other site on one of its listeners has them. Empty
    /// if it is the only site, or answers only for hosts that no site has.
    pub hosts: Vec<HostPattern>,
    /// Whether the site answers for hosts that no site has. At most one site of a listener does.
    pub is_default: bool,
    /// The names of the listeners whose clients reach the site; all if it is empty.
    pub listen: Vec<String>,
    /// The directory, as an absolute path or relative to the current directory.
    pub root: PathBuf,
    /// A second directory, for files that the first does not have.
    pub fallback_root: Option<FallbackOptions>,
    /// Options about content.
    pub content: ContentArgs,
    /// Redirects and rewrites, if there are any.
    pub path_rules: Option<PathRules>,
    /// The heading of the site in a file; see [`Config::place_name`].
    pub place: Option<Place>,
}

/// A second directory of a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FallbackOptions {
    /// The directory, as an absolute path or relative to the current directory.
    pub path: PathBuf,
    /// Globs of the files that are looked for there.
    pub only: Vec<String>,
}

/// The configuration as it is written: values with their origins.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) sources: Sources,
    pub(super) server: Settings,
    pub(super) listeners: Vec<ListenerDraft>,
    /// In the order of [`Config::sites`].
    pub(super) sites: Vec<SiteDraft>,
}

impl Config {
    /// The file and those that it includes.
    pub(in crate::cli) fn files(&self) -> impl Iterator<Item = &Path> {
        self.path.iter().map(PathBuf::as_path).chain(self.written.sources.paths())
    }

    /// A place in a file as `FILE:LINE`.
    pub fn place_name(&self, place: &Place) -> String {
        self.written.sources.name(place)
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Config {
    /// All that is configured as a text, without places, for comparisons.
    pub(super) fn meaning(&self) -> String {
        let mut meaning = format!("{:?}\n{:?}\n", self.options, self.listeners);
        for site in &self.sites {
            let SiteOptions {
                name,
                hosts,
                is_default,
                listen,
                content,
                place: _,
                root: _,
                fallback_root,
                path_rules,
            } = site;
            let path_rules = path_rules.as_ref().map(PathRules::rules);
            let fallback = fallback_root.as_ref().map(FallbackOptions::absolute);
            let root = (site.absolute_root(), fallback);
            meaning += &format!(
                "{name:?} {hosts:?} {is_default} {listen:?} {root:?} {content:?} {path_rules:?}\n"
            );
        }
        meaning
    }
}

impl From<ServeArgs> for Config {
    /// The configuration that a command line means without a file.
    fn from(args: ServeArgs) -> Self {
        let TlsArgs { listen_plain, listen_redirect, .. } = &args.tls;
        let listeners: Vec<_> = [
            (&args.server.listen, ListenerProtocol::Usual),
            (listen_plain, ListenerProtocol::Http),
            (listen_redirect, ListenerProtocol::Redirect),
        ]
        .into_iter()
        .filter(|(addresses, _)| !addresses.is_empty())
        .map(|(addresses, protocol)| ListenerOptions {
            name: None,
            addresses: addresses.clone(),
            protocol,
            door: None,
        })
        .collect();
        let listen = listeners.iter().flat_map(|listener| listener.addresses.clone()).collect();
        let site = SiteOptions {
            name: "default".to_owned(),
            hosts: Vec::new(),
            is_default: true,
            listen: Vec::new(),
            root: args.root,
            fallback_root: None,
            content: args.content,
            path_rules: None,
            place: None,
        };
        Self {
            path: None,
            options: ServerOptions {
                server: ServerArgs { listen, ..args.server },
                tls: TlsArgs { listen_plain: vec![], listen_redirect: vec![], ..args.tls },
                http: args.http,
                observe: args.observe,
                sandbox: args.sandbox,
            },
            listeners,
            sites: vec![site],
            notes: Vec::new(),
            written: Written::default(),
        }
    }
}

impl FallbackOptions {
    /// The same with an absolute path.
    pub(super) fn absolute(&self) -> Self {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Self { path, only: self.only.clone() }
    }
}

impl SiteOptions {
    /// The directory as an absolute path.
    pub(super) fn absolute_root(&self) -> PathBuf {
        std::path::absolute(&self.root).unwrap_or_else(|_| Path::new(&self.root).to_owned())
    }
}
