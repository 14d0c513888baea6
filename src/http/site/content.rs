//! Settings of a site that affect the content of responses.

use std::borrow::Cow;

use crate::http::compress::CompressSettings;
use crate::http::semantics::encoded::EncodedNames;
use crate::http::semantics::mime::Types;
use crate::http::semantics::negotiate::Coding;
use crate::http::site::rewrites::PathRules;
use crate::http::site::rules::Rules;
use crate::http::site::tags::TagSource;

/// Which file a request gets, and with which fields.
///
/// Paths are relative to the root, without a slash at either end, like
/// [`Target::path`](crate::http::site::target::Target::path).
#[derive(Clone, PartialEq, Debug)]
pub struct Content {
    /// Media types by name.
    pub types: Types,
    /// The files that are compressed by name.
    pub encoded: EncodedNames,
    /// Fields that are added to responses.
    pub rules: Rules,
    /// Redirects and rewrites, if there are any.
    pub path_rules: Option<PathRules>,
    /// Whether [`SITE_FILES`] at the top of the root are read by this server, so that clients get
    /// 404 for them.
    pub hides_site_files: bool,
    /// Names of index files, in order of preference.
    pub index: Vec<Vec<u8>>,
    /// Whether `/a` serves `a.html`.
    pub clean_urls: bool,
    /// The fallback page of a single-page application, for navigations to other paths.
    pub spa: Option<Vec<u8>>,
    /// Whether a directory without an index file is listed.
    pub listing: bool,
    /// Error pages by status code; each code occurs once.
    pub error_pages: Vec<(u16, Vec<u8>)>,
    /// Whether a compressed file beside a plain one is sent to clients that accept its coding.
    pub precompressed: bool,
    /// Which files are compressed on the fly.
    pub compress: CompressSettings,
    /// What the entity tags of files are made of.
    pub etag: TagSource,
    /// Whether `Last-Modified` is sent though the entity tag is made of the content.
    pub last_modified: bool,
}

/// When a file is sent in place of the one that was requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallbackUse {
    /// For navigations within a single-page application.
    Application,
    /// For errors.
    Error,
}

/// The files at the top of a root in which hosting services read redirects and header fields.
pub const SITE_FILES: [&str; 2] = ["_redirects", "_headers"];

/// Whether a path is that of one of [`SITE_FILES`], or of a compressed file beside it.
pub(super) fn is_site_file(path: &[u8]) -> bool {
    let suffix = |coding: &Coding| path.strip_suffix(coding.suffix().as_bytes());
    let plain = Coding::ALL.iter().find_map(suffix).unwrap_or(path);
    SITE_FILES.iter().any(|name| name.as_bytes() == plain)
}

/// The error page for 404 if the settings have none.
const NOT_FOUND_PAGE: &[u8] = b"404.html";

impl Content {
    /// The value of `Content-Type` for the file at a path.
    #[must_use]
    pub fn content_type(&self, path: &[u8]) -> Cow<'_, str> {
        self.encoded.content_type(&self.types, path)
    }

    /// The path of the error page for a status code, if it may have one. The file may not exist.
    #[must_use]
    pub fn error_page(&self, code: u16) -> Option<&[u8]> {
        let chosen = self.error_pages.iter().find(|(other, _)| *other == code);
        let default = (code == 404).then_some(NOT_FOUND_PAGE);
        chosen.map(|(_, path)| &path[..]).or(default)
    }

    /// Whether a path, which has no slash at either end, is not served although it may have a file.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        self.hides_site_files && is_site_file(path)
    }

    /// The fallback page and the error pages of the settings.
    pub fn fallbacks(&self) -> impl Iterator<Item = (FallbackUse, &[u8])> {
        let errors = self.error_pages.iter().map(|(_, path)| (FallbackUse::Error, &path[..]));
        self.spa.iter().map(|path| (FallbackUse::Application, &path[..])).chain(errors)
    }
}

impl Default for Content {
    fn default() -> Self {
        Self {
            types: Types::default(),
            encoded: EncodedNames::default(),
            rules: Rules::default(),
            path_rules: None,
            hides_site_files: false,
            index: vec![b"index.html".to_vec()],
            clean_urls: false,
            spa: None,
            listing: false,
            error_pages: Vec::new(),
            precompressed: true,
            compress: CompressSettings::default(),
            etag: TagSource::default(),
            last_modified: false,
        }
    }
}
