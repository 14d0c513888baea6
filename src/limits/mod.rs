//! Limits per client: how many requests, and how many connections.
//!
//! The kernel spreads the connections of a client over all workers, so these tables are shared by
//! all of them: the only state besides counters that workers share and change.
//!
//! | file | content |
//! | --- | --- |
//! | `rate.rs` | how many requests per second, and at once |
//! | `rate_table.rs` | the table of the rates |
//! | `client_limits.rs` | the tables of an HTTP server |
//! | `connections.rs` | the connections of each client |

mod client_limits;
mod connections;
mod rate;
mod rate_table;

pub use client_limits::ClientLimits;
pub use connections::{ClientConnections, ConnectionPermit};
pub use rate::{Rate, RateLimit};
pub use rate_table::{RateTable, SLOTS_DEFAULT, SLOTS_MAX, SLOTS_MIN, Scope, TooMany};
