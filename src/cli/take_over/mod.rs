//! A new server takes the place of one that runs: it gets its listening sockets, so no client is
//! refused, and none that waits in a queue is reset.
//!
//! ```text
//! new: POST /take-over ----------> old: makes its listeners joint
//!      <- 200, manifest, descriptors
//!      binds what is missing, starts, accepts
//!      serving, and what is left ->     gives up the files of its sockets
//!      <- ok                            drains; the administration accepts nobody
//!      accepts for the administration
//!      <- closed                        its listeners are closed
//!      its listeners are no longer joint
//!      <- end of the connection         exits
//! ```
//!
//! Until the old server has read `serving`, it goes on if anything happens to the new one. A new
//! one that has said so goes on if anything happens to the old one.
//!
//! | file | content |
//! | --- | --- |
//! | `wire.rs` | the manifest, and how descriptors are passed |
//! | `giver.rs` | the old server |
//! | `taker.rs`, `start.rs` | the new one; what its start has in addition |

mod giver;
mod start;
mod taker;
mod wire;

pub(super) use giver::Giver;
pub(super) use start::{confirm, open_places};
pub(super) use taker::Taker;
