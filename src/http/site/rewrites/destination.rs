//! The destination of a rule: a path or an address, into which captures are inserted.
//!
//! All text is checked and encoded when it is parsed, so an expanded destination consists of bytes
//! that an address may have. Captures are encoded when they are inserted: in a path all but `pchar`
//! and the slash, in a query all but unreserved characters (RFC 3986 section 2.3).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::super::target::{self, ENCODED_IN_PATH, QUERY};
use super::error::{PathRuleError, RulePart};
use super::pattern::{Captures, PathPattern, SPLAT, has_valid_encoding, name_len};

/// How long a destination may be.
const TO_BYTES_MAX: usize = 2048;

/// How long an expanded destination may be. One that is longer does not apply: the path of a
/// request may be long, and a destination may insert it several times.
const EXPANDED_BYTES_MAX: usize = 8 * 1024;

/// What is encoded in a query.
const ENCODED_IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A destination; see the module documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Destination {
    /// The scheme and the host; `None` for a path of the same site.
    origin: Option<String>,
    /// Begins with a slash.
    path: Vec<DestinationPiece>,
    query: Option<Vec<DestinationPiece>>,
    /// With its number sign.
    fragment: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum DestinationPiece {
    /// Text in its encoded form.
    Text(String),
    /// A capture, by its number.
    Capture { number: usize, is_splat: bool },
}

impl Destination {
    /// Parses a destination for the captures of a pattern.
    pub(super) fn parse(text: &str, pattern: &PathPattern) -> Result<Self, PathRuleError> {
        if text.len() > TO_BYTES_MAX {
            let (part, bytes_max) = (RulePart::To, TO_BYTES_MAX);
            return Err(PathRuleError::TooLong { part, bytes_max });
        }
        if !has_valid_encoding(text) {
            return Err(PathRuleError::MalformedEncoding(RulePart::To));
        }
        let (origin, rest) = split_origin(text)?;
        let (rest, fragment) = match rest.find('#') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = if path.is_empty() && origin.is_some() { "/" } else { path };
        if path.contains("//") {
            return Err(PathRuleError::EmptySegment(RulePart::To));
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(PathRuleError::DotSegment(RulePart::To));
        }
        let query = query.map(|query| pieces(query, pattern)).transpose()?;
        let destination = Self {
            origin: origin.map(str::to_owned),
            path: pieces(path, pattern)?,
            query,
            fragment: encoded(fragment)?,
        };
        destination.check_path()?;
        Ok(destination)
    }

    /// Checks that the path can be resolved, whatever the placeholders match.
    fn check_path(&self) -> Result<(), PathRuleError> {
        if self.origin.is_some() {
            return Ok(());
        }
        let example = self.example();
        let target = target::resolve(example.as_bytes()).map_err(|_| PathRuleError::Unserved)?;
        match target.is_hidden() {
            true => Err(PathRuleError::Unserved),
            false => Ok(()),
        }
    }

    /// The path if each placeholder matches one letter.
    fn example(&self) -> String {
        let mut path = String::new();
        for piece in &self.path {
            path.push_str(match piece {
                DestinationPiece::Text(text) => text,
                DestinationPiece::Capture { .. } => "x",
            });
        }
        path
    }

    /// Whether it is a path of the same site.
    pub(super) fn is_local(&self) -> bool {
        self.origin.is_none()
    }

    pub(super) fn has_fragment(&self) -> bool {
        !self.fragment.is_empty()
    }

    /// Whether the path depends on the path of the request.
    pub(super) fn has_captures(&self) -> bool {
        self.path.iter().any(|piece| matches!(piece, DestinationPiece::Capture { .. }))
    }

    /// Whether both lead to the same path for the same captures.
    pub(super) fn is_same_path(&self, other: &Self) -> bool {
        (&self.origin, &self.path) == (&other.origin, &other.path)
    }

    /// Whether a pattern matches the path, if each placeholder matches one letter.
    pub(super) fn is_matched_by(&self, pattern: &PathPattern) -> bool {
        let example = self.example();
        let Ok(target) = target::resolve(example.as_bytes()) else { return false };
        self.is_local() && pattern.captures(target.path()).is_some()
    }

    /// Whether the path ends with an asterisk's capture, and that is empty.
    pub(super) fn ends_without(&self, captures: &Captures<'_>) -> bool {
        match self.path.last() {
            Some(DestinationPiece::Capture { number, is_splat: true }) => {
                captures.get(*number).is_empty()
            }
            _ => false,
        }
    }

    /// The path with its captures, encoded. `None` if it is too long. `is_directory` is whether the
    /// path of the request ends with a slash.
    pub(super) fn path(&self, captures: &Captures<'_>, is_directory: bool) -> Option<String> {
        let mut path = String::new();
        for (at, piece) in self.path.iter().enumerate() {
            match piece {
                // What was captured may be empty, so that two slashes would meet: at the beginning
                // of a path, they would stand before a host (RFC 3986 section 4.2).
                DestinationPiece::Text(text) if path.ends_with('/') => {
                    path.push_str(text.strip_prefix('/').unwrap_or(text));
                }
                DestinationPiece::Text(text) => path.push_str(text),
                DestinationPiece::Capture { number, is_splat } => {
                    let value = captures.get(*number);
                    path.extend(percent_encode(value, ENCODED_IN_PATH));
                    let is_last = at + 1 == self.path.len();
                    if *is_splat && is_last && is_directory && !value.is_empty() {
                        path.push('/');
                    }
                }
            }
            if path.len() > EXPANDED_BYTES_MAX {
                return None;
            }
        }
        Some(path)
    }

    /// The query with its captures, encoded. Without one of its own, that of the request.
    fn query(&self, captures: &Captures<'_>, query: Option<&[u8]>) -> Option<String> {
        let Some(pieces) = &self.query else {
            return query.map(|query| percent_encode(query, QUERY).to_string());
        };
        let mut expanded = String::new();
        for piece in pieces {
            match piece {
                DestinationPiece::Text(text) => expanded.push_str(text),
                DestinationPiece::Capture { number, .. } => {
                    expanded.extend(percent_encode(captures.get(*number), ENCODED_IN_QUERY));
                }
            }
        }
        Some(expanded)
    }

    /// The whole address for a path that [`Destination::path`] has made. `None` if it is too long.
    pub(super) fn address(
        &self,
        path: &str,
        captures: &Captures<'_>,
        query: Option<&[u8]>,
    ) -> Option<String> {
        let mut address = self.origin.clone().unwrap_or_default();
        address.push_str(path);
        if let Some(query) = self.query(captures, query) {
            if self.query.is_some() && query.len() > EXPANDED_BYTES_MAX {
                return None;
            }
            address.push('?');
            address.push_str(&query);
        }
        address.push_str(&self.fragment);
        Some(address)
    }
}

/// Splits a text into scheme and host, if it begins with them, and the rest.
fn split_origin(text: &str) -> Result<(Option<&str>, &str), PathRuleError> {
    if text.starts_with("//") {
        return Err(PathRuleError::MalformedTo);
    }
    if text.starts_with('/') {
        return Ok((None, text));
    }
    let starts = |scheme: &&str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let scheme = ["http://", "https://"].into_iter().find(|scheme| starts(scheme));
    let scheme = scheme.ok_or(PathRuleError::MalformedTo)?;
    let authority = &text[scheme.len()..];
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let (authority, rest) = authority.split_at(end);
    match is_authority(authority) {
        true => Ok((Some(&text[..scheme.len() + end]), rest)),
        false => Err(PathRuleError::MalformedHost),
    }
}

/// Whether a text is a host, perhaps with a port: a name, an IPv4 address, or an IPv6 address in
/// brackets. User information would hide the host from a reader, so it is refused.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(fits)
        }
    };
    is_host && port.is_none_or(is_port)
}

/// Splits a text at its placeholders.
fn pieces(text: &str, pattern: &PathPattern) -> Result<Vec<DestinationPiece>, PathRuleError> {
    let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(':') {
        let (before, tail) = rest.split_at(at);
        plain.push_str(before);
        let len = name_len(&tail[1..]);
        let (name, tail) = tail[1..].split_at(len);
        rest = tail;
        if name.is_empty() {
            plain.push(':');
            continue;
        }
        let number = pattern.number_of(name);
        let number = number.ok_or_else(|| PathRuleError::UnknownName(name.to_owned()))?;
        if !plain.is_empty() {
            pieces.push(DestinationPiece::Text(encoded(&plain)?));
            plain.clear();
        }
        pieces.push(DestinationPiece::Capture { number, is_splat: name == SPLAT });
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(DestinationPiece::Text(encoded(&plain)?));
    }
    Ok(pieces)
}

/// The encoded form of a text that may be encoded already. What is not ASCII is encoded, since it
/// can mean only one thing.
fn encoded(text: &str) -> Result<String, PathRuleError> {
    let mut encoded = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' ' | '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}' => {
                return Err(PathRuleError::ForbiddenCharacter(char));
            }
            _ if char.is_control() => return Err(PathRuleError::ForbiddenCharacter(char)),
            _ if char.is_ascii() => encoded.push(char),
            _ => {
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).as_bytes();
                encoded.extend(percent_encode(bytes, NON_ALPHANUMERIC));
            }
        }
    }
    Ok(encoded)
}
