//! The options of `ringd serve` that say what a site makes of its files.
//!
//! What is checked here can be checked without the site; whether a page is there shows when it is
//! served.

use std::fmt::Display;
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::Failure;
use crate::driver::Links;
use crate::http::semantics::mime::{Override, Types};
use crate::http::site::rules::{CacheRule, FieldOwner, HeaderRule, RuleError, Rules};
use crate::http::site::target::{PATH_BYTES_MAX, SEGMENT_BYTES_MAX, has_hidden_segment};
use crate::http::{Content, Status};

#[cfg(test)]
mod tests;

/// Where help lists what a site makes of its files.
const CONTENT: &str = "Content";

/// Names of index pages, at most: each may have to be looked for.
const INDEX_NAMES_MAX: usize = 8;

/// The errors that a request can end with once it was understood. What was not understood ends
/// the connection, and waits for no file.
const ERRORS: [Status; 9] = [
    Status::BadRequest,
    Status::Forbidden,
    Status::NotFound,
    Status::MethodNotAllowed,
    Status::PreconditionFailed,
    Status::RangeNotSatisfiable,
    Status::InternalServerError,
    Status::NotImplemented,
    Status::ServiceUnavailable,
];

/// Options of `ringd serve` about content.
#[derive(Debug, Args)]
pub struct ContentArgs {
    /// Media type of files whose name ends in .EXT, as in gltf=model/gltf+json; may be given
    /// several times, and the last for an extension counts
    #[arg(long, value_name = "EXT=TYPE", help_heading = CONTENT)]
    pub mime: Vec<Override>,

    /// Name of the file that stands for its directory; may be given several times, and the first
    /// that is there counts [default: index.html]
    #[arg(long, value_name = "NAME", value_parser = index_name, help_heading = CONTENT)]
    pub index: Vec<String>,

    /// Serve /a.html at /a, and redirect there who asks for /a.html
    #[arg(long, help_heading = CONTENT)]
    pub clean_urls: bool,

    /// Answer with this page when a browser goes to an address that has no file, so that its
    /// scripts can show what is meant. Missing scripts, images and data stay missing [without a
    /// value: /index.html]
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/index.html",
        value_parser = page,
        help_heading = CONTENT
    )]
    pub spa: Option<String>,

    /// List what is in a directory that has no index; without this it is not found
    #[arg(long, help_heading = CONTENT)]
    pub listing: bool,

    /// File that is sent with an error, as in 403=/forbidden.html; may be given several times, and
    /// the last for a status counts. Its path begins at the directory that is served [default:
    /// 404=/404.html if it is there]
    #[arg(long, value_name = "STATUS=PATH", help_heading = CONTENT)]
    pub error_page: Vec<ErrorPage>,

    /// Cache-Control of the files that a glob names, as in
    /// '/assets/**=max-age=31536000, immutable'; may be given several times, and the last that
    /// matches counts. In a glob, * and ? stay within a directory, ** does not; {js,css} is one or
    /// the other, [0-9] one of these; *.js is /**/*.js. An empty value sends none. By default
    /// no-cache for HTML and JSON
    #[arg(long, value_name = "GLOB=VALUE", help_heading = CONTENT)]
    pub cache_control: Vec<CacheRule>,

    /// Header field of answers at the paths that a glob names, as in '**=X-Frame-Options: DENY';
    /// globs are those of --cache-control. May be given several times, and all that match add up.
    /// A later one replaces an earlier of the same name, but for Link, Set-Cookie and Vary. An
    /// empty value removes the field
    #[arg(
        long,
        value_name = "GLOB=NAME:VALUE",
        value_parser = header_rule,
        help_heading = CONTENT
    )]
    pub header: Vec<HeaderRule>,

    /// Let scripts of all sites read what is served (CORS)
    #[arg(long, help_heading = CONTENT)]
    pub cors: bool,

    /// Send a.js itself, also to clients that take a compressed a.js.br, a.js.zst or a.js.gz that
    /// stands beside it
    #[arg(long, help_heading = CONTENT)]
    pub no_precompressed: bool,

    /// Which symbolic links are followed
    #[arg(long, value_name = "WHICH", default_value = "beneath", help_heading = CONTENT)]
    pub symlinks: LinksName,
}

impl ContentArgs {
    /// What the sessions need. The links are for the driver: see [`ContentArgs::symlinks`].
    ///
    /// # Errors
    ///
    /// When there is too much of something.
    pub fn content(&self) -> Result<Content, Failure> {
        let types = Types::new(self.mime.clone()).map_err(|reason| refused("--mime", &reason))?;
        let rules = Rules::new(self.cache_control.clone(), self.header.clone(), self.cors)
            .map_err(|reason| refused("--cache-control and --header", &reason))?;
        if self.index.len() > INDEX_NAMES_MAX {
            let reason = format!("there may be {INDEX_NAMES_MAX}; leave some out");
            return Err(refused("--index", &reason));
        }
        let mut error_pages: Vec<(u16, Vec<u8>)> = Vec::new();
        for ErrorPage { status, path } in &self.error_page {
            let code = status.code();
            error_pages.retain(|(other, _)| *other != code);
            error_pages.push((code, path.clone().into_bytes()));
        }
        let mut content = Content {
            types,
            rules,
            clean_urls: self.clean_urls,
            spa: self.spa.clone().map(String::into_bytes),
            listing: self.listing,
            error_pages,
            precompressed: !self.no_precompressed,
            ..Content::default()
        };
        if !self.index.is_empty() {
            content.index = self.index.iter().map(|name| name.clone().into_bytes()).collect();
        }
        Ok(content)
    }
}

fn refused(option: &str, reason: &dyn Display) -> Failure {
    Failure(format!("the values of {option} are refused: {reason}"))
}

/// Parses a value of `--header`. If another option sets the field, the error names that option.
fn header_rule(text: &str) -> Result<HeaderRule, String> {
    text.parse().map_err(|error: RuleError| {
        let option = match error {
            RuleError::Reserved { owner: FieldOwner::CacheRules, .. } => " (--cache-control)",
            RuleError::Reserved { owner: FieldOwner::MediaTypes, .. } => " (--mime)",
            _ => "",
        };
        format!("{error}{option}")
    })
}

/// The value of `--symlinks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinksName {
    /// Those that lead to places beneath the root.
    Beneath,
    /// None.
    Never,
    /// All.
    Follow,
}

impl ValueEnum for LinksName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Beneath, Self::Never, Self::Follow]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Beneath => ("beneath", "relative links that stay beneath the directory served"),
            Self::Never => ("never", "none: what is behind a link is refused"),
            Self::Follow => ("follow", "all, wherever they lead: what they show is public"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl From<LinksName> for Links {
    fn from(name: LinksName) -> Self {
        match name {
            LinksName::Beneath => Self::Beneath,
            LinksName::Never => Self::Never,
            LinksName::Follow => Self::Follow,
        }
    }
}

/// The value of `--error-page`: `STATUS=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The status of the answers.
    pub status: Status,
    /// Relative to the root, as [`Content`] has it.
    pub path: String,
}

impl FromStr for ErrorPage {
    type Err = String;

    /// # Errors
    ///
    /// What is wrong with the text, and how it is written.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((code, path)) = text.split_once('=') else {
            let form = "it is written like STATUS=PATH, as in 404=/404.html";
            return Err(format!("there is no equals sign; {form}"));
        };
        let is_it = |status: &Status| status.code().to_string() == code;
        let Some(status) = ERRORS.into_iter().find(is_it) else {
            let codes = ERRORS.map(|status| status.code().to_string()).join(", ");
            return Err(format!("the status is not one of the errors that are sent: {codes}"));
        };
        Ok(Self { status, path: page(path)? })
    }
}

/// A file that is served, by its path; without the slash at its front.
fn page(text: &str) -> Result<String, String> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(format!(
            "begin the path with a slash, which stands for the directory that is served: /{text}"
        ));
    };
    if path.is_empty() || path.ends_with('/') {
        return Err(format!(
            "the path is that of a directory; name a file, as in {text}index.html"
        ));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("a path has at most {PATH_BYTES_MAX} bytes; choose a shorter one"));
    }
    path.split('/').try_for_each(name)?;
    if has_hidden_segment(path.as_bytes()) {
        return Err("names that begin with a dot are not served; choose another".into());
    }
    Ok(path.to_owned())
}

/// A name of an index page.
fn index_name(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return Err("it is the name of a file in each directory, and a name has no slash".into());
    }
    name(text)?;
    if text.starts_with('.') {
        return Err("names that begin with a dot are not served; choose another".into());
    }
    Ok(text.to_owned())
}

/// Makes sure that a file can have this name.
fn name(text: &str) -> Result<(), String> {
    match text {
        "" => Err("a name is empty; name a file, as in index.html".into()),
        "." | ".." => Err(format!("{text} is no name of a file; leave it out")),
        text if text.contains('\0') => Err("a name contains a NUL; leave it out".into()),
        text if text.len() > SEGMENT_BYTES_MAX => {
            Err(format!("a name has at most {SEGMENT_BYTES_MAX} bytes; choose a shorter one"))
        }
        _ => Ok(()),
    }
}
