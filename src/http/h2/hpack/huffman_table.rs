//! The Huffman code of HPACK (RFC 7541 Appendix B), by its lengths.
//!
//! The code is canonical (§5.2 refers to CANON): of the codes in ascending order, the shorter ones
//! come first, and those of one length have the order of their symbols. So the lengths determine
//! the codes.

/// The symbol that marks the end of a string. It never occurs in one (§5.2).
pub(super) const EOS: usize = 256;

/// The length of the longest code, in bits.
const LENGTH_MAX: u8 = 30;

/// The number of bits of the code of each byte and of EOS, from 5 to 30; 16 in a row.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; EOS + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code of each symbol, in the last bits.
pub(super) const CODES: [u32; EOS + 1] = codes();

const fn codes() -> [u32; EOS + 1] {
    let mut codes = [0; EOS + 1];
    let mut next = 0;
    let mut length = 1;
    while length <= LENGTH_MAX {
        next <<= 1;
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] == length {
                codes[symbol] = next;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    // Each sequence of bits begins with a code: decoding never comes to a place without a symbol.
    assert!(next == 1 << LENGTH_MAX);
    codes
}
