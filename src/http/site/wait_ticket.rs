//! What a request waits for before its response is decided.

use super::access::PasswordTicket;
use super::lookups::Ticket;

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum WaitTicket {
    /// A lookup.
    Name(Ticket),
    /// The check of its password.
    Password(PasswordTicket),
}

impl From<Ticket> for WaitTicket {
    fn from(ticket: Ticket) -> Self {
        Self::Name(ticket)
    }
}
