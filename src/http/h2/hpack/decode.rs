//! Decodes header blocks (RFC 7541 §3, §6).

use std::ops::Range;

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD, EntryName};
use super::error::CompressionError;
use super::huffman;
use super::integer::Input;
use super::static_table::STATIC_TABLE;

/// The size of the dynamic table that both ends assume unless settings say otherwise (RFC 9113
/// §6.5.2), in bytes.
const TABLE_BYTES: usize = 4096;

/// How much of the buffer for Huffman strings is kept between blocks, in bytes. Few strings are
/// longer, and there may be many idle connections.
const SCRATCH_KEPT_MAX: usize = 1024;

/// How many times a block may change the table's size: to the smallest size since the last block,
/// then to the final one (§4.2).
const SIZE_UPDATES_MAX: usize = 2;

/// Decodes the header blocks of one connection; see the [module documentation](super).
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// The text of the Huffman strings of the current field.
    scratch: Vec<u8>,
}

/// What a header block may contain. Bytes are counted as in the dynamic table: each field as its
/// name, its value, and 32 (RFC 9113 §6.5.2, `SETTINGS_MAX_HEADER_LIST_SIZE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// The number of fields that are passed on.
    pub fields_max: usize,
    /// The bytes of all fields that are passed on.
    pub bytes_max: usize,
    /// The bytes of all fields of a block. One byte can stand for an entry of 4096 bytes, so the
    /// length of the block does not limit them.
    pub work_max: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self { fields_max: 100, bytes_max: 16 * 1024, work_max: 64 * 1024 }
    }
}

/// Whether all fields of a block were passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldList {
    /// All were.
    Whole,
    /// The fields from the one that exceeded `fields_max` were not.
    TooMany,
    /// The fields from the one that exceeded `bytes_max` were not.
    TooLarge,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with an empty table of at most 4096 bytes. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(TABLE_BYTES)
    }

    /// A decoder with an empty table of at most `bytes`, which the other end must have been told in
    /// `SETTINGS_HEADER_TABLE_SIZE`.
    ///
    /// # Panics
    ///
    /// If `bytes` exceeds 16 MiB.
    #[must_use]
    pub const fn with_limit(bytes: usize) -> Self {
        Self { table: DynamicTable::new(bytes), scratch: Vec::new() }
    }

    /// The memory that is allocated, in bytes. Between blocks, it is less than 12 KiB with the
    /// limit of [`Decoder::new`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.memory() + self.scratch.capacity()
    }

    /// Decodes a whole header block and passes each field, name and value, to `visit`, in order.
    ///
    /// After `fields_max` or `bytes_max` is exceeded, nothing more is passed on, but the block is
    /// decoded to its end, because later blocks refer to the table. Meanwhile, the buffer for
    /// Huffman strings has at most 1.6 times the length of the block.
    ///
    /// # Errors
    ///
    /// If the block is malformed or exceeds `work_max`. Some fields may have been passed on. The
    /// decoder must not be used again.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: ListLimits,
        visit: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<FieldList, CompressionError> {
        let mut input = Input::new(block);
        let mut tally = Tally { limits, fields: 0, bytes: 0, list: FieldList::Whole };
        self.size_updates(&mut input)?;
        while let Some(first) = input.first() {
            self.field(first, &mut input, &mut tally, visit)?;
        }
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_KEPT_MAX);
        Ok(tally.list)
    }

    /// Takes the changes of the table's size that begin a block (§4.2, §6.3).
    fn size_updates(&mut self, input: &mut Input<'_>) -> Result<(), CompressionError> {
        let mut updates = 0;
        while input.first().is_some_and(is_size_update) {
            updates += 1;
            if updates > SIZE_UPDATES_MAX {
                return Err(CompressionError::SizeUpdateRepeated);
            }
            let size_max = input.integer(5)?;
            if size_max > self.table.limit() {
                return Err(CompressionError::SizeUpdateTooLarge);
            }
            self.table.resize(size_max);
        }
        Ok(())
    }

    /// Takes a field that begins with the byte `first` (§6.1, §6.2).
    fn field(
        &mut self,
        first: u8,
        input: &mut Input<'_>,
        tally: &mut Tally,
        visit: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), CompressionError> {
        if first & 0x80 != 0 {
            let index = input.integer(7)?;
            let (name, value) = entry(&self.table, index)?;
            if tally.admits(name, value)? {
                visit(name, value);
            }
            return Ok(());
        }
        if is_size_update(first) {
            return Err(CompressionError::SizeUpdateLate);
        }
        let is_inserted = first & 0x40 != 0;
        // Fields that must never be indexed (§6.2.3) matter to those only who pass them on.
        let index = input.integer(if is_inserted { 6 } else { 4 })?;
        self.scratch.clear();
        // The name in the block, or its place in the buffer, unless it has an index.
        let literal = if index == 0 { Some(self.string(input)?) } else { None };
        let value = self.string(input)?;
        let name = match &literal {
            Some(literal) => literal.text(&self.scratch),
            None => entry(&self.table, index)?.0,
        };
        let value = value.text(&self.scratch);
        if tally.admits(name, value)? {
            visit(name, value);
        }
        if is_inserted {
            let name = match (&literal, STATIC_TABLE.get(index.wrapping_sub(1))) {
                (Some(literal), _) => EntryName::Text(literal.text(&self.scratch)),
                (None, Some((name, _))) => EntryName::Text(name),
                // The table has this entry: its name is known.
                (None, None) => EntryName::OfEntry(index - STATIC_TABLE.len() - 1),
            };
            self.table.insert(name, value);
        }
        Ok(())
    }

    /// Takes a string (§5.2).
    fn string<'a>(&mut self, input: &mut Input<'a>) -> Result<Text<'a>, CompressionError> {
        let is_huffman = input.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = input.integer(7)?;
        let string = input.take(length)?;
        if !is_huffman {
            return Ok(Text::Plain(string));
        }
        let begin = self.scratch.len();
        huffman::decode(string, &mut self.scratch)?;
        Ok(Text::Decoded(begin..self.scratch.len()))
    }
}

/// The first bits of a change of the table's size are 001 (§6.3).
const fn is_size_update(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// Name and value of an entry of both tables, which have one range of indexes (§2.3.3).
fn entry(table: &DynamicTable, index: usize) -> Result<(&[u8], &[u8]), CompressionError> {
    let place = index.checked_sub(1).ok_or(CompressionError::IndexZero)?;
    if let Some(entry) = STATIC_TABLE.get(place) {
        return Ok(*entry);
    }
    table.get(place - STATIC_TABLE.len()).ok_or(CompressionError::IndexBeyondTable)
}

/// The text of a string.
enum Text<'a> {
    /// As it is in the block.
    Plain(&'a [u8]),
    /// The place of the decoded text in the buffer.
    Decoded(Range<usize>),
}

impl<'a> Text<'a> {
    fn text(&self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(text) => text,
            Self::Decoded(range) => &scratch[range.clone()],
        }
    }
}

/// Counts the fields of a block against the limits.
struct Tally {
    limits: ListLimits,
    fields: usize,
    bytes: usize,
    /// The limit that was exceeded first.
    list: FieldList,
}

impl Tally {
    /// Counts a field. Returns whether it may be passed on.
    fn admits(&mut self, name: &[u8], value: &[u8]) -> Result<bool, CompressionError> {
        self.fields += 1;
        self.bytes += name.len() + value.len() + ENTRY_OVERHEAD;
        if self.bytes > self.limits.work_max {
            return Err(CompressionError::TooMuchWork);
        }
        if self.list == FieldList::Whole {
            self.list = match self.limits {
                limits if self.fields > limits.fields_max => FieldList::TooMany,
                limits if self.bytes > limits.bytes_max => FieldList::TooLarge,
                _ => FieldList::Whole,
            };
        }
        Ok(self.list == FieldList::Whole)
    }
}
