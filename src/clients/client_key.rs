//! Who shares a limit: an IPv4 address, or a network of IPv6.

use std::net::IpAddr;

use super::client::Client;

/// How many bits of an IPv6 address are a client's. The rest is usually at its disposal, so a limit
/// per address would be none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientPrefix(u8);

impl ClientPrefix {
    /// So many bits, from 16 to 128.
    ///
    /// # Errors
    ///
    /// When it is another number.
    pub fn new(bits: u8) -> Result<Self, String> {
        match bits {
            16..=128 => Ok(Self(bits)),
            _ => Err("it must be from 16 to 128".to_owned()),
        }
    }
}

impl Default for ClientPrefix {
    fn default() -> Self {
        Self(64)
    }
}

/// Those who share a limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClientKey {
    /// An IPv4 address.
    V4([u8; 4]),
    /// A network of IPv6: the bits after the prefix are zero.
    V6([u8; 16]),
    /// All clients of Unix sockets: they are usually behind one proxy.
    Unix,
    /// All clients whose address is not known.
    Unknown,
}

impl ClientKey {
    /// That of a client, if so many bits of an IPv6 address are its own.
    #[must_use]
    pub fn of(client: Client, ClientPrefix(bits): ClientPrefix) -> Self {
        match client {
            Client::Internet(IpAddr::V4(address)) => Self::V4(address.octets()),
            Client::Internet(IpAddr::V6(address)) => {
                let mask = u128::MAX << (128 - u32::from(bits));
                Self::V6((address.to_bits() & mask).to_be_bytes())
            }
            Client::Unix => Self::Unix,
            Client::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::SocketAddress;
    use std::net::SocketAddr;

    fn of(address: &str, bits: u8) -> ClientKey {
        let address = SocketAddr::new(address.parse().unwrap(), 80);
        let client = Client::from(SocketAddress::from(address));
        ClientKey::of(client, ClientPrefix::new(bits).unwrap())
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_network_of_ipv6() {
        assert_eq!(of("192.0.2.1", 64), ClientKey::V4([192, 0, 2, 1]));
        assert_eq!(of("::ffff:192.0.2.1", 64), of("192.0.2.1", 64));
        assert_ne!(of("::ffff:192.0.2.2", 64), of("192.0.2.1", 64));
        assert_eq!(of("2001:db8:1:2::1", 64), of("2001:db8:1:2:ffff:ffff:ffff:ffff", 64));
        assert_ne!(of("2001:db8:1:2::1", 64), of("2001:db8:1:3::1", 64));
        assert_eq!(of("2001:db8:1:2::1", 48), of("2001:db8:1:3::1", 48));
        assert_ne!(of("2001:db8::1", 128), of("2001:db8::2", 128));
        let prefix = ClientPrefix::default();
        assert_eq!(ClientKey::of(Client::Unix, prefix), ClientKey::Unix);
        assert_eq!(ClientKey::of(Client::Unknown, prefix), ClientKey::Unknown);
        assert!(ClientPrefix::new(0).is_err() && ClientPrefix::new(129).is_err());
    }
}
