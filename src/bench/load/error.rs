//! Why a load fails.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::answers::AnswerError;
use crate::bench::http2_client::Http2ClientError;
use crate::bench::tls_client::ClientTlsError;

/// Timeout for establishing a connection.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// After this time without any answer, the load fails.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why a load failed.
#[derive(Debug)]
pub enum LoadError {
    /// The driver of the client does not open.
    Driver(io::Error),
    /// The driver of the client failed.
    Wait(io::Error),
    /// The histogram of latencies cannot be created.
    Histogram(hdrhistogram::CreationError),
    /// A connection cannot be established.
    Connect(SocketAddr, io::Error),
    /// The idle connection with this number cannot be opened, or has no answer.
    Idle(usize, io::Error),
    /// The driver cannot take another connection.
    Adopt(io::Error),
    /// The server does not report what it has used.
    Report(io::Error),
    /// An answer is not the expected one.
    Answer(AnswerError),
    /// TLS failed, or a handshake is not the expected one.
    Tls(Box<ClientTlsError>),
    /// More answers than requests arrived.
    SurplusAnswer,
    /// No answer arrived on any connection for a long time.
    Silence,
    /// This many connections got no first answer for a long time.
    Unanswered(u32),
    /// Too many connections ended before their answer.
    Broken {
        /// Connections that ended before their answer.
        broken: u64,
        /// Answers that arrived.
        requests: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => write!(
                f,
                "the driver of the client does not open: {error}; choose another one with \
                 --client-driver"
            ),
            Self::Wait(error) => write!(f, "the driver of the client failed: {error}"),
            Self::Histogram(error) => {
                write!(f, "cannot create the histogram of latencies: {error}")
            }
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::Idle(number, error) => write!(
                f,
                "there are {number} idle connections, and another one fails: {error}; use a \
                 smaller --idle"
            ),
            Self::Adopt(error) => write!(
                f,
                "the client cannot take another connection: {error}; use fewer --connections"
            ),
            Self::Report(error) => write!(f, "the server does not report its CPU time: {error}"),
            Self::Answer(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::SurplusAnswer => f.write_str("the server sent more answers than requested"),
            Self::Silence => write!(f, "no answer arrived within {SILENCE_MAX:?}"),
            Self::Unanswered(count) => write!(
                f,
                "{count} connections got no first answer within {SILENCE_MAX:?}; use fewer \
                 --connections"
            ),
            Self::Broken { broken, requests } => {
                write!(
                    f,
                    "{broken} connections ended before their answer, after {requests} answers"
                )
            }
        }
    }
}

impl From<AnswerError> for LoadError {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl From<Http2ClientError> for LoadError {
    fn from(error: Http2ClientError) -> Self {
        Self::Answer(AnswerError::Http2(error))
    }
}

impl From<ClientTlsError> for LoadError {
    fn from(error: ClientTlsError) -> Self {
        match error {
            ClientTlsError::Answer(error) => Self::Answer(error),
            error => Self::Tls(Box::new(error)),
        }
    }
}
