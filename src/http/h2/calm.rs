//! The budget for what a calm client does not do.
//!
//! Resets, pings, tiny windows and other anomalies are legal one by one, and in numbers they are
//! how servers are attacked (RFC 9113 section 10.5). All of them cost points of one budget per
//! connection; answers bring them back when they are written, and so do the full frames of long
//! ones. A client that spends all is told to calm down, and its connection ends.
//!
//! An answer brings more points than an anomaly costs, because clients that mean well send several
//! such frames for each: WINDOW_UPDATE when the stream has ended already, PRIORITY_UPDATE for each
//! image, and now and then a PING and a cancellation. The work that a client can cause for nothing
//! is still a small multiple of the answers that it takes.

/// The most points.
const POINTS_MAX: u32 = 200;

/// The points that an answer brings.
const POINTS_EARNED: u32 = 3;

/// What costs points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Anomaly {
    /// The client resets a stream that has not been answered in full, or sends a frame that only
    /// makes work: PING, SETTINGS, an empty DATA, a small WINDOW_UPDATE, a frame for a stream that
    /// is closed. What clients send before they know that it is closed costs nothing.
    Small,
    /// A stream was refused, because there are too many.
    Refused,
    /// The client has made the server reset a stream.
    Fault,
}

/// What is left of the budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    points: u32,
}

impl Calm {
    pub(super) const fn new() -> Self {
        Self { points: POINTS_MAX }
    }

    /// Takes the points for an anomaly. `false` if none are left.
    pub(super) fn pay(&mut self, anomaly: Anomaly) -> bool {
        let points = match anomaly {
            Anomaly::Small => 1,
            Anomaly::Refused => 2,
            Anomaly::Fault => 10,
        };
        self.points = self.points.saturating_sub(points);
        self.points > 0
    }

    /// An answer has been written in full, or a full frame of one.
    pub(super) fn earn(&mut self) {
        self.points = (self.points + POINTS_EARNED).min(POINTS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anomalies_use_the_budget_up_and_answers_refill_it() {
        let mut calm = Calm::new();
        for _ in 0..POINTS_MAX - 1 {
            assert!(calm.pay(Anomaly::Small));
        }
        assert!(!calm.pay(Anomaly::Small));
        // A client with a few anomalies for each answer goes on.
        let mut calm = Calm::new();
        for _ in 0..10_000 {
            for _ in 0..POINTS_EARNED {
                assert!(calm.pay(Anomaly::Small));
            }
            calm.earn();
        }
        let mut faults = 0;
        while calm.pay(Anomaly::Fault) {
            faults += 1;
        }
        assert_eq!(faults, 19);
    }
}
