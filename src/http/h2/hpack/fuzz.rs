//! The fuzz entry of header blocks.

use super::decode::{Decoder, FieldList, ListLimits};
use super::error::CompressionError;
use super::oracle::{NaiveDecoder, OwnedField};

/// Fuzz entry: compares the decoder with a naive one, block by block, and checks its bounds.
///
/// # Panics
///
/// If they differ, or if a limit is exceeded.
pub fn fuzz_hpack(data: &[u8]) {
    // The first byte selects the limits; each block follows a byte with its length.
    let [kind, rest @ ..] = data else { return };
    let limit = [4096, 256, 100, 0][usize::from(kind % 4)];
    let limits = match kind / 4 % 4 {
        0 => ListLimits { fields_max: 3, ..ListLimits::default() },
        1 => ListLimits { bytes_max: 150, work_max: 1500, ..ListLimits::default() },
        _ => ListLimits::default(),
    };
    let (mut decoder, mut naive) = (Decoder::with_limit(limit), NaiveDecoder::with_limit(limit));
    assert_eq!(decoder.memory(), 0);
    let mut rest = rest;
    while let [length, behind @ ..] = rest {
        let (block, next) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = next;
        let mut visited = Vec::new();
        let result = decode(&mut decoder, block, limits, &mut visited);
        match naive.decode(block, limits) {
            Ok((list, fields)) => assert_eq!((result, visited), (Ok(list), fields)),
            Err(error) => {
                assert_eq!(result, Err(error));
                assert!(visited.len() <= limits.fields_max.min(block.len()));
                return;
            }
        }
        assert_eq!(entries(&mut decoder, naive.table.entries.len()), naive.table.entries);
        // The text, the marks of the entries, and the buffer for Huffman strings.
        assert!(decoder.memory() <= 2 * limit + 12 * (limit / 32).next_multiple_of(64) + 1024);
    }
}

/// Decodes a block and appends the fields to `fields`.
pub(super) fn decode(
    decoder: &mut Decoder,
    block: &[u8],
    limits: ListLimits,
    fields: &mut Vec<OwnedField>,
) -> Result<FieldList, CompressionError> {
    decoder.decode(block, limits, &mut |name, value| fields.push((name.to_vec(), value.to_vec())))
}

/// The entries of the dynamic table, of which there should be `count`, the newest first.
pub(super) fn entries(decoder: &mut Decoder, count: usize) -> Vec<OwnedField> {
    let limits = ListLimits { fields_max: usize::MAX, bytes_max: usize::MAX, work_max: usize::MAX };
    let mut found = Vec::new();
    // One more than there are: indexes from 62 on are those of the dynamic table. With more than 65
    // entries, the index does not fit into the prefix of 7 bits.
    for index in 62..62 + count + 1 {
        let block = match index.checked_sub(127) {
            None => vec![0x80 | index as u8],
            Some(more) => vec![0xff, more as u8 & 0x7f | 0x80, (more >> 7) as u8],
        };
        let result = decode(decoder, &block, limits, &mut found);
        assert_eq!(result.is_ok(), index < 62 + count, "index {index} of {count} entries");
    }
    found
}
