//! The encoder: what it writes, and that decoders understand it.

use fastrand::Rng;

use super::super::decode::Decoder;
use super::super::encode::{encode_empty_table, encode_field, encode_status};
use super::super::static_table::{STATIC_TABLE, index_of_name};
use super::{bytes, fuzz, whole};

#[test]
fn a_status_is_an_index_or_has_the_name_of_one() {
    for (code, expected) in [
        (200, "88"),
        (204, "89"),
        (206, "8a"),
        (304, "8b"),
        (400, "8c"),
        (404, "8d"),
        (500, "8e"),
        (301, "08 03 333031"),
        (416, "08 03 343136"),
    ] {
        let mut out = vec![7];
        encode_status(&mut out, code);
        assert_eq!((out[0], &out[1..]), (7, &bytes(expected)[..]), "{code}");
    }
    for code in 100..1000 {
        let mut out = Vec::new();
        encode_status(&mut out, code);
        let field = (b":status".to_vec(), code.to_string().into_bytes());
        assert_eq!(whole(&mut Decoder::with_limit(0), &out), Ok(vec![field]), "{code}");
    }
}

#[test]
fn the_table_is_emptied_at_the_beginning_of_a_block() {
    let mut decoder = Decoder::new();
    whole(&mut decoder, &bytes("4001 6101 62")).unwrap();
    let mut out = Vec::new();
    encode_empty_table(&mut out);
    encode_status(&mut out, 200);
    assert_eq!(out, bytes("2088"));
    assert_eq!(whole(&mut decoder, &out).map(|fields| fields.len()), Ok(1));
    assert_eq!(fuzz::entries(&mut decoder, 0), []);
}

#[test]
fn a_field_is_a_literal_without_indexing() {
    for (name, value, expected) in [
        ("Content-Type", "a/b", "0f10 03 612f62"),
        ("AGE", "", "0f06 00"),
        ("accept-charset", "x", "0f00 01 78"),
        (":path", "/", "04 01 2f"),
        ("X-New", "Y", "00 05 782d6e6577 01 59"),
        ("ages", "1", "00 04 61676573 01 31"),
    ] {
        let mut out = Vec::new();
        encode_field(&mut out, name.as_bytes(), value.as_bytes());
        assert_eq!(out, bytes(expected), "{name}");
    }
}

#[test]
fn names_of_the_static_table_are_found_in_any_case() {
    for (place, (name, _)) in STATIC_TABLE.iter().enumerate() {
        let first = STATIC_TABLE.iter().position(|(other, _)| other == name);
        assert!(first <= Some(place));
        let index = first.map(|place| place + 1);
        assert_eq!(index_of_name(name), index, "{}", name.escape_ascii());
        assert_eq!(index_of_name(&name.to_ascii_uppercase()), index, "{}", name.escape_ascii());
        // Slightly different names are not found.
        for place in 0..name.len() {
            let mut other = name.to_vec();
            other[place] ^= 0x1;
            let expected = STATIC_TABLE.iter().position(|(name, _)| *name == other);
            assert_eq!(index_of_name(&other), expected.map(|place| place + 1));
        }
        assert_eq!(index_of_name(&[name, &b"s"[..]].concat()), None);
    }
    assert_eq!(index_of_name(b""), None);
    // Bytes that are not letters have no lower case: 0x0d and '-', '\x1a' and ':'.
    assert_eq!(index_of_name(b"\x1apath"), None);
}

#[test]
fn fields_survive_in_lower_case() {
    let mut random = Rng::with_seed(4);
    let lengths = [0, 1, 14, 15, 16, 126, 127, 128, 254, 255, 256, 383, 16_383, 16_600];
    for _ in 0..2000 {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(1..5) {
            let name = match random.bool() {
                true => random.choice(STATIC_TABLE).unwrap().0.to_vec(),
                false => (0..random.usize(..150)).map(|_| random.u8(..)).collect(),
            };
            let value = vec![random.u8(..); lengths[random.usize(..11)]];
            encode_field(&mut out, &name, &value);
            list.push((name.to_ascii_lowercase(), value));
        }
        assert_eq!(whole(&mut Decoder::with_limit(0), &out), Ok(list));
    }
    for length in lengths {
        let mut out = Vec::new();
        encode_field(&mut out, b"a", &vec![b'v'; length]);
        let mut found = None;
        let limits = super::ListLimits { bytes_max: 20_000, ..super::ListLimits::default() };
        let mut visit = |_: &[u8], value: &[u8]| found = Some(value.len());
        Decoder::new().decode(&out, limits, &mut visit).unwrap();
        assert_eq!(found, Some(length));
    }
}
