//! Encodes the field lists of responses, without a dynamic table and without Huffman codes.
//!
//! Each field depends on nothing but itself, so fields can be encoded once and sent many times.

use super::integer;
use super::static_table::{STATIC_TABLE, STATUS_INDEX, index_of_name};

/// The first bit of an indexed field (RFC 7541 §6.1).
const INDEXED: u8 = 0x80;
/// The first bits of a change of the table's size (§6.3).
const SIZE_UPDATE: u8 = 0x20;
/// The first bits of a literal field without indexing (§6.2.2).
const LITERAL: u8 = 0x00;

/// Appends a change of the table's size to 0 (§6.3), in one byte; it must be the first of a block.
///
/// When a client allows a smaller table than before, the next block has to say that the table has
/// become smaller (§4.2, RFC 9113 §4.3.1), though nothing is in it; some clients refuse other
/// blocks. Once it is 0, it cannot become smaller, so one such byte per connection suffices: in the
/// first block after a `SETTINGS_HEADER_TABLE_SIZE` below 4096, or in the first of all.
pub fn encode_empty_table(out: &mut Vec<u8>) {
    integer::write(out, SIZE_UPDATE, 5, 0);
}

/// Appends `:status` with a code of three digits. One byte for the codes that are in the static
/// table, 5 for others.
pub fn encode_status(out: &mut Vec<u8>, code: u16) {
    let digit = |divisor| b'0' + (code / divisor % 10) as u8;
    let digits = [digit(100), digit(10), digit(1)];
    let index = match code {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            integer::write(out, LITERAL, 4, STATUS_INDEX);
            string(out, &digits);
            return;
        }
    };
    debug_assert_eq!(STATIC_TABLE[index - 1].1, digits);
    integer::write(out, INDEXED, 7, index);
}

/// Appends a field as a literal without indexing (§6.2.2). The name may be in any case; it is
/// written in lower case (RFC 9113 §8.2.1), or as its index in the static table.
pub fn encode_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if let Some(index) = index_of_name(name) {
        integer::write(out, LITERAL, 4, index);
    } else {
        out.push(LITERAL);
        let begin = string(out, name);
        out[begin..].make_ascii_lowercase();
    }
    string(out, value);
}

/// Appends a string as it is (§5.2). Returns where its text begins.
fn string(out: &mut Vec<u8>, text: &[u8]) -> usize {
    integer::write(out, 0, 7, text.len());
    let begin = out.len();
    out.extend_from_slice(text);
    begin
}
