//! Collects the header fields of a request that the server uses.

use super::parsed::{Refusal, RequestBody, Version, bad_request};
use crate::http::semantics::authority;
use crate::http::semantics::condition::Conditions;
use crate::http::semantics::field::Field;
use crate::http::semantics::status::Status;

/// The header fields that the server uses.
#[derive(Default)]
pub(super) struct RequestFields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_coding: TransferCoding,
    connection_close: bool,
    connection_keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) expects_unknown: bool,
    pub(super) accept: Field<'a>,
    pub(super) accept_encoding: Field<'a>,
    pub(super) conditions: Conditions<'a>,
    pub(super) range: Field<'a>,
    pub(super) if_range: Field<'a>,
    pub(super) asks_for_method: bool,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

/// The transfer coding that all `Transfer-Encoding` lines together specify.
#[derive(Clone, Copy, Default)]
enum TransferCoding {
    #[default]
    Absent,
    Chunked,
    Unknown,
}

impl<'a> RequestFields<'a> {
    /// Collects the fields in one pass. Their values are slices of `head`.
    pub(super) fn collect(
        headers: &[httparse::Header<'a>],
        head: &'a [u8],
    ) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for &httparse::Header { name, value } in headers {
            let add = |field: &mut Field<'a>, name| *field = field.merge(name, value, head);
            // Comparing the length first avoids most comparisons of names.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    let twice = bad_request("The request has two Host fields.");
                    once(&mut fields.host, value, twice)?;
                }
                5 if name.eq_ignore_ascii_case("range") => add(&mut fields.range, "range"),
                6 if name.eq_ignore_ascii_case("accept") => add(&mut fields.accept, "accept"),
                6 if name.eq_ignore_ascii_case("expect") => fields.expect(value),
                7 if name.eq_ignore_ascii_case("referer") => {
                    fields.referer.get_or_insert(value);
                }
                8 if name.eq_ignore_ascii_case("if-range") => {
                    add(&mut fields.if_range, "if-range");
                }
                8 if name.eq_ignore_ascii_case("if-match") => {
                    add(&mut fields.conditions.if_match, "if-match");
                }
                10 if name.eq_ignore_ascii_case("connection") => fields.connection(value),
                10 if name.eq_ignore_ascii_case("user-agent") => {
                    fields.user_agent.get_or_insert(value);
                }
                13 if name.eq_ignore_ascii_case("if-none-match") => {
                    add(&mut fields.conditions.if_none_match, "if-none-match");
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let twice = bad_request("The request has two Content-Length fields.");
                    once(&mut fields.content_length, value, twice)?;
                }
                15 if name.eq_ignore_ascii_case("accept-encoding") => {
                    add(&mut fields.accept_encoding, "accept-encoding");
                }
                17 if name.eq_ignore_ascii_case("if-modified-since") => {
                    add(&mut fields.conditions.if_modified_since, "if-modified-since");
                }
                19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                    add(&mut fields.conditions.if_unmodified_since, "if-unmodified-since");
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    fields.transfer_coding = match fields.transfer_coding {
                        TransferCoding::Absent if value.eq_ignore_ascii_case(b"chunked") => {
                            TransferCoding::Chunked
                        }
                        _ => TransferCoding::Unknown,
                    };
                }
                29 if name.eq_ignore_ascii_case("access-control-request-method") => {
                    fields.asks_for_method = true;
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn expect(&mut self, value: &[u8]) {
        for expectation in Field::one(value).members() {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expects_continue = true;
            } else {
                self.expects_unknown = true;
            }
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in Field::one(value).members() {
            self.connection_close |= option.eq_ignore_ascii_case(b"close");
            self.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// `close` takes precedence over `keep-alive`, and both over the default of the version (RFC
    /// 9112 §9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.connection_close && (version == Version::Http11 || self.connection_keep_alive)
    }

    /// HTTP/1.1 requires exactly one valid `Host`, even if the target overrides it (RFC 9112 §3.2).
    pub(super) fn host(&self, version: Version) -> Result<&'a [u8], Refusal> {
        match self.host {
            Some(host) if authority::is_valid(host) => Ok(host),
            Some(_) => Err(bad_request("The Host field is not a valid host and port.")),
            None if version == Version::Http10 => Ok(b""),
            None => Err(bad_request("An HTTP/1.1 request must have a Host field.")),
        }
    }

    /// The framing of the body by RFC 9112 §6.3. Where a recipient may be lenient, this refuses.
    pub(super) fn body(&self, version: Version) -> Result<RequestBody, Refusal> {
        match (self.transfer_coding, self.content_length) {
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
}

/// Stores the value of a field that may occur only once.
fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], twice: Refusal) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice),
    }
}

/// Parses `1*DIGIT`, without a sign, white space or overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
