//! Escapes file names, which may be any bytes, for HTML and for references.

use std::fmt::{self, Display, Formatter, Write};

use percent_encoding::{AsciiSet, percent_encode};

#[cfg(any(test, feature = "simulation"))]
use crate::http::site::target;
use crate::http::site::target::ENCODED_IN_PATH;

/// Formats a name for text and attributes in HTML.
///
/// Bytes that are not UTF-8 become U+FFFD, as do characters that would change how the rest of the
/// page is displayed: bidirectional controls with effect beyond an element (UAX #9), line and
/// paragraph separators, and noncharacters. Control characters become their Unicode pictures, so
/// that a line break in a name is visible. All other characters are kept, including joiners and
/// emoji.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '&' => f.write_str("&amp;")?,
                    '<' => f.write_str("&lt;")?,
                    '>' => f.write_str("&gt;")?,
                    '"' => f.write_str("&quot;")?,
                    '\'' => f.write_str("&#39;")?,
                    _ => f.write_char(harmless(character))?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// The character itself, or its replacement.
fn harmless(character: char) -> char {
    let picture = match character {
        // The Unicode pictures of the 32 control characters have consecutive codes.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)),
        '\x7f' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{fdd0}'..='\u{fdef}' => None,
        _ if u32::from(character) & 0xfffe == 0xfffe => None,
        _ => Some(character),
    };
    picture.unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes that are encoded in references. A colon in the first segment would end a scheme (RFC
/// 3986 section 4.2), many programs read a plus sign as a space, and what HTML escapes would be
/// another reference for a program that does not unescape it.
const ENCODED_IN_REFERENCE: &AsciiSet = &ENCODED_IN_PATH.add(b':').add(b'+').add(b'&').add(b'\'');

/// The relative reference to an entry: its name, percent-encoded. It needs no escapes in HTML and
/// JSON.
///
/// It ends with `/` for a directory, which avoids a redirect.
pub(super) fn reference(name: &[u8], directory: bool) -> String {
    let mut reference = String::with_capacity(name.len() + 1);
    reference.extend(percent_encode(name, ENCODED_IN_REFERENCE));
    if directory {
        reference.push('/');
    }
    reference
}

/// Fuzz entry: a name does not end the text or the attribute that contains it, and its reference
/// resolves to the name. Bytes that cannot be a name are only escaped.
///
/// # Panics
///
/// If one of these does not hold.
#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub fn fuzz_listing_name(data: &[u8]) {
    let text = Text(data).to_string();
    assert!(!text.contains(['<', '>', '"', '\'']), "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
    for after in text.split('&').skip(1) {
        let entities = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(entities.iter().any(|entity| after.starts_with(entity)), "{text:?}");
    }
    let is_name = !matches!(data, b"" | b"." | b"..")
        && data.len() <= 255
        && !data.iter().any(|byte| matches!(byte, 0 | b'/'));
    if !is_name {
        return;
    }
    for directory in [false, true] {
        let reference = reference(data, directory);
        let special = ['<', '>', '"', '\'', '&', '?', '#', '\\', ' ', ':', '+'];
        assert!(reference.is_ascii() && !reference.contains(special));
        let from_root = format!("/{reference}");
        let target = target::resolve(from_root.as_bytes()).expect("a name can be requested");
        assert_eq!((target.path(), target.directory()), (data, directory));
        assert_eq!(target.query(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_harmless() {
        let table: [(&[u8], &str); 15] = [
            (b"plain-1.0~rc.tar.gz", "plain-1.0~rc.tar.gz"),
            (b"<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            (b"\" onclick=\"x", "&quot; onclick=&quot;x"),
            (b"&amp;", "&amp;amp;"),
            (b"a\nb\tc\x7f\0", "a␊b␉c␡␀"),
            (b"a\xffb\xc3", "a\u{fffd}b\u{fffd}"),
            // An overlong encoding and a surrogate are not UTF-8, so each byte is replaced.
            (b"\xc0\xbcb", "\u{fffd}\u{fffd}b"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            ("evil\u{202e}gpj.exe".as_bytes(), "evil\u{fffd}gpj.exe"),
            ("\u{2066}a\u{2069}".as_bytes(), "\u{fffd}a\u{fffd}"),
            ("a\u{85}\u{2028}b".as_bytes(), "a\u{fffd}\u{fffd}b"),
            ("\u{fffe}\u{fdd0}\u{10ffff}".as_bytes(), "\u{fffd}\u{fffd}\u{fffd}"),
            ("grün 日本 👩‍💻".as_bytes(), "grün 日本 👩‍💻"),
            ("שלום\u{200f}".as_bytes(), "שלום\u{200f}"),
            (b"a  b ", "a  b "),
        ];
        for (name, text) in table {
            assert_eq!(Text(name).to_string(), text);
            fuzz_listing_name(name);
        }
    }

    #[test]
    fn references_encode_reserved_bytes() {
        let table: [(&[u8], &str); 13] = [
            (b"a.txt", "a.txt"),
            (b"a:b", "a%3Ab"),
            (b"a+b", "a%2Bb"),
            (b"a&b", "a%26b"),
            (b"-rf", "-rf"),
            (b"what?", "what%3F"),
            (b"#1", "%231"),
            (b"100%", "100%25"),
            (b"%2e%2e", "%252e%252e"),
            (b"a\\b", "a%5Cb"),
            (b"\"'<>", "%22%27%3C%3E"),
            (b"\xff\n ", "%FF%0A%20"),
            (b"...", "..."),
        ];
        for (name, expected) in table {
            assert_eq!(reference(name, false), expected);
            assert_eq!(reference(name, true), format!("{expected}/"));
            fuzz_listing_name(name);
        }
    }

    #[test]
    fn every_byte_and_every_pair_of_bytes_is_harmless() {
        for first in 0..=255 {
            fuzz_listing_name(&[first]);
            for second in 0..=255 {
                fuzz_listing_name(&[first, second]);
            }
        }
        fuzz_listing_name(&[0xff; 255]);
    }
}
