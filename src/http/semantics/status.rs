//! The status codes this server knows: those it sends, and some that it does not need yet.
//!
//! A closed set: a response cannot carry a code that has no reason phrase here.

use std::fmt;

/// A status code (RFC 9110 §15), with the phrase that goes with it on the status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// The whole representation follows.
    Ok = 200,
    /// Success, and there is nothing to send: the answer to OPTIONS.
    NoContent = 204,
    /// One or several ranges follow.
    PartialContent = 206,
    /// The resource has moved; a client may turn the method into GET.
    MovedPermanently = 301,
    /// The client's copy is still good.
    NotModified = 304,
    /// The resource has moved; the method stays the same.
    PermanentRedirect = 308,
    /// The request breaks the grammar, or could be read in two ways.
    BadRequest = 400,
    /// The file exists and this process may not read it.
    Forbidden = 403,
    /// There is nothing under that name, or nothing we show.
    NotFound = 404,
    /// A method we know and do not offer.
    MethodNotAllowed = 405,
    /// The head did not arrive in time.
    RequestTimeout = 408,
    /// The precondition the client set does not hold.
    PreconditionFailed = 412,
    /// The request body is longer than we are willing to discard.
    ContentTooLarge = 413,
    /// The request target is longer than the limit.
    UriTooLong = 414,
    /// No requested range lies within the file.
    RangeNotSatisfiable = 416,
    /// The client expects something other than `100-continue`.
    ExpectationFailed = 417,
    /// The request names a host that is not served here.
    MisdirectedRequest = 421,
    /// The head as a whole is too large, or has too many fields (RFC 6585 §5).
    HeaderFieldsTooLarge = 431,
    /// The server failed, through no fault of the client.
    InternalServerError = 500,
    /// A method or a transfer coding we do not know.
    NotImplemented = 501,
    /// The server is out of a resource for the moment.
    ServiceUnavailable = 503,
    /// A major version other than 1.
    VersionNotSupported = 505,
}

impl Status {
    /// The three digits, as a number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The three digits, as they stand on the status line.
    #[must_use]
    pub const fn digits(self) -> [u8; 3] {
        let code = self.code();
        [(code / 100) as u8 + b'0', (code / 10 % 10) as u8 + b'0', (code % 10) as u8 + b'0']
    }

    /// The reason phrase of the status line, as registered with IANA.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NoContent => "No Content",
            Self::PartialContent => "Partial Content",
            Self::MovedPermanently => "Moved Permanently",
            Self::NotModified => "Not Modified",
            Self::PermanentRedirect => "Permanent Redirect",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::PreconditionFailed => "Precondition Failed",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::RangeNotSatisfiable => "Range Not Satisfiable",
            Self::ExpectationFailed => "Expectation Failed",
            Self::MisdirectedRequest => "Misdirected Request",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// Writes the status as it stands on a status line: `404 Not Found`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use crate::http::semantics::status::Status;

    #[test]
    fn a_status_reads_as_on_the_status_line() {
        for (status, line) in [
            (Status::Ok, "200 OK"),
            (Status::PermanentRedirect, "308 Permanent Redirect"),
            (Status::ContentTooLarge, "413 Content Too Large"),
            (Status::HeaderFieldsTooLarge, "431 Request Header Fields Too Large"),
            (Status::VersionNotSupported, "505 HTTP Version Not Supported"),
        ] {
            assert_eq!(status.to_string(), line);
            assert_eq!(status.digits(), line.as_bytes()[..3]);
        }
    }
}
