//! The facts about the machine, without a judgement. A fact that cannot be read is an error.

use std::fmt;
use std::fs;
use std::io;
use std::thread;

use rlimit::Resource;

use super::sandbox::SandboxFacts;
use super::tls::TlsFacts;
use crate::driver::probe::{self, ProbeStep};
use crate::driver::trial::{Trial, is_untried};
use crate::driver::uring::features;
use crate::driver::{DriverKind, DriverSelection, calls, code_of};

/// A fact that was read, or the reason why it is not known.
pub(super) type Fact<T> = Result<T, UnknownFact>;

/// Why a fact is not known. A report shows the text after "could not be read: ".
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UnknownFact(String);

impl UnknownFact {
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for UnknownFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that was found out about the machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) system: System,
    /// The choice of `--driver auto`, or the text of its error.
    pub(super) selection: Result<DriverSelection, String>,
    /// Whether a ring for each worker can be open at the same time.
    pub(super) workers: Tried,
    pub(super) drivers: Vec<(DriverKind, Vec<(ProbeStep, Tried)>)>,
    pub(super) setup: (Trial, Tried),
    /// The features of a ring; empty if no ring can be set up.
    pub(super) ring: Vec<(Trial, Tried)>,
    pub(super) calls: Vec<(Trial, Tried)>,
    pub(super) tls: TlsFacts,
    pub(super) sandbox: SandboxFacts,
}

/// The facts that are read from the system.
#[derive(Clone, Debug)]
pub(super) struct System {
    /// The kernel's release, such as `6.18.44-generic`.
    pub(super) release: Fact<String>,
    /// `kernel.io_uring_disabled`, which exists since Linux 6.6.
    pub(super) uring_disabled: Fact<i64>,
    /// `kernel.io_uring_group`: the group that may use io_uring if `uring_disabled` is 1.
    pub(super) uring_group: Fact<i64>,
    /// The groups of this process, the primary one first.
    pub(super) groups: Fact<Vec<i64>>,
    /// Effective capabilities, as bits (`capabilities(7)`).
    pub(super) capabilities: Fact<u64>,
    /// 0 without seccomp, 2 with a filter (`proc(5)`).
    pub(super) seccomp: Fact<i64>,
    /// Soft and hard limits of descriptors.
    pub(super) nofile: Fact<(u64, u64)>,
    /// Soft and hard limits of locked memory, in bytes.
    pub(super) memlock: Fact<(u64, u64)>,
    /// `net.core.somaxconn`: the maximum backlog of a listening socket.
    pub(super) somaxconn: Fact<u64>,
    /// `fs.file-max`: the maximum number of open files on the machine.
    pub(super) file_max: Fact<u64>,
    /// The number of CPUs that this process may use, which is the default number of workers.
    pub(super) cpus: Fact<usize>,
}

/// The result of a trial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tried {
    Works,
    Fails(TrialError),
    /// The trial itself failed, for example because it could not open a socket.
    Unknown(String),
}

/// The error of a trial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TrialError {
    /// The error number, if the kernel returned one.
    pub(super) code: Option<i32>,
    pub(super) text: String,
}

impl Facts {
    /// Gathers the facts. Raises the soft limit of descriptors to the hard limit, as the server
    /// does.
    pub(super) fn gather() -> Self {
        let system = System::read();
        // If this fails, the limit stays as it is, and the report shows it.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let workers = system.cpus.as_ref().map_or(1, |cpus| *cpus);
        // Rings first: the kernel returns the locked memory of a closed ring with a delay, so rings
        // of later trials would count against these.
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
        let (tls, sandbox) = (TlsFacts::gather(), SandboxFacts::gather());
        let workers = rings.into();
        Self { system, selection, workers, drivers, setup, ring, calls, tls, sandbox }
    }
}

/// Chooses as the server does, which falls back if one of its workers gets no ring.
fn choose(
    selection: io::Result<DriverSelection>,
    rings: Option<&io::Error>,
) -> io::Result<DriverSelection> {
    let selection = selection?;
    match rings {
        Some(error) if selection.kind == DriverKind::Uring => {
            let same_error = || io::Error::other(error.to_string());
            selection.fall_back(error).ok_or_else(same_error)
        }
        _ => Ok(selection),
    }
}

impl System {
    fn read() -> Self {
        let path = "/proc/self/status";
        let status = read(path);
        let field = |name: &str| -> Fact<String> {
            let lines = status.as_ref().map_err(Clone::clone)?.lines();
            let value = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).next();
            let value = value.map(|value| value.trim().to_owned());
            value.ok_or_else(|| UnknownFact::new(format!("{path} has no field {name}")))
        };
        Self {
            release: calls::kernel_release().map_err(UnknownFact::new),
            uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            uring_group: number("/proc/sys/kernel/io_uring_group"),
            groups: field("Gid").and_then(|own| Ok(numbers(&(own + " " + &field("Groups")?)))),
            capabilities: field("CapEff")
                .and_then(|bits| u64::from_str_radix(&bits, 16).map_err(UnknownFact::new)),
            seccomp: field("Seccomp").and_then(|mode| parse(&mode)),
            nofile: Resource::NOFILE.get().map_err(UnknownFact::new),
            memlock: Resource::MEMLOCK.get().map_err(UnknownFact::new),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            file_max: number("/proc/sys/fs/file-max"),
            cpus: thread::available_parallelism()
                .map(std::num::NonZero::get)
                .map_err(UnknownFact::new),
        }
    }
}

fn read(path: &str) -> Fact<String> {
    fs::read_to_string(path).map_err(|error| UnknownFact::new(format!("{path}: {error}")))
}

fn number<T: std::str::FromStr>(path: &str) -> Fact<T> {
    read(path).and_then(|text| parse(&text))
}

fn parse<T: std::str::FromStr>(text: &str) -> Fact<T> {
    let text = text.trim();
    text.parse().map_err(|_| UnknownFact::new(format!("{text:?} is not a number")))
}

fn numbers(text: &str) -> Vec<i64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

impl From<io::Result<()>> for Tried {
    fn from(result: io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Works,
            Err(error) if is_untried(&error) => Self::Unknown(error.to_string()),
            Err(error) => {
                Self::Fails(TrialError { code: code_of(&error), text: error.to_string() })
            }
        }
    }
}
