//! A configuration that is merged and checked: what a server is made of.

use std::path::{Path, PathBuf};

use super::draft::{ListenerDraft, SiteDraft};
use super::protocol::ListenerProtocol;
use super::setting::Settings;
use super::source::{Place, Sources};
use crate::cli::{ContentArgs, HttpArgs, ObserveArgs, ServeArgs, ServerArgs, TlsArgs};
use crate::http::site::hosts::HostPattern;
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
    /// Options about content.
    pub content: ContentArgs,
    /// The heading of the site in a file; see [`Config::place_name`].
    pub place: Option<Place>,
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
            let SiteOptions { name, hosts, is_default, listen, content, place: _, root: _ } = site;
            let root = site.absolute_root();
            meaning +=
                &format!("{name:?} {hosts:?} {is_default} {listen:?} {root:?} {content:?}\n");
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
        })
        .collect();
        let listen = listeners.iter().flat_map(|listener| listener.addresses.clone()).collect();
        let site = SiteOptions {
            name: "default".to_owned(),
            hosts: Vec::new(),
            is_default: true,
            listen: Vec::new(),
            root: args.root,
            content: args.content,
            place: None,
        };
        Self {
            path: None,
            options: ServerOptions {
                server: ServerArgs { listen, ..args.server },
                tls: TlsArgs { listen_plain: vec![], listen_redirect: vec![], ..args.tls },
                http: args.http,
                observe: args.observe,
            },
            listeners,
            sites: vec![site],
            notes: Vec::new(),
            written: Written::default(),
        }
    }
}

impl SiteOptions {
    /// The directory as an absolute path.
    pub(super) fn absolute_root(&self) -> PathBuf {
        std::path::absolute(&self.root).unwrap_or_else(|_| Path::new(&self.root).to_owned())
    }
}
