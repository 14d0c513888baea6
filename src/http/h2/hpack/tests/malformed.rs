//! One row for each rule of RFC 7541 about what a decoder refuses, and what is barely allowed.

use super::super::decode::Decoder;
use super::super::error::CompressionError::{
    EosInString, IndexBeyondTable, IndexZero, IntegerTooLong, SizeUpdateLate, SizeUpdateRepeated,
    SizeUpdateTooLarge, Truncated, WrongPadding,
};
use super::super::oracle::NaiveDecoder;
use super::{ListLimits, bytes, fields, whole};

#[test]
fn what_the_rfc_forbids_is_refused() {
    for (section, why, block, error) in [
        ("2.3.3", "the first entry of an empty table", "be", IndexBeyondTable),
        ("2.3.3", "the second entry of a table of one", "4001 6101 62 bf", IndexBeyondTable),
        ("2.3.3", "the name of no entry, not inserted", "0f2f 0161", IndexBeyondTable),
        ("2.3.3", "the name of no entry, inserted", "7e 0161", IndexBeyondTable),
        ("2.3.3", "the largest index", "ffff ffff 7f", IndexBeyondTable),
        ("4.2", "a size after a field", "82 20", SizeUpdateLate),
        ("4.2", "a size between fields", "82 3f00 82", SizeUpdateLate),
        ("4.2", "three sizes", "20 21 22 82", SizeUpdateRepeated),
        ("4.3", "an entry that a size evicted", "4001 6101 62", IndexBeyondTable),
        ("4.4", "an entry that a larger one evicted", "4001 6101 62", IndexBeyondTable),
        ("5.1", "no byte after a full prefix", "ff", Truncated),
        ("5.1", "no last byte", "ff80 8080", Truncated),
        ("5.1", "five bytes after the prefix", "ff80 8080 8001", IntegerTooLong),
        ("5.1", "five bytes that mean 0", "ff80 8080 8000", IntegerTooLong),
        ("5.1", "a length without end", "007f ffff ffff ffff ffff ff01", IntegerTooLong),
        ("5.1", "a size of more than 32 bits", "3fff ffff ffff 0f", IntegerTooLong),
        ("5.2", "no name", "40", Truncated),
        ("5.2", "no value", "4001 61", Truncated),
        ("5.2", "a name that is cut", "4003 6161", Truncated),
        ("5.2", "a value that is cut", "4001 6102 61", Truncated),
        ("5.2", "a Huffman string that is cut", "4001 6183 1f", Truncated),
        ("5.2", "a very long string", "007f ffff ff7f 61", Truncated),
        ("5.2", "EOS alone", "0001 6184 ffff ffff", EosInString),
        ("5.2", "EOS after a symbol", "0001 6185 1fff ffff ff", EosInString),
        ("5.2", "EOS before a symbol", "0001 6185 ffff fffc 7f", EosInString),
        ("5.2", "EOS in a name", "0084 ffff ffff 0161", EosInString),
        ("5.2", "padding of 8 bits", "0001 6181 ff", WrongPadding),
        ("5.2", "padding of 11 bits", "0001 6182 1fff", WrongPadding),
        ("5.2", "padding of 24 bits", "0001 6183 ffff ff", WrongPadding),
        ("5.2", "padding of zeros", "0001 6181 18", WrongPadding),
        ("5.2", "padding with its last bit 0", "0001 6181 1e", WrongPadding),
        ("5.2", "half a long code", "0001 6182 fffe", WrongPadding),
        ("6.1", "index 0", "80", IndexZero),
        ("6.3", "a size above the limit", "3fe2 1f", SizeUpdateTooLarge),
        ("6.3", "a second size above the limit", "20 3fe2 1f", SizeUpdateTooLarge),
        ("6.3", "a size that is cut", "3f", Truncated),
    ] {
        let (mut decoder, mut naive) = (Decoder::new(), NaiveDecoder::with_limit(4096));
        let mut block = bytes(block);
        // These need a second block.
        let second = match section {
            "4.3" => Some("20 be".to_owned()),
            "4.4" => Some(format!("4001 617f 811f {} be", "61".repeat(4096))),
            _ => None,
        };
        if let Some(second) = second {
            assert_eq!(whole(&mut decoder, &block), Ok(fields(&["a: b"])), "{why}");
            naive.decode(&block, ListLimits::default()).unwrap();
            block = bytes(&second);
        }
        assert_eq!(whole(&mut decoder, &block), Err(error), "§{section}: {why}");
        let naive = naive.decode(&block, ListLimits::default());
        assert_eq!(naive.err(), Some(error), "§{section}: {why}, by the naive decoder");
    }
}

#[test]
fn what_the_rfc_allows_is_accepted() {
    for (section, why, block, list) in [
        ("2.3.3", "the last entry of the static table", "bd", &["www-authenticate: "][..]),
        ("4.1", "an empty block", "", &[]),
        ("4.2", "two sizes", "20 3fe1 1f 82", &[":method: GET"]),
        ("4.2", "nothing but a size", "3fe1 1f", &[]),
        ("4.4", "a name that its insertion evicts", "3f05 4001 6101 627e 0163", &["a: b", "a: c"]),
        ("5.1", "four bytes, of which three are not needed", "0f86 8080 0000", &["age: "]),
        ("5.2", "empty strings", "0000 00", &[": "]),
        ("5.2", "an empty Huffman string", "0001 6180", &["a: "]),
        ("5.2", "padding of 7 bits", "0001 6183 1acb 7f", &["a: a--"]),
        ("5.2", "no padding", "0001 6185 18c6 318c 63", &["a: aaaaaaaa"]),
        ("6.2.3", "a field that is never indexed", "1001 6101 62", &["a: b"]),
    ] {
        let block = bytes(block);
        let decoded = whole(&mut Decoder::new(), &block);
        let naive = NaiveDecoder::with_limit(4096).decode(&block, ListLimits::default());
        assert_eq!(decoded.as_ref(), naive.as_ref().map(|(_, fields)| fields), "§{section}: {why}");
        assert_eq!(decoded, Ok(fields(list)), "§{section}: {why}");
    }
}
