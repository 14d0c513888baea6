//! Flow control (RFC 9113 section 5.2).

/// The window of a connection, and of a stream unless SETTINGS say otherwise (section 6.9.2).
pub(super) const WINDOW_DEFAULT: u32 = 65_535;

/// The largest window (section 6.9.1).
const WINDOW_MAX: i64 = 0x7fff_ffff;

/// How much may be sent. It is negative after SETTINGS have made windows smaller (section 6.9.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SendWindow {
    bytes: i64,
    /// The largest that it has been.
    largest: i64,
}

/// The window would exceed the largest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WindowOverflow;

impl SendWindow {
    pub(super) fn new(bytes: u32) -> Self {
        Self { bytes: bytes.into(), largest: bytes.into() }
    }

    /// How many bytes may be sent now.
    pub(super) fn bytes(self) -> usize {
        self.bytes.max(0) as usize
    }

    /// Whether nothing of it is used: then WINDOW_UPDATE opens more than was ever allowed.
    pub(super) fn is_largest(self) -> bool {
        self.bytes >= self.largest
    }

    /// The peer allows so many more bytes.
    pub(super) fn open(&mut self, bytes: u32) -> Result<(), WindowOverflow> {
        self.change(bytes.into())
    }

    /// SETTINGS have changed the initial window by so many bytes.
    pub(super) fn change(&mut self, by: i64) -> Result<(), WindowOverflow> {
        let next = self.bytes + by;
        if next > WINDOW_MAX {
            return Err(WindowOverflow);
        }
        self.bytes = next;
        self.largest = self.largest.max(next);
        Ok(())
    }

    /// So many bytes are sent.
    pub(super) fn use_up(&mut self, bytes: usize) {
        self.bytes -= bytes as i64;
        debug_assert!(bytes == 0 || self.bytes >= 0, "no more is sent than the window allows");
    }
}

/// How much the peer may send. What arrives is discarded at once, so the window is opened again
/// when half of it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReceiveWindow {
    left: u32,
}

impl ReceiveWindow {
    pub(super) const fn new() -> Self {
        Self { left: WINDOW_DEFAULT }
    }

    /// So many bytes have arrived. `false` if the peer was not allowed to send them.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// How much the peer may still send.
    pub(super) const fn left(self) -> u32 {
        self.left
    }

    /// The increment that opens the window again, if that is due.
    pub(super) fn reopen(&mut self) -> Option<u32> {
        let used = WINDOW_DEFAULT - self.left;
        if used <= WINDOW_DEFAULT / 2 {
            return None;
        }
        self.left = WINDOW_DEFAULT;
        Some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_become_negative_and_never_too_large() {
        let mut window = SendWindow::new(WINDOW_DEFAULT);
        window.use_up(60_000);
        assert_eq!(window.bytes(), 5_535);
        // The peer lowers the initial window from 65,535 to 16,384 (section 6.9.2).
        assert_eq!(window.change(16_384 - 65_535), Ok(()));
        assert_eq!(window.bytes(), 0);
        assert_eq!(window.open(43_617), Ok(()));
        assert_eq!(window.bytes(), 1);
        assert_eq!(window.open(0x7fff_fffe), Ok(()));
        assert_eq!(window.bytes(), 0x7fff_ffff);
        assert_eq!(window.open(1), Err(WindowOverflow));
        assert_eq!(window.bytes(), 0x7fff_ffff);
    }

    #[test]
    fn a_receive_window_is_opened_again_at_half() {
        let mut window = ReceiveWindow::new();
        assert!(window.take(32_767));
        assert_eq!(window.reopen(), None);
        assert!(window.take(1));
        assert_eq!(window.reopen(), Some(32_768));
        assert!(window.take(65_535));
        assert!(!window.take(1));
    }
}
