//! The administration of a server: a Unix socket that takes requests of HTTP, and a thread that
//! answers them one after another. Whoever may connect to the socket may do all of this.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /reload` | 200 when all workers serve the new configuration, or 409, and a text |

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::CommandError;
use super::controller::Controller;
use crate::http::h1::head::{self, Head};
use crate::http::semantics::request::RequestLimits;
use crate::server::{UnixAddress, UnixOptions, UnixSocket};
use crate::signal_mask::block_signals;

/// Only the user of the server, and root.
const MODE: u32 = 0o600;

/// How long a client may take to send its request, however it sends it, and how long it may read
/// nothing of the answer. Others wait meanwhile.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a reload may take, for the command that waits for it.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The field with the file that the command has checked, so that no server takes it for its own.
const CONFIG: &str = "Ringd-Config";

/// The longest request and the longest answer, in bytes.
const REQUEST_MAX: usize = 4096;
const LIMITS: RequestLimits = RequestLimits {
    head_bytes_max: REQUEST_MAX,
    target_bytes_max: REQUEST_MAX,
    // A body is discarded, whatever its length is.
    body_bytes_max: 0,
};
const ANSWER_MAX: u64 = 1 << 20;

/// How long a client may still send after the answer, and how many bytes. One that waits for the
/// end of the answer closes at once, so others rarely wait for this.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
const DISCARDED_MAX: usize = 1 << 20;

/// After accept(2) has failed, the thread waits this long, as descriptors may have run out.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The socket, before there is a server.
pub(super) struct AdminSocket {
    socket: UnixSocket,
}

impl AdminSocket {
    /// Listens at a path.
    pub(super) fn bind(path: &Path) -> Result<Self, CommandError> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let options = UnixOptions { mode: MODE, ..UnixOptions::default() };
        let socket = UnixSocket::bind(&UnixAddress::Path(absolute), &options);
        socket
            .map(|socket| Self { socket })
            .map_err(|error| CommandError(format!("[admin] listen: {error}")))
    }

    /// Answers requests in a thread. The file of the socket is removed when the result is dropped.
    pub(super) fn serve(self, controller: Controller) -> Result<UnixSocket, CommandError> {
        let failed = |error: io::Error| CommandError::no_thread("the administration", &error);
        let listener = self.socket.listener.try_clone().map_err(failed)?;
        let run = move || {
            block_signals();
            loop {
                match listener.accept() {
                    // A client that goes away in the middle harms nobody else.
                    Ok((stream, _)) => drop(answer(stream, &controller)),
                    Err(_) => thread::sleep(RETRY_AFTER),
                }
            }
        };
        thread::Builder::new().name("admin".into()).spawn(run).map_err(failed)?;
        Ok(self.socket)
    }
}

/// What a client gets.
struct Answer {
    status: &'static str,
    /// Fields of the head besides those that every answer has.
    fields: &'static str,
    text: String,
}

impl Answer {
    fn new(status: &'static str, text: impl Into<String>) -> Self {
        Self { status, fields: "", text: text.into() }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, fields, text } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n{fields}Connection: close\r\n\r\n",
            text.len() + 1
        );
        [head.as_bytes(), text.as_bytes(), b"\n"].concat()
    }
}

/// Reads a request and answers it.
fn answer(mut stream: UnixStream, controller: &Controller) -> io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let until = Instant::now() + CLIENT_TIMEOUT;
    let mut received = Vec::new();
    let answer = loop {
        let mut buffer = [0; REQUEST_MAX];
        let count = read_until(&mut stream, &mut buffer, until)?;
        received.extend_from_slice(&buffer[..count]);
        match head::parse(&received, &LIMITS) {
            Ok(Some((Head { request, .. }, length))) => {
                break respond(request.target, &received[..length], controller);
            }
            Ok(None) if count > 0 => {}
            Ok(None) => break Answer::new("400 Bad Request", "The request has no end."),
            Err(refusal) => break Answer::new("400 Bad Request", refusal.reason),
        }
    };
    stream.write_all(&answer.bytes())?;
    discard(stream)
}

/// Reads what a client sends until some point in time. No time is left if this fails: a timeout of
/// zero is refused.
fn read_until(stream: &mut UnixStream, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
    stream.set_read_timeout(Some(until.saturating_duration_since(Instant::now())))?;
    stream.read(buffer)
}

/// Ends the answer, and reads what the client still sends, such as a body. Closing a Unix socket
/// with bytes that were not read resets the connection, and a client that still sends gets `EPIPE`:
/// it may report either in place of the answer.
fn discard(mut stream: UnixStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + DISCARD_TIMEOUT;
    let (mut left, mut buffer) = (DISCARDED_MAX, [0; REQUEST_MAX]);
    while left > 0 {
        match read_until(&mut stream, &mut buffer, until)? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

fn respond(target: &[u8], head: &[u8], controller: &Controller) -> Answer {
    if target != b"/reload" {
        return Answer::new("404 Not Found", "there is POST /reload");
    }
    if !head.trim_ascii_start().starts_with(b"POST ") {
        // RFC 9110, section 15.5.6, demands the field.
        return Answer {
            fields: "Allow: POST\r\n",
            ..Answer::new("405 Method Not Allowed", "use POST")
        };
    }
    let config = field(head, CONFIG).map(|value| PathBuf::from(OsStr::from_bytes(value)));
    match controller.reload(config) {
        Ok(line) => Answer::new("200 OK", line),
        Err(reason) => Answer::new("409 Conflict", reason),
    }
}

/// The value of a field of a head that is well formed. A parsed head keeps only the fields that
/// matter to files.
fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.get(name.len()..)?.strip_prefix(b":")?;
        line[..name.len()].eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// Asks the server behind a socket to reload this file. Returns its line, or what is wrong.
pub(super) fn ask_to_reload(path: &Path, config: &Path) -> Result<String, CommandError> {
    let connected = UnixStream::connect(path).map_err(|error| cannot_connect(path, &error))?;
    let exchanged = exchange(connected, config).map_err(|error| {
        CommandError(format!(
            "the server at {} does not answer: {error}; see its messages for the result",
            path.display()
        ))
    })?;
    let is_http = |(head, _): &(&str, &str)| head.starts_with("HTTP/1.1 ");
    let Some((head, body)) = exchanged.split_once("\r\n\r\n").filter(is_http) else {
        return Err(CommandError(format!(
            "what listens at {} gives no answer: either the server has just ended, or this is not \
             the [admin] socket of ringd; check the path in [admin]",
            path.display()
        )));
    };
    let body = body.trim_end().to_owned();
    if head.starts_with("HTTP/1.1 200 ") { Ok(body) } else { Err(CommandError(body)) }
}

fn exchange(mut stream: UnixStream, config: &Path) -> io::Result<String> {
    stream.set_read_timeout(Some(RELOAD_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    // As one text: `write!` makes a call for each part, and the peer may close after the first.
    let head = format!("POST /reload HTTP/1.1\r\nHost: ringd\r\nContent-Length: 0\r\n{CONFIG}: ");
    let config = std::path::absolute(config)?;
    let request = [head.as_bytes(), config.as_os_str().as_bytes(), b"\r\n\r\n"].concat();
    stream.write_all(&request)?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn cannot_connect(path: &Path, error: &io::Error) -> CommandError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no server runs with this [admin] socket; start one, or restart the one that runs if \
             you have changed [admin]"
        }
        io::ErrorKind::PermissionDenied => "run this as the user of the server, or as root",
        _ => "check the path in [admin]",
    };
    let path: PathBuf = path.to_owned();
    CommandError(format!("cannot connect to {}: {error}; {remedy}", path.display()))
}
