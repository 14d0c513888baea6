//! What is found out, without an opinion on it. What cannot be read is a reason, as text.

use std::fs;
use std::io;
use std::thread;

use rlimit::Resource;

use crate::driver::probe::{self, ProbeStep};
use crate::driver::trial::{Trial, is_untried};
use crate::driver::uring::features;
use crate::driver::{DriverKind, DriverSelection, calls, code_of};

/// Something that was read, or why it could not be.
pub(super) type Reading<T> = Result<T, String>;

/// All that is known of the machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) system: System,
    pub(super) selection: Reading<DriverSelection>,
    /// Whether there can be as many rings as workers.
    pub(super) workers: Tried,
    pub(super) drivers: Vec<(DriverKind, Vec<(ProbeStep, Tried)>)>,
    pub(super) setup: (Trial, Tried),
    /// Nothing when there is no ring to try them on.
    pub(super) ring: Vec<(Trial, Tried)>,
    pub(super) calls: Vec<(Trial, Tried)>,
}

/// What can be read.
#[derive(Clone, Debug)]
pub(super) struct System {
    /// The kernel's release, such as `6.18.44-generic`.
    pub(super) release: Reading<String>,
    /// `kernel.io_uring_disabled`, since Linux 6.6.
    pub(super) uring_disabled: Reading<i64>,
    /// `kernel.io_uring_group`: who may use io_uring when the former is 1.
    pub(super) uring_group: Reading<i64>,
    /// The groups of this process, its own first.
    pub(super) groups: Reading<Vec<i64>>,
    /// Effective capabilities, as bits (`capabilities(7)`).
    pub(super) capabilities: Reading<u64>,
    /// 0 without seccomp, 2 with a filter (`proc(5)`).
    pub(super) seccomp: Reading<i64>,
    /// Soft and hard limit of descriptors.
    pub(super) nofile: Reading<(u64, u64)>,
    /// Soft and hard limit of locked memory, in bytes.
    pub(super) memlock: Reading<(u64, u64)>,
    /// `net.core.somaxconn`: the kernel's bound of a backlog.
    pub(super) somaxconn: Reading<u64>,
    /// `fs.file-max`: open files of the whole machine.
    pub(super) file_max: Reading<u64>,
    /// CPUs that this process may use; as many workers are started.
    pub(super) cpus: Reading<usize>,
}

/// What came of trying something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tried {
    Works,
    Fails(Failure),
    /// It could not be tried, for a reason that is not its own.
    Unknown(String),
}

/// An error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// Its number, where the kernel gave one.
    pub(super) code: Option<i32>,
    pub(super) text: String,
}

impl Facts {
    /// Looks at the machine. Raises the soft limit of descriptors to the hard one, as the server
    /// does.
    pub(super) fn gather() -> Self {
        let system = System::read();
        // What cannot be raised is what it is, and is reported as such.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let workers = system.cpus.as_ref().map_or(1, |cpus| *cpus);
        // First, because the kernel gives back the memory of a closed ring a little later.
        let selection = DriverSelection::make(None);
        let rings = probe::open_many(DriverKind::Uring, workers);
        let selection = choose(selection, rings.as_ref().err()).map_err(|error| error.to_string());
        let named = |(step, result)| (step, Tried::from(result));
        let exercise = |kind| probe::exercise(kind).into_iter().map(named).collect();
        let drivers = DriverKind::ALL.map(|kind| (kind, exercise(kind))).into();
        let attempt = |trial: &Trial| (*trial, Tried::from(trial.run()));
        let setup = attempt(&features::SETUP);
        let ring = match setup.1 {
            Tried::Works => features::TRIALS.iter().map(attempt).collect(),
            _ => Vec::new(),
        };
        let calls = calls::TRIALS.iter().map(attempt).collect();
        Self { system, selection, workers: rings.into(), drivers, setup, ring, calls }
    }
}

/// Chooses as the server does: it falls back when one of its workers has no ring.
fn choose(
    selection: io::Result<DriverSelection>,
    rings: Option<&io::Error>,
) -> io::Result<DriverSelection> {
    let selection = selection?;
    match rings {
        Some(error) if selection.kind == DriverKind::Uring => {
            let told = || io::Error::other(error.to_string());
            selection.fall_back(error).ok_or_else(told)
        }
        _ => Ok(selection),
    }
}

impl System {
    fn read() -> Self {
        let status = read("/proc/self/status");
        let field = |name: &str| -> Reading<String> {
            let lines = status.as_ref().map_err(Clone::clone)?.lines();
            let value = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).next();
            value.map(|value| value.trim().to_owned()).ok_or_else(|| format!("{name} is not told"))
        };
        Self {
            release: calls::kernel_release().map_err(|error| error.to_string()),
            uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            uring_group: number("/proc/sys/kernel/io_uring_group"),
            groups: field("Gid").and_then(|own| Ok(numbers(&(own + " " + &field("Groups")?)))),
            capabilities: field("CapEff")
                .and_then(|bits| u64::from_str_radix(&bits, 16).map_err(|error| error.to_string())),
            seccomp: field("Seccomp").and_then(|mode| parse(&mode)),
            nofile: Resource::NOFILE.get().map_err(|error| error.to_string()),
            memlock: Resource::MEMLOCK.get().map_err(|error| error.to_string()),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            file_max: number("/proc/sys/fs/file-max"),
            cpus: thread::available_parallelism()
                .map(std::num::NonZero::get)
                .map_err(|error| error.to_string()),
        }
    }
}

fn read(path: &str) -> Reading<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn number<T: std::str::FromStr>(path: &str) -> Reading<T> {
    read(path).and_then(|text| parse(&text))
}

fn parse<T: std::str::FromStr>(text: &str) -> Reading<T> {
    text.trim().parse().map_err(|_| format!("{:?} is not a number", text.trim()))
}

fn numbers(text: &str) -> Vec<i64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

impl From<io::Result<()>> for Tried {
    fn from(result: io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Works,
            Err(error) if is_untried(&error) => Self::Unknown(error.to_string()),
            Err(error) => Self::Fails(Failure { code: code_of(&error), text: error.to_string() }),
        }
    }
}
