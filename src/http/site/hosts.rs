//! Names of hosts: the patterns of settings, and the host of a request in the form in which both
//! are compared.
//!
//! Names are compared without regard to case, port and one trailing dot (RFC 9110 section 4.2.3,
//! RFC 1034 section 3.1).

use std::fmt;
use std::str::FromStr;

/// The longest name of a host, in bytes: that of a domain name (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 255;

/// The longest label of a domain name.
const LABEL_BYTES_MAX: usize = 63;

/// The hosts for which a site is responsible: one, or all names one label below a domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPattern {
    /// In lower case, without a trailing dot. For `*.example.com` this is `.example.com`.
    name: Box<str>,
}

impl HostPattern {
    /// The name to compare with [`RequestHost::name`], or for a wildcard with
    /// [`RequestHost::parent`].
    pub(super) fn key(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Whether the pattern begins with `*.`, which stands for exactly one label.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.name.starts_with('.')
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wildcard() {
            f.write_str("*")?;
        }
        f.write_str(&self.name)
    }
}

/// Why a text is no pattern of hosts; the text names the cause and the remedy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostError {
    /// It is empty.
    Empty,
    /// It is longer than a domain name can be.
    TooLong,
    /// It has a port.
    Port,
    /// It has characters outside ASCII.
    NotAscii,
    /// It has a `*` in another place than at the beginning, or not as a whole label.
    Wildcard,
    /// A label is empty, too long, or has characters that no host name has.
    Label,
    /// It is an address in brackets that is no IPv6 address.
    Address,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name of a host is empty; write it as in example.com",
            Self::TooLong => "the name of a host has at most 255 bytes, and each part at most 63",
            Self::Port => {
                "a host is written without a port, since a site answers for its host on all ports \
                 of its listeners"
            }
            Self::NotAscii => {
                "a host is written in ASCII, as requests contain it: names in other scripts begin \
                 with xn-- there"
            }
            Self::Wildcard => "a * stands for exactly one label, the first, as in *.example.com",
            Self::Label => {
                "the name of a host consists of letters, digits, hyphens and underscores, with \
                 single dots between its labels, as in www.example.com"
            }
            Self::Address => "an IPv6 address is written in brackets, as in [::1]",
        })
    }
}

impl std::error::Error for HostError {}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if !text.is_ascii() {
            return Err(HostError::NotAscii);
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > HOST_BYTES_MAX {
            return Err(HostError::TooLong);
        }
        if let Some(address) = text.strip_prefix('[') {
            return address_pattern(address);
        }
        if text.bytes().filter(|byte| *byte == b':').count() == 1 {
            return Err(HostError::Port);
        }
        if text.contains(':') {
            return Err(HostError::Address);
        }
        let (name, labels) = match text.strip_prefix('*') {
            Some(rest) => (rest, rest.strip_prefix('.').ok_or(HostError::Wildcard)?),
            None => (&*text, &*text),
        };
        if labels.contains('*') {
            return Err(HostError::Wildcard);
        }
        for label in labels.split('.') {
            if label.len() > LABEL_BYTES_MAX {
                return Err(HostError::TooLong);
            }
            let is_in_names =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if label.is_empty() || !label.bytes().all(is_in_names) {
                return Err(HostError::Label);
            }
        }
        Ok(Self { name: name.into() })
    }
}

/// An IPv6 address, from behind its opening bracket.
fn address_pattern(text: &str) -> Result<HostPattern, HostError> {
    let (address, rest) = text.split_once(']').ok_or(HostError::Address)?;
    if rest.starts_with(':') {
        return Err(HostError::Port);
    }
    if !rest.is_empty() || address.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(HostError::Address);
    }
    Ok(HostPattern { name: format!("[{address}]").into() })
}

/// The host of a request, in the form in which patterns are compared with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestHost {
    bytes: [u8; HOST_BYTES_MAX],
    length: u8,
}

impl RequestHost {
    /// The host without its port. `None` if it is longer than any name.
    pub(super) fn of(host: &[u8]) -> Option<Self> {
        let name = match host {
            [b'[', ..] => {
                let end = memchr::memchr(b']', host).map_or(host.len(), |at| at + 1);
                &host[..end]
            }
            _ => memchr::memchr(b':', host).map_or(host, |at| &host[..at]),
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut bytes = [0; HOST_BYTES_MAX];
        let lower = bytes.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(Self { bytes, length: name.len() as u8 })
    }

    /// The name in lower case, without a port and a trailing dot.
    pub(super) fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The name without its first label, with the dot at the front; `None` if it has one label. An
    /// IPv4 address matches no wildcard, since no domain ends in a number.
    pub(super) fn parent(&self) -> Option<&[u8]> {
        let name = self.name();
        let dot = memchr::memchr(b'.', name).filter(|dot| *dot > 0)?;
        Some(&name[dot..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked() {
        use HostError::{Address, Empty, Label, NotAscii, Port, TooLong, Wildcard};
        for (text, name) in [
            ("example.com", "example.com"),
            ("WWW.Example.COM.", "www.example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("a_b.example", "a_b.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<HostPattern>().map(|it| it.to_string()), Ok(name.to_owned()));
        }
        let long = "a".repeat(64);
        let longer = "abc.".repeat(65);
        for (text, error) in [
            ("", Empty),
            (".", Empty),
            ("example.com:80", Port),
            ("[::1]:80", Port),
            ("::1", Address),
            ("[::1", Address),
            ("[::1]x", Address),
            ("[example.com]", Address),
            ("b\u{fc}cher.example", NotAscii),
            ("*", Wildcard),
            ("*example.com", Wildcard),
            ("www.*.com", Wildcard),
            ("*.*.com", Wildcard),
            ("*.", Wildcard),
            ("a..b", Label),
            (".example.com", Label),
            ("a b", Label),
            ("a/b", Label),
            ("http//a", Label),
            (&long, TooLong),
            (&longer, TooLong),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn hosts_of_requests_are_compared_without_port_case_and_dot() {
        for (host, name, parent) in [
            ("Example.com", "example.com", Some(".com")),
            ("a.example.com:8080", "a.example.com", Some(".example.com")),
            ("example.com.", "example.com", Some(".com")),
            ("example.com.:80", "example.com", Some(".com")),
            ("localhost:", "localhost", None),
            ("[::1]:80", "[::1]", None),
            ("", "", None),
            (".com", ".com", None),
        ] {
            let found = RequestHost::of(host.as_bytes()).unwrap();
            assert_eq!(found.name(), name.as_bytes(), "{host:?}");
            assert_eq!(found.parent(), parent.map(str::as_bytes), "{host:?}");
        }
        assert!(RequestHost::of(&[b'a'; 256]).is_none());
        assert!(RequestHost::of(&[b'a'; 255]).is_some());
    }
}
