//! Parses request heads strictly.
//!
//! [`parse`] reads the front of a connection's buffer. It returns `Ok(None)` until the head is
//! complete, then `Ok(Some((head, used)))`. After a [`Refusal`], the connection must be closed,
//! because the end of the message cannot be known. Parsing never allocates.
//!
//! **The chunking law.** For any input, each prefix is either incomplete, or has the result of the
//! whole input. The result depends on the bytes up to the first that decides it: a byte that
//! violates the grammar, a byte beyond a limit, or the last byte of the head. Semantic errors, such
//! as two lengths or no host, are reported at the last byte of the head and not before.
//!
//! The grammar is that of httparse without its leniency, such as bare LF. A message that another
//! recipient might interpret differently (request smuggling, RFC 9112 §11.2) is refused rather than
//! repaired.
//!
//! No state is kept between calls: an incomplete head is scanned from its beginning again. The
//! caller limits how often, see `is_worth_parsing` in `session.rs`.

use crate::http::semantics::request::{HEAD_TOO_LARGE, RequestLimits};

#[cfg(any(test, feature = "simulation"))]
mod fuzz;
mod interpret;
mod message;
mod parsed;
mod scan;
#[cfg(test)]
mod tests;

pub use crate::http::semantics::request::{FIELDS_MAX, Refusal};
#[cfg(any(test, feature = "simulation"))]
pub use fuzz::fuzz_head;
pub use parsed::{Head, RequestBody, Version};
use scan::Scan;

/// Parses the request head at the front of `input`.
///
/// Also returns the length of the head, including blank lines before it (RFC 9112 §2.2). Reads at
/// most `head_bytes_max` bytes of the input.
///
/// # Errors
///
/// The response to send before the connection is closed.
pub fn parse<'a>(
    input: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<(Head<'a>, usize)>, Refusal> {
    let mut head = Head::EMPTY;
    let length = parse_into(&mut head, input, limits)?;
    Ok(length.map(|length| (head, length)))
}

/// The same into a head that is [`Head::EMPTY`]; returns the length. A head is so large that moving
/// it would take a tenth of the time of parsing it.
///
/// # Errors
///
/// The response to send before the connection is closed. After an error, and while the head is
/// incomplete, what is in `head` is of no use.
#[inline]
pub fn parse_into<'a>(
    head: &mut Head<'a>,
    input: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<usize>, Refusal> {
    debug_assert!(*head == Head::EMPTY, "fields would be added to those of another request");
    let window = &input[..input.len().min(limits.head_bytes_max)];
    let scanned = scan::scan(head, window);
    let (bytes, is_short) = match &scanned {
        Scan::Complete { length, word_bytes, .. } => {
            (&window[..*length], *word_bytes <= limits.target_bytes_max)
        }
        Scan::Partial | Scan::Fault(_) => (window, false),
    };
    let target_bytes_max = (!is_short).then_some(limits.target_bytes_max);
    if let Some((end, breach)) = scan::first_breach(bytes, target_bytes_max) {
        return Err(earlier_fault(&bytes[..end]).unwrap_or(breach));
    }
    match scanned {
        Scan::Complete { length, meaning, .. } => meaning.map(|()| Some(length)),
        Scan::Fault(fault) => Err(fault),
        Scan::Partial if window.len() == limits.head_bytes_max => Err(HEAD_TOO_LARGE),
        Scan::Partial => Ok(None),
    }
}

/// The fault for which a shorter input was refused. It is reported instead of a later one.
#[cold]
fn earlier_fault(shorter: &[u8]) -> Option<Refusal> {
    let mut head = Head::EMPTY;
    match scan::scan(&mut head, shorter) {
        Scan::Fault(earlier) => Some(earlier),
        Scan::Partial | Scan::Complete { .. } => None,
    }
}

/// Whether all of these bytes belong to blank lines, which may precede a head (RFC 9112 §2.2).
#[must_use]
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether a request, which may be malformed or incomplete, has the method HEAD. Its answer has no
/// content, whatever is wrong with the rest (RFC 9110 section 9.3.2).
#[must_use]
pub fn asks_head(bytes: &[u8]) -> bool {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    bytes[blank..].starts_with(b"HEAD ")
}
