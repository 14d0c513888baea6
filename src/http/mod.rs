//! HTTP/1.1 as pure functions of bytes.
//!
//! Nothing in here reads a clock or knows of a socket, and only a [`listing::Listing`] performs
//! IO. A connection hands over the bytes it has buffered and learns what they mean:
//!
//! - [`request::parse`] turns the front of the buffer into a [`request::Request`], asks for more,
//!   or refuses with a status;
//! - [`body::Discard`] walks over the request body that nobody wants, within a bound;
//! - [`target::resolve`] turns the request target into a path below the served root;
//! - [`condition::judge`] and [`range::select`] decide what of a representation is sent, by the
//!   [`validator`]s and [`date`]s that the [`field::Field`]s of a request name; [`multipart`] is
//!   what stands around several ranges;
//! - [`negotiate`] tells which coding and which media type a client would rather have;
//! - [`mime`] and [`rules`] tell what is said of a file: its type, and what the site's own rules
//!   add to an answer;
//! - [`status::Status`] names the status codes that the server knows;
//! - [`listing`] makes pages of what is in a directory;
//! - [`Http`] is the conversation: it joins the above to the [`Site`] and writes the answers.
//!
//! The first two obey the *chunking law*: how the network cut the bytes into pieces never changes
//! the outcome. The first four and [`date`] have a `fuzz_…` entry beside them, which asserts
//! their invariants on arbitrary bytes.

mod answer;
mod authority;
pub mod body;
mod concern;
pub mod condition;
mod content;
pub mod date;
mod entries;
mod exchange;
pub mod field;
#[doc(hidden)]
pub mod fuzz;
mod grammar;
pub mod listing;
mod loading;
mod lookup;
pub mod mime;
pub mod multipart;
pub mod negotiate;
pub mod range;
pub mod request;
mod resource;
pub mod rules;
mod session;
mod site;
pub mod status;
pub mod target;
pub mod validator;

pub use content::Content;
pub use session::Http;
pub use site::{RootPath, Settings, Site};
pub use status::Status;
