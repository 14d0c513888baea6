//! The checks, on simulated facts.

use std::io;

use super::explain::explain;
use super::facts::{Facts, System, TrialError, Tried, UnknownFact};
use super::judge::judge;
use super::remedies::DESCRIPTORS_WANTED;
use super::render::render;
use super::report::{Area, Check, CheckStatus, DoctorReport};
use super::sandbox::SandboxFacts;
use super::tls::TlsFacts;
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors};
use crate::driver::probe::ProbeStep;
use crate::driver::uring::features;
use crate::driver::{DriverKind, DriverSelection, calls};

/// The facts of a machine where everything works, for an unprivileged user.
fn healthy() -> Facts {
    let steps = [ProbeStep::Open, ProbeStep::Receive, ProbeStep::OpenFile, ProbeStep::Accept];
    let all = || steps.map(|step| (step, Tried::Works)).to_vec();
    let works = |trial: &crate::driver::trial::Trial| (*trial, Tried::Works);
    let why = "io_uring passed its self-test".into();
    Facts {
        system: System {
            release: Ok("6.18.4-1-generic".into()),
            uring_disabled: Ok(0),
            uring_group: Ok(-1),
            groups: Ok(vec![1000, 1000, 1000, 1000, 4, 27]),
            capabilities: Ok(0),
            seccomp: Ok(0),
            nofile: Ok((1024, 1_048_576)),
            memlock: Ok((8 << 20, 8 << 20)),
            somaxconn: Ok(4096),
            file_max: Ok(i64::MAX as u64),
            cpus: Ok(8),
        },
        selection: Ok(DriverSelection {
            kind: DriverKind::Uring,
            why,
            replaceable: true,
            notes: Vec::new(),
        }),
        workers: Tried::Works,
        drivers: DriverKind::ALL.map(|kind| (kind, all())).into(),
        setup: works(&features::SETUP),
        ring: features::TRIALS.iter().map(works).collect(),
        calls: calls::TRIALS.iter().map(works).collect(),
        sandbox: SandboxFacts { files: Ok(7), filter: Ok(()) },
        tls: TlsFacts {
            has_aes: Some(true),
            versions: vec!["1.3", "1.2"],
            groups: vec!["X25519".into(), "secp256r1".into()],
        },
    }
}

/// The steps of the probe of the driver uring.
fn uring(facts: &mut Facts) -> &mut Vec<(ProbeStep, Tried)> {
    let uring = facts.drivers.iter_mut().find(|(kind, _)| *kind == DriverKind::Uring);
    &mut uring.expect("the facts cover all drivers").1
}

fn system(change: impl FnOnce(&mut System)) -> System {
    let mut system = healthy().system;
    change(&mut system);
    system
}

fn trial_error(code: i32) -> TrialError {
    TrialError { code: Some(code), text: io::Error::from_raw_os_error(code).to_string() }
}

fn fails(code: i32) -> Tried {
    Tried::Fails(trial_error(code))
}

/// The status, the cause and the line of the first remedy of a check.
fn check<'r>(report: &'r DoctorReport, id: &str) -> (CheckStatus, &'r str, Option<&'r str>) {
    let check = report.checks.iter().find(|check| check.id == id);
    let check = check.unwrap_or_else(|| panic!("no check {id}"));
    let line = check.remedies.first().map(|remedy| &remedy.line[..]);
    (check.status, check.cause.as_deref().unwrap_or_default(), line)
}

const DOCKER: Option<&str> = Some("docker run --security-opt seccomp=profile.json");
const SYSCTL: Option<&str> = Some("sysctl -w kernel.io_uring_disabled=0");

#[test]
fn an_error_of_io_uring_setup_has_the_right_cause_and_remedy() {
    type AlterSystem = fn(&mut System);
    let cases: [(i32, AlterSystem, &str, Option<&str>); 18] = [
        (libc::EPERM, |s| s.uring_disabled = Ok(2), "is 2: nobody may", SYSCTL),
        (
            libc::EPERM,
            |s| s.uring_disabled = Ok(1),
            "is 1: only processes with CAP_SYS_ADMIN",
            SYSCTL,
        ),
        (
            libc::EPERM,
            |s| (s.uring_disabled, s.seccomp) = (Ok(2), Ok(2)),
            "is 2: nobody may use io_uring; a seccomp filter is active",
            SYSCTL,
        ),
        (
            libc::EPERM,
            |s| (s.uring_disabled, s.capabilities, s.seccomp) = (Ok(1), Ok(u64::MAX), Ok(2)),
            "a seccomp filter denies io_uring_setup",
            DOCKER,
        ),
        (
            libc::EPERM,
            |s| (s.uring_disabled, s.uring_group, s.seccomp) = (Ok(1), Ok(27), Ok(2)),
            "a seccomp filter denies io_uring_setup",
            DOCKER,
        ),
        (libc::EPERM, |s| s.seccomp = Ok(2), "a seccomp filter denies", DOCKER),
        (
            libc::EPERM,
            |s| {
                s.release = Ok("6.1.0".into());
                (s.uring_disabled, s.seccomp) = (Err(UnknownFact::new("no such file")), Ok(2));
            },
            "a seccomp filter denies",
            DOCKER,
        ),
        (
            libc::EPERM,
            |s| {
                s.uring_disabled = Err(UnknownFact::new("no /proc"));
                s.seccomp = Err(UnknownFact::new("no /proc"));
            },
            "it is not known which",
            SYSCTL,
        ),
        (libc::EPERM, |_| (), "a security module", Some("journalctl -k --grep 'avc|apparmor'")),
        (libc::EACCES, |_| (), "a security module", Some("journalctl -k --grep 'avc|apparmor'")),
        (libc::EACCES, |s| s.seccomp = Ok(2), "seccomp filter denies io_uring_setup with", DOCKER),
        (
            libc::ENOSYS,
            |s| s.release = Ok("4.19.0-26-amd64".into()),
            "needs Linux 5.1",
            Some("install Linux 6.1 or newer"),
        ),
        (libc::ENOSYS, |s| s.seccomp = Ok(2), "filter denies io_uring_setup with ENOSYS", DOCKER),
        (libc::ENOSYS, |_| (), "CONFIG_IO_URING, or a sandbox such as gVisor", None),
        (libc::EOPNOTSUPP, |_| (), "a sandbox such as gVisor", None),
        (libc::ENOMEM, |s| s.memlock = Ok((65536, 65536)), "64 KiB", Some("ulimit -l 65536")),
        (libc::EMFILE, |_| (), "limit of descriptors", Some("ulimit -n 262144")),
        (libc::ENFILE, |_| (), "limit of open files", Some("sysctl -w fs.file-max=1000000")),
    ];
    for (number, (code, change, cause, line)) in cases.into_iter().enumerate() {
        let found = explain("io_uring_setup", (5, 1), &trial_error(code), &system(change));
        assert!(found.cause.contains(cause), "case {number}: {cause:?} is not in {found:?}");
        let first = found.remedies.first().map(|remedy| &remedy.line[..]);
        assert_eq!(first, line, "case {number}");
    }
}

#[test]
fn one_remedy_allows_io_uring_to_the_group_of_the_process() {
    let found = explain(
        "io_uring_setup",
        (5, 1),
        &trial_error(libc::EPERM),
        &system(|system| system.uring_disabled = Ok(1)),
    );
    assert_eq!(found.remedies[1].line, "sysctl -w kernel.io_uring_group=1000");
}

#[test]
fn errors_of_other_calls_have_other_causes() {
    let openat2 = |code, change: fn(&mut System)| {
        explain("openat2", (5, 6), &trial_error(code), &system(change)).cause
    };
    let old = openat2(libc::ENOSYS, |system| system.release = Ok("5.4.0".into()));
    assert_eq!(old, "it needs Linux 5.6, and this kernel is older");
    let denied = openat2(libc::EPERM, |system| system.seccomp = Ok(2));
    assert_eq!(denied, "a seccomp filter denies openat2 with EPERM");
    // The sysctl does not affect openat2.
    let module = openat2(libc::EPERM, |system| system.uring_disabled = Ok(2));
    assert_eq!(module, "a security module (SELinux, AppArmor, BPF) denies openat2");
    let flag = explain(
        "io_uring_setup",
        (6, 1),
        &trial_error(libc::EINVAL),
        &system(|system| system.release = Ok("5.15.167.4-microsoft-standard-WSL2".into())),
    );
    assert_eq!(flag.cause, "it needs Linux 6.1, and this kernel is older");
    let odd = explain("openat2", (5, 6), &trial_error(libc::EIO), &healthy().system);
    assert_eq!(odd.cause, trial_error(libc::EIO).text);
}

#[test]
fn all_checks_pass_on_a_healthy_machine() {
    let report = judge(&healthy());
    let odd: Vec<_> =
        report.checks.iter().filter(|check| check.status != CheckStatus::Ok).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    assert!(report.serving);
    assert_eq!(report.auto.unwrap().driver, "uring");
    let mut ids: Vec<_> = report.checks.iter().map(|check| &check.id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "ids of checks are unique");
}

#[test]
fn a_container_without_io_uring_can_serve() {
    let mut facts = healthy();
    facts.system.seccomp = Ok(2);
    facts.setup.1 = fails(libc::EPERM);
    facts.ring.clear();
    *uring(&mut facts) = vec![(ProbeStep::Open, fails(libc::EPERM))];
    let report = judge(&facts);
    assert!(report.serving);
    let (status, cause, line) = check(&report, "uring.setup");
    assert_eq!((status, line), (CheckStatus::Shortcoming, DOCKER));
    assert!(cause.ends_with("without it, auto takes epoll, which serves the same"), "{cause}");
    assert_eq!(check(&report, "driver.uring").0, CheckStatus::Shortcoming);
    assert_eq!(check(&report, "driver.epoll").0, CheckStatus::Ok);
    assert!(report.checks.iter().all(|check| !check.id.starts_with("uring.flag")));
}

#[test]
fn serving_is_not_possible_without_a_call_that_every_driver_needs() {
    for call in ["listen", "openat2"] {
        let mut facts = healthy();
        facts.calls.iter_mut().find(|(trial, _)| trial.id == call).unwrap().1 = fails(libc::EPERM);
        let report = judge(&facts);
        assert!(!report.serving, "{call}");
        assert_eq!(check(&report, &format!("calls.{call}")).0, CheckStatus::Fatal);
    }
    let mut facts = healthy();
    for (_, steps) in &mut facts.drivers {
        steps[1].1 = fails(libc::EIO);
    }
    assert!(!judge(&facts).serving, "no driver receives");
}

/// Files are read and sent instead.
#[test]
fn serving_is_possible_without_sendfile() {
    let mut facts = healthy();
    let trial = facts.calls.iter_mut().find(|(trial, _)| trial.id == "sendfile");
    trial.unwrap().1 = fails(libc::EPERM);
    let report = judge(&facts);
    assert!(report.serving);
    let (status, cause, _) = check(&report, "calls.sendfile");
    assert_eq!(status, CheckStatus::Shortcoming);
    assert!(cause.contains("read and sent"), "{cause}");
}

/// `auto` tests both drivers that it takes, and chooses none if both fail.
#[test]
fn a_remedy_names_another_driver_if_auto_has_no_choice() {
    let mut facts = healthy();
    for (kind, steps) in &mut facts.drivers {
        if matches!(kind, DriverKind::Uring | DriverKind::Epoll) {
            steps[3].1 = fails(libc::EIO);
        }
    }
    facts.selection = Err("neither works".into());
    let report = judge(&facts);
    assert!(report.serving);
    assert_eq!(check(&report, "uring.accept_many").0, CheckStatus::Shortcoming);
    assert_eq!(check(&report, "driver.epoll").0, CheckStatus::Shortcoming);
    let other = facts
        .drivers
        .iter()
        .find(|(kind, _)| !matches!(kind, DriverKind::Uring | DriverKind::Epoll));
    let line = other.map(|(kind, _)| format!("ringd --driver {kind}"));
    assert_eq!(check(&report, "driver.epoll").2, line.as_deref());
}

#[test]
fn an_unknown_fact_or_trial_is_a_note() {
    let mut facts = healthy();
    let unknown = Tried::Unknown("no sockets to try it with".into());
    facts.calls.iter_mut().for_each(|(_, tried)| *tried = unknown.clone());
    facts.drivers.iter_mut().for_each(|(_, steps)| steps[1].1 = unknown.clone());
    let gone = UnknownFact::new("/proc is not mounted");
    facts.system = System {
        release: Err(gone.clone()),
        uring_disabled: Err(gone.clone()),
        uring_group: Err(gone.clone()),
        groups: Err(gone.clone()),
        capabilities: Err(gone.clone()),
        seccomp: Err(gone.clone()),
        nofile: Err(gone.clone()),
        memlock: Err(gone.clone()),
        somaxconn: Err(gone.clone()),
        file_max: Err(gone.clone()),
        cpus: Err(gone.clone()),
    };
    facts.selection = Err("no driver".into());
    let report = judge(&facts);
    assert!(report.serving);
    assert!(report.auto.is_none());
    for found in &report.checks {
        assert!(found.status <= CheckStatus::Note, "{found:?}");
    }
    let cause = check(&report, "limits.nofile").1;
    assert_eq!(cause, "could not be read: /proc is not mounted");
}

/// A note has no remedies in the text, so its cause names the line.
#[test]
fn few_descriptors_are_a_note_with_the_line_that_raises_them() {
    let mut facts = healthy();
    facts.system.nofile = Ok((20_000, 20_000));
    facts.system.cpus = Ok(2);
    let report = judge(&facts);
    let (status, cause, _) = check(&report, "limits.nofile");
    assert_eq!(status, CheckStatus::Note);
    assert_eq!(
        cause,
        "they suffice for 10106 connections; `ulimit -n 262144` suffices for the default of 65536 \
         connections and the files that they keep open"
    );
    // As far as 64 workers; each has a cache of its own.
    for workers in [1, 2, 8, 64] {
        assert_eq!(Descriptors::left_by_default(DESCRIPTORS_WANTED, workers), CONNECTIONS_DEFAULT);
    }
}

#[test]
fn limits_below_their_thresholds_are_reported() {
    type AlterSystem = fn(&mut System);
    let cases: [(&str, AlterSystem, CheckStatus, Option<&str>); 10] = [
        ("nofile", |s| s.nofile = Ok((1024, 120_000)), CheckStatus::Ok, None),
        (
            "nofile",
            |s| s.nofile = Ok((1024, 4096)),
            CheckStatus::Shortcoming,
            Some("ulimit -n 262144"),
        ),
        ("nofile", |s| s.nofile = Ok((64, 64)), CheckStatus::Fatal, Some("ulimit -n 262144")),
        ("memlock", |s| s.memlock = Ok((1 << 20, 0)), CheckStatus::Ok, None),
        // Enough for seven of the eight workers.
        (
            "memlock",
            |s| s.memlock = Ok((7 << 17, 0)),
            CheckStatus::Shortcoming,
            Some("ulimit -l 65536"),
        ),
        (
            "memlock",
            |s| s.memlock = Ok((65536, 0)),
            CheckStatus::Shortcoming,
            Some("ulimit -l 65536"),
        ),
        (
            "memlock",
            |s| (s.memlock, s.capabilities) = (Ok((65536, 0)), Ok(1 << 14)),
            CheckStatus::Ok,
            None,
        ),
        (
            "memlock",
            |s| (s.memlock, s.release) = (Ok((65536, 0)), Ok("6.12.1".into())),
            CheckStatus::Ok,
            None,
        ),
        (
            "somaxconn",
            |s| s.somaxconn = Ok(128),
            CheckStatus::Shortcoming,
            Some("sysctl -w net.core.somaxconn=4096"),
        ),
        (
            "file_max",
            |s| s.file_max = Ok(10_000),
            CheckStatus::Shortcoming,
            Some("sysctl -w fs.file-max=1048576"),
        ),
    ];
    for (number, (id, change, status, line)) in cases.into_iter().enumerate() {
        let mut facts = healthy();
        change(&mut facts.system);
        let report = judge(&facts);
        let (is, _, first) = check(&report, &format!("limits.{id}"));
        assert_eq!((is, first), (status, line), "case {number}: {id}");
    }
}

#[test]
fn an_old_version_is_noted_only_if_uring_does_not_work() {
    let mut facts = healthy();
    facts.system.release = Ok("5.14.0-427.el9".into());
    assert_eq!(check(&judge(&facts), "kernel.version").0, CheckStatus::Ok);
    *uring(&mut facts) = vec![(ProbeStep::Open, fails(libc::EINVAL))];
    let report = judge(&facts);
    assert_eq!(check(&report, "kernel.version").1, "the driver uring needs Linux 6.1");
    assert_eq!(check(&report, "driver.uring").2, Some("install Linux 6.1 or newer"));
}

#[test]
fn the_text_has_each_cause_and_remedy_once_and_ends_with_the_verdict() {
    let mut facts = healthy();
    facts.system.seccomp = Ok(2);
    uring(&mut facts)[1].1 = fails(libc::EPERM);
    for (_, steps) in facts.drivers.iter_mut().filter(|(kind, _)| *kind != DriverKind::Uring) {
        steps[2].1 = fails(libc::EPERM);
    }
    let mut text = Vec::new();
    render(&judge(&facts), &mut text).unwrap();
    let text = anstream::adapter::strip_str(std::str::from_utf8(&text).unwrap()).to_string();
    assert_eq!(text.matches("a seccomp filter denies openat2 with EPERM").count(), 1, "{text}");
    assert_eq!(text.matches("SystemCallFilter=openat2").count(), 1, "{text}");
    assert_eq!(text.matches("RestrictSUIDSGID=no").count(), 1, "{text}");
    assert!(text.ends_with("serving is not possible\n"), "{text}");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?} columns in:\n{text}");
}

#[test]
fn a_processor_without_aes_is_worth_a_note() {
    for (has_aes, status) in
        [(Some(true), CheckStatus::Ok), (Some(false), CheckStatus::Note), (None, CheckStatus::Note)]
    {
        let mut facts = healthy();
        facts.tls.has_aes = has_aes;
        let report = judge(&facts);
        assert_eq!(check(&report, "tls.aes").0, status);
        assert!(report.serving);
    }
}

/// The library offers both versions, and a key exchange that every client has.
#[test]
fn the_library_of_tls_is_asked() {
    let facts = TlsFacts::gather();
    assert_eq!(facts.versions, ["1.3", "1.2"]);
    assert!(facts.groups.iter().any(|group| group == "X25519"), "{facts:?}");
    assert!(facts.groups.iter().any(|group| group == "secp256r1"), "{facts:?}");
}

#[test]
fn what_a_sandbox_lacks_is_a_note() {
    let found = |facts: SandboxFacts| {
        let facts = Facts { sandbox: facts, ..healthy() };
        let report = judge(&facts);
        let checks = report.checks.into_iter().filter(|check| check.area == Area::Sandbox);
        let text = |check: Check| format!("{} {:?} {}", check.id, check.status, check.found);
        (report.serving, checks.map(text).collect::<Vec<_>>())
    };
    let all = found(SandboxFacts { files: Ok(6), filter: Ok(()) });
    let works = ["sandbox.landlock Ok version 6", "sandbox.seccomp Ok works"];
    assert_eq!(all, (true, works.map(String::from).into()));
    let old = found(SandboxFacts { files: Ok(4), filter: Err("denied".into()) });
    assert_eq!(
        old,
        (
            true,
            vec!["sandbox.landlock Note version 4".into(), "sandbox.seccomp Note denied".into()]
        )
    );
    let none = found(SandboxFacts { files: Err("none".into()), filter: Ok(()) });
    assert_eq!(none.1[0], "sandbox.landlock Note none");
}
