//! An address that a server listens on.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::listen_spec::ListenSpec;
use super::unix_address::{UnixAddress, UnixOptions};

/// An address that a server listens on: what [`ListenSpec::resolve`] finds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A port of all addresses, IPv6 and IPv4, on one socket.
    BothFamilies(u16),
    /// A Unix socket.
    Unix(UnixAddress),
}

impl Endpoint {
    /// The Internet address: `[::]` for both families; `None` for a Unix socket.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::BothFamilies(port) => Some((Ipv6Addr::UNSPECIFIED, *port).into()),
            Self::Unix(_) => None,
        }
    }

    /// The same addresses with another port. A Unix socket has none, and stays as it is.
    pub(crate) fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Tcp(address) => {
                let mut address = *address;
                address.set_port(port);
                Self::Tcp(address)
            }
            Self::BothFamilies(_) => Self::BothFamilies(port),
            Self::Unix(address) => Self::Unix(address.clone()),
        }
    }

    /// Whether one address includes the other: then only one of them can be listened on.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (one, two) = match (self, other) {
            (Self::Unix(one), Self::Unix(two)) => return one == two,
            _ => match (self.socket_addr(), other.socket_addr()) {
                (Some(one), Some(two)) => (one, two),
                _ => return false,
            },
        };
        let has_both = |end: &Self| matches!(end, Self::BothFamilies(_));
        let same_family = one.is_ipv4() == two.is_ipv4() || has_both(self) || has_both(other);
        let is_any = one.ip().is_unspecified() || two.ip().is_unspecified();
        one.port() == two.port() && same_family && (is_any || one == two)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<Endpoint> for ListenSpec {
    /// A Unix socket has the default rights.
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Tcp(address) => Self::Tcp(address),
            Endpoint::BothFamilies(port) => Self::Port(port),
            Endpoint::Unix(address) => Self::Unix(address, UnixOptions::default()),
        }
    }
}

impl fmt::Display for Endpoint {
    /// As a client writes the address: `[::]:8080` for both families.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(address) => address.fmt(f),
            Self::Tcp(address) => address.fmt(f),
            Self::BothFamilies(port) => write!(f, "[::]:{port}"),
        }
    }
}

impl ToSocketAddrs for Endpoint {
    type Iter = std::option::IntoIter<SocketAddr>;

    /// For clients in the same process, as in `TcpStream::connect(&server.addresses()[0])`.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.socket_addr() {
            Some(address) => Ok(Some(address).into_iter()),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a Unix socket has no Internet address; connect with UnixStream",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_if_one_includes_the_other() {
        let endpoint = |text: &str| match text.parse().unwrap() {
            ListenSpec::Tcp(address) => Endpoint::Tcp(address),
            ListenSpec::Port(port) => Endpoint::BothFamilies(port),
            ListenSpec::Unix(address, _) => Endpoint::Unix(address),
            other => panic!("{other} must be resolved"),
        };
        for (one, two, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("0.0.0.0:80", "[::]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false),
            (":80", "127.0.0.1:80", true),
            (":80", "[::1]:80", true),
            (":80", ":80", true),
            (":80", ":81", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:@a", false),
            ("unix:/a", ":80", false),
        ] {
            let (one, two) = (endpoint(one), endpoint(two));
            assert_eq!(one.overlaps(&two), expected, "{one} {two}");
            assert_eq!(two.overlaps(&one), expected, "{two} {one}");
        }
    }
}
