//! Bodies of each kind, and a comparison with a naive decoder.

use super::DiscardError::{Malformed, TooLarge};
use super::fuzz::feed_in_pieces;
use super::{
    Discard, DiscardError, DiscardProgress, EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX, fuzz_discard,
};
use crate::http::h1::head::{FIELDS_MAX, RequestBody};

const BYTES_MAX: u64 = 64 * 1024;

/// Feeds a chunked body at once and byte by byte. Returns its length if it ended.
fn chunked(stream: &[u8], bytes_max: u64) -> Result<Option<usize>, DiscardError> {
    let start = Discard::new(RequestBody::Chunked, bytes_max).unwrap();
    let whole = start.clone().feed(stream);
    assert_eq!(feed_in_pieces(start, stream, 1), whole, "{}", stream.escape_ascii());
    whole.map(|progress| progress.done.then_some(progress.used))
}

#[test]
fn an_empty_body_needs_no_discarding() {
    assert!(Discard::new(RequestBody::None, 9).is_none());
    assert!(Discard::new(RequestBody::Length(0), 9).is_none());
    assert!(Discard::new(RequestBody::Length(1), 0).is_some());
}

#[test]
fn a_body_with_content_length_ends_after_that_many_bytes() {
    let mut discard = Discard::new(RequestBody::Length(5), 5).unwrap();
    assert_eq!(discard.feed(b""), Ok(DiscardProgress { used: 0, done: false }));
    assert_eq!(discard.feed(b"abc"), Ok(DiscardProgress { used: 3, done: false }));
    assert_eq!(discard.feed(b"deGET /"), Ok(DiscardProgress { used: 2, done: true }));
    assert_eq!(discard.feed(b"GET /"), Ok(DiscardProgress { used: 0, done: true }));
}

#[test]
fn a_content_length_above_the_limit_fails_at_once() {
    let mut discard = Discard::new(RequestBody::Length(6), 5).unwrap();
    assert_eq!(discard.feed(b""), Err(TooLarge));
    let mut discard = Discard::new(RequestBody::Length(u64::MAX), u64::MAX).unwrap();
    assert_eq!(discard.feed(b"abc"), Ok(DiscardProgress { used: 3, done: false }));
}

#[test]
fn a_chunked_body_ends_after_its_trailer_section() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "1\r\na\r\n0A\r\n0123456789\r\n0\r\n\r\n",
        "0000000000000001\r\na\r\n0000000000000000\r\n\r\n",
        "1;a=b\r\nx\r\n0;c\r\n\r\n",
        "1 \t;a=\"b;\u{e9}\"\r\nx\r\n0 ;\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "0\r\nA: b\r\nC: d\r\n\r\n",
        "0\r\nA:b\r\nx-!#$%&'*+.^_`|~9:\r\nC: \t \r\nD: : e\u{e9}\r\n\r\n",
    ] {
        let mut stream = body.as_bytes().to_vec();
        assert_eq!(chunked(&stream[..stream.len() - 1], BYTES_MAX), Ok(None), "{body:?}");
        stream.extend(b"GET / HTTP/1.1\r\n");
        assert_eq!(chunked(&stream, BYTES_MAX), Ok(Some(body.len())), "{body:?}");
    }
}

#[test]
fn chunked_framing_is_strict() {
    for body in [
        "\r\n",
        "x",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "0x1\r\n",
        ";a\r\n",
        "1\na",
        "1\r\r\n",
        "1\rx",
        "1 \r\n",
        "1 2\r\n",
        "1;a\n",
        "1;a\x01\r\n",
        "1;a\0",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rx",
        "00000000000000001",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nA: b\n",
        "0\r\nA: b\rx",
        "0\r\nA\0",
        "0\r\nA: b\r\n\n",
    ] {
        assert_eq!(chunked(body.as_bytes(), BYTES_MAX), Err(Malformed), "{body:?}");
    }
}

/// Trailer lines are field lines (RFC 9112 section 7.1.2). If other lines were accepted, a request
/// that a proxy sees behind the last chunk could pass as a part of the body.
#[test]
fn trailers_are_field_lines() {
    for line in [
        "A",
        "A\r",
        "A\r\nB: c",
        "no colon",
        ": nameless",
        ":",
        "A : b",
        "A\t: b",
        " A: b",
        "\tA: b",
        " ",
        "A: b\r\n folded",
        "A: b\r\n\tfolded",
        "A: b\r\n ",
        "GET / HTTP/1.1",
        "GET /small.txt HTTP/1.1\r\nHost: h",
        "GET http://h/ HTTP/1.1",
        "(A): b",
        "A/B: c",
        "A\"B\": c",
        "A=B: c",
        "A{B}: c",
        "\u{e9}: b",
        "A\0: b",
        "A: \0",
        "A: \x7f",
        "A: b\rC: d",
        "0",
    ] {
        for before in ["", "X: y\r\n"] {
            let body = format!("0\r\n{before}{line}\r\n\r\n");
            assert_eq!(chunked(body.as_bytes(), BYTES_MAX), Err(Malformed), "{body:?}");
        }
    }
}

#[test]
fn an_error_is_returned_again() {
    let mut discard = Discard::new(RequestBody::Chunked, BYTES_MAX).unwrap();
    assert_eq!(discard.feed(b"x"), Err(Malformed));
    assert_eq!(discard.feed(b"0\r\n\r\n"), Err(Malformed));
}

#[test]
fn every_byte_counts_towards_the_limit() {
    let body = b"5\r\nhello\r\n0\r\n\r\n";
    let length = body.len() as u64;
    assert_eq!(chunked(body, length), Ok(Some(body.len())));
    assert_eq!(chunked(body, length - 1), Err(TooLarge));
    assert_eq!(chunked(&body[..body.len() - 1], length - 1), Ok(None));
    assert_eq!(chunked(&b"1\r\na\r\n".repeat(1000), 5999), Err(TooLarge));
}

#[test]
fn a_chunk_above_the_limit_fails_before_its_data() {
    assert_eq!(chunked(b"5\r\n", 8), Ok(None));
    assert_eq!(chunked(b"6\r\n", 8), Err(TooLarge));
    assert_eq!(chunked(b"ffffffffffffffff\r\n", BYTES_MAX), Err(TooLarge));
}

#[test]
fn extensions_and_trailers_have_limits_of_their_own() {
    let extension = |bytes: u32| format!("1;{}\r\na\r\n", "x".repeat(bytes as usize - 1));
    let fits = extension(EXTENSION_BYTES_MAX);
    assert_eq!(chunked(fits.repeat(3).as_bytes(), BYTES_MAX), Ok(None));
    assert_eq!(chunked(extension(EXTENSION_BYTES_MAX + 1).as_bytes(), BYTES_MAX), Err(TooLarge));
    let gap = format!("1{}", " ".repeat(EXTENSION_BYTES_MAX as usize + 1));
    assert_eq!(chunked(gap.as_bytes(), BYTES_MAX), Err(TooLarge));

    let line = format!("A: {}\r\n", "b".repeat(128 - 5));
    let trailer = |bytes: u32| {
        let lines = line.repeat(bytes as usize / line.len());
        format!("0\r\n{lines}A: {}\r\n\r\n", "b".repeat(bytes as usize % line.len()))
    };
    let fits = trailer(TRAILER_BYTES_MAX - 5);
    assert_eq!(chunked(fits.as_bytes(), BYTES_MAX), Ok(Some(fits.len())));
    let over = trailer(TRAILER_BYTES_MAX - 4);
    assert_eq!(chunked(over.as_bytes(), BYTES_MAX), Err(TooLarge));
}

#[test]
fn a_trailer_section_has_as_many_fields_as_a_head() {
    let trailer = |fields: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(fields));
    let fits = trailer(FIELDS_MAX);
    assert_eq!(chunked(fits.as_bytes(), BYTES_MAX), Ok(Some(fits.len())));
    assert_eq!(chunked(trailer(FIELDS_MAX + 1).as_bytes(), BYTES_MAX), Err(TooLarge));
}

/// A naive decoder of whole chunked bodies: returns the length of the body, if it ends.
///
/// It has no limits, and does not distinguish incomplete bodies from malformed ones.
fn naive(stream: &[u8]) -> Option<usize> {
    let line_end = |at: usize| {
        let length = stream[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &stream[at..at + length];
        let clean = line.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        clean.then_some(at + length)
    };
    let mut at = 0;
    loop {
        let end = line_end(at)?;
        let line = str::from_utf8(&stream[at..end]).ok()?;
        let digits = match line.split_once(';') {
            Some((digits, _)) => digits.trim_end_matches([' ', '\t']),
            None => line,
        };
        if digits.starts_with('+') || digits.len() > 16 {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        if stream.get(at.checked_add(size)?..)?.get(..2)? != b"\r\n" {
            return None;
        }
        at += size + 2;
    }
    loop {
        let end = line_end(at)?;
        if end == at {
            return Some(end + 2);
        }
        let colon = stream[at..end].iter().position(|&byte| byte == b':')?;
        let name = str::from_utf8(&stream[at..at + colon]).ok()?;
        let delimits = |char: char| "(),/:;<=>?@[\\]{}\" \t".contains(char);
        if name.is_empty() || !name.is_ascii() || name.contains(delimits) {
            return None;
        }
        at = end + 2;
    }
}

/// Draws a chunked body, and damages every second one.
fn any_body(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..random.usize(..4) {
        let size = random.usize(1..20);
        let gap = [" ;a", ";b=c", "", ""][random.usize(..4)];
        body.extend(format!("{size:x}{gap}\r\n").as_bytes());
        body.extend((0..size).map(|_| b"\r\n0a;\0"[random.usize(..6)]));
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n");
    for _ in 0..random.usize(..3) {
        let odd = [&b"A b\r\n"[..], b" A: b\r\n", b"A : b\r\n", b": b\r\n", b"A:\r\n"];
        body.extend(if random.u8(..8) == 0 { odd[random.usize(..5)] } else { b"A: b\r\n" });
    }
    body.extend(b"\r\nGET /");
    if random.bool() {
        let at = random.usize(..body.len());
        match random.u8(..3) {
            0 => body[at] = b"\r\n 0f;x\0:"[random.usize(..9)],
            1 => drop(body.remove(at)),
            _ => body.insert(at, b"\r\n 0f;x\0:"[random.usize(..9)]),
        }
    }
    body
}

#[test]
fn any_body_ends_where_the_naive_decoder_says() {
    let mut ended = 0;
    for seed in 0..5000 {
        let body = any_body(&mut fastrand::Rng::with_seed(seed));
        let found = chunked(&body, BYTES_MAX).ok().flatten();
        assert_eq!(found, naive(&body), "seed {seed}: {}", body.escape_ascii());
        ended += u32::from(found.is_some());
    }
    assert!((1000..4900).contains(&ended), "the generator is one-sided: {ended} of 5000 ended");
}

#[test]
fn splitting_any_body_does_not_change_the_result() {
    for seed in 0..5000 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut data = vec![random.u8(..), random.u8(..)];
        data.extend(any_body(&mut random));
        fuzz_discard(&data);
    }
}
