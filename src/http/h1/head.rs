//! The request head: from bytes to a [`Head`] that cannot be misread.
//!
//! [`parse`] looks at the front of a connection's buffer. It answers `Ok(None)` until the head is
//! complete, then `Ok(Some((head, used)))`, or a [`Refusal`] after which the connection must
//! be closed, because the end of the message can no longer be trusted. It never allocates.
//!
//! **The chunking law.** For any input, every prefix gets either "incomplete" or the answer that
//! the whole input gets. The answer belongs to the first byte that decides it: a byte that breaks
//! the grammar, a byte past a limit, or the last byte of the head. Whatever is wrong with the
//! *meaning* of the fields (two lengths, no host) is said at that last byte and not before.
//!
//! The grammar is httparse's, made strict: no bare LF, no other leniency. Where two readings of a
//! message are possible somewhere on the way (RFC 9112 §11.2), it is refused and not repaired.
//!
//! No state is kept between calls: an incomplete head is scanned from its beginning every time. The
//! caller sees to it that a client that sends byte by byte does not cause a scan per byte.

use crate::http::semantics::authority;
use crate::http::semantics::request::RequestLimits;
use crate::http::semantics::status::Status;

mod fields;
mod interpret;
mod parsed;
mod scan;
#[cfg(test)]
mod tests;

pub use parsed::{Head, Refusal, RequestBody, Version};
pub use scan::FIELDS_MAX;

/// Parses the request head at the front of `input`.
///
/// On success also returns the number of bytes used, including blank lines before the head
/// (RFC 9112 §2.2). At most `head_bytes_max` bytes of the input are looked at.
///
/// # Errors
///
/// With the refusal to send before the connection is closed.
pub fn parse<'a>(
    input: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<(Head<'a>, usize)>, Refusal> {
    let window = &input[..input.len().min(limits.head_bytes_max)];
    let scanned = scan::scan(window);
    let head = match scanned {
        scan::Scan::Complete { length, .. } => &window[..length],
        scan::Scan::Partial | scan::Scan::Fault(_) => window,
    };
    if let Some((end, breach)) = scan::first_breach(head, limits.target_bytes_max) {
        // A fault before the breach came first on the wire, and a shorter input has already
        // been answered with it.
        return match scan::scan(&head[..end]) {
            scan::Scan::Fault(earlier) => Err(earlier),
            scan::Scan::Partial | scan::Scan::Complete { .. } => Err(breach),
        };
    }
    match scanned {
        scan::Scan::Complete { length, head } => Ok(Some((head?, length))),
        scan::Scan::Fault(fault) => Err(fault),
        scan::Scan::Partial if window.len() == limits.head_bytes_max => Err(HEAD_TOO_LARGE),
        scan::Scan::Partial => Ok(None),
    }
}

const HEAD_TOO_LARGE: Refusal = Refusal {
    status: Status::HeaderFieldsTooLarge,
    reason: "The request head is larger than this server accepts.",
};

/// Fuzz entry: the chunking law, and that what is returned lies within the input.
///
/// # Panics
///
/// If an invariant of [`parse`] does not hold.
#[doc(hidden)]
pub fn fuzz_head(data: &[u8]) {
    // The small limits let short inputs reach every refusal.
    let small =
        RequestLimits { head_bytes_max: 96, target_bytes_max: 24, ..RequestLimits::default() };
    for limits in [RequestLimits::default(), small] {
        let whole = parse(data, &limits);
        if let Ok(Some((Head { request, .. }, used))) = whole {
            assert!(used <= data.len() && used <= limits.head_bytes_max);
            assert!(request.target.len() <= limits.target_bytes_max);
            assert!(data[..used].ends_with(b"\r\n\r\n"));
            assert!(!request.target.is_empty());
            assert!(request.target.iter().all(|byte| *byte > b' ' && *byte != b'#'));
            assert!(authority::is_valid(request.host));
        }
        // Long inputs are cut at a sample of their positions, to keep the work linear.
        for end in (0..data.len()).step_by(1 + data.len() / 512) {
            let part = parse(&data[..end], &limits);
            assert!(part == Ok(None) || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
        }
    }
}
