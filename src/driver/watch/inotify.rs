//! The watcher on `inotify(7)`: a thread that waits for events and requests.
//!
//! The thread and the inotify instance are made at start: a server that serves opens nothing except
//! for its clients. If that fails, [`Watcher::watch`] always returns false.
//!
//! The thread opens directories, so a slow disk delays its reports. It has a lower priority than
//! the loop, like the thread for jobs. It ends when the handle is dropped. The drop waits for that,
//! but at most [`END_MAX`]: a dead disk may block the thread forever, and then the thread is
//! abandoned.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{
    ChangeReport, Outbox, Post, REST, Requests, Sink, SiteId, WatchEvent, WatchRequest, WatchTable,
    Watcher,
};
use crate::driver::File;

/// How long a drop waits for the thread.
const END_MAX: Duration = Duration::from_millis(500);

/// How much lower the priority of the thread is than that of the loop (`nice(2)`).
const NICE: i32 = 10;

/// One read of events stops after this many. The next one follows after the rest. The kernel keeps
/// the events that are left, usually up to 16384 (`fs.inotify.max_queued_events`).
const EVENTS_MAX: usize = 4096;

/// Bytes of one read: about a hundred events with names of common length.
const BUFFER_BYTES: usize = 4096;

/// A write through a mapping is reported when the file is closed. A directory that is already
/// watched under another path keeps its number, and the flags are the same, so nothing changes.
const WATCHED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// The handle; see the module documentation.
#[derive(Debug)]
pub struct Inotify {
    /// `None` if the thread or the instance could not be made.
    running: Option<WatchHandle>,
}

#[derive(Debug)]
struct WatchHandle {
    queue: Arc<RequestQueue>,
    thread: JoinHandle<()>,
    /// Disconnected when the thread ends; carries nothing.
    ended: Receiver<Infallible>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct RequestQueue {
    waiting: Mutex<WaitingRequests>,
    /// A non-blocking eventfd, set when there is something for the thread.
    notifier: OwnedFd,
}

#[derive(Debug, Default)]
struct WaitingRequests {
    requests: Requests,
    /// The handle is gone.
    over: bool,
}

impl Inotify {
    /// A watcher that posts to `post`.
    pub fn new(post: Post) -> Self {
        Self { running: WatchHandle::start(post).ok() }
    }

    /// The handle, while the thread runs. A panic in `post` ends the thread early.
    fn running(&self) -> Option<&WatchHandle> {
        self.running.as_ref().filter(|running| !running.thread.is_finished())
    }
}

impl Watcher for Inotify {
    fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool {
        let Some(WatchHandle { queue, .. }) = self.running() else { return false };
        let added = queue.lock().requests.watch(site, root, path);
        queue.notify();
        added
    }

    fn forget(&mut self, site: SiteId) {
        if let Some(WatchHandle { queue, .. }) = self.running() {
            queue.lock().requests.forget(site);
            queue.notify();
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.queue.lock().over = true;
        running.queue.notify();
        let ended = running.ended.recv_timeout(END_MAX);
        if ended == Err(RecvTimeoutError::Disconnected) {
            // A panic in `post` was reported when it happened.
            let _ = running.thread.join();
        }
    }
}

impl WatchHandle {
    fn start(post: Post) -> io::Result<Self> {
        let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let notifier = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Arc::new(RequestQueue { waiting: Mutex::default(), notifier });
        let service = WatchThread {
            queue: Arc::clone(&queue),
            instance,
            table: WatchTable::default(),
            outbox: Outbox::new(post),
        };
        let (ending, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("watcher".into()).spawn(move || {
            // Dropped last, when the thread ends.
            let _ending = ending;
            service.run();
        })?;
        Ok(Self { queue, thread, ended })
    }
}

impl RequestQueue {
    /// No code panics while it holds the lock, so a poisoned lock has consistent content.
    fn lock(&self) -> MutexGuard<'_, WaitingRequests> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        // The write fails only if the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.notifier, &1u64.to_ne_bytes());
    }

    /// Clears the notification, then looks at what waits. In this order, what is added after the
    /// look notifies again.
    fn look<T>(&self, look: impl FnOnce(&mut WaitingRequests) -> T) -> T {
        self.reset();
        look(&mut self.lock())
    }

    /// Clears the notification; returns whether there was one.
    fn reset(&self) -> bool {
        rustix::io::read(&self.notifier, &mut [0; 8]).is_ok()
    }
}

/// The state of the thread.
#[derive(Debug)]
struct WatchThread {
    queue: Arc<RequestQueue>,
    instance: OwnedFd,
    table: WatchTable,
    outbox: Outbox,
}

impl WatchThread {
    /// The loop of the thread: in each turn, one request and one read of events.
    fn run(mut self) {
        // On Linux, each thread has its own priority (`setpriority(2)`). A failure does no harm.
        let _ = rustix::process::nice(NICE);
        loop {
            let has_room = self.outbox.has_room();
            let (over, request, more) = self.queue.look(|waiting| {
                let request = if has_room { waiting.requests.next() } else { None };
                (waiting.over, request, !waiting.requests.is_empty())
            });
            if over {
                return;
            }
            if let Some(request) = request {
                self.serve(request);
            }
            let now = Instant::now();
            if self.outbox.rests_until(now).is_none() {
                self.read(now);
                let lost = self.outbox.post(now);
                let Self { instance, table, outbox, .. } = &mut self;
                table.lose(lost, outbox, &mut end_in(instance.as_fd()));
            }
            if !(more && self.outbox.has_room()) {
                self.sleep(now);
            }
        }
    }

    fn serve(&mut self, request: WatchRequest) {
        let Self { instance, table, outbox, .. } = self;
        let instance = instance.as_fd();
        match request {
            WatchRequest::Forget { site } => {
                table.forget(site, b"", &mut end_in(instance));
                outbox.push(ChangeReport::Unwatched { site, path: [].into() });
                outbox.changed(site, || super::Change::Everything);
            }
            WatchRequest::Watch { site, root, path } if !table.holds(site, &path) => {
                let ends = memchr::memchr_iter(b'/', &path).chain([path.len()]);
                for end in (!path.is_empty()).then_some(0).into_iter().chain(ends) {
                    let above = &path[..end];
                    if table.holds(site, above) {
                        continue;
                    }
                    let number = if table.is_full() {
                        Err(io::ErrorKind::QuotaExceeded.into())
                    } else {
                        add_watch(instance, &root, above)
                    };
                    let Ok(number) = number else {
                        return outbox.push(ChangeReport::Unwatched { site, path });
                    };
                    table.add(site, above, number);
                    outbox.push(ChangeReport::Watched { site, path: above.into() });
                }
            }
            WatchRequest::Watch { .. } => {}
        }
    }

    /// Handles the events that the kernel has, up to the limit of one read.
    fn read(&mut self, now: Instant) {
        let Self { instance, table, outbox, .. } = self;
        let instance = instance.as_fd();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(instance, &mut buffer);
        let mut events = 0;
        while events < EVENTS_MAX || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(CStr::to_bytes);
                    let event = WatchEvent { number: event.wd(), flags: event.events(), name };
                    table.take_in(&event, outbox, &mut end_in(instance));
                    events += 1;
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(_) => {
                    // It is unknown what was missed.
                    outbox.rest(now);
                    table.lose(table.sites(), outbox, &mut end_in(instance));
                    break;
                }
            }
        }
        // Events cost the same if they cause no report.
        if events > 0 && outbox.is_empty() {
            outbox.rest(now);
        }
    }

    /// Waits for a notification, and for events or the end of the rest. The rest is that at `now`:
    /// one that has ended since then may have kept reports from being posted.
    fn sleep(&self, now: Instant) {
        let rest = self.outbox.rests_until(now).map(|until| until - now);
        let mut sources = [
            PollFd::new(&self.queue.notifier, PollFlags::IN),
            PollFd::new(&self.instance, PollFlags::IN),
        ];
        // During a rest, no events are read.
        let sources = if rest.is_some() { &mut sources[..1] } else { &mut sources[..] };
        let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
        match poll(sources, rest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Memory is short: the loop must not spin.
            Err(_) => thread::sleep(REST),
        }
    }
}

/// Removes watches by their numbers.
fn end_in(instance: BorrowedFd<'_>) -> impl FnMut(i32) {
    move |number| {
        // It fails if the directory is gone, because its watch is gone as well.
        let _ = inotify::remove_watch(instance, number);
    }
}

/// Opens the directory and watches the open directory: `inotify_add_watch(2)` takes only a path,
/// and `/proc/self/fd` has one. No link on the way is followed, because a watch does not report
/// when a link on the path to it begins to lead elsewhere.
fn add_watch(instance: BorrowedFd<'_>, root: &File, path: &[u8]) -> io::Result<i32> {
    let place = |directory: BorrowedFd<'_>| {
        let place = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(inotify::add_watch(instance, place, WATCHED)?)
    };
    if path.is_empty() {
        return place(root.as_fd());
    }
    place(File::open_without_links(root, &CString::new(path)?)?.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_after_a_look_notifies_again() {
        let notifier = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let queue = RequestQueue { waiting: Mutex::default(), notifier };
        queue.notify();
        // As if another thread added something just after the look.
        queue.look(|_| queue.notify());
        assert!(queue.reset(), "nothing reports what was added");
        queue.look(|_| ());
        assert!(!queue.reset());
    }
}
