//! How many threads the drivers of one process may have together.
//!
//! A thread takes memory maps, of which a process may have `vm.max_map_count`
//! (`/proc/sys/vm/max_map_count`; proc(5), Documentation/admin-guide/sysctl/vm.rst of Linux). When
//! they run out, std does not fail to start a thread: it aborts the whole process, in the new
//! thread, which finds no place for its signal stack. Connections must not be able to bring that
//! about, however many drivers there are, so all of them share one count.

use std::fs;
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::limits::PROCESS_THREADS_MAX;

/// Memory maps of a thread: its stack, its signal stack, and a guard page for each.
const MAPS_PER_THREAD: u32 = 4;

/// The part of all memory maps that threads may take: one in so many. The rest is for the heap,
/// for libraries, and for the threads of others in this process.
const SHARE: u32 = 4;

/// A number of threads that may live at a time.
#[derive(Debug)]
pub(super) struct Budget {
    max: u32,
    taken: AtomicU32,
}

/// A place for a thread, which gives it back when it ends.
#[derive(Debug)]
pub(super) struct ThreadPermit(&'static Budget);

impl Budget {
    pub(super) const fn new(max: u32) -> Self {
        Self { max, taken: AtomicU32::new(0) }
    }

    /// The one of this process, decided when it is first asked for.
    pub(super) fn of_process() -> &'static Self {
        static PROCESS: LazyLock<Budget> =
            LazyLock::new(|| Budget::new(threads_max(max_map_count())));
        &PROCESS
    }

    /// A place for one more thread.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn take(&'static self) -> io::Result<ThreadPermit> {
        // Only the number counts; nothing is handed over by it.
        let more = |taken: u32| (taken < self.max).then(|| taken + 1);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(ThreadPermit(self)),
            Err(_) => Err(self.exhausted()),
        }
    }

    fn exhausted(&self) -> io::Error {
        let reason = format!(
            "all {} threads that the drivers of this process may have are blocked; allow fewer \
             connections, take another driver, or raise vm.max_map_count (at most \
             {PROCESS_THREADS_MAX} threads)",
            self.max
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, reason)
    }
}

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        let taken = self.0.taken.fetch_sub(1, Ordering::Relaxed);
        assert!(taken > 0, "a place is given back that nobody had");
    }
}

/// Memory maps that this process may have, if that can be read.
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
    fn threads_take_a_quarter_of_the_memory_maps_at_most() {
        // The default of Linux.
        assert_eq!(threads_max(Some(65_530)), 4095);
        assert_eq!(threads_max(Some(u32::MAX)), PROCESS_THREADS_MAX);
        assert_eq!(threads_max(None), PROCESS_THREADS_MAX);
        // Where the limit cannot be read, the default must be enough.
        const { assert!(PROCESS_THREADS_MAX * MAPS_PER_THREAD < 65_530 * 3 / 4) };
    }

    #[test]
    fn a_place_is_given_back() {
        static BUDGET: Budget = Budget::new(2);
        let places = [BUDGET.take().unwrap(), BUDGET.take().unwrap()];
        let error = BUDGET.take().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        drop(places);
        assert_eq!(BUDGET.taken.load(Ordering::Relaxed), 0);
        BUDGET.take().unwrap();
    }
}
