//! Decodes Huffman strings (RFC 7541 §5.2), 8 bits a step.
//!
//! A table has an entry for each value of the next 8 bits. The entry is the symbol whose code they
//! begin with, and the length of that code. If the code is longer than 8 bits, it is the table for
//! the 8 bits after these. Nearly all characters of fields have codes of at most 8 bits, so they
//! take one step, and only the first table, 512 bytes, is in use.

use super::error::CompressionError;
use super::huffman_table::{CODES, EOS, LENGTHS};

/// What an entry says:
///
/// - `IS_TABLE | n`: the code continues in table `n`.
/// - `IS_EOS`: the code of EOS.
/// - otherwise, a symbol in the lower byte, and above it how many of the 8 bits belong to it.
type Step = u16;

const IS_TABLE: Step = 0x8000;
const IS_EOS: Step = 0x4000;

/// EOS has 30 bits: three tables of 8, and this rest.
const EOS_BITS_IN_LAST_TABLE: u32 = LENGTHS[EOS] as u32 % 8;

type StepTable = [Step; 256];

/// As many tables as the code needs; a wrong number does not compile.
const TABLES: usize = 15;

static STEPS: [StepTable; TABLES] = step_tables();

const fn step_tables() -> [StepTable; TABLES] {
    let mut tables = [[0; 256]; TABLES];
    let mut used = 1;
    let mut symbol = 0;
    while symbol <= EOS {
        let code = CODES[symbol];
        let mut left = LENGTHS[symbol] as u32;
        let mut table = 0;
        while left > 8 {
            let byte = (code >> (left - 8) & 0xff) as usize;
            if tables[table][byte] == 0 {
                tables[table][byte] = IS_TABLE | used as Step;
                used += 1;
            }
            table = (tables[table][byte] & !IS_TABLE) as usize;
            left -= 8;
        }
        let step = if symbol == EOS { IS_EOS } else { (left as Step) << 8 | symbol as Step };
        // Every byte that begins with the rest of the code.
        let free = 8 - left;
        let first = ((code << free) & 0xff) as usize;
        let mut byte = first;
        while byte < first + (1 << free) {
            tables[table][byte] = step;
            byte += 1;
        }
        symbol += 1;
    }
    assert!(used == TABLES);
    tables
}

/// Appends the text of a Huffman string to `out`: at most 8 bytes for 5 of the string, because the
/// shortest codes have 5 bits.
///
/// # Errors
///
/// If the string contains EOS, or if its padding is longer than 7 bits or not all ones.
pub(super) fn decode(string: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    // The last `count` bits of `bits` have not been decoded.
    let (mut bits, mut count) = (0_u64, 0_u32);
    let mut table = 0;
    let mut rest = string;
    out.reserve(string.len() * 8 / 5);
    loop {
        if count < 8 {
            let fresh = rest.len().min(7);
            let (next, behind) = rest.split_at(fresh);
            bits = next.iter().fold(bits, |bits, byte| bits << 8 | u64::from(*byte));
            count += 8 * fresh as u32;
            rest = behind;
        }
        // At the end of the string, ones take the place of bits that are missing.
        let byte = if count >= 8 { bits >> (count - 8) } else { !(!bits << (8 - count)) };
        let step = STEPS[table][usize::from(byte as u8)];
        if step & IS_EOS != 0 && count >= EOS_BITS_IN_LAST_TABLE {
            return Err(CompressionError::EosInString);
        }
        // Of the entry of EOS, this is more than there can be.
        let length = if step & IS_TABLE == 0 { u32::from(step >> 8) } else { 8 };
        if length > count {
            break;
        }
        count -= length;
        if step & IS_TABLE == 0 {
            out.push(step as u8);
            table = 0;
        } else {
            table = usize::from(step & !IS_TABLE);
        }
    }
    // In another table than the first, at least 8 bits belong to no symbol.
    let padding = !(!0_u64 << count);
    if table == 0 && bits & padding == padding {
        Ok(())
    } else {
        Err(CompressionError::WrongPadding)
    }
}
