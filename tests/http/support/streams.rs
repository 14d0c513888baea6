//! Generated requests: valid ones, broken ones, and streams of both.

use fastrand::Rng;

/// Targets of requests: some exist, some do not.
const TARGETS: [&str; 34] = [
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
    "/bare/?sort=size&order=desc",
    "/page.css.gz",
    "/route/of/an/app",
    "/../small.txt",
    "/dir/index.html",
    "/%zz",
    "http://host:80/small.txt",
];

/// A file with several codings, all of them old: the tags below are its tags.
const CODED: &str = "/page.css";

/// Field lines that have no effect on the answer.
const FIELDS: [&str; 8] = [
    "Accept: */*",
    "User-Agent: test/1.0 (a; b)",
    "Connection: keep-alive",
    "Connection: Keep-Alive, Upgrade",
    "Cookie: a=1; b=\"2\"",
    "Expect:",
    "X-Empty:",
    "X-Bytes: \u{fc}\u{20ac}",
];

/// Field lines that decide the coding, the range and the condition. None has two ranges, because
/// the boundary of a multipart answer is random.
const CHOICES: [&str; 36] = [
    "Accept-Encoding: gzip, br",
    "accept-encoding: br;q=0.5, gzip",
    "Accept-Encoding: gzip",
    "Accept-Encoding: *",
    "Accept-Encoding: br;q=0, identity",
    "Accept-Encoding: zstd;q=x",
    "Accept: application/json",
    "Accept: application/json;q=0.5, text/html;q=0.6",
    "Accept: text/html",
    "Range: bytes=0-3",
    "Range: bytes=0-",
    "Range: bytes=-5",
    "Range: bytes=99-8191",
    "Range: bytes=120-",
    "Range: bytes=8192-",
    "Range: bytes=5-2",
    "Range: lines=1-2",
    "If-Range: \"ae1b981bc490a00-190\"",
    "If-Range: \"ae1b981bc490a00-64-br\"",
    "If-Range: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Range: W/\"x\"",
    "If-None-Match: *",
    "If-None-Match: \"1-2\"",
    "If-None-Match: \"ae1b981bc490a00-190\"",
    "If-None-Match: W/\"x\", W/\"ae1b981bc490a00-64-br\"",
    "If-None-Match: \"ae1b981bc490a00-96-gzip\", junk",
    "If-Match: *",
    "If-Match: \"ae1b981bc490a00-190\"",
    "If-Match: \"x\"",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Modified-Since: Sun Nov  6 08:49:36 1994",
    "If-Modified-Since: Sunday, 06-Nov-94 08:49:38 GMT",
    "If-Modified-Since: yesterday",
    "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Unmodified-Since: Sun Nov  6 08:49:36 1994",
    "If-Unmodified-Since: ",
];

/// Field lines that change the framing, or make the request invalid.
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

/// A request, usually a valid one that leaves the connection open.
pub(crate) fn request(random: &mut Rng) -> Vec<u8> {
    let method = match random.u8(..20) {
        0..13 => "GET",
        13..17 => "HEAD",
        17 => "OPTIONS",
        18 => "POST",
        _ => "BREW",
    };
    let target = match random.u8(..8) {
        0 => CODED,
        _ => TARGETS[random.usize(..TARGETS.len())],
    };
    let version = if random.u8(..30) == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{method} {target} {version}\r\nHost: host\r\n");
    for table in [&FIELDS[..], &CHOICES] {
        for _ in 0..random.usize(..4) {
            text += table[random.usize(..table.len())];
            text += "\r\n";
        }
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

/// Changes a few bytes; the result may still be a request.
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

/// Pipelined requests; some streams have a broken one among them.
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

/// Cuts a stream into pieces, in one of several ways.
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
