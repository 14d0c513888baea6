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
    /// The resource is elsewhere for now; a client may turn the method into GET.
    Found = 302,
    /// The answer is elsewhere, to be had with GET.
    SeeOther = 303,
    /// The client's copy is still current.
    NotModified = 304,
    /// The resource is elsewhere for now; the method stays the same.
    TemporaryRedirect = 307,
    /// The resource has moved; the method stays the same.
    PermanentRedirect = 308,
    /// The request is malformed or ambiguous.
    BadRequest = 400,
    /// The request needs the name and the password of a user.
    Unauthorized = 401,
    /// The file exists, but this process may not read it.
    Forbidden = 403,
    /// The target does not exist, or is not served.
    NotFound = 404,
    /// A registered method that this server does not support.
    MethodNotAllowed = 405,
    /// The head did not arrive in time.
    RequestTimeout = 408,
    /// The target existed, and will not come back.
    Gone = 410,
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
    /// The client has sent too many requests in a given time (RFC 6585 §4).
    TooManyRequests = 429,
    /// The head is too large, or has too many fields (RFC 6585 §5).
    HeaderFieldsTooLarge = 431,
    /// A legal demand forbids to serve the target (RFC 7725).
    UnavailableForLegalReasons = 451,
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
    pub const ALL: [Self; 29] = [
        Self::Ok,
        Self::NoContent,
        Self::PartialContent,
        Self::MovedPermanently,
        Self::Found,
        Self::SeeOther,
        Self::NotModified,
        Self::TemporaryRedirect,
        Self::PermanentRedirect,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Gone,
        Self::PreconditionFailed,
        Self::ContentTooLarge,
        Self::UriTooLong,
        Self::RangeNotSatisfiable,
        Self::ExpectationFailed,
        Self::MisdirectedRequest,
        Self::TooManyRequests,
        Self::HeaderFieldsTooLarge,
        Self::UnavailableForLegalReasons,
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
            Self::Found => 4,
            Self::SeeOther => 5,
            Self::NotModified => 6,
            Self::TemporaryRedirect => 7,
            Self::PermanentRedirect => 8,
            Self::BadRequest => 9,
            Self::Unauthorized => 10,
            Self::Forbidden => 11,
            Self::NotFound => 12,
            Self::MethodNotAllowed => 13,
            Self::RequestTimeout => 14,
            Self::Gone => 15,
            Self::PreconditionFailed => 16,
            Self::ContentTooLarge => 17,
            Self::UriTooLong => 18,
            Self::RangeNotSatisfiable => 19,
            Self::ExpectationFailed => 20,
            Self::MisdirectedRequest => 21,
            Self::TooManyRequests => 22,
            Self::HeaderFieldsTooLarge => 23,
            Self::UnavailableForLegalReasons => 24,
            Self::InternalServerError => 25,
            Self::NotImplemented => 26,
            Self::ServiceUnavailable => 27,
            Self::VersionNotSupported => 28,
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
            Self::Found => "Found",
            Self::SeeOther => "See Other",
            Self::NotModified => "Not Modified",
            Self::TemporaryRedirect => "Temporary Redirect",
            Self::PermanentRedirect => "Permanent Redirect",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::Gone => "Gone",
            Self::PreconditionFailed => "Precondition Failed",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::RangeNotSatisfiable => "Range Not Satisfiable",
            Self::ExpectationFailed => "Expectation Failed",
            Self::MisdirectedRequest => "Misdirected Request",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::UnavailableForLegalReasons => "Unavailable For Legal Reasons",
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
