//! Sets of addresses, as lists of networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::client::Client;

/// The word for the clients of Unix sockets.
const UNIX: &str = "unix:";

/// How many bits of an IPv6 address are before a mapped IPv4 address.
const MAPPED_BITS: u8 = 96;

/// A network of addresses, or the clients of Unix sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// Addresses with a common prefix. A network of mapped IPv4 addresses is one of IPv4.
    Internet(IpNet),
    /// The clients of Unix sockets.
    Unix,
}

/// Why a text is no network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkError {
    /// It is no address, with or without a length.
    Malformed,
    /// Bits behind the prefix are set, so it is not clear which network is meant. This one is
    /// written like that.
    BeyondPrefix(IpNet),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "write an address such as 192.0.2.1, a network such as 10.0.0.0/8 or \
                 2001:db8::/32, or unix: for clients of Unix sockets",
            ),
            Self::BeyondPrefix(network) => {
                write!(f, "the address has bits behind the prefix; the network is {network}")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let (address, length) = text.split_once('/').unzip();
        // The parser of the crate takes leading zeros, which could be meant as octal digits.
        let address: IpAddr =
            address.unwrap_or(text).parse().map_err(|_| NetworkError::Malformed)?;
        let is_number = |it: &&str| it.bytes().all(|byte| byte.is_ascii_digit());
        let network = match length.map(|it| Some(it).filter(is_number).map(str::parse)) {
            None => IpNet::from(address),
            Some(Some(Ok(length))) => {
                IpNet::new(address, length).map_err(|_| NetworkError::Malformed)?
            }
            Some(_) => return Err(NetworkError::Malformed),
        };
        if network.trunc() != network {
            return Err(NetworkError::BeyondPrefix(network.trunc()));
        }
        Ok(Self::Internet(canonical(network)))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Internet(network) => network.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

/// A network of mapped IPv4 addresses as one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    match (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(MAPPED_BITS)) {
        (Some(address), Some(bits)) => Ipv4Net::new(address, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// A set of addresses: sorted ranges that do not touch, so a look-up is a binary search.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    has_unix: bool,
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (mut v4, mut v6, mut has_unix) = (Vec::new(), Vec::new(), false);
        for network in networks {
            match network {
                Network::Internet(IpNet::V4(net)) => {
                    v4.push((net.network().to_bits(), net.broadcast().to_bits()));
                }
                Network::Internet(IpNet::V6(net)) => {
                    v6.push((net.network().to_bits(), net.broadcast().to_bits()));
                }
                Network::Unix => has_unix = true,
            }
        }
        Self { v4: merged(v4), v6: merged(v6), has_unix }
    }
}

/// The same ranges, sorted. Those of networks either contain each other, or are disjoint.
fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    // Of those with the same begin, the longest comes first.
    ranges.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
    let mut end = None;
    ranges.retain(|range| {
        let is_new = end.is_none_or(|end| range.0 > end);
        if is_new {
            end = Some(range.1);
        }
        is_new
    });
    ranges
}

fn contains<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|range| range.0 <= number);
    after > 0 && number <= ranges[after - 1].1
}

impl Networks {
    /// Whether nobody is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.has_unix
    }

    /// Whether a client is in the set. One whose address is not known is in none.
    #[must_use]
    pub fn contains(&self, client: Client) -> bool {
        match client {
            Client::Internet(address) => self.contains_address(address),
            Client::Unix => self.has_unix,
            Client::Unknown => false,
        }
    }

    fn contains_address(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => contains(&self.v4, Ipv4Addr::to_bits(address)),
            IpAddr::V6(address) => contains(&self.v6, Ipv6Addr::to_bits(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse::<Network>().unwrap()).collect()
    }

    #[test]
    fn texts_are_networks() {
        for (text, expected) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("192.0.2.1/32", Ok("192.0.2.1")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("unix:", Ok("unix:")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:192.0.2.1", Ok("192.0.2.1")),
            ("10.0.0.1/8", Err("10.0.0.0/8")),
            ("2001:db8::1/32", Err("2001:db8::/32")),
            ("10.0.0.0/33", Err("")),
            ("10.0.0.0/", Err("")),
            ("10.0/8", Err("")),
            ("010.0.0.0/8", Err("")),
            ("fe80::1%eth0", Err("")),
            ("example.com", Err("")),
            ("[::1]", Err("")),
            ("", Err("")),
        ] {
            match (text.parse::<Network>(), expected) {
                (Ok(network), Ok(shown)) => assert_eq!(network.to_string(), shown, "{text}"),
                (Err(error), Err(hint)) => {
                    assert!(error.to_string().contains(hint), "{text}: {error}");
                }
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }

    /// Random networks and addresses near their ends, against a search one by one.
    #[test]
    fn a_set_has_the_addresses_of_its_networks() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let mut list = Vec::new();
            for _ in 0..random.usize(0..12) {
                let bits = random.u8(0..=12);
                list.push(match random.bool() {
                    true => {
                        let address = Ipv4Addr::from_bits(random.u32(..) & 0x00f0_ffff);
                        IpNet::V4(Ipv4Net::new(address, 32 - bits).unwrap()).trunc()
                    }
                    false => {
                        let address = Ipv6Addr::from_bits(u128::from(random.u32(..)) << 96);
                        let network = ipnet::Ipv6Net::new(address, 128 - 10 * bits).unwrap();
                        IpNet::V6(network).trunc()
                    }
                });
            }
            let set: Networks = list.iter().map(|network| Network::Internet(*network)).collect();
            let near = |address: IpAddr| match address {
                IpAddr::V4(it) => {
                    let near = [it.to_bits().wrapping_sub(1), it.to_bits().wrapping_add(1)];
                    near.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                }
                IpAddr::V6(it) => {
                    let near = [it.to_bits().wrapping_sub(1), it.to_bits().wrapping_add(1)];
                    near.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
                }
            };
            let ends = list.iter().flat_map(|it| [it.network(), it.broadcast()]);
            for address in ends.flat_map(|end| near(end).into_iter().chain([end])) {
                let expected = list.iter().any(|network| network.contains(&address));
                let is_in = set.contains(Client::Internet(address.to_canonical()));
                assert_eq!(is_in, expected, "{address} in {list:?}");
            }
        }
    }

    #[test]
    fn families_and_unix_sockets_are_apart() {
        let all = networks(&["0.0.0.0/0"]);
        let client = |text: &str| Client::Internet(text.parse().unwrap());
        assert!(all.contains(client("192.0.2.1")) && all.contains(client("::ffff:192.0.2.1")));
        assert!(!all.contains(client("2001:db8::1")) && !all.contains(Client::Unix));
        assert!(!networks(&["::/0"]).contains(client("192.0.2.1")));
        let unix = networks(&["unix:"]);
        assert!(unix.contains(Client::Unix) && !unix.is_empty());
        assert!(!unix.contains(Client::Unknown) && !unix.contains(client("127.0.0.1")));
        assert!(Networks::default().is_empty());
    }
}
