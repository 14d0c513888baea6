//! `ringd connect`: a client for any TCP server, written with blocking calls.
//!
//! ```text
//! standard input --> thread "input" --> peer --> main thread --> standard output
//! ```
//!
//! A blocking call waits in one direction only, so two directions need two threads. The program
//! ends when the peer closes the connection, so the main thread receives. The other thread may then
//! still be blocked in a read from the terminal; it ends with the process.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::denial::Denial;

/// Timeout for connecting to one address.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// The size of a read.
const BUFFER: usize = 64 * 1024;

/// Why the program ended before the peer closed the connection. The text is one line with the cause
/// and the remedy.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The peer has no address.
    Unresolved(String, io::Error),
    /// No address could be connected to: the last address, the number of addresses, and what failed
    /// for the last one.
    Unconnected(SocketAddr, usize, ConnectFailure),
    /// An established connection failed.
    Broken(io::Error),
    /// Reading standard input failed.
    Input(io::Error),
    /// Writing standard output failed.
    Output(io::Error),
    /// The thread could not be started.
    Thread(io::Error),
}

/// A call that failed while connecting, and who denied it.
#[derive(Debug)]
pub(crate) struct ConnectFailure {
    call: &'static str,
    error: io::Error,
    denial: Option<Denial>,
}

/// Connects to `peer`, a host and a port, and copies in both directions until the peer closes.
///
/// At the end of standard input, the connection is half-closed. A closed pipe at standard output is
/// not an error, as for any filter.
///
/// # Errors
///
/// When no connection can be established, when it fails, or when a standard stream fails.
pub(crate) fn run(peer: &str) -> Result<(), ConnectError> {
    let stream = Arc::new(connect(peer)?);
    // The error of the other thread. That thread holds the lock while it writes, so after locking,
    // the main thread knows the result of the last write.
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
            // The kernel reports a reset only once. If the other thread got the error, this thread
            // sees an ordinary end. The shutdown wakes a blocked write of the other thread, so the
            // lock becomes free.
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
        match connect_to(address) {
            Ok(stream) => {
                // Send each line at once. Without this option, lines are only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = ConnectError::Unconnected(address, tried + 1, error),
        }
    }
    Err(failed)
}

fn connect_to(address: SocketAddr) -> Result<TcpStream, ConnectFailure> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(|error| {
        let denial = Denial::of_socket(&error, domain);
        ConnectFailure { call: "socket(2)", error, denial }
    })?;
    socket.connect_timeout(&address.into(), CONNECT_WAIT).map_err(|error| {
        let denial = Denial::of(&error, |socket| socket.connect(&address.into()));
        ConnectFailure { call: "connect(2)", error, denial }
    })?;
    Ok(socket.into())
}

/// Copies the input to the peer.
fn send_all(mut input: impl Read, mut to: &TcpStream, failure: &Mutex<Option<ConnectError>>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = read_some(&mut input, &mut buffer);
        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(0) => {
                // This fails if the connection has ended, which the main thread notices.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => match to.write_all(&buffer[..count]) {
                Ok(()) => {}
                // The peer has closed already; the main thread sees whether that was an error.
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

/// Copies from the peer to the output, and flushes after each read.
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
                "{peer} has no address: {error}; check the name, or use a numeric address"
            ),
            Self::Unconnected(address, tried, failure) => {
                write!(f, "cannot connect to {address}: {failure}")?;
                if *tried > 1 {
                    write!(f, " (the last of {tried} addresses)")?;
                }
                Ok(())
            }
            Self::Broken(error) => match error.kind() {
                io::ErrorKind::ConnectionReset => write!(
                    f,
                    "the connection was reset by the peer, so what was sent may be lost; check the \
                     log of the server"
                ),
                io::ErrorKind::TimedOut => write!(
                    f,
                    "the connection timed out, because the peer acknowledges nothing; check the \
                     network"
                ),
                _ => write!(f, "the connection failed: {error}; connect again"),
            },
            Self::Input(error) => {
                write!(f, "cannot read standard input: {error}; check what it is redirected from")
            }
            Self::Output(error) => {
                write!(f, "cannot write standard output: {error}; check where it is redirected to")
            }
            Self::Thread(error) => {
                write!(
                    f,
                    "cannot start a thread: {error}; raise the limit of processes with `ulimit -u`"
                )
            }
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, error, denial } = self;
        match (error.raw_os_error(), denial) {
            // The kernel's packet filter reports the same error as a security module.
            (Some(libc::EPERM), Some(Denial::Policy)) => write!(
                f,
                "{call}: {error}; a rule of the firewall, a security module or a BPF program \
                 denies it: look at `nft list ruleset`"
            ),
            (_, Some(denial)) => write!(f, "{call}: {error}; {}", denial.explain()),
            (Some(libc::ECONNREFUSED), _) => {
                f.write_str("refused; start the server, or check the port")
            }
            (Some(libc::ECONNRESET), _) => {
                f.write_str("reset by the peer at once; check the log of the server")
            }
            (Some(libc::ENETUNREACH | libc::EHOSTUNREACH), _) => {
                f.write_str("unreachable, there is no route; check the address, and `ip route`")
            }
            (Some(libc::EADDRNOTAVAIL), _) => write!(
                f,
                "{call}: {error}; all local ports are taken: close connections, or widen the \
                 sysctl net.ipv4.ip_local_port_range"
            ),
            (Some(libc::EAFNOSUPPORT), _) => {
                write!(f, "{call}: {error}; use an address of another family")
            }
            (Some(libc::EMFILE), _) => {
                write!(f, "{call}: {error}; raise the limit of descriptors with `ulimit -n`")
            }
            _ if error.kind() == io::ErrorKind::TimedOut => write!(
                f,
                "timed out after {CONNECT_WAIT:?}; check the address, and whether a firewall drops \
                 the packets"
            ),
            _ => write!(f, "{call}: {error}; check the address"),
        }
    }
}

impl std::error::Error for ConnectError {}
