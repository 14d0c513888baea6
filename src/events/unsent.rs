//! The event of an answer that was cut off because of its file.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::{EventKind, EventMessage, Events};

impl Events {
    /// Tells the operator that an answer was cut off, if that is because of its file. Clients that
    /// go away are no event.
    pub fn tell_unsent(&self, error: &io::Error, path: Option<&Path>) {
        let kind = match (error.kind(), Errno::from_io_error(error)) {
            (io::ErrorKind::UnexpectedEof, _) => EventKind::FileShrank,
            (_, Some(Errno::IO | Errno::STALE)) => EventKind::FileFailed,
            _ => return,
        };
        self.tell(kind, || {
            let path = path.map_or("a file".to_owned(), |path| {
                path.as_os_str().as_bytes().escape_ascii().to_string()
            });
            let text = match kind {
                EventKind::FileShrank => format!(
                    "{path} became shorter while it was sent, so an answer was cut off; write a \
                     new file and rename it over the old one"
                ),
                _ => format!("{path} cannot be read: {error}, so an answer was cut off"),
            };
            EventMessage::new(text).with("path", path)
        });
    }
}
