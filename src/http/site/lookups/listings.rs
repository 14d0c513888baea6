//! Lookups of listings, which wait in a line of their own ([`ListingLine`]).
//!
//! [`ListingLine`]: super::super::listing_line::ListingLine

use std::time::{Duration, Instant};

use super::super::listing_line::Entered;
use super::super::lookup::Lookup;
use super::{LookupState, Lookups, Ticket};
use crate::clients::ClientKey;
use crate::driver::slot_map::Handle;
use crate::service::Waiter;

impl Lookups {
    /// Joins the lookup of a listing, or adds the one that `make` returns. It has its turn with the
    /// first of the clients that wait for it. `None` if the table or the line is full.
    pub(in crate::http::site) fn find_listing(
        &mut self,
        key: &[u8],
        now: Instant,
        age_max: Duration,
        client: ClientKey,
        waiter: Waiter,
        make: impl FnOnce() -> Lookup,
    ) -> Option<Ticket> {
        let Some(handle) = self.joinable(key, now, age_max) else {
            let handle = self.insert(key, make(), waiter)?;
            if !self.enter_listings(client, handle) {
                self.withdraw(handle);
                return None;
            }
            return Some(Ticket(handle));
        };
        let entry = self.entries.get(handle).expect("a current lookup is in the table");
        if entry.state == LookupState::InLine && !self.enter_listings(client, handle) {
            return None;
        }
        let entry = self.entries.get_mut(handle).expect("the lookup is still there");
        entry.waiters.add(waiter);
        Some(Ticket(handle))
    }

    /// Lets a lookup wait for the turn of a client too. Returns whether there was room.
    fn enter_listings(&mut self, client: ClientKey, handle: Handle<Ticket>) -> bool {
        let entered = self.listings.enter(client, handle);
        if entered == Entered::Yes {
            let entry = self.entries.get_mut(handle).expect("the lookup is in the table");
            entry.clients.push(client);
        }
        entered != Entered::Full
    }

    /// Takes the next listing out of its line. The turn of its client lasts until the lookup is
    /// removed.
    pub(super) fn next_listing(&mut self) -> Option<Handle<Ticket>> {
        let (client, handle) = self.listings.next()?;
        let entry = self.entries.get_mut(handle).expect("a lookup in line is in the table");
        entry.turn_of = Some(client);
        let clients = std::mem::take(&mut entry.clients);
        self.leave_listings(handle, &clients);
        Some(handle)
    }

    /// Takes a lookup out of the lines of clients.
    pub(super) fn leave_listings(&mut self, handle: Handle<Ticket>, clients: &[ClientKey]) {
        clients.iter().for_each(|client| self.listings.leave(*client, handle));
    }
}
