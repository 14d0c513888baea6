//! Lines for a person, whether or not somebody reads them.

use std::io;
use std::sync::Arc;
use std::thread;

/// Lines that may wait for a reader of standard error at a time. Each has a thread.
const LINES_MAX: usize = 8;

/// Writes a line. An error is ignored: a full disk or a reader that is gone is no reason to stop
/// serving.
pub(super) fn tell(mut to: impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// Writes lines to standard error, each from a thread of its own: a reader that stands still does
/// not keep the caller waiting. Lines beyond [`LINES_MAX`] that nobody has read are dropped.
#[derive(Default, Debug)]
pub(super) struct Teller {
    /// Each line that waits has a clone.
    waiting: Arc<()>,
}

impl Teller {
    pub(super) fn tell(&self, line: String) {
        if Arc::strong_count(&self.waiting) <= LINES_MAX {
            let waits = Arc::clone(&self.waiting);
            let write = move || {
                tell(io::stderr(), &line);
                drop(waits);
            };
            let _ = thread::Builder::new().spawn(write);
        }
    }
}
