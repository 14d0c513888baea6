//! The semantics of HTTP, which are the same for every framing: RFC 9110 and 9111 as pure
//! functions.
//!
//! Nothing here uses a connection, a file or a clock. Rules cite their section of the RFC. Most
//! modules that parse input of clients have a fuzz entry (`fuzz_*`), or tests against an oracle.

pub mod authority;
pub(in crate::http) mod basic;
pub mod condition;
pub mod date;
pub mod encoded;
pub mod field;
pub mod fields;
pub mod file_names;
pub mod grammar;
pub mod mime;
pub mod multipart;
pub mod negotiate;
pub mod range;
pub mod request;
pub(in crate::http) mod request_fields;
pub mod status;
pub mod validator;
