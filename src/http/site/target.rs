//! From a request target to a path below the served root, and back.
//!
//! [`resolve`] decodes a target exactly once and yields a [`Target`]: a relative path of plain
//! bytes with no empty, `.` or `..` segment, no NUL and no leading `/`. It is safe to open below
//! a directory, as far as names alone can be; links are for the kernel to judge. [`encode_path`]
//! is the way back, for `Location` and for links.
//!
//! Names are bytes: they need not be UTF-8, a backslash and a plus sign stand for themselves,
//! and only `/` separates. An encoded slash is not a separator. It would have to be part of a
//! name, and no file has such a name, so the answer is 404.
//!
//! Names that begin with a dot resolve like any other. Whether they are served is the caller's
//! policy, for which there is [`has_hidden_segment`].

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// The longest name a Linux directory can hold.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// The longest path a system call takes: `PATH_MAX` counts the NUL at the end.
pub const PATH_BYTES_MAX: usize = 4096 - 1;

/// A path below the root, and the query that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, [u8]>,
    directory: bool,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// The decoded path, relative to the root and without a slash at either end.
    ///
    /// Empty for the root itself.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether the target ended with `/` or with a dot segment, and so names a directory.
    #[must_use]
    pub const fn directory(&self) -> bool {
        self.directory
    }

    /// What follows the first `?`, as sent.
    #[must_use]
    pub const fn query(&self) -> Option<&'a [u8]> {
        self.query
    }
}

/// Why a target has no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolvable {
    /// Malformed, or above the root. Takes precedence over `NotFound`.
    Bad,
    /// Well-formed, but no file can have that name.
    NotFound,
}

impl Unresolvable {
    /// The status of the response.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Bad => Status::BadRequest,
            Self::NotFound => Status::NotFound,
        }
    }
}

/// Resolves `path?query`, as a [`Request`](crate::http::semantics::request::Request) has it, to a
/// path below the root.
///
/// The path must be empty or begin with `/`. Repeated slashes count as one.
///
/// # Errors
///
/// [`Unresolvable::Bad`] for a `%` without two hexadecimal digits, for a NUL byte and for a `..`
/// that leads above the root. [`Unresolvable::NotFound`] for an encoded slash and for a segment
/// or a path that is longer than the file system allows; a later `..` does not undo these.
pub fn resolve(raw: &[u8]) -> Result<Target<'_>, Unresolvable> {
    let target = match resolve_plain(raw) {
        Some(target) => target,
        None => resolve_encoded(raw)?,
    };
    if target.path.len() > PATH_BYTES_MAX {
        return Err(Unresolvable::NotFound);
    }
    Ok(target)
}

/// The common case: the path is in the target as it stands. One pass, no allocation.
///
/// Returns `None` at the first byte that needs the general case.
fn resolve_plain(raw: &[u8]) -> Option<Target<'_>> {
    if raw.first() != Some(&b'/') {
        return None;
    }
    let mut segment_start = 1;
    let mut end = raw.len();
    for (at, &byte) in raw.iter().enumerate().skip(1) {
        match byte {
            b'?' => {
                end = at;
                break;
            }
            b'%' | 0 => return None,
            b'.' | b'/' if at == segment_start => return None,
            b'/' if at - segment_start > SEGMENT_BYTES_MAX => return None,
            b'/' => segment_start = at + 1,
            _ => {}
        }
    }
    if end - segment_start > SEGMENT_BYTES_MAX {
        return None;
    }
    let directory = segment_start == end;
    let path = &raw[1..end];
    Some(Target {
        path: Cow::Borrowed(path.strip_suffix(b"/").unwrap_or(path)),
        directory,
        query: raw.get(end + 1..),
    })
}

/// The general case: decodes each segment, then obeys it if it is a dot segment.
///
/// RFC 3986 §5.2.4, but after decoding, so that `%2e%2e` is `..` (§6.2.2.2), and with an error
/// where that section would stay at the root.
fn resolve_encoded(raw: &[u8]) -> Result<Target<'_>, Unresolvable> {
    let (raw_path, query) = match memchr::memchr(b'?', raw) {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    };
    if !matches!(raw_path, [] | [b'/', ..]) {
        return Err(Unresolvable::Bad);
    }
    let mut path = Vec::with_capacity(raw_path.len());
    let mut directory = true;
    let mut possible = true;
    for segment in raw_path.split(|&byte| byte == b'/') {
        let parent_end = path.len();
        if !path.is_empty() && !segment.is_empty() {
            path.push(b'/');
        }
        let name_start = path.len();
        possible &= decode(segment, &mut path)?;
        let name = &path[name_start..];
        possible &= name.len() <= SEGMENT_BYTES_MAX;
        directory = matches!(name, b"" | b"." | b"..");
        match name {
            b"." => path.truncate(parent_end),
            b".." if parent_end == 0 => return Err(Unresolvable::Bad),
            b".." => path.truncate(memchr::memrchr(b'/', &path[..parent_end]).unwrap_or(0)),
            _ => {}
        }
    }
    if !possible {
        return Err(Unresolvable::NotFound);
    }
    Ok(Target { path: Cow::Owned(path), directory, query })
}

/// Appends one segment to `path`, percent-decoded. Returns whether a file can have that name.
fn decode(segment: &[u8], path: &mut Vec<u8>) -> Result<bool, Unresolvable> {
    let mut possible = true;
    let mut rest = segment;
    loop {
        let (byte, tail) = match rest {
            [] => return Ok(possible),
            [b'%', high, low, tail @ ..] => (hexadecimal(*high)? << 4 | hexadecimal(*low)?, tail),
            [b'%', ..] => return Err(Unresolvable::Bad),
            [byte, tail @ ..] => (*byte, tail),
        };
        rest = tail;
        match byte {
            0 => return Err(Unresolvable::Bad),
            // The answer is 404 by now. A byte that is not special stands in for the slash, so
            // that one segment stays one for the `..` that may follow, and cannot become one.
            b'/' => {
                possible = false;
                path.push(b'_');
            }
            _ => path.push(byte),
        }
    }
}

fn hexadecimal(digit: u8) -> Result<u8, Unresolvable> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Unresolvable::Bad),
    }
}

/// What may stand in a path unencoded: `pchar` and `/` (RFC 3986 §3.3). The complement.
const ENCODED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// The path as a relative reference with exactly one leading `/`, for `Location` and for links.
///
/// Two leading slashes would begin an authority (RFC 3986 §4.2), and send the client elsewhere.
#[must_use]
pub fn encode_path(path: &[u8]) -> String {
    let name_start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let mut encoded = String::with_capacity(path.len() + 1);
    encoded.push('/');
    encoded.extend(percent_encode(&path[name_start..], ENCODED_IN_PATH));
    encoded
}

/// Whether a resolved path has a segment that begins with a dot.
///
/// `.well-known` at the root does not count, since it exists to be asked for (RFC 8615).
#[must_use]
pub fn has_hidden_segment(path: &[u8]) -> bool {
    let is_hidden = |(at, segment): (usize, &[u8])| {
        segment.first() == Some(&b'.') && !(at == 0 && segment == b".well-known")
    };
    path.split(|&byte| byte == b'/').enumerate().any(is_hidden)
}

/// Fuzz entry: a resolved path is what the module promises, and survives the way back.
///
/// # Panics
///
/// If an invariant of [`resolve`] does not hold.
#[doc(hidden)]
pub fn fuzz_target(data: &[u8]) {
    let Ok(target) = resolve(data) else { return };
    let path = target.path();
    assert!(path.len() <= PATH_BYTES_MAX);
    assert!(!path.contains(&0));
    if path.is_empty() {
        assert!(target.directory());
    } else {
        for segment in path.split(|&byte| byte == b'/') {
            assert!(!matches!(segment, b"" | b"." | b".."));
            assert!(segment.len() <= SEGMENT_BYTES_MAX);
        }
    }
    if let Some(query) = target.query() {
        assert!(data.ends_with(query));
    }
    let encoded = encode_path(path);
    assert!(encoded.starts_with('/') && !encoded.starts_with("//"));
    let again = resolve(encoded.as_bytes());
    assert_eq!(again.as_ref().map(Target::path), Ok(path));
}
