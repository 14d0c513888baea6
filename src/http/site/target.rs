//! Maps request targets to paths below the served root, and paths to references.
//!
//! [`resolve`] decodes a target exactly once, to a relative path without empty segments, `.`, `..`,
//! NUL and leading `/`. Such a path does not leave the root by itself; for symbolic links, the
//! kernel enforces that. [`encode_path`] is the inverse, for links. [`reference()`] makes an
//! encoded path relative to a target, for `Location`.
//!
//! Names are bytes: they need not be UTF-8. Backslash and plus have no special meaning, and only
//! `/` separates segments. An encoded slash does not separate segments; since no file name contains
//! a slash, such a target gets 404.
//!
//! Names that begin with a dot resolve like others. The caller decides with
//! [`Target::is_hidden`] whether to serve them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// The longest file name on Linux.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// The longest path that a system call accepts: `PATH_MAX` without the terminating NUL.
pub const PATH_BYTES_MAX: usize = 4096 - 1;

/// A path below the root, and the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, [u8]>,
    directory: bool,
    is_hidden: bool,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// The decoded path, relative to the root, without a slash at either end. Empty for the root.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether the target names a directory, because it ends with `/` or with a dot segment.
    #[must_use]
    pub const fn directory(&self) -> bool {
        self.directory
    }

    /// Whether the path has a hidden segment; see [`has_hidden_segment`].
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// The query after the first `?`, as sent.
    #[must_use]
    pub const fn query(&self) -> Option<&'a [u8]> {
        self.query
    }
}

/// Why a target does not resolve to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolvable {
    /// The target is malformed or leads above the root. Takes precedence over `NotFound`.
    Bad,
    /// The target is well-formed, but no file can have such a name.
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

/// Resolves the target of a [`Request`](crate::http::semantics::request::Request) to a path below
/// the root.
///
/// The path in the target must be empty or begin with `/`. Repeated slashes count as one.
///
/// # Errors
///
/// [`Unresolvable::Bad`] for a `%` without two hexadecimal digits, for a NUL byte, and for a `..`
/// that leads above the root. [`Unresolvable::NotFound`] for an encoded slash, and for a segment or
/// a path that is longer than the file system allows, even if `..` removes it later.
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

/// The common case, in one pass and without allocation: the path is a slice of the target.
///
/// Returns `None` if the target needs the general case.
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
        // Such a segment needs the general case.
        is_hidden: false,
        query: raw.get(end + 1..),
    })
}

/// The general case: decodes each segment, then applies it if it is a dot segment.
///
/// This is the algorithm of RFC 3986 §5.2.4, with two differences: segments are decoded first, so
/// `%2e%2e` is `..` (§6.2.2.2), and `..` at the root is an error.
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
    let is_hidden = has_hidden_segment(&path);
    Ok(Target { path: Cow::Owned(path), directory, is_hidden, query })
}

/// Percent-decodes one segment and appends it to `path`. Returns whether a file can have that name.
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
            // The result is 404 by now, unless a later segment is malformed. An ordinary byte
            // replaces the slash, so `..` still removes the whole segment.
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

/// All bytes except those that a path may contain unencoded: `pchar` and `/` (RFC 3986 §3.3).
pub(super) const ENCODED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
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

/// The bytes to encode in the query or the target of a redirect, besides those that are not ASCII.
/// All others stay as the client sent them.
pub(super) const QUERY: &AsciiSet = &CONTROLS.add(b' ');

/// Encodes a path as a reference with exactly one leading `/`.
///
/// Two leading slashes would begin an authority (RFC 3986 §4.2), so the reference would lead to
/// another host.
#[must_use]
pub fn encode_path(path: &[u8]) -> String {
    let name_start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let mut encoded = String::with_capacity(path.len() + 1);
    encoded.push('/');
    encoded.extend(percent_encode(&path[name_start..], ENCODED_IN_PATH));
    encoded
}

/// A reference to an encoded path, for the `Location` of a response to this target.
///
/// A proxy may serve this server's files beneath a prefix that it removes from targets. So the
/// reference is relative: the client resolves it against the target that it has sent, with the
/// prefix. It has neither host nor scheme (RFC 3986 §4.2).
///
/// Clients disagree about where a target's directory is if the target has a backslash or an encoded
/// dot segment. Then the reference is the path itself. About repeated slashes they disagree too:
/// some drop them when they resolve a reference. So the reference never leads upwards: the client's
/// path keeps its repeated slashes or loses them, and both lead to the same file.
#[must_use]
pub fn reference(raw: &[u8], path: &str) -> String {
    relative_reference(raw, path).unwrap_or_else(|| path.to_owned())
}

fn relative_reference(raw: &[u8], path: &str) -> Option<String> {
    let end = memchr::memchr2(b'?', b'\\', raw).unwrap_or(raw.len());
    if raw.get(end) == Some(&b'\\') {
        return None;
    }
    let base = base_segments(raw[..end].strip_prefix(b"/")?)?;
    let wanted: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    // The last segment is not a directory, so it is always a part of the reference.
    let shared = base
        .iter()
        .zip(&wanted[..wanted.len() - 1])
        .take_while(|(base, wanted)| percent_decode(base).eq(percent_decode(wanted.as_bytes())));
    let shared = shared.count();
    if shared < base.len() {
        return None;
    }
    let rest = &wanted[shared..];
    // `a:b` would be a URI with a scheme, a leading slash an absolute path, and an empty reference
    // the target itself.
    let needs_dot = rest[0].is_empty() || rest[0].contains(':');
    let dot = if needs_dot { "./" } else { "" };
    Some(format!("{dot}{}", rest.join("/")))
}

/// The segments of the directory against which a client resolves a reference (RFC 3986 §5.2).
/// Without empty segments. `None` if clients disagree about it.
fn base_segments(raw_path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut base = Vec::new();
    let mut segments = raw_path.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let is_dots = percent_decode(segment).eq(b".".iter().copied())
            || percent_decode(segment).eq(b"..".iter().copied());
        match segment {
            _ if is_dots && is_last => return None,
            _ if is_last => {}
            b"." => {}
            // A client that drops empty segments removes another one.
            b".." if base.last().is_some_and(|last: &&[u8]| last.is_empty()) => return None,
            b".." => drop(base.pop()?),
            _ if is_dots => return None,
            _ => base.push(segment),
        }
    }
    base.retain(|segment| !segment.is_empty());
    Some(base)
}

/// Whether a resolved path has a segment that begins with a dot.
///
/// `.well-known` at the root is not hidden, because clients are meant to request it (RFC 8615).
#[must_use]
pub fn has_hidden_segment(path: &[u8]) -> bool {
    let is_hidden = |(at, segment): (usize, &[u8])| {
        segment.first() == Some(&b'.') && !(at == 0 && segment == b".well-known")
    };
    path.split(|&byte| byte == b'/').enumerate().any(is_hidden)
}

/// Fuzz entry: a resolved path has the promised form, and resolves to itself after encoding.
///
/// # Panics
///
/// If an invariant of [`resolve`] does not hold.
#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub fn fuzz_target(data: &[u8]) {
    let Ok(target) = resolve(data) else { return };
    let path = target.path();
    assert!(path.len() <= PATH_BYTES_MAX);
    assert!(!path.contains(&0));
    assert_eq!(target.is_hidden(), has_hidden_segment(path));
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
