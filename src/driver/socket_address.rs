//! The address of an end of a connection.

use std::fmt;
use std::net::SocketAddr;

/// The address of an end of a connection, or of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SocketAddress {
    /// Of IPv4 or IPv6.
    Internet(SocketAddr),
    /// Of a Unix socket. Its path says nothing about the peer, which usually has none.
    Unix,
}

impl SocketAddress {
    /// The Internet address, if it is one.
    #[must_use]
    pub fn internet(self) -> Option<SocketAddr> {
        match self {
            Self::Internet(address) => Some(address),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Internet(address)
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}
