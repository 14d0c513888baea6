//! Why a conversation in HTTP/2 fails. The texts name the cause, and the remedy if there is one.

use std::fmt;

use crate::http::h2::hpack::CompressionError;

/// The most characters of the reason of a GOAWAY that a message repeats.
const REASON_MAX: usize = 120;

/// Why a conversation in HTTP/2 fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Http2ClientError {
    /// The server does not begin with SETTINGS, so it speaks something else.
    NotHttp2,
    /// The server breaks a rule of HTTP/2.
    Protocol(&'static str),
    /// A header block cannot be decoded.
    Compression(CompressionError),
    /// The header block of an answer is longer than 16 KiB.
    LongHead,
    /// The status is another one than 200; `None` if it is missing or was not decoded.
    Status(Option<u16>),
    /// The content has another length.
    Length {
        /// The length so far.
        found: u64,
        /// The length of the file.
        expected: u64,
    },
    /// A frame belongs to no request that is in progress.
    NoRequest,
    /// The server has ended a stream (RFC 9113 section 6.4), with this code.
    Reset(u32),
    /// The server ends the connection (RFC 9113 section 6.8).
    GoAway {
        /// The code.
        code: u32,
        /// What the server says of it, without control characters; may be empty.
        reason: String,
    },
    /// The server allows fewer requests in progress than the row has.
    FewStreams {
        /// How many the server allows.
        allowed: u32,
        /// How many the row has.
        wanted: u32,
    },
    /// The connection has used all numbers of streams.
    NoNumbers,
}

impl Http2ClientError {
    /// The error of a GOAWAY.
    pub(super) fn goaway(code: u32, reason: &[u8]) -> Self {
        let reason = String::from_utf8_lossy(reason);
        let reason = reason.chars().filter(|char| !char.is_control()).take(REASON_MAX).collect();
        Self::GoAway { code, reason }
    }

    /// Whether the cause may be that the server has other files.
    pub(in crate::bench) fn concerns_files(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Length { .. })
    }
}

impl fmt::Display for Http2ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp2 => f.write_str(
                "the server does not answer in HTTP/2, but this row measures HTTP/2; turn it on in \
                 the server, or leave out --h2",
            ),
            Self::Protocol(fault) => write!(f, "the server breaks a rule of HTTP/2: {fault}"),
            Self::Compression(error) => write!(f, "the head of an answer is not valid: {error}"),
            Self::LongHead => f.write_str("the head of an answer is longer than 16 KiB"),
            Self::Status(Some(code)) => write!(f, "an answer has the status {code}"),
            Self::Status(None) => f.write_str("an answer does not have the status 200"),
            Self::Length { found, expected } => {
                write!(f, "an answer has {found} bytes instead of {expected}")
            }
            Self::NoRequest => f.write_str("the server answers a request that is not in progress"),
            Self::Reset(code) => {
                write!(f, "the server has reset a stream, with the code {code} of HTTP/2")
            }
            Self::GoAway { code, reason } => {
                let dash = if reason.is_empty() { "" } else { ": " };
                write!(
                    f,
                    "the server ends the connection with GOAWAY, code {code}{dash}{reason}; if it \
                     limits the requests of a connection, as `keepalive_requests` of nginx does, \
                     raise that limit"
                )
            }
            Self::FewStreams { allowed, wanted } => write!(
                f,
                "the server allows {allowed} streams on a connection, but this row has {wanted}; \
                 raise its limit, or use fewer --streams"
            ),
            Self::NoNumbers => {
                f.write_str("a connection has used all numbers of streams; use less --time")
            }
        }
    }
}

impl From<CompressionError> for Http2ClientError {
    fn from(error: CompressionError) -> Self {
        Self::Compression(error)
    }
}
