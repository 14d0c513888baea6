//! The fuzz entry of request bodies.

use super::{Discard, DiscardError, DiscardProgress};
use crate::http::h1::head::RequestBody;

/// Fuzz entry: splitting the input does not change the result.
///
/// # Panics
///
/// If an invariant of [`Discard`] does not hold.
pub fn fuzz_discard(data: &[u8]) {
    // The first two bytes select the kind of the body and its limit.
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

/// Feeds `stream` in pieces of `piece` bytes. Returns the result as of a single call.
pub(super) fn feed_in_pieces(
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
