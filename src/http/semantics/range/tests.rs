//! The rules about ranges, each alone, and a comparison with the naive implementation.

use super::Selection::{Many, One, Unsatisfiable, Whole};
use super::{ContentRange, GAP_MIN, Selection, fuzz_range, oracle, select};
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::{EntityTag, Modified, Validators};

/// What a `Range` field selects from `len` bytes.
fn of(value: &str, len: u64) -> Selection {
    let selection =
        select(Field::one(value.as_bytes()), Field::ABSENT, &Validators::default(), len);
    assert_eq!(selection, oracle::naive(value, len), "{value:?} of {len}");
    selection
}

fn many(ranges: &[std::ops::Range<u64>]) -> Selection {
    Many(ranges.into())
}

#[test]
fn a_request_without_range_gets_the_whole() {
    assert_eq!(select(Field::ABSENT, Field::ABSENT, &Validators::default(), 10), Whole);
}

#[test]
fn a_range_is_clipped_to_the_representation() {
    for (value, range) in [
        ("bytes=0-", 0..1000),
        ("bytes=0-0", 0..1),
        ("bytes=-1", 999..1000),
        ("bytes=0-999", 0..1000),
        ("bytes=500-600", 500..601),
        ("bytes=990-1000", 990..1000),
        ("bytes=999-5000", 999..1000),
        ("bytes=-1000", 0..1000),
        ("bytes=-1001", 0..1000),
        ("bytes=000000000000000000000000000005-07", 5..8),
        ("bytes=5-99999999999999999999999999", 5..1000),
        ("bytes=-99999999999999999999999999", 0..1000),
        ("bytes=5-18446744073709551615", 5..1000),
        ("bytes=-18446744073709551616", 0..1000),
        // RFC 9110 section 14.1: units are case-insensitive.
        ("Bytes=1-2", 1..3),
        ("BYTES=1-2", 1..3),
        // Section 5.6.1.2: empty members and white space around members are ignored.
        ("bytes= 1-2", 1..3),
        ("bytes=,\t1-2 ,, ", 1..3),
        // Ranges that do not exist are ignored if another one does.
        ("bytes=1-2,1000-", 1..3),
        ("bytes=-0,1-2", 1..3),
    ] {
        assert_eq!(of(value, 1000), One(range), "{value}");
    }
}

#[test]
fn ranges_after_the_end_are_unsatisfiable() {
    for value in [
        "bytes=1000-",
        "bytes=1000-1000",
        "bytes=5000-6000",
        "bytes=-0",
        "bytes=-000",
        "bytes=1000-,-0",
        "bytes=18446744073709551615-",
        "bytes=18446744073709551616-",
        "bytes=99999999999999999999999999-",
        "bytes=99999999999999999999999998-99999999999999999999999999",
    ] {
        assert_eq!(of(value, 1000), Unsatisfiable, "{value}");
    }
    assert_eq!(of("bytes=1-", 1), Unsatisfiable);
}

#[test]
fn malformed_fields_are_ignored() {
    for value in [
        "",
        "abc",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= , ",
        "bytes 0-5",
        "bytes:0-5",
        "=0-5",
        "items=0-5",
        "byte=0-5",
        "bytes =0-5",
        "bytes==0-5",
        "none",
        "bytes=abc",
        "bytes=5",
        "bytes=-",
        "bytes=--5",
        "bytes=5-2",
        "bytes=5-+7",
        "bytes=+5-7",
        "bytes=0x5-7",
        "bytes=5 -7",
        "bytes=5- 7",
        "bytes=5-7-9",
        "bytes=5-7;q=1",
        "bytes=5-7 9-10",
        "bytes=0-5,abc",
        "bytes=0-5,7-6",
        "bytes=0-5,bytes=6-7",
        "bytes=0.5-7",
        "bytes=\u{664}-7",
        "bytes=99999999999999999999999999-99999999999999999999999998",
        "bytes=1000-,x",
    ] {
        assert_eq!(of(value, 1000), Whole, "{value}");
    }
}

#[test]
fn a_field_with_two_lines_is_ignored() {
    let head = b"Range: bytes=0-5\r\nRange: bytes=7-9\r\n\r\n";
    let field = Field::spanning("range", &head[7..head.len() - 4]);
    assert_eq!(field.values().count(), 2);
    assert_eq!(select(field, Field::ABSENT, &Validators::default(), 1000), Whole);
}

#[test]
fn ranges_of_an_empty_representation_are_ignored() {
    for value in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-9,10-", "x"] {
        assert_eq!(of(value, 0), Whole, "{value}");
    }
}

#[test]
fn near_ranges_are_joined() {
    let gap = GAP_MIN;
    assert_eq!(of("bytes=0-99,50-149", 1000), One(0..150));
    assert_eq!(of("bytes=0-99,100-149", 1000), One(0..150));
    assert_eq!(of(&format!("bytes=0-99,{}-299", 99 + gap), 1000), One(0..300));
    let apart = format!("bytes=0-99,{}-299", 100 + gap);
    assert_eq!(of(&apart, 1000), many(&[0..100, 100 + gap..300]));
    assert_eq!(of("bytes=0-99,20-30", 1000), One(0..100));
    assert_eq!(of("bytes=20-30,0-99", 1000), One(0..100));
    assert_eq!(of("bytes=900-,0-0", 1000), many(&[900..1000, 0..1]));
}

#[test]
fn ranges_keep_the_order_of_the_request() {
    assert_eq!(of("bytes=500-509,0-9,250-259", 1000), many(&[500..510, 0..10, 250..260]));
    // The third range joins the first; the last one joins the second and the fifth.
    assert_eq!(
        of("bytes=500-509,0-9,510-519,800-809,179-189,89-99", 1000),
        many(&[500..520, 0..190, 800..810])
    );
}

#[test]
fn the_examples_of_the_rfc_select_their_ranges() {
    // RFC 9110 section 14.1.2.
    let first_middle_last = "bytes= 0-999, 4500-5499, -1000";
    assert_eq!(of(first_middle_last, 10_000), many(&[0..1000, 4500..5500, 9000..10_000]));
    assert_eq!(of("bytes=0-0,-1", 10_000), many(&[0..1, 9999..10_000]));
}

fn list(count: u64, step: u64) -> String {
    let specs: Vec<String> = (0..count).map(|i| format!("{0}-{0}", i * step)).collect();
    format!("bytes={}", specs.join(","))
}

#[test]
fn a_request_for_too_much_gets_the_whole() {
    // At most 16 ranges are sent.
    assert!(matches!(of(&list(16, 1000), 1 << 20), Many(ranges) if ranges.len() == 16));
    assert_eq!(of(&list(17, 1000), 1 << 20), Whole);
    // At most 64 ranges are read, whether they exist or not.
    assert_eq!(of(&list(64, 10), 1 << 20), One(0..631));
    assert_eq!(of(&list(65, 10), 1 << 20), Whole);
    assert_eq!(of(&list(64, 10), 1), One(0..1));
    assert_eq!(of(&list(65, 10), 1), Whole);
    // The requested bytes must not add up to more than the representation.
    assert_eq!(of("bytes=0-59,0-39", 100), One(0..60));
    assert_eq!(of("bytes=0-59,0-40", 100), Whole);
    assert_eq!(of("bytes=0-,0-,0-,0-,0-", 100), Whole);
    assert_eq!(of("bytes=0-,0-", u64::MAX), Whole);
}

#[test]
fn ranges_of_the_largest_representation_do_not_overflow() {
    let len = u64::MAX;
    assert_eq!(of("bytes=0-", len), One(0..len));
    assert_eq!(of("bytes=-1", len), One(len - 1..len));
    assert_eq!(of("bytes=0-1,-1", len), many(&[0..2, len - 1..len]));
    assert_eq!(of("bytes=4294967296-8589934591", len), One(1 << 32..1 << 33));
    assert_eq!(of("bytes=18446744073709551615-", len), Unsatisfiable);
}

#[test]
fn ranges_are_ignored_unless_if_range_holds() {
    const DATE: u64 = 784_111_777;
    let tag = |text: &'static str| EntityTag::parse(text.as_bytes());
    let date = |is_strong| Some(Modified { seconds: DATE, is_strong });
    let all = Validators { tag: tag("\"a\""), modified: date(true) };
    let weak = Validators { tag: tag("W/\"a\""), modified: date(false) };
    let none = Validators::default();
    for (if_range, validators, holds) in [
        ("\"a\"", all, true),
        ("\"b\"", all, false),
        ("W/\"a\"", all, false),
        ("\"a\"", weak, false),
        ("W/\"a\"", weak, false),
        ("\"a\"", none, false),
        ("\"a\", \"b\"", all, false),
        ("*", all, false),
        ("", all, false),
        ("a", all, false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", all, true),
        ("Sunday, 06-Nov-94 08:49:37 GMT", all, true),
        ("Sun Nov  6 08:49:37 1994", all, true),
        ("Sun, 06 Nov 1994 08:49:36 GMT", all, false),
        ("Sun, 06 Nov 1994 08:49:38 GMT", all, false),
        ("Sun, 06 Nov 1994 08:49:37", all, false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", weak, false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", none, false),
    ] {
        let if_range_field = Field::one(if_range.as_bytes());
        for (range, satisfied) in [("bytes=0-0", One(0..1)), ("bytes=1000-", Unsatisfiable)] {
            let expected = if holds { satisfied } else { Whole };
            let selection = select(Field::one(range.as_bytes()), if_range_field, &validators, 1000);
            assert_eq!(selection, expected, "{if_range} {range}");
        }
        assert_eq!(select(Field::ABSENT, if_range_field, &validators, 1000), Whole);
    }
    let twice = Field::spanning("if-range", b"\"a\"\r\nIf-Range: \"a\"");
    assert_eq!(select(Field::one(b"bytes=0-0"), twice, &all, 1000), Whole);
}

#[test]
fn content_range_has_the_form_of_the_rfc() {
    // RFC 9110 section 14.4.
    assert_eq!(ContentRange::Satisfied(42..1234, 1234).to_string(), "bytes 42-1233/1234");
    assert_eq!(ContentRange::Unsatisfied(1234).to_string(), "bytes */1234");
}

/// Draws a field of ranges, most of which lie within `len` bytes.
fn any_field(random: &mut fastrand::Rng, len: u64) -> String {
    let specs: Vec<String> = (0..random.usize(1..24))
        .map(|_| {
            let first = random.u64(..len + len / 8 + 2);
            let width = random.u64(..1 + len / 20);
            match random.u8(..12) {
                0 => format!("-{width}"),
                1 => format!("{first}-"),
                _ => format!("{first}-{}", first + width),
            }
        })
        .collect();
    format!("bytes={}", specs.join(", "))
}

/// Compares byte by byte.
#[test]
fn selected_are_the_requested_bytes_and_short_gaps() {
    let mut seen = [0; 4];
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let len = random.u64(1..6000);
        let value = any_field(&mut random, len);
        let mut asked = vec![false; len as usize];
        for (first, last) in oracle::asked(&value, len).unwrap() {
            asked[first as usize..=last as usize].fill(true);
        }
        let ranges = match of(&value, len) {
            Whole => {
                seen[0] += 1;
                continue;
            }
            Unsatisfiable => {
                seen[1] += 1;
                Vec::new()
            }
            One(range) => {
                seen[2] += 1;
                vec![range]
            }
            Many(ranges) => {
                seen[3] += 1;
                ranges.into_vec()
            }
        };
        let mut sent = vec![0; len as usize];
        for range in &ranges {
            assert!(asked[range.start as usize] && asked[range.end as usize - 1], "seed {seed}");
            sent[range.start as usize..range.end as usize].iter_mut().for_each(|count| *count += 1);
        }
        let mut gap = 0;
        for (asked, sent) in asked.into_iter().zip(sent) {
            assert!(sent <= 1 && (sent == 1 || !asked), "seed {seed}");
            gap = if sent == 1 && !asked { gap + 1 } else { 0 };
            assert!(gap < GAP_MIN, "seed {seed}");
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn the_fuzz_entry_accepts_short_and_long_lengths() {
    fuzz_range(b"\x01\x64\0\0\0\0\0\0bytes=0-5");
    fuzz_range(b"\x07\xff\xff\xff\xff\xff\xff\xffbytes=-5,0-0");
}
