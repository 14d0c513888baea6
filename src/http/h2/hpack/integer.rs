//! Reads a header block from front to back: bytes, runs of bytes, and integers (RFC 7541 §5.1).
//!
//! An integer is stored in the last bits of a byte, the prefix. If they are all ones, the bytes
//! after it have 7 more bits each, the lowest first, and all but the last have the top bit set.

use super::error::CompressionError;

/// How many bytes may follow the prefix. 28 bits exceed every length and index of a valid block,
/// and their sum with a prefix fits into a `u32`.
const MORE_BYTES_MAX: u32 = 4;

/// What has not been read of a header block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The next byte, which is not taken.
    pub(super) fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], CompressionError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(CompressionError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes an integer whose prefix is the last `prefix` bits of the next byte.
    pub(super) fn integer(&mut self, prefix: u32) -> Result<usize, CompressionError> {
        let mask = (1_u32 << prefix) - 1;
        let mut value = u32::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value as usize);
        }
        for place in 0..MORE_BYTES_MAX {
            let byte = u32::from(self.byte()?);
            value += (byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value as usize);
            }
        }
        Err(CompressionError::IntegerTooLong)
    }

    fn byte(&mut self) -> Result<u8, CompressionError> {
        let (&byte, rest) = self.rest.split_first().ok_or(CompressionError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }
}

/// Appends an integer with a prefix of `prefix` bits; the other bits of its byte are `pattern`.
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
