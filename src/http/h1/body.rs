//! Reads and discards a request body, up to a limit.
//!
//! A static server does not use request bodies, but must find the end of a body to read the next
//! request. [`Discard`] takes the bytes as they arrive and returns how many belong to the body. It
//! keeps only its state, and the result does not depend on how the input is split.
//!
//! # States of a chunked body (RFC 9112 §7.1)
//!
//! ```text
//! Size ─CR──────────────────▶ SizeEnd ─LF, size > 0─▶ Data ─▶ DataCr ─CR─▶ DataEnd ─LF─▶ Size
//!   ├─;────────▶ Extension ─CR─▲   └──LF, size = 0─▶ TrailerStart ─CR─▶ LastEnd ─LF─▶ Done
//!   └─▶ Gap ─;─────▲                                  ▲ └─▶ TrailerName ─:─▶ TrailerValue ─CR─┐
//!                                                     └───────────LF─ TrailerEnd ◀────────────┘
//! ```
//!
//! A trailer line is a field line, as in a head: a token, a colon at once, and a value without
//! control characters (§7.1.2, §5.1). Folded lines are malformed (§5.2). Fields are discarded
//! whatever their names, so they cannot change what the head says.
//!
//! The limit applies to all bytes, including framing, so a stream of tiny chunks cannot go on
//! forever. Chunk extensions and the trailer section have smaller limits of their own, and a
//! trailer section has no more fields than a head. After a malformed or too long body, the
//! connection has to be closed, because the next request cannot be found.

use super::head::{FIELDS_MAX, RequestBody};
use crate::http::semantics::grammar::is_token_byte;
use crate::http::semantics::status::Status;

#[cfg(any(test, feature = "simulation"))]
mod fuzz;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "simulation"))]
pub use fuzz::fuzz_discard;

/// 16 hexadecimal digits are 64 bits.
const SIZE_DIGITS_MAX: u32 = 16;
/// Per chunk. Legitimate clients hardly ever send extensions, so a small limit suffices.
const EXTENSION_BYTES_MAX: u32 = 256;
/// For the whole trailer section, including line ends.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// Discards one request body; see the module documentation.
#[derive(Clone, Debug)]
pub struct Discard {
    state: DiscardState,
    /// How many more bytes the body may have.
    budget: u64,
}

/// The part of the body to which the next byte belongs; see the diagram above.
#[derive(Clone, Copy, Debug)]
enum DiscardState {
    /// The rest of a body with a known length.
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
    TrailerStart(Trailers),
    TrailerName(Trailers),
    TrailerValue(Trailers),
    TrailerEnd(Trailers),
    LastEnd,
    Done,
    Failed(DiscardError),
}

/// How much of the trailer section was read.
#[derive(Clone, Copy, Default, Debug)]
struct Trailers {
    bytes: u32,
    fields: u32,
}

/// The result of one call of [`Discard::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscardProgress {
    /// Bytes of the input that belong to the body; all of them unless `done`.
    pub used: usize,
    /// Whether the body has ended. The next request then begins right after `used`.
    pub done: bool,
}

/// Why the end of the body cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardError {
    /// The body, a chunk extension or the trailer section is longer than its limit, or the trailer
    /// section has too many fields.
    TooLarge,
    /// The chunked framing or a trailer field is malformed.
    Malformed,
}

impl DiscardError {
    /// The status of the response, if no response was sent yet.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::TooLarge => Status::ContentTooLarge,
            Self::Malformed => Status::BadRequest,
        }
    }
}

impl Discard {
    /// Starts at the first byte of a body of at most `bytes_max` bytes. `None` if the body is
    /// empty.
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

    /// Reads `input` up to the end of the body.
    ///
    /// Call it with the following bytes until `done`. If `Content-Length` is above the limit, the
    /// first call fails, even without input.
    ///
    /// # Errors
    ///
    /// If the body is malformed or too long. All later calls return the same error.
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

    /// Reads one byte of framing or a run of data. Returns the number of bytes read.
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
        // Fail at the size of a chunk that exceeds the limit, rather than within its data.
        if matches!(next, DiscardState::Data { left } if left > self.budget) {
            return Err(DiscardError::TooLarge);
        }
        self.state = next;
        Ok(used)
    }
}

/// Skips up to `left` bytes of data. Returns the bytes skipped and the next state: `after` when all
/// data was skipped, else `more`.
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
            // White space is allowed only before an extension (RFC 9112 §7.1.1).
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
            (Self::SizeEnd { size: 0 }, b'\n') => Ok(Self::TrailerStart(Trailers::default())),
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::TrailerStart(_), b'\r') => Ok(Self::LastEnd),
            (Self::TrailerStart(read), _) if is_token_byte(byte) => {
                Ok(Self::TrailerName(read.field()?.byte()?))
            }
            (Self::TrailerName(read), b':') => Ok(Self::TrailerValue(read.byte()?)),
            (Self::TrailerName(read), _) if is_token_byte(byte) => {
                Ok(Self::TrailerName(read.byte()?))
            }
            (Self::TrailerValue(read), b'\r') => Ok(Self::TrailerEnd(read.byte()?)),
            (Self::TrailerValue(read), _) if is_text(byte) => Ok(Self::TrailerValue(read.byte()?)),
            (Self::TrailerEnd(read), b'\n') => Ok(Self::TrailerStart(read.byte()?)),
            (Self::LastEnd, b'\n') => Ok(Self::Done),
            _ => Err(DiscardError::Malformed),
        }
    }
}

impl Trailers {
    /// Counts one more byte.
    fn byte(self) -> Result<Self, DiscardError> {
        Ok(Self { bytes: extend(self.bytes, TRAILER_BYTES_MAX)?, ..self })
    }

    /// Counts one more field.
    fn field(self) -> Result<Self, DiscardError> {
        Ok(Self { fields: extend(self.fields, FIELDS_MAX as u32)?, ..self })
    }
}

/// Counts one more byte or field of a part with a limit.
fn extend(count: u32, count_max: u32) -> Result<u32, DiscardError> {
    if count < count_max { Ok(count + 1) } else { Err(DiscardError::TooLarge) }
}

/// Whether a line may contain this byte: the tab, or anything that is not a control character.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
