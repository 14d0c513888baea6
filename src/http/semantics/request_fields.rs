//! The fields of a request that the server uses, collected from all its fields.

use super::field::Field;
use super::request::{Method, Refusal, Request, bad_request};

/// The header fields that the server uses, except those that a [`Request`] keeps.
#[derive(Default)]
pub(in crate::http) struct RequestFields<'a> {
    pub(in crate::http) host: Option<&'a [u8]>,
    pub(in crate::http) content_length: Option<&'a [u8]>,
    pub(in crate::http) transfer_coding: TransferCoding,
    pub(in crate::http) connection_close: bool,
    pub(in crate::http) connection_keep_alive: bool,
    pub(in crate::http) expects_continue: bool,
    pub(in crate::http) expects_unknown: bool,
    pub(in crate::http) asks_for_method: bool,
    pub(in crate::http) referer: Option<&'a [u8]>,
    pub(in crate::http) user_agent: Option<&'a [u8]>,
}

/// The transfer coding that all `Transfer-Encoding` lines together specify.
#[derive(Clone, Copy, Default)]
pub(in crate::http) enum TransferCoding {
    #[default]
    Absent,
    Chunked,
    Unknown,
}

impl<'a> RequestFields<'a> {
    /// Collects the fields in one pass, some of them into `request`. Their values are slices of
    /// `head`, where each name and its value are a line (see [`Field`]).
    #[inline]
    pub(in crate::http) fn collect(
        &mut self,
        request: &mut Request<'a>,
        lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        head: &'a [u8],
    ) -> Result<(), Refusal> {
        for (name, value) in lines {
            let add = |field: &mut Field<'a>, name| *field = field.merge(name, value, head);
            // Comparing the length first avoids most comparisons of names.
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => {
                    let twice = bad_request("The request has two Host fields.");
                    once(&mut self.host, value, twice)?;
                }
                5 if name.eq_ignore_ascii_case(b"range") => add(&mut request.range, "range"),
                6 if name.eq_ignore_ascii_case(b"accept") => add(&mut request.accept, "accept"),
                6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value),
                7 if name.eq_ignore_ascii_case(b"referer") => {
                    self.referer.get_or_insert(value);
                }
                8 if name.eq_ignore_ascii_case(b"if-range") => {
                    add(&mut request.if_range, "if-range");
                }
                8 if name.eq_ignore_ascii_case(b"if-match") => {
                    add(&mut request.conditions.if_match, "if-match");
                }
                10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
                10 if name.eq_ignore_ascii_case(b"user-agent") => {
                    self.user_agent.get_or_insert(value);
                }
                13 if name.eq_ignore_ascii_case(b"authorization") => {
                    add(&mut request.authorization, "authorization");
                }
                13 if name.eq_ignore_ascii_case(b"if-none-match") => {
                    add(&mut request.conditions.if_none_match, "if-none-match");
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let twice = bad_request("The request has two Content-Length fields.");
                    once(&mut self.content_length, value, twice)?;
                }
                15 if name.eq_ignore_ascii_case(b"accept-encoding") => {
                    add(&mut request.accept_encoding, "accept-encoding");
                }
                17 if name.eq_ignore_ascii_case(b"if-modified-since") => {
                    add(&mut request.conditions.if_modified_since, "if-modified-since");
                }
                19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => {
                    add(&mut request.conditions.if_unmodified_since, "if-unmodified-since");
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    self.transfer_coding = match self.transfer_coding {
                        TransferCoding::Absent if value.eq_ignore_ascii_case(b"chunked") => {
                            TransferCoding::Chunked
                        }
                        _ => TransferCoding::Unknown,
                    };
                }
                29 if name.eq_ignore_ascii_case(b"access-control-request-method") => {
                    self.asks_for_method = true;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Completes a request that has these fields.
    #[inline]
    pub(in crate::http) fn complete(
        &self,
        request: &mut Request<'a>,
        method: Method,
        target: &'a [u8],
        host: &'a [u8],
    ) {
        (request.method, request.target, request.host) = (method, target, host);
        request.is_preflight = method == Method::Options && self.asks_for_method;
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
}

/// Stores the value of a field that may occur only once.
fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], twice: Refusal) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice),
    }
}

/// Parses `1*DIGIT`, without a sign, white space or overflow.
pub(in crate::http) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
