//! Settings of a site that affect the content of responses.

use crate::http::semantics::mime::Types;
use crate::http::site::rules::Rules;

/// Which file a request gets, and with which fields.
///
/// Paths are relative to the root, without a slash at either end, like
/// [`Target::path`](crate::http::site::target::Target::path).
#[derive(Clone, PartialEq, Debug)]
pub struct Content {
    /// Media types by extension.
    pub types: Types,
    /// Fields that are added to responses.
    pub rules: Rules,
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
}

/// When a file is sent in place of the one that was requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallbackUse {
    /// For navigations within a single-page application.
    Application,
    /// For errors.
    Error,
}

/// The error page for 404 if the settings have none.
const NOT_FOUND_PAGE: &[u8] = b"404.html";

impl Content {
    /// The path of the error page for a status code, if it may have one. The file may not exist.
    #[must_use]
    pub fn error_page(&self, code: u16) -> Option<&[u8]> {
        let chosen = self.error_pages.iter().find(|(other, _)| *other == code);
        let default = (code == 404).then_some(NOT_FOUND_PAGE);
        chosen.map(|(_, path)| &path[..]).or(default)
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
            rules: Rules::default(),
            index: vec![b"index.html".to_vec()],
            clean_urls: false,
            spa: None,
            listing: false,
            error_pages: Vec::new(),
            precompressed: true,
        }
    }
}
