//! The header of the PROXY protocol, versions 1 and 2, with which a proxy names the client of a
//! connection before anything else. The specification is `proxy-protocol.txt` of HAProxy.
//!
//! [`ProxyHeader::parse`] gets what has come of a connection. As long as the header is incomplete,
//! it reads nothing else; so the result depends on the bytes of the header only, however they are
//! split.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::driver::SocketAddress;

/// The most bytes of a header of version 1, with its line end.
const V1_MAX: usize = 107;

/// The most bytes of a header of version 2, with its additions. Those of proxies have some hundred
/// bytes.
pub const PROXY_HEADER_MAX: usize = 4096;

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_PREFIX: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of version 2 that all headers have.
const V2_FIXED: usize = 16;

/// The type of the addition that has a checksum, of 4 bytes.
const TYPE_CRC32C: u8 = 3;

/// A complete header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// Whom the proxy names. `None` if the connection is its own, as for a health check, or if it
    /// does not know: then the peer of the socket is meant.
    pub client: Option<SocketAddress>,
    /// The length of the header, in bytes.
    pub length: usize,
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeaderError {
    /// The connection does not begin with one.
    Missing,
    /// It is longer than 107 bytes in version 1, or [`PROXY_HEADER_MAX`] in version 2.
    TooLong,
    /// It does not keep to the specification.
    Malformed,
    /// The checksum is that of other bytes.
    Checksum,
}

impl ProxyHeader {
    /// Reads the header at the front of `input`. `None` if it is not complete.
    ///
    /// # Errors
    ///
    /// When no more bytes can make a header of it.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        let begins = |prefix: &[u8]| {
            let length = input.len().min(prefix.len());
            input[..length] == prefix[..length]
        };
        match input.len() {
            _ if begins(V1_PREFIX) => parse_v1(input),
            _ if begins(V2_PREFIX) => parse_v2(input),
            _ => Err(ProxyHeaderError::Missing),
        }
    }
}

fn parse_v1(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let window = &input[..input.len().min(V1_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == V1_MAX { Err(ProxyHeaderError::TooLong) } else { Ok(None) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyHeaderError::Malformed)?;
    let text = str::from_utf8(line).map_err(|_| ProxyHeaderError::Malformed)?;
    let client = v1_client(text).ok_or(ProxyHeaderError::Malformed)?;
    Ok(Some(ProxyHeader { client, length: end + 1 }))
}

/// The client that a line of version 1 names; `Some(None)` if it does not know.
fn v1_client(line: &str) -> Option<Option<SocketAddress>> {
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next();
    let ends: [IpAddr; 2] = match next()? {
        // The rest of the line is to be ignored.
        "UNKNOWN" => return Some(None),
        "TCP4" => {
            [next()?.parse::<Ipv4Addr>().ok()?.into(), next()?.parse::<Ipv4Addr>().ok()?.into()]
        }
        "TCP6" => {
            [next()?.parse::<Ipv6Addr>().ok()?.into(), next()?.parse::<Ipv6Addr>().ok()?.into()]
        }
        _ => return None,
    };
    let [client, _] = [port(next()?)?, port(next()?)?];
    next().is_none().then(|| Some(named(ends[0], client)))
}

/// A decimal number without leading zeros, which could be meant as octal digits.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_plain)?;
    (text == "0" || !text.starts_with('0')).then_some(port)
}

fn named(address: IpAddr, port: u16) -> SocketAddress {
    SocketAddr::new(address.to_canonical(), port).into()
}

fn parse_v2(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(fixed) = input.first_chunk::<V2_FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let is_proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > PROXY_HEADER_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(header) = input.get(..length) else { return Ok(None) };
    let unnamed = Ok(Some(ProxyHeader { client: None, length }));
    let body = &header[V2_FIXED..];
    // For streams and for datagrams, which a proxy may turn into a stream.
    let (client, additions) = match family {
        // A connection of the proxy itself: everything else is to be ignored.
        _ if !is_proxied => return unnamed,
        0x00 => return unnamed,
        0x11 | 0x12 => {
            let (ends, additions) = body.split_first_chunk::<12>().ok_or(MALFORMED)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *ends;
            (named(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), additions)
        }
        0x21 | 0x22 => {
            let (ends, additions) = body.split_first_chunk::<36>().ok_or(MALFORMED)?;
            let (address, rest) = ends.split_first_chunk::<16>().ok_or(MALFORMED)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            (named(Ipv6Addr::from(*address).into(), port), additions)
        }
        0x31 | 0x32 => {
            let (_, additions) = body.split_first_chunk::<216>().ok_or(MALFORMED)?;
            (SocketAddress::Unix, additions)
        }
        _ => return Err(MALFORMED),
    };
    check_additions(header, length - additions.len())?;
    Ok(Some(ProxyHeader { client: Some(client), length }))
}

const MALFORMED: ProxyHeaderError = ProxyHeaderError::Malformed;

/// Skips the additions of a header from this place on: a type, a length of two bytes, and so many
/// bytes. Only the checksum is looked at.
fn check_additions(header: &[u8], mut at: usize) -> Result<(), ProxyHeaderError> {
    while at < header.len() {
        let (kind, rest) = header[at..].split_first().ok_or(MALFORMED)?;
        let length = rest.first_chunk::<2>().ok_or(MALFORMED)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let start = at + 3;
        let value = header.get(start..start + length).ok_or(MALFORMED)?;
        if *kind == TYPE_CRC32C {
            let expected = u32::from_be_bytes(value.try_into().map_err(|_| MALFORMED)?);
            // It is that of the header with zeros in its own place.
            let bytes = header.iter().enumerate();
            let zeroed =
                bytes.map(|(place, byte)| match (start..start + length).contains(&place) {
                    true => 0,
                    false => *byte,
                });
            if crc32c(zeroed) != expected {
                return Err(ProxyHeaderError::Checksum);
            }
        }
        at = start + length;
    }
    Ok(())
}

/// The checksum of RFC 9260 appendix A. A header is short and occurs once, so there is no table.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

/// Parses a header from anything, and the same in parts: for a fuzzer.
///
/// # Panics
///
/// If the result depends on how the input is split.
#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub fn fuzz_proxy_header(input: &[u8]) {
    let whole = ProxyHeader::parse(input);
    if let Ok(Some(header)) = whole {
        assert!((1..=PROXY_HEADER_MAX.min(input.len())).contains(&header.length));
    }
    // More than the header of longest kind has, each prefix says the same or nothing yet.
    for length in 0..=input.len().min(V1_MAX + V2_FIXED) {
        match (ProxyHeader::parse(&input[..length]), whole) {
            (Ok(None), _) => {}
            (part, whole) => assert_eq!(part, whole, "{length} bytes"),
        }
    }
}
