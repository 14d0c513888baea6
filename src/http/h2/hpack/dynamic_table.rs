//! The dynamic table (RFC 7541 §2.3.2, §4).
//!
//! ```text
//! bytes:  | evicted | oldest ... newest | free |
//! ```
//!
//! The text of all entries is in one vector, each name followed by its value, in the order of their
//! insertion. Evicting an entry only moves the beginning of those that are left. When the vector is
//! full, the entries move to its front; it has room for twice the limit, so at least as many bytes
//! have been inserted since the last time as are moved now. So every entry is one slice, and an
//! insertion allocates nothing once the vector has grown.

use std::collections::VecDeque;
use std::ops::Range;

/// What an entry counts beside its name and value (§4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// No table is larger: places are counted modulo 2^32.
const LIMIT_MAX: usize = 1 << 24;

/// The first allocation for text, in bytes.
const ROOM_MIN: usize = 512;

/// The dynamic table of one connection. Allocates nothing until the first insertion.
#[derive(Debug)]
pub(super) struct DynamicTable {
    bytes: Vec<u8>,
    /// How many bytes were in front of `bytes[0]`, modulo 2^32.
    moved: u32,
    /// The entries, the oldest first.
    entries: VecDeque<Entry>,
    /// The sum of the sizes of all entries (§4.1).
    size: usize,
    /// What `size` must not exceed: the encoder chooses it.
    size_max: usize,
    /// What `size_max` must not exceed: the decoder chooses it.
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The place of the name in all bytes that were ever inserted, modulo 2^32.
    place: u32,
    name: u32,
    value: u32,
}

impl Entry {
    const fn size(self) -> usize {
        self.name as usize + self.value as usize + ENTRY_OVERHEAD
    }
}

/// The name of an entry that is inserted.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntryName<'a> {
    Text(&'a [u8]),
    /// The name of an entry of this table, the newest being 0.
    OfEntry(usize),
}

impl DynamicTable {
    pub(super) const fn new(limit: usize) -> Self {
        assert!(limit <= LIMIT_MAX, "a dynamic table has at most 16 MiB");
        Self {
            bytes: Vec::new(),
            moved: 0,
            entries: VecDeque::new(),
            size: 0,
            size_max: limit,
            limit,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// The memory that is allocated, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Name and value of an entry, the newest being 0.
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entry(age)?;
        Some(self.bytes[self.range(entry)].split_at(entry.name as usize))
    }

    /// Inserts an entry and evicts the oldest ones to make room (§4.4). An entry that is larger
    /// than the table empties it. An index of no entry stands for an empty name.
    pub(super) fn insert(&mut self, name: EntryName<'_>, value: &[u8]) {
        let name_length = match name {
            EntryName::Text(text) => text.len(),
            EntryName::OfEntry(age) => self.entry(age).map_or(0, |entry| entry.name as usize),
        };
        let size = name_length + value.len() + ENTRY_OVERHEAD;
        if size > self.size_max {
            self.evict(0);
            return;
        }
        self.make_room(name_length + value.len());
        let place = self.moved.wrapping_add(self.bytes.len() as u32);
        match name {
            EntryName::Text(text) => self.bytes.extend_from_slice(text),
            EntryName::OfEntry(age) => {
                let named = self.entry(age).map_or(0..0, |entry| self.range(entry));
                self.bytes.extend_from_within(named.start..named.start + name_length);
            }
        }
        self.bytes.extend_from_slice(value);
        // Not before the name is copied: it may be that of an entry that is evicted now.
        self.evict(self.size_max - size);
        let (name, value) = (name_length as u32, value.len() as u32);
        self.entries.push_back(Entry { place, name, value });
        self.size += size;
    }

    /// Changes the maximum size, and evicts entries that exceed it (§4.3). The caller has checked
    /// it against [`DynamicTable::limit`].
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max.min(self.limit);
        self.evict(self.size_max);
    }

    /// Evicts the oldest entries until the others have at most `size_max` bytes.
    fn evict(&mut self, size_max: usize) {
        while self.size > size_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
    }

    /// Makes room for `length` bytes of text behind the last entry.
    fn make_room(&mut self, length: usize) {
        let capacity = self.bytes.capacity();
        if self.bytes.len() + length <= capacity {
            return;
        }
        let begin = self.entries.front().map_or(self.bytes.len(), |entry| self.offset(*entry));
        self.bytes.copy_within(begin.., 0);
        self.bytes.truncate(self.bytes.len() - begin);
        self.moved = self.moved.wrapping_add(begin as u32);
        // At least half of the room must be free now, or entries would be moved too often.
        let kept = self.bytes.len();
        if kept + length > capacity || kept > capacity / 2 {
            let room = (2 * capacity).max(kept + length).max(ROOM_MIN).min(2 * self.limit);
            self.bytes.reserve_exact(room - kept);
        }
    }

    fn entry(&self, age: usize) -> Option<Entry> {
        let place = self.entries.len().checked_sub(age)?.checked_sub(1)?;
        self.entries.get(place).copied()
    }

    fn offset(&self, entry: Entry) -> usize {
        entry.place.wrapping_sub(self.moved) as usize
    }

    fn range(&self, entry: Entry) -> Range<usize> {
        let begin = self.offset(entry);
        begin..begin + (entry.name + entry.value) as usize
    }
}
