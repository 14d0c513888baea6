//! Several ranges in one body: `multipart/byteranges` (RFC 9110 section 14.6).
//!
//! The body is the text of [`Multipart::write_head`] and the bytes of its range, for each range in
//! turn, and then the text of [`Multipart::write_end`]. Nothing is kept between the calls, so that
//! whoever sends the body needs to remember no more than the number of the part.

use std::io::Write;
use std::ops::Range;

use crate::http::semantics::range::ContentRange;

#[cfg(test)]
mod tests;

/// The line that parts the parts: 128 random bits.
///
/// Nothing looks for it in the file. As long as the bits are random, a file that has them is not
/// to be expected, not even one that a client has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    random: [u64; 2],
}

impl Boundary {
    /// A boundary of random bits, new for each answer.
    #[must_use]
    pub const fn new(random: [u64; 2]) -> Self {
        Self { random }
    }

    /// The value of the answer's `Content-Type`.
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

/// A body of several ranges: what stands around them.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// The ranges, in the order in which they are sent. None is empty or ends past `len`.
    pub ranges: &'a [Range<u64>],
    /// The length of the representation in bytes.
    pub len: u64,
    /// The `Content-Type` that the representation would have by itself.
    pub content_type: &'a [u8],
    /// What parts the ranges.
    pub boundary: Boundary,
}

impl Multipart<'_> {
    /// The length of the body in bytes, for `Content-Length`.
    ///
    /// Ranges of a file do not come near to what a `u64` holds; if they did, it would be the
    /// greatest one.
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

    /// Appends what stands before the range number `part`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there is no such part.
    pub fn write_head(&self, part: usize, out: &mut Vec<u8>) {
        // The line end before a boundary belongs to the boundary, and the first needs none (RFC
        // 2046 section 5.1.1).
        out.extend_from_slice(if part == 0 { b"--" } else { b"\r\n--" });
        append(out, format_args!("{}\r\nContent-Type: ", self.boundary));
        out.extend_from_slice(self.content_type);
        let range = ContentRange::Satisfied(self.ranges[part].clone(), self.len);
        append(out, format_args!("\r\nContent-Range: {range}\r\n\r\n"));
    }

    /// Appends what stands behind the last range.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        append(out, format_args!("\r\n--{}--\r\n", self.boundary));
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}
