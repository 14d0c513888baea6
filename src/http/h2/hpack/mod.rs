//! HPACK (RFC 7541): decodes the field lists of requests, encodes those of responses.
//!
//! ```text
//! decode --> static_table, dynamic_table, huffman --> integer --> error
//! encode --> static_table, integer
//! ```
//!
//! A [`Decoder`] belongs to one connection, because each block may change its dynamic table for the
//! blocks after it. It must get every block of the connection, whole and in order, also those of
//! requests that are refused. After a [`CompressionError`] the tables of both ends differ, so the
//! connection has to be closed (RFC 9113 §4.3).
//!
//! The encoder has no state and inserts nothing into the client's table: the fields of a response
//! are short, and most of their names are in the static table. A client that limits its table may
//! still expect to hear of it: see [`encode_empty_table`].
//!
//! **Bounds.** The table holds at most 4096 bytes, counted as in §4.1, in at most twice as much
//! memory. Fields are passed on until [`ListLimits`] are reached; the rest of the block only
//! updates the table. Decoding allocates nothing per field: text is passed on as a slice of the
//! block, of the table, or of one buffer that is used again for each field. The length of a block
//! is for the caller to limit.

mod decode;
mod dynamic_table;
mod encode;
mod error;
#[cfg(any(test, feature = "simulation"))]
mod fuzz;
mod huffman;
mod huffman_table;
mod integer;
#[cfg(any(test, feature = "simulation"))]
mod oracle;
mod static_table;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, FieldList, ListLimits};
pub use encode::{encode_empty_table, encode_field, encode_status};
pub use error::CompressionError;
#[cfg(any(test, feature = "simulation"))]
pub use fuzz::fuzz_hpack;
