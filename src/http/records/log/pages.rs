//! Pages: lines on their way from a worker to the thread that writes them.
//!
//! A worker fills its open page, and passes it on when it is full or when its oldest line has
//! waited for [`FLUSH_AFTER`]. The thread returns written pages, so no memory is allocated once a
//! worker has [`PAGES_MAX`] of them. If all are on their way, the thread is too slow: the worker
//! drops the line and counts it, because it must not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use super::line::LINE_ROOM;

/// The size of a page. One `write(2)` of so many bytes costs little per line.
const PAGE_BYTES: usize = 64 * 1024;

/// The pages of a worker.
pub(super) const PAGES_MAX: usize = 8;

/// How long a line waits at most for others.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// Counts of lines, over all workers.
#[derive(Default, Debug)]
pub(super) struct LineCounts {
    /// Written lines.
    pub(super) written: AtomicU64,
    /// Lines that could not be written.
    pub(super) dropped: AtomicU64,
}

/// Whole lines, and the way back to the worker.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    home: SyncSender<Vec<u8>>,
}

/// What the thread that writes has to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Write this.
    Page(Page),
    /// Open the path again.
    Reopen,
    /// Say when everything before this is written.
    Flush(Sender<()>),
}

impl Page {
    /// Returns the memory to the worker.
    pub(super) fn give_back(self) {
        let Self { mut bytes, home } = self;
        bytes.clear();
        // There is room for all pages; only a worker that has ended takes none.
        let _ = home.try_send(bytes);
    }
}

/// The pages of a worker; see the module documentation. Dropping it passes the open page on.
#[derive(Debug)]
pub(super) struct WorkerPages {
    /// Empty without an open page.
    open: Vec<u8>,
    /// When the open page is passed on at the latest; set if it has a line.
    flush_at: Option<Instant>,
    /// The number of pages that were allocated.
    allocated: usize,
    full: SyncSender<Work>,
    free: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
    counts: Arc<LineCounts>,
}

impl WorkerPages {
    /// The pages of a worker that passes full ones on to `full`, which has room for all of them.
    pub(super) fn new(full: SyncSender<Work>, counts: Arc<LineCounts>) -> Self {
        let (home, free) = mpsc::sync_channel(PAGES_MAX);
        Self { open: Vec::new(), flush_at: None, allocated: 0, full, free, home, counts }
    }

    /// Appends a line that `write` writes, or counts it as dropped.
    #[inline]
    pub(super) fn append(&mut self, now: Instant, write: impl FnOnce(&mut Vec<u8>)) {
        if self.open.capacity() == 0 && !self.take_page() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        write(&mut self.open);
        if self.flush_at.is_none() {
            self.flush_at = Some(now + FLUSH_AFTER);
        }
        if self.open.len() > PAGE_BYTES - LINE_ROOM {
            self.flush();
        }
    }

    /// When [`WorkerPages::flush_due`] has to be called.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Passes the open page on if it has waited long enough.
    #[inline]
    pub(super) fn flush_due(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    /// Takes a free page, or allocates one.
    fn take_page(&mut self) -> bool {
        if let Ok(page) = self.free.try_recv() {
            self.open = page;
            return true;
        }
        let may_allocate = self.allocated < PAGES_MAX;
        if may_allocate {
            self.allocated += 1;
            self.open = Vec::with_capacity(PAGE_BYTES);
        }
        may_allocate
    }

    #[inline(never)]
    fn flush(&mut self) {
        self.flush_at = None;
        let page = Page { bytes: std::mem::take(&mut self.open), home: self.home.clone() };
        if page.bytes.is_empty() {
            return;
        }
        let lines = count_lines(&page.bytes);
        // There is room for all pages, so this fails only if the thread has ended.
        if let Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) =
            self.full.try_send(Work::Page(page))
        {
            self.counts.dropped.fetch_add(lines, Ordering::Relaxed);
            if let Work::Page(page) = work {
                page.give_back();
            }
        }
    }
}

impl Drop for WorkerPages {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The number of whole lines in these bytes.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> (WorkerPages, Receiver<Work>) {
        let (full, work) = mpsc::sync_channel(PAGES_MAX);
        (WorkerPages::new(full, Arc::default()), work)
    }

    fn page(work: &Receiver<Work>) -> Option<Page> {
        match work.try_recv() {
            Ok(Work::Page(page)) => Some(page),
            _ => None,
        }
    }

    #[test]
    fn a_line_waits_for_others_but_not_for_long() {
        let (mut pages, work) = pages();
        let now = Instant::now();
        pages.append(now, |line| line.extend_from_slice(b"a\n"));
        assert_eq!(pages.deadline(), Some(now + FLUSH_AFTER));
        pages.append(now + FLUSH_AFTER / 2, |line| line.extend_from_slice(b"b\n"));
        pages.flush_due(now + FLUSH_AFTER / 2);
        assert!(page(&work).is_none());
        pages.flush_due(now + FLUSH_AFTER);
        assert_eq!(page(&work).unwrap().bytes, b"a\nb\n");
        assert_eq!(pages.deadline(), None);
        pages.append(now, |line| line.extend_from_slice(b"c\n"));
        drop(pages);
        assert_eq!(page(&work).unwrap().bytes, b"c\n");
    }

    #[test]
    fn lines_are_dropped_while_all_pages_are_on_their_way() {
        let (mut pages, work) = pages();
        let (now, long) = (Instant::now(), [&[b'x'; LINE_ROOM - 1][..], b"\n"].concat());
        let mut appended = 0;
        while pages.counts.dropped.load(Ordering::Relaxed) < 3 {
            pages.append(now, |line| line.extend_from_slice(&long));
            appended += 1;
        }
        let sent: Vec<Page> = std::iter::from_fn(|| page(&work)).collect();
        assert_eq!(sent.len(), PAGES_MAX);
        assert!(sent.iter().all(|page| page.bytes.len() <= PAGE_BYTES));
        let lines: u64 = sent.iter().map(|page| count_lines(&page.bytes)).sum();
        assert_eq!(lines + 3, appended, "each line was sent or counted");
        let memory = sent[0].bytes.as_ptr();
        sent.into_iter().next().unwrap().give_back();
        pages.append(now, |line| line.extend_from_slice(b"a\n"));
        assert_eq!(pages.open.as_ptr(), memory, "the page is used again");
    }

    #[test]
    fn without_a_thread_lines_are_counted() {
        let (mut pages, work) = pages();
        drop(work);
        let now = Instant::now();
        pages.append(now, |line| line.extend_from_slice(b"a\n"));
        pages.append(now, |line| line.extend_from_slice(b"b\n"));
        pages.flush_due(now + FLUSH_AFTER);
        assert_eq!(pages.counts.dropped.load(Ordering::Relaxed), 2);
    }
}
