//! What the entity tags of files are made of.
//!
//! | `TagSource` | the tag of a file |
//! | --- | --- |
//! | `Stat` | its modification time and length: the tag costs nothing (`resource.rs`) |
//! | `Content` | a hash of its bytes: servers with the same files have the same tags |
//! | `Off` | none |
//!
//! A tag of content is made when the page is loaded, and once for each state of the file. The bytes
//! of small files are in memory then. A larger file is read by a job on another thread, for which
//! the lookup waits. It has no tag if it is longer than [`HASHED_BYTES_MAX`] or changes meanwhile,
//! or if too many jobs wait; then `Last-Modified` is its validator. Replicas of a site have the
//! same bytes, but other times: with a tag, `Last-Modified` is left out by default.

use std::io;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::ask::Ask;
use crate::driver::{File, Job};
use crate::http::semantics::negotiate::Coding;

/// The longest file that is read to make its tag.
pub(super) const HASHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many jobs that make tags a worker has at a time. A driver queues 16 jobs, and the others are
/// for listings.
const JOBS_MAX: usize = 8;

/// The tag of an empty file. It is the same whatever its coding is by name: there is no compressed
/// file beside an empty one, so no other form of it has this tag.
const EMPTY: &str = "\"c99aa06d3014798d86001c324468d497f\"";

/// What the entity tags of files are made of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TagSource {
    /// The modification time and the length.
    #[default]
    Stat,
    /// The bytes.
    Content,
    /// There are no entity tags.
    Off,
}

/// The tag of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileTag<'a> {
    /// Made of the metadata.
    OfStat,
    /// This one, with its quotation marks.
    Known(&'a str),
    /// None.
    None,
    /// None for now: there will be one when the file is loaded again.
    Unknown,
}

/// The validators of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileValidators<'a> {
    pub(super) tag: FileTag<'a>,
    /// Whether it has `Last-Modified`.
    pub(super) has_date: bool,
}

impl<'a> FileTag<'a> {
    /// The tag that was just made. One that could not be made now is made later.
    pub(super) fn of(made: Option<&'a str>) -> Self {
        made.map_or(Self::Unknown, Self::Known)
    }
}

impl FileValidators<'_> {
    /// Those of a file whose tag is made of its metadata.
    #[cfg(test)]
    pub(super) const OF_STAT: Self = Self { tag: FileTag::OfStat, has_date: true };
}

impl TagSource {
    /// The validators of a file whose tag is `tag` if tags are made of content. With `dated`, it
    /// always has `Last-Modified`.
    pub(super) fn validators(self, tag: FileTag<'_>, dated: bool) -> FileValidators<'_> {
        match self {
            Self::Stat => FileValidators { tag: FileTag::OfStat, has_date: true },
            Self::Off => FileValidators { tag: FileTag::None, has_date: true },
            Self::Content => {
                let has_date = dated || !matches!(tag, FileTag::Known(_));
                FileValidators { tag, has_date }
            }
        }
    }
}

/// The tag of bytes in memory.
pub(super) fn tag_of(bytes: &[u8], coding: Option<Coding>) -> String {
    tag_of_hash(xxh3_128(bytes), coding)
}

/// Tags must differ between codings even if the bytes do not (RFC 9110 section 8.8.3.3).
fn tag_of_hash(hash: u128, coding: Option<Coding>) -> String {
    let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.name()));
    format!("\"c{hash:032x}{dash}{coding}\"")
}

/// The jobs of a worker that make tags.
#[derive(Default, Debug)]
pub(super) struct TagJobs {
    /// Each job that has not ended owns a clone.
    turns: Arc<()>,
}

impl TagJobs {
    /// What gives the tag of a file: its bytes if it `is_small`, or a job. If the file is the same
    /// as before, `known` is its tag.
    pub(super) fn begin<'a>(
        &self,
        file: &Arc<File>,
        is_small: bool,
        known: Option<&'a str>,
    ) -> TagStep<'a> {
        let len = file.metadata().len;
        if len == 0 {
            return TagStep::Done(FileTag::Known(EMPTY));
        }
        if is_small {
            // The capacity for one more byte shows if the file has grown.
            let buffer = Vec::with_capacity(len as usize + 1);
            return TagStep::Ask(Ask::Read { file: Arc::clone(file), offset: 0, buffer });
        }
        if let Some(tag) = known {
            return TagStep::Done(FileTag::Known(tag));
        }
        if len > HASHED_BYTES_MAX {
            return TagStep::Done(FileTag::None);
        }
        match self.job(file) {
            Some(job) => TagStep::Ask(Ask::Run { job }),
            None => TagStep::Done(FileTag::Unknown),
        }
    }

    /// A job that makes the hash for [`tag_of_job`]; `None` if too many have not ended.
    fn job(&self, file: &Arc<File>) -> Option<Job> {
        if Arc::strong_count(&self.turns) > JOBS_MAX {
            return None;
        }
        let (turn, file) = (Arc::clone(&self.turns), Arc::clone(file));
        Some(Job::new(move || {
            let mut hasher = Xxh3::new();
            let is_same = file.read_through(|piece| hasher.update(piece))?;
            drop(turn);
            Ok(if is_same { hasher.digest128().to_be_bytes().to_vec() } else { Vec::new() })
        }))
    }
}

/// What gives the tag of a file.
#[derive(Debug)]
pub(super) enum TagStep<'a> {
    /// The reply to this question.
    Ask(Ask),
    /// Nothing more.
    Done(FileTag<'a>),
}

/// The tag by the result of a job. `None` if the file has changed meanwhile, or if the job was
/// refused because too many wait.
///
/// # Errors
///
/// Those of reading the file.
pub(super) fn tag_of_job(
    ran: io::Result<Vec<u8>>,
    coding: Option<Coding>,
) -> io::Result<Option<String>> {
    match ran {
        Ok(hash) => {
            let hash = <[u8; 16]>::try_from(hash).ok();
            Ok(hash.map(|hash| tag_of_hash(u128::from_be_bytes(hash), coding)))
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::driver::Links;

    /// The values are those of `xxhsum -H2`.
    #[test]
    fn a_tag_is_the_hash_of_the_bytes() {
        assert_eq!(tag_of(b"", None), EMPTY);
        let coded = EMPTY.replace("7f\"", "7f-br\"");
        assert_eq!(tag_of(b"", Some(Coding::Brotli)), coded);
        assert_ne!(tag_of(b"a", None), tag_of(b"b", None));
    }

    #[test]
    fn a_job_makes_the_same_tag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open_root(&path, Links::Beneath).unwrap());
        let jobs = TagJobs::default();
        let ran = jobs.job(&file).unwrap().perform();
        let tag = tag_of_job(ran, Some(Coding::Gzip)).unwrap();
        assert_eq!(tag, Some(tag_of(&content, Some(Coding::Gzip))));
        fs::write(&path, "other").unwrap();
        let ran = jobs.job(&file).unwrap().perform();
        assert_eq!(tag_of_job(ran, None).unwrap(), None, "the file has changed");
        let busy = Err(io::ErrorKind::ResourceBusy.into());
        assert_eq!(tag_of_job(busy, None).unwrap(), None);
        assert!(tag_of_job(Err(io::Error::other("a disk")), None).is_err());
    }

    #[test]
    fn jobs_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
        let jobs = TagJobs::default();
        let mut begun: Vec<_> = std::iter::from_fn(|| jobs.job(&file)).take(100).collect();
        assert_eq!(begun.len(), JOBS_MAX);
        begun.pop();
        assert!(jobs.job(&file).is_some(), "a job that is dropped has ended");
    }

    #[test]
    fn the_source_decides_the_validators() {
        let (known, large) = (FileTag::Known("\"c\""), FileTag::None);
        for (etag, dated, tag, expected) in [
            (TagSource::Stat, false, large, (FileTag::OfStat, true)),
            (TagSource::Off, false, large, (FileTag::None, true)),
            (TagSource::Content, false, known, (known, false)),
            (TagSource::Content, true, known, (known, true)),
            (TagSource::Content, false, large, (FileTag::None, true)),
            (TagSource::Content, false, FileTag::Unknown, (FileTag::Unknown, true)),
        ] {
            let FileValidators { tag, has_date } = etag.validators(tag, dated);
            assert_eq!((tag, has_date), expected, "{etag:?}");
        }
    }
}
