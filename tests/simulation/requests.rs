//! The requests of simulated worlds.

use std::fmt;

use fastrand::Rng;

use crate::wish::{CODED, PLAIN, Wish};

/// The longest body of a request.
pub(crate) const BODY_MAX: usize = 3000;

/// Much more than an inbox and the buffers of both sockets hold.
const FLOOD_BYTES: usize = 700_000;

/// The names that requests ask for.
pub(crate) const NAMES: [&str; 9] = [
    "index.html",
    PLAIN,
    CODED,
    "folder/index.html",
    "folder/b.js",
    "large.bin",
    "empty.css",
    "missing.html",
    "folder/.hidden",
];

/// The other names never exist.
pub(crate) const THERE: usize = 7;

/// A request, and the answers that are allowed.
#[derive(Clone)]
pub(crate) struct Request {
    /// As HTTP/1 writes it.
    pub(crate) wire: Vec<u8>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) head_only: bool,
    /// Whether the connection ends after it.
    pub(crate) last: bool,
    /// Bytes of its body.
    pub(crate) body: usize,
    pub(crate) expect: Expect,
    pub(crate) wish: Wish,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// The content of the name.
    Name(&'static str),
    /// This status, whatever the files are.
    Status(u16),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?})", String::from_utf8_lossy(&self.wire), self.expect)
    }
}

/// Requests, up to the one that ends the connection.
pub(crate) fn conversation(random: &mut Rng, names: &[&'static str]) -> Vec<Request> {
    if random.u8(..6) == 0 {
        let name = names[random.usize(..names.len())];
        return burst(random, name);
    }
    let count = random.usize(1..12);
    let mut requests = Vec::new();
    while requests.len() < count && !requests.last().is_some_and(|last: &Request| last.last) {
        let name = names[random.usize(..names.len())];
        requests.push(request(random, name));
    }
    requests
}

/// The same file several times, and the last request ends the connection: as much as one turn
/// answers.
pub(crate) fn burst(random: &mut Rng, name: &'static str) -> Vec<Request> {
    let count = [4, 8][random.usize(..2)];
    let nth = |number| {
        let last = number == count;
        let end = if last { "Connection: close\r\n" } else { "" };
        let wire = format!("GET /{name} HTTP/1.1\r\nHost: h\r\n{end}\r\n").into_bytes();
        Request { wire, last, ..get(name) }
    };
    (1..=count).map(nth).collect()
}

/// All of a file.
fn get(name: &'static str) -> Request {
    Request {
        wire: Vec::new(),
        method: "GET",
        path: format!("/{name}"),
        head_only: false,
        last: false,
        body: 0,
        expect: Expect::Name(name),
        wish: Wish::default(),
    }
}

pub(crate) fn request(random: &mut Rng, name: &'static str) -> Request {
    let (method, path, expect) = match random.u8(..20) {
        0 => ("GET", "/folder".to_owned(), Expect::Status(308)),
        1 => ("POST", "/a.txt".to_owned(), Expect::Status(405)),
        2 => ("BREW", "/a.txt".to_owned(), Expect::Status(501)),
        3 => ("OPTIONS", "*".to_owned(), Expect::Status(204)),
        4 => ("GET", "/folder/../a.txt".to_owned(), Expect::Name("a.txt")),
        5..8 => ("HEAD", format!("/{name}"), Expect::Name(name)),
        8 => ("GET", "/".to_owned(), Expect::Name("index.html")),
        9 => ("GET", "/folder/".to_owned(), Expect::Name("folder/index.html")),
        _ => ("GET", format!("/{name}?query"), Expect::Name(name)),
    };
    let old = random.u8(..10) == 0;
    let last = old || random.u8(..10) == 0;
    let version = if old { "1.0" } else { "1.1" };
    let mut wire = format!("{method} {path} HTTP/{version}\r\nHost: h\r\n");
    if last && !old {
        wire.push_str("Connection: close\r\n");
    }
    let wish = Wish::draw(random);
    wire.push_str(&wish.lines());
    let body = if method == "POST" { random.usize(..BODY_MAX) } else { 0 };
    if body > 0 {
        wire.push_str(&format!("Content-Length: {body}\r\n"));
    }
    wire.push_str("\r\n");
    let mut wire = wire.into_bytes();
    // A body that could be mistaken for requests.
    wire.extend(b"GET / HTTP/1.1\r\n".iter().cycle().take(body));
    Request { wire, method, path, head_only: method == "HEAD", last, body, expect, wish }
}

/// The same small request so often that the server keeps as much of them as it keeps of any client
/// that does not read.
pub(crate) fn flood(name: &'static str) -> Vec<Request> {
    let wire = format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
    let count = FLOOD_BYTES / wire.len();
    vec![Request { wire, ..get(name) }; count]
}
