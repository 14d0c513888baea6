//! The completions that the next wait returns, and the number of ops in flight.
//!
//! Invariant, which is asserted: no more ops end than are in flight.

use super::DriverStats;
use super::op::{Completion, Outcome, Token};

/// The completions of one driver; see the module documentation.
#[derive(Debug, Default)]
pub(super) struct Completions {
    waiting: Vec<Completion>,
    /// Ops whose last completion has not been delivered.
    in_flight: usize,
    /// Ops of these whose last completion is in `waiting`.
    ended: usize,
}

impl Completions {
    /// Adds a completion. It is made in its place: `push` would make it elsewhere and move it.
    #[inline(always)]
    fn add(&mut self, make: impl FnOnce() -> Completion) {
        self.waiting.extend(std::iter::once_with(make));
    }

    /// Counts a submitted op.
    pub(super) fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// Adds the last completion of an op.
    #[inline(always)]
    pub(super) fn finish(&mut self, token: Token, outcome: Outcome) {
        assert!(self.ended < self.in_flight, "an op ends that is not in flight");
        self.ended += 1;
        self.add(|| Completion { token, more: false, outcome });
    }

    /// Adds a completion of an op that continues.
    #[inline(always)]
    pub(super) fn progress(&mut self, token: Token, outcome: Outcome) {
        self.add(|| Completion { token, more: true, outcome });
    }

    /// Adds the completion of a wake, which belongs to no op.
    pub(super) fn wake(&mut self) {
        let outcome = Outcome::Woken;
        self.waiting.push(Completion { token: Token::WAKE, more: false, outcome });
    }

    /// Whether there is nothing to deliver.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// See [`Driver::in_flight`](super::Driver::in_flight).
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Moves the completions to `out`, and counts them. Returns whether there were any.
    pub(super) fn deliver(&mut self, out: &mut Vec<Completion>, stats: &mut DriverStats) -> bool {
        let delivered = !self.waiting.is_empty();
        self.in_flight -= std::mem::take(&mut self.ended);
        stats.completions += self.waiting.len() as u64;
        if out.is_empty() {
            std::mem::swap(out, &mut self.waiting);
        } else {
            out.append(&mut self.waiting);
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token(1);

    #[test]
    fn an_op_is_in_flight_until_its_end_is_delivered() {
        let (mut completions, mut out) = (Completions::default(), Vec::new());
        let mut stats = DriverStats::default();
        completions.begin();
        completions.progress(TOKEN, Outcome::Received(Ok(None)));
        assert!(completions.deliver(&mut out, &mut stats));
        assert_eq!(completions.in_flight(), 1);
        completions.finish(TOKEN, Outcome::Closed);
        assert_eq!(completions.in_flight(), 1);
        assert!(completions.deliver(&mut out, &mut stats));
        assert_eq!(completions.in_flight(), 0);
        assert!(!completions.deliver(&mut out, &mut stats));
        assert_eq!((out.len(), stats.completions), (2, 2));
    }

    #[test]
    fn a_wake_ends_no_op() {
        let mut completions = Completions::default();
        completions.begin();
        completions.wake();
        completions.deliver(&mut Vec::new(), &mut DriverStats::default());
        assert_eq!(completions.in_flight(), 1);
    }

    #[test]
    #[should_panic = "an op ends that is not in flight"]
    fn a_second_end_of_an_op_is_noticed() {
        let mut completions = Completions::default();
        completions.begin();
        completions.finish(TOKEN, Outcome::Closed);
        completions.finish(TOKEN, Outcome::Closed);
    }
}
