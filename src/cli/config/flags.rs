//! The options that were given on the command line: they win over those of a file.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::keys::{KEYS, Key, Kind};
use super::rules::Rule;
use super::setting::{Origin, Settings, Sourced, Value};

/// The options of `ringd serve` on a command line, without defaults.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// ROOT.
    pub(super) root: Option<PathBuf>,
    /// Options of the process.
    pub(super) server: Settings,
    /// Options about content.
    pub(super) site: Settings,
    /// `--trace`, which has no key.
    pub(super) trace: bool,
}

impl Flags {
    /// The options that were given. `matches` are those of the command.
    pub(in crate::cli) fn of(matches: &ArgMatches) -> Self {
        // Other commands have no such arguments.
        let is_given = |id: &str| {
            matches.try_contains_id(id).is_ok()
                && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        let mut flags = Self::default();
        if is_given("root") {
            flags.root = matches.try_get_one::<PathBuf>("root").ok().flatten().cloned();
        }
        flags.trace = is_given("trace");
        for key in KEYS.iter().filter(|key| is_given(&key.id)) {
            let settings = if key.is_of_site { &mut flags.site } else { &mut flags.server };
            settings.set(key, values(key, matches));
        }
        flags
    }

    /// The first option about content that was given, as it is written.
    pub(super) fn about_content(&self) -> Option<String> {
        let root = self.root.as_ref().map(|_| "ROOT".to_owned());
        root.or_else(|| self.site.keys().next().map(|key| format!("--{}", key.flag)))
    }
}

fn values(key: &'static Key, matches: &ArgMatches) -> Vec<Sourced<Value>> {
    let origin = Origin::Flag(format!("--{}", key.flag));
    let sourced = |value| Sourced { value, origin: origin.clone() };
    if key.kind == Kind::Switch {
        return vec![sourced(Value::Switch(!key.is_negated))];
    }
    let texts = matches.get_raw(&key.id).into_iter().flatten();
    // Clap has parsed them, so they are UTF-8 and valid rules.
    let texts = texts.filter_map(|text| text.to_str());
    let value = |text: &str| match key.kind {
        Kind::Rules(shape) => Rule::from_text(shape, text).ok().map(|rule| Value::rule(rule, text)),
        _ => Some(Value::Text(text.to_owned())),
    };
    texts.filter_map(value).map(sourced).collect()
}
