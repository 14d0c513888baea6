//! HTTP/1.1 as pure functions of bytes.
//!
//! Nothing in here performs IO, reads a clock or knows of a socket. A connection hands over the
//! bytes it has buffered and learns what they mean:
//!
//! - [`request::parse`] turns the front of the buffer into a [`request::Request`], asks for more,
//!   or refuses with a status;
//! - [`body::Discard`] walks over the request body that nobody wants, within a bound;
//! - [`target::resolve`] turns the request target into a path below the served root;
//! - [`status::Status`] names the status codes that the server knows;
//! - [`Http`] is the conversation: it joins the above to the [`Site`] and writes the answers.
//!
//! The first two obey the *chunking law*: how the network cut the bytes into pieces never changes
//! the outcome. The first three each have a `fuzz_…` entry beside them, which asserts their
//! invariants on arbitrary bytes.

mod answer;
mod authority;
pub mod body;
#[doc(hidden)]
pub mod fuzz;
pub mod mime;
pub mod request;
mod resource;
mod session;
mod site;
pub mod status;
pub mod target;

pub use session::Http;
pub use site::{Settings, Site};
pub use status::Status;
