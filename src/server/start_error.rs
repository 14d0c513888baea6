//! The error of a server that does not start.

use std::fmt;
use std::io;

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listener::ListenError;
use super::resolve::ResolveError;
use super::unix_listener::UnixListenError;

/// Why a server does not start. The text names the cause and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of its range. The text names the setting and the range.
    Settings(&'static str),
    /// There are more addresses to listen on than this number.
    TooManyAddresses(usize),
    /// A place to listen has no address.
    Resolve(ResolveError),
    /// An address cannot be listened on.
    Listen(ListenError),
    /// A Unix socket cannot be listened on.
    UnixSocket(UnixListenError),
    /// Sockets were passed to the server, and no place to listen means them.
    Unclaimed(String),
    /// Two places to listen mean the same socket that was passed to the server.
    PassedTwice(Box<(ListenSpec, Endpoint)>),
    /// The descriptors do not suffice for the listeners.
    Descriptors(io::Error),
    /// The driver of a worker does not open, and there is no other one to fall back to.
    Driver(io::Error),
    /// The thread of a worker cannot be started.
    Thread(io::Error),
    /// A worker panicked before it had opened its driver.
    Worker,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(reason) => f.write_str(reason),
            Self::TooManyAddresses(max) => write!(
                f,
                "the server can listen on at most {max} addresses; leave some out, or, if it runs \
                 already, restart it"
            ),
            Self::Resolve(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::UnixSocket(error) => error.fmt(f),
            Self::Unclaimed(left) => write!(
                f,
                "descriptors were passed to ringd, and no place to listen names them: {left}; add \
                 `fd:NAME` or `fd:NUMBER` to --listen or [[listen]], or take them out of the \
                 socket unit"
            ),
            Self::PassedTwice(twice) => write!(
                f,
                "{} is the socket at {}, which another place names already; leave out one of the \
                 two",
                twice.0, twice.1
            ),
            Self::Descriptors(error) => write!(
                f,
                "no descriptor for a listener of each worker: {error}; raise the limit with \
                 `ulimit -n`, or use fewer workers"
            ),
            Self::Driver(error) => write!(
                f,
                "the driver of a worker does not open: {error}; `ringd doctor` tests each driver"
            ),
            Self::Thread(error) => match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => write!(
                    f,
                    "cannot start a thread: clone(2): {error}; a seccomp filter or a security \
                     module denies it: allow clone(2) and clone3(2)"
                ),
                Some(libc::ENOMEM) => {
                    write!(f, "cannot start a thread: {error}; free memory, or use fewer workers")
                }
                _ => write!(
                    f,
                    "cannot start a thread: {error}; raise the limit of processes (`ulimit -u`, \
                     pids.max of the control group), or use fewer workers"
                ),
            },
            Self::Worker => {
                f.write_str("a worker panicked while it was starting; please report it")
            }
        }
    }
}

impl StartError {
    /// The address, if it is in use.
    pub(super) fn busy(&self) -> Option<Endpoint> {
        match self {
            Self::Listen(error) => error.busy(),
            Self::UnixSocket(error) => error.busy(),
            _ => None,
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) => Some(error),
            Self::Listen(error) => Some(error),
            Self::UnixSocket(error) => Some(error),
            Self::Descriptors(error) | Self::Driver(error) | Self::Thread(error) => Some(error),
            Self::Settings(_)
            | Self::TooManyAddresses(_)
            | Self::Unclaimed(_)
            | Self::PassedTwice(..)
            | Self::Worker => None,
        }
    }
}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}
