//! `ringd` serves static files over HTTP on modern Linux.
//!
//! ```text
//!             bytes, replies, time                    ops: buffers, files
//!  Session  <----------------------   Connection   ----------------------->  Driver
//!  sans-IO  ---------------------->   (one slot)   <-----------------------  uring | ready<P>
//!             steps to take                           completions              threads | sim
//! ```
//!
//! A [`driver`] performs ops and returns completions; nothing above it knows which one runs. A
//! [`session`] is one conversation, as a function of its input: [`echo`] is the smallest one,
//! [`http`] another. The [`server`] joins the two: connections, workers, deadlines. [`files`]
//! holds what is remembered of files; a [`watch`] tells when they change.
//!
//! `docs/architecture.md` follows a request through the code; `docs/drivers.md` compares the
//! drivers.

pub mod ask;
pub mod bench;
pub mod cli;
pub mod connect;
mod descriptors;
pub mod doctor;
pub mod driver;
pub mod echo;
pub mod http;
pub mod server;
pub mod service;
pub mod session;
