//! The inbox of a connection: received bytes that its session has not taken.

use crate::driver::RECEIVE_BYTES_MAX;

/// Receiving pauses while the inbox holds more bytes than this. A message that a session takes only
/// as a whole must not be longer.
pub const INBOX_MAX: usize = 32 * 1024;

/// The inbox grows by this much at a time: doubling would keep up to half of it unused.
const INBOX_STEP: usize = 16 * 1024;

/// The most memory of an inbox. It exceeds [`INBOX_MAX`] by what one wait receives, and by what the
/// next wait receives before the receive has ended.
pub const INBOX_MEMORY_MAX: usize = INBOX_MAX + 2 * RECEIVE_BYTES_MAX as usize + INBOX_STEP;

/// Appends input to an inbox.
pub(super) fn append(inbox: &mut Vec<u8>, bytes: &[u8]) {
    let needed = inbox.len() + bytes.len();
    if needed > inbox.capacity() && needed > INBOX_STEP {
        inbox.reserve_exact(needed.next_multiple_of(INBOX_STEP) - inbox.len());
    }
    inbox.extend_from_slice(bytes);
}
