//! The examples of the RFC, malformed blocks, random lists, and bounds.

mod bounds;
mod encoding;
mod examples;
mod malformed;
mod random;
mod writer;

use super::decode::{Decoder, FieldList, ListLimits};
use super::error::CompressionError;
use super::fuzz;
use super::oracle::OwnedField;

/// The bytes of a hexadecimal text; white space is ignored.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A list of fields, each as `name: value`.
fn fields(lines: &[&str]) -> Vec<OwnedField> {
    let split = |line: &&str| {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        (name.as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    lines.iter().map(split).collect()
}

/// All fields of a block within the default limits.
fn whole(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<OwnedField>, CompressionError> {
    let mut fields = Vec::new();
    let list = fuzz::decode(decoder, block, ListLimits::default(), &mut fields)?;
    assert_eq!(list, FieldList::Whole);
    Ok(fields)
}
