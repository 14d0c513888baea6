//! A server with one worker, and what the kernel tells of the worker's thread.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringd::driver::DriverKind;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::control::Control;

/// Between two samples of a thread's state.
const SAMPLE: Duration = Duration::from_micros(100);

/// Samples that are further apart say nothing of the time between them.
const GAP_MAX: Duration = Duration::from_millis(1);

/// Fewer names than there are small files: each request for one of those is a lookup.
const CACHE_ENTRIES: &str = "64";

/// The first core serves, the second asks.
const SERVER: usize = 0;
const CLIENT: usize = 1;

/// Keeps this thread, and those that it starts, apart from the server. Where there is one core, it
/// fails, and everything shares that.
pub(crate) fn pin_clients() {
    pin(None, CLIENT);
}

fn pin(process: Option<Pid>, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // Without it the figures are less steady, no more.
    let _ = sched_setaffinity(process, &set);
}

/// Bytes that a process or a thread has had read from disks (`proc_pid_io(5)`), if it is told.
pub(crate) fn read_bytes(of: &Path) -> Option<u64> {
    let text = fs::read_to_string(of.join("io")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?;
    line.parse().ok()
}

/// What is measured.
pub(crate) struct Subject {
    address: SocketAddr,
    process: PathBuf,
    worker: PathBuf,
    /// Ended when it is dropped.
    running: Running,
}

enum Running {
    Child(Child),
    Control(#[allow(dead_code, reason = "held until it is dropped")] Control),
}

impl Subject {
    /// Starts `ringd` on a driver, or the control.
    pub(crate) fn start(kind: Option<DriverKind>, root: &Path) -> io::Result<Self> {
        let Some(kind) = kind else {
            let control = Control::start(root, || pin(None, SERVER))?;
            let process = PathBuf::from("/proc/self");
            let worker = process.join("task").join(control.thread().to_string());
            let address = control.address();
            return Ok(Self { address, process, worker, running: Running::Control(control) });
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringd"))
            .arg(root)
            .args(["--listen", "127.0.0.1:0", "--workers", "1", "--driver", kind.name()])
            .args(["--cache-entries", CACHE_ENTRIES])
            .stdout(Stdio::piped())
            .spawn()?;
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let output = child.stdout.take();
        let mut subject = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            worker: process.clone(),
            process,
            running: Running::Child(child),
        };
        let mut banner = String::new();
        BufReader::new(output.ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut banner)?;
        let address = banner.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        subject.address = address.ok_or_else(|| io::Error::other("the server did not start"))?;
        subject.find_worker()?;
        Ok(subject)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finds the thread that is the worker, and gives all threads the server's core.
    fn find_worker(&mut self) -> io::Result<()> {
        for task in fs::read_dir(self.process.join("task"))? {
            let task = task?;
            let number = task.file_name().to_string_lossy().parse().ok();
            if let Some(thread) = number.and_then(Pid::from_raw) {
                pin(Some(thread), SERVER);
            }
            if fs::read_to_string(task.path().join("comm"))?.starts_with("worker") {
                self.worker = task.path();
            }
        }
        if self.worker == self.process {
            return Err(io::Error::other("the server has no worker"));
        }
        Ok(())
    }

    /// Samples the worker's state until it is over.
    pub(crate) fn sample(&self, over: &AtomicBool) -> io::Result<Sampled> {
        let stat = File::open(self.worker.join("stat"))?;
        let disk = || (read_bytes(&self.process), read_bytes(&self.worker));
        let before = disk();
        let mut sampled = Sampled::default();
        let (mut text, mut last, mut blocked_since) = ([0; 256], Instant::now(), None);
        while !over.load(Ordering::Relaxed) {
            let count = stat.read_at(&mut text, 0)?;
            let now = Instant::now();
            sampled.samples += 1;
            // The state stands behind the name, which is in brackets (`proc_pid_stat(5)`).
            let state = text[..count].iter().rposition(|byte| *byte == b')').map(|at| at + 2);
            if state.is_some_and(|at| text[at] == b'D') {
                sampled.blocked += 1;
                // Too long without a sample: it may have been awake in between.
                blocked_since = blocked_since.filter(|_| now - last < GAP_MAX);
                let since = *blocked_since.get_or_insert(now);
                sampled.longest = sampled.longest.max(now - since + SAMPLE);
            } else {
                blocked_since = None;
            }
            last = now;
            thread::sleep(SAMPLE);
        }
        let after = disk();
        sampled.disk = after.0.zip(before.0).map(|(after, before)| after - before);
        sampled.disk_by_loop = after.1.zip(before.1).map(|(after, before)| after - before);
        Ok(sampled)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Running::Child(child) = &mut self.running {
            // If it has ended already, so be it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the samples of a worker say.
#[derive(Default)]
pub(crate) struct Sampled {
    samples: u64,
    blocked: u64,
    /// The longest run of samples in which it was blocked.
    pub(crate) longest: Duration,
    /// Bytes that the process has read from disks.
    pub(crate) disk: Option<u64>,
    /// Those of them that the worker's thread has asked for.
    pub(crate) disk_by_loop: Option<u64>,
}

impl Sampled {
    pub(crate) fn blocked_share(&self) -> f64 {
        self.blocked as f64 / self.samples.max(1) as f64
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.blocked += other.blocked;
        self.longest = self.longest.max(other.longest);
        let sum = |sum: Option<u64>, more: Option<u64>| more.map(|more| sum.unwrap_or(0) + more);
        self.disk = sum(self.disk, other.disk);
        self.disk_by_loop = sum(self.disk_by_loop, other.disk_by_loop);
    }
}
