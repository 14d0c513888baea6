//! The queue of jobs, and the thread that performs them.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::body::{CompressedBody, CompressedId};
use super::job::{BodyLimits, CompressJob, CompressSource, JobResult};
use super::settings::CompressBounds;
use super::store::{RETRY_AFTER, Stored, VariantStore};
use crate::driver::{File, FileFailure};
use crate::signal_mask::block_signals;

/// How many jobs wait at most, besides the one that is performed.
pub const QUEUE_MAX: usize = 64;

/// How much lower the priority of the thread is than that of the workers (`nice(2)`).
const NICE: i32 = 10;

/// How long a new body waits for workers and responses to let go of those that were evicted.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// After how much of this time further ones are evicted. Workers need less; a response to a client
/// that reads slowly needs more, and must not keep all others from being compressed.
const MORE_ROOM_AFTER: Duration = Duration::from_millis(100);

/// How often it is looked whether they have, and how often messages are posted again.
const ROOM_PAUSE: Duration = Duration::from_millis(5);
const POST_PAUSE: Duration = Duration::from_millis(100);

/// How many evictions a worker may have missed. If there are more, it lets go of all bodies.
const MISSED_MAX: usize = 4096;

/// Compresses files and keeps the results, for all workers of a process.
pub struct Compressor {
    shared: Arc<SharedCompressor>,
}

/// What became of a question for a body.
#[derive(Debug)]
pub enum AskedBody {
    /// Here it is.
    Found(Arc<CompressedBody>),
    /// It would hardly be smaller than the plain file, or would not be kept.
    NotWorth,
    /// It may be there when another job is done; see [`Compressor::done`].
    Pending,
    /// It is not made before this time.
    Refused(Instant),
}

/// Bodies that a worker must let go of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvictedBodies {
    /// These.
    Some(Vec<CompressedId>),
    /// All that it has.
    All,
}

/// Posts a message to a worker. Returns the message if there is no room for it.
pub type EvictionPost = Box<dyn FnMut(EvictedBodies) -> Result<(), EvictedBodies> + Send>;

/// Called once, by the thread, if the system denies files in memory. Larger bodies than
/// [`CompressBounds::memory_file_max`] are not made then.
pub type FilesDenied = Box<dyn Fn(&io::Error) + Send + Sync>;

/// Figures of a compressor.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CompressStats {
    /// Bodies that can be sent.
    pub bodies: u64,
    /// What they and all that is held of evicted ones take, in bytes of memory.
    pub bytes: u64,
    /// How many of these are files in memory.
    pub files: u64,
    /// Jobs that wait or are performed.
    pub waiting: u64,
    /// Jobs that have made a body.
    pub made: u64,
    /// Jobs whose body would hardly be smaller than the plain file, or would not be kept.
    pub not_worth: u64,
    /// Jobs without a result: the file could not be read or has changed, or there was no room.
    pub dropped: u64,
    /// Results that had to make room for others.
    pub evictions: u64,
}

struct SharedCompressor {
    bounds: CompressBounds,
    told: FilesDenied,
    state: Mutex<CompressorState>,
    changed: Condvar,
    /// How many jobs are done.
    done: AtomicU64,
}

struct CompressorState {
    waiting: VecDeque<CompressJob>,
    /// Those that wait, and the one that is performed.
    ids: HashSet<CompressedId>,
    store: VariantStore,
    workers: Vec<WorkerPost>,
    has_thread: bool,
    /// Nobody can ask any more.
    over: bool,
    made: u64,
    not_worth: u64,
    dropped: u64,
}

struct WorkerPost {
    post: EvictionPost,
    /// What it has not been told yet.
    missed: Option<EvictedBodies>,
}

impl fmt::Debug for CompressorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CompressorState");
        shown.field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("stats", &self.stats()).finish()
    }
}

impl Compressor {
    /// An empty one. The thread starts with the first job. It calls `told` if the system denies
    /// files in memory.
    #[must_use]
    pub fn new(bounds: CompressBounds, told: FilesDenied) -> Self {
        let state = CompressorState {
            waiting: VecDeque::new(),
            ids: HashSet::new(),
            store: VariantStore::new(bounds),
            workers: Vec::new(),
            has_thread: false,
            over: false,
            made: 0,
            not_worth: 0,
            dropped: 0,
        };
        let (changed, done) = (Condvar::new(), AtomicU64::new(0));
        let state = Mutex::new(state);
        Self { shared: Arc::new(SharedCompressor { bounds, told, state, changed, done }) }
    }

    /// Tells a worker by `post` which bodies it must let go of.
    pub fn tell_evictions(&self, post: EvictionPost) {
        self.shared.lock().workers.push(WorkerPost { post, missed: None });
    }

    /// How many jobs are done. While this stays, so does the answer to a question that is pending.
    #[inline]
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Looks for a body, and makes nothing.
    pub fn find(&self, id: &CompressedId, now: Instant) -> Option<AskedBody> {
        let mut state = self.shared.lock();
        match state.store.find(id, now) {
            Stored::Body(body) => Some(AskedBody::Found(body)),
            Stored::NotWorth => Some(AskedBody::NotWorth),
            Stored::Refused(_) | Stored::Unknown => None,
        }
    }

    /// Asks for a body. If it is not there, a job that makes it of `source` is queued, unless too
    /// many wait.
    pub fn ask(
        &self,
        id: &CompressedId,
        now: Instant,
        source: impl FnOnce() -> CompressSource,
    ) -> AskedBody {
        let mut state = self.shared.lock();
        if !state.store.may_fit(None) {
            return AskedBody::NotWorth;
        }
        match state.store.find(id, now) {
            Stored::Body(body) => return AskedBody::Found(body),
            Stored::NotWorth => return AskedBody::NotWorth,
            Stored::Refused(until) => return AskedBody::Refused(until),
            Stored::Unknown => {}
        }
        if state.ids.contains(id) || state.waiting.len() >= QUEUE_MAX {
            return AskedBody::Pending;
        }
        if !state.has_thread {
            if self.shared.start().is_err() {
                state.dropped += 1;
                state.store.refuse(*id, now);
                // No job will be done, which is what `Pending` waits for.
                return AskedBody::Refused(now + RETRY_AFTER);
            }
            state.has_thread = true;
        }
        state.ids.insert(*id);
        state.waiting.push_back(CompressJob { id: *id, source: source() });
        drop(state);
        self.shared.changed.notify_all();
        AskedBody::Pending
    }

    /// The figures at this moment.
    #[must_use]
    pub fn stats(&self) -> CompressStats {
        let state = self.shared.lock();
        let taken = state.store.taken();
        CompressStats {
            bodies: state.store.bodies() as u64,
            bytes: taken.bytes,
            files: taken.files as u64,
            waiting: state.ids.len() as u64,
            made: state.made,
            not_worth: state.not_worth,
            dropped: state.dropped,
            evictions: state.store.evictions(),
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        let (waiting, workers) =
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.workers));
        drop(state);
        self.shared.changed.notify_all();
        drop((waiting, workers));
    }
}

impl SharedCompressor {
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let its = Arc::clone(self);
        let work = move || {
            block_signals();
            // On Linux, each thread has its own priority (`setpriority(2)`). A failure does no
            // harm.
            let _ = rustix::process::nice(NICE);
            its.work();
        };
        thread::Builder::new().name("compressor".into()).spawn(work).map(drop)
    }

    /// Performs jobs until nobody can ask any more.
    fn work(&self) {
        let limits = self.limits();
        while let Some(job) = self.next() {
            let id = job.id;
            let perform = AssertUnwindSafe(|| job.perform(limits));
            let is_kept = match catch_unwind(perform) {
                Ok(JobResult::Made(body)) => self.keep(id, Some(body)),
                Ok(JobResult::NotWorth) => self.keep(id, None),
                Ok(JobResult::Failed) | Err(_) => false,
            };
            let mut state = self.lock();
            if !is_kept {
                state.dropped += 1;
                state.store.refuse(id, Instant::now());
            }
            state.ids.remove(&id);
            // Within the lock: whoever sees that nothing waits sees that this job is done.
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Which bodies get a file in memory. If the system denies such files, none does, and larger
    /// ones are not made: their jobs would fail again and again.
    fn limits(&self) -> BodyLimits {
        let has_files = has_files(File::in_memory(b"").map(drop), &self.told);
        BodyLimits { memory_file_max: self.bounds.memory_file_max, has_files }
    }

    /// Waits for the next job; `None` if there will be none. Meanwhile, posts what workers have
    /// missed.
    fn next(&self) -> Option<CompressJob> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            state.post();
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state = if state.workers.iter().any(|worker| worker.missed.is_some()) {
                let waited = self.changed.wait_timeout(state, POST_PAUSE);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Puts a result into the store. Returns whether there was room. A body that never fits is not
    /// worth being made.
    fn keep(&self, id: CompressedId, body: Option<Arc<CompressedBody>>) -> bool {
        let begun = Instant::now();
        let (mut more_at, until) = (begun + MORE_ROOM_AFTER, begun + ROOM_WAIT);
        let mut state = self.lock();
        let body = body.filter(|body| state.store.may_fit(Some(body)));
        let Some(evicted) = state.store.make_room(body.as_deref(), Instant::now()) else {
            return false;
        };
        state.evicted(&evicted);
        while !state.store.has_room(body.as_deref()) {
            let now = Instant::now();
            if state.over || now >= until {
                return false;
            }
            if now >= more_at {
                more_at = now + MORE_ROOM_AFTER;
                let evicted = state.store.make_more_room(body.as_deref(), now);
                state.evicted(&evicted);
            }
            state.post();
            let waited = self.changed.wait_timeout(state, ROOM_PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = if body.is_some() { &mut state.made } else { &mut state.not_worth };
        *count += 1;
        state.store.insert(id, body);
        true
    }

    /// No code panics while it holds the lock, so a poisoned lock has consistent content.
    fn lock(&self) -> MutexGuard<'_, CompressorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether bodies may be files in memory, after an attempt to make one. If not, that is told.
pub(super) fn has_files(attempt: io::Result<()>, told: &FilesDenied) -> bool {
    match attempt {
        Ok(()) => true,
        // That may pass.
        Err(error) if FileFailure::of(&error) == FileFailure::Shortage => true,
        Err(error) => {
            // If the code of others panics, this thread must go on: nobody would start another one,
            // and all jobs would wait for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| told(&error)));
            false
        }
    }
}

impl CompressorState {
    /// Notes that all workers must let go of these bodies, and tells them.
    fn evicted(&mut self, ids: &[CompressedId]) {
        if ids.is_empty() {
            return;
        }
        for worker in &mut self.workers {
            match &mut worker.missed {
                None => worker.missed = Some(EvictedBodies::Some(ids.to_vec())),
                Some(EvictedBodies::Some(missed)) if missed.len() + ids.len() <= MISSED_MAX => {
                    missed.extend_from_slice(ids);
                }
                Some(missed) => *missed = EvictedBodies::All,
            }
        }
        self.post();
    }

    /// Posts what workers have missed, as far as there is room.
    fn post(&mut self) {
        for worker in &mut self.workers {
            if let Some(missed) = worker.missed.take() {
                worker.missed = (worker.post)(missed).err();
            }
        }
    }
}
