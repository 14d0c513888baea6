//! Resources: what a name stands for, with fields prepared for responses. The cache keeps them.
//!
//! The fields of a page depend only on its file, so they are prepared once. Their order lets each
//! kind of response use one or two runs of them. A small body follows the fields in the same
//! buffer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cache::Weight;
use crate::driver::{File, Metadata};
use crate::http::semantics::date::{clock_seconds, format_date};
use crate::http::semantics::fields::{FieldTable, Fields, PreparedFields};
use crate::http::semantics::negotiate::{Coding, Codings};
use crate::http::semantics::status::Status;
use crate::http::semantics::validator::{EntityTag, Modified, Validators};

#[cfg(test)]
mod tests;

/// The kernel's clock for time stamps is coarse, so a file that has just changed may change again
/// without a new time stamp. Until a file is this old, its page is read again whenever it expires,
/// and has a weak entity tag.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Time stamps up to this one are not meaningful: reproducible archives set them to 0 or 1.
const EPOCH_END: i64 = 1;

/// What a name stands for.
#[derive(Debug)]
pub enum Resource {
    /// A file or a listing.
    Page(Page),
    /// A redirect to this path, which is encoded and begins with `/`.
    Moved(Box<str>),
    /// A directory that may be listed.
    Listing,
    /// An error with this status.
    Refused(Status),
}

/// The content of a file, plain and compressed.
#[derive(Debug)]
pub struct Page {
    /// The path of the plain file, relative to the root. Type and fields depend on it.
    path: Box<[u8]>,
    plain: Variant,
    encoded: Vec<(Coding, Variant)>,
    codings: Codings,
}

/// Content in one coding, with prepared fields. Clones share memory.
#[derive(Clone, Debug)]
pub(in crate::http) struct Variant {
    /// The fields, and the body if it is in memory.
    prepared: Rc<PreparedFields>,
    groups: Groups,
    len: u64,
    /// The body, if it is not in memory.
    file: Option<Arc<File>>,
    /// The metadata of the file when it was opened. `None` for a listing, which has no ranges.
    origin: Option<Metadata>,
    /// Whether the file was older than [`SETTLED_AFTER`].
    settled: bool,
    modified: Option<Modified>,
}

/// The fields of a variant, before they are put into a buffer.
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

/// A run of a variant's fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum FieldRun {
    /// All fields.
    All,
    /// Length, type and coding, for error pages, which have no validators.
    UpToCoding,
    /// All but the length, for one range.
    FromType,
    /// All but length and type, for several ranges.
    FromCoding,
    /// The fields of a response with 304 (RFC 9110 section 15.4.5).
    FromTag,
    /// The fields after the validators, for error pages.
    FromRest,
}

/// The values from which fields are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description<'a> {
    pub(super) content_type: &'a str,
    pub(super) coding: Option<Coding>,
    /// The value of `Vary`. Empty to omit the field.
    pub(super) vary: &'a str,
    /// Fields that rules add.
    pub(super) fields: &'a Fields,
}

impl VariantHead {
    /// The fields of a file.
    pub(super) fn of_file(about: Description<'_>, metadata: &Metadata, now: SystemTime) -> Self {
        let date = last_modified(metadata, now).and_then(format_date);
        let date = date.map(|date| date.to_string());
        let tag = modified(metadata).map(|_| {
            let (seconds, nanoseconds) = metadata.modified;
            let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            let weak = if is_settled(metadata, now) { "" } else { "W/" };
            // Tags must differ between codings (RFC 9110 section 8.8.3.3).
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

    /// A buffer of the fields, with room for a body of `room` bytes.
    pub(super) fn into_buffer(self, room: usize) -> (Vec<u8>, HeadTable) {
        let (bytes, fields) = self.fields.into_buffer(room);
        (bytes, HeadTable { fields, groups: self.groups })
    }
}

/// The positions of a variant's fields in a buffer that is used elsewhere for now.
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
    /// Content that is sent from the file. `bytes` are the fields.
    pub(super) fn of_file(
        bytes: &[u8],
        table: HeadTable,
        file: Arc<File>,
        now: SystemTime,
    ) -> Self {
        let metadata = *file.metadata();
        Self::new(bytes, table, Some(file), metadata, now)
    }

    /// Content that is in memory. `bytes` are the fields and the content.
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
            modified: last_modified(&metadata, now)
                .map(|seconds| Modified { seconds, is_strong: settled }),
        }
    }

    /// Generated content. Its tag is a hash of the content, and weak, because another version of
    /// this program may generate equivalent content with other bytes.
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

    /// The fields, and the body if it is in memory.
    pub(in crate::http) fn prepared(&self) -> &Rc<PreparedFields> {
        &self.prepared
    }

    /// The numbers of the fields in a run.
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

    /// The body, if it is not in memory.
    pub(super) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// The length of the body.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether range requests are supported.
    pub(super) fn has_ranges(&self) -> bool {
        self.origin.is_some()
    }

    /// The validators, for conditional requests.
    pub(super) fn validators(&self) -> Validators<'_> {
        let tag = usize::from(self.groups.tag)..usize::from(self.groups.rest);
        let tag = self.prepared.some(tag).iter().next();
        Validators {
            tag: tag.and_then(|(_, value)| EntityTag::parse(value)),
            modified: self.modified,
        }
    }

    /// `Last-Modified`, in seconds since the epoch.
    fn modified_at(&self) -> Option<u64> {
        self.modified.map(|modified| modified.seconds)
    }

    /// Whether a newly opened file is the one of this variant, unchanged.
    fn is_of(&self, file: &File) -> bool {
        self.settled && self.origin.as_ref() == Some(file.metadata())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<PreparedFields>() + self.prepared.memory()
    }
}

impl Page {
    /// The page of the plain file at `path`, and of the compressed files beside it.
    pub(in crate::http) fn new(
        path: &[u8],
        plain: Variant,
        encoded: Vec<(Coding, Variant)>,
    ) -> Self {
        let codings = encoded.iter().map(|(coding, _)| *coding).collect();
        let mut page = Self { path: path.into(), plain, encoded, codings };
        page.weaken_shared_dates();
        page
    }

    /// Makes the dates weak that several variants have in common. A client that has a part of one
    /// variant would otherwise get the rest of another one (RFC 9110 sections 8.8.2.2 and 13.1.5).
    fn weaken_shared_dates(&mut self) {
        let dates: Vec<_> = self.variants().filter_map(Variant::modified_at).collect();
        let is_shared = |date: u64| dates.iter().filter(|other| **other == date).count() > 1;
        let encoded = self.encoded.iter_mut().map(|(_, variant)| variant);
        for variant in std::iter::once(&mut self.plain).chain(encoded) {
            if let Some(modified) = &mut variant.modified {
                modified.is_strong &= !is_shared(modified.seconds);
            }
        }
    }

    /// The codings of the compressed variants.
    pub(super) fn codings(&self) -> Codings {
        self.codings
    }

    /// The variant in this coding. The plain one if there is none.
    pub(super) fn variant(&self, coding: Option<Coding>) -> &Variant {
        let encoded = coding.and_then(|coding| {
            self.encoded.iter().find(|(other, _)| *other == coding).map(|(_, variant)| variant)
        });
        encoded.unwrap_or(&self.plain)
    }

    /// Whether newly opened files are those of this page, unchanged.
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

    /// The open file of the variant in this coding, if it is the same file, unchanged.
    pub(super) fn same_file(&self, coding: Option<Coding>, file: &File) -> Option<&Arc<File>> {
        let own = match coding {
            None => Some(&self.plain),
            Some(_) => {
                self.encoded.iter().find(|(other, _)| Some(*other) == coding).map(|(_, own)| own)
            }
        };
        own?.file().filter(|own| own.metadata() == file.metadata())
    }

    fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.plain).chain(self.encoded.iter().map(|(_, variant)| variant))
    }
}

impl Resource {
    /// The files that the resource keeps open.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        let page = match self {
            Self::Page(page) => Some(page),
            Self::Moved(_) | Self::Listing | Self::Refused(_) => None,
        };
        page.into_iter().flat_map(Page::variants).filter_map(Variant::file)
    }

    /// The weight of the resource and its key in the cache.
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
    // A time stamp beyond what the clock can say is in the future.
    let since = Duration::new(seconds.max(0).unsigned_abs(), nanoseconds);
    let changed = UNIX_EPOCH.checked_add(since);
    changed
        .and_then(|changed| now.duration_since(changed).ok())
        .is_some_and(|age| age > SETTLED_AFTER)
}

/// `Last-Modified` in seconds since the epoch. Not later than `Date` (RFC 9110 section 8.8.2.1), so
/// there is none without a clock.
fn last_modified(metadata: &Metadata, now: SystemTime) -> Option<u64> {
    Some(modified(metadata)?.min(clock_seconds(now)?))
}

/// Whole seconds since the epoch, if the time stamp is meaningful.
fn modified(metadata: &Metadata) -> Option<u64> {
    let seconds = metadata.modified.0;
    (seconds > EPOCH_END).then_some(seconds.unsigned_abs())
}
