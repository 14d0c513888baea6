//! The meaning of HTTP, whatever its framing: RFC 9110 and 9111 as pure functions.
//!
//! Nothing here knows of a connection, a file or a clock. Each rule has its section beside it, and
//! each module that reads what a client sends has a `fuzz_…` entry or an oracle in its tests.

pub mod authority;
pub mod condition;
pub mod date;
pub mod field;
pub mod fields;
pub mod grammar;
pub mod mime;
pub mod multipart;
pub mod negotiate;
pub mod range;
pub mod request;
pub mod status;
pub mod validator;
