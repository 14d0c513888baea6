//! The keys of the cache, and which of them a change of a file invalidates.
//!
//! A lookup maps a name to the files that it depends on (`lookup.rs`, `page_loader.rs`);
//! [`invalidated`] maps a file to the names that may depend on it. Invalidating too many names
//! costs lookups; missing one would serve an outdated file.
//!
//! ```text
//! site (2 bytes) | path          a target; a trailing slash is part of the path
//!                | path \0 query  the entries of a directory, with format, order and page
//!                | \0 / path     a fallback or error page
//! ```
//!
//! Paths contain no NUL and have no other trailing slash, so no two names share a key.

use super::listing::{Asked, Format};
use crate::driver::watch::{Change, SiteId};
use crate::http::semantics::negotiate::Coding;

#[cfg(test)]
mod tests;

/// The suffix that clean URLs leave out.
pub(super) const PAGE_SUFFIX: &[u8] = b".html";

/// A name that can be looked up. Paths are relative to the root, without a slash at either end.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResourceName<'a> {
    /// The target of a request.
    Target {
        path: &'a [u8],
        /// Whether the target ends in a slash.
        directory: bool,
    },
    /// A fallback or error page: exactly the file at this path.
    Fallback { path: &'a [u8] },
    /// The entries of a directory.
    Entries { path: &'a [u8], asked: Asked },
}

impl ResourceName<'_> {
    /// Writes the key of the name in a site.
    pub(super) fn write_key(&self, site: SiteId, key: &mut Vec<u8>) {
        begin(key, site);
        match self {
            Self::Target { path, directory } => {
                key.extend_from_slice(path);
                if *directory {
                    key.push(b'/');
                }
            }
            Self::Fallback { path } => {
                // In the key of entries, a letter follows the NUL.
                key.extend_from_slice(b"\0/");
                key.extend_from_slice(path);
            }
            Self::Entries { path, asked } => {
                key.extend_from_slice(path);
                key.push(0);
                key.extend_from_slice(asked.key().as_ref());
            }
        }
    }

    /// The path in the name.
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::Target { path, .. } | Self::Fallback { path } | Self::Entries { path, .. } => {
                path
            }
        }
    }

    /// The directory that contains the files on which the name depends.
    pub(super) fn directory(&self) -> &[u8] {
        let path = self.path();
        match self {
            Self::Target { directory: true, .. } | Self::Entries { .. } => path,
            Self::Target { directory: false, .. } | Self::Fallback { .. } => {
                memchr::memrchr(b'/', path).map_or(b"", |slash| &path[..slash])
            }
        }
    }
}

/// The site of a key.
pub(super) fn site_of(key: &[u8]) -> SiteId {
    let number = key.first_chunk().expect("a key begins with the number of its site");
    SiteId(u16::from_be_bytes(*number))
}

/// Starts a key with the number of its site.
fn begin(key: &mut Vec<u8>, site: SiteId) {
    key.clear();
    key.extend_from_slice(&site.0.to_be_bytes());
}

/// How to read a key that a change invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Invalidation {
    /// This key.
    Key,
    /// All keys with this prefix.
    Prefix,
}

/// Calls `report` for all keys of a site that a change invalidates. `index` are the names of index
/// files; `key` is a scratch buffer.
pub(super) fn invalidated(
    site: SiteId,
    change: &Change,
    index: &[Vec<u8>],
    key: &mut Vec<u8>,
    report: &mut impl FnMut(Invalidation, &[u8]),
) {
    let mut report_keys = |invalidation, parts: &[&[u8]]| {
        begin(key, site);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        report(invalidation, key);
    };
    let (directory, name, beneath) = match change {
        Change::Entry { directory, name, beneath } => (&**directory, &**name, *beneath),
        Change::Directory { path } => (&**path, &b""[..], true),
        Change::Everything => return report_keys(Invalidation::Prefix, &[]),
    };
    let slash: &[u8] = if directory.is_empty() || name.is_empty() { b"" } else { b"/" };
    if beneath {
        // Targets; listings; fallback and error pages.
        report_keys(Invalidation::Prefix, &[directory, slash, name, b"/"]);
        report_keys(Invalidation::Prefix, &[directory, slash, name, b"\0"]);
        report_keys(Invalidation::Prefix, &[b"\0/", directory, slash, name, b"/"]);
    }
    if name.is_empty() {
        return;
    }
    let coding = Coding::ALL.iter().find_map(|coding| without(name, coding.suffix().as_bytes()));
    let files = [Some(name), coding].into_iter().flatten();
    for file in files {
        for stem in [Some(file), without(file, PAGE_SUFFIX)].into_iter().flatten() {
            report_keys(Invalidation::Key, &[directory, slash, stem]);
            report_keys(Invalidation::Key, &[b"\0/", directory, slash, stem]);
        }
        if index.iter().any(|index| index == file) {
            report_keys(Invalidation::Key, &[directory, b"/"]);
        }
    }
    // With clean URLs, `name.html` redirects to `name` unless a file is there.
    report_keys(Invalidation::Key, &[directory, slash, name, PAGE_SUFFIX]);
    for format in Format::ALL {
        report_keys(Invalidation::Prefix, &[directory, b"\0", &[format.initial()]]);
    }
}

/// The name without a suffix, if the name has the suffix and more.
fn without<'n>(name: &'n [u8], suffix: &[u8]) -> Option<&'n [u8]> {
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}
