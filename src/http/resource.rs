//! What a name turned out to be, prepared for answering: the record that the cache keeps.
//!
//! The head fields of a page depend on the file alone, so they are written once. A small body
//! stands right behind them, and both leave in one piece.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Status;
use super::mime::content_type;
use crate::driver::{File, Metadata};

/// A file that changed less than this before it was looked at may change again without its time
/// stamps telling: the kernel's clock for them has a grain. Until then, a page is read anew
/// whenever it expires, and its entity tag is weak.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Time stamps up to here are not times: reproducible archives set them to 0 or 1.
const EPOCH_END: i64 = 1;

/// What a name is.
#[derive(Debug)]
pub(super) enum Resource {
    /// A file with content.
    Page(Page),
    /// A directory.
    Directory,
    /// Nothing that is served.
    Refused(Status),
}

/// A file, ready to be answered with.
#[derive(Debug)]
pub(super) struct Page {
    /// Head fields, the empty line, and the body if it is small.
    wire: Rc<[u8]>,
    head_len: usize,
    /// Where the body is if it is not small.
    file: Option<Arc<File>>,
    metadata: Metadata,
    settled: bool,
}

impl Page {
    /// A page whose body stays in the file.
    pub(super) fn of_file(head: &[u8], file: Arc<File>, now: SystemTime) -> Self {
        let metadata = *file.metadata();
        Self {
            wire: head.into(),
            head_len: head.len(),
            settled: is_settled(&metadata, now),
            file: Some(file),
            metadata,
        }
    }

    /// A page whose body is in memory: `wire` is the head with the body behind it.
    pub(super) fn of_memory(
        wire: &[u8],
        head_len: usize,
        metadata: Metadata,
        now: SystemTime,
    ) -> Self {
        let settled = is_settled(&metadata, now);
        Self { wire: wire.into(), head_len, file: None, metadata, settled }
    }

    /// Head fields and the empty line.
    pub(super) fn head(&self) -> &[u8] {
        &self.wire[..self.head_len]
    }

    /// Head fields, the empty line, and the body if it is in memory.
    pub(super) fn wire(&self) -> &Rc<[u8]> {
        &self.wire
    }

    /// Where the body is, if it is not in memory, and its length.
    pub(super) fn file(&self) -> Option<(&Arc<File>, u64)> {
        self.file.as_ref().map(|file| (file, self.metadata.len))
    }

    /// Whether a file that was opened anew is the one that this page was made of.
    pub(super) fn is_of(&self, file: &File) -> bool {
        self.settled && self.metadata == *file.metadata()
    }
}

impl Resource {
    /// Memory that the record holds, for the cache's bound.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Page(page) => size_of::<Self>() + page.wire.len(),
            Self::Directory | Self::Refused(_) => size_of::<Self>(),
        }
    }
}

/// The head fields that a file decides, and the empty line.
pub(super) fn head_fields(name: &[u8], metadata: &Metadata, now: SystemTime) -> Vec<u8> {
    let mut head =
        format!("Content-Type: {}\r\nContent-Length: {}\r\n", content_type(name), metadata.len);
    let (seconds, nanoseconds) = metadata.modified;
    if seconds > EPOCH_END {
        let modified = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanoseconds);
        // RFC 9110 section 8.8.2.1: never later than the answer's own date.
        let date = httpdate::fmt_http_date(modified.min(now));
        let weak = if is_settled(metadata, now) { "" } else { "W/" };
        let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        let tag = format!("{weak}\"{nanoseconds:x}-{:x}\"", metadata.len);
        head.push_str(&format!("Last-Modified: {date}\r\nETag: {tag}\r\n"));
    }
    head.push_str("X-Content-Type-Options: nosniff\r\n\r\n");
    head.into_bytes()
}

/// The status for a file that could not be opened; as an error when that may pass, so that nobody
/// should remember it.
pub(super) fn status_of(error: &io::Error) -> Result<Status, Status> {
    match error.raw_os_error() {
        Some(
            libc::ENOENT
            | libc::ENOTDIR
            | libc::ENAMETOOLONG
            // What is neither file nor directory and has nobody behind it.
            | libc::ENXIO
            | libc::ENODEV,
        ) => Ok(Status::NotFound),
        // EXDEV and ELOOP: a link leads out of the root, or in circles.
        Some(libc::EACCES | libc::EPERM | libc::ELOOP | libc::EXDEV) => Ok(Status::Forbidden),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => {
            Err(Status::ServiceUnavailable)
        }
        _ if error.kind() == io::ErrorKind::ResourceBusy => Err(Status::ServiceUnavailable),
        _ => Err(Status::InternalServerError),
    }
}

fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let (seconds, nanoseconds) = metadata.modified.max(metadata.changed);
    let changed = UNIX_EPOCH + Duration::new(seconds.max(0).unsigned_abs(), nanoseconds);
    now.duration_since(changed).is_ok_and(|age| age > SETTLED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::FileKind;

    const NOW: Duration = Duration::from_secs(1_000_000_000);

    fn head(modified: (i64, u32)) -> String {
        let metadata = Metadata {
            kind: FileKind::Regular,
            len: 255,
            modified,
            changed: modified,
            inode: 1,
            device: 1,
        };
        String::from_utf8(head_fields(b"a.txt", &metadata, UNIX_EPOCH + NOW)).unwrap()
    }

    #[test]
    fn a_page_has_type_length_date_and_tag() {
        assert_eq!(
            head((784_111_777, 1)),
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 255\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"ae1b981bc490a01-ff\"\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n"
        );
    }

    #[test]
    fn times_at_the_epoch_are_no_times() {
        for seconds in [0, 1, -5] {
            let head = head((seconds, 0));
            assert!(!head.contains("Last-Modified") && !head.contains("ETag"), "{head}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_given_as_now() {
        let now = httpdate::fmt_http_date(UNIX_EPOCH + NOW);
        assert!(head((2_000_000_000, 0)).contains(&format!("Last-Modified: {now}\r\n")));
    }

    #[test]
    fn the_tag_of_a_file_that_just_changed_is_weak() {
        assert!(head((1_000_000_000 - 1, 0)).contains("ETag: W/\""));
        assert!(head((1_000_000_000 - 3, 0)).contains("ETag: \""));
    }

    #[test]
    fn errors_of_opening_become_statuses() {
        let cases = [
            (libc::ENOENT, Ok(Status::NotFound)),
            (libc::ENOTDIR, Ok(Status::NotFound)),
            (libc::ENAMETOOLONG, Ok(Status::NotFound)),
            (libc::ENXIO, Ok(Status::NotFound)),
            (libc::EACCES, Ok(Status::Forbidden)),
            (libc::EXDEV, Ok(Status::Forbidden)),
            (libc::ELOOP, Ok(Status::Forbidden)),
            (libc::EMFILE, Err(Status::ServiceUnavailable)),
            (libc::EIO, Err(Status::InternalServerError)),
        ];
        for (code, status) in cases {
            assert_eq!(status_of(&io::Error::from_raw_os_error(code)), status, "{code}");
        }
    }
}
