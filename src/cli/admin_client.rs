//! Asks the administration of a server that runs.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::CommandError;
use crate::admin;
use crate::server::{Endpoint, ListenSpec, UnixAddress};

/// How long a reload may take, for the command that waits for it.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take for another answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may take to read the request.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// What a server has answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// Whether the status is 200.
    pub(super) is_ok: bool,
    pub(super) text: String,
}

/// Asks the server behind a Unix socket to reload this file. Returns its line, or what is wrong.
pub(super) fn ask_to_reload(socket: &Path, config: &Path) -> Result<String, CommandError> {
    let place = ListenSpec::from(UnixAddress::Path(socket.to_owned()));
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let field = [admin::CONFIG.as_bytes(), b": ", config.as_os_str().as_bytes(), b"\r\n"].concat();
    let head = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n";
    let request = [&head[..], &field, b"\r\n"].concat();
    let Reply { is_ok, text } = ask(&place, &request, RELOAD_TIMEOUT)?;
    if is_ok { Ok(text) } else { Err(CommandError(text)) }
}

/// Asks the server with this administration whether its workers respond.
pub(super) fn ask_for_health(place: &ListenSpec) -> Result<Reply, CommandError> {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let reply = ask(place, request, ANSWER_TIMEOUT)?;
    // The server's own site may listen there, and have a page for every path.
    let is_own = match reply.is_ok {
        true => reply.text == admin::HEALTHY,
        false => reply.text.ends_with(admin::UNHEALTHY_ENDS),
    };
    if is_own { Ok(reply) } else { Err(no_administration(place)) }
}

fn ask(place: &ListenSpec, request: &[u8], timeout: Duration) -> Result<Reply, CommandError> {
    let connected = connect(place)?;
    let exchanged = exchange(connected, request, timeout).map_err(|cause| {
        CommandError(format!(
            "the server at {place} does not answer: {cause}; see its messages for the cause"
        ))
    })?;
    let is_http = |(head, _): &(&str, &str)| head.starts_with("HTTP/1.1 ");
    let Some((head, body)) = exchanged.split_once("\r\n\r\n").filter(is_http) else {
        return Err(no_administration(place));
    };
    let is_ok = head.starts_with("HTTP/1.1 200 ");
    Ok(Reply { is_ok, text: body.trim_end().to_owned() })
}

fn no_administration(place: &ListenSpec) -> CommandError {
    CommandError(format!(
        "what listens at {place} gives no answer of an administration: either the server has just \
         ended, or this is not the administration of ringd; check --admin and [admin]"
    ))
}

/// Sends a request, and returns the answer, or why there is none.
fn exchange(mut stream: Socket, request: &[u8], timeout: Duration) -> Result<String, String> {
    let cause = |error: io::Error, late: String| match error.kind() {
        io::ErrorKind::WouldBlock => late,
        _ => error.to_string(),
    };
    send(&mut stream, request).map_err(|error| {
        cause(error, format!("it has not read the request for more than {SEND_TIMEOUT:?}"))
    })?;
    receive(stream, timeout)
        .map_err(|error| cause(error, format!("it has taken more than {timeout:?}")))
}

fn send(stream: &mut Socket, request: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    stream.write_all(request)
}

fn receive(mut stream: Socket, timeout: Duration) -> io::Result<String> {
    let until = Instant::now() + timeout;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while answer.len() < ANSWER_MAX {
        // However slowly the answer comes. The kernel takes zero for no limit.
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) if Instant::now() >= until => return Err(io::ErrorKind::WouldBlock.into()),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(place: &ListenSpec) -> Result<Socket, CommandError> {
    let endpoints = place.resolve().map_err(|error| CommandError(format!("{place}: {error}")))?;
    let connected = endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // It is also how long connect(2) waits if the backlog is full.
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            socket.connect(&SockAddr::unix(path)?).map(|()| socket)
        }
        Endpoint::Unix(address) => {
            Err(io::Error::other(format!("the administration has no address such as {address}")))
        }
        tcp => {
            let address = tcp.socket_addr().ok_or(io::ErrorKind::AddrNotAvailable)?;
            TcpStream::connect_timeout(&address, SEND_TIMEOUT).map(Socket::from)
        }
    });
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for connected in connected {
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(cannot_connect(place, &last))
}

fn cannot_connect(place: &ListenSpec, error: &io::Error) -> CommandError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no server runs with this administration; start one, or restart the one that runs if \
             you have changed --admin or [admin]"
        }
        io::ErrorKind::PermissionDenied => "run this as the user of the server, or as root",
        _ => "check --admin and [admin]",
    };
    CommandError(format!("cannot connect to {place}: {error}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that takes no request, and one that gives no answer.
    #[test]
    fn the_limit_that_was_exceeded_is_named() {
        let limit = Duration::from_millis(10);
        for (length, cause) in [
            (8 << 20, "it has not read the request for more than 2s"),
            (1, "it has taken more than 10ms"),
        ] {
            let (client, _server) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
            assert_eq!(exchange(client, &vec![b'x'; length], limit), Err(cause.to_owned()));
        }
    }
}
