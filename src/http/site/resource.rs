//! What a name turned out to be, prepared for answering: the record that the cache keeps.
//!
//! The head fields of a page depend on the file alone, so they are written once, in an order that
//! lets every kind of answer take what it needs as one slice. A small body stands right behind
//! them, and both leave in one piece.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::driver::{File, Metadata};
use crate::files::Weight;
use crate::http::semantics::negotiate::{Coding, Codings};
use crate::http::semantics::status::Status;
use crate::http::semantics::validator::{EntityTag, Modified, Validators};

#[cfg(test)]
mod tests;

/// A file that changed less than this before it was looked at may change again without its time
/// stamps telling: the kernel's clock for them has a grain. Until then, a page is read anew
/// whenever it expires, and its entity tag is weak.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Time stamps up to here are not times: reproducible archives set them to 0 or 1.
const EPOCH_END: i64 = 1;

/// What a name is.
#[derive(Debug)]
pub(in crate::http) enum Resource {
    /// Content.
    Page(Page),
    /// Content under another address, which is this path.
    Moved(Box<str>),
    /// A directory whose entries are shown.
    Listing,
    /// Nothing that is served.
    Refused(Status),
}

/// A file as it is, and as the files beside it hold it in other codings.
#[derive(Debug)]
pub(in crate::http) struct Page {
    /// Of the plain file, relative to the root: type and fields depend on it.
    path: Box<[u8]>,
    plain: Variant,
    encoded: Vec<(Coding, Variant)>,
    codings: Codings,
}

/// Content in one coding, ready to be answered with.
#[derive(Debug)]
pub(in crate::http) struct Variant {
    /// Head fields, the empty line, and the body if it is in memory.
    wire: Rc<[u8]>,
    marks: Marks,
    len: u64,
    /// Where the body is if it is not in memory.
    file: Option<Arc<File>>,
    /// What the file was when it was opened; `None` if there is no file, and no range of it.
    origin: Option<Metadata>,
    settled: bool,
    modified: Option<Modified>,
}

/// Head fields in the making, and where each group of them begins.
#[derive(Debug)]
pub(in crate::http) struct Head {
    bytes: Vec<u8>,
    marks: Marks,
}

/// ```text
/// Content-Length | Content-Type | Content-Encoding | Accept-Ranges, Last-Modified
///   | ETag | Vary, fields by rule, nosniff, empty line | body
/// ```
#[derive(Clone, Copy, Default, Debug)]
struct Marks {
    kind: u32,
    coding: u32,
    ranges: u32,
    tag: u32,
    rest: u32,
    body: u32,
}

/// What the head fields of content say.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Description<'a> {
    pub(in crate::http) content_type: &'a str,
    pub(in crate::http) coding: Option<Coding>,
    /// What the answer depends on besides the address: the value of `Vary`, or nothing.
    pub(in crate::http) vary: &'a str,
    /// Complete lines that the operator's rules add.
    pub(in crate::http) fields: &'a str,
}

impl Head {
    /// The head of a file's content.
    pub(in crate::http) fn of_file(
        about: Description<'_>,
        metadata: &Metadata,
        now: SystemTime,
    ) -> Self {
        let modified = modified(metadata);
        let date = modified.map(|_| {
            let (seconds, nanoseconds) = metadata.modified;
            let modified = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanoseconds);
            // RFC 9110 section 8.8.2.1: never later than the answer's own date.
            let date = httpdate::fmt_http_date(modified.min(now));
            format!("Last-Modified: {date}\r\n")
        });
        let ranges = format!("Accept-Ranges: bytes\r\n{}", date.as_deref().unwrap_or_default());
        let tag = modified.map(|_| {
            let (seconds, nanoseconds) = metadata.modified;
            let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            let weak = if is_settled(metadata, now) { "" } else { "W/" };
            // Each coding has tags of its own (RFC 9110 section 8.8.3.3).
            let (dash, coding) = about.coding.map_or(("", ""), |coding| ("-", coding.name()));
            format!("{weak}\"{nanoseconds:x}-{:x}{dash}{coding}\"", metadata.len)
        });
        Self::write(about, metadata.len, &ranges, tag.as_deref())
    }

    fn write(about: Description<'_>, len: u64, ranges: &str, tag: Option<&str>) -> Self {
        let mut bytes = format!("Content-Length: {len}\r\n").into_bytes();
        let mut add = |parts: &[&str]| {
            let start = bytes.len() as u32;
            parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
            start
        };
        let kind = add(&["Content-Type: ", about.content_type, "\r\n"]);
        let coding = match about.coding {
            Some(coding) => add(&["Content-Encoding: ", coding.name(), "\r\n"]),
            None => add(&[]),
        };
        let ranges = add(&[ranges]);
        let tag = match tag {
            Some(tag) => add(&["ETag: ", tag, "\r\n"]),
            None => add(&[]),
        };
        let rest = match about.vary {
            "" => add(&[]),
            vary => add(&["Vary: ", vary, "\r\n"]),
        };
        add(&[about.fields, "X-Content-Type-Options: nosniff\r\n\r\n"]);
        let body = bytes.len() as u32;
        Self { bytes, marks: Marks { kind, coding, ranges, tag, rest, body } }
    }

    /// The head with room for `room` bytes of a body behind it.
    pub(in crate::http) fn into_buffer(self, room: usize) -> (Vec<u8>, HeadMarks) {
        let mut bytes = self.bytes;
        bytes.reserve_exact(room);
        (bytes, HeadMarks(self.marks))
    }
}

/// Where the groups of a head are, while its bytes are away.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct HeadMarks(Marks);

impl HeadMarks {
    /// Bytes of the head.
    pub(in crate::http) fn len(self) -> usize {
        self.0.body as usize
    }
}

impl Variant {
    /// Content that stays in the file: `wire` is the head.
    pub(in crate::http) fn of_file(
        wire: &[u8],
        marks: HeadMarks,
        file: Arc<File>,
        now: SystemTime,
    ) -> Self {
        let metadata = *file.metadata();
        Self::new(wire, marks, Some(file), metadata, now)
    }

    /// Content in memory: `wire` is the head with the body behind it.
    pub(in crate::http) fn of_memory(
        wire: &[u8],
        marks: HeadMarks,
        metadata: Metadata,
        now: SystemTime,
    ) -> Self {
        Self::new(wire, marks, None, metadata, now)
    }

    fn new(
        wire: &[u8],
        marks: HeadMarks,
        file: Option<Arc<File>>,
        metadata: Metadata,
        now: SystemTime,
    ) -> Self {
        let settled = is_settled(&metadata, now);
        Self {
            wire: wire.into(),
            marks: marks.0,
            len: metadata.len,
            file,
            origin: Some(metadata),
            settled,
            // As it is sent: not later than the answer's own date.
            modified: modified(&metadata).map(|seconds| {
                let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                Modified { seconds: seconds.min(now), is_strong: settled }
            }),
        }
    }

    /// Content that was made here. Its tag is made of the content, and weak, because nothing
    /// promises that the same entries are always written the same way.
    pub(in crate::http) fn made(about: Description<'_>, body: &[u8]) -> Self {
        use std::hash::BuildHasher;
        let hash = foldhash::quality::FixedState::default().hash_one(body);
        let tag = format!("W/\"{hash:x}\"");
        let head = Head::write(about, body.len() as u64, "", Some(&tag));
        let (mut wire, marks) = head.into_buffer(body.len());
        wire.extend_from_slice(body);
        Self {
            wire: wire.into(),
            marks: marks.0,
            len: body.len() as u64,
            file: None,
            origin: None,
            settled: false,
            modified: None,
        }
    }

    fn slice(&self, range: Range<u32>) -> &[u8] {
        &self.wire[range.start as usize..range.end as usize]
    }

    /// All head fields and the empty line.
    pub(in crate::http) fn head(&self) -> &[u8] {
        self.slice(0..self.marks.body)
    }

    /// Head fields, the empty line, and the body if it is in memory.
    pub(in crate::http) fn wire(&self) -> &Rc<[u8]> {
        &self.wire
    }

    /// The value of `Content-Type`.
    pub(in crate::http) fn content_type(&self) -> &[u8] {
        let line = self.slice(self.marks.kind..self.marks.coding);
        &line[b"Content-Type: ".len()..line.len() - 2]
    }

    /// Length and type, without what tells one version from another: for an error's body.
    pub(in crate::http) fn length_type_and_coding(&self) -> &[u8] {
        self.slice(0..self.marks.ranges)
    }

    /// Everything but the length: for one range.
    pub(in crate::http) fn head_from_type(&self) -> &[u8] {
        self.slice(self.marks.kind..self.marks.body)
    }

    /// Everything but length and type: for many ranges.
    pub(in crate::http) fn head_from_coding(&self) -> &[u8] {
        self.slice(self.marks.coding..self.marks.body)
    }

    /// What an answer without content says of it (RFC 9110 section 15.4.5).
    pub(in crate::http) fn head_from_tag(&self) -> &[u8] {
        self.slice(self.marks.tag..self.marks.body)
    }

    /// What does not tell one version from another, and the empty line.
    pub(in crate::http) fn head_from_rest(&self) -> &[u8] {
        self.slice(self.marks.rest..self.marks.body)
    }

    /// The body if it is in memory.
    pub(in crate::http) fn body(&self) -> &[u8] {
        &self.wire[self.marks.body as usize..]
    }

    /// Where the body is, if it is not in memory.
    pub(in crate::http) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// Bytes of the body.
    pub(in crate::http) fn len(&self) -> u64 {
        self.len
    }

    /// Whether parts of it may be asked for.
    pub(in crate::http) fn has_ranges(&self) -> bool {
        self.origin.is_some()
    }

    /// What conditions are judged by.
    pub(in crate::http) fn validators(&self) -> Validators<'_> {
        let line = self.slice(self.marks.tag..self.marks.rest);
        let tag = line.strip_prefix(b"ETag: ").and_then(|value| value.strip_suffix(b"\r\n"));
        Validators { tag: tag.and_then(EntityTag::parse), modified: self.modified }
    }

    /// Whether a file that was opened anew is the one that this was made of.
    fn is_of(&self, file: &File) -> bool {
        self.settled && self.origin.as_ref() == Some(file.metadata())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.wire.len()
    }
}

impl Page {
    /// The page of the file at a path; the codings are those of the files beside it.
    pub(in crate::http) fn new(
        path: &[u8],
        plain: Variant,
        encoded: Vec<(Coding, Variant)>,
    ) -> Self {
        let codings = encoded.iter().map(|(coding, _)| *coding).collect();
        Self { path: path.into(), plain, encoded, codings }
    }

    /// The codings there are, besides none.
    pub(in crate::http) fn codings(&self) -> Codings {
        self.codings
    }

    /// The content in a coding that there is; else as it is.
    pub(in crate::http) fn variant(&self, coding: Option<Coding>) -> &Variant {
        let encoded = coding.and_then(|coding| {
            self.encoded.iter().find(|(other, _)| *other == coding).map(|(_, variant)| variant)
        });
        encoded.unwrap_or(&self.plain)
    }

    /// Whether files that were opened anew are those that this page was made of.
    pub(in crate::http) fn is_of(
        &self,
        path: &[u8],
        plain: &File,
        encoded: &[(Coding, Arc<File>)],
    ) -> bool {
        *self.path == *path
            && self.plain.is_of(plain)
            && self.encoded.len() == encoded.len()
            && self
                .encoded
                .iter()
                .zip(encoded)
                .all(|((coding, variant), (other, file))| coding == other && variant.is_of(file))
    }

    fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.plain).chain(self.encoded.iter().map(|(_, variant)| variant))
    }
}

impl Resource {
    /// What the record holds under a key, for the cache's bounds.
    pub(in crate::http) fn weight(&self, key: &[u8]) -> Weight {
        let own = size_of::<Self>() + key.len();
        match self {
            Self::Page(page) => Weight {
                bytes: own + page.path.len() + page.variants().map(Variant::bytes).sum::<usize>(),
                files: page.variants().filter(|variant| variant.file.is_some()).count(),
            },
            Self::Moved(location) => Weight { bytes: own + location.len(), files: 0 },
            Self::Listing | Self::Refused(_) => Weight { bytes: own, files: 0 },
        }
    }
}

/// The status for a file that could not be opened; as an error when that may pass, so that nobody
/// should remember it.
pub(in crate::http) fn status_of(error: &io::Error) -> Result<Status, Status> {
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

/// Whether an error is one that closing files mends.
pub(in crate::http) fn is_short_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let (seconds, nanoseconds) = metadata.modified.max(metadata.changed);
    let changed = UNIX_EPOCH + Duration::new(seconds.max(0).unsigned_abs(), nanoseconds);
    now.duration_since(changed).is_ok_and(|age| age > SETTLED_AFTER)
}

/// Whole seconds since the epoch, if the time stamp means anything.
fn modified(metadata: &Metadata) -> Option<u64> {
    let seconds = metadata.modified.0;
    (seconds > EPOCH_END).then_some(seconds.unsigned_abs())
}
