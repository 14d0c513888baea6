//! Random lists, encoded in random ways, and random bytes.

use fastrand::Rng;

use super::super::decode::Decoder;
use super::super::huffman;
use super::super::huffman_table::{CODES, EOS, LENGTHS};
use super::super::oracle::{self, NaiveDecoder, OwnedField};
use super::super::static_table::STATIC_TABLE;
use super::writer::{Writer, pack};
use super::{FieldList, ListLimits, fuzz, whole};

/// Limits that no list of these tests reaches.
const ALL: ListLimits =
    ListLimits { fields_max: 1000, bytes_max: 1024 * 1024, work_max: 1024 * 1024 };

/// Names and values that occur again and again, or are new.
fn list(random: &mut Rng) -> Vec<OwnedField> {
    let text = |random: &mut Rng, lengths: &[usize]| {
        let longest = lengths[random.usize(..lengths.len())];
        let length = random.usize(..=longest);
        (0..length).map(|_| if random.u8(..9) == 0 { random.u8(..) } else { b'a' }).collect()
    };
    (0..random.usize(..12))
        .map(|_| match random.u8(..4) {
            0 => {
                let (name, value) = random.choice(STATIC_TABLE).unwrap();
                (name.to_vec(), value.to_vec())
            }
            1 => (random.choice(STATIC_TABLE).unwrap().0.to_vec(), text(random, &[3, 40])),
            2 => (vec![b"xyz"[random.usize(..3)]], vec![b"012"[random.usize(..3)]]),
            _ => (text(random, &[2, 20, 150]), text(random, &[2, 60, 400, 3000])),
        })
        .collect()
}

#[test]
fn random_lists_are_decoded_and_leave_the_same_table() {
    for seed in 0..150 {
        let mut random = Rng::with_seed(seed);
        let limit = [0, 33, 34, 100, 500, 4096, 4096, 20_000][random.usize(..8)];
        let mut writer = Writer::new(limit);
        let (mut decoder, mut naive) =
            (Decoder::with_limit(limit), NaiveDecoder::with_limit(limit));
        for number in 0..random.usize(1..60) {
            let place = format!("seed {seed}, limit {limit}, block {number}");
            let list = list(&mut random);
            let block = writer.block(&mut random, &list);
            let mut visited = Vec::new();
            let result = fuzz::decode(&mut decoder, &block, ALL, &mut visited);
            assert_eq!(result, Ok(FieldList::Whole), "{place}");
            assert_eq!(visited, list, "{place}");
            assert_eq!(naive.decode(&block, ALL), Ok((FieldList::Whole, list)), "{place}");
            let entries = fuzz::entries(&mut decoder, writer.table.entries.len());
            assert_eq!(entries, writer.table.entries, "{place}");
            assert_eq!(naive.table.entries, writer.table.entries, "{place}");
        }
    }
}

/// The lists are too large for small limits, but the table must not get out of step.
#[test]
fn what_is_not_passed_on_still_changes_the_table() {
    for seed in 0..100 {
        let mut random = Rng::with_seed(seed);
        let (fields_max, bytes_max) = (random.usize(..8), random.usize(..1000));
        let limits = ListLimits { fields_max, bytes_max, ..ALL };
        let mut writer = Writer::new(4096);
        let (mut decoder, mut naive) = (Decoder::new(), NaiveDecoder::with_limit(4096));
        for number in 0..20 {
            let list = list(&mut random);
            let block = writer.block(&mut random, &list);
            let mut visited = Vec::new();
            let result = fuzz::decode(&mut decoder, &block, limits, &mut visited);
            let expected = naive.decode(&block, limits);
            assert_eq!(result.map(|list| (list, visited)), expected, "{seed}, block {number}");
            let entries = fuzz::entries(&mut decoder, writer.table.entries.len());
            assert_eq!(entries, writer.table.entries, "seed {seed}, block {number}");
        }
    }
}

#[test]
fn changed_blocks_have_the_result_of_the_naive_decoder() {
    let mut random = Rng::with_seed(1);
    for _ in 0..4000 {
        let mut writer = Writer::new(256);
        let mut data = vec![random.u8(..) & !3 | 1];
        for _ in 0..random.usize(1..6) {
            let list: Vec<OwnedField> = list(&mut random).into_iter().take(3).collect();
            let mut block = writer.block(&mut random, &list);
            block.truncate(255);
            if random.u8(..4) == 0 && !block.is_empty() {
                let place = random.usize(..block.len());
                block[place] ^= 1 << random.u8(..8);
            }
            data.push(block.len() as u8);
            data.extend(block);
        }
        fuzz::fuzz_hpack(&data);
    }
}

/// Rows of Appendix B for each length that a code can have; the others follow from them, see
/// `huffman_table.rs`.
#[test]
fn codes_are_those_of_the_rfc() {
    for (symbol, code, length) in [
        (usize::from(b'0'), 0x0, 5),
        (usize::from(b't'), 0x9, 5),
        (usize::from(b' '), 0x14, 6),
        (usize::from(b'u'), 0x2d, 6),
        (usize::from(b':'), 0x5c, 7),
        (usize::from(b'z'), 0x7b, 7),
        (usize::from(b'&'), 0xf8, 8),
        (usize::from(b'Z'), 0xfd, 8),
        (usize::from(b'!'), 0x3f8, 10),
        (usize::from(b'?'), 0x3fc, 10),
        (usize::from(b'\''), 0x7fa, 11),
        (usize::from(b'|'), 0x7fc, 11),
        (usize::from(b'#'), 0xffa, 12),
        (0, 0x1ff8, 13),
        (usize::from(b'~'), 0x1ffd, 13),
        (usize::from(b'^'), 0x3ffc, 14),
        (usize::from(b'<'), 0x7ffc, 15),
        (usize::from(b'{'), 0x7ffe, 15),
        (usize::from(b'\\'), 0x7fff0, 19),
        (208, 0x7fff2, 19),
        (128, 0xfffe6, 20),
        (224, 0xf_ffec, 20),
        (1, 0x7f_ffd8, 23),
        (9, 0xff_ffea, 24),
        (199, 0x1ff_ffec, 25),
        (255, 0x3ff_ffee, 26),
        (2, 0xfff_ffe2, 28),
        (249, 0xfff_fffe, 28),
        (10, 0x3fff_fffc, 30),
        (22, 0x3fff_fffe, 30),
        (EOS, 0x3fff_ffff, 30),
    ] {
        assert_eq!((CODES[symbol], LENGTHS[symbol]), (code, length), "symbol {symbol}");
    }
}

#[test]
fn every_byte_survives_huffman_in_every_position() {
    for first in 0..=255 {
        for second in 0..=255 {
            let text = [first, second, first];
            let mut out = b"kept".to_vec();
            huffman::decode(&pack(&text), &mut out).unwrap();
            assert_eq!(out[..4], *b"kept");
            assert_eq!(out[4..], text);
        }
    }
}

#[test]
fn random_huffman_strings_have_the_result_of_the_naive_decoder() {
    let mut random = Rng::with_seed(2);
    for _ in 0..20_000 {
        // Many ones, so that long codes and EOS occur.
        let length = random.usize(..24);
        let mut string: Vec<u8> =
            (0..length).map(|_| random.u8(..) | random.u8(..) | random.u8(..)).collect();
        if random.bool() && length > 4 {
            string[random.usize(1..length - 3)..][..3].fill(0xff);
        }
        let mut out = Vec::new();
        let result = huffman::decode(&string, &mut out).map(|()| out);
        assert_eq!(result, oracle::unpack(&string), "{string:02x?}");
    }
}

#[test]
fn fields_are_passed_on_in_their_order() {
    let mut decoder = Decoder::new();
    let list: Vec<OwnedField> = (0..50).map(|number| (vec![number], vec![])).collect();
    let block = Writer::new(4096).block(&mut Rng::with_seed(3), &list);
    assert_eq!(whole(&mut decoder, &block), Ok(list));
}
