//! Generated requests: valid ones, broken ones, and streams of both.

use fastrand::Rng;

/// Names that requests ask for: of what is there, and of what is not.
const TARGETS: [&str; 30] = [
    "/",
    "/small.txt",
    "/small.txt?query",
    "/empty.txt",
    "/under.bin",
    "/exact.bin",
    "/over.bin",
    "/dir",
    "/dir?a=b&c=/d",
    "/dir/",
    "/dir/sub/..",
    "/dir/../small.txt",
    "/%73mall.txt",
    "//small.txt",
    "/a%20b/%c3%bc%20%25.txt",
    "/a%20b",
    "/missing",
    "/small.txt/",
    "/small%2Ftxt",
    "/.hidden",
    "/.well-known/security.txt",
    "/inside",
    "/outside",
    "/outside/etc/passwd",
    "/circle",
    "/fifo",
    "/bare/",
    "/../small.txt",
    "/%zz",
    "http://host:80/small.txt",
];

/// Lines that a request may have; most do not matter to it.
const FIELDS: [&str; 12] = [
    "Accept: */*",
    "accept-encoding: gzip, br",
    "User-Agent: test/1.0 (a; b)",
    "Connection: keep-alive",
    "Connection: Keep-Alive, Upgrade",
    "Cookie: a=1; b=\"2\"",
    "Expect:",
    "X-Empty:",
    "If-None-Match: \"1-2\"",
    "Range: bytes=0-3",
    "Content-Length: 0",
    "X-Bytes: \u{fc}\u{20ac}",
];

/// Lines that make a request another one, or none.
const ODD_FIELDS: [&str; 12] = [
    "Connection: close",
    "Host: again",
    "Host : h",
    " folded",
    "Content-Length: 12, 12",
    "Content-Length: +1",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Expect: 100-continue",
    "Expect: the unexpected",
    "No colon",
    "X: a\x00b",
];

/// A request, most often a valid one that leaves the connection open.
pub(crate) fn request(random: &mut Rng) -> Vec<u8> {
    let method = match random.u8(..20) {
        0..13 => "GET",
        13..17 => "HEAD",
        17 => "OPTIONS",
        18 => "POST",
        _ => "BREW",
    };
    let target = TARGETS[random.usize(..TARGETS.len())];
    let version = if random.u8(..30) == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{method} {target} {version}\r\nHost: host\r\n");
    for _ in 0..random.usize(..4) {
        text += FIELDS[random.usize(..FIELDS.len() - 2)];
        text += "\r\n";
    }
    if random.u8(..25) == 0 {
        text += ODD_FIELDS[random.usize(..ODD_FIELDS.len())];
        text += "\r\n";
    }
    let mut bytes = text.into_bytes();
    match random.u8(..12) {
        0 => {
            let length = random.usize(..3000);
            bytes.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
            bytes.extend((0..length).map(|_| random.alphanumeric() as u8));
        }
        1 => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for _ in 0..random.usize(..4) {
                let length = random.usize(1..400);
                bytes.extend_from_slice(format!("{length:x};ext=1\r\n").as_bytes());
                bytes.extend((0..length).map(|_| random.alphanumeric() as u8));
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nTrailer: t\r\n\r\n");
        }
        _ => bytes.extend_from_slice(b"\r\n"),
    }
    bytes
}

/// Changes a few bytes somewhere: the result may still be a request.
pub(crate) fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    const TELLING: &[u8] = b"\r\n \t:/.%?#;,0\x00\x7f\xff";
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..5) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] = TELLING[random.usize(..TELLING.len())],
            2 => bytes.insert(at, TELLING[random.usize(..TELLING.len())]),
            3 => drop(bytes.remove(at)),
            _ => bytes.truncate(bytes.len() - random.usize(..bytes.len().min(20))),
        }
    }
}

/// Requests behind each other on one connection; some streams have a broken one among them.
pub(crate) fn stream(random: &mut Rng, requests_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..=requests_max) {
        let mut next = request(random);
        if random.u8(..20) == 0 {
            mutate(random, &mut next);
        }
        bytes.extend_from_slice(&next);
    }
    bytes
}

/// Cuts a stream into pieces, in one of several manners.
pub(crate) fn split<'a>(random: &mut Rng, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let piece_max = [1, 5, 100, 5000][random.usize(..4)];
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(random.usize(1..=piece_max).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
