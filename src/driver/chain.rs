//! The content of one send: memory and file ranges, in order (the idea of nginx's `ngx_buf_t`).
//!
//! The session fills a chain, and the driver sends it. Small pieces are copied one behind the
//! other, so the answers of one turn, pipelined ones included, leave as one piece of memory. Larger
//! pieces are held by reference until the send ends. The driver chooses the system calls that send
//! the chain.
//!
//! Invariants: the parts before `part` are sent; of the part `part`, the first `offset` bytes are
//! sent, and at least one byte is not. When all parts are sent, `offset` is 0. No part is empty.
//! The copied parts are adjacent ranges of `copied`, up to its end. A part that was sent does not
//! grow.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::file::File;
use super::pool::Lease;

#[cfg(test)]
mod tests;

/// Memory up to this size is copied rather than referenced: below it, one more `iovec` costs more
/// than the copy.
const COPY_MAX: usize = 8 * 1024;

/// A chain with this much memory, copied or shared, is full. Shared memory counts, because the
/// chain may be its last owner.
const MEMORY_FULL: usize = 64 * 1024;

/// A chain with this many parts is full.
pub(super) const PARTS_FULL: usize = 64;

/// A chain with this many files is full, because it may be the last owner of each descriptor. An
/// answer that does not fill a chain adds at most one file.
pub(crate) const FILES_MAX: u64 = 4;

/// A spare chain keeps at most this much memory.
const KEEP_BYTES: usize = MEMORY_FULL + 2 * COPY_MAX;

/// A chain of parts; see the module documentation.
#[derive(Default)]
pub struct Chain {
    copied: Vec<u8>,
    parts: Vec<ChainPart>,
    part: usize,
    offset: u64,
}

enum ChainPart {
    Copied(Range<usize>),
    /// So much of some bytes.
    Shared(Rc<[u8]>, Range<u32>),
    Leased(Lease),
    File {
        file: Arc<File>,
        range: Range<u64>,
    },
}

/// What a chain wants to send next.
pub(super) enum NextPart<'a> {
    /// Nothing: all is sent.
    Nothing,
    /// The memory parts from here to the next file or the end; `more` says that a file follows.
    Memory { more: bool },
    /// A range of a file.
    File { file: &'a Arc<File>, range: Range<u64> },
}

/// Ranges of a file, each of which begins where the last one ends.
pub(crate) struct FileRun<'a> {
    /// Bytes of memory before the first one.
    pub(crate) before: u64,
    pub(crate) file: &'a Arc<File>,
    /// All of them together.
    pub(crate) range: Range<u64>,
    /// Whether there is memory between them.
    pub(crate) has_gaps: bool,
}

impl Chain {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of `bytes`.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.copy_with(|copied| copied.extend_from_slice(bytes));
    }

    /// Appends what `write` appends to the buffer. `write` leaves the bytes that are there alone.
    pub fn copy_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.copied.len();
        if start > KEEP_BYTES / 4 && self.copied.capacity() < KEEP_BYTES {
            // Doubling would end far beyond what a chain needs.
            self.copied.reserve_exact(KEEP_BYTES - start);
        }
        write(&mut self.copied);
        let end = self.copied.len();
        assert!(end >= start, "a writer may only append");
        if end == start {
            return;
        }
        let all_sent = self.is_empty();
        match self.parts.last_mut() {
            Some(ChainPart::Copied(range)) => {
                assert!(range.end == start, "copied parts have a gap: {} to {start}", range.end);
                assert!(!all_sent, "a part that was sent would grow");
                range.end = end;
            }
            // `push` would make it elsewhere and move it, behind the stores of the copy.
            _ => self.parts.extend(iter::once_with(|| ChainPart::Copied(start..end))),
        }
    }

    /// Whether shared bytes are copied when they are so many.
    pub fn copies(bytes: usize) -> bool {
        bytes <= COPY_MAX
    }

    /// Appends shared bytes: by reference, or as a copy if they are few.
    pub fn share(&mut self, bytes: &Rc<[u8]>) {
        self.share_range(bytes, 0..bytes.len());
    }

    /// Appends a range of shared bytes, which are fewer than 4 GiB: by reference, or as a copy if
    /// the range is short.
    pub fn share_range(&mut self, bytes: &Rc<[u8]>, range: Range<usize>) {
        if Self::copies(range.len()) {
            self.copy(&bytes[range]);
        } else {
            let range = range.start as u32..range.end as u32;
            self.parts.push(ChainPart::Shared(Rc::clone(bytes), range));
        }
    }

    /// Appends a received buffer, which returns to its pool when the chain is sent.
    pub fn lend(&mut self, lease: Lease) {
        if !lease.is_empty() {
            self.parts.push(ChainPart::Leased(lease));
        }
    }

    /// Appends a range of a file, in bytes.
    pub fn file(&mut self, file: &Arc<File>, range: Range<u64>) {
        if !range.is_empty() {
            self.parts.push(ChainPart::File { file: Arc::clone(file), range });
        }
    }

    /// Whether the session should have the chain sent before it adds more.
    pub fn is_full(&self) -> bool {
        let files = self.parts.iter().filter(|part| matches!(part, ChainPart::File { .. }));
        self.copied.len() + self.shared_bytes() >= MEMORY_FULL
            || self.parts.len() >= PARTS_FULL
            || files.count() as u64 >= FILES_MAX
    }

    fn shared_bytes(&self) -> usize {
        let shared = self.parts.iter().map(|part| match part {
            ChainPart::Shared(_, range) => range.len(),
            _ => 0,
        });
        shared.sum()
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.part == self.parts.len()
    }

    /// Bytes that are left to send.
    pub fn remaining(&self) -> u64 {
        self.parts[self.part..].iter().map(ChainPart::len).sum::<u64>() - self.offset
    }

    /// Bytes that are sent.
    pub fn sent(&self) -> u64 {
        self.parts[..self.part].iter().map(ChainPart::len).sum::<u64>() + self.offset
    }

    /// Whether a file is left to send.
    pub fn has_file(&self) -> bool {
        self.parts[self.part..].iter().any(|part| matches!(part, ChainPart::File { .. }))
    }

    /// The file whose bytes are sent next, or after memory.
    pub(crate) fn file_in_progress(&self) -> Option<&File> {
        self.parts[self.part..].iter().find_map(|part| match part {
            ChainPart::File { file, .. } => Some(&**file),
            _ => None,
        })
    }

    /// Whether its last bytes are those of a file.
    pub(super) fn ends_with_file(&self) -> bool {
        matches!(self.parts.last(), Some(ChainPart::File { .. }))
    }

    /// Drops all content, so the chain can be reused.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.copied.clear();
        self.copied.shrink_to(KEEP_BYTES);
        (self.part, self.offset) = (0, 0);
    }

    /// Memory of the chain itself, its copies and its list of parts, in bytes.
    pub fn capacity(&self) -> usize {
        size_of::<Self>() + self.copied.capacity() + self.parts.capacity() * size_of::<ChainPart>()
    }

    /// Memory that the chain keeps in use: its own ([`Chain::capacity`]), and what it shares.
    pub fn memory_in_use(&self) -> usize {
        self.capacity() + self.shared_bytes()
    }

    /// What the cursor points to.
    pub(super) fn next(&self) -> NextPart<'_> {
        match self.parts.get(self.part) {
            None => NextPart::Nothing,
            Some(ChainPart::File { file, range }) => {
                NextPart::File { file, range: range.start + self.offset..range.end }
            }
            Some(_) => NextPart::Memory { more: self.has_file() },
        }
    }

    /// The rest of the file range that the cursor reaches after `bytes` more bytes; `None` if it
    /// reaches no file.
    pub(super) fn file_after(&self, bytes: usize) -> Option<(&Arc<File>, Range<u64>)> {
        let mut left = self.offset + bytes as u64;
        for part in &self.parts[self.part..] {
            match part {
                ChainPart::File { file, range } if left < part.len() => {
                    return Some((file, range.start + left..range.end));
                }
                _ if left < part.len() => return None,
                _ => left -= part.len(),
            }
        }
        None
    }

    /// The next range of a file, and how many bytes of memory come before it; `None` if no file is
    /// left to send.
    pub(crate) fn next_file(&self) -> Option<(u64, &Arc<File>, Range<u64>)> {
        let mut before = 0;
        for (place, part) in self.parts[self.part..].iter().enumerate() {
            let sent = if place == 0 { self.offset } else { 0 };
            match part {
                ChainPart::File { file, range } => {
                    return Some((before, file, range.start + sent..range.end));
                }
                memory => before += memory.len() - sent,
            }
        }
        None
    }

    /// The next range of a file, of at most `bytes_max` bytes, and what comes before it. If little
    /// memory separates it from the range that follows it in the file, as the heads of frames do,
    /// that range is included, as long as all of it with the memory has at most `bytes_max` bytes.
    pub(crate) fn next_file_run(&self, bytes_max: u64) -> Option<FileRun<'_>> {
        let (before, file, range) = self.next_file()?;
        let whole = range.end;
        let mut run = FileRun { before, file, range: range.start..whole, has_gaps: false };
        run.range.end = whole.min(range.start + bytes_max);
        if run.range.end < whole {
            return Some(run);
        }
        let (mut bytes, mut gap) = (before + run.range.end - run.range.start, 0);
        let is_file = |part: &ChainPart| matches!(part, ChainPart::File { .. });
        let first = self.parts[self.part..].iter().position(is_file)?;
        for part in &self.parts[self.part + first + 1..] {
            match part {
                ChainPart::File { file, range }
                    if Arc::ptr_eq(file, run.file) && range.start == run.range.end =>
                {
                    let len = part.len().min(bytes_max.saturating_sub(bytes + gap));
                    run.has_gaps |= gap > 0 && len > 0;
                    run.range.end += len;
                    bytes += gap + len;
                    gap = 0;
                    if len < part.len() {
                        return Some(run);
                    }
                }
                ChainPart::File { .. } => return Some(run),
                memory => gap += memory.len(),
            }
        }
        Some(run)
    }

    /// The memory parts from the cursor to the next file or the end, at most `bytes_max` bytes in
    /// total.
    #[inline]
    pub(crate) fn memory(&self, bytes_max: usize) -> impl Iterator<Item = &[u8]> {
        let (mut skip, mut left) = (self.offset as usize, bytes_max);
        let parts = self.parts[self.part..].iter().map_while(|part| part.bytes(&self.copied));
        parts.map_while(move |bytes| {
            if left == 0 {
                return None;
            }
            assert!(skip < bytes.len(), "offset {skip} in a part of {} bytes", bytes.len());
            let rest = &bytes[std::mem::take(&mut skip)..];
            let piece = &rest[..rest.len().min(left)];
            left -= piece.len();
            Some(piece)
        })
    }

    /// Advances the cursor by `sent` bytes.
    pub(crate) fn advance(&mut self, sent: u64) {
        let mut left = self.offset.checked_add(sent).expect("more was sent than the chain holds");
        while let Some(part) = self.parts.get(self.part) {
            let len = part.len();
            if left < len {
                break;
            }
            left -= len;
            self.part += 1;
        }
        assert!(left == 0 || self.part < self.parts.len(), "more was sent than the chain holds");
        self.offset = left;
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.len() - self.part;
        write!(f, "Chain({} bytes in {parts} parts)", self.remaining())
    }
}

impl ChainPart {
    fn len(&self) -> u64 {
        match self {
            Self::Copied(range) => range.len() as u64,
            Self::Shared(_, range) => range.len() as u64,
            Self::Leased(lease) => lease.len() as u64,
            Self::File { range, .. } => range.end - range.start,
        }
    }

    fn bytes<'a>(&'a self, copied: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Copied(range) => Some(&copied[range.clone()]),
            Self::Shared(bytes, range) => Some(&bytes[range.start as usize..range.end as usize]),
            Self::Leased(lease) => Some(lease),
            Self::File { .. } => None,
        }
    }
}

/// Reads a chain as a peer would receive it, for tests of sessions.
#[doc(hidden)]
pub fn read_all(chain: &mut Chain) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let sent = match chain.next() {
            NextPart::Nothing => return all,
            NextPart::Memory { .. } => {
                let start = all.len();
                chain.memory(usize::MAX).for_each(|part| all.extend_from_slice(part));
                all.len() - start
            }
            NextPart::File { file, range, .. } => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let read = file.read_at(&mut bytes, range.start);
                assert_eq!(read.ok(), Some(bytes.len()), "a test's file is as long as its range");
                all.extend_from_slice(&bytes);
                bytes.len()
            }
        };
        chain.advance(sent as u64);
    }
}
