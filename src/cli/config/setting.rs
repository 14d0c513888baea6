//! Values of options before they are parsed, and where each is from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::keys::{KEYS, Key, of_flag};
use super::rules::Rule;
use super::source::Place;
use super::text::toml_string;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The default of the flag.
    Default,
    /// A flag of the command line, as it is written.
    Flag(String),
    /// A file, and the variables of the environment in the text.
    File { place: Place, variables: Vec<String> },
}

impl Origin {
    /// The place in a file, if it is from one.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::File { place, .. } => Some(place),
            Self::Default | Self::Flag(_) => None,
        }
    }
}

/// A value and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// A value of an option.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// As on the command line.
    Text(String),
    Switch(bool),
    /// A rule, and how it is written in a file.
    Rule {
        rule: Rule,
        written: String,
    },
}

impl Value {
    /// A rule that is written as on the command line.
    pub(super) fn rule(rule: Rule, text: &str) -> Self {
        Self::Rule { rule, written: toml_string(text) }
    }
}

impl PartialEq for Value {
    /// Rules are compared as they are written, since globs have no other identity.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::Switch(one), Self::Switch(two)) => one == two,
            (Self::Rule { written: one, .. }, Self::Rule { written: two, .. }) => one == two,
            _ => false,
        }
    }
}

/// The flags that give a site its certificates.
pub(super) const CERTIFICATES: [&str; 3] = ["tls-cert", "tls-key", "tls-self-signed"];

/// The values of options, by their flags. An option that has several values has them in
/// the order in which they apply. Copies share values: each of many sites has all defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, Arc<Vec<Sourced<Value>>>>,
}

impl Settings {
    /// The values of a key; none if it was not given.
    pub(super) fn get(&self, key: &Key) -> &[Sourced<Value>] {
        self.values.get(&*key.flag).map_or(&[], |values| values.as_slice())
    }

    /// Sets the values of a key.
    pub(super) fn set(&mut self, key: &'static Key, values: Vec<Sourced<Value>>) {
        self.values.insert(&key.flag, Arc::new(values));
    }

    /// Replaces texts of a key. `None` keeps a text.
    pub(super) fn replace_texts(
        &mut self,
        key: &'static Key,
        replace: impl Fn(&str) -> Option<String>,
    ) {
        let Some(values) = self.values.get_mut(&*key.flag) else { return };
        for Sourced { value, .. } in Arc::make_mut(values) {
            if let Value::Text(text) = value
                && let Some(new) = replace(text)
            {
                *text = new;
            }
        }
    }

    /// The keys that have values.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(|key| self.values.contains_key(&*key.flag))
    }

    /// Puts more specific settings on top: a list is continued, any other value is replaced.
    pub(super) fn overlay(&mut self, specific: &Self) {
        for key in specific.keys() {
            let values = &specific.values[&*key.flag];
            match self.values.entry(&key.flag) {
                Entry::Occupied(mut all) if key.is_list => {
                    Arc::make_mut(all.get_mut()).extend_from_slice(values);
                }
                Entry::Occupied(mut all) => *all.get_mut() = Arc::clone(values),
                Entry::Vacant(all) => {
                    all.insert(Arc::clone(values));
                }
            }
        }
    }

    /// The same as of `overlay`, for settings of sites: certificates and keys belong together, so
    /// those of a more specific place replace all others instead of continuing their lists.
    pub(super) fn overlay_site(&mut self, specific: &Self) {
        if CERTIFICATES.iter().any(|flag| !specific.get(of_flag(flag)).is_empty()) {
            CERTIFICATES.iter().for_each(|flag| drop(self.values.remove(flag)));
        }
        self.overlay(specific);
    }

    /// The arguments that mean the same on a command line, without rules.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for key in self.keys() {
            for Sourced { value, .. } in self.get(key) {
                match value {
                    Value::Text(text) => arguments.push(format!("--{}={text}", key.flag)),
                    Value::Switch(is_on) if *is_on != key.is_negated => {
                        arguments.push(format!("--{}", key.flag));
                    }
                    _ => {}
                }
            }
        }
        arguments
    }
}
