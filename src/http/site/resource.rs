//! What a name turned out to be, prepared for answering: the record that the cache keeps.
//!
//! The fields of a page depend on the file alone, so they are made once, in an order that lets
//! every kind of answer take what it needs as one run. A small body lies right behind them in the
//! same memory.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cache::Weight;
use crate::driver::{File, Metadata};
use crate::http::semantics::fields::{FieldTable, Fields, PreparedFields};
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
pub enum Resource {
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
pub struct Page {
    /// Of the plain file, relative to the root: type and fields depend on it.
    path: Box<[u8]>,
    plain: Variant,
    encoded: Vec<(Coding, Variant)>,
    codings: Codings,
}

/// Content in one coding, ready to be answered with. A clone shares its memory.
#[derive(Clone, Debug)]
pub(in crate::http) struct Variant {
    /// Its fields, and the body if it is in memory.
    prepared: Rc<PreparedFields>,
    groups: Groups,
    len: u64,
    /// Where the body is if it is not in memory.
    file: Option<Arc<File>>,
    /// What the file was when it was opened; `None` if there is no file, and no range of it.
    origin: Option<Metadata>,
    settled: bool,
    modified: Option<Modified>,
}

/// Fields in the making, and where each group of them begins.
#[derive(Debug)]
pub(super) struct VariantHead {
    fields: Fields,
    groups: Groups,
}

/// The number of the first field of each group.
///
/// ```text
/// Content-Length | Content-Type | Content-Encoding | Accept-Ranges, Last-Modified
///   | ETag | Vary, fields by rule, nosniff
/// ```
#[derive(Clone, Copy, Default, Debug)]
struct Groups {
    kind: u8,
    coding: u8,
    ranges: u8,
    tag: u8,
    rest: u16,
}

/// A run of a variant's fields, for an answer that does not say all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum FieldRun {
    /// All.
    All,
    /// Length, type and coding, without what tells one version from another: for an error's body.
    UpToCoding,
    /// Everything but the length: for one range.
    FromType,
    /// Everything but length and type: for many ranges.
    FromCoding,
    /// What an answer without content says of it (RFC 9110 section 15.4.5).
    FromTag,
    /// What does not tell one version from another.
    FromRest,
}

/// What the fields of content say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description<'a> {
    pub(super) content_type: &'a str,
    pub(super) coding: Option<Coding>,
    /// What the answer depends on besides the address: the value of `Vary`, or nothing.
    pub(super) vary: &'a str,
    /// Fields that the operator's rules add.
    pub(super) fields: &'a Fields,
}

impl VariantHead {
    /// The fields of a file's content.
    pub(super) fn of_file(about: Description<'_>, metadata: &Metadata, now: SystemTime) -> Self {
        let modified = modified(metadata);
        let date = modified.map(|_| {
            let (seconds, nanoseconds) = metadata.modified;
            let modified = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanoseconds);
            // RFC 9110 section 8.8.2.1: never later than the answer's own date.
            httpdate::fmt_http_date(modified.min(now))
        });
        let tag = modified.map(|_| {
            let (seconds, nanoseconds) = metadata.modified;
            let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            let weak = if is_settled(metadata, now) { "" } else { "W/" };
            // Each coding has tags of its own (RFC 9110 section 8.8.3.3).
            let (dash, coding) = about.coding.map_or(("", ""), |coding| ("-", coding.name()));
            format!("{weak}\"{nanoseconds:x}-{:x}{dash}{coding}\"", metadata.len)
        });
        Self::make(about, metadata.len, true, date.as_deref(), tag.as_deref())
    }

    fn make(
        about: Description<'_>,
        len: u64,
        has_ranges: bool,
        date: Option<&str>,
        tag: Option<&str>,
    ) -> Self {
        let mut fields = Fields::new();
        fields.push("Content-Length", len);
        let kind = fields.len() as u8;
        fields.push("Content-Type", about.content_type);
        let coding = fields.len() as u8;
        if let Some(coding) = about.coding {
            fields.push("Content-Encoding", coding.name());
        }
        let ranges = fields.len() as u8;
        if has_ranges {
            fields.push("Accept-Ranges", "bytes");
        }
        if let Some(date) = date {
            fields.push("Last-Modified", date);
        }
        let tag_at = fields.len() as u8;
        if let Some(tag) = tag {
            fields.push("ETag", tag);
        }
        let rest = fields.len() as u16;
        if !about.vary.is_empty() {
            fields.push("Vary", about.vary);
        }
        fields.append(about.fields);
        fields.push("X-Content-Type-Options", "nosniff");
        Self { fields, groups: Groups { kind, coding, ranges, tag: tag_at, rest } }
    }

    /// The fields with room for `room` bytes of a body behind them.
    pub(super) fn into_buffer(self, room: usize) -> (Vec<u8>, HeadTable) {
        let (bytes, fields) = self.fields.into_buffer(room);
        (bytes, HeadTable { fields, groups: self.groups })
    }
}

/// Where the fields of a head are, while its bytes are away.
#[derive(Clone, Debug)]
pub(super) struct HeadTable {
    fields: FieldTable,
    groups: Groups,
}

impl HeadTable {
    /// Bytes before the body.
    pub(super) fn len(&self) -> usize {
        self.fields.head_len()
    }
}

impl Variant {
    /// Content that stays in the file: `bytes` is the head.
    pub(super) fn of_file(
        bytes: &[u8],
        table: HeadTable,
        file: Arc<File>,
        now: SystemTime,
    ) -> Self {
        let metadata = *file.metadata();
        Self::new(bytes, table, Some(file), metadata, now)
    }

    /// Content that is in memory, behind the head.
    pub(super) fn of_memory(
        bytes: &[u8],
        table: HeadTable,
        metadata: Metadata,
        now: SystemTime,
    ) -> Self {
        Self::new(bytes, table, None, metadata, now)
    }

    fn new(
        bytes: &[u8],
        table: HeadTable,
        file: Option<Arc<File>>,
        metadata: Metadata,
        now: SystemTime,
    ) -> Self {
        let settled = is_settled(&metadata, now);
        Self {
            prepared: Rc::new(PreparedFields::new(bytes, table.fields)),
            groups: table.groups,
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
    pub(super) fn made(about: Description<'_>, body: &[u8]) -> Self {
        use std::hash::BuildHasher;
        let hash = foldhash::quality::FixedState::default().hash_one(body);
        let tag = format!("W/\"{hash:x}\"");
        let head = VariantHead::make(about, body.len() as u64, false, None, Some(&tag));
        let (mut bytes, table) = head.into_buffer(body.len());
        bytes.extend_from_slice(body);
        Self {
            prepared: Rc::new(PreparedFields::new(&bytes, table.fields)),
            groups: table.groups,
            len: body.len() as u64,
            file: None,
            origin: None,
            settled: false,
            modified: None,
        }
    }

    /// Its fields, and the body if it is in memory.
    pub(in crate::http) fn prepared(&self) -> &Rc<PreparedFields> {
        &self.prepared
    }

    /// Which fields a run has, by number.
    pub(in crate::http) fn run(&self, run: FieldRun) -> std::ops::Range<u16> {
        let (groups, all) = (&self.groups, self.prepared.len() as u16);
        match run {
            FieldRun::All => 0..all,
            FieldRun::UpToCoding => 0..groups.ranges.into(),
            FieldRun::FromType => groups.kind.into()..all,
            FieldRun::FromCoding => groups.coding.into()..all,
            FieldRun::FromTag => groups.tag.into()..all,
            FieldRun::FromRest => groups.rest..all,
        }
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(&self) -> &[u8] {
        let kind = usize::from(self.groups.kind);
        self.prepared.some(kind..kind + 1).iter().next().map_or(&[], |(_, value)| value)
    }

    /// Where the body is, if it is not in memory.
    pub(super) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// Bytes of the body.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether parts of it may be asked for.
    pub(super) fn has_ranges(&self) -> bool {
        self.origin.is_some()
    }

    /// What conditions are judged by.
    pub(super) fn validators(&self) -> Validators<'_> {
        let tag = usize::from(self.groups.tag)..usize::from(self.groups.rest);
        let tag = self.prepared.some(tag).iter().next();
        Validators {
            tag: tag.and_then(|(_, value)| EntityTag::parse(value)),
            modified: self.modified,
        }
    }

    /// Whether a file that was opened anew is the one that this was made of.
    fn is_of(&self, file: &File) -> bool {
        self.settled && self.origin.as_ref() == Some(file.metadata())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<PreparedFields>() + self.prepared.memory()
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
    pub(super) fn codings(&self) -> Codings {
        self.codings
    }

    /// The content in a coding that there is; else as it is.
    pub(super) fn variant(&self, coding: Option<Coding>) -> &Variant {
        let encoded = coding.and_then(|coding| {
            self.encoded.iter().find(|(other, _)| *other == coding).map(|(_, variant)| variant)
        });
        encoded.unwrap_or(&self.plain)
    }

    /// Whether files that were opened anew are those that this page was made of.
    pub(super) fn is_of<'f>(
        &self,
        path: &[u8],
        plain: &File,
        encoded: impl Iterator<Item = (Coding, &'f File)>,
    ) -> bool {
        let own = self.encoded.iter().map(|(coding, variant)| (*coding, variant));
        *self.path == *path
            && self.plain.is_of(plain)
            && own
                .map(Some)
                .chain(std::iter::repeat(None))
                .zip(encoded.map(Some).chain([None]))
                .all(|pair| match pair {
                    (Some((coding, variant)), Some((other, file))) => {
                        coding == other && variant.is_of(file)
                    }
                    (own, other) => own.is_none() && other.is_none(),
                })
    }

    fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.plain).chain(self.encoded.iter().map(|(_, variant)| variant))
    }
}

impl Resource {
    /// What the record holds under a key, for the cache's bounds.
    pub(super) fn weight(&self, key: &[u8]) -> Weight {
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
