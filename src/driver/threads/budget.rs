//! The number of threads that all drivers of a process may have together.
//!
//! A thread uses memory maps, and a process may have at most `vm.max_map_count` of them (proc(5),
//! Documentation/admin-guide/sysctl/vm.rst of Linux). When they run out, std does not return an
//! error: the new thread cannot map its signal stack, and aborts the whole process. Clients must
//! not be able to cause that, however many drivers there are, so all drivers share one count.

use std::fs;
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::limits::PROCESS_THREADS_MAX;

/// The number of memory maps of a thread: its stack, its signal stack, and a guard page for each.
const MAPS_PER_THREAD: u32 = 4;

/// Threads may use `1 / SHARE` of the memory maps. The rest is for the heap, for libraries,
/// and for other threads of the process.
const SHARE: u32 = 4;

/// A bound on the number of threads that exist at a time.
#[derive(Debug)]
pub(super) struct Budget {
    max: u32,
    taken: AtomicU32,
}

/// The permit of one thread, dropped when the thread ends.
#[derive(Debug)]
pub(super) struct ThreadPermit(&'static Budget);

impl Budget {
    pub(super) const fn new(max: u32) -> Self {
        Self { max, taken: AtomicU32::new(0) }
    }

    /// The budget of this process; its bound is computed on first use.
    pub(super) fn of_process() -> &'static Self {
        static PROCESS: LazyLock<Budget> =
            LazyLock::new(|| Budget::new(threads_max(max_map_count())));
        &PROCESS
    }

    /// Takes a permit for one more thread.
    ///
    /// # Errors
    ///
    /// When the budget is exhausted.
    pub(super) fn take(&'static self) -> io::Result<ThreadPermit> {
        // Relaxed: the counter does not synchronize any other memory.
        let more = |taken: u32| (taken < self.max).then(|| taken + 1);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(ThreadPermit(self)),
            Err(_) => Err(self.exhausted()),
        }
    }

    /// Permits that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    fn exhausted(&self) -> io::Error {
        let reason = format!(
            "all {} threads that the drivers of this process may have are blocked; allow fewer \
             connections, use another driver, or raise vm.max_map_count (at most \
             {PROCESS_THREADS_MAX} threads)",
            self.max
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, reason)
    }
}

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        let taken = self.0.taken.fetch_sub(1, Ordering::Relaxed);
        assert!(taken > 0, "a permit was returned twice");
    }
}

/// The number of memory maps that this process may have, if it can be read.
fn max_map_count() -> Option<u32> {
    fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

fn threads_max(maps: Option<u32>) -> u32 {
    maps.map_or(u32::MAX, |maps| maps / MAPS_PER_THREAD / SHARE).min(PROCESS_THREADS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_use_at_most_a_quarter_of_the_memory_maps() {
        // The default on Linux.
        assert_eq!(threads_max(Some(65_530)), 4095);
        assert_eq!(threads_max(Some(u32::MAX)), PROCESS_THREADS_MAX);
        assert_eq!(threads_max(None), PROCESS_THREADS_MAX);
        // If the limit cannot be read, the maximum must fit into the default.
        const { assert!(PROCESS_THREADS_MAX * MAPS_PER_THREAD < 65_530 * 3 / 4) };
    }

    #[test]
    fn a_dropped_permit_can_be_taken_again() {
        static BUDGET: Budget = Budget::new(2);
        let places = [BUDGET.take().unwrap(), BUDGET.take().unwrap()];
        let error = BUDGET.take().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        drop(places);
        assert_eq!(BUDGET.taken(), 0);
        BUDGET.take().unwrap();
    }
}
