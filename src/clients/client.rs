//! The client of a request: the one accessor for its address.
//!
//! Everything that treats clients differently takes the client from here: the access log, the
//! turns of listings, `allow` and `deny`, limits. It is the peer of the socket; behind a trusted
//! proxy, it is whom the proxy names.

use std::fmt;
use std::net::IpAddr;

use crate::driver::SocketAddress;
use crate::session::Addresses;

/// Who has sent a request. IPv4 addresses that are mapped to IPv6 are IPv4 addresses here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// A client with an address.
    Internet(IpAddr),
    /// A client of a Unix socket, which has none.
    Unix,
    /// A client that is gone, so its address cannot be read any more.
    Unknown,
}

impl Client {
    /// The client of a connection, or of a request. Reading the address of a peer costs a system
    /// call, unless a proxy has named it.
    #[must_use]
    pub fn of(addresses: Addresses<'_>) -> Self {
        addresses.client().map_or(Self::Unknown, Self::from)
    }

    /// The address; `None` if there is none, or it is not known.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Internet(address) => Some(address),
            Self::Unix | Self::Unknown => None,
        }
    }
}

impl From<SocketAddress> for Client {
    fn from(address: SocketAddress) -> Self {
        match address {
            SocketAddress::Internet(address) => Self::Internet(address.ip().to_canonical()),
            SocketAddress::Unix => Self::Unix,
        }
    }
}

impl fmt::Display for Client {
    /// As the access log writes it; nginx has the same word for Unix sockets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
            Self::Unknown => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_written_as_in_other_logs() {
        let address = std::net::SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 1);
        assert_eq!(Client::from(SocketAddress::from(address)).to_string(), "192.0.2.1");
        assert_eq!(Client::of(Addresses::none()), Client::Unknown);
        assert_eq!(Client::Unix.to_string(), "unix:");
    }
}
