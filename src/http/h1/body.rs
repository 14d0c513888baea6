//! Walks over a request body that nobody wants, within a bound.
//!
//! A static server has no use for a request body, but must find its end to read the next request.
//! [`Discard`] is given the bytes as they come and says how many belong to the body. It keeps
//! nothing but its place, and any way of cutting the input leads to the same outcome.
//!
//! # States of a chunked body (RFC 9112 §7.1)
//!
//! ```text
//! Size ─CR──────────────────▶ SizeEnd ─LF, size > 0─▶ Data ─▶ DataCr ─CR─▶ DataEnd ─LF─▶ Size
//!   ├─;────────▶ Extension ─CR─▲   └──LF, size = 0─▶ TrailerStart ─CR─▶ LastEnd ─LF─▶ Done
//!   └─▶ Gap ─;─────▲                                  ▲ └─▶ TrailerLine ─CR─▶ TrailerEnd ─LF─┐
//!                                                     └──────────────────────────────────────┘
//! ```
//!
//! Every byte counts against one bound, framing included, so endless tiny chunks end as well.
//! Chunk extensions and the trailer section have smaller bounds of their own. A body that breaks
//! the framing or a bound is final: the connection has to be closed.

use super::head::RequestBody;
use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// Sixteen hexadecimal digits are the most that fit into 64 bits.
const SIZE_DIGITS_MAX: u32 = 16;
/// Per chunk. Hardly anybody sends extensions, except to make a server read on for nothing.
const EXTENSION_BYTES_MAX: u32 = 256;
/// The trailer section as a whole, line ends included.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// The place within a body that is being discarded.
#[derive(Clone, Debug)]
pub struct Discard {
    state: DiscardState,
    /// How many more bytes may be used before the body is too large.
    budget: u64,
}

/// Where in the body the next byte stands. The diagram is in the module documentation.
#[derive(Clone, Copy, Debug)]
enum DiscardState {
    /// So many bytes are left of a body with a known length.
    Length {
        left: u64,
    },
    Size {
        size: u64,
        digits: u32,
    },
    Gap {
        size: u64,
        bytes: u32,
    },
    Extension {
        size: u64,
        bytes: u32,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataEnd,
    TrailerStart {
        bytes: u32,
    },
    TrailerLine {
        bytes: u32,
    },
    TrailerEnd {
        bytes: u32,
    },
    LastEnd,
    Done,
    Failed(DiscardError),
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscardProgress {
    /// Bytes of the input that belong to the body: all of them unless `done`.
    pub used: usize,
    /// Whether the body has ended; the next request begins right after `used`.
    pub done: bool,
}

/// Why the end of the body will not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardError {
    /// The body, a chunk extension or the trailer section is longer than its bound.
    TooLarge,
    /// The chunked framing is broken.
    Malformed,
}

impl DiscardError {
    /// The status of the response, if none was sent yet.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::TooLarge => Status::ContentTooLarge,
            Self::Malformed => Status::BadRequest,
        }
    }
}

impl Discard {
    /// Starts before the first byte of `body`, of which at most `bytes_max` bytes are discarded.
    ///
    /// Returns `None` if there is nothing to discard.
    #[must_use]
    pub fn new(body: RequestBody, bytes_max: u64) -> Option<Self> {
        let state = match body {
            RequestBody::None | RequestBody::Length(0) => return None,
            RequestBody::Length(length) if length > bytes_max => {
                DiscardState::Failed(DiscardError::TooLarge)
            }
            RequestBody::Length(length) => DiscardState::Length { left: length },
            RequestBody::Chunked => DiscardState::Size { size: 0, digits: 0 },
        };
        Some(Self { state, budget: bytes_max })
    }

    /// Uses up `input` as far as the body goes.
    ///
    /// Call again with the bytes that follow until `done`. A body whose announced length is over
    /// the bound fails at the first call, without waiting for its bytes.
    ///
    /// # Errors
    ///
    /// The first error stays: every later call returns it again.
    pub fn feed(&mut self, input: &[u8]) -> Result<DiscardProgress, DiscardError> {
        let mut used = 0;
        while used < input.len()
            && !matches!(self.state, DiscardState::Done | DiscardState::Failed(_))
        {
            let step = self.step(&input[used..]).unwrap_or_else(|error| {
                self.state = DiscardState::Failed(error);
                0
            });
            used += step;
        }
        match self.state {
            DiscardState::Failed(error) => Err(error),
            DiscardState::Done => Ok(DiscardProgress { used, done: true }),
            _ => Ok(DiscardProgress { used, done: false }),
        }
    }

    /// Uses one byte of framing or a run of data, and returns how many bytes that were.
    fn step(&mut self, input: &[u8]) -> Result<usize, DiscardError> {
        let (used, next) = match self.state {
            DiscardState::Length { left } => {
                skip(input, left, DiscardState::Done, |left| DiscardState::Length { left })
            }
            DiscardState::Data { left } => {
                skip(input, left, DiscardState::DataCr, |left| DiscardState::Data { left })
            }
            state => (1, state.after(input[0])?),
        };
        self.budget = self.budget.checked_sub(used as u64).ok_or(DiscardError::TooLarge)?;
        // A chunk that will not fit is refused before its data is read.
        if matches!(next, DiscardState::Data { left } if left > self.budget) {
            return Err(DiscardError::TooLarge);
        }
        self.state = next;
        Ok(used)
    }
}

/// Skips over up to `left` bytes of data, then goes on with `after`.
fn skip(
    input: &[u8],
    left: u64,
    after: DiscardState,
    more: fn(u64) -> DiscardState,
) -> (usize, DiscardState) {
    let used = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    match left - used as u64 {
        0 => (used, after),
        left => (used, more(left)),
    }
}

impl DiscardState {
    /// The state after one byte of chunked framing.
    fn after(self, byte: u8) -> Result<Self, DiscardError> {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Size { digits: 1.., size }, b';') => Ok(Self::Extension { size, bytes: 1 }),
            (Self::Size { digits: 1.., size }, b' ' | b'\t') => Ok(Self::Gap { size, bytes: 1 }),
            (Self::Size { size, digits }, _) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS_MAX => {
                    Ok(Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
                }
                _ => Err(DiscardError::Malformed),
            },
            // White space is allowed before an extension, and nowhere else (RFC 9112 §7.1.1).
            (Self::Gap { size, bytes }, b' ' | b'\t') => {
                Ok(Self::Gap { size, bytes: extend(bytes, EXTENSION_BYTES_MAX)? })
            }
            (Self::Gap { size, bytes }, b';') => {
                Ok(Self::Extension { size, bytes: extend(bytes, EXTENSION_BYTES_MAX)? })
            }
            (Self::Extension { size, .. }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Extension { size, bytes }, _) if is_text(byte) => {
                Ok(Self::Extension { size, bytes: extend(bytes, EXTENSION_BYTES_MAX)? })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Ok(Self::TrailerStart { bytes: 0 }),
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::TrailerStart { .. }, b'\r') => Ok(Self::LastEnd),
            (Self::TrailerLine { bytes }, b'\r') => {
                Ok(Self::TrailerEnd { bytes: extend(bytes, TRAILER_BYTES_MAX)? })
            }
            // The fields are not looked into: they are dropped, and their lines end either way.
            (Self::TrailerStart { bytes } | Self::TrailerLine { bytes }, _) if is_text(byte) => {
                Ok(Self::TrailerLine { bytes: extend(bytes, TRAILER_BYTES_MAX)? })
            }
            (Self::TrailerEnd { bytes }, b'\n') => {
                Ok(Self::TrailerStart { bytes: extend(bytes, TRAILER_BYTES_MAX)? })
            }
            (Self::LastEnd, b'\n') => Ok(Self::Done),
            _ => Err(DiscardError::Malformed),
        }
    }
}

/// Counts one more byte of a bounded part.
fn extend(bytes: u32, bytes_max: u32) -> Result<u32, DiscardError> {
    if bytes < bytes_max { Ok(bytes + 1) } else { Err(DiscardError::TooLarge) }
}

/// Whether a byte may stand within a line: no control character except the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Fuzz entry: cutting the input anywhere, or everywhere, does not change the outcome.
///
/// # Panics
///
/// If an invariant of [`Discard`] does not hold.
#[doc(hidden)]
pub fn fuzz_discard(data: &[u8]) {
    // The first bytes choose the body, so that the rest reaches every kind of it.
    let [kind, length, stream @ ..] = data else { return };
    let body = match kind % 4 {
        0 => RequestBody::Length(u64::from(*length)),
        _ => RequestBody::Chunked,
    };
    let bytes_max = if kind % 2 == 0 { 64 } else { 64 * 1024 };
    let Some(start) = Discard::new(body, bytes_max) else {
        assert_eq!(body, RequestBody::Length(0));
        return;
    };
    let whole = start.clone().feed(stream);
    if let Ok(progress) = whole {
        assert!(progress.used <= stream.len() && progress.used as u64 <= bytes_max);
        assert!(progress.done || progress.used == stream.len());
    }
    assert_eq!(feed_in_pieces(start.clone(), stream, 1), whole);
    for piece in [2, 3, 7, 1 + usize::from(*length)] {
        assert_eq!(feed_in_pieces(start.clone(), stream, piece), whole, "pieces of {piece}");
    }
}

/// Feeds `stream` in pieces of `piece` bytes, and adds up what was used.
fn feed_in_pieces(
    mut discard: Discard,
    stream: &[u8],
    piece: usize,
) -> Result<DiscardProgress, DiscardError> {
    let mut used = 0;
    for part in stream.chunks(piece) {
        let progress = discard.feed(part)?;
        used += progress.used;
        if progress.done {
            break;
        }
    }
    discard.feed(&[]).map(|progress| DiscardProgress { used, ..progress })
}
