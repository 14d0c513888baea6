//! Which remembered names a change concerns.
//!
//! It is the reverse of what a lookup does (`lookup.rs`, `loading.rs`): that goes from a name to
//! the files that may stand for it, this from a file to the names that it may stand for. A name
//! that is concerned for no reason is asked about once more than it had to be; one that is missing
//! here would be served as it was.

use crate::files::Change;
use crate::http::semantics::negotiate::Coding;
use crate::http::site::listing::Format;
use crate::http::site::lookup::PAGE_SUFFIX;

#[cfg(test)]
mod tests;

/// Which keys are told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Concern {
    /// This one.
    Name,
    /// Those that begin so.
    Beginning,
}

/// Tells which keys, as `Name::write_key` has them, a change
/// concerns. `index` are the names that stand for their directory; `key` is room for putting keys
/// together.
pub(in crate::http) fn concerned(
    change: Change<'_>,
    index: &[Vec<u8>],
    key: &mut Vec<u8>,
    tell: &mut impl FnMut(Concern, &[u8]),
) {
    let mut tell_of = |concern, parts: &[&[u8]]| {
        key.clear();
        parts.iter().for_each(|part| key.extend_from_slice(part));
        tell(concern, key);
    };
    let (directory, name, beneath) = match change {
        Change::Entry { directory, name, beneath } => (directory, name, beneath),
        Change::Directory { path } => (path, &b""[..], true),
        Change::Everything => return tell_of(Concern::Beginning, &[]),
    };
    let slash: &[u8] = if directory.is_empty() || name.is_empty() { b"" } else { b"/" };
    if beneath {
        // Files and directories; entries; what answers in the place of others.
        tell_of(Concern::Beginning, &[directory, slash, name, b"/"]);
        tell_of(Concern::Beginning, &[directory, slash, name, b"\0"]);
        tell_of(Concern::Beginning, &[b"\0/", directory, slash, name, b"/"]);
    }
    if name.is_empty() {
        return;
    }
    let coding = Coding::ALL.iter().find_map(|coding| without(name, coding.suffix().as_bytes()));
    let files = [Some(name), coding].into_iter().flatten();
    for file in files {
        for stem in [Some(file), without(file, PAGE_SUFFIX)].into_iter().flatten() {
            tell_of(Concern::Name, &[directory, slash, stem]);
            tell_of(Concern::Name, &[b"\0/", directory, slash, stem]);
        }
        if index.iter().any(|index| index == file) {
            tell_of(Concern::Name, &[directory, b"/"]);
        }
    }
    // A page has its own address while something else has the clean one.
    tell_of(Concern::Name, &[directory, slash, name, PAGE_SUFFIX]);
    for format in Format::ALL {
        tell_of(Concern::Beginning, &[directory, b"\0", &[format.initial()]]);
    }
}

/// What stands before a suffix, if that is not all.
fn without<'n>(name: &'n [u8], suffix: &[u8]) -> Option<&'n [u8]> {
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}
