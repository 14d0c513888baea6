//! Lines for the operator. A reader that is slow or gone does not affect the server.

use std::io;
use std::sync::Arc;
use std::thread;

/// Maximum number of lines that wait for a reader of standard error. Each occupies a thread.
const LINES_MAX: usize = 8;

/// Writes a line. Errors are ignored, because a full disk or a closed pipe must not stop the
/// server.
pub(super) fn print_line(mut to: impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// Writes each line to standard error in a separate thread, so a reader that does not read cannot
/// block the caller. While [`LINES_MAX`] lines wait, further ones are dropped.
#[derive(Default, Debug)]
pub(super) struct StderrWriter {
    /// Each waiting line holds a clone, so the reference count tells how many wait.
    waiting: Arc<()>,
}

impl StderrWriter {
    pub(super) fn write(&self, line: String) {
        if Arc::strong_count(&self.waiting) <= LINES_MAX {
            let waits = Arc::clone(&self.waiting);
            let write = move || {
                print_line(io::stderr(), &line);
                drop(waits);
            };
            let _ = thread::Builder::new().spawn(write);
        }
    }
}
