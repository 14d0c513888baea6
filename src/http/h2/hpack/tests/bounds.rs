//! Limits, memory, and the moves of the dynamic table.

use super::super::decode::Decoder;
use super::super::dynamic_table::{DynamicTable, EntryName};
use super::super::error::CompressionError;
use super::super::integer;
use super::{FieldList, ListLimits, fuzz, whole};

/// A field that is inserted, with a name of one byte.
fn inserted(out: &mut Vec<u8>, name: u8, value: &[u8]) {
    out.extend([0x40, 1, name]);
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// Decodes within `limits`; returns the number of fields that were passed on.
fn counted(block: &[u8], limits: ListLimits) -> (Result<FieldList, CompressionError>, usize) {
    let mut fields = Vec::new();
    let result = fuzz::decode(&mut Decoder::new(), block, limits, &mut fields);
    (result, fields.len())
}

#[test]
fn each_limit_allows_what_it_says() {
    let limits = ListLimits { fields_max: 3, ..ListLimits::default() };
    assert_eq!(counted(&[0x82; 3], limits), (Ok(FieldList::Whole), 3));
    assert_eq!(counted(&[0x82; 4], limits), (Ok(FieldList::TooMany), 3));
    // `:method: GET` counts 42 bytes.
    let limits = ListLimits { bytes_max: 126, ..ListLimits::default() };
    assert_eq!(counted(&[0x82; 3], limits), (Ok(FieldList::Whole), 3));
    assert_eq!(counted(&[0x82; 4], limits), (Ok(FieldList::TooLarge), 3));
    // The first field that exceeds the limit is the last one that matters, though others would fit.
    let limits = ListLimits { bytes_max: 45, ..ListLimits::default() };
    assert_eq!(counted(&[0x82, 0x85, 0x84, 0x84], limits), (Ok(FieldList::TooLarge), 1));
    let limits = ListLimits { work_max: 126, ..ListLimits::default() };
    assert_eq!(counted(&[0x82; 3], limits), (Ok(FieldList::Whole), 3));
    assert_eq!(counted(&[0x82; 4], limits), (Err(CompressionError::TooMuchWork), 3));
}

/// A block of a few kilobytes that would be a list of megabytes.
#[test]
fn a_bomb_ends_early() {
    let mut block = Vec::new();
    inserted(&mut block, b'a', &[b'x'; 4000]);
    block.extend([0xbe; 4000]);
    let expected = Err(CompressionError::TooMuchWork);
    assert_eq!(counted(&block, ListLimits::default()), (expected, 4));
    // One of many small fields is only too large.
    let block = [0x82; 1000];
    assert_eq!(counted(&block, ListLimits::default()), (Ok(FieldList::TooMany), 100));
}

#[test]
fn memory_is_allocated_when_it_is_needed_and_limited() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.memory(), 0);
    // Fields that are not inserted.
    whole(&mut decoder, &[0x82, 0x00, 1, b'a', 1, b'b']).unwrap();
    assert_eq!(decoder.memory(), 0);
    let mut block = Vec::new();
    inserted(&mut block, b'a', b"b");
    whole(&mut decoder, &block).unwrap();
    assert!((1..1024).contains(&decoder.memory()), "{}", decoder.memory());
    for size in (0..3000).chain([1; 200]) {
        block.clear();
        inserted(&mut block, b'a', &vec![b'x'; size]);
        whole(&mut decoder, &block).unwrap();
        assert!(decoder.memory() < 12 * 1024, "{}", decoder.memory());
    }
    // The buffer for Huffman strings, whose texts are longer than they.
    let mut block = vec![0x00, 0];
    integer::write(&mut block, 0x80, 7, 8000);
    block.resize(block.len() + 8000, 0x00);
    let before = decoder.memory();
    let field = whole(&mut decoder, &block).unwrap();
    assert_eq!(field[0].1, [b'0'; 8000 / 5 * 8]);
    assert!(decoder.memory() <= before + 1024, "{}", decoder.memory());
}

/// The text moves to the front of its memory many times, also while the name of an entry is copied
/// that is evicted at the same time.
#[test]
fn entries_survive_moves() {
    for limit in [64, 100, 300, 4096] {
        let mut table = DynamicTable::new(limit);
        let mut inserted = Vec::new();
        for number in 0..2000_usize {
            let value = vec![number as u8; number * 7 % (limit / 2)];
            let oldest = (0..).take_while(|age| table.get(*age).is_some()).last();
            match oldest {
                Some(age) if number % 3 > 0 => {
                    let name = table.get(age).unwrap().0.to_vec();
                    table.insert(EntryName::OfEntry(age), &value);
                    inserted.push((name, value));
                }
                _ => {
                    let name = [number as u8; 3];
                    table.insert(EntryName::Text(&name), &value);
                    inserted.push((name.to_vec(), value));
                }
            }
            let mut size = 0;
            for (age, (name, value)) in inserted.iter().rev().enumerate() {
                size += name.len() + value.len() + 32;
                let expected = (size <= limit).then_some((&name[..], &value[..]));
                assert_eq!(table.get(age), expected, "limit {limit}, {number}, {age}");
                if expected.is_none() {
                    inserted.drain(..inserted.len() - age);
                    break;
                }
            }
            assert!(table.memory() <= 2 * limit + 16 * 256);
        }
    }
}

#[test]
fn many_insertions_leave_the_newest_entries() {
    let mut decoder = Decoder::new();
    let mut block = Vec::new();
    for number in 0..10_000_u32 {
        block.clear();
        inserted(&mut block, b'a', &number.to_be_bytes());
        whole(&mut decoder, &block).unwrap();
    }
    let entries = fuzz::entries(&mut decoder, 4096 / 37);
    let values = entries.iter().map(|(_, value)| value.clone());
    assert!(values.eq((0..10_000_u32).rev().take(110).map(|number| number.to_be_bytes().to_vec())));
}
