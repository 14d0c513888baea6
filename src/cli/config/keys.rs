//! The keys of a configuration file.
//!
//! A key of an option *is* the long flag of `ringd serve`: the table of these keys is made from the
//! definition of the command line, so no flag lacks a key, and kinds, defaults and texts are the
//! same. `--no-x` is the key `x` with the value false. [`FILE_KEYS`] are the keys without a flag.

use std::any::TypeId;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, Command};

use super::foreign;
use super::problem::shortened;
use crate::cli::content::ErrorPage;
use crate::cli::{ContentArgs, ServeArgs};
use crate::http::semantics::encoded::EncodedName;
use crate::http::semantics::mime::Override;
use crate::http::site::rules::{CacheRule, HeaderRule};

pub(super) use super::file_keys::{FILE_KEYS, Form, Table};

/// Flags without a key, and why.
pub(super) const FLAGS_ONLY: [(&str, &str); 6] = [
    ("config", "a file cannot name itself"),
    ("open", "it is for one run, to look at a site"),
    ("qr", "it is for one run, to look at a site"),
    ("test", "it is for one run, which serves nothing"),
    ("take-over", "it is for one start"),
    ("trace", "it is for one run, to look at a driver"),
];

/// How long a name may be that is compared with those of keys: the distance of two texts takes time
/// and memory of the product of their lengths.
const NAME_BYTES_MAX: usize = 64;

/// Options of the process that have a table of their own: the flag, the table, and the key in it.
const HOMES: [(&str, Table, &str); 6] = [
    ("admin", Table::Admin, "listen"),
    ("log", Table::Log, "access"),
    ("log-format", Table::Log, "format"),
    ("error-log", Table::Log, "error"),
    ("error-log-format", Table::Log, "error-format"),
    ("error-log-level", Table::Log, "error-level"),
];

/// What the values of an option are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// True or false.
    Switch,
    /// A whole number.
    Number,
    /// A number of bytes, or a text with a unit.
    Size,
    Time,
    /// One of a few words.
    Choice(Vec<String>),
    Text,
    /// Rules, which may also be written as tables.
    Rules(RuleShape),
}

/// How rules are written as tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RuleShape {
    /// `{ gltf = "model/gltf+json" }`.
    MediaTypes,
    /// `{ "*.js.gz" = "gzip" }`.
    Codings,
    /// `{ 403 = "/forbidden.html" }`.
    ErrorPages,
    /// `{ glob = "*.js", value = "no-cache" }`.
    CacheRules,
    /// `{ glob = "**", set = { X-Frame-Options = "DENY" } }`.
    HeaderRules,
}

/// A key that is also a flag.
#[derive(Debug)]
pub(super) struct Key {
    /// The name in a file.
    pub(super) name: String,
    /// The long flag without its hyphens.
    pub(super) flag: String,
    /// The name of the argument for clap.
    pub(super) id: String,
    pub(super) kind: Kind,
    /// Whether it belongs to a site; otherwise it belongs to the process.
    pub(super) is_of_site: bool,
    /// The table of an option of the process.
    home: Table,
    /// Whether it may have several values.
    pub(super) is_list: bool,
    /// Whether `true` is a value, as in `spa = true`.
    pub(super) may_be_true: bool,
    /// Whether the flag begins with `no-`, so that its value is false.
    pub(super) is_negated: bool,
    pub(super) help: String,
    /// The text that clap takes for the default.
    pub(super) default: Option<String>,
}

impl Key {
    fn new(arg: &Arg, is_of_site: bool) -> Option<Self> {
        let flag = arg.get_long()?;
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let negated = flag.strip_prefix("no-").filter(|_| is_switch);
        let help = arg.get_long_help().or(arg.get_help());
        let default = arg.get_default_values().first().filter(|_| !is_switch);
        let home = HOMES.iter().find(|(other, ..)| *other == flag);
        let home =
            home.map_or((Table::Server, negated.unwrap_or(flag)), |(_, it, name)| (*it, name));
        Some(Self {
            name: home.1.to_owned(),
            home: home.0,
            flag: flag.to_owned(),
            id: arg.get_id().to_string(),
            kind: kind(arg),
            is_of_site,
            is_list: matches!(arg.get_action(), ArgAction::Append),
            may_be_true: arg.get_num_args().is_some_and(|range| range.min_values() == 0),
            is_negated: negated.is_some(),
            help: help.map(ToString::to_string).unwrap_or_default(),
            default: default.map(|text| text.to_string_lossy().into_owned()),
        })
    }

    /// Whether the key may stand in a table.
    pub(super) fn is_in(&self, table: Table) -> bool {
        match table {
            Table::Site | Table::Defaults => self.is_of_site,
            other => !self.is_of_site && self.home == other,
        }
    }

    /// The name for messages, with its table if that is not obvious.
    pub(super) fn full_name(&self) -> String {
        match self.home {
            Table::Server => self.name.clone(),
            home => format!("{} {}", home.heading(), self.name),
        }
    }

    /// The default as the help describes it, if it is more than a text.
    pub(super) fn described_default(&self) -> Option<&str> {
        let (_, default) = self.help.split_once("[default: ")?;
        default.split_once(']').map(|(default, _)| default)
    }

    /// What a value is, for messages.
    pub(super) fn expected(&self) -> String {
        let one = match &self.kind {
            Kind::Switch => "true or false",
            Kind::Number => "a whole number",
            Kind::Size => "a size such as \"32M\", or a number of bytes",
            Kind::Time => "a time such as \"30s\"",
            Kind::Choice(_) | Kind::Text if self.may_be_true => "a text, true or false",
            Kind::Choice(_) | Kind::Text => "a text",
            Kind::Rules(shape) => return shape.expected().to_owned(),
        };
        if self.is_list { format!("{one}, or a list of such texts") } else { one.to_owned() }
    }
}

impl Table {
    /// The names of all keys of the table.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let own = FILE_KEYS.iter().filter(move |key| key.table == self).map(|key| key.name);
        let options = KEYS.iter().filter(move |key| key.is_in(self)).map(|key| &*key.name);
        own.chain(options)
    }
}

impl RuleShape {
    /// What rules are, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::MediaTypes => "a table such as { gltf = \"model/gltf+json\" }",
            Self::Codings => "a table such as { \"*.js.gz\" = \"gzip\" }",
            Self::ErrorPages => "a table such as { 404 = \"/404.html\" }",
            Self::CacheRules => "a list such as [{ glob = \"*.js\", value = \"no-cache\" }]",
            Self::HeaderRules => {
                "a list such as [{ glob = \"**\", set = { X-Frame-Options = \"DENY\" } }]"
            }
        }
    }
}

/// What the values of an argument are, by the type that its parser returns.
fn kind(arg: &Arg) -> Kind {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Kind::Switch;
    }
    let choices = arg.get_possible_values();
    if !choices.is_empty() {
        return Kind::Choice(choices.iter().map(|value| value.get_name().to_owned()).collect());
    }
    let returned = arg.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|it| returned == *it);
    if is(&[TypeId::of::<u16>(), TypeId::of::<u32>()]) {
        Kind::Number
    } else if is(&[TypeId::of::<u64>(), TypeId::of::<usize>()]) {
        Kind::Size
    } else if is(&[TypeId::of::<Duration>()]) {
        Kind::Time
    } else if is(&[TypeId::of::<Override>()]) {
        Kind::Rules(RuleShape::MediaTypes)
    } else if is(&[TypeId::of::<EncodedName>()]) {
        Kind::Rules(RuleShape::Codings)
    } else if is(&[TypeId::of::<ErrorPage>()]) {
        Kind::Rules(RuleShape::ErrorPages)
    } else if is(&[TypeId::of::<CacheRule>()]) {
        Kind::Rules(RuleShape::CacheRules)
    } else if is(&[TypeId::of::<HeaderRule>()]) {
        Kind::Rules(RuleShape::HeaderRules)
    } else {
        Kind::Text
    }
}

/// The definition of the command line of `ringd serve`.
pub(super) fn serve_command() -> Command {
    ServeArgs::augment_args(Command::new("ringd").no_binary_name(true))
}

/// The definition of the options of a site.
pub(super) fn site_command() -> Command {
    ContentArgs::augment_args(Command::new("site").no_binary_name(true))
}

/// All keys that are also flags, in the order of the help.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let (all, site) = (serve_command(), site_command());
    let is_of_site = |arg: &Arg| site.get_arguments().any(|other| other.get_id() == arg.get_id());
    let has_key = |arg: &&Arg| !FLAGS_ONLY.iter().any(|(flag, _)| arg.get_long() == Some(flag));
    let keys = all.get_arguments().filter(has_key);
    keys.filter_map(|arg| Key::new(arg, is_of_site(arg))).collect()
});

/// The key of an option in a table.
pub(super) fn find(table: Table, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name && key.is_in(table))
}

/// The key of this flag, or the one that the flag negates.
///
/// # Panics
///
/// If there is no such flag: it stands in the source.
pub(super) fn of_flag(flag: &str) -> &'static Key {
    let is_it = |key: &&Key| key.flag == flag || key.is_negated && key.name == flag;
    KEYS.iter().find(is_it).unwrap_or_else(|| panic!("--{flag} does not exist"))
}

/// What is wrong with a name that is no key of a table, and what would be right.
pub(super) fn explain_unknown(table: Table, name: &str) -> (String, String) {
    let preposition = if table == Table::Top { "at" } else { "in" };
    let shown = shortened(&name.escape_debug().to_string());
    let unknown = format!("unknown key `{shown}` {preposition} {}", table.heading());
    if name.len() > NAME_BYTES_MAX {
        return (unknown, "keys are shorter".to_owned());
    }
    let hyphens = name.replace('_', "-");
    if hyphens != name && table.names().any(|other| other == hyphens) {
        return (unknown, format!("keys have hyphens: `{hyphens}`"));
    }
    if let Some(positive) = hyphens.strip_prefix("no-")
        && find(table, positive).is_some_and(|key| key.kind == Kind::Switch)
    {
        return (unknown, format!("write `{positive} = false`"));
    }
    if let Some((flag, why)) = FLAGS_ONLY.iter().find(|(flag, _)| *flag == hyphens) {
        return (format!("--{flag} is no key of a file"), format!("use the flag: {why}"));
    }
    if let Some((_, home, key)) = HOMES.iter().find(|(flag, ..)| *flag == hyphens)
        && table != Table::Top
    {
        return (unknown, format!("write `{key}` into {}", home.heading()));
    }
    let others: Vec<&str> = Table::ALL
        .into_iter()
        .filter(|other| *other != table && other.names().any(|key| key == hyphens))
        .map(Table::heading)
        .collect();
    if let [first, rest @ ..] = &others[..] {
        let rest: String = rest.iter().map(|heading| format!(" or {heading}")).collect();
        return (unknown, format!("`{hyphens}` belongs into {first}{rest}"));
    }
    if let Some(remedy) = foreign::explain(&hyphens) {
        return (unknown, remedy.to_owned());
    }
    let mistakes = |key: &&str| strsim::damerau_levenshtein(&hyphens, key);
    match table.names().min_by_key(mistakes).filter(|key| mistakes(key) <= key.len() / 3) {
        Some(near) => (unknown, format!("a similar key is `{near}`")),
        None => (unknown, "`ringd config --schema` lists the keys".to_owned()),
    }
}
