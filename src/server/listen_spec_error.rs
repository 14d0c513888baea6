//! The error of a text that does not say where to listen.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text does not say where to listen: the cause, and the right form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenSpecError(String);

impl fmt::Display for ListenSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ListenSpecError {}

/// The forms, for texts that are like none of them.
const FORMS: &str = "an address is written like 127.0.0.1:8080, [::1]:8080, `:8080` (all \
                     addresses), localhost:8080 or unix:/run/site.sock";

impl ListenSpecError {
    /// A text without a port: guesses what was meant.
    pub(super) fn no_port(text: &str) -> Self {
        let without_scheme = text.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
        if let Some(rest) = without_scheme {
            let guess = if rest.contains(':') { rest.to_owned() } else { format!("{rest}:80") };
            return Self(format!("a URL is not an address; write `{guess}`"));
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if text.starts_with(['/', '@']) {
            return Self(format!("a Unix socket is written `unix:{text}`"));
        }
        if let Some(form) = in_brackets(bare) {
            return Self(format!("an IPv6 address needs brackets and a port; write `{form}`"));
        }
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if !text.is_empty() && text.chars().all(is_host) {
            return Self(format!("the port is missing; write `{text}:8080`"));
        }
        Self(FORMS.to_owned())
    }

    /// A port that is none.
    pub(super) fn wrong_port(text: &str, port: &str) -> Self {
        if port.is_empty() {
            return Self(format!(
                "the port is missing; write `{text}8080` (a port is a number from 0 to 65535)"
            ));
        }
        Self(format!("'{port}' is not a port, which is a number from 0 to 65535; {FORMS}"))
    }

    /// What is before the port is neither an address nor a name.
    pub(super) fn no_host(host: &str) -> Self {
        if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Self(format!(
                "'{host}' is not an IPv4 address, which has four numbers up to 255"
            ));
        }
        Self(format!("'{host}' is neither an IP address nor a host name; {FORMS}"))
    }

    /// What follows `fd:` cannot be the name of a descriptor.
    pub(super) fn no_passed_name(name: &str) -> Self {
        Self(format!(
            "'{name}' is not the name of a descriptor; write `fd:web`, as FileDescriptorName= of \
             the socket unit has it, or a number, as in `fd:3`"
        ))
    }

    /// What is in brackets is no IPv6 address.
    pub(super) fn no_ipv6(host: &str, port: u16) -> Self {
        if host.parse::<Ipv4Addr>().is_ok() || host.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Self(format!("only IPv6 addresses have brackets; write `{host}:{port}`"));
        }
        Self(format!("'{host}' is not an IPv6 address; {FORMS}"))
    }

    /// What follows the percent sign is no interface.
    pub(super) fn no_interface(zone: &str) -> Self {
        Self(format!(
            "'{zone}' is not the name or the number of an interface, as in [fe80::1%eth0]:8080; \
             `ip link` lists both"
        ))
    }

    /// A Unix socket that cannot be named like this.
    pub(super) fn unix(reason: String) -> Self {
        Self(reason)
    }

    /// Rights for a socket that has none.
    pub(super) fn no_rights(spec: &impl fmt::Display) -> Self {
        Self(format!(
            "{spec} has no mode, owner and group: only a Unix socket with a path has; leave them \
             out"
        ))
    }
}

/// An IPv6 address that was written without brackets, in the right form. What follows the last
/// colon is taken for a port if the rest is an address.
fn in_brackets(text: &str) -> Option<String> {
    let is_ipv6 = |text: &str| {
        let address = text.split_once('%').map_or(text, |(address, _)| address);
        address.parse::<Ipv6Addr>().is_ok()
    };
    let with_port = text
        .rsplit_once(':')
        .filter(|(host, port)| is_ipv6(host) && port.len() > 1 && port.parse::<u16>().is_ok());
    match with_port {
        Some((host, port)) => Some(format!("[{}]:{port}", host.trim_end_matches(']'))),
        None if is_ipv6(text) => Some(format!("[{text}]:8080")),
        // The port follows the bracket at once.
        None => text
            .split_once(']')
            .filter(|(host, _)| is_ipv6(host))
            .map(|(host, _)| format!("[{host}]:8080")),
    }
}
