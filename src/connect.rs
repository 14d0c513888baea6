//! `ringd connect`: a client for any TCP server, in blocking calls, as a first program is written.
//!
//! ```text
//! standard input --> thread "input" --> peer --> main thread --> standard output
//! ```
//!
//! A blocking call waits for one thing, so two directions need two threads. The peer decides when
//! the program ends. So the main thread listens to it, and the other one may be left alone with a
//! terminal that says nothing: it ends with the process.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a connection to one address may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const BUFFER: usize = 64 * 1024;

/// What ended the program before its peer did: the cause and the remedy, in one line.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name of the peer, and why it has no address.
    Unresolved(String, io::Error),
    /// An address, how many were tried, and why the last of them has no connection.
    Unconnected(SocketAddr, usize, io::Error),
    /// An established connection broke.
    Broken(io::Error),
    /// Standard input failed.
    Input(io::Error),
    /// Standard output failed.
    Output(io::Error),
    /// No thread could be started.
    Thread(io::Error),
}

/// Connects to `peer`, a host and a port, and copies until the peer ends.
///
/// The end of standard input ends the output of the connection. A standard output that nobody
/// reads any more is an orderly end, as for any filter.
///
/// # Errors
///
/// When there is no connection, when it breaks, or when a standard stream fails.
pub(crate) fn run(peer: &str) -> Result<(), ConnectError> {
    let stream = Arc::new(connect(peer)?);
    // What the other thread has failed with. Locked while it writes, so that whoever holds the
    // lock knows how the last write went.
    let failure = Arc::new(Mutex::new(None));
    let input = {
        let (stream, failure) = (Arc::clone(&stream), Arc::clone(&failure));
        move || send_all(io::stdin(), &stream, &failure)
    };
    thread::Builder::new().name("input".into()).spawn(input).map_err(ConnectError::Thread)?;
    match receive_all(&stream, io::stdout().lock()) {
        Err(ConnectError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            // After a reset, the kernel tells the error once: the end that is seen here may be
            // its second half. A write that blocks is woken, and fails.
            let _ = stream.shutdown(Shutdown::Both);
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.take().map_or(Ok(()), Err)
        }
    }
}

/// Tries each address of the peer.
fn connect(peer: &str) -> Result<TcpStream, ConnectError> {
    let unresolved = |error| ConnectError::Unresolved(peer.to_owned(), error);
    let addresses: Vec<SocketAddr> = peer.to_socket_addrs().map_err(unresolved)?.collect();
    let mut failed = unresolved(io::ErrorKind::NotFound.into());
    for (tried, address) in addresses.into_iter().enumerate() {
        match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
            Ok(stream) => {
                // A line is whole when it is sent. Where that cannot be said, it is only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = ConnectError::Unconnected(address, tried + 1, error),
        }
    }
    Err(failed)
}

/// Copies to the peer, to the end of the input.
fn send_all(mut input: impl Read, mut to: &TcpStream, failure: &Mutex<Option<ConnectError>>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = read_some(&mut input, &mut buffer);
        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(0) => {
                // It fails when the connection is over, which the main thread sees.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => match to.write_all(&buffer[..count]) {
                Ok(()) => {}
                // The peer has ended before: how, is seen where it is read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                Err(error) => {
                    *failure = Some(ConnectError::Broken(error));
                    return;
                }
            },
            Err(error) => {
                *failure = Some(ConnectError::Input(error));
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// Copies from the peer, to its end; what comes is shown at once.
fn receive_all(mut from: &TcpStream, mut output: impl Write) -> Result<(), ConnectError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match read_some(&mut from, &mut buffer).map_err(ConnectError::Broken)? {
            0 => return Ok(()),
            count => output
                .write_all(&buffer[..count])
                .and_then(|()| output.flush())
                .map_err(ConnectError::Output)?,
        }
    }
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(peer, error) => write!(
                f,
                "{peer} has no address: {error}; check the name, or give the address in figures"
            ),
            Self::Unconnected(address, tried, error) => {
                write!(f, "cannot connect to {address}: ")?;
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "refused, nobody listens there; start the server, check the port")
                    }
                    io::ErrorKind::ConnectionReset => {
                        write!(f, "reset by the peer as soon as it was made; its log may say why")
                    }
                    io::ErrorKind::TimedOut => write!(
                        f,
                        "timed out, no answer in {CONNECT_WAIT:?}; check the address, and whether \
                         a firewall drops it"
                    ),
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => write!(
                        f,
                        "unreachable, no way leads there; check the address, and `ip route`"
                    ),
                    _ => write!(f, "{error}; check the address"),
                }?;
                if *tried > 1 {
                    write!(f, " (the last of {tried} addresses)")?;
                }
                Ok(())
            }
            Self::Broken(error) => match error.kind() {
                io::ErrorKind::ConnectionReset => write!(
                    f,
                    "the connection was reset by the peer: what was sent may be lost; its log may \
                     say why"
                ),
                io::ErrorKind::TimedOut => write!(
                    f,
                    "the connection timed out: the peer acknowledges nothing; check the network \
                     in between"
                ),
                _ => write!(f, "the connection broke: {error}; connect again"),
            },
            Self::Input(error) => {
                write!(f, "cannot read standard input: {error}; check what it is redirected from")
            }
            Self::Output(error) => {
                write!(f, "cannot write standard output: {error}; check where it is redirected to")
            }
            Self::Thread(error) => {
                write!(f, "cannot start a thread: {error}; raise the limit with `ulimit -u`")
            }
        }
    }
}

impl std::error::Error for ConnectError {}
