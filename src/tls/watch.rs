//! Says when the files of certificates may have changed.
//!
//! One thread of the process watches with `inotify(7)`. It watches directories, not files: tools
//! that renew certificates do not rewrite files, but rename others over them or turn links. So it
//! watches the directory of each file and those of all links on the way to it. If something on the
//! way is missing, it watches the directory in which it would appear. A change may make the way
//! lead elsewhere, so the watches are made anew after each change.
//!
//! Some file systems report nothing, and a change of a directory further up is not reported. So the
//! thread also looks at the files in intervals and compares what distinguishes them. It does only
//! that if the kernel gives no inotify instance or no watch.
//!
//! Renewals change several files. So reports are gathered until there is none for a while, and at
//! most for twice that time.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use self::places::{FileIdentity, identities, places};
use crate::signal_mask::block_signals;

/// The most directories that are watched. Files in others are only looked at.
const DIRECTORIES_MAX: usize = 1024;

/// How often the watches are made again because links change meanwhile.
const TRIES_MAX: usize = 4;

/// One read of events stops after this many. The kernel keeps the events that are left, usually up
/// to 16384 (`fs.inotify.max_queued_events`), and says if it drops some.
const EVENTS_MAX: usize = 4096;

/// How long no events are read after a read that had some, so that a storm costs little.
const REST: Duration = Duration::from_millis(50);

/// Bytes of one read: about a hundred events with names of common length.
const BUFFER_BYTES: usize = 4096;

/// What happens to a name. A file that is written is reported when it is closed.
const NAMES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE);

/// What happens to the directory itself.
const SELF: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

const WATCHED: WatchFlags =
    NAMES.union(SELF).union(WatchFlags::EXCL_UNLINK).union(WatchFlags::ONLYDIR);

/// What concerns all names in a directory.
const ALL_NAMES: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::QUEUE_OVERFLOW);

/// The times of a watch, and whether it uses `inotify(7)`.
#[derive(Clone, Copy, Debug)]
struct WatchManner {
    /// A change is told when there was no report for this time, or twice this time after the first.
    gather: Duration,
    /// The interval of the looks.
    look: Duration,
    has_inotify: bool,
}

const MANNER: WatchManner = WatchManner {
    gather: Duration::from_secs(1),
    look: Duration::from_secs(60),
    has_inotify: true,
};

/// Watches files; see the module documentation. Dropping it ends the thread, and waits for a call
/// that is under way.
#[derive(Debug)]
pub struct CertificateWatch {
    shared: Arc<WatchShared>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct WatchShared {
    orders: Mutex<WatchOrders>,
    /// A non-blocking eventfd, set when there is something for the thread.
    notifier: OwnedFd,
}

#[derive(Debug, Default)]
struct WatchOrders {
    /// Files to watch instead of the others.
    files: Option<WatchedFiles>,
    /// The handle is gone.
    over: bool,
}

/// Files, and what they were when somebody looked at them.
#[derive(Debug, Default)]
struct WatchedFiles {
    paths: Vec<PathBuf>,
    identities: Vec<Option<FileIdentity>>,
}

impl WatchedFiles {
    fn now(paths: Vec<PathBuf>) -> Self {
        let identities = identities(&paths);
        Self { paths, identities }
    }

    /// Looks again; returns whether a file is another one than before.
    fn look(&mut self) -> bool {
        let now = identities(&self.paths);
        let differs = now != self.identities;
        self.identities = now;
        differs
    }
}

impl CertificateWatch {
    /// Watches these files, and calls `on_change` in the thread of the watch when they may have
    /// changed. It does not miss a change after it has begun, so read the files afterwards. It may
    /// also report changes that are none.
    ///
    /// # Errors
    ///
    /// If there is no descriptor for the thread, or no thread. If `inotify(7)` is missing, changes
    /// are noticed within a minute.
    pub fn start(files: Vec<PathBuf>, on_change: Box<dyn FnMut() + Send>) -> io::Result<Self> {
        Self::start_in(MANNER, files, on_change)
    }

    fn start_in(
        manner: WatchManner,
        files: Vec<PathBuf>,
        on_change: Box<dyn FnMut() + Send>,
    ) -> io::Result<Self> {
        let notifier = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let orders = WatchOrders { files: Some(WatchedFiles::now(files)), over: false };
        let shared = Arc::new(WatchShared { orders: Mutex::new(orders), notifier });
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let instance = if manner.has_inotify { inotify::init(flags).ok() } else { None };
        let watcher = WatchThread {
            shared: Arc::clone(&shared),
            instance,
            manner,
            files: WatchedFiles::default(),
            names: BTreeMap::new(),
            gathering: None,
            rests_until: None,
            on_change,
        };
        let thread = thread::Builder::new().name("certificates".into()).spawn(move || {
            block_signals();
            watcher.run();
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches these files from now on instead of the others. No change of them after the call is
    /// missed.
    pub fn set_files(&self, files: Vec<PathBuf>) {
        let files = WatchedFiles::now(files);
        self.shared.lock().files = Some(files);
        self.shared.notify();
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.notify();
        let Some(thread) = self.thread.take() else { return };
        // `on_change` may own the handle; a thread cannot wait for itself.
        if thread.thread().id() != thread::current().id() {
            // A panic in `on_change` was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl WatchShared {
    /// No code panics while it holds the lock, so a poisoned lock has consistent content.
    fn lock(&self) -> MutexGuard<'_, WatchOrders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        // The write fails only if the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.notifier, &1u64.to_ne_bytes());
    }

    /// Clears the notification, then takes the orders. In this order, what is added afterwards
    /// notifies again.
    fn take(&self) -> WatchOrders {
        let _ = rustix::io::read(&self.notifier, &mut [0; 8]);
        let mut orders = self.lock();
        WatchOrders { files: orders.files.take(), over: orders.over }
    }
}

/// The times of reports that are gathered.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    first: Instant,
    last: Instant,
}

/// The state of the thread.
struct WatchThread {
    shared: Arc<WatchShared>,
    instance: Option<OwnedFd>,
    manner: WatchManner,
    files: WatchedFiles,
    /// The names that matter in each watched directory, by the number of its watch.
    names: BTreeMap<i32, BTreeSet<OsString>>,
    gathering: Option<Gathering>,
    /// No events are read before this time.
    rests_until: Option<Instant>,
    on_change: Box<dyn FnMut() + Send>,
}

impl fmt::Debug for WatchThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchThread").field("files", &self.files).finish_non_exhaustive()
    }
}

impl WatchThread {
    fn run(mut self) {
        let mut next_look = Instant::now() + self.manner.look;
        loop {
            let orders = self.shared.take();
            if orders.over {
                return;
            }
            let mut has_changed = false;
            if let Some(files) = orders.files {
                self.files = files;
                self.follow();
                // What has happened before there were watches.
                has_changed |= self.files.look();
            }
            let now = Instant::now();
            has_changed |= self.read(now);
            if now >= next_look {
                next_look = now + self.manner.look;
                self.follow();
                has_changed |= self.files.look();
            }
            if has_changed {
                let first = self.gathering.map_or(now, |gathering| gathering.first);
                self.gathering = Some(Gathering { first, last: now });
            }
            let told_at = self.told_at();
            if told_at.is_some_and(|at| at <= now) {
                self.gathering = None;
                self.follow();
                self.files.look();
                (self.on_change)();
                continue;
            }
            self.sleep(told_at.map_or(next_look, |at| at.min(next_look)));
        }
    }

    /// When the reports that are gathered become a call.
    fn told_at(&self) -> Option<Instant> {
        let gather = self.manner.gather;
        self.gathering.map(|Gathering { first, last }| (last + gather).min(first + gather * 2))
    }

    /// Makes the watches anew.
    fn follow(&mut self) {
        let Some(instance) = &self.instance else { return };
        let mut names: BTreeMap<i32, BTreeSet<OsString>> = BTreeMap::new();
        let mut wanted = places(&self.files.paths);
        for _ in 0..TRIES_MAX {
            for (directory, its) in wanted.iter().take(DIRECTORIES_MAX) {
                // It fails if the directory is gone or may not be read, or if there are too many
                // watches. Then the looks remain.
                if let Ok(number) = inotify::add_watch(instance, directory, WATCHED) {
                    names.entry(number).or_default().extend(its.iter().cloned());
                }
            }
            // A link that has changed before its directory was watched is not reported.
            let now = places(&self.files.paths);
            if now == wanted {
                break;
            }
            wanted = now;
        }
        for old in self.names.keys().filter(|number| !names.contains_key(number)) {
            // It fails if the directory is gone, because its watch is gone as well.
            let _ = inotify::remove_watch(instance, *old);
        }
        self.names = names;
    }

    /// Reads the events that the kernel has, up to the limit of one read; returns whether one of
    /// them matters.
    fn read(&mut self, now: Instant) -> bool {
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        self.rests_until = None;
        let Some(instance) = &self.instance else { return false };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(instance, &mut buffer);
        let (mut events, mut matters) = (0, false);
        while events < EVENTS_MAX || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let names = self.names.get(&event.wd());
                    matters |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                        || names.is_some_and(|names| {
                            event.events().intersects(ALL_NAMES)
                                || name.is_some_and(|name| names.contains(name))
                        });
                    events += 1;
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(_) => {
                    // It is unknown what was missed.
                    matters = true;
                    events += 1;
                    break;
                }
            }
        }
        if events > 0 {
            self.rests_until = Some(now + REST);
        }
        matters
    }

    /// Waits for a notification, for events or the end of the rest, and at most until a time.
    fn sleep(&self, until: Instant) {
        let instance = self.instance.as_ref().filter(|_| self.rests_until.is_none());
        let until = self.rests_until.map_or(until, |rest| rest.min(until));
        let wait = until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(wait).ok();
        let notifier = PollFd::new(&self.shared.notifier, PollFlags::IN);
        let waited = match instance {
            Some(instance) => poll(
                &mut [notifier, PollFd::from_borrowed_fd(instance.as_fd(), PollFlags::IN)],
                wait.as_ref(),
            ),
            None => poll(&mut [notifier], wait.as_ref()),
        };
        match waited {
            Ok(_) | Err(Errno::INTR) => {}
            // Memory is short: the loop must not spin.
            Err(_) => thread::sleep(REST),
        }
    }
}

#[cfg(test)]
mod tests;
