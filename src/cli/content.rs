//! The options of `ringd serve` about content: media types, index files, error pages, rules for
//! header fields.
//!
//! Only syntax is checked here. A page need not exist yet: it may be created later.

use std::fmt::{self, Display};
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::server::CONTENT;
use super::{AccessArgs, CommandError, CompressArgs, SiteFilesName, SiteTlsArgs};
use crate::clients::Network;
use crate::driver::Links;
use crate::http::semantics::encoded::{EncodedName, EncodedNames};
use crate::http::semantics::mime::{Override, Types};
use crate::http::site::rules::{CacheRule, FieldOwner, HeaderRule, RuleError, Rules};
use crate::http::site::target::{PATH_BYTES_MAX, SEGMENT_BYTES_MAX, has_hidden_segment};
use crate::http::{Content, Status};

#[cfg(test)]
mod tests;
mod validators;

pub use validators::{TagSourceName, ValidatorArgs};

/// Maximum number of index names: a request for a directory may look up each of them.
const INDEX_NAMES_MAX: usize = 8;

/// The errors that can have a page: those of a request that reaches the site. An error in the head
/// or the body of a request is answered without a page, and the connection is closed.
const ERRORS: [Status; 11] = [
    Status::BadRequest,
    Status::Unauthorized,
    Status::Forbidden,
    Status::NotFound,
    Status::MethodNotAllowed,
    Status::PreconditionFailed,
    Status::RangeNotSatisfiable,
    Status::TooManyRequests,
    Status::InternalServerError,
    Status::NotImplemented,
    Status::ServiceUnavailable,
];

/// Options of `ringd serve` about content.
#[derive(Clone, Debug, Args)]
pub struct ContentArgs {
    /// Media type by name, as in gltf=model/gltf+json
    ///
    /// By extension, whole name or glob: gltf stands for names that end in .gltf, and for the
    /// name gltf itself, as in apple-app-site-association=application/json; a glob such as
    /// 'LICENSE*' for names that match it. May be given several times. A whole name precedes
    /// globs, and those extensions; of globs the last one that matches applies, of extensions
    /// the longest
    #[arg(long, value_name = "NAME=TYPE", help_heading = CONTENT)]
    pub mime: Vec<Override>,

    /// Coding of files that are compressed, by name, as in '*.js.gz=gzip'
    ///
    /// A request for game.js.gz then gets the file with Content-Encoding: gzip and the type of
    /// game.js. Names are written as for --mime; codings are gzip, br, zstd, and identity for none.
    /// May be given several times [default: svgz=gzip]
    #[arg(long, value_name = "NAME=CODING", hide_short_help = true, help_heading = CONTENT)]
    pub encoded: Vec<EncodedName>,

    /// Index file of a directory [default: index.html]
    ///
    /// May be given several times; the first that exists is used
    #[arg(long, value_name = "NAME", value_parser = index_name, help_heading = CONTENT)]
    pub index: Vec<String>,

    /// Clients that may have something, such as 10.0.0.0/8; the others get 403 [default: all]
    ///
    /// An address, a network, or unix: for clients of Unix sockets. May be given several times
    #[arg(long, value_name = "NETWORK", hide_short_help = true, help_heading = CONTENT)]
    pub allow: Vec<Network>,

    /// Clients that get 403, even if --allow has them
    ///
    /// As of --allow. May be given several times
    #[arg(long, value_name = "NETWORK", hide_short_help = true, help_heading = CONTENT)]
    pub deny: Vec<Network>,

    /// Serve /a.html at /a, and redirect /a.html there
    #[arg(long, help_heading = CONTENT)]
    pub clean_urls: bool,

    /// Page for paths that have no file (single-page application)
    ///
    /// It is served when a browser navigates to such a path. Missing scripts, images and data still
    /// get 404 [without a value: /index.html]
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

    /// List directories that have no index file
    ///
    /// Without this option they get 404
    #[arg(long, help_heading = CONTENT)]
    pub listing: bool,

    /// File to send as the body of an error, as in 403=/403.html
    ///
    /// The path is relative to the root. May be given several times; the last one for a status
    /// applies [default: 404=/404.html if it exists]
    #[arg(long, value_name = "STATUS=PATH", help_heading = CONTENT)]
    pub error_page: Vec<ErrorPage>,

    /// Cache-Control by glob, as in '/assets/**=max-age=31536000'
    ///
    /// For files that match the glob. May be given several times; the last rule that matches
    /// applies. In a glob, * and ? do not match a slash, ** does; {js,css} matches either, [0-9]
    /// one character; *.js means /**/*.js. An empty value sends no field [default: no-cache for
    /// HTML and JSON]
    #[arg(long, value_name = "GLOB=VALUE", help_heading = CONTENT)]
    pub cache_control: Vec<CacheRule>,

    /// Response field by glob, as in '**=X-Frame-Options: DENY'
    ///
    /// For paths that match the glob, which is written as for --cache-control. May be given several
    /// times; all rules that match apply. A later rule replaces an earlier one for the same field,
    /// except for Link, Set-Cookie and Vary. An empty value removes the field
    #[arg(
        long,
        value_name = "GLOB=NAME:VALUE",
        value_parser = header_rule,
        help_heading = CONTENT
    )]
    pub header: Vec<HeaderRule>,

    /// Allow scripts of all origins to read the responses (CORS)
    #[arg(long, help_heading = CONTENT)]
    pub cors: bool,

    /// Do not send a.js.br, a.js.zst or a.js.gz in place of a.js
    #[arg(long, help_heading = CONTENT)]
    pub no_precompressed: bool,

    /// Compression on the fly.
    #[command(flatten)]
    pub compress: CompressArgs,
    /// Entity tags and dates.
    #[command(flatten)]
    pub validators: ValidatorArgs,

    /// Links to follow: beneath, never, follow
    ///
    /// beneath: relative symbolic links that stay beneath the root, also to hidden names.
    /// never: none; a path through a link gets 403.
    /// follow: all links, wherever they lead: their targets become public
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "beneath",
        hide_possible_values = true,
        help_heading = CONTENT
    )]
    pub symlinks: LinksName,

    /// Read _redirects and _headers in the root: off, netlify, cloudflare
    ///
    /// Redirects, rewrites and fields as these services read them. The two files then get 404, and
    /// are read again when they change
    #[arg(
        long,
        value_name = "SERVICE",
        default_value = "off",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = CONTENT
    )]
    pub site_files: SiteFilesName,

    /// Certificates of the site.
    #[command(flatten)]
    pub tls: SiteTlsArgs,

    /// Who may use the site, and how much of it.
    #[command(flatten)]
    pub access: AccessArgs,
}

impl ContentArgs {
    /// The settings that the sessions need. [`ContentArgs::symlinks`] is for the driver, and is
    /// left out.
    ///
    /// # Errors
    ///
    /// When an option was given too often, or its values are too long.
    pub fn content(&self) -> Result<Content, ContentError> {
        self.content_with(&mut KnownRules::default())
    }

    /// The same for one of many sites.
    ///
    /// # Errors
    ///
    /// As of [`ContentArgs::content`].
    pub(super) fn content_with(&self, known: &mut KnownRules) -> Result<Content, ContentError> {
        let types = Types::new(self.mime.clone()).map_err(|reason| refused("mime", &reason))?;
        let encoded = EncodedNames::new(self.encoded.clone());
        let encoded = encoded.map_err(|reason| refused("encoded", &reason))?;
        self.access.rate_limit().map_err(|reason| refused("burst", &reason))?;
        let rules = known.get(self).map_err(|reason| {
            let is_about_headers = self.header.len() >= self.cache_control.len();
            let option = if is_about_headers { "header" } else { "cache-control" };
            refused(option, &reason)
        })?;
        if self.compress.compress.is_some()
            && self.compress.compress_min > self.compress.compress_max
        {
            let reason = "it is more than --compress-max, so nothing would be compressed; lower it";
            return Err(refused("compress-min", &reason));
        }
        if self.index.len() > INDEX_NAMES_MAX {
            let reason = format!("at most {INDEX_NAMES_MAX} are allowed; leave some out");
            return Err(refused("index", &reason));
        }
        let mut error_pages: Vec<(u16, Vec<u8>)> = Vec::new();
        for ErrorPage { status, path } in &self.error_page {
            let code = status.code();
            error_pages.retain(|(other, _)| *other != code);
            error_pages.push((code, path.clone().into_bytes()));
        }
        let mut content = Content {
            types,
            encoded,
            rules,
            clean_urls: self.clean_urls,
            spa: self.spa.clone().map(String::into_bytes),
            listing: self.listing,
            error_pages,
            precompressed: !self.no_precompressed,
            compress: self.compress.settings(),
            etag: self.validators.etag.map(Into::into).unwrap_or_default(),
            last_modified: self.validators.last_modified,
            ..Content::default()
        };
        if !self.index.is_empty() {
            content.index = self.index.iter().map(|name| name.clone().into_bytes()).collect();
        }
        Ok(content)
    }
}

/// The rules of sites. Many sites have the same ones: these are compiled once, and shared.
#[derive(Default)]
pub(super) struct KnownRules(Vec<Rules>);

/// How many different rules are known, so that a search among them stays short.
const KNOWN_RULES_MAX: usize = 64;

impl KnownRules {
    fn get(&mut self, args: &ContentArgs) -> Result<Rules, RuleError> {
        let ContentArgs { cache_control, header, cors, access, .. } = args;
        let (cache_control, header) = access.with_own_rules(cache_control, header);
        if let Some(rules) = self.0.iter().find(|rules| rules.is_of(&cache_control, &header, *cors))
        {
            return Ok(rules.clone());
        }
        let rules = Rules::new(cache_control, header, *cors)?;
        if self.0.len() < KNOWN_RULES_MAX {
            self.0.push(rules.clone());
        }
        Ok(rules)
    }
}

/// Why the values of an option are refused together, although each of them is valid.
#[derive(Debug)]
pub struct ContentError {
    /// The flag without its hyphens.
    pub(super) option: &'static str,
    /// The cause and the remedy.
    pub(super) reason: String,
}

impl Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the values of --{} are refused: {}", self.option, self.reason)
    }
}

impl std::error::Error for ContentError {}

impl From<ContentError> for CommandError {
    fn from(error: ContentError) -> Self {
        Self(error.to_string())
    }
}

fn refused(option: &'static str, reason: &dyn Display) -> ContentError {
    ContentError { option, reason: reason.to_string() }
}

/// Parses a value of `--header`.
pub(super) fn header_rule(text: &str) -> Result<HeaderRule, String> {
    text.parse().map_err(|error| header_error(&error))
}

/// The text of an error. If another option sets the field, it names that option.
pub(super) fn header_error(error: &RuleError) -> String {
    let option = match error {
        RuleError::Reserved { owner: FieldOwner::CacheRules, .. } => " (--cache-control)",
        RuleError::Reserved { owner: FieldOwner::MediaTypes, .. } => " (--mime)",
        _ => "",
    };
    format!("{error}{option}")
}

/// The value of `--symlinks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinksName {
    /// Follow relative links that stay beneath the root.
    Beneath,
    /// Follow no links.
    Never,
    /// Follow all links.
    Follow,
}

impl ValueEnum for LinksName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Beneath, Self::Never, Self::Follow]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Beneath => {
                ("beneath", "relative links that stay beneath the root, also to hidden names")
            }
            Self::Never => ("never", "none: a path through a link gets 403"),
            Self::Follow => {
                ("follow", "all links, wherever they lead: their targets become public")
            }
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
    /// The status whose responses get the page.
    pub status: Status,
    /// The path of the page, relative to the root, without a leading slash.
    pub path: String,
}

impl ErrorPage {
    /// The page for a status code; its path begins with a slash.
    ///
    /// # Errors
    ///
    /// A message with the mistake and the expected form.
    pub fn new(code: &str, path: &str) -> Result<Self, String> {
        let is_it = |status: &Status| status.code().to_string() == code;
        let Some(status) = ERRORS.into_iter().find(is_it) else {
            let codes = ERRORS.map(|status| status.code().to_string()).join(", ");
            return Err(format!("only these errors have a page: {codes}"));
        };
        Ok(Self { status, path: page(path)? })
    }
}

impl FromStr for ErrorPage {
    type Err = String;

    /// # Errors
    ///
    /// A message with the mistake and the expected form.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((code, path)) = text.split_once('=') else {
            return Err("the equals sign is missing; the form is STATUS=PATH, as in \
                        404=/404.html"
                .into());
        };
        Self::new(code, path)
    }
}

/// Parses the path of a file beneath the root; returns it without the leading slash.
fn page(text: &str) -> Result<String, String> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(format!(
            "the path must begin with a slash, which stands for the root: /{text}"
        ));
    };
    if path.is_empty() || path.ends_with('/') {
        return Err(format!(
            "the path names a directory; it must name a file, as in {text}index.html"
        ));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("the path may have at most {PATH_BYTES_MAX} bytes"));
    }
    path.split('/').try_for_each(name)?;
    if has_hidden_segment(path.as_bytes()) {
        return Err("names that begin with a dot are not served; choose another name".into());
    }
    Ok(path.to_owned())
}

/// Parses the name of an index file.
fn index_name(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return Err("the name of an index file must not contain a slash".into());
    }
    name(text)?;
    if text.starts_with('.') {
        return Err("names that begin with a dot are not served; choose another name".into());
    }
    Ok(text.to_owned())
}

/// Checks that a file can have this name.
fn name(text: &str) -> Result<(), String> {
    match text {
        "" => Err("the path has an empty segment; it must name a file, as in index.html".into()),
        "." | ".." => Err(format!("the path must not contain the segment {text}")),
        text if text.contains('\0') => Err("the name must not contain a NUL byte".into()),
        text if text.len() > SEGMENT_BYTES_MAX => {
            Err(format!("a file name may have at most {SEGMENT_BYTES_MAX} bytes"))
        }
        _ => Ok(()),
    }
}
