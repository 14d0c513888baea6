//! The report. Its fields are those of `--json`: existing names are stable, new ones may be added.

use serde::Serialize;

/// The results of all checks of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DoctorReport {
    /// The version of ringd.
    pub version: &'static str,
    /// Whether serving is possible with at least one driver.
    pub serving: bool,
    /// What `--driver auto` would choose; `None` if no driver works.
    pub auto: Option<Auto>,
    /// All checks, in a fixed order. A check that depends on a failed one is left out.
    pub checks: Vec<Check>,
}

/// The choice of `--driver auto`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Auto {
    /// The name of the driver.
    pub driver: &'static str,
    /// The reason for the choice.
    pub why: String,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// The stable name, such as `uring.setup`.
    pub id: String,
    /// The area that it belongs to.
    pub area: Area,
    /// The name in the text.
    pub title: String,
    /// The verdict.
    pub status: CheckStatus,
    /// What was found: a value, `works`, or an error.
    pub found: String,
    /// The cause; `None` if the status is [`CheckStatus::Ok`].
    pub cause: Option<String>,
    /// Alternative remedies, one for each way of running ringd.
    pub remedies: Vec<Remedy>,
}

/// An area of checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The kernel, and what it permits.
    Kernel,
    /// The system calls that all drivers make.
    Calls,
    /// The features of io_uring that the driver uring uses.
    IoUring,
    /// The drivers.
    Drivers,
    /// Limits of the process and the machine.
    Limits,
    /// HTTPS.
    Tls,
    /// What `--sandbox` takes.
    Sandbox,
}

/// The verdict of a check, from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Works, or is high enough.
    Ok,
    /// Worth knowing; no action is needed.
    Note,
    /// Serving is possible, but slower or with less capacity.
    Shortcoming,
    /// Serving is not possible.
    Fatal,
}

/// A line that fixes a problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Remedy {
    /// The line.
    pub line: String,
    /// Where the line belongs.
    pub place: &'static str,
}

impl Check {
    /// A check with the status [`CheckStatus::Ok`].
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

    /// The same check with another status, a cause and remedies.
    pub(super) fn but(self, status: CheckStatus, cause: String, remedies: Vec<Remedy>) -> Self {
        Self { status, cause: Some(cause), remedies, ..self }
    }
}

impl Remedy {
    pub(super) fn new(line: impl Into<String>, place: &'static str) -> Self {
        Self { line: line.into(), place }
    }
}
