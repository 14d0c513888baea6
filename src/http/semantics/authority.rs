//! Validates an authority: `host [ ":" port ]` of RFC 3986 §3.2.2 and §3.2.3.
//!
//! Used for the `Host` field and for the authority of a request target. The grammar is checked and
//! nothing is normalised, so callers must compare host names without regard to case.

use std::net::Ipv6Addr;

/// Whether `bytes` are a host with an optional port.
///
/// This is stricter than the grammar in two points. It rejects `..`, because a server that maps
/// virtual hosts to directories must not leave their parent. It rejects `IPvFuture`, because no
/// such address exists. User information (`user@`) is not part of a host, so its `@` is rejected.
/// An empty host is legal in a `Host` field; see [`has_host`].
pub(in crate::http) fn is_valid(bytes: &[u8]) -> bool {
    if let Some(bracketed) = bytes.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', bracketed) else { return false };
        let (address, rest) = (&bracketed[..end], &bracketed[end + 1..]);
        let is_address = str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return is_address && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port));
    }
    // Most hosts have no port, and are short: one loop without an exit decides on them.
    let (mut plain, mut twice, mut before) = (true, false, b'x');
    for &byte in bytes {
        plain &= NAME_BYTES[usize::from(byte)];
        twice |= (byte == b'.') & (before == b'.');
        before = byte;
    }
    !twice && (plain || is_name_and_port(bytes))
}

/// The same if there are other bytes than those of a plain name: a port, or encoded ones.
fn is_name_and_port(bytes: &[u8]) -> bool {
    let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
    let name = &bytes[..end];
    let is_plain = name.iter().all(|byte| NAME_BYTES[usize::from(*byte)]);
    (is_plain || is_encoded_name(name)) && bytes.get(end + 1..).is_none_or(is_port)
}

/// Whether a valid authority has a host, rather than being empty or only a port.
pub(in crate::http) fn has_host(bytes: &[u8]) -> bool {
    !matches!(bytes, [] | [b':', ..])
}

/// The host of a valid authority, in brackets if it is an address of version 6.
pub(in crate::http) fn without_port(bytes: &[u8]) -> &[u8] {
    let end = match bytes {
        [b'[', ..] => memchr::memchr(b']', bytes).map(|bracket| bracket + 1),
        _ => memchr::memchr(b':', bytes),
    };
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Whether a valid authority ends with a port, as a CONNECT target must.
pub(in crate::http) fn has_port(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(u8::is_ascii_digit)
        && bytes.iter().rev().find(|byte| !byte.is_ascii_digit()) == Some(&b':')
}

/// `port = *DIGIT`: a trailing colon without digits is legal.
fn is_port(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

/// `reg-name = *( unreserved / pct-encoded / sub-delims )`, which IPv4 addresses match as well.
#[cold]
fn is_encoded_name(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => matches!(bytes[at + 1..], [high, low, ..]
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
        byte => NAME_BYTES[usize::from(*byte)],
    })
}

/// `unreserved / sub-delims` (RFC 3986 §2.2 and §2.3).
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$'
                | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{has_host, has_port, is_valid, without_port};

    #[test]
    fn a_name_or_an_address_with_an_optional_port_is_valid() {
        for host in [
            "",
            ":80",
            "a",
            "example.com",
            "EXAMPLE.com:8080",
            "example.com.",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:443",
            "[::ffff:1.2.3.4]",
            "a:",
            "a%20b",
            "under_score",
            "a%20b:80",
            "x!$&'()*+,;=",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn other_text_is_not_a_valid_authority() {
        for host in [
            "a b",
            "a/b",
            "a..b",
            "a..b:80",
            "a%2:80",
            "..",
            "user@a",
            "a:b",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[]",
            "[a]",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "a%2",
            "a%zz",
            "a\\b",
            "a?b",
            "a#b",
            "<a>",
            "\"a\"",
            "a,b c",
            "caf\u{e9}",
            "a:-1",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
        assert!(!is_valid(b"a\xff"));
    }

    #[test]
    fn host_and_port_are_detected_separately() {
        for (authority, alone, host, port) in [
            ("", "", false, false),
            (":80", "", false, true),
            ("a", "a", true, false),
            ("a:", "a", true, false),
            ("a:80", "a", true, true),
            ("a1", "a1", true, false),
            ("[::1]", "[::1]", true, false),
            ("[::1]:80", "[::1]", true, true),
        ] {
            assert!(is_valid(authority.as_bytes()), "{authority}");
            assert_eq!(has_host(authority.as_bytes()), host, "{authority}");
            assert_eq!(has_port(authority.as_bytes()), port, "{authority}");
            assert_eq!(without_port(authority.as_bytes()), alone.as_bytes(), "{authority}");
        }
    }
}
