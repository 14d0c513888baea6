//! Escapes what a client has sent, so that a line of the log stays one line and no byte of it
//! controls the terminal that shows it.

/// What a text ends with if it is cut off.
const CUT: &[u8] = "…".as_bytes();

/// Whether a byte stays as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Whether all bytes stay as they are, as in nearly all texts. Looks at 16 bytes at a time, without
/// an early exit among them, so that the compiler uses vectors.
fn are_plain(text: &[u8]) -> bool {
    let all = |bytes: &[u8; 16]| bytes.iter().fold(true, |all, byte| all & is_plain(*byte));
    let (parts, rest) = text.as_chunks::<16>();
    let mut last = [b' '; 16];
    last[..rest.len()].copy_from_slice(rest);
    parts.iter().all(all) && all(&last)
}

/// Appends a text to a line of text: bytes that are not printable ASCII, `"` and `\` become `\xHH`,
/// as in nginx. Of a longer text, `bytes_max` bytes are appended, and an ellipsis.
pub(super) fn push_text(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    if text.len() <= bytes_max && are_plain(text) {
        return line.extend_from_slice(text);
    }
    let end = line.len() + bytes_max;
    for byte in text {
        let escape = [b'\\', b'x', hex(byte >> 4), hex(byte & 15)];
        let escaped = if is_plain(*byte) { std::slice::from_ref(byte) } else { &escape };
        if line.len() + escaped.len() > end {
            return line.extend_from_slice(CUT);
        }
        line.extend_from_slice(escaped);
    }
}

/// Appends a text to a JSON string (RFC 8259 section 7). Valid UTF-8 stays as it is, except control
/// characters, U+0080 to U+009F included, which become `\u00HH`; a byte that is not UTF-8 becomes
/// U+FFFD. Of a longer text, `bytes_max` bytes are appended, and an ellipsis.
pub(super) fn push_json(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    if text.len() <= bytes_max && are_plain(text) {
        return line.extend_from_slice(text);
    }
    let end = line.len() + bytes_max;
    for chunk in text.utf8_chunks() {
        let replaced = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(replaced) {
            let (mut plain, number) = ([0; 4], character as u32 as u8);
            let control = [b'\\', b'u', b'0', b'0', hex(number >> 4), hex(number & 15)];
            let escaped = match character {
                '"' => br#"\""#,
                '\\' => br"\\",
                character if character.is_control() => &control[..],
                character => character.encode_utf8(&mut plain).as_bytes(),
            };
            if line.len() + escaped.len() > end {
                return line.extend_from_slice(CUT);
            }
            line.extend_from_slice(escaped);
        }
    }
}

/// The digit for a number below 16. Upper case, as in nginx.
fn hex(digit: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(digit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &[u8], bytes_max: usize) -> String {
        let mut line = Vec::new();
        push_text(&mut line, text, bytes_max);
        String::from_utf8(line).unwrap()
    }

    fn json(text: &[u8], bytes_max: usize) -> String {
        let mut line = Vec::new();
        push_json(&mut line, text, bytes_max);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn texts_are_escaped_like_those_of_nginx() {
        for (raw, escaped) in [
            (&b"/a b~!"[..], "/a b~!"),
            (b"", ""),
            (b"say \"x\\y\"", r"say \x22x\x5Cy\x22"),
            (b"a\r\nb\t\x1b[0m", r"a\x0D\x0Ab\x09\x1B[0m"),
            (b"\x7f\x80\xff\0", r"\x7F\x80\xFF\x00"),
            ("ü".as_bytes(), r"\xC3\xBC"),
        ] {
            assert_eq!(text(raw, 1024), escaped);
        }
    }

    #[test]
    fn strings_are_escaped_for_json() {
        for (raw, escaped) in [
            (&b"/a b"[..], "/a b"),
            ("ü€😀".as_bytes(), "ü€😀"),
            (b"say \"x\\y\"", r#"say \"x\\y\""#),
            (b"a\r\nb\x1b\x7f", r"a\u000D\u000Ab\u001B\u007F"),
            ("\u{85}".as_bytes(), r"\u0085"),
            (b"\xff\xfea\xc3", "\u{fffd}\u{fffd}a\u{fffd}"),
        ] {
            assert_eq!(json(raw, 1024), escaped);
        }
    }

    /// The bound counts what is written, so that a line has a bound whatever it consists of. No
    /// escape and no character is cut in two.
    #[test]
    fn long_texts_are_cut() {
        assert_eq!(text(b"abcdef", 6), "abcdef");
        assert_eq!(text(b"abcdefg", 6), "abcdef…");
        assert_eq!(text(b"abc\n\n", 9), r"abc\x0A…");
        assert_eq!(json("abcü".as_bytes(), 5), "abcü");
        assert_eq!(json("abcü".as_bytes(), 4), "abc…");
        assert_eq!(json(b"\n\n", 11), r"\u000A…");
    }

    #[test]
    fn no_byte_of_a_text_is_a_control() {
        fastrand::seed(7);
        for _ in 0..2000 {
            let raw: Vec<u8> = (0..fastrand::usize(..40)).map(|_| fastrand::u8(..)).collect();
            let bytes_max = fastrand::usize(..80);
            let text = text(&raw, bytes_max);
            assert!(text.len() <= bytes_max + CUT.len());
            let inner = text.strip_suffix('…').unwrap_or(&text);
            assert!(inner.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"'));
            let json = json(&raw, bytes_max);
            assert!(json.len() <= bytes_max + CUT.len());
            let parsed: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
            assert!(json.chars().all(|character| !character.is_control()), "{json:?}");
            if !json.ends_with('…') {
                let lossless = std::str::from_utf8(&raw);
                assert!(lossless.is_err() || lossless == Ok(&parsed));
            }
        }
    }
}
