//! `ringd` serves static files over HTTP on modern Linux.
//!
//! ```text
//!             bytes, replies, time                    ops: buffers, files
//!  Session  <----------------------   Connection   ----------------------->  Driver
//!  sans-IO  ---------------------->   (one slot)   <-----------------------  uring | ready<P>
//!             steps to take                           completions
//! ```
//!
//! A [`driver`] performs ops and returns completions; nothing above it knows which one runs. A
//! [`session`] is one conversation, as a function of its input: [`http`] is one. The [`server`]
//! joins the two: connections, workers, deadlines. [`files`] holds what is remembered of files.
//!
//! `docs/architecture.md` follows a request through the code.

pub mod cli;
pub mod driver;
pub mod files;
pub mod http;
pub mod server;
pub mod session;
