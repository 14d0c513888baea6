//! Header compression (RFC 7541) for clients of tests. It shares no code with the server.
//!
//! The decoder knows what a server without a dynamic table may send: indices of the static table,
//! and literals without Huffman coding that do not ask for a place in the dynamic table. Anything
//! else fails the test.

#![allow(dead_code, reason = "no binary uses all of this")]

/// The static table (RFC 7541 Appendix A), from index 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""),
    ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""),
    ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""),
    ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// The names and values of a header list.
pub(crate) type Fields = Vec<(String, String)>;

/// Decodes a header block.
pub(crate) fn decode(mut block: &[u8]) -> Fields {
    let mut fields = Fields::new();
    while let [first, ..] = *block {
        if first & 0x80 != 0 {
            let (name, value) = STATIC[integer(&mut block, 7) - 1];
            fields.push((name.to_owned(), value.to_owned()));
            continue;
        }
        if first & 0xe0 == 0x20 {
            assert!(fields.is_empty(), "a size update comes after a field (section 4.2)");
            let size = integer(&mut block, 5);
            assert!(size <= 4096, "a table of {size} bytes is larger than the default");
            continue;
        }
        assert_eq!(first & 0x40, 0, "a field is added to the dynamic table");
        let name = match integer(&mut block, 4) {
            0 => text(&mut block),
            index => STATIC[index - 1].0.to_owned(),
        };
        fields.push((name, text(&mut block)));
    }
    fields
}

fn integer(block: &mut &[u8], bits: u32) -> usize {
    let max = (1 << bits) - 1;
    let mut value = usize::from(take(block)) & max;
    if value < max {
        return value;
    }
    for shift in (0..28).step_by(7) {
        let byte = take(block);
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("an integer is too long");
}

fn text(block: &mut &[u8]) -> String {
    assert_eq!(block[0] & 0x80, 0, "a string is coded by Huffman");
    let length = integer(block, 7);
    let (text, rest) = block.split_at(length);
    *block = rest;
    text.iter().map(|byte| char::from(*byte)).collect()
}

fn take(block: &mut &[u8]) -> u8 {
    let (first, rest) = block.split_first().expect("the block goes on");
    *block = rest;
    *first
}

/// How a field is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    /// By its index, if the static table has it; else as a literal that changes nothing.
    Plain,
    /// As a literal that is added to the dynamic table.
    Indexing,
    /// As a literal that no one may add to a table.
    Never,
}

/// Appends a field.
pub(crate) fn encode(out: &mut Vec<u8>, coding: Coding, name: &[u8], value: &[u8]) {
    let is_it = |entry: &&(&str, &str)| entry.0.as_bytes() == name;
    let index = |entry: &(&str, &str)| STATIC.iter().position(|it| it == entry).unwrap() + 1;
    let whole = STATIC.iter().filter(is_it).find(|entry| entry.1.as_bytes() == value);
    if let (Coding::Plain, Some(entry)) = (coding, whole) {
        return encode_integer(out, 0x80, 7, index(entry));
    }
    let (pattern, bits) = match coding {
        Coding::Plain => (0, 4),
        Coding::Indexing => (0x40, 6),
        Coding::Never => (0x10, 4),
    };
    match STATIC.iter().find(is_it) {
        Some(entry) => encode_integer(out, pattern, bits, index(entry)),
        None => {
            out.push(pattern);
            encode_text(out, name);
        }
    }
    encode_text(out, value);
}

fn encode_text(out: &mut Vec<u8>, text: &[u8]) {
    encode_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

fn encode_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let max = (1 << bits) - 1;
    if value < max {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | max as u8);
    let mut rest = value - max;
    while rest >= 0x80 {
        out.push(0x80 | rest as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}
