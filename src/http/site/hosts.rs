//! Names of hosts: the patterns of settings, and the host of a request in the form in which both
//! are compared.
//!
//! Names are compared without regard to case, port and one trailing dot (RFC 9110 section 4.2.3,
//! RFC 1034 section 3.1).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::http::semantics::authority;

/// The longest host of a request that can be one of a site, in bytes.
const HOST_BYTES_MAX: usize = 255;

/// How long a name may be (RFC 1035 section 2.3.4), and each of its labels.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Why a text is no host: what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostError(String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostError {}

/// A host in lower case and without a port, or all hosts with one label before a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The name, or the IP address, which has brackets if it is one of version 6.
    pub name: String,
    /// Whether it stands for the names with exactly one label before `name`, and not for `name`.
    pub is_wildcard: bool,
}

impl FromStr for HostPattern {
    type Err = HostError;

    /// Parses a host as an operator writes it.
    fn from_str(text: &str) -> Result<Self, HostError> {
        if !text.is_ascii() {
            return Err(HostError(
                "write the ASCII form that clients send, which begins with xn--".to_owned(),
            ));
        }
        let lower = text.to_ascii_lowercase();
        if let Some(bracketed) = lower.strip_prefix('[') {
            return address(bracketed);
        }
        if lower.contains("://") || lower.contains('/') {
            return Err(HostError("write the host alone, without scheme and path".to_owned()));
        }
        if let Some((name, port)) = lower.split_once(':') {
            return Err(HostError(match port.parse::<u16>() {
                Ok(_) => format!("leave the port out: {name:?} has all ports of its listeners"),
                Err(_) => "a host has no colon; an IPv6 address has brackets".to_owned(),
            }));
        }
        let (name, is_wildcard) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*lower, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        check_name(name)?;
        Ok(Self { name: name.to_owned(), is_wildcard })
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError(
            "write a host such as \"example.com\" or \"*.example.com\"".to_owned(),
        ));
    }
    if name.contains('*') {
        return Err(HostError(
            "an asterisk stands for the first label, as in \"*.example.com\"".to_owned(),
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(HostError(format!("a host has at most {NAME_BYTES_MAX} bytes")));
    }
    for label in name.split('.') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if label.is_empty() {
            return Err(HostError("remove the dot too many".to_owned()));
        }
        if let Some(other) = label.bytes().find(|byte| !fits(*byte)) {
            let other = char::from(other);
            return Err(HostError(format!(
                "a host has letters, digits, hyphens and dots, and no {other:?}"
            )));
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(HostError(format!(
                "a label of a host has at most {LABEL_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(())
}

/// An address of IPv6 after its opening bracket.
fn address(bracketed: &str) -> Result<HostPattern, HostError> {
    let text = "write an address of IPv6 as in \"[2001:db8::1]\", without a port";
    let remedy = || HostError(text.to_owned());
    let address = bracketed.strip_suffix(']').ok_or_else(remedy)?;
    let address: Ipv6Addr = address.parse().map_err(|_| remedy())?;
    Ok(HostPattern { name: format!("[{address}]"), is_wildcard: false })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_wildcard { "*." } else { "" };
        write!(f, "{prefix}{}", self.name)
    }
}

/// Whether the host of a request is this name, which is in lower case and without a trailing dot.
pub(super) fn is_same_host(host: &[u8], name: &str) -> bool {
    let host = authority::without_port(host);
    host.strip_suffix(b".").unwrap_or(host).eq_ignore_ascii_case(name.as_bytes())
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
            [b'[', ..] => return Self::of_address(host),
            _ => memchr::memchr(b':', host).map_or(host, |at| &host[..at]),
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut bytes = [0; HOST_BYTES_MAX];
        let lower = bytes.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(Self { bytes, length: name.len() as u8 })
    }

    /// An address in brackets, in the form that patterns have. Other kinds of addresses, which no
    /// pattern has, stay as they are (RFC 3986 section 3.2.2).
    fn of_address(host: &[u8]) -> Option<Self> {
        let end = memchr::memchr(b']', host).unwrap_or(host.len());
        let address = std::str::from_utf8(host.get(1..end)?).ok()?;
        let text = match address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => format!("[{address}]").to_ascii_lowercase(),
        };
        let mut bytes = [0; HOST_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: text.len() as u8 })
    }

    /// The name in lower case, without a port and a trailing dot.
    pub(super) fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The name without its first label; `None` if it has one label.
    pub(super) fn parent(&self) -> Option<&[u8]> {
        let name = self.name();
        let is_address = name.starts_with(b"[");
        let dot = memchr::memchr(b'.', name).filter(|dot| *dot > 0 && !is_address)?;
        Some(&name[dot + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (text, host) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("_dmarc.example", "_dmarc.example"),
        ] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), host, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_explained() {
        let long = "a".repeat(64);
        for (text, remedy) in [
            ("", "write a host"),
            (".", "write a host"),
            ("*.", "write a host"),
            ("*", "first label"),
            ("a.*.b", "first label"),
            ("*a.b", "first label"),
            ("*.*.b", "first label"),
            ("a..b", "dot too many"),
            ("a.b..", "dot too many"),
            ("bücher.example", "xn--"),
            ("example.com:8080", "leave the port out"),
            ("2001:db8::1", "brackets"),
            ("[::1]:80", "without a port"),
            ("[::1", "[2001:db8::1]"),
            ("http://example.com", "without scheme"),
            ("example.com/", "without scheme"),
            ("a b", "no ' '"),
            (&long, "at most 63"),
            (&["abc"; 80].join("."), "at most 253"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_of_requests_are_compared_without_port_case_and_dot() {
        for (host, name, parent) in [
            ("Example.com", "example.com", Some("com")),
            ("a.example.com:8080", "a.example.com", Some("example.com")),
            ("example.com.", "example.com", Some("com")),
            ("example.com.:80", "example.com", Some("com")),
            ("localhost:", "localhost", None),
            ("[::1]:80", "[::1]", None),
            ("[0:0::0:1]", "[::1]", None),
            ("[2001:0DB8::1]:8080", "[2001:db8::1]", None),
            ("[v1x]:80", "[v1x]", None),
            ("", "", None),
            (".com", ".com", None),
        ] {
            let found = RequestHost::of(host.as_bytes()).unwrap();
            assert_eq!(found.name(), name.as_bytes(), "{host:?}");
            assert_eq!(found.parent(), parent.map(str::as_bytes), "{host:?}");
        }
        for (host, name, is_same) in [
            ("Example.com.:80", "example.com", true),
            ("example.com", "example.com", true),
            ("example.com", "www.example.com", false),
            ("example.com", "example.co", false),
            ("", "a", false),
        ] {
            assert_eq!(is_same_host(host.as_bytes(), name), is_same, "{host:?} {name:?}");
        }
        assert!(RequestHost::of(&[b'a'; 256]).is_none());
        assert!(RequestHost::of(&[b'a'; 255]).is_some());
    }
}
