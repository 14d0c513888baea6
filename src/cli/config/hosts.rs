//! The hosts of a site.

use std::fmt;
use std::net::Ipv6Addr;

/// How long a name may be (RFC 1035 section 2.3.4), and each of its labels.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A host in lower case and without a port, or all hosts with one label before a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The name, or the IP address, which has brackets if it is one of version 6.
    pub name: String,
    /// Whether it stands for the names with exactly one label before `name`, and not for `name`.
    pub is_wildcard: bool,
}

impl HostPattern {
    /// Parses a host as it is written in a file.
    ///
    /// # Errors
    ///
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_ascii() {
            return Err("write the ASCII form that clients send, which begins with xn--".to_owned());
        }
        let lower = text.to_ascii_lowercase();
        if let Some(bracketed) = lower.strip_prefix('[') {
            return address(bracketed);
        }
        if lower.contains("://") || lower.contains('/') {
            return Err("write the host alone, without scheme and path".to_owned());
        }
        if let Some((name, port)) = lower.split_once(':') {
            return Err(match port.parse::<u16>() {
                Ok(_) => format!("leave the port out: {name:?} has all ports of its [[listen]]"),
                Err(_) => "a host has no colon; an IPv6 address has brackets".to_owned(),
            });
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

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("write a host such as \"example.com\" or \"*.example.com\"".to_owned());
    }
    if name.contains('*') {
        return Err("an asterisk stands for the first label, as in \"*.example.com\"".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a host has at most {NAME_BYTES_MAX} bytes"));
    }
    for label in name.split('.') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if label.is_empty() {
            return Err("remove the dot too many".to_owned());
        }
        if let Some(other) = label.bytes().find(|byte| !fits(*byte)) {
            let other = char::from(other);
            return Err(format!("a host has letters, digits, hyphens and dots, and no {other:?}"));
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(format!("a label of a host has at most {LABEL_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

/// An address of IPv6 after its opening bracket.
fn address(bracketed: &str) -> Result<HostPattern, String> {
    let remedy = || "write an address of IPv6 as in \"[2001:db8::1]\", without a port".to_owned();
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
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), host, "{text}");
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
            let error = HostPattern::parse(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
