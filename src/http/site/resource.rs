//! Resources: what a name stands for, with fields prepared for responses. The cache keeps them.
//!
//! The fields of a page depend only on its file, so they are prepared once. Their order lets each
//! kind of response use one or two runs of them. A small body follows the fields in the same
//! buffer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cache::Weight;
use super::demand::Demand;
use super::tags::{FileTag, FileValidators};
use crate::driver::{File, Metadata};
use crate::http::compress::CompressedBody;
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
    pub(super) path: Box<[u8]>,
    pub(super) plain: Variant,
    pub(super) encoded: Vec<(Coding, Variant)>,
    pub(super) codings: Codings,
    /// What may be compressed on the fly; `None` for nothing.
    pub(super) demand: Option<Rc<Demand>>,
}

/// Content in one coding, with prepared fields. Clones share memory.
#[derive(Clone, Debug)]
pub(in crate::http) struct Variant {
    /// The fields, and the body if it is in memory.
    pub(super) prepared: Rc<PreparedFields>,
    pub(super) groups: Groups,
    pub(super) len: u64,
    /// The body, if it is not in memory.
    pub(super) file: Option<Arc<File>>,
    /// The metadata of the file when it was opened. `None` for a listing, which has no ranges.
    pub(super) origin: Option<Metadata>,
    /// Whether the file was older than [`SETTLED_AFTER`], and has all its fields.
    pub(super) settled: bool,
    pub(super) modified: Option<Modified>,
    /// What was compressed on the fly, if this is it; it is not a file of the site.
    pub(super) body: Option<Arc<CompressedBody>>,
}

/// The fields of a variant, before they are put into a buffer.
#[derive(Debug)]
pub(super) struct VariantHead {
    fields: Fields,
    groups: Groups,
    has_date: bool,
    /// Whether the tag is not still to be made.
    is_final: bool,
}

/// The number of the first field of each group.
///
/// ```text
/// Content-Length | Content-Type | Content-Encoding | Accept-Ranges, Last-Modified
///   | ETag | Vary, fields by rule, nosniff
/// ```
///
/// Without a tag, `Last-Modified` is in its group.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Groups {
    pub(super) kind: u8,
    pub(super) coding: u8,
    pub(super) ranges: u8,
    pub(super) tag: u8,
    pub(super) rest: u16,
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
    pub(super) fn of_file(
        about: Description<'_>,
        metadata: &Metadata,
        now: SystemTime,
        validators: FileValidators<'_>,
    ) -> Self {
        let date = last_modified(metadata, now).filter(|_| validators.has_date);
        let date = date.and_then(format_date).map(|date| date.to_string());
        let of_stat = || {
            modified(metadata).map(|_| {
                let (seconds, nanoseconds) = metadata.modified;
                let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
                let weak = if is_settled(metadata, now) { "" } else { "W/" };
                // Tags must differ between codings (RFC 9110 section 8.8.3.3).
                let (dash, coding) = about.coding.map_or(("", ""), |coding| ("-", coding.name()));
                format!("{weak}\"{nanoseconds:x}-{:x}{dash}{coding}\"", metadata.len)
            })
        };
        let tag = match validators.tag {
            FileTag::OfStat => of_stat(),
            FileTag::Known(tag) => Some(tag.to_owned()),
            FileTag::None | FileTag::Unknown => None,
        };
        let head = Self::make(about, metadata.len, true, date.as_deref(), tag.as_deref());
        let is_final = validators.tag != FileTag::Unknown;
        Self { is_final, has_date: validators.has_date, ..head }
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
        let date_at = fields.len() as u8;
        if let Some(date) = date {
            fields.push("Last-Modified", date);
        }
        // A 304 without a tag says the date instead (RFC 9110 section 15.4.5).
        let tag_at = if tag.is_none() { date_at } else { fields.len() as u8 };
        if let Some(tag) = tag {
            fields.push("ETag", tag);
        }
        let rest = fields.len() as u16;
        if !about.vary.is_empty() {
            fields.push("Vary", about.vary);
        }
        fields.append(about.fields);
        fields.push("X-Content-Type-Options", "nosniff");
        let groups = Groups { kind, coding, ranges, tag: tag_at, rest };
        Self { fields, groups, has_date: true, is_final: true }
    }

    /// A buffer of the fields, with room for a body of `room` bytes.
    pub(super) fn into_buffer(self, room: usize) -> (Vec<u8>, HeadTable) {
        let Self { groups, has_date, is_final, .. } = self;
        let (bytes, fields) = self.fields.into_buffer(room);
        (bytes, HeadTable { fields, groups, has_date, is_final })
    }
}

/// The positions of a variant's fields in a buffer that is used elsewhere for now.
#[derive(Clone, Debug)]
pub(super) struct HeadTable {
    fields: FieldTable,
    groups: Groups,
    has_date: bool,
    is_final: bool,
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
            settled: settled && table.is_final,
            modified: last_modified(&metadata, now)
                .filter(|_| table.has_date)
                .map(|seconds| Modified { seconds, is_strong: settled }),
            body: None,
        }
    }

    /// Generated content. Its tag, if it has one, is a hash of the content, and weak, because
    /// another version of this program may generate equivalent content with other bytes.
    pub(super) fn made(about: Description<'_>, body: &[u8], has_tag: bool) -> Self {
        use std::hash::BuildHasher;
        let hash = foldhash::quality::FixedState::default().hash_one(body);
        let tag = has_tag.then(|| format!("W/\"{hash:x}\""));
        let head = VariantHead::make(about, body.len() as u64, false, None, tag.as_deref());
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
            body: None,
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
        Validators { tag: self.tag_bytes().and_then(EntityTag::parse), modified: self.modified }
    }

    /// The value of `ETag`.
    pub(super) fn tag(&self) -> Option<&str> {
        self.validators().tag.and(self.tag_bytes()).and_then(|tag| std::str::from_utf8(tag).ok())
    }

    fn tag_bytes(&self) -> Option<&[u8]> {
        let fields = self.prepared.some(self.groups.tag.into()..self.groups.rest.into());
        fields.iter().next().map(|(_, value)| value)
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
        let mut page = Self { path: path.into(), plain, encoded, codings, demand: None };
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
        // What was compressed on the fly is judged by the plain file alone.
        let files = self.encoded.iter().filter(|(_, variant)| variant.body.is_none());
        let own = files.map(|(coding, variant)| (*coding, variant));
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

    /// Whether the page is the file at this path itself, relative to the root.
    pub(super) fn is_at(&self, path: &[u8]) -> bool {
        path == &*self.path
    }

    /// The open file of the variant in this coding, if it is the same file, unchanged.
    pub(super) fn same_file(&self, coding: Option<Coding>, file: &File) -> Option<&Arc<File>> {
        let own = self.own(coding)?.file();
        own.filter(|own| own.metadata() == file.metadata())
    }

    /// The tag of the variant in this coding, if it is of the same file, unchanged.
    pub(super) fn same_tag(&self, coding: Option<Coding>, file: &File) -> Option<&str> {
        self.own(coding).filter(|own| own.is_of(file))?.tag()
    }

    /// The variant in exactly this coding.
    fn own(&self, coding: Option<Coding>) -> Option<&Variant> {
        match coding {
            None => Some(&self.plain),
            Some(_) => {
                self.encoded.iter().find(|(other, _)| Some(*other) == coding).map(|(_, own)| own)
            }
        }
    }

    /// The files of the site that the page keeps open.
    fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.variants().filter(|variant| variant.body.is_none()).filter_map(Variant::file)
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
        page.into_iter().flat_map(Page::files)
    }

    /// The weight of the resource and its key in the cache.
    pub(super) fn weight(&self, key: &[u8]) -> Weight {
        let own = size_of::<Self>() + key.len();
        match self {
            Self::Page(page) => Weight {
                bytes: own + page.path.len() + page.variants().map(Variant::bytes).sum::<usize>(),
                files: page.files().count(),
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
