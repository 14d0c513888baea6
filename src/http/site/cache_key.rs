//! The names under which a site's files are remembered, and which of them a change invalidates.
//!
//! The two directions stand side by side, since one is the reverse of the other: a lookup goes from
//! a name to the files that may stand for it (`lookup.rs`, `page_loader.rs`), a change from a file
//! to the names that it may stand for. A name that is invalidated for no reason is looked up once
//! more than it had to be; one that is missing here would be served as it was.
//!
//! ```text
//! site (2 bytes) | path             what an address names, with a slash behind it or not
//!                | path \0 question  the entries of a directory, as they were asked for
//!                | \0 / path        a file that answers in the place of others
//! ```
//!
//! No path holds a NUL or ends in a slash, so no two names share a key.

use super::listing::{Asked, Format};
use crate::driver::watch::{Change, SiteId};
use crate::http::semantics::negotiate::Coding;

#[cfg(test)]
mod tests;

/// What a file is called whose address is clean.
pub(super) const PAGE_SUFFIX: &[u8] = b".html";

/// What is looked up. Paths are relative to the root, without a slash at either end.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResourceName<'a> {
    /// What an address stands for.
    Target {
        path: &'a [u8],
        /// Whether the address ends in a slash.
        directory: bool,
    },
    /// A file that answers in the place of others: exactly this one.
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
                // No key of entries continues like this.
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

    /// The path that the name is made of.
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::Target { path, .. } | Self::Fallback { path } | Self::Entries { path, .. } => {
                path
            }
        }
    }

    /// The directory that holds what the name may stand for.
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

/// Begins the key of something in a site.
fn begin(key: &mut Vec<u8>, site: SiteId) {
    key.clear();
    key.extend_from_slice(&site.0.to_be_bytes());
}

/// Which keys a change invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Invalidation {
    /// This one.
    Key,
    /// Those that begin so.
    Prefix,
}

/// Tells which keys of a site a change invalidates. `index` are the names that stand for their
/// directory; `key` is room for putting keys together.
pub(super) fn invalidated(
    site: SiteId,
    change: &Change,
    index: &[Vec<u8>],
    key: &mut Vec<u8>,
    tell: &mut impl FnMut(Invalidation, &[u8]),
) {
    let mut tell_of = |invalidation, parts: &[&[u8]]| {
        begin(key, site);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        tell(invalidation, key);
    };
    let (directory, name, beneath) = match change {
        Change::Entry { directory, name, beneath } => (&**directory, &**name, *beneath),
        Change::Directory { path } => (&**path, &b""[..], true),
        Change::Everything => return tell_of(Invalidation::Prefix, &[]),
    };
    let slash: &[u8] = if directory.is_empty() || name.is_empty() { b"" } else { b"/" };
    if beneath {
        // Files and directories; entries; what answers in the place of others.
        tell_of(Invalidation::Prefix, &[directory, slash, name, b"/"]);
        tell_of(Invalidation::Prefix, &[directory, slash, name, b"\0"]);
        tell_of(Invalidation::Prefix, &[b"\0/", directory, slash, name, b"/"]);
    }
    if name.is_empty() {
        return;
    }
    let coding = Coding::ALL.iter().find_map(|coding| without(name, coding.suffix().as_bytes()));
    let files = [Some(name), coding].into_iter().flatten();
    for file in files {
        for stem in [Some(file), without(file, PAGE_SUFFIX)].into_iter().flatten() {
            tell_of(Invalidation::Key, &[directory, slash, stem]);
            tell_of(Invalidation::Key, &[b"\0/", directory, slash, stem]);
        }
        if index.iter().any(|index| index == file) {
            tell_of(Invalidation::Key, &[directory, b"/"]);
        }
    }
    // A page has its own address while something else has the clean one.
    tell_of(Invalidation::Key, &[directory, slash, name, PAGE_SUFFIX]);
    for format in Format::ALL {
        tell_of(Invalidation::Prefix, &[directory, b"\0", &[format.initial()]]);
    }
}

/// What stands before a suffix, if that is not all.
fn without<'n>(name: &'n [u8], suffix: &[u8]) -> Option<&'n [u8]> {
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}
