//! Checks the status of answers; see the documentation of the module above.

use super::error::Http2ClientError;
use crate::http::h2::hpack::{CompressionError, Decoder, ListLimits};

/// The field `:status: 200`, which is entry 8 of the static table (RFC 7541 appendix A).
pub(super) const STATUS_200: u8 = 0x88;

/// The number of answers on a connection that are decoded at least.
pub(super) const DECODED_MIN: u32 = 4;

/// Checks the status of the answers on one connection.
#[derive(Debug)]
pub(super) struct StatusCheck {
    decoder: Decoder,
    decoded: u32,
    /// Whether a block of an answer with the status 200 began with another byte.
    has_other_form: bool,
}

impl StatusCheck {
    pub(super) const fn new() -> Self {
        Self { decoder: Decoder::new(), decoded: 0, has_other_form: false }
    }

    /// Whether blocks are decoded. Once they are not, they never are again: the dynamic table would
    /// lack what they have inserted.
    const fn decodes(&self) -> bool {
        self.has_other_form || self.decoded < DECODED_MIN
    }

    /// Checks the block of an answer.
    pub(super) fn check(&mut self, block: &[u8]) -> Result<(), Http2ClientError> {
        let is_usual = block.first() == Some(&STATUS_200);
        if !self.decodes() {
            return if is_usual { Ok(()) } else { Err(Http2ClientError::Status(None)) };
        }
        let mut status = None;
        self.decoder.decode(block, ListLimits::default(), &mut |name, value| {
            if name == b":status" {
                status = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            }
        })?;
        self.decoded += 1;
        self.has_other_form |= !is_usual;
        if status == Some(200) { Ok(()) } else { Err(Http2ClientError::Status(status)) }
    }

    /// Takes a block that has no status.
    pub(super) fn skip(&mut self, block: &[u8]) -> Result<(), CompressionError> {
        if self.decodes() {
            self.decoder.decode(block, ListLimits::default(), &mut |_, _| {})?;
        }
        Ok(())
    }
}
