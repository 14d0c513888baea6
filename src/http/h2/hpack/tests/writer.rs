//! An encoder that uses all that the RFC allows, chosen at random.

use fastrand::Rng;

use super::super::huffman_table::{CODES, EOS, LENGTHS};
use super::super::integer;
use super::super::oracle::{NaiveTable, OwnedField};
use super::super::static_table::STATIC_TABLE;

/// Writes the blocks of one connection.
pub(super) struct Writer {
    pub(super) table: NaiveTable,
    /// What the decoder allows.
    limit: usize,
}

impl Writer {
    pub(super) const fn new(limit: usize) -> Self {
        Self { table: NaiveTable::new(limit), limit }
    }

    pub(super) fn block(&mut self, random: &mut Rng, list: &[OwnedField]) -> Vec<u8> {
        let mut out = Vec::new();
        if random.u8(..4) == 0 {
            for _ in 0..random.usize(1..=2) {
                let size_max = random.usize(..=self.limit);
                self.table.resize(size_max);
                integer::write(&mut out, 0x20, 5, size_max);
            }
        }
        for field in list {
            self.field(random, &mut out, field);
        }
        out
    }

    fn field(&mut self, random: &mut Rng, out: &mut Vec<u8>, field: &OwnedField) {
        let entries = self.entries();
        let indexed = entries.iter().position(|entry| entry == field);
        if let Some(place) = indexed
            && random.u8(..8) > 0
        {
            return integer::write(out, 0x80, 7, place + 1);
        }
        // Of several entries with the name, any may be used.
        let named: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].0 == field.0).collect();
        let place = random.choice(&named).filter(|_| random.u8(..8) > 0);
        let (pattern, prefix) = [(0x40, 6), (0x40, 6), (0x00, 4), (0x10, 4)][random.usize(..4)];
        integer::write(out, pattern, prefix, place.map_or(0, |place| place + 1));
        if place.is_none() {
            string(random, out, &field.0);
        }
        string(random, out, &field.1);
        if pattern == 0x40 {
            self.table.insert(field.clone());
        }
    }

    /// The entries of both tables, from index 1.
    fn entries(&self) -> Vec<OwnedField> {
        let fixed = STATIC_TABLE.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
        fixed.chain(self.table.entries.iter().cloned()).collect()
    }
}

fn string(random: &mut Rng, out: &mut Vec<u8>, text: &[u8]) {
    let (pattern, text) = if random.bool() { (0x80, pack(text)) } else { (0, text.to_vec()) };
    integer::write(out, pattern, 7, text.len());
    out.extend(text);
}

/// Encodes a Huffman string, bit by bit.
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let mut bits: Vec<u8> = Vec::new();
    for &byte in text {
        let (code, length) = (CODES[usize::from(byte)], LENGTHS[usize::from(byte)]);
        bits.extend((0..length).rev().map(|place| (code >> place) as u8 & 1));
    }
    // The padding is the beginning of EOS, which is all ones.
    assert_eq!(CODES[EOS] + 1, 1 << LENGTHS[EOS]);
    bits.resize(bits.len().next_multiple_of(8), 1);
    bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}
