//! The configuration file: from bytes to validated options.
//!
//! ```text
//! files -> reader, tables -> draft -> build -> Config -> ServePlan
//!            |                 ^       ^
//!            keys, parse       |       flags
//!            (clap)            defaults (clap)
//! ```
//!
//! An option is defined once, for clap. [`keys`] derives the keys of a file from that definition,
//! and [`parse`] checks values with the same parsers as the command line. Where a value is given
//! several times, the more specific one wins: a flag, then the `[[site]]`, `[site-defaults]`, and
//! the default. Lists are not replaced but continued in the opposite order, as if the options had
//! been repeated on a command line. So no line of a site drops a rule of all sites.
//!
//! A file may have many mistakes, so nothing stops at the first one: all are collected as
//! [`problem`]s with their places, and shown together. Only when there are none, there is a
//! [`Config`].

mod build;
mod certificates;
mod check;
mod claims;
mod door;
mod draft;
mod fallback;
mod file_keys;
mod files;
mod flags;
mod foreign;
#[cfg(any(test, feature = "simulation"))]
mod fuzz;
mod include;
mod keys;
mod load;
mod options;
mod parse;
mod parse_cost;
mod path_rules;
mod places;
mod print;
mod problem;
mod protocol;
mod reader;
mod restart;
mod rights;
mod rule_reader;
mod rules;
mod schema;
mod setting;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod variables;

pub use flags::Flags;
#[cfg(any(test, feature = "simulation"))]
pub use fuzz::fuzz_config;
pub use load::ConfigError;
pub(super) use load::{check, load, load_again};
pub use options::{Config, FallbackOptions, ListenerOptions, ServerOptions, SiteOptions};
pub use problem::Problems;
pub use protocol::ListenerProtocol;
pub(super) use restart::reloadable;
pub use restart::{Chosen, needs_restart};
pub(super) use schema::schema;
pub use source::Place;
