//! Rules of a site, which a file may write as texts or as tables.
//!
//! A rule is built from the parts that a table names. They are not joined to the text of a flag,
//! because a part may contain what separates them there: a glob, for example, an equals sign.

use super::keys::RuleShape;
use crate::cli::ContentArgs;
use crate::cli::content::{ErrorPage, header_error, header_rule};
use crate::http::semantics::encoded::EncodedName;
use crate::http::semantics::mime::Override;
use crate::http::site::rules::{CacheRule, HeaderRule, RuleError};

/// A rule of any shape.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    MediaType(Override),
    Coding(EncodedName),
    ErrorPage(ErrorPage),
    Cache(CacheRule),
    Header(HeaderRule),
}

impl Rule {
    /// Parses a rule that is written as on the command line.
    pub(super) fn from_text(shape: RuleShape, text: &str) -> Result<Self, String> {
        match shape {
            RuleShape::MediaTypes => {
                text.parse().map(Self::MediaType).map_err(|error| format!("{error}"))
            }
            RuleShape::Codings => {
                text.parse().map(Self::Coding).map_err(|error| format!("{error}"))
            }
            RuleShape::ErrorPages => text.parse().map(Self::ErrorPage),
            RuleShape::CacheRules => {
                text.parse().map(Self::Cache).map_err(|error: RuleError| error.to_string())
            }
            RuleShape::HeaderRules => header_rule(text).map(Self::Header),
        }
    }

    /// Adds the rule to the options of a site.
    pub(super) fn add_to(self, content: &mut ContentArgs) {
        match self {
            Self::MediaType(rule) => content.mime.push(rule),
            Self::Coding(rule) => content.encoded.push(rule),
            Self::ErrorPage(rule) => content.error_page.push(rule),
            Self::Cache(rule) => content.cache_control.push(rule),
            Self::Header(rule) => content.header.push(rule),
        }
    }
}

/// A media type from its parts.
pub(super) fn media_type(extension: &str, media_type: &str) -> Result<Rule, String> {
    let built = Override::new(extension, media_type);
    built.map(Rule::MediaType).map_err(|error| error.to_string())
}

/// The coding of files from its parts.
pub(super) fn coding(pattern: &str, coding: &str) -> Result<Rule, String> {
    EncodedName::new(pattern, coding).map(Rule::Coding).map_err(|error| error.to_string())
}

/// An error page from its parts.
pub(super) fn error_page(status: &str, path: &str) -> Result<Rule, String> {
    ErrorPage::new(status, path).map(Rule::ErrorPage)
}

/// Checks the glob of a rule alone.
pub(super) fn check_glob(glob: &str) -> Result<(), String> {
    cache_rule(glob, "").map(drop)
}

/// A rule for `Cache-Control` from its parts.
pub(super) fn cache_rule(glob: &str, value: &str) -> Result<Rule, String> {
    CacheRule::new(glob, value).map(Rule::Cache).map_err(|error| error.to_string())
}

/// A rule for another field from its parts.
pub(super) fn header(glob: &str, name: &str, value: &str) -> Result<Rule, String> {
    let built = HeaderRule::new(glob, name, value);
    built.map(Rule::Header).map_err(|error| header_error(&error))
}
