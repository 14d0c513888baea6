//! The status codes that this server sends, and some that it does not need yet.
//!
//! The set is closed, so every status of a response has a reason phrase.

use std::fmt;

/// A status code (RFC 9110 §15) with its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// The whole representation follows.
    Ok = 200,
    /// Success without content, for OPTIONS.
    NoContent = 204,
    /// One or several ranges follow.
    PartialContent = 206,
    /// The resource has moved; a client may turn the method into GET.
    MovedPermanently = 301,
    /// The client's copy is still current.
    NotModified = 304,
    /// The resource has moved; the method stays the same.
    PermanentRedirect = 308,
    /// The request is malformed or ambiguous.
    BadRequest = 400,
    /// The file exists, but this process may not read it.
    Forbidden = 403,
    /// The target does not exist, or is not served.
    NotFound = 404,
    /// A registered method that this server does not support.
    MethodNotAllowed = 405,
    /// The head did not arrive in time.
    RequestTimeout = 408,
    /// A precondition of the client is false.
    PreconditionFailed = 412,
    /// The request body is longer than the limit.
    ContentTooLarge = 413,
    /// The request target is longer than the limit.
    UriTooLong = 414,
    /// No requested range lies within the file.
    RangeNotSatisfiable = 416,
    /// The request has an expectation other than `100-continue`.
    ExpectationFailed = 417,
    /// This server does not serve the host that the request names.
    MisdirectedRequest = 421,
    /// The head is too large, or has too many fields (RFC 6585 §5).
    HeaderFieldsTooLarge = 431,
    /// The server could not read the file.
    InternalServerError = 500,
    /// A method or a transfer coding that this server does not know.
    NotImplemented = 501,
    /// The server temporarily lacks a resource, such as descriptors.
    ServiceUnavailable = 503,
    /// A major version other than 1.
    VersionNotSupported = 505,
}

impl Status {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 22] = [
        Self::Ok,
        Self::NoContent,
        Self::PartialContent,
        Self::MovedPermanently,
        Self::NotModified,
        Self::PermanentRedirect,
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::ContentTooLarge,
        Self::UriTooLong,
        Self::RangeNotSatisfiable,
        Self::ExpectationFailed,
        Self::MisdirectedRequest,
        Self::HeaderFieldsTooLarge,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::ServiceUnavailable,
        Self::VersionNotSupported,
    ];

    /// The place in [`Status::ALL`].
    #[must_use]
    pub(in crate::http) const fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::NoContent => 1,
            Self::PartialContent => 2,
            Self::MovedPermanently => 3,
            Self::NotModified => 4,
            Self::PermanentRedirect => 5,
            Self::BadRequest => 6,
            Self::Forbidden => 7,
            Self::NotFound => 8,
            Self::MethodNotAllowed => 9,
            Self::RequestTimeout => 10,
            Self::PreconditionFailed => 11,
            Self::ContentTooLarge => 12,
            Self::UriTooLong => 13,
            Self::RangeNotSatisfiable => 14,
            Self::ExpectationFailed => 15,
            Self::MisdirectedRequest => 16,
            Self::HeaderFieldsTooLarge => 17,
            Self::InternalServerError => 18,
            Self::NotImplemented => 19,
            Self::ServiceUnavailable => 20,
            Self::VersionNotSupported => 21,
        }
    }

    /// The status code as a number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The status code as ASCII digits.
    #[must_use]
    pub const fn digits(self) -> [u8; 3] {
        let code = self.code();
        [(code / 100) as u8 + b'0', (code / 10 % 10) as u8 + b'0', (code % 10) as u8 + b'0']
    }

    /// The reason phrase, as registered with IANA.
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

/// Formats the status like `404 Not Found`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use crate::http::semantics::status::Status;

    #[test]
    fn every_status_has_its_place() {
        for (place, status) in Status::ALL.iter().enumerate() {
            assert_eq!(status.index(), place);
        }
        assert!(Status::ALL.is_sorted_by_key(|status| status.code()));
    }

    #[test]
    fn a_status_has_a_code_and_a_reason() {
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
