//! What trusted proxies say of a request in its fields: the client, in `X-Forwarded-For` or in
//! `Forwarded` of RFC 7239, and whether it has used `https`.
//!
//! Each proxy appends the address of whom it got the request from. So the last address is from the
//! proxy next to this server, and the first one is anybody's. The field is walked from the right:
//! addresses of trusted proxies are skipped, and the first other one is the client. What is no
//! address ends the walk at the one before it, to the right. Nothing on the left of the client is
//! looked at, so it cannot change the result.
//!
//! The scheme is that of the last element of the walk, which is from the trusted proxy next to the
//! client: `proto` of `Forwarded`, or the value of `X-Forwarded-Proto` at the same place, from the
//! right. If that says nothing, it is what the next one to the right says. A proxy may write only
//! one value in the place of all others, so if there are too few, the first one counts.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::client::Client;
use super::networks::Networks;

/// A field that names clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): addresses as `for=`, among other things.
    Forwarded,
}

/// What trusted proxies say of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// The client; the peer, if they say nothing.
    pub client: Client,
    /// Whether the client has used `https`; `None` if they do not say it.
    pub is_secure: Option<bool>,
}

/// The field that goes with `X-Forwarded-For`.
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

impl ForwardedField {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// Reads the fields of a request that this peer has sent, with a head whose lines are well
    /// formed.
    #[must_use]
    pub fn read(self, peer: Client, trusted: &Networks, head: &[u8]) -> ForwardedRequest {
        let mut read = ForwardedRequest { client: peer, is_secure: None };
        if !trusted.contains(peer) {
            return read;
        }
        let mut count = 0;
        for element in elements(head, self.name(), self == Self::Forwarded) {
            if !trusted.contains(read.client) {
                break;
            }
            count += 1;
            if self == Self::Forwarded {
                read.is_secure = value_of(element, b"proto=").and_then(scheme).or(read.is_secure);
            }
            match self.address(element) {
                Some(address) => read.client = Client::Internet(address.to_canonical()),
                None => break,
            }
        }
        if self == Self::XForwardedFor {
            // The peer may say it without naming a client.
            let said = elements(head, X_FORWARDED_PROTO, false).take(count.max(1));
            read.is_secure = said.filter_map(scheme).last();
        }
        read
    }

    /// The address that an element names.
    fn address(self, element: &[u8]) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => {
                let text = str::from_utf8(element).ok()?;
                // Unlike a node, it may be an IPv6 address without brackets.
                text.parse().ok().or_else(|| node(text))
            }
            // RFC 7239 section 5.2.
            Self::Forwarded => node(str::from_utf8(value_of(element, b"for=")?).ok()?),
        }
    }
}

/// The elements of all lines of a field, the last one first. Empty ones mean nothing (RFC 9110
/// section 5.6.1). The name is in lower case.
fn elements<'a>(
    head: &'a [u8],
    name: &'static str,
    may_quote: bool,
) -> impl Iterator<Item = &'a [u8]> {
    let values = head.rsplit(|byte| *byte == b'\n').filter_map(move |line| {
        let (line_name, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        line_name.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    });
    let elements = values.flat_map(move |value| from_right(value, b',', may_quote));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether a scheme is `https`; `None` for others than that and `http`.
fn scheme(name: &[u8]) -> Option<bool> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"https") { Some(true) } else { is(b"http").then_some(false) }
}

/// The parts of a text between separators, from the right. Separators within quotation marks do not
/// count if there `may` be any. Marks are paired from the right as well: one that is not closed, on
/// the left, must not swallow what stands behind it.
fn from_right(text: &[u8], separator: u8, may_quote: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        for place in (0..text.len()).rev() {
            let byte = text[place];
            if byte == b'"' && may_quote {
                // A mark behind an odd number of backslashes is a part of the quoted text.
                let slashes = text[..place].iter().rev().take_while(|byte| **byte == b'\\');
                is_quoted ^= !is_quoted || slashes.count() % 2 == 0;
            } else if byte == separator && !is_quoted {
                rest = Some(&text[..place]);
                return Some(&text[place + 1..]);
            }
        }
        rest = None;
        Some(text)
    })
}

/// The value behind a name, such as `for=`, in an element of RFC 7239, where it occurs once.
fn value_of<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    for pair in from_right(element, b';', true) {
        let pair = pair.trim_ascii();
        let Some((pair_name, value)) = pair.split_at_checked(name.len()) else { continue };
        if pair_name.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
            return None;
        }
    }
    match found? {
        [b'"', quoted @ .., b'"'] => Some(quoted),
        // A colon or a bracket is no part of a token.
        value if value.iter().any(|byte| matches!(byte, b':' | b'[' | b'"')) => None,
        value => Some(value),
    }
}

/// The address of a node: IPv4, or IPv6 in brackets, and perhaps a port (RFC 7239 section 6).
/// `unknown` and names that proxies make up are no addresses.
fn node(text: &str) -> Option<IpAddr> {
    let (address, rest): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(text) => {
            let (address, rest) = text.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (text[..end].parse::<Ipv4Addr>().ok()?.into(), &text[end..])
        }
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_port = match rest.as_bytes() {
        [] => true,
        [b':', b'_', name @ ..] => !name.is_empty() && name.iter().all(|byte| is_word(*byte)),
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_port.then_some(address)
}

/// Walks through anything, for a fuzzer.
///
/// # Panics
///
/// If what stands on the left of the client changes the result.
#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub fn fuzz_forwarded(input: &[u8]) {
    let value: Vec<u8> = input.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    let proxy = Client::Internet(Ipv4Addr::LOCALHOST.into());
    let trusted: Networks =
        ["127.0.0.0/8", "10.0.0.0/8"].iter().flat_map(|it| it.parse()).collect();
    for field in ForwardedField::ALL {
        let line = |value: &[u8]| [field.name().as_bytes(), b":", value, b"\r\n"].concat();
        let _ = field.read(proxy, &trusted, &line(&value));
        let (next, scheme): (&[u8], &[u8]) = match field {
            ForwardedField::XForwardedFor => (b"192.0.2.7, 10.0.0.1", b", https, http"),
            ForwardedField::Forwarded => {
                (b"by=\"[::1]:80\";proto=https;for=192.0.2.7, for=\"10.0.0.1:8\"", b"")
            }
        };
        let mut head = line(&[&value, &b","[..], next].concat());
        head.extend([X_FORWARDED_PROTO.as_bytes(), b":", &value, scheme, b"\r\n"].concat());
        let found = field.read(proxy, &trusted, &head);
        assert_eq!(found.client.to_string(), "192.0.2.7", "{field:?} {value:?}");
        assert_eq!(found.is_secure, Some(true), "{field:?} {value:?}");
    }
}
