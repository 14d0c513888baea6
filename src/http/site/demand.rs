//! What clients would like of a page that may be compressed on the fly.
//!
//! The first request for a page only looks whether its compressed form is known already. The second
//! one has it made: most files of a large site are requested once in a long time, and compressing
//! those would be wasted.

use std::cell::Cell;
use std::time::Instant;

use crate::http::compress::CompressLevel;
use crate::http::semantics::negotiate::{Coding, Codings};

/// The demand for the codings of a page. Pages that replace each other in the cache share it.
#[derive(Debug)]
pub(super) struct Demand {
    level: CompressLevel,
    /// Whether what is made gets an entity tag: whether the site has any.
    has_tags: bool,
    /// The codings that may be made. Those that are not worth it are taken out.
    possible: Cell<Codings>,
    /// Whether there was a request that would have liked one of them.
    was_wanted: Cell<bool>,
    waits: [Cell<DemandWait>; Coding::ALL.len()],
}

/// When to ask for a coding again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DemandWait {
    /// At the next request.
    No,
    /// When more jobs than this are done.
    Job(u64),
    /// At this time.
    Until(Instant),
}

/// What a request does for a coding that it would like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DemandStep {
    /// Nothing: it was asked for already.
    Nothing,
    /// It looks whether the form is known.
    Look,
    /// It asks for the form, so that it is made.
    Ask,
}

impl Demand {
    /// No demand yet for these codings; `None` if there are none.
    pub(super) fn new(possible: Codings, level: CompressLevel, has_tags: bool) -> Option<Self> {
        let wait = || Cell::new(DemandWait::No);
        (!possible.is_empty()).then(|| Self {
            level,
            has_tags,
            possible: Cell::new(possible),
            was_wanted: Cell::new(false),
            waits: [wait(), wait(), wait()],
        })
    }

    /// How hard to compress.
    pub(super) fn level(&self) -> CompressLevel {
        self.level
    }

    /// Whether what is made gets an entity tag.
    pub(super) fn has_tags(&self) -> bool {
        self.has_tags
    }

    /// The codings that may be made.
    #[inline]
    pub(super) fn possible(&self) -> Codings {
        self.possible.get()
    }

    /// Notes a request that would like a coding. `done` is how many jobs are done.
    pub(super) fn want(&self, coding: Coding, now: Instant, done: u64) -> DemandStep {
        if !self.was_wanted.replace(true) {
            return DemandStep::Look;
        }
        match self.waits[coding as usize].get() {
            DemandWait::Job(then) if then == done => DemandStep::Nothing,
            DemandWait::Until(until) if now < until => DemandStep::Nothing,
            _ => DemandStep::Ask,
        }
    }

    /// A coding is not worth it.
    pub(super) fn is_not_worth(&self, coding: Coding) {
        let mut possible = self.possible.get();
        possible.remove(coding);
        self.possible.set(possible);
    }

    /// A coding may be there when more jobs are done.
    pub(super) fn wait_for_jobs(&self, coding: Coding, done: u64) {
        self.waits[coding as usize].set(DemandWait::Job(done));
    }

    /// A coding is not made before this time.
    pub(super) fn wait_until(&self, coding: Coding, until: Instant) {
        self.waits[coding as usize].set(DemandWait::Until(until));
    }

    /// A coding is there.
    pub(super) fn is_there(&self, coding: Coding) {
        self.waits[coding as usize].set(DemandWait::No);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_second_request_asks_and_later_ones_wait() {
        let demand = Demand::new(Coding::ALL.into_iter().collect(), CompressLevel::Default, true);
        let (demand, now) = (demand.unwrap(), Instant::now());
        let want = |coding, done| demand.want(coding, now, done);
        assert_eq!(want(Coding::Brotli, 0), DemandStep::Look);
        assert_eq!(want(Coding::Brotli, 0), DemandStep::Ask);
        demand.wait_for_jobs(Coding::Brotli, 0);
        assert_eq!(want(Coding::Brotli, 0), DemandStep::Nothing);
        assert_eq!(want(Coding::Gzip, 0), DemandStep::Ask, "another coding waits for itself");
        assert_eq!(want(Coding::Brotli, 1), DemandStep::Ask);
        demand.wait_until(Coding::Brotli, now + Duration::from_secs(1));
        assert_eq!(want(Coding::Brotli, 2), DemandStep::Nothing);
        let later = now + Duration::from_secs(1);
        assert_eq!(demand.want(Coding::Brotli, later, 2), DemandStep::Ask);
        demand.is_not_worth(Coding::Brotli);
        assert!(!demand.possible().contains(Coding::Brotli));
        assert!(demand.possible().contains(Coding::Gzip));
        assert!(Demand::new(Codings::NONE, CompressLevel::Default, true).is_none());
    }
}
