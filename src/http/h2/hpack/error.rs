//! Why a header block cannot be decoded.

use std::error::Error;
use std::fmt;

/// Why a header block cannot be decoded. The connection has to be closed, because the dynamic
/// tables of both ends differ from now on: with `COMPRESSION_ERROR` (RFC 9113 §4.3), except after
/// [`CompressionError::TooMuchWork`], which is no fault of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// The block ends before the end of a field or of a size update.
    Truncated,
    /// An integer has more than four bytes after its prefix (RFC 7541 §5.1).
    IntegerTooLong,
    /// A field has index 0, which means no entry (§6.1).
    IndexZero,
    /// An index is larger than the number of entries (§2.3.3).
    IndexBeyondTable,
    /// A Huffman string contains the code of EOS (§5.2).
    EosInString,
    /// The bits after the last symbol of a Huffman string are more than 7, or not all ones (§5.2).
    WrongPadding,
    /// The size of the table changes after the first field of a block (§4.2).
    SizeUpdateLate,
    /// A block begins with more than two changes of the table's size (§4.2).
    SizeUpdateRepeated,
    /// The table shall be larger than this end allows (§6.3).
    SizeUpdateTooLarge,
    /// The fields of the block have more bytes than [`ListLimits::work_max`](super::ListLimits).
    TooMuchWork,
}

impl CompressionError {
    /// The reason as a sentence. [`Display`](fmt::Display) has it as a clause.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "A header block ends in the middle of a field.",
            Self::IntegerTooLong => "An integer in a header block has more than 5 bytes.",
            Self::IndexZero => "A header block contains index 0, which is no entry.",
            Self::IndexBeyondTable => "A header block contains an index beyond the table.",
            Self::EosInString => "A Huffman string contains the end-of-string symbol.",
            Self::WrongPadding => "A Huffman string ends with wrong padding.",
            Self::SizeUpdateLate => "A header block changes the table size after a field.",
            Self::SizeUpdateRepeated => "A header block changes the table size more than twice.",
            Self::SizeUpdateTooLarge => "A header block makes the table larger than allowed.",
            Self::TooMuchWork => "The fields of a header block are too large to be decoded.",
        }
    }
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All sentences begin with an article.
        let (first, rest) = self.reason().split_at(1);
        write!(f, "{}{}", first.to_ascii_lowercase(), rest.trim_end_matches('.'))
    }
}

impl Error for CompressionError {}
