//! The server under test, with one worker, and the samples of the worker's thread.

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

/// The time between two samples of the state of the thread.
const SAMPLE: Duration = Duration::from_micros(100);

/// If two samples are further apart, the state between them is not known.
const GAP_MAX: Duration = Duration::from_millis(1);

/// Less than the number of small files, so each request for one of them causes a lookup.
const CACHE_ENTRIES: &str = "64";

/// The cores of the server and of the clients.
const SERVER: usize = 0;
const CLIENT: usize = 1;

/// Binds this thread, and the threads that it starts later, to another core than the server. With
/// only one core this has no effect.
pub(crate) fn pin_clients() {
    pin(None, CLIENT);
}

fn pin(process: Option<Pid>, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // An error is ignored: without binding, the measurements only vary more.
    let _ = sched_setaffinity(process, &set);
}

/// The number of bytes that a process or a thread has read from disks (`proc_pid_io(5)`); `None` if
/// it cannot be read.
pub(crate) fn read_bytes(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("io")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?;
    line.parse().ok()
}

/// The server under test.
pub(crate) struct Subject {
    address: SocketAddr,
    /// The directory of the process in `/proc`.
    process: PathBuf,
    /// The directory of the worker's thread in `/proc`.
    worker: PathBuf,
    /// Ends when it is dropped.
    running: RunningServer,
}

enum RunningServer {
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
            return Ok(Self { address, process, worker, running: RunningServer::Control(control) });
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
            running: RunningServer::Child(child),
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

    /// Finds the thread of the worker, and binds all threads to the core of the server.
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

    /// Samples the state of the worker until `over` is set.
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
            // The state follows the name, which is in parentheses (`proc_pid_stat(5)`).
            let state = text[..count].iter().rposition(|byte| *byte == b')').map(|at| at + 2);
            if state.is_some_and(|at| text[at] == b'D') {
                sampled.blocked += 1;
                // After a long gap between samples, the worker may have been awake in between.
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
        if let RunningServer::Child(child) = &mut self.running {
            // This fails if the process has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The result of sampling a worker.
#[derive(Default)]
pub(crate) struct Sampled {
    samples: u64,
    blocked: u64,
    /// The longest run of samples in which the worker was blocked.
    pub(crate) longest: Duration,
    /// The number of bytes that the process has read from disks.
    pub(crate) disk: Option<u64>,
    /// The part of `disk` that the thread of the worker caused.
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
