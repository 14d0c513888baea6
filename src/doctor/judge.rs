//! Turns the facts into checks. Nothing here accesses the machine.

use super::explain::{Explanation, explain};
use super::facts::{Facts, System, TrialError, Tried, UnknownFact};
use super::report::{Area, Auto, Check, CheckStatus, DoctorReport, Remedy};
use super::{limits, sandbox, tls};
use crate::driver::probe::ProbeStep;
use crate::driver::trial::{Need, Trial};
use crate::driver::{DriverKind, errno_name};

/// The Linux versions that the driver uring and serving need.
const URING_SINCE: (u32, u32) = (6, 1);
const SERVING_SINCE: (u32, u32) = (5, 6);

/// Makes the report.
pub(super) fn judge(facts: &Facts) -> DoctorReport {
    let system = &facts.system;
    let mut checks = vec![version(facts)];
    checks.extend(permissions(system));
    checks.extend(facts.calls.iter().map(|found| trial(Area::Calls, "calls", found, system)));
    let ring = std::iter::once(&facts.setup).chain(&facts.ring);
    checks.extend(ring.map(|found| trial(Area::IoUring, "uring", found, system)));
    for (kind, steps) in &facts.drivers {
        if *kind == DriverKind::Uring && opens(steps) {
            checks.extend(steps[1..].iter().map(|step| uring_step(step, system)));
            checks.push(rings_of_workers(facts));
        }
    }
    checks.extend(facts.drivers.iter().map(|(kind, steps)| driver(*kind, steps, facts)));
    checks.extend(limits::checks(system));
    checks.extend(tls::checks(&facts.tls));
    checks.extend(sandbox::checks(&facts.sandbox));
    let some_driver = facts.drivers.iter().any(|(_, steps)| works(steps));
    let fatal = checks.iter().any(|check| check.status == CheckStatus::Fatal);
    let selection = facts.selection.as_ref().ok();
    DoctorReport {
        version: env!("CARGO_PKG_VERSION"),
        serving: some_driver && !fatal,
        auto: selection
            .map(|selection| Auto { driver: selection.kind.name(), why: selection.why.clone() }),
        checks,
    }
}

/// The version of the kernel. An old version is at most worth a note, because distributions add
/// newer features to older kernels: below 5.6 always, below 6.1 if the driver uring does not work.
fn version(facts: &Facts) -> Check {
    let check = |found: &str| Check::ok(Area::Kernel, "kernel.version".into(), "version", found);
    let release = match &facts.system.release {
        Ok(release) => check(release),
        Err(reason) => return unread(check("unknown"), reason),
    };
    let without_ring =
        facts.drivers.iter().any(|(kind, steps)| *kind == DriverKind::Uring && !works(steps));
    match facts.system.version() {
        Some(version) if version < SERVING_SINCE => {
            let cause = "serving needs openat2, which is part of Linux 5.6 and newer; some \
                         distributions add it to older kernels";
            release.but(CheckStatus::Note, cause.into(), Vec::new())
        }
        Some(version) if version < URING_SINCE && without_ring => {
            release.but(CheckStatus::Note, "the driver uring needs Linux 6.1".into(), Vec::new())
        }
        Some(_) => release,
        None => release.but(
            CheckStatus::Note,
            "the release does not begin with a version".into(),
            Vec::new(),
        ),
    }
}

/// The sysctl and the seccomp filter, which may deny calls. They get at most a note, because other
/// checks try the calls themselves.
fn permissions(system: &System) -> [Check; 2] {
    let check =
        |id: &str, title, found| Check::ok(Area::Kernel, format!("kernel.{id}"), title, found);
    let title = "sysctl kernel.io_uring_disabled";
    let sysctl = match &system.uring_disabled {
        Ok(value @ 0) => check("io_uring_disabled", title, format!("{value} (allowed for all)")),
        Ok(value) => check("io_uring_disabled", title, value.to_string()).but(
            CheckStatus::Note,
            "1 allows io_uring to privileged processes and one group, 2 to nobody".into(),
            Vec::new(),
        ),
        Err(reason) if system.version().is_some_and(|version| version < (6, 6)) => {
            check("io_uring_disabled", title, "none".into()).but(
                CheckStatus::Note,
                format!("it exists since Linux 6.6 ({reason})"),
                Vec::new(),
            )
        }
        Err(reason) => unread(check("io_uring_disabled", title, "unknown".into()), reason),
    };
    let title = "seccomp";
    let seccomp = match &system.seccomp {
        Ok(0) => check("seccomp", title, "no filter".into()),
        Ok(_) => check("seccomp", title, "a filter".into()).but(
            CheckStatus::Note,
            "it may deny system calls; the checks below show which".into(),
            Vec::new(),
        ),
        Err(reason) => unread(check("seccomp", title, "unknown".into()), reason),
    };
    [sysctl, seccomp]
}

fn unread(check: Check, reason: &UnknownFact) -> Check {
    check.but(CheckStatus::Note, format!("could not be read: {reason}"), Vec::new())
}

fn trial(area: Area, prefix: &str, (trial, tried): &(Trial, Tried), system: &System) -> Check {
    let status = match trial.need {
        Need::Serving => CheckStatus::Fatal,
        Need::Uring | Need::Quality => CheckStatus::Shortcoming,
        Need::Extra => CheckStatus::Note,
    };
    let check = Check::ok(area, format!("{prefix}.{}", trial.id), trial.title, "works");
    judge_tried(check, tried, status, |error| {
        let Explanation { cause, remedies } = explain(trial.call, trial.since, error, system);
        Explanation { cause: format!("{cause}; without it, {}", trial.without), remedies }
    })
}

/// Completes `check` with the result of its trial: it gets `status` if the trial failed, and a note
/// if there is no result.
fn judge_tried(
    check: Check,
    tried: &Tried,
    status: CheckStatus,
    explain: impl FnOnce(&TrialError) -> Explanation,
) -> Check {
    match tried {
        Tried::Works => check,
        Tried::Unknown(reason) => {
            let cause = format!("could not be tried: {reason}");
            Check { found: "unknown".into(), ..check }.but(CheckStatus::Note, cause, Vec::new())
        }
        Tried::Fails(error) => {
            let Explanation { cause, remedies } = explain(error);
            Check { found: error_name(error), ..check }.but(status, cause, remedies)
        }
    }
}

/// The check of one step of the probe of the driver uring.
fn uring_step((step, tried): &(ProbeStep, Tried), system: &System) -> Check {
    let title = match step {
        ProbeStep::Open => "setup of the driver",
        ProbeStep::Receive => "receive into a provided buffer",
        ProbeStep::Wake => "wake by an eventfd",
        ProbeStep::Send => "send",
        ProbeStep::Gather => "send of several buffers",
        ProbeStep::SendFile => "sendfile beside the ring",
        ProbeStep::ReadFile => "read of a file",
        ProbeStep::OpenFile => "open of a file",
        ProbeStep::Accept => "multishot accept",
        ProbeStep::ReceiveMany => "multishot receive",
        ProbeStep::Cancel => "cancel",
        ProbeStep::Timeout => "wait with a timeout",
    };
    let check = Check::ok(Area::IoUring, format!("uring.{}", step.id()), title, "works");
    judge_tried(check, tried, CheckStatus::Shortcoming, |error| {
        explain_step(DriverKind::Uring, *step, error, system)
    })
}

/// Checks the rings of all workers together: locked memory may suffice for one ring only.
fn rings_of_workers(facts: &Facts) -> Check {
    let title = "a ring for each worker";
    let check = Check::ok(Area::IoUring, "uring.workers".into(), title, "works");
    judge_tried(check, &facts.workers, CheckStatus::Shortcoming, |error| {
        explain_step(DriverKind::Uring, ProbeStep::Open, error, &facts.system)
    })
}

fn driver(kind: DriverKind, steps: &[(ProbeStep, Tried)], facts: &Facts) -> Check {
    let check = Check::ok(Area::Drivers, format!("driver.{kind}"), kind.name(), "works");
    let failed = steps.iter().find_map(|(step, tried)| match tried {
        Tried::Fails(error) => Some((*step, error)),
        _ => None,
    });
    let Some((step, error)) = failed else { return check };
    let found = format!("fails at {}: {}", step.id().replace('_', " "), error_name(error));
    let Explanation { cause, mut remedies } = explain_step(kind, step, error, &facts.system);
    if facts.selection.is_err() && kind == DriverKind::Epoll {
        let other = facts.drivers.iter().find(|(_, steps)| works(steps));
        remedies.extend(other.map(|(other, _)| {
            let place = "until then, because auto takes only uring or epoll";
            Remedy::new(format!("ringd --driver {other}"), place)
        }));
    }
    Check { found, ..check }.but(CheckStatus::Shortcoming, cause, remedies)
}

/// Explains why a step failed: by the system call that the error names, otherwise by the call that
/// the step makes.
fn explain_step(
    kind: DriverKind,
    step: ProbeStep,
    error: &TrialError,
    system: &System,
) -> Explanation {
    let named = ProbeStep::CALLS.into_iter().find(|call| error.text.starts_with(call));
    match (named, step) {
        (Some(call), _) if call.starts_with("io_uring_") => {
            explain(call, URING_SINCE, error, system)
        }
        (Some(call), _) => explain(call, SERVING_SINCE, error, system),
        (None, ProbeStep::Open) if kind == DriverKind::Uring => {
            explain("io_uring_setup", URING_SINCE, error, system)
        }
        (None, ProbeStep::OpenFile) => explain("openat2", SERVING_SINCE, error, system),
        (None, ProbeStep::SendFile) => explain("sendfile", SERVING_SINCE, error, system),
        _ => Explanation { cause: error.text.clone(), remedies: Vec::new() },
    }
}

fn opens(steps: &[(ProbeStep, Tried)]) -> bool {
    matches!(steps.first(), Some((ProbeStep::Open, Tried::Works)))
}

fn works(steps: &[(ProbeStep, Tried)]) -> bool {
    opens(steps) && !steps.iter().any(|(_, tried)| matches!(tried, Tried::Fails(_)))
}

fn error_name(error: &TrialError) -> String {
    error.code.and_then(errno_name).map_or_else(|| error.text.clone(), str::to_owned)
}
