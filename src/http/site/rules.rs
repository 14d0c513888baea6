//! Rules that add fields to responses: `Cache-Control`, other fields, and CORS.
//!
//! A rule adds a field to the responses for paths that match its glob. Rules are validated when
//! they are parsed: names are tokens, values are printable ASCII, and fields that the server itself
//! sets are refused. All rules together can add at most [`FIELD_BYTES_MAX`] to a response.
//!
//! Globs match the path of the file that is sent, also if that is a fallback or an error page. For
//! other responses they match the decoded path of the request, which ends with a slash if it names
//! a directory. Paths begin with a slash. `*` and `?` do not match slashes; `**` does, and so does
//! a negated class such as `[!a]`. A glob that does not begin with a slash matches at any depth:
//! `*.js` means `/**/*.js`. Globs are case-sensitive, and only wildcards match bytes that are not
//! UTF-8.

use std::str::FromStr;
use std::sync::Arc;

use globset::{Candidate, Glob, GlobBuilder, GlobSet};

use crate::http::semantics::fields::Fields;
use crate::http::semantics::grammar::{is_token, is_token_or_quoted, split, trim};

mod error;
mod fields;
mod site_headers;
#[cfg(test)]
mod tests;

pub use self::error::{FieldOwner, RuleError, RuleForm};
use self::fields::RuleFields;
pub use self::site_headers::{HeaderBlock, SiteHeaders};

/// How many bytes of field lines rules may add to a response.
pub const FIELD_BYTES_MAX: usize = 8 * 1024;

/// How many rules of each kind a site may have.
pub const RULES_MAX: usize = 128;

/// How long a glob may be.
const GLOB_BYTES_MAX: usize = 1024;

/// What CORS adds to every response: scripts of all origins may read it.
///
/// The exposed fields are those that this server sends and that are not CORS-safelisted (Fetch
/// standard, section 2.2.2). `Content-Length` is included for older browsers, which do not count it
/// as safelisted.
const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Expose-Headers",
        "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, Date, ETag, Location",
    ),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
];

/// What CORS adds to responses to preflight requests.
const PREFLIGHT: [(&str, &str); 3] = [
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Headers", "*"),
    ("Access-Control-Max-Age", "86400"),
];

/// The default for pages and data: caches must revalidate them each time. Without it, clients guess
/// a lifetime, and may show an outdated site.
const REVALIDATE: &str = "no-cache";

/// The types that get [`REVALIDATE`] by default.
const REVALIDATED: [&str; 4] =
    ["text/html", "application/xhtml+xml", "application/json", "application/manifest+json"];

/// Fields that rules must not set, and what sets them.
const RESERVED: [(&str, FieldOwner); 20] = [
    ("Accept-Ranges", FieldOwner::Server),
    ("Allow", FieldOwner::Server),
    ("Cache-Control", FieldOwner::CacheRules),
    ("Connection", FieldOwner::Server),
    ("Content-Encoding", FieldOwner::CompressedFiles),
    ("Content-Length", FieldOwner::Server),
    ("Content-Range", FieldOwner::Server),
    ("Content-Type", FieldOwner::MediaTypes),
    ("Date", FieldOwner::Server),
    ("ETag", FieldOwner::Server),
    ("Keep-Alive", FieldOwner::Server),
    ("Last-Modified", FieldOwner::Server),
    ("Location", FieldOwner::Server),
    ("Proxy-Connection", FieldOwner::Server),
    ("Server", FieldOwner::Server),
    ("TE", FieldOwner::Server),
    ("Trailer", FieldOwner::Server),
    ("Transfer-Encoding", FieldOwner::Server),
    ("Upgrade", FieldOwner::Server),
    ("X-Content-Type-Options", FieldOwner::EveryResponse),
];

/// The kind of a response, as far as rules distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind<'a> {
    /// The requested file: 200, 206 or 304.
    Page {
        /// The value of its `Content-Type`.
        content_type: &'a str,
    },
    /// The response to a preflight request.
    Preflight,
    /// An error, a redirect, the response to another OPTIONS, or a fallback page. A rule for
    /// `Cache-Control` is about the file at a path, so it does not apply to these.
    Other,
}

/// A rule for `Cache-Control`, in the form `GLOB=VALUE`.
#[derive(Clone, PartialEq, Debug)]
pub struct CacheRule {
    glob: Glob,
    /// Empty to omit the field.
    value: String,
}

impl CacheRule {
    /// A rule for the files that match a glob. An empty value omits the field.
    ///
    /// # Errors
    ///
    /// When the glob is malformed, or the value is no list of cache directives.
    pub fn new(glob: &str, value: &str) -> Result<Self, RuleError> {
        let glob = anchored(glob, RuleForm::Cache)?;
        check_directives(value)?;
        Ok(Self { glob, value: field_value(value)? })
    }
}

impl FromStr for CacheRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (glob, value) = split_glob(text, RuleForm::Cache)?;
        Self::new(glob, value)
    }
}

fn check_directives(value: &str) -> Result<(), RuleError> {
    match value.is_empty() || split(value.as_bytes(), b',').all(is_directive) {
        true => Ok(()),
        false => Err(RuleError::MalformedDirective),
    }
}

/// `token [ "=" ( token / quoted-string ) ]` (RFC 9111 section 5.2).
fn is_directive(piece: &[u8]) -> bool {
    match memchr::memchr(b'=', piece) {
        Some(at) => is_token(&piece[..at]) && is_token_or_quoted(&piece[at + 1..]),
        None => is_token(piece),
    }
}

/// A rule for another field, in the form `GLOB=NAME:VALUE`.
#[derive(Clone, PartialEq, Debug)]
pub struct HeaderRule {
    glob: Glob,
    name: String,
    /// Empty to remove the field.
    value: String,
}

impl HeaderRule {
    /// A rule for the paths that match a glob. An empty value removes the field.
    ///
    /// # Errors
    ///
    /// When the glob, the name or the value is malformed, or rules must not set the field.
    pub fn new(glob: &str, name: &str, value: &str) -> Result<Self, RuleError> {
        let glob = anchored(glob, RuleForm::Header)?;
        check_name(name)?;
        Ok(Self { glob, name: name.to_owned(), value: field_value(value)? })
    }
}

/// Checks that rules may set a field.
fn check_name(name: &str) -> Result<(), RuleError> {
    if !is_token(name.as_bytes()) {
        return Err(RuleError::MalformedName);
    }
    let reserved = RESERVED.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    match reserved {
        Some(&(name, owner)) => Err(RuleError::Reserved { name, owner }),
        None => Ok(()),
    }
}

/// Checks a field of the file `_headers`, which may also set `Cache-Control`.
///
/// # Errors
///
/// When the name or the value is malformed, or rules must not set the field.
pub fn check_site_field(name: &str, value: &str) -> Result<(), RuleError> {
    match name.eq_ignore_ascii_case("Cache-Control") {
        true => check_directives(value)?,
        false => check_name(name)?,
    }
    field_value(value).map(drop)
}

impl FromStr for HeaderRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (glob, field) = split_glob(text, RuleForm::Header)?;
        let (name, value) = field.split_once(':').ok_or(RuleError::NoColon)?;
        Self::new(glob, name, value)
    }
}

/// Directives of `Cache-Control` with a value. A rule without its glob begins with one of them and
/// an equals sign, so it would be parsed as a glob that matches no file.
const DIRECTIVES: [&str; 4] = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];

/// Splits a rule at its first equals sign into the glob and the rest.
fn split_glob(text: &str, form: RuleForm) -> Result<(&str, &str), RuleError> {
    let (glob, rest) = text.split_once('=').ok_or(RuleError::NoEqualsSign(form))?;
    match DIRECTIVES.into_iter().find(|directive| *directive == glob) {
        Some(directive) => Err(RuleError::DirectiveWithoutGlob(directive, form)),
        None => Ok((glob, rest)),
    }
}

/// Compiles a glob. One that does not begin with a slash matches at any depth.
pub(super) fn anchored(glob: &str, form: RuleForm) -> Result<Glob, RuleError> {
    if glob.is_empty() {
        return Err(RuleError::NoGlob(form));
    }
    if glob.len() > GLOB_BYTES_MAX {
        return Err(RuleError::GlobTooLong { bytes_max: GLOB_BYTES_MAX });
    }
    let anchored = if glob.starts_with('/') { glob.to_owned() } else { format!("/**/{glob}") };
    let built = GlobBuilder::new(&anchored).literal_separator(true).build();
    built.map_err(|error| RuleError::MalformedGlob {
        glob: glob.to_owned(),
        cause: error.kind().clone(),
    })
}

/// The value of a field without the whitespace around it (RFC 9110 section 5.5). That section
/// limits new fields to ASCII; here the limit holds for all.
fn field_value(value: &str) -> Result<String, RuleError> {
    let allowed = |char: char| char == '\t' || char == ' ' || char.is_ascii_graphic();
    if let Some(other) = value.chars().find(|char| !allowed(*char)) {
        return Err(RuleError::ForbiddenCharacter(other));
    }
    let is_blank = |char| char == ' ' || char == '\t';
    Ok(value.trim_matches(is_blank).to_owned())
}

/// The rules of a site. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    table: Arc<RuleTable>,
    site_headers: Option<Arc<SiteHeaders>>,
}

#[derive(Debug, Default)]
struct RuleTable {
    /// The rules as they were given.
    given: GivenRules,
    cache_globs: GlobSet,
    header_globs: GlobSet,
}

#[derive(PartialEq, Debug, Default)]
struct GivenRules {
    cache: Vec<CacheRule>,
    headers: Vec<HeaderRule>,
    cors: bool,
}

/// Whether both are made of the same rules in the same order.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        let is_same =
            Arc::ptr_eq(&self.table, &other.table) || self.table.given == other.table.given;
        is_same && self.site_headers == other.site_headers
    }
}

impl Rules {
    /// Combines rules. Their order matters, see [`Rules::fields`].
    ///
    /// # Errors
    ///
    /// If there are too many rules, or if they could add too much to a response.
    pub fn new(
        cache: Vec<CacheRule>,
        headers: Vec<HeaderRule>,
        cors: bool,
    ) -> Result<Self, RuleError> {
        if cache.len().max(headers.len()) > RULES_MAX {
            return Err(RuleError::TooMany { rules_max: RULES_MAX });
        }
        let set = |globs: Vec<Glob>| GlobSet::new(globs).map_err(RuleError::GlobsTooComplex);
        let table = RuleTable {
            cache_globs: set(cache.iter().map(|rule| rule.glob.clone()).collect())?,
            header_globs: set(headers.iter().map(|rule| rule.glob.clone()).collect())?,
            given: GivenRules { cache, headers, cors },
        };
        let bytes = table.bytes_max();
        if bytes > FIELD_BYTES_MAX {
            return Err(RuleError::TooLong { bytes, bytes_max: FIELD_BYTES_MAX });
        }
        Ok(Self { table: Arc::new(table), site_headers: None })
    }

    /// The same rules, and those of the file `_headers`. Rules of the operator go after these, so
    /// they replace their fields.
    ///
    /// # Errors
    ///
    /// If all together could add too much to a response.
    pub fn with_site_headers(self, headers: SiteHeaders) -> Result<Self, RuleError> {
        let bytes = self.table.bytes_max() + headers.bytes_max();
        if bytes > FIELD_BYTES_MAX {
            return Err(RuleError::TooLong { bytes, bytes_max: FIELD_BYTES_MAX });
        }
        Ok(Self { site_headers: Some(Arc::new(headers)), ..self })
    }

    /// Whether the path of the request matters beside that of the file.
    #[must_use]
    pub fn depend_on_request(&self) -> bool {
        self.site_headers.is_some()
    }

    /// Whether these are the rules that [`Rules::new`] makes of the arguments.
    #[must_use]
    pub fn is_of(&self, cache: &[CacheRule], headers: &[HeaderRule], cors: bool) -> bool {
        let given = &self.table.given;
        given.cache == cache && given.headers == headers && given.cors == cors
    }

    /// Whether there are no rules, so [`Rules::fields`] depends only on the media type.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.given == GivenRules::default() && self.site_headers.is_none()
    }

    /// The fields to add to a response; at most [`FIELD_BYTES_MAX`] bytes of field lines.
    ///
    /// `path` begins with a slash; see the module documentation. The last rule for `Cache-Control`
    /// that matches applies. Without one, the default for HTML and JSON is `no-cache`, and other
    /// types get no `Cache-Control`. All other rules that match apply in order: each replaces the
    /// field of earlier rules, except that `Link`, `Set-Cookie` and `Vary` add a line. An empty
    /// value removes the field of earlier rules, or the default.
    #[must_use]
    pub fn fields(&self, path: &[u8], kind: AnswerKind<'_>) -> Fields {
        self.fields_of(path, path, kind)
    }

    /// The same for a file that a request has asked for by another path, as with an index. The
    /// fields of `_headers` are those of the path that was `asked` for.
    #[must_use]
    pub fn fields_of(&self, path: &[u8], asked: &[u8], kind: AnswerKind<'_>) -> Fields {
        let table = &self.table;
        let mut fields = RuleFields::default();
        if self.is_empty() {
            if let AnswerKind::Page { content_type } = kind {
                fields.set("Cache-Control", default_caching(content_type));
            }
            return fields.into_fields();
        }
        let candidate = Candidate::from_bytes(path);
        if let AnswerKind::Page { content_type } = kind {
            fields.set("Cache-Control", default_caching(content_type));
        }
        if let Some(headers) = &self.site_headers {
            let is_page = matches!(kind, AnswerKind::Page { .. });
            headers.add_to(asked, is_page, &mut fields);
        }
        if let AnswerKind::Page { .. } = kind
            && let Some(last) = table.cache_globs.matches_candidate(&candidate).into_iter().max()
        {
            fields.set("Cache-Control", &table.given.cache[last].value);
        }
        if table.given.cors {
            CORS.iter().for_each(|(name, value)| fields.set(name, value));
            if kind == AnswerKind::Preflight {
                PREFLIGHT.iter().for_each(|(name, value)| fields.set(name, value));
            }
        }
        let mut matches = table.header_globs.matches_candidate(&candidate);
        matches.sort_unstable();
        for at in matches {
            let HeaderRule { name, value, .. } = &table.given.headers[at];
            fields.set(name, value);
        }
        fields.into_fields()
    }
}

impl RuleTable {
    /// The length of all field lines if every rule matched.
    fn bytes_max(&self) -> usize {
        let GivenRules { cache, headers, cors } = &self.given;
        let headers = headers.iter().map(|rule| fields::line_bytes(&rule.name, &rule.value));
        let presets = CORS.iter().chain(&PREFLIGHT).filter(|_| *cors);
        let presets = presets.map(|(name, value)| fields::line_bytes(name, value));
        let caching = cache.iter().map(|rule| rule.value.len()).max().unwrap_or(0);
        let caching = fields::line_bytes("Cache-Control", "") + caching.max(REVALIDATE.len());
        headers.sum::<usize>() + presets.sum::<usize>() + caching
    }
}

/// The value of `Cache-Control` if no rule matches. Empty to omit the field.
fn default_caching(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or("");
    let essence = trim(essence.as_bytes());
    let is_it = |known: &&str| essence.eq_ignore_ascii_case(known.as_bytes());
    if REVALIDATED.iter().any(is_it) { REVALIDATE } else { "" }
}
