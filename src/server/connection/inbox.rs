//! The inbox of a connection: received bytes that its session has not taken.

use std::ops::Deref;

use crate::driver::RECEIVE_BYTES_MAX;

/// Receiving pauses while the inbox holds more bytes than this. A message that a session takes only
/// as a whole must not be longer.
pub const INBOX_MAX: usize = 32 * 1024;

/// The inbox grows by this much at a time: doubling would keep up to half of it unused.
const INBOX_STEP: usize = 16 * 1024;

/// The most memory of an inbox. It exceeds [`INBOX_MAX`] by what one wait receives, and by what the
/// next wait receives before the receive has ended.
pub const INBOX_MEMORY_MAX: usize = INBOX_MAX + 2 * RECEIVE_BYTES_MAX as usize + INBOX_STEP;

/// The bytes; see the module documentation. They are boxed twice, because most connections have
/// none most of the time: then this is 8 bytes.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "it is small while it is empty")]
pub(super) struct Untaken(Option<Box<Vec<u8>>>);

impl Untaken {
    /// Appends input.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let inbox = self.0.get_or_insert_default();
        let needed = inbox.len() + bytes.len();
        if needed > inbox.capacity() && needed > INBOX_STEP {
            inbox.reserve_exact(needed.next_multiple_of(INBOX_STEP) - inbox.len());
        }
        inbox.extend_from_slice(bytes);
    }

    /// Removes the first bytes; there are more.
    pub(super) fn remove(&mut self, count: usize) {
        let inbox = self.0.as_mut().expect("there are more bytes than are removed");
        inbox.drain(..count);
    }

    /// The memory of the bytes.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |inbox| inbox.capacity())
    }
}

impl Deref for Untaken {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_appended_and_removed_in_order() {
        let mut inbox = Untaken::default();
        inbox.append(b"");
        assert_eq!((&*inbox, inbox.capacity()), (&b""[..], 0));
        inbox.append(b"abc");
        inbox.append(b"de");
        inbox.remove(2);
        assert_eq!(&*inbox, b"cde");
    }

    /// It grows in steps, so at most one of them is unused.
    #[test]
    fn a_large_inbox_does_not_double() {
        let mut inbox = Untaken::default();
        for _ in 0..100 {
            inbox.append(&[b'x'; 1000]);
            assert!(inbox.capacity() <= inbox.len() + INBOX_STEP);
        }
        assert_eq!(inbox.len(), 100_000);
    }

    /// Most connections are idle.
    #[test]
    fn an_empty_inbox_is_small() {
        assert_eq!(size_of::<Untaken>(), size_of::<usize>());
    }
}
