//! Checks what a configuration refers to: the directories that its sites serve.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;

use super::draft::SiteDraft;
use super::keys::of_flag;
use super::options::Config;
use super::problem::{Problem, ProblemList};
use super::setting::{Settings, Sourced, Value};
use crate::cli::LinksName;
use crate::cli::root::root_reason;
use crate::driver::Links;

/// How many sites a summary names.
const NAMED_MAX: usize = 2;

/// Opens the root of each site, as a start would. The settings of a site come between the
/// defaults and the flags.
pub(super) fn check_roots(
    sites: &[SiteDraft],
    [defaults, flags]: [&Settings; 2],
    problems: &mut ProblemList,
) {
    for (site, root, is_fallback) in sites.iter().flat_map(roots) {
        let path = &root.value;
        let links = links([defaults, &site.settings, flags]);
        let is_missing =
            || matches!(path.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let (title, remedy) = match root_reason(path, links) {
            Ok(_) => continue,
            // A deployment may make it later.
            Err(_) if is_fallback && is_missing() => continue,
            Err(_) if is_missing() => {
                let title = format!("there is no directory {}", path.display());
                (title, "create it, or correct the path".to_owned())
            }
            Err(reason) => (format!("cannot serve {}", path.display()), reason),
        };
        problems.push(Problem::new(root.origin.place(), title, remedy));
    }
}

/// The roots of a site, and whether each is the fallback.
fn roots(site: &SiteDraft) -> impl Iterator<Item = (&SiteDraft, &Sourced<PathBuf>, bool)> {
    let root = site.root.iter().map(move |root| (site, root, false));
    root.chain(site.fallback_root.iter().map(move |fallback| (site, &fallback.path, true)))
}

/// Which links a site follows.
fn links(layers: [&Settings; 3]) -> Links {
    let mut values = layers.into_iter().rev().flat_map(|layer| layer.get(of_flag("symlinks")));
    let name = values.find_map(|value| match &value.value {
        Value::Text(text) => LinksName::from_str(text, false).ok(),
        _ => None,
    });
    name.unwrap_or(LinksName::Beneath).into()
}

impl Config {
    /// What is configured, for one line.
    pub fn summary(&self) -> String {
        let addresses = self.listeners.iter().flat_map(|listener| &listener.addresses);
        let addresses: String = addresses.map(|address| format!(" {address}")).collect();
        format!("{} at{addresses}", self.sites_summary())
    }

    /// How many sites there are, and the names of some.
    pub(in crate::cli) fn sites_summary(&self) -> String {
        let names = self.sites.iter().take(NAMED_MAX).map(|site| &*site.name);
        let mut names = names.collect::<Vec<_>>().join(", ");
        if self.sites.len() > NAMED_MAX {
            names += &format!(", {} more", self.sites.len() - NAMED_MAX);
        }
        let sites = match self.sites.len() {
            1 => "1 site".to_owned(),
            count => format!("{count} sites"),
        };
        format!("{sites} ({names})")
    }

    /// Frees what only messages and [`Config::to_toml`] need.
    pub fn drop_texts(&mut self) {
        self.written.sources.drop_texts();
    }
}
