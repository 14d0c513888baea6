//! Several ranges in one body: `multipart/byteranges` (RFC 9110 section 14.6).
//!
//! The body is the text of [`Multipart::write_head`] and the bytes of the range, for each range in
//! turn, followed by the text of [`Multipart::write_end`]. No state is kept between the calls.

use std::io::Write;
use std::ops::Range;

use crate::http::semantics::range::ContentRange;

#[cfg(test)]
mod tests;

/// The boundary between parts: 128 random bits.
///
/// The file is not searched for the boundary. Random bits are not expected to occur in it, not even
/// in a file that an attacker wrote, because they cannot be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    random: [u64; 2],
}

impl Boundary {
    /// Makes a boundary. The bits must be random, and new for each response.
    #[must_use]
    pub const fn new(random: [u64; 2]) -> Self {
        Self { random }
    }

    /// The value of the response's `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={self}")
    }
}

impl std::fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [high, low] = self.random;
        write!(formatter, "{high:016x}{low:016x}")
    }
}

/// Writes the text before, between and after the ranges of a body.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// The ranges, in the order in which they are sent. None is empty, and none ends after `len`.
    pub ranges: &'a [Range<u64>],
    /// The length of the representation in bytes.
    pub len: u64,
    /// The `Content-Type` of the representation.
    pub content_type: &'a [u8],
    /// Separates the parts.
    pub boundary: Boundary,
}

impl Multipart<'_> {
    /// The length of the body in bytes, for `Content-Length`.
    ///
    /// Saturates, though ranges of a file do not come near the largest `u64`.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        let mut text = Vec::new();
        self.write_end(&mut text);
        let mut total = text.len() as u64;
        for (part, range) in self.ranges.iter().enumerate() {
            text.clear();
            self.write_head(part, &mut text);
            total = total.saturating_add(text.len() as u64 + (range.end - range.start));
        }
        total
    }

    /// Appends the text before the range `part`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there is no such range.
    pub fn write_head(&self, part: usize, out: &mut Vec<u8>) {
        // The line end before a boundary is part of the boundary, and optional before the first one
        // (RFC 2046 section 5.1.1).
        out.extend_from_slice(if part == 0 { b"--" } else { b"\r\n--" });
        append(out, format_args!("{}\r\nContent-Type: ", self.boundary));
        out.extend_from_slice(self.content_type);
        let range = ContentRange::Satisfied(self.ranges[part].clone(), self.len);
        append(out, format_args!("\r\nContent-Range: {range}\r\n\r\n"));
    }

    /// Appends the text after the last range.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        append(out, format_args!("\r\n--{}--\r\n", self.boundary));
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}
