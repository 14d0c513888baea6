//! The result. Its fields are those of `--json`: names stay, new ones may come.

use serde::Serialize;

/// What was found out about a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DoctorReport {
    /// The version of ringd that looked.
    pub version: &'static str,
    /// Whether serving is possible, with some driver.
    pub serving: bool,
    /// What `--driver auto` would choose; nothing when it finds none.
    pub auto: Option<Auto>,
    /// All checks, in a fixed order. Those that make no sense after another one has failed are
    /// not there.
    pub checks: Vec<Check>,
}

/// The choice of `--driver auto`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Auto {
    /// The name of the driver.
    pub driver: &'static str,
    /// Why it is this one.
    pub why: String,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name for machines, such as `uring.setup`.
    pub id: String,
    /// What it belongs to.
    pub area: Area,
    /// Its name for people.
    pub title: String,
    /// How it is.
    pub status: CheckStatus,
    /// What was found.
    pub found: String,
    /// What is behind that, when it is not [`CheckStatus::Ok`].
    pub cause: Option<String>,
    /// Lines that mend it, each for another way of running ringd.
    pub remedies: Vec<Remedy>,
}

/// What checks are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The kernel and who it lets do what.
    Kernel,
    /// The calls that every driver makes.
    Calls,
    /// The proactor's ring.
    IoUring,
    /// The drivers.
    Drivers,
    /// Limits of the process and the machine.
    Limits,
}

/// How something is, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing needs to be done.
    Note,
    /// Serving is possible, but not as it could be.
    Shortcoming,
    /// Serving is not possible.
    Fatal,
}

/// A line that mends something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Remedy {
    /// The line itself.
    pub line: String,
    /// Where it belongs.
    pub place: &'static str,
}

impl Check {
    /// A check with nothing to complain of.
    pub(super) fn ok(area: Area, id: String, title: &str, found: impl Into<String>) -> Self {
        Self {
            id,
            area,
            title: title.to_owned(),
            status: CheckStatus::Ok,
            found: found.into(),
            cause: None,
            remedies: Vec::new(),
        }
    }

    /// The same check with something to say.
    pub(super) fn but(self, status: CheckStatus, cause: String, remedies: Vec<Remedy>) -> Self {
        Self { status, cause: Some(cause), remedies, ..self }
    }
}

impl Remedy {
    pub(super) fn new(line: impl Into<String>, place: &'static str) -> Self {
        Self { line: line.into(), place }
    }
}
