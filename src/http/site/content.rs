//! What a site makes of its files: the choices that its owner has.

use crate::http::semantics::mime::Types;
use crate::http::site::rules::Rules;

/// How names lead to files, and what is said of those. Clones share the large parts.
///
/// Paths in here are relative to the root, without a slash at either end, as
/// [`Target::path`](crate::http::site::target::Target::path) has them.
#[derive(Clone, Debug)]
pub struct Content {
    /// Media types by extension.
    pub types: Types,
    /// Fields that are added to answers.
    pub rules: Rules,
    /// Names that stand for a directory, the first that is there.
    pub index: Vec<Vec<u8>>,
    /// Whether `/a` finds `a.html`.
    pub clean_urls: bool,
    /// The file that answers navigations to what is not there.
    pub spa: Option<Vec<u8>>,
    /// Whether a directory without an index lists what is in it.
    pub listing: bool,
    /// Status codes with the file that is the body of their answers; each code once.
    pub error_pages: Vec<(u16, Vec<u8>)>,
    /// Whether compressed files beside a file are sent in its place.
    pub precompressed: bool,
}

/// What a file answers in the place of others for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallbackUse {
    /// Navigations within an application of one page.
    Application,
    /// Errors.
    Error,
}

/// The body of a 404 where the site has such a file and nothing else is chosen.
const NOT_FOUND_PAGE: &[u8] = b"404.html";

impl Content {
    /// The file that may be the body of answers with a status, by its code.
    #[must_use]
    pub fn error_page(&self, code: u16) -> Option<&[u8]> {
        let chosen = self.error_pages.iter().find(|(other, _)| *other == code);
        let default = (code == 404).then_some(NOT_FOUND_PAGE);
        chosen.map(|(_, path)| &path[..]).or(default)
    }

    /// The files that were chosen to answer in the place of others, and for what.
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
