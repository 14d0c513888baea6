//! What sites must not claim twice: names, hosts, and the hosts that no site has.

use std::collections::HashMap;

use super::draft::{ListenerDraft, SiteDraft};
use super::problem::{Problem, ProblemList, quoted};
use super::setting::{Origin, Sourced};
use super::source::Place;
use super::tables::LISTENERS_MAX;
use crate::http::site::hosts::HostPattern;

/// A set of listeners, one bit for each.
type ListenerSet = u64;

/// How long the list of names in a message may become before it ends.
const KNOWN_BYTES_MAX: usize = 200;

const _: () = assert!(LISTENERS_MAX <= ListenerSet::BITS as usize);

/// The name of a site that has neither a name nor hosts.
const DEFAULT_NAME: &str = "default";

/// The name of each site: its own, or its first host.
pub(super) fn names(
    sites: &[SiteDraft],
    listeners: &[ListenerSet],
    problems: &mut ProblemList,
) -> Vec<String> {
    let mut owners: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::with_capacity(sites.len());
    for (at, site) in sites.iter().enumerate() {
        let (name, origin) = name(site);
        match owners.get(&name) {
            Some(&first) => {
                let other = &sites[first];
                let has_name = site.name.is_some() || other.name.is_some();
                // Otherwise another problem says it: two sites have one host, or a site has none.
                let is_told = !site.hosts.is_empty() && listeners[at] & listeners[first] != 0;
                let is_told = is_told || (site.hosts.is_empty() && site.is_default.is_none());
                if has_name || !is_told {
                    let place = site.place_of(origin);
                    let title = format!("two sites have the name {}", quoted(&name));
                    let remedy = "give one a `name` of its own";
                    let problem = Problem::new(place.as_ref(), title, remedy);
                    let (_, first) = self::name(other);
                    problems.push(problem.and(other.place_of(first).as_ref(), "the first one"));
                }
            }
            None => drop(owners.insert(name.clone(), at)),
        }
        names.push(name);
    }
    names
}

/// The name of a site, and where it is from.
fn name(site: &SiteDraft) -> (String, Option<&Origin>) {
    match (&site.name, site.hosts.first()) {
        (Some(name), _) => (name.value.clone(), Some(&name.origin)),
        (None, Some(host)) => (host.value.to_string(), Some(&host.origin)),
        (None, None) => (DEFAULT_NAME.to_owned(), None),
    }
}

/// The listeners of each site. Complains of names that no listener has.
pub(super) fn listeners_of(
    sites: &[SiteDraft],
    listeners: &[ListenerDraft],
    problems: &mut ProblemList,
) -> Vec<ListenerSet> {
    let mut named: HashMap<&str, (ListenerSet, &Origin)> = HashMap::new();
    let mut known = String::new();
    for (at, listener) in listeners.iter().enumerate() {
        let Some(name) = &listener.name else { continue };
        if let Some((_, first)) = named.get(&*name.value) {
            let title = format!("two [[listen]] have the name {}", quoted(&name.value));
            let problem = Problem::new(name.origin.place(), title, "give it a name of its own");
            problems.push(problem.and(first.place(), "the first one"));
            continue;
        }
        // Beyond the bound there is another problem.
        let bit = 1_u64.checked_shl(at as u32).unwrap_or(0);
        named.insert(&name.value, (bit, &name.origin));
        // A message has room for a few.
        if known.len() < KNOWN_BYTES_MAX {
            known += if known.is_empty() { "the names are: " } else { ", " };
            known += &name.value;
        }
    }
    if known.is_empty() {
        known = "write the `name` of a [[listen]]; addresses stand in its `address`".to_owned();
    }
    let mut set_of = |name: &Sourced<String>| match named.get(&*name.value) {
        Some((bit, _)) => *bit,
        None => {
            let title = format!("no [[listen]] has the name {}", quoted(&name.value));
            problems.push(Problem::new(name.origin.place(), title, known.as_str()));
            0
        }
    };
    let mut sets = Vec::with_capacity(sites.len());
    for site in sites {
        sets.push(match &site.listen {
            Some(names) => names.iter().fold(0, |set, name| set | set_of(name)),
            None => ListenerSet::MAX,
        });
    }
    sets
}

/// Complains of hosts that two sites of one listener have.
pub(super) fn check_hosts(
    sites: &[SiteDraft],
    listeners: &[ListenerSet],
    problems: &mut ProblemList,
) {
    let mut owners: HashMap<&HostPattern, Vec<(ListenerSet, &Origin, usize)>> = HashMap::new();
    for (at, (site, set)) in sites.iter().zip(listeners).enumerate() {
        for Sourced { value, origin } in &site.hosts {
            let others = owners.entry(value).or_default();
            match others.iter().find(|(other, ..)| other & set != 0) {
                Some((_, first, owner)) => {
                    let (title, remedy) = if *owner == at {
                        (format!("the site has the host {value} twice"), "remove it")
                    } else {
                        (format!("two sites have the host {value}"), "give it to one of them")
                    };
                    let problem = Problem::new(origin.place(), title, remedy);
                    problems.push(problem.and(first.place(), "the first one"));
                }
                // One that no listener has would be looked at again and again.
                None if *set == 0 => {}
                None => others.push((*set, origin, at)),
            }
        }
    }
}

/// Complains of sites that no client reaches, and of several that answer for all other hosts.
pub(super) fn check_defaults(
    sites: &[SiteDraft],
    listeners: &[ListenerSet],
    problems: &mut ProblemList,
) {
    let mut owners: Vec<(ListenerSet, Option<Place>)> = Vec::new();
    for (site, set) in sites.iter().zip(listeners) {
        let is_default = site.is_default.as_ref().filter(|is_default| is_default.value);
        let place = site.place_of(is_default.map(|is_default| &is_default.origin));
        match is_default {
            Some(_) => {
                let first = owners.iter().find(|(other, _)| other & set != 0);
                if let Some((_, first)) = first {
                    let title = "two sites are the default of one listener";
                    let remedy = "leave `default = true` to one, or separate them by `listen`";
                    let problem = Problem::new(place.as_ref(), title, remedy);
                    problems.push(problem.and(first.as_ref(), "the first one"));
                } else {
                    // At most one for each listener, so the search stays short.
                    owners.push((*set, place));
                }
            }
            None if sites.len() > 1 && site.hosts.is_empty() && !site.has_hosts => {
                let title = "no client reaches this site: it has no hosts";
                let remedy = "add `hosts = [\"example.com\"]`, or `default = true`";
                problems.push(Problem::new(place.as_ref(), title, remedy));
            }
            None => {}
        }
    }
}
