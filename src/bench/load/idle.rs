//! Idle connections: each has had an answer, and then only stays open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::error::{CONNECT_WAIT, LoadError};
use crate::bench::answers::{AnswerError, Answers};

/// So many connections have their request in progress at a time. A server that checks all sockets
/// in each turn then needs few turns for many of them.
const AT_ONCE: usize = 256;

/// The longest wait for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Connections that are open until this is dropped.
#[derive(Debug)]
pub(super) struct IdleConnections(
    #[expect(dead_code, reason = "it only holds them")] Vec<TcpStream>,
);

impl IdleConnections {
    /// Opens `count` connections, each of which has an answer to `request` of `length` bytes.
    ///
    /// # Errors
    ///
    /// When a connection cannot be opened, or has no answer.
    pub(super) fn open(
        address: SocketAddr,
        count: u32,
        request: &[u8],
        length: u64,
    ) -> Result<Self, LoadError> {
        let mut all = Vec::with_capacity(count as usize);
        let mut buffer = vec![0; 16 * 1024];
        while all.len() < count as usize {
            let before = all.len();
            for number in before..(before + AT_ONCE).min(count as usize) {
                let stream =
                    connect(address, request).map_err(|error| LoadError::Idle(number, error))?;
                all.push(stream);
            }
            for (number, stream) in all.iter().enumerate().skip(before) {
                read_answer(stream, length, &mut buffer).map_err(|error| match error {
                    Failed::Io(error) => LoadError::Idle(number, error),
                    Failed::Answer(error) => LoadError::Answer(error),
                })?;
            }
        }
        Ok(Self(all))
    }
}

enum Failed {
    Io(io::Error),
    Answer(AnswerError),
}

fn connect(address: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    // A close resets the connection, so its port is free for the next trial at once.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.write_all(request)?;
    Ok(stream)
}

fn read_answer(mut stream: &TcpStream, length: u64, buffer: &mut [u8]) -> Result<(), Failed> {
    let mut answers = Answers::new(length);
    loop {
        let count = match stream.read(buffer) {
            Ok(0) => return Err(Failed::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Io(error)),
        };
        if answers.feed(&buffer[..count]).map_err(Failed::Answer)? > 0 {
            return Ok(());
        }
    }
}
