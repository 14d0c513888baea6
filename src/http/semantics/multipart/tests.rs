//! Bodies of several ranges, read back by an independent parser.

use std::ops::Range;

use super::{Boundary, Multipart};

const BOUNDARY: Boundary = Boundary::new([0x0123_4567_89ab_cdef, 5]);

fn body(multipart: &Multipart<'_>, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (part, range) in multipart.ranges.iter().enumerate() {
        multipart.write_head(part, &mut body);
        body.extend_from_slice(&file[range.start as usize..range.end as usize]);
    }
    multipart.write_end(&mut body);
    body
}

/// Splits a body at its boundary into the fields and the content of each part.
fn parse<'a>(body: &'a [u8], content_type: &str) -> Vec<(Vec<String>, &'a [u8])> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert!(!boundary.is_empty() && boundary.len() <= 70, "RFC 2046 section 5.1.1");
    let dashed = format!("--{boundary}");
    let find = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).position(|at| at == text);
    let mut rest = body.strip_prefix(dashed.as_bytes()).unwrap();
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        rest = rest.strip_prefix(b"\r\n").unwrap();
        let head_len = find(rest, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(rest[..head_len].to_vec()).unwrap();
        let delimiter = format!("\r\n{dashed}");
        let content = &rest[head_len + 4..];
        let len = find(content, delimiter.as_bytes()).unwrap();
        parts.push((head.split("\r\n").map(String::from).collect(), &content[..len]));
        rest = &content[len + delimiter.len()..];
    }
    parts
}

#[test]
fn the_body_has_the_form_of_the_rfc() {
    let ranges = [500..503, 7000..7001];
    let multipart =
        Multipart { ranges: &ranges, len: 8000, content_type: b"text/plain", boundary: BOUNDARY };
    let expected = "--0123456789abcdef0000000000000005\r\n\
        Content-Type: text/plain\r\nContent-Range: bytes 500-502/8000\r\n\r\nxxx\r\n\
        --0123456789abcdef0000000000000005\r\n\
        Content-Type: text/plain\r\nContent-Range: bytes 7000-7000/8000\r\n\r\nx\r\n\
        --0123456789abcdef0000000000000005--\r\n";
    assert_eq!(body(&multipart, &[b'x'; 8000]), expected.as_bytes());
    assert_eq!(multipart.body_len(), expected.len() as u64);
    let content_type = "multipart/byteranges; boundary=0123456789abcdef0000000000000005";
    assert_eq!(BOUNDARY.content_type(), content_type);
}

#[test]
fn a_parser_reads_back_any_ranges() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let file: Vec<u8> =
            (0..random.usize(1..3000)).map(|_| b"\r\n-ab\0"[random.usize(..6)]).collect();
        let len = file.len() as u64;
        let ranges: Vec<Range<u64>> = (0..random.usize(1..17))
            .map(|_| {
                let start = random.u64(..len);
                start..random.u64(start + 1..=len)
            })
            .collect();
        let boundary = Boundary::new([random.u64(..), random.u64(..)]);
        let content_type = b"text/html; charset=utf-8";
        let multipart = Multipart { ranges: &ranges, len, content_type, boundary };
        let body = body(&multipart, &file);
        assert_eq!(multipart.body_len(), body.len() as u64, "seed {seed}");
        let parts = parse(&body, &boundary.content_type());
        assert_eq!(parts.len(), ranges.len(), "seed {seed}");
        for ((fields, content), range) in parts.into_iter().zip(&ranges) {
            let (first, last) = (range.start, range.end - 1);
            let content_range = format!("Content-Range: bytes {first}-{last}/{len}");
            assert_eq!(fields, ["Content-Type: text/html; charset=utf-8", &content_range]);
            assert_eq!(content, &file[first as usize..=last as usize], "seed {seed}");
        }
    }
}

#[test]
fn large_files_have_exact_lengths() {
    let len = 1 << 62;
    let ranges = [5_000_000_000..6_000_000_000, len - 1..len, 0..1];
    let multipart = Multipart { ranges: &ranges, len, content_type: b"a/b", boundary: BOUNDARY };
    let mut text = Vec::new();
    for part in 0..ranges.len() {
        multipart.write_head(part, &mut text);
    }
    multipart.write_end(&mut text);
    assert_eq!(multipart.body_len(), text.len() as u64 + 1_000_000_002);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("bytes 5000000000-5999999999/4611686018427387904\r\n"), "{text}");
    assert!(text.contains("bytes 4611686018427387903-4611686018427387903/4611686018427387904"));
}
