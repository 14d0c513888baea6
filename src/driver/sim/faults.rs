//! The faults of a simulated world and their probabilities, drawn from a seed.

use std::time::Duration;

use fastrand::Rng;

/// The faults of one world. Chances are per mille, for each step of an op.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The longest time that a step takes.
    pub latency_max: Duration,
    /// The chance that a step takes a hundred times as long.
    pub late: u16,
    /// The most bytes that one step moves.
    pub piece_max: usize,
    /// The chance that a connection is reset.
    pub reset: u16,
    /// The chance that an accept or an open finds no free descriptor.
    pub descriptors: u16,
    /// The chance that a file cannot be read.
    pub disk: u16,
    /// The chance that the wall clock is set, for each wait.
    pub clock: u16,
    /// Whether a reset also destroys bytes in transit.
    pub loses: bool,
    /// The chance that a directory cannot be watched.
    pub watch_fails: u16,
    /// The chance that a request to watch or a report takes a hundred times as long.
    pub watch_late: u16,
    /// The chance that a change is not reported, as if the kernel had not seen it.
    pub watch_lost: u16,
    /// The chance that all changes since the last wait are lost, and the loss is reported.
    pub watch_overflow: u16,
}

impl Faults {
    /// A world without latency and without faults.
    pub const NONE: Self = Self {
        latency_max: Duration::ZERO,
        late: 0,
        piece_max: usize::MAX,
        reset: 0,
        descriptors: 0,
        disk: 0,
        clock: 0,
        loses: false,
        watch_fails: 0,
        watch_late: 0,
        watch_lost: 0,
        watch_overflow: 0,
    };

    /// Draws the faults of a world. Many worlds lack any given fault, so runs get far enough to
    /// meet the others.
    pub fn draw(random: &mut Rng) -> Self {
        let mut chance =
            |of: u8, max: u16| if random.u8(..of) == 0 { random.u16(1..=max) } else { 0 };
        let (late, reset) = (chance(3, 50), chance(3, 20));
        let (descriptors, disk, clock) = (chance(3, 100), chance(5, 50), chance(4, 20));
        let (watch_fails, watch_late) = (chance(3, 200), chance(3, 50));
        let (watch_lost, watch_overflow) = (chance(4, 100), chance(4, 50));
        Self {
            latency_max: Duration::from_micros([1, 50, 1000, 20_000][random.usize(..4)]),
            late,
            piece_max: [1, 7, 100, 5000, usize::MAX][random.usize(..5)],
            reset,
            descriptors,
            disk,
            clock,
            loses: random.bool(),
            watch_fails,
            watch_late,
            watch_lost,
            watch_overflow,
        }
    }
}
