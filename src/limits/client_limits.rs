//! The tables of an HTTP server.

use std::time::Instant;

use super::rate_table::{RateTable, SLOTS_DEFAULT};
use crate::clients::ClientPrefix;

/// How many words the table of failures has: checks take so long that few clients can fail.
const FAILURE_SLOTS: u32 = 4096;

/// What is limited for each client of an HTTP server; the same for all workers.
#[derive(Debug)]
pub struct ClientLimits {
    /// The rates of requests.
    pub requests: RateTable,
    /// Passwords that were wrong.
    pub failures: RateTable,
    /// Who is a client.
    pub prefix: ClientPrefix,
}

impl ClientLimits {
    /// Limits with a table of about so many words for the rates.
    #[must_use]
    pub fn new(slots: u32, prefix: ClientPrefix) -> Self {
        let now = Instant::now();
        let (requests, failures) = (RateTable::new(slots, now), RateTable::new(FAILURE_SLOTS, now));
        Self { requests, failures, prefix }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self::new(SLOTS_DEFAULT, ClientPrefix::default())
    }
}
