//! What the fields of a head say about its connection and its message (RFC 9112).

use super::parsed::{RequestBody, Version};
use crate::http::semantics::authority;
use crate::http::semantics::request::{Refusal, bad_request};
use crate::http::semantics::request_fields::{RequestFields, TransferCoding, decimal};
use crate::http::semantics::status::Status;

/// `close` takes precedence over `keep-alive`, and both over the default of the version (RFC
/// 9112 §9.3).
pub(super) fn keep_alive(fields: &RequestFields<'_>, version: Version) -> bool {
    !fields.connection_close && (version == Version::Http11 || fields.connection_keep_alive)
}

/// HTTP/1.1 requires exactly one valid `Host`, even if the target overrides it (RFC 9112 §3.2).
pub(super) fn host<'a>(fields: &RequestFields<'a>, version: Version) -> Result<&'a [u8], Refusal> {
    match fields.host {
        Some(host) if authority::is_valid(host) => Ok(host),
        Some(_) => Err(bad_request("The Host field is not a valid host and port.")),
        None if version == Version::Http10 => Ok(b""),
        None => Err(bad_request("An HTTP/1.1 request must have a Host field.")),
    }
}

/// The framing of the body by RFC 9112 §6.3. Where a recipient may be lenient, this refuses.
pub(super) fn body(fields: &RequestFields<'_>, version: Version) -> Result<RequestBody, Refusal> {
    match (fields.transfer_coding, fields.content_length) {
        (TransferCoding::Absent, None) => Ok(RequestBody::None),
        (TransferCoding::Absent, Some(digits)) => decimal(digits)
            .map(RequestBody::Length)
            .ok_or(bad_request("The Content-Length field is not a single decimal number.")),
        (_, Some(_)) => Err(bad_request(
            "A request cannot have both a Transfer-Encoding and a Content-Length field.",
        )),
        (_, None) if version == Version::Http10 => {
            Err(bad_request("HTTP/1.0 has no Transfer-Encoding field."))
        }
        (TransferCoding::Chunked, None) => Ok(RequestBody::Chunked),
        (TransferCoding::Unknown, None) => Err(Refusal {
            status: Status::NotImplemented,
            reason: "The only transfer coding this server knows is chunked.",
        }),
    }
}
