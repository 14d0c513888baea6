//! `ringd` serves static files over HTTP on modern Linux.
//!
//! ```text
//!             bytes, answers, time                    ops: buffers, files
//!  Session  <----------------------   Connection   ----------------------->  Driver
//!  sans-IO  ---------------------->   (one slot)   <-----------------------  uring | ready<P>
//!             steps, questions                        completions              threads | sim
//! ```
//!
//! A [`driver`] performs ops and returns completions; nothing above it knows which one runs. A
//! [`session`] is one conversation, as a function of its input: [`echo`] is the smallest one,
//! [`http`] another. What the sessions of a thread share, such as a cache, is a [`service`]. Both
//! [`ask`] for files and jobs. The [`server`] joins them to a driver: connections, workers,
//! deadlines.
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
