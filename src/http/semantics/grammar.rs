//! The common grammar of field values (RFC 9110 section 5.6): tokens, lists, quoted strings.

/// Whether `bytes` is a token (section 5.6.2), as are the names of fields and codings.
pub(in crate::http) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a token may contain this byte.
pub(in crate::http) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `bytes` is a quoted string (section 5.6.4), including its quotes.
pub(in crate::http) fn is_quoted_string(bytes: &[u8]) -> bool {
    let Some(inner) = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return false;
    };
    let mut rest = inner;
    loop {
        rest = match rest {
            [] => return true,
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [b'\\' | b'"', ..] => return false,
            [byte, rest @ ..] if is_text(*byte) => rest,
            _ => return false,
        };
    }
}

/// Whether `bytes` can be the value of a parameter (section 5.6.6).
pub(in crate::http) fn is_token_or_quoted(bytes: &[u8]) -> bool {
    is_token(bytes) || is_quoted_string(bytes)
}

/// Whether a field value may contain this byte (section 5.5).
pub(in crate::http) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Removes optional whitespace from both ends (section 5.6.3).
pub(in crate::http) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Splits at each separator outside of quoted strings, and trims the pieces.
///
/// A quoted string without its closing quote extends to the end of `bytes`.
pub(in crate::http) fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = end_of_piece(bytes, separator);
        rest = bytes.get(end + 1..);
        Some(trim(&bytes[..end]))
    })
}

fn end_of_piece(bytes: &[u8], separator: u8) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            byte if *byte == separator && !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_recognised() {
        for good in ["gzip", "X-A", "*", "a.b~c", "0"] {
            assert!(is_token(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a/b", "a:", "\u{fc}", "a\0", "(a)", "a=b"] {
            assert!(!is_token(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn quoted_strings_are_recognised() {
        for good in [r#""""#, r#""a b""#, r#""a\"b""#, r#""\\""#, "\"\u{fc}\t\""] {
            assert!(is_quoted_string(good.as_bytes()), "{good}");
        }
        for bad in ["", "\"", "a", r#""a"#, r#"a""#, r#""a"b""#, r#""\""#, "\"\0\"", "\"\\\x7f\""] {
            assert!(!is_quoted_string(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn separators_within_quoted_strings_do_not_split() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[""]),
            (",", &["", ""]),
            (" a ,\tb", &["a", "b"]),
            (r#"a;b="1,2", c"#, &[r#"a;b="1,2""#, "c"]),
            (r#""\",",a"#, &[r#""\",""#, "a"]),
            (r#"a, "b, c"#, &["a", r#""b, c"#]),
            (r#""a\"#, &[r#""a\"#]),
            ("a\\,b", &["a\\", "b"]),
        ];
        for (list, expected) in cases {
            let pieces: Vec<_> = split(list.as_bytes(), b',').collect();
            let expected: Vec<_> = expected.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(pieces, expected, "{list}");
        }
    }
}
