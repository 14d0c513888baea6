//! Counters that one thread increases and all threads read.

mod exposition;

use std::sync::atomic::{AtomicU64, Ordering};

pub use exposition::{Exposition, OPEN_METRICS, PROMETHEUS};

/// A number that one thread increases. The other threads may read it at any time.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number. Only one thread may do this: additions of two threads could get lost.
    #[inline]
    pub fn add(&self, count: u64) {
        // A load and a store are cheaper than an addition that locks the cache line.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The number.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution of values over `COUNT` ranges, and above them. One thread adds, all read.
#[derive(Debug)]
pub struct Histogram<const COUNT: usize> {
    ranges: [Counter; COUNT],
    above: Counter,
    sum: Counter,
}

impl<const COUNT: usize> Default for Histogram<COUNT> {
    fn default() -> Self {
        Self {
            ranges: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum: Counter::default(),
        }
    }
}

/// What a histogram has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistogramCounts<const COUNT: usize> {
    /// How many values are in each range.
    pub ranges: [u64; COUNT],
    /// How many are above the last one.
    pub above: u64,
    /// The sum of all values.
    pub sum: u64,
}

impl<const COUNT: usize> Histogram<COUNT> {
    /// Adds a value. A value that is equal to the upper bound of a range belongs to it. Only one
    /// thread may do this.
    #[inline]
    pub fn add(&self, bounds: &[u64; COUNT], value: u64) {
        // Small values are the common ones.
        match bounds.iter().position(|bound| value <= *bound) {
            Some(range) => self.ranges[range].add(1),
            None => self.above.add(1),
        }
        self.sum.add(value);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> HistogramCounts<COUNT> {
        HistogramCounts {
            ranges: self.ranges.each_ref().map(Counter::get),
            above: self.above.get(),
            sum: self.sum.get(),
        }
    }
}

impl<const COUNT: usize> Default for HistogramCounts<COUNT> {
    fn default() -> Self {
        Self { ranges: [0; COUNT], above: 0, sum: 0 }
    }
}

impl<const COUNT: usize> HistogramCounts<COUNT> {
    /// Adds the counts of another thread.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            ranges: std::array::from_fn(|range| self.ranges[range] + other.ranges[range]),
            above: self.above + other.above,
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_values_by_their_range() {
        let (histogram, bounds) = (Histogram::default(), [10, 100]);
        for value in [0, 10, 11, 100, 101, 1_000] {
            histogram.add(&bounds, value);
        }
        let counts = HistogramCounts { ranges: [2, 2], above: 2, sum: 1_222 };
        assert_eq!(histogram.counts(), counts);
        let twice = HistogramCounts { ranges: [4, 4], above: 4, sum: 2_444 };
        assert_eq!(counts.plus(counts), twice);
        assert_eq!(counts.plus(HistogramCounts::default()), counts);
    }
}
