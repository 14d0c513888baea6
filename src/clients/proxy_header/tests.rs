//! Tests of the PROXY header.

use super::*;

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_PREFIX, &[command, family], &length, body].concat()
}

fn internet(text: &str) -> Option<SocketAddress> {
    Some(text.parse::<SocketAddr>().unwrap().into())
}

#[test]
fn lines_of_version_1_name_clients() {
    let malformed = Err(ProxyHeaderError::Malformed);
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n", Ok(internet("192.0.2.1:5"))),
        ("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", Ok(internet("[2001:db8::1]:65535"))),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n", Ok(internet("192.0.2.1:1"))),
        ("PROXY UNKNOWN\r\n", Ok(None)),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Ok(None)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 5 80 \r\n", malformed),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 5 80\r\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 05 80\r\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +5 80\r\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n", malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 5 65536\r\n", malformed),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 5 80\r\n", malformed),
        ("PROXY TCP4 ::1 ::1 5 80\r\n", malformed),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 5 80\r\n", malformed),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 5 80\r\n", malformed),
        ("PROXY \r\n", malformed),
        ("PROXY UNKNOWN \u{fc}\r\n", Ok(None)),
    ] {
        let rest = format!("{line}GET / HTTP/1.1\r\n");
        let parsed = ProxyHeader::parse(rest.as_bytes());
        let expected = expected.map(|client| Some(ProxyHeader { client, length: line.len() }));
        assert_eq!(parsed, expected, "{line}");
        fuzz_proxy_header(rest.as_bytes());
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(V1_MAX - 16));
    let fits = format!("{long}\r\n");
    assert_eq!(fits.len(), V1_MAX);
    assert!(matches!(ProxyHeader::parse(fits.as_bytes()), Ok(Some(_))));
    let longer = format!("{long}x\r\n");
    assert_eq!(ProxyHeader::parse(longer.as_bytes()), Err(ProxyHeaderError::TooLong));
}

#[test]
fn headers_of_version_2_name_clients() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0, 5, 0, 80];
    let v6: Vec<u8> = ["2001:db8::1", "::1"]
        .iter()
        .flat_map(|text| text.parse::<Ipv6Addr>().unwrap().octets())
        .chain([0, 5, 0, 80])
        .collect();
    let malformed = Err(ProxyHeaderError::Malformed);
    let with = |body: &[u8], more: &[u8]| [body, more].concat();
    for (number, (header, expected)) in [
        (v2(0x21, 0x11, &v4), Ok(internet("192.0.2.1:5"))),
        (v2(0x21, 0x12, &v4), Ok(internet("192.0.2.1:5"))),
        (v2(0x21, 0x21, &v6), Ok(internet("[2001:db8::1]:5"))),
        (v2(0x21, 0x31, &[7; 216]), Ok(Some(SocketAddress::Unix))),
        // Additions are skipped.
        (v2(0x21, 0x11, &with(&v4, &[4, 0, 2, 9, 9, 0xee, 0, 0])), Ok(internet("192.0.2.1:5"))),
        (v2(0x21, 0x11, &with(&v4, &[4, 0, 3, 9, 9])), malformed),
        (v2(0x21, 0x11, &with(&v4, &[4, 0])), malformed),
        (v2(0x21, 0x11, &v4[..11]), malformed),
        (v2(0x21, 0x21, &v6[..35]), malformed),
        (v2(0x21, 0x31, &[0; 215]), malformed),
        (v2(0x20, 0x00, &[]), Ok(None)),
        (v2(0x20, 0x11, &v4), Ok(None)),
        (v2(0x20, 0x77, &[1, 2, 3]), Ok(None)),
        (v2(0x21, 0x00, &[1, 2, 3]), Ok(None)),
        (v2(0x21, 0x10, &v4), malformed),
        (v2(0x21, 0x41, &v4), malformed),
        (v2(0x22, 0x11, &v4), malformed),
        (v2(0x11, 0x11, &v4), malformed),
        (v2(0x31, 0x11, &v4), malformed),
        (v2(0x20, 0, &[0; PROXY_HEADER_MAX - V2_FIXED]), Ok(None)),
        (v2(0x20, 0, &[0; PROXY_HEADER_MAX - V2_FIXED + 1]), Err(ProxyHeaderError::TooLong)),
    ]
    .into_iter()
    .enumerate()
    {
        let expected = expected.map(|client| Some(ProxyHeader { client, length: header.len() }));
        let rest = with(&header, b"GET /");
        assert_eq!(ProxyHeader::parse(&rest), expected, "header {number}");
        fuzz_proxy_header(&rest);
        if expected.is_ok() {
            let short = ProxyHeader::parse(&header[..header.len() - 1]);
            assert_eq!(short, Ok(None), "header {number}");
        }
    }
}

#[test]
fn a_checksum_has_to_be_that_of_the_header() {
    // The example of RFC 3720 appendix B.4: 32 bytes of zeros.
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0, 5, 0, 80];
    let mut header = v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 7], &[3, 0, 4, 0, 0, 0, 0]].concat());
    assert_eq!(ProxyHeader::parse(&header), Err(ProxyHeaderError::Checksum));
    let sum = crc32c(header.iter().copied());
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum.to_be_bytes());
    let client = internet("192.0.2.1:5");
    let length = header.len();
    assert_eq!(ProxyHeader::parse(&header), Ok(Some(ProxyHeader { client, length })));
    // Each other bit of the addresses makes it wrong.
    for bit in 16 * 8..28 * 8 {
        let mut other = header.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ProxyHeader::parse(&other), Err(ProxyHeaderError::Checksum), "bit {bit}");
    }
    let short = v2(0x21, 0x11, &[&v4[..], &[3, 0, 3, 0, 0, 0]].concat());
    assert_eq!(ProxyHeader::parse(&short), Err(ProxyHeaderError::Malformed));
}

/// Headers of random clients come back as they were made, behind any split, and what is damaged
/// does no harm.
#[test]
fn headers_come_back_as_they_were_made() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..3_000 {
        let address: IpAddr = match random.bool() {
            true => Ipv4Addr::from_bits(random.u32(..)).into(),
            false => Ipv6Addr::from_bits(random.u128(..)).into(),
        };
        let client = SocketAddr::new(address, random.u16(..));
        let mut input = match (random.bool(), address) {
            (true, IpAddr::V4(it)) => {
                format!("PROXY TCP4 {it} 127.0.0.1 {} 80\r\n", client.port()).into_bytes()
            }
            (true, IpAddr::V6(it)) => {
                format!("PROXY TCP6 {it} ::1 {} 80\r\n", client.port()).into_bytes()
            }
            (false, IpAddr::V4(it)) => {
                let port = client.port().to_be_bytes();
                v2(0x21, 0x11, &[&it.octets()[..], &[127, 0, 0, 1], &port, &[0, 80]].concat())
            }
            (false, IpAddr::V6(it)) => {
                let port = client.port().to_be_bytes();
                v2(0x21, 0x21, &[&it.octets()[..], &[0; 16], &port, &[0, 80]].concat())
            }
        };
        let length = input.len();
        let more = random.usize(..40);
        input.extend(std::iter::repeat_with(|| random.u8(..)).take(more));
        let expected = ProxyHeader { client: Some(named(address, client.port())), length };
        assert_eq!(ProxyHeader::parse(&input), Ok(Some(expected)));
        fuzz_proxy_header(&input);
        let place = random.usize(..length);
        input[place] = random.u8(..);
        fuzz_proxy_header(&input);
    }
}

#[test]
fn other_protocols_are_told_from_the_first_byte_that_differs() {
    for (input, expected) in [
        (&b""[..], Ok(None)),
        (b"P", Ok(None)),
        (b"\r\n\r\n\0\r\nQUIT", Ok(None)),
        (b"PO", Err(ProxyHeaderError::Missing)),
        (b"GET / HTTP/1.1\r\n", Err(ProxyHeaderError::Missing)),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", Err(ProxyHeaderError::Missing)),
        (b"\x16\x03\x01", Err(ProxyHeaderError::Missing)),
        (b"proxy ", Err(ProxyHeaderError::Missing)),
        (b"PROXY\t", Err(ProxyHeaderError::Missing)),
    ] {
        assert_eq!(ProxyHeader::parse(input), expected, "{input:?}");
    }
}
