//! A client that sends exactly the given bytes and parses answers strictly.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ringd::server::UnixAddress;
use socket2::SockRef;

use super::tls::{self, TlsStream};

/// The longest that a read or a write may block; then the test fails.
const BLOCKED_MAX: Duration = Duration::from_secs(20);

/// A connection to a server.
pub(crate) struct Client {
    stream: Stream,
    /// Bytes that were read beyond the last answer.
    rest: Vec<u8>,
}

/// How the bytes of a client reach the server.
enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(tls) => tls.tcp(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Secure(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Secure(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and fields, with the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What a client requests next that has requested `target` and is redirected to `location`: a path
/// and a query. The location must lead to the same host.
pub(crate) fn resolve(target: &str, location: &str) -> String {
    let base = if target.starts_with('/') { "http://h" } else { "" };
    let base = url::Url::parse(&format!("{base}{target}")).unwrap();
    let next = base.join(location).unwrap();
    assert_eq!(next.origin(), base.origin(), "{target} redirects to {location}");
    next[url::Position::BeforePath..].to_owned()
}

/// The bytes of a request. `fields` are lines without the last line end, or empty.
pub(crate) fn request(method: &str, target: &str, fields: &str) -> String {
    let end = if fields.is_empty() { "" } else { "\r\n" };
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}{end}\r\n")
}

/// A connection whose first bytes are these.
fn connect_proxy(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.write_all(header).expect("the server reads");
    stream
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts connections");
        Self::new(stream)
    }

    /// A client whose kernel buffers little.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        // Before the handshake, because it announces the window.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).expect("the server accepts connections");
        Self::new(socket.into())
    }

    /// A client at another address of this machine.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).expect("the address is of this machine");
        socket.connect(&address.into()).expect("the server accepts connections");
        Self::new(socket.into())
    }

    /// A client of a Unix socket, as the type of all streams: its calls are the same.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server accepts connections");
        Self::new(TcpStream::from(OwnedFd::from(stream)))
    }

    /// A client of a Unix socket with an abstract name.
    pub(crate) fn connect_abstract(address: &UnixAddress) -> Self {
        let UnixAddress::Abstract(name) = address else { panic!("{address} is a path") };
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let stream = UnixStream::connect_addr(&address).expect("the server accepts connections");
        Self::new(TcpStream::from(OwnedFd::from(stream)))
    }

    /// A client that speaks HTTP/2.
    pub(crate) fn connect_http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts connections");
        Self::with(stream, TlsStream::for_http2)
    }

    /// A client behind a proxy that sends this header before everything else.
    pub(crate) fn connect_behind(address: SocketAddr, header: &[u8]) -> Self {
        Self::new(connect_proxy(address, header))
    }

    /// A client for whom something is sent before everything else.
    pub(crate) fn connect_in_pieces(
        address: SocketAddr,
        send: impl FnOnce(&mut TcpStream),
    ) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server accepts connections");
        send(&mut stream);
        Self::new(stream)
    }

    /// The same for HTTP/2.
    pub(crate) fn connect_http2_behind(address: SocketAddr, header: &[u8]) -> Self {
        Self::with(connect_proxy(address, header), TlsStream::for_http2)
    }

    fn new(stream: TcpStream) -> Self {
        Self::with(stream, TlsStream::new)
    }

    fn with(stream: TcpStream, secure: impl FnOnce(TcpStream) -> TlsStream) -> Self {
        stream.set_read_timeout(Some(BLOCKED_MAX)).unwrap();
        stream.set_write_timeout(Some(BLOCKED_MAX)).unwrap();
        // A Unix socket has no such option.
        let _ = stream.set_nodelay(true);
        let stream = match tls::is_on() {
            true => Stream::Secure(Box::new(secure(stream))),
            false => Stream::Plain(stream),
        };
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends to a server that may have closed; returns whether all bytes were sent.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Ends the output; input still comes. Returns false if the server was faster and has reset
    /// the connection.
    pub(crate) fn half_close(&mut self) -> bool {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.shutdown(Shutdown::Write).is_ok(),
            Stream::Secure(tls) => tls.half_close().is_ok(),
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// A second handle, to send and receive from two threads.
    pub(crate) fn twin(&self) -> Self {
        let stream = match &self.stream {
            Stream::Plain(tcp) => Stream::Plain(tcp.try_clone().unwrap()),
            Stream::Secure(tls) => Stream::Secure(Box::new(tls.twin())),
        };
        Self { stream, rest: Vec::new() }
    }

    /// Sends one request and returns its answer. `fields` are lines without the last line end, or
    /// empty.
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &str) -> Response {
        self.send(request(method, target, fields));
        if method == "HEAD" { self.read_head() } else { self.read_response() }
    }

    /// Reads the answer to a request that was not HEAD.
    pub(crate) fn read_response(&mut self) -> Response {
        let mut response = self.read_head();
        let length = response.field("content-length").map_or(0, |length| length.parse().unwrap());
        response.body = self.read_exact(length);
        response
    }

    /// Reads the head of an answer, which is all of it for HEAD.
    pub(crate) fn read_head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let read = self.read_more().expect("a head comes");
            let text = String::from_utf8_lossy(&self.rest);
            assert!(read > 0, "the connection ended within a head: {text:?}");
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        Response::of_head(String::from_utf8(head).expect("heads are ASCII"))
    }

    pub(crate) fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.rest.len() < length {
            let read = self.read_more().expect("the body continues");
            assert!(read > 0, "{} of {length} bytes of a body came", self.rest.len());
        }
        self.rest.drain(..length).collect()
    }

    /// Reads what comes next; nothing at the end.
    pub(crate) fn read_some(&mut self) -> io::Result<Vec<u8>> {
        self.read_more()?;
        Ok(std::mem::take(&mut self.rest))
    }

    /// Reads and discards so many bytes.
    pub(crate) fn try_read(&mut self, length: usize) -> io::Result<()> {
        while self.rest.len() < length {
            if self.read_more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.rest.drain(..length);
        Ok(())
    }

    /// Reads to the end; returns all bytes, and an error if the end was not orderly.
    pub(crate) fn read_to_end(mut self) -> (Vec<u8>, io::Result<()>) {
        loop {
            match self.read_more() {
                Ok(0) => return (self.rest, Ok(())),
                Ok(_) => {}
                Err(error) => return (self.rest, Err(error)),
            }
        }
    }

    /// Reads to the end and discards everything; returns how many bytes came, and how it ended.
    pub(crate) fn count_to_end(mut self) -> (u64, io::Result<()>) {
        let mut count = 0;
        loop {
            count += self.rest.len() as u64;
            self.rest.clear();
            match self.read_more() {
                Ok(0) => return (count, Ok(())),
                Ok(_) => {}
                Err(error) => return (count, Err(error)),
            }
        }
    }

    /// Expects an orderly end, without further bytes.
    pub(crate) fn expect_close(self) {
        let (rest, end) = self.read_to_end();
        assert!(rest.is_empty(), "more than the answer: {:?}", String::from_utf8_lossy(&rest));
        end.expect("an orderly close");
    }

    /// Expects an orderly end of a connection on which nothing was sent, also over TLS: a handshake
    /// would begin after that end, and be answered with a reset.
    pub(crate) fn expect_close_unused(self) {
        let count = self.stream.tcp().read(&mut [0; 64]).expect("an orderly close");
        assert_eq!(count, 0, "the server speaks first");
    }

    /// Expects the end of the connection, orderly or not, within the deadline.
    pub(crate) fn expect_end(self) {
        if let (_, Err(error)) = self.count_to_end() {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    /// Reads some bytes, or the end. No test expects that nothing happens at all.
    fn read_more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // A read with a timeout is not restarted after a signal (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("{} bytes came, and then nothing for {BLOCKED_MAX:?}", self.rest.len())
                }
                read => break read?,
            }
        };
        self.rest.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl Response {
    fn of_head(head: String) -> Self {
        let line = head.split("\r\n").next().unwrap();
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {line:?}"));
        Self { status, head, body: Vec::new() }
    }

    /// The value of a field, which may occur at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields().filter(|field| field.0.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| field.1);
        assert_eq!(values.next(), None, "two fields {name} in {}", self.head);
        value
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.split("\r\n").skip(1).take_while(|line| !line.is_empty());
        lines.map(|line| line.split_once(": ").expect("a name and a value"))
    }

    /// The names of the fields, without those that every answer has.
    pub(crate) fn own_fields(&self) -> Vec<&str> {
        const COMMON: [&str; 4] = ["Server", "Date", "Connection", "X-Content-Type-Options"];
        self.fields().map(|field| field.0).filter(|name| !COMMON.contains(name)).collect()
    }

    /// The values of a field that may occur on several lines, joined as one list.
    pub(crate) fn list(&self, name: &str) -> String {
        let lines = self.fields().filter(|field| field.0.eq_ignore_ascii_case(name));
        lines.map(|field| field.1).collect::<Vec<_>>().join(", ")
    }

    /// Whether the server announces that it will close.
    pub(crate) fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(crate) fn expect_ok(&self, body: &[u8]) {
        assert_eq!(self.status, 200, "{}", self.head);
        assert_eq!(self.body.len(), body.len(), "{}", self.head);
        assert!(self.body == body, "the body differs from the file");
    }
}
