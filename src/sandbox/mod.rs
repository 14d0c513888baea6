//! What a server gives up before it serves: its user, and what the kernel then forbids it, so that
//! a bug in it opens as little as possible.
//!
//! ```text
//! logs and sockets are open, one thread
//!   -> Identity::assume     another user, no other groups, no capabilities
//!   -> Sandbox::begin       no new privileges, no core dump; the first filter of system calls
//!   -> the driver is tested, as it will run
//!   -> Sandbox::enter_files the rules on files and ports
//!   -> threads and drivers start, and inherit all of it
//!   -> Sandbox::finish      the last filter, for all threads
//! ```
//!
//! io_uring makes calls that no filter sees. So the rings of a server in a sandbox are restricted
//! to the ops of the driver ([`Limits::restricted`](crate::driver::Limits::restricted)), and the
//! last filter keeps others from being made. Rules on files hold for rings as well.
//!
//! | file | content |
//! | --- | --- |
//! | `users.rs` | the user and the group, and how they are looked up |
//! | `filter.rs` | system calls (`seccomp(2)`) |
//! | `landlock.rs` | files and ports (`landlock(7)`) |
//! | `coverage.rs` | what the filters depend on |
//! | `needs.rs` | what a configuration needs of them |

mod coverage;
#[cfg(feature = "sandbox")]
mod filter;
#[cfg(feature = "sandbox")]
mod landlock;
mod needs;
#[cfg(not(feature = "sandbox"))]
#[path = "without.rs"]
mod parts;
#[cfg(feature = "sandbox")]
mod parts;
mod users;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

use crate::driver::DriverKind;
use coverage::{Coverage, Rings};
use parts::FileRules;

pub use needs::SandboxNeeds;
pub use parts::{attempt_files, attempt_filter};
pub use users::{Identity, IdentityError};

/// Whether rules on files hold for this process.
static CONFINES_FILES: AtomicBool = AtomicBool::new(false);

/// Whether rules on files hold for this process, so that a file may be denied whose permissions
/// allow it.
#[must_use]
pub fn confines_files() -> bool {
    CONFINES_FILES.load(Ordering::Relaxed)
}

/// How long the threads of the self-test may take to end.
const THREADS_WAIT: Duration = Duration::from_secs(3);

/// Whether a server enters a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SandboxMode {
    /// As far as the kernel has it.
    Auto,
    /// Not at all.
    #[default]
    Off,
    /// Completely, or the server does not start.
    Require,
}

/// Why a required sandbox does not hold: what is missing, and the remedy.
#[derive(Debug)]
pub struct SandboxError(String);

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(lack) = self;
        write!(
            f,
            "--sandbox require: {lack}; use --sandbox auto to do without what is missing, and \
             `ringd doctor` to see what there is"
        )
    }
}

impl std::error::Error for SandboxError {}

/// The sandbox of this process; see the module documentation for the order of its methods.
#[derive(Debug)]
pub struct Sandbox {
    mode: SandboxMode,
    /// How many system calls the first filter allows; `None` if there is no filter.
    calls: Option<usize>,
    files: Option<FileRules>,
    /// What was needed at the start.
    needs: SandboxNeeds,
    /// What is missing, and why.
    lacks: Vec<String>,
}

impl Sandbox {
    /// No sandbox.
    #[must_use]
    pub fn off() -> Self {
        let (mode, needs) = (SandboxMode::Off, SandboxNeeds::default());
        Self { mode, calls: None, files: None, needs, lacks: Vec::new() }
    }

    /// Keeps the process from getting more privileges and from being looked into, and loads the
    /// first filter.
    ///
    /// # Errors
    ///
    /// If something is missing that is required.
    pub fn begin(mode: SandboxMode, needs: &SandboxNeeds) -> Result<Self, SandboxError> {
        let needs = needs.clone();
        let mut sandbox = Self { mode, calls: None, files: None, needs, lacks: Vec::new() };
        if mode == SandboxMode::Off {
            return Ok(sandbox);
        }
        harden();
        match parts::first(Coverage::Process, &sandbox.needs) {
            Ok(calls) => sandbox.calls = Some(calls),
            Err(error) => sandbox.lack(format!("no seccomp filter: {error}"))?,
        }
        Ok(sandbox)
    }

    /// Enters the rules on files and ports. They hold for the threads that start from now on, so
    /// nothing else may run.
    ///
    /// # Errors
    ///
    /// If something is missing that is required.
    pub fn enter_files(&mut self) -> Result<(), SandboxError> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        let entered = self.enter_files_of_threads(alone());
        CONFINES_FILES.store(self.files.is_some(), Ordering::Relaxed);
        entered
    }

    fn enter_files_of_threads(
        &mut self,
        are_covered: Result<(), String>,
    ) -> Result<(), SandboxError> {
        let entered = are_covered.and_then(|()| parts::enter(&self.needs, self.calls.is_some()));
        match entered {
            Ok(files) => {
                let lack = files.lack();
                self.files = Some(files);
                lack.map_or(Ok(()), |lack| self.lack(lack))
            }
            Err(error) => self.lack(format!("no landlock: {error}")),
        }
    }

    /// Denies what only a start does, in all threads: connecting, making rings, and more filters.
    /// Every worker has its driver.
    ///
    /// # Errors
    ///
    /// If something is missing that is required.
    pub fn finish(&mut self, kind: DriverKind) -> Result<(), SandboxError> {
        let rings = if kind == DriverKind::Uring { Rings::Made } else { Rings::None };
        self.deny_rest(Coverage::Process, rings)
    }

    /// Confines only this thread and those that it starts from now on, completely: for a test whose
    /// server is in its own process. The driver is not open yet, so rings can still be made.
    ///
    /// # Errors
    ///
    /// If anything is missing.
    #[cfg(feature = "simulation")]
    pub fn of_thread(needs: &SandboxNeeds, kind: DriverKind) -> Result<Self, SandboxError> {
        let (mode, needs) = (SandboxMode::Require, needs.clone());
        let calls = parts::first(Coverage::Thread, &needs).map_err(SandboxError)?;
        let mut sandbox = Self { mode, calls: Some(calls), files: None, needs, lacks: Vec::new() };
        sandbox.enter_files_of_threads(Ok(()))?;
        let rings = if kind == DriverKind::Uring { Rings::ToBeMade } else { Rings::None };
        sandbox.deny_rest(Coverage::Thread, rings)?;
        Ok(sandbox)
    }

    fn deny_rest(&mut self, coverage: Coverage, rings: Rings) -> Result<(), SandboxError> {
        if self.calls.is_none() {
            return Ok(());
        }
        match parts::last(coverage, rings) {
            Ok(()) => Ok(()),
            Err(error) => self.lack(format!("no filter that denies connecting: {error}")),
        }
    }

    fn lack(&mut self, lack: String) -> Result<(), SandboxError> {
        if self.mode == SandboxMode::Require {
            return Err(SandboxError(lack));
        }
        self.lacks.push(lack);
        Ok(())
    }

    /// What holds, and what does not and why, for the start line; `None` if it is off.
    #[must_use]
    pub fn summary(&self, kind: DriverKind) -> Option<String> {
        if self.mode == SandboxMode::Off {
            return None;
        }
        let files = self.files.as_ref().map(|files| format!("landlock {}", files.version()));
        let calls = self.calls.map(|calls| format!("{calls} system calls"));
        let ring = (kind == DriverKind::Uring).then(|| "restricted rings".to_owned());
        let holds = files.into_iter().chain(calls).chain(ring);
        Some(holds.chain(self.lacks.iter().cloned()).collect::<Vec<_>>().join(", "))
    }

    /// Checks that the rules allow what another configuration needs: rules never widen.
    ///
    /// # Errors
    ///
    /// What is not allowed, and the remedy.
    pub fn check(&self, needs: &SandboxNeeds) -> Result<(), String> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        let denied = needs.denied(
            |path| self.files.as_ref().is_none_or(|files| files.may_read(path)),
            |path| self.files.as_ref().is_none_or(|files| files.may_write(path)),
            |path| self.files.as_ref().is_none_or(|files| files.may_listen(path)),
            |port| self.files.as_ref().is_none_or(|files| files.may_bind(port)),
        );
        let has_filter = self.calls.is_some();
        let unix = (has_filter && needs.has_unix && !self.needs.has_unix)
            .then(|| "listening on Unix sockets".to_owned());
        denied.or(unix).map_or(Ok(()), |denied| {
            Err(format!(
                "the sandbox of this process does not allow {denied}, because the configuration \
                 did not need it when ringd started; restart ringd"
            ))
        })
    }

    /// Whether the filter of system calls holds.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.calls.is_some()
    }
}

/// Keeps the process from getting privileges by a program that it executes, and other processes of
/// its user from reading its memory, where the keys of certificates are. Both cannot fail for these
/// values; a sandbox around this one may deny them, and gives no privileges either.
pub fn harden() {
    let _ = set_no_new_privs(true);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Waits until this is the only thread.
fn alone() -> Result<(), String> {
    let until = Instant::now() + THREADS_WAIT;
    loop {
        match parts::threads() {
            Ok(1) => return Ok(()),
            Ok(_) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Ok(count) => {
                return Err(format!(
                    "{} threads already run, and would not be confined (`ringd doctor` shows a \
                     driver whose self-test hangs)",
                    count - 1
                ));
            }
            Err(error) => return Err(format!("/proc is needed to count threads: {error}")),
        }
    }
}

#[cfg(all(test, feature = "sandbox"))]
mod tests;
