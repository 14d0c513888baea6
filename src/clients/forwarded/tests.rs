//! Tests of the walk through a forwarded field.

use super::super::networks::Network;
use super::*;

const PROXY: Client = Client::Internet(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));

fn trusted() -> Networks {
    ["10.0.0.0/8", "2001:db8:a::/48"].iter().map(|text| text.parse::<Network>().unwrap()).collect()
}

fn walk(field: ForwardedField, lines: &[&str]) -> String {
    let name = field.name();
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for line in lines {
        head.extend(format!("{name}: {line}\r\nAccept: 8.8.8.8\r\n").bytes());
    }
    field.read(PROXY, &trusted(), &head).client.to_string()
}

#[test]
fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
    for (lines, expected) in [
        (&[][..], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (&["192.0.2.9, 192.0.2.1, 10.0.0.3,10.0.0.2"], "192.0.2.1"),
        (&["192.0.2.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["192.0.2.9, unknown, 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["192.0.2.9, what, "], "10.0.0.1"),
        (&["192.0.2.1,, ,10.0.0.2,"], "192.0.2.1"),
        (&["192.0.2.1:8080"], "192.0.2.1"),
        (&["[2001:db8::1]:80"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["2001:db8::1, 2001:db8:a::5"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
        (&["192.0.2.1:"], "10.0.0.1"),
        (&["192.0.2.1:123456"], "10.0.0.1"),
        (&["192.0.2.01"], "10.0.0.1"),
        (&["fe80::1%eth0"], "10.0.0.1"),
        (&["\"192.0.2.1\""], "10.0.0.1"),
    ] {
        assert_eq!(walk(ForwardedField::XForwardedFor, lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_its_standard_says() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], "192.0.2.1"),
        (&["For=192.0.2.1;proto=https;by=10.0.0.1"], "192.0.2.1"),
        (&["proto=http; FOR=\"192.0.2.1:80\" ;host=\"a,b;c\""], "192.0.2.1"),
        (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=\"[2001:db8::1]:_port\""], "2001:db8::1"),
        (&["for=192.0.2.1, for=10.0.0.2;by=\"_a\\\",for=8.8.8.8\""], "192.0.2.1"),
        (&["for=192.0.2.1", "for=10.0.0.2"], "192.0.2.1"),
        (&["for=192.0.2.1, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        (&["for=192.0.2.1, for=_hidden"], "10.0.0.1"),
        (&["for=192.0.2.1, proto=https"], "10.0.0.1"),
        (&["for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
        (&["for=192.0.2.1:80"], "10.0.0.1"),
        (&["for=[2001:db8::1]"], "10.0.0.1"),
        (&["for=\"2001:db8::1\""], "10.0.0.1"),
        (&["for=\"192.0.2.1"], "10.0.0.1"),
        (&["for = 192.0.2.1"], "10.0.0.1"),
        // What clients write must not swallow what proxies append.
        (&["for=\", for=192.0.2.1"], "192.0.2.1"),
        (&["for=\"\\, for=\"192.0.2.1\""], "192.0.2.1"),
        (&["\\\", for=\"[2001:db8::1]\", for=10.0.0.2"], "2001:db8::1"),
    ] {
        assert_eq!(walk(ForwardedField::Forwarded, lines), expected, "{lines:?}");
    }
}

#[test]
fn other_fields_and_other_peers_name_nobody() {
    let head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n\r\n";
    let found = |field: ForwardedField, peer| field.read(peer, &trusted(), head).client;
    let x_forwarded_for = ForwardedField::XForwardedFor;
    assert_eq!(found(ForwardedField::Forwarded, PROXY), PROXY);
    assert_eq!(found(x_forwarded_for, PROXY).to_string(), "192.0.2.1");
    for peer in [Client::Unix, Client::Unknown, Client::Internet([192, 0, 2, 77].into())] {
        assert_eq!(found(x_forwarded_for, peer), peer);
    }
    let unix: Networks = [Network::Unix].into_iter().collect();
    let found = x_forwarded_for.read(Client::Unix, &unix, head);
    assert_eq!(found.client.to_string(), "192.0.2.1");
}

#[test]
fn the_scheme_is_what_the_trusted_proxy_next_to_the_client_says() {
    for (clients, schemes, expected) in [
        ("", "", None),
        ("", "https", Some(true)),
        ("192.0.2.1", "HTTPS", Some(true)),
        ("192.0.2.1", "http", Some(false)),
        ("192.0.2.1", "ftp", None),
        // The client writes, and one proxy behind it appends.
        ("192.0.2.9, 192.0.2.1", "https, http", Some(false)),
        ("10.0.0.9, 192.0.2.1", "https, http", Some(false)),
        // Two proxies append, or only one of them writes.
        ("192.0.2.1, 10.0.0.2", "http, https, http", Some(true)),
        ("192.0.2.1, 10.0.0.2", "https", Some(true)),
        ("192.0.2.1, 10.0.0.2", "http, ftp, https", Some(true)),
        ("192.0.2.1, unknown, 10.0.0.2", "http, https, http", Some(true)),
    ] {
        let head = format!("GET / HTTP/1.1\r\nX-Forwarded-For: {clients}\r\n");
        let head = head + &format!("X-Forwarded-Proto: {schemes}\r\n");
        let found = ForwardedField::XForwardedFor.read(PROXY, &trusted(), head.as_bytes());
        assert_eq!(found.is_secure, expected, "{clients:?} {schemes:?}");
        // It goes with the other field only.
        let found = ForwardedField::Forwarded.read(PROXY, &trusted(), head.as_bytes());
        assert_eq!(found.is_secure, None);
        let stranger = Client::Internet([192, 0, 2, 77].into());
        let found = ForwardedField::XForwardedFor.read(stranger, &trusted(), head.as_bytes());
        assert_eq!(found, ForwardedRequest { client: stranger, is_secure: None });
    }
    for (line, expected) in [
        ("for=192.0.2.1", None),
        ("for=192.0.2.1;proto=https", Some(true)),
        ("proto=\"HTTP\";for=192.0.2.1", Some(false)),
        ("Proto=https", Some(true)),
        ("for=192.0.2.1;proto=http, for=10.0.0.2;proto=https", Some(false)),
        ("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", Some(true)),
        ("for=192.0.2.1, for=10.0.0.2;proto=https", Some(true)),
        ("for=unknown;proto=https, for=10.0.0.2;proto=http", Some(true)),
        // The client has written the first one.
        ("for=10.0.0.3;proto=https, for=192.0.2.1;proto=http", Some(false)),
        ("for=192.0.2.1;proto=https;proto=https", None),
        ("for=192.0.2.1;proto=wss", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nForwarded: {line}\r\n");
        let found = ForwardedField::Forwarded.read(PROXY, &trusted(), head.as_bytes());
        assert_eq!(found.is_secure, expected, "{line:?}");
    }
}

/// Random chains of proxies, against a walk that makes a list first.
#[test]
fn walks_agree_with_a_naive_one() {
    let mut random = fastrand::Rng::with_seed(11);
    let nodes = [
        ("192.0.2.1", true),
        ("192.0.2.2", true),
        ("10.0.0.7", true),
        ("10.0.0.8", true),
        ("10.255.255.255", true),
        ("11.0.0.0", true),
        ("unknown", false),
        ("", false),
    ];
    for _ in 0..20_000 {
        let lines: Vec<Vec<_>> = (0..random.usize(0..4))
            .map(|_| (0..random.usize(0..5)).map(|_| *random.choice(&nodes).unwrap()).collect())
            .collect();
        let mut expected = "10.0.0.1";
        let mut all: Vec<_> = lines.concat().into_iter().filter(|it| !it.0.is_empty()).collect();
        while let Some((text, is_address)) = all.pop() {
            let is_trusted = expected.starts_with("10.");
            if !is_trusted || !is_address {
                break;
            }
            expected = text;
        }
        for field in ForwardedField::ALL {
            let write = |(text, _): &(&str, bool)| match field {
                ForwardedField::Forwarded if !text.is_empty() => format!("for=\"{text}\""),
                _ => (*text).to_owned(),
            };
            let write = |line: &Vec<_>| line.iter().map(write).collect::<Vec<_>>().join(" , ");
            let texts: Vec<String> = lines.iter().map(write).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            assert_eq!(walk(field, &texts), expected, "{texts:?}");
        }
    }
}

#[test]
fn nothing_on_the_left_changes_the_client() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let alphabet = b"\"\\,;=:[]. for10x\t";
        let input: Vec<u8> =
            (0..random.usize(0..30)).map(|_| *random.choice(alphabet).unwrap()).collect();
        fuzz_forwarded(&input);
    }
}
