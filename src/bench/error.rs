//! The errors of a run. Their texts name the cause and the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::answers::AnswerError;
use super::files::FilesError;
use super::load::LoadError;
use super::other_server::UrlError;
use super::plan::{Cell, TimeError};

/// Why there is no report.
#[derive(Debug)]
pub enum BenchError {
    /// The files cannot be created.
    Files(FilesError),
    /// The URL of another server is not valid, or its host has no address.
    Url(UrlError),
    /// No cell is for the URL of another server. With these options there are some.
    NoCell(String, &'static str),
    /// No server holds the connections of a cell; the most that one holds.
    TooManyConnections(Cell, u32),
    /// The time does not suffice for all trials.
    Time(TimeError),
    /// The driver of the client does not work.
    ClientDriver(io::Error),
    /// The client cannot be bound to its core.
    Pin(io::Error),
    /// A trial failed.
    Trial {
        /// The server of the trial.
        server: String,
        /// The cell of the trial.
        cell: Cell,
        /// What failed.
        error: Box<FailedTrial>,
    },
    /// A signal ended the run.
    Interrupted,
}

/// Why a trial failed.
#[derive(Debug)]
pub enum FailedTrial {
    /// The server under test did not start.
    Start(io::Error),
    /// The server under test runs on another driver than the one that was requested.
    OtherDriver(String),
    /// The load on a server of ringd failed.
    Load(LoadError),
    /// The load on another server failed. That server should serve the files in this directory.
    OtherServer(LoadError, Option<PathBuf>),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(error) => error.fmt(f),
            Self::Url(error) => error.fmt(f),
            Self::NoCell(url, options) => {
                write!(f, "{url}: no row measures such a server; add rows with {options}")
            }
            Self::TooManyConnections(cell, most) => write!(
                f,
                "{cell}: no server holds so many connections, at most {most}; use fewer, or raise \
                 the limit of descriptors with `ulimit -n`"
            ),
            Self::Time(error) => error.fmt(f),
            Self::ClientDriver(error) => write!(
                f,
                "the driver of the client does not work here: {error}; choose another one with \
                 --client-driver"
            ),
            Self::Pin(error) => write!(
                f,
                "cannot bind the client to a core: {error}; allow sched_setaffinity in the \
                 seccomp profile"
            ),
            Self::Trial { server, cell, error } => write!(f, "{server}, {cell}: {error}"),
            Self::Interrupted => f.write_str("interrupted; there is no report"),
        }
    }
}

impl fmt::Display for FailedTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "{error}; run `ringd doctor` for the cause"),
            Self::OtherDriver(driver) => {
                write!(f, "the server runs on {driver} instead; run `ringd doctor` for the cause")
            }
            Self::Load(error) => error.fmt(f),
            Self::OtherServer(LoadError::Connect(address, error), _) => match error.kind() {
                io::ErrorKind::ConnectionRefused => write!(
                    f,
                    "cannot connect to {address}: the connection is refused; start the other \
                     server, or check the port"
                ),
                _ => write!(f, "cannot connect to {address}: {error}; check the address"),
            },
            Self::OtherServer(LoadError::Tls(error), _) => error.fmt(f),
            Self::OtherServer(LoadError::Answer(AnswerError::Http2(error)), _)
                if !error.concerns_files() =>
            {
                error.fmt(f)
            }
            Self::OtherServer(error, Some(files)) => {
                write!(f, "{error}; does it serve {}?", files.display())
            }
            Self::OtherServer(error, None) => write!(
                f,
                "{error}; name a directory with --files, and configure the other server to serve it"
            ),
        }
    }
}

impl std::error::Error for BenchError {}

impl std::error::Error for FailedTrial {}

impl From<FilesError> for BenchError {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

impl From<UrlError> for BenchError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<TimeError> for BenchError {
    fn from(error: TimeError) -> Self {
        Self::Time(error)
    }
}
