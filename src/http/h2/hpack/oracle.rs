//! A second, naive decoder: vectors of vectors, and Huffman codes bit by bit.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use super::decode::{FieldList, ListLimits};
use super::error::CompressionError;
use super::huffman_table::{CODES, EOS, LENGTHS};
use super::static_table::STATIC_TABLE;

pub(super) type OwnedField = (Vec<u8>, Vec<u8>);

/// The dynamic table, as RFC 7541 §4 describes it.
#[derive(Clone, Debug)]
pub(super) struct NaiveTable {
    /// The newest first.
    pub(super) entries: Vec<OwnedField>,
    pub(super) size_max: usize,
}

impl NaiveTable {
    pub(super) const fn new(size_max: usize) -> Self {
        Self { entries: Vec::new(), size_max }
    }

    pub(super) fn size(&self) -> usize {
        self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    pub(super) fn insert(&mut self, field: OwnedField) {
        self.entries.insert(0, field);
        self.evict();
    }

    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict();
    }

    fn evict(&mut self) {
        while self.size() > self.size_max {
            self.entries.pop();
        }
    }

    pub(super) fn get(&self, index: usize) -> Result<OwnedField, CompressionError> {
        if index == 0 {
            return Err(CompressionError::IndexZero);
        }
        if index <= STATIC_TABLE.len() {
            let (name, value) = STATIC_TABLE[index - 1];
            return Ok((name.to_vec(), value.to_vec()));
        }
        let entry = self.entries.get(index - STATIC_TABLE.len() - 1);
        entry.cloned().ok_or(CompressionError::IndexBeyondTable)
    }
}

/// A decoder with the contract of [`Decoder`](super::Decoder).
pub(super) struct NaiveDecoder {
    pub(super) table: NaiveTable,
    limit: usize,
}

/// The fields that are passed on, and whether these are all.
type NaiveResult = Result<(FieldList, Vec<OwnedField>), CompressionError>;

impl NaiveDecoder {
    pub(super) const fn with_limit(limit: usize) -> Self {
        Self { table: NaiveTable::new(limit), limit }
    }

    pub(super) fn decode(&mut self, block: &[u8], limits: ListLimits) -> NaiveResult {
        let mut rest: VecDeque<u8> = block.iter().copied().collect();
        let (mut fields, mut updates, mut sum) = (Vec::new(), 0, 0);
        while let Some(&first) = rest.front() {
            if first >> 5 == 0b001 {
                updates += 1;
                match (fields.is_empty(), updates) {
                    (false, _) => return Err(CompressionError::SizeUpdateLate),
                    (true, 3..) => return Err(CompressionError::SizeUpdateRepeated),
                    (true, _) => {}
                }
                let size_max = integer(&mut rest, 5)?;
                if size_max > self.limit {
                    return Err(CompressionError::SizeUpdateTooLarge);
                }
                self.table.resize(size_max);
                continue;
            }
            let (field, is_inserted) = self.field(first, &mut rest)?;
            sum += field.0.len() + field.1.len() + 32;
            if sum > limits.work_max {
                return Err(CompressionError::TooMuchWork);
            }
            fields.push(field.clone());
            if is_inserted {
                self.table.insert(field);
            }
        }
        let mut passed = fields.clone();
        passed.truncate(limits.fields_max);
        while passed.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
            > limits.bytes_max
        {
            passed.pop();
        }
        let list = match passed.len() {
            all if all == fields.len() => FieldList::Whole,
            most if most == limits.fields_max => FieldList::TooMany,
            _ => FieldList::TooLarge,
        };
        Ok((list, passed))
    }

    /// A field, and whether it becomes an entry.
    fn field(
        &self,
        first: u8,
        rest: &mut VecDeque<u8>,
    ) -> Result<(OwnedField, bool), CompressionError> {
        if first >> 7 == 0b1 {
            return Ok((self.table.get(integer(rest, 7)?)?, false));
        }
        let is_inserted = first >> 6 == 0b01;
        let index = integer(rest, if is_inserted { 6 } else { 4 })?;
        let literal = if index == 0 { Some(string(rest)?) } else { None };
        let value = string(rest)?;
        let name = match literal {
            Some(name) => name,
            None => self.table.get(index)?.0,
        };
        Ok(((name, value), is_inserted))
    }
}

fn byte(rest: &mut VecDeque<u8>) -> Result<u8, CompressionError> {
    rest.pop_front().ok_or(CompressionError::Truncated)
}

fn integer(rest: &mut VecDeque<u8>, prefix: u32) -> Result<usize, CompressionError> {
    let ones = 2_usize.pow(prefix) - 1;
    let mut value = usize::from(byte(rest)?) % 2_usize.pow(prefix);
    if value == ones {
        let mut factor = 1;
        loop {
            if factor == 128_usize.pow(4) {
                return Err(CompressionError::IntegerTooLong);
            }
            let more = usize::from(byte(rest)?);
            value += more % 128 * factor;
            factor *= 128;
            if more < 128 {
                break;
            }
        }
    }
    Ok(value)
}

fn string(rest: &mut VecDeque<u8>) -> Result<Vec<u8>, CompressionError> {
    let is_huffman = rest.front().is_some_and(|first| first >> 7 == 1);
    let length = integer(rest, 7)?;
    let text = (0..length).map(|_| byte(rest)).collect::<Result<Vec<u8>, _>>()?;
    if is_huffman { unpack(&text) } else { Ok(text) }
}

/// Decodes a Huffman string.
pub(super) fn unpack(string: &[u8]) -> Result<Vec<u8>, CompressionError> {
    static SYMBOLS: LazyLock<HashMap<(u8, u32), usize>> = LazyLock::new(|| {
        (0..=EOS).map(|symbol| ((LENGTHS[symbol], CODES[symbol]), symbol)).collect()
    });
    let (mut text, mut length, mut code) = (Vec::new(), 0, 0);
    for bit in string.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        (length, code) = (length + 1, code << 1 | u32::from(bit));
        match SYMBOLS.get(&(length, code)) {
            Some(&EOS) => return Err(CompressionError::EosInString),
            Some(&symbol) => {
                text.push(symbol as u8);
                (length, code) = (0, 0);
            }
            None => {}
        }
    }
    let is_padding = length < 8 && code == (1 << length) - 1;
    if is_padding { Ok(text) } else { Err(CompressionError::WrongPadding) }
}
