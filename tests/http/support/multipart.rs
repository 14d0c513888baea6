//! A strict parser of `multipart/byteranges` (RFC 2046 section 5.1.1, RFC 9110 section 14.6) that
//! shares no code with the writer.

use super::client::Response;

/// One part: its fields and its bytes.
pub(crate) struct Part {
    pub(crate) content_type: String,
    /// First and last byte, and the length of the whole.
    pub(crate) range: (u64, u64, u64),
    pub(crate) bytes: Vec<u8>,
}

/// Parses `bytes 0-4/10`.
pub(crate) fn content_range(value: &str) -> (u64, u64, u64) {
    let number = |text: &str| {
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{value}");
        text.parse().unwrap()
    };
    let (range, length) = value.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (number(first), number(last), number(length))
}

/// The boundary from `Content-Type`.
pub(crate) fn boundary(response: &Response) -> &str {
    let content_type = response.field("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert!(boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{content_type}");
    assert!((1..=70).contains(&boundary.len()), "{content_type}");
    boundary
}

/// All parts of an answer.
pub(crate) fn parts(response: &Response) -> Vec<Part> {
    let delimiter = format!("--{}", boundary(response));
    let mut rest = &response.body[..];
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).expect("a boundary");
        if rest == b"--\r\n" {
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a part, or the end");
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        let mut fields = head.split("\r\n").map(|line| line.split_once(": ").unwrap());
        let (kind, range) = (fields.next().unwrap(), fields.next().unwrap());
        assert_eq!((kind.0, range.0, fields.next()), ("Content-Type", "Content-Range", None));
        let range = content_range(range.1);
        let bytes;
        (bytes, rest) = rest[end + 4..].split_at((range.1 - range.0 + 1) as usize);
        parts.push(Part { content_type: kind.1.to_owned(), range, bytes: bytes.to_vec() });
        rest = rest.strip_prefix(b"\r\n").expect("a line end before a boundary");
    }
}
