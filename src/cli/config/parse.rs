//! Parses the values of options with the parsers of the command line.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};

use super::keys::{self, Key, Kind};
use super::setting::{Settings, Value};
use crate::cli::{ContentArgs, HttpArgs, ObserveArgs, SandboxArgs, ServeArgs, ServerArgs, TlsArgs};

/// The definition of the command line, built once for all values of all sites.
#[derive(Debug)]
pub(super) struct Parsers {
    serve: Command,
    site: Command,
}

impl Parsers {
    pub(super) fn new() -> Self {
        Self { serve: keys::serve_command(), site: keys::site_command() }
    }

    /// Checks a value of an option; the error is what would be right.
    pub(super) fn check(&mut self, key: &Key, text: &str) -> Result<(), String> {
        // The options of a site are few, so their command is the faster one.
        let command = if key.is_of_site { &mut self.site } else { &mut self.serve };
        let parsed = command.try_get_matches_from_mut([format!("--{}={text}", key.flag)]);
        parsed.map(drop).map_err(|error| remedy(key, &error))
    }

    /// The options of the process. The error is the text of clap, since each value is valid.
    pub(super) fn server(
        &mut self,
        settings: &Settings,
    ) -> Result<(ServerArgs, TlsArgs, HttpArgs, ObserveArgs, SandboxArgs), String> {
        let matches = self.serve.try_get_matches_from_mut(settings.arguments());
        let args = matches.and_then(|matches| ServeArgs::from_arg_matches(&matches));
        let args = args.map_err(|error| error.to_string())?;
        Ok((args.server, args.tls, args.http, args.observe, args.sandbox))
    }

    /// The options of a site. The error is the text of clap, since each value is valid.
    pub(super) fn content(&mut self, settings: &Settings) -> Result<ContentArgs, String> {
        let matches = self.site.try_get_matches_from_mut(settings.arguments());
        let content = matches.and_then(|matches| ContentArgs::from_arg_matches(&matches));
        let mut content = content.map_err(|error| error.to_string())?;
        for key in settings.keys() {
            for setting in settings.get(key) {
                if let Value::Rule { rule, .. } = &setting.value {
                    rule.clone().add_to(&mut content);
                }
            }
        }
        Ok(content)
    }
}

/// What would be right in place of a value that clap refuses.
fn remedy(key: &Key, error: &clap::Error) -> String {
    let similar = match error.get(ContextKind::SuggestedValue) {
        Some(ContextValue::String(similar)) => format!("; a similar one is {similar:?}"),
        _ => String::new(),
    };
    let words = |words: &[String]| format!("it must be one of {}{similar}", words.join(", "));
    match (&key.kind, error.kind(), error.source()) {
        (Kind::Choice(choices), ..) => words(choices),
        // The text of the standard library speaks of digits and types.
        (Kind::Number, _, Some(cause)) if cause.is::<std::num::ParseIntError>() => {
            "it must be a whole number".to_owned()
        }
        (_, ErrorKind::ValueValidation, Some(cause)) => cause.to_string(),
        _ => format!("it must be {}", key.expected()),
    }
}
