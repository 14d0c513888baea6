//! Runs the tasks in threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::error::PrecompressError;
use super::report::PrecompressReport;
use super::settings::PrecompressSettings;
use super::task::{Outcome, Task, TaskKind, Watcher, perform, sidecar_path};
use super::tree::Tree;
use super::walk::Walk;

/// Shows how far a run is. Threads call it.
pub trait PrecompressProgress: Sync {
    /// The walk is over: this many bytes are to be read.
    fn begin(&self, bytes: u64);
    /// Bytes were read.
    fn advance(&self, bytes: u64);
}

/// Does what the settings say. When `stop` is set, the run ends soon, and leaves no temporary
/// files.
///
/// # Errors
///
/// When the root cannot be opened or has too many files, or when its file system is full or
/// read-only. Everything else that fails is a problem in the report.
pub fn precompress(
    settings: &PrecompressSettings,
    progress: &dyn PrecompressProgress,
    stop: &AtomicBool,
) -> Result<PrecompressReport, PrecompressError> {
    let started = Instant::now();
    let no_root = |error| PrecompressError::Root(settings.root.clone(), error);
    let tree = Tree::open(&settings.root).map_err(no_root)?;
    let report = PrecompressReport::new(settings);
    let mut walk = Walk { settings, tree: &tree, stop, report, tasks: Vec::new() };
    walk.run()?;
    let Walk { report, mut tasks, .. } = walk;
    // A large file that begins last would leave the other threads without work.
    tasks.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    progress.begin(tasks.iter().map(|task| task.bytes).sum());
    let run = Run {
        settings,
        tree: &tree,
        tasks: &tasks,
        next: AtomicUsize::new(0),
        report: Mutex::new(report),
        error: Mutex::new(None),
        has_error: AtomicBool::new(false),
        progress,
        stop,
    };
    thread::scope(|scope| {
        // One of the threads is this one. Without the others, it does all.
        for number in 1..settings.jobs.min(tasks.len()) {
            let thread = thread::Builder::new().name(format!("precompress-{number}"));
            if thread.spawn_scoped(scope, || run.work()).is_err() {
                break;
            }
        }
        run.work();
    });
    if let Some(error) = run.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.problems.sort_by(|a, b| a.path.cmp(&b.path));
    report.removed.sort();
    report.interrupted = stop.load(Ordering::Relaxed);
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// What the threads share.
struct Run<'a> {
    settings: &'a PrecompressSettings,
    tree: &'a Tree,
    tasks: &'a [Task],
    /// The number of the next task.
    next: AtomicUsize,
    report: Mutex<PrecompressReport>,
    /// What ends the run.
    error: Mutex<Option<PrecompressError>>,
    has_error: AtomicBool,
    progress: &'a dyn PrecompressProgress,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn work(&self) {
        while !self.is_stopped()
            && let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let outcome = perform(self.settings, self.tree, task, self);
            self.note(task, outcome);
        }
    }

    fn note(&self, task: &Task, outcome: Outcome) {
        let sidecar = sidecar_path(&task.path, task.coding);
        let mut report = lock(&self.report);
        match outcome {
            Outcome::Good { plain_bytes, coded_bytes } => {
                let Some(totals) = report.totals(task.coding) else { return };
                match task.kind {
                    TaskKind::Make => totals.written += 1,
                    TaskKind::Verify | TaskKind::Try => totals.current += 1,
                }
                totals.add(plain_bytes, coded_bytes);
            }
            Outcome::NotWorthIt { removed } => {
                if let Some(totals) = report.totals(task.coding) {
                    totals.not_worth_it += 1;
                }
                if removed {
                    report.add_removed(&sidecar);
                }
            }
            Outcome::Faulty(fault, detail) => {
                let path = if fault.is_of_plain_file() { &task.path } else { &*sidecar };
                report.add_problem(path, fault, detail);
            }
            Outcome::Full(error) => {
                let path = self.settings.root.join(&task.path);
                lock(&self.error).get_or_insert(PrecompressError::FileSystem(path, error));
                self.has_error.store(true, Ordering::Relaxed);
            }
            Outcome::Stopped => {}
        }
    }
}

impl Watcher for Run<'_> {
    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.has_error.load(Ordering::Relaxed)
    }
}

/// A panic of another thread ends the run, so what it left does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
