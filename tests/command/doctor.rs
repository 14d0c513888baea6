//! `ringd doctor` as a process: on this machine, and under restrictions.

use std::process::{Command, Stdio};

use crate::jail::{Jail, is_root};
use crate::process::{Server, end_of, public_copy, ringd, site, uring_works};
use ringd::driver::DriverKind;
use serde_json::Value;

/// The exit code and the report of the doctor in a jail.
fn report(command: &mut Command, jail: Jail) -> (Option<i32>, Value) {
    let end = end_of(jail.hold(command.args(["doctor", "--json"])));
    assert_eq!(end.errors, "", "{end:?}");
    let report = serde_json::from_str(&end.output);
    (end.code, report.unwrap_or_else(|error| panic!("{error} in {}", end.output)))
}

fn deny(call: libc::c_long, code: i32) -> Jail {
    Jail { denied: Some((call, code)), ..Jail::default() }
}

#[track_caller]
fn check<'r>(report: &'r Value, id: &str) -> &'r Value {
    let mut checks = report["checks"].as_array().unwrap().iter();
    checks.find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

/// The driver in the start line.
fn served_by(jail: Jail) -> String {
    let site = site();
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0"]);
    let server = Server::start(jail.hold(&mut command));
    let (_, driver) = server.line.split_once("; driver: ").expect("a start line");
    driver.split_once("; workers").expect("a start line").0.to_owned()
}

fn chosen(report: &Value) -> String {
    let auto = &report["auto"];
    format!("{} ({})", auto["driver"].as_str().unwrap(), auto["why"].as_str().unwrap())
}

#[test]
fn the_doctor_agrees_with_the_start_line() {
    let (code, report) = report(&mut ringd(), Jail::default());
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["serving"], true);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chosen(&report), served_by(Jail::default()));
}

#[test]
fn the_json_has_its_documented_shape() {
    let (_, report) = report(&mut ringd(), Jail::default());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&report), ["auto", "checks", "serving", "version"]);
    assert_eq!(keys(&report["auto"]), ["driver", "why"]);
    let words = |field: &str, words: &[&str]| {
        for check in report["checks"].as_array().unwrap() {
            assert!(words.contains(&check[field].as_str().unwrap()), "{check:#}");
        }
    };
    words("status", &["ok", "note", "shortcoming", "fatal"]);
    words("area", &["kernel", "calls", "io_uring", "drivers", "limits", "tls", "sandbox"]);
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(
            keys(check),
            ["area", "cause", "found", "id", "remedies", "status", "title"],
            "{check:#}"
        );
        assert_eq!(check["status"] == "ok", check["cause"].is_null(), "{check:#}");
        for remedy in check["remedies"].as_array().unwrap() {
            assert_eq!(keys(remedy), ["line", "place"]);
        }
    }
    for kind in DriverKind::ALL {
        check(&report, &format!("driver.{kind}"));
    }
    for id in ["kernel.version", "uring.setup", "calls.openat2", "calls.sendfile"] {
        check(&report, id);
    }
    for id in ["versions", "groups", "aes"] {
        check(&report, &format!("tls.{id}"));
    }
    for id in ["nofile", "memlock", "somaxconn", "file_max", "cpus"] {
        check(&report, &format!("limits.{id}"));
    }
}

#[test]
fn if_the_ring_works_every_part_of_it_is_ok() {
    if !uring_works() {
        return;
    }
    let (_, report) = report(&mut ringd(), Jail::default());
    for piece in [
        "flag.single_issuer",
        "flag.defer_taskrun",
        "flags",
        "feature.nodrop",
        "feature.ext_arg",
        "enter",
        "buffer_ring",
        "accept_many",
        "receive_many",
        "send_file",
        "cancel",
        "timeout",
        "workers",
    ] {
        let check = check(&report, &format!("uring.{piece}"));
        assert_eq!(check["status"], "ok", "{check:#}");
    }
}

#[test]
fn a_sandbox_without_io_uring_is_reported_and_can_serve() {
    for code in [libc::EPERM, libc::ENOSYS] {
        let jail = deny(libc::SYS_io_uring_setup, code);
        let (exit, report) = report(&mut ringd(), jail);
        assert_eq!(exit, Some(0), "{report:#}");
        assert_eq!(report["auto"]["driver"], "epoll");
        assert_eq!(chosen(&report), served_by(jail));
        let setup = check(&report, "uring.setup");
        assert_eq!(setup["status"], "shortcoming", "{setup:#}");
        // If the machine denies it anyway, the filter is not the first cause.
        if uring_works() {
            assert!(setup["cause"].as_str().unwrap().contains("seccomp filter"), "{setup:#}");
            let line = setup["remedies"][0]["line"].as_str().unwrap();
            assert!(line.contains("--security-opt seccomp="), "{setup:#}");
        }
    }
}

#[test]
fn a_sandbox_that_denies_a_later_call_is_named_too() {
    if !uring_works() {
        return;
    }
    for (call, number, id) in [
        ("io_uring_enter", libc::SYS_io_uring_enter, "uring.enter"),
        ("io_uring_register", libc::SYS_io_uring_register, "uring.buffer_ring"),
    ] {
        let (exit, report) = report(&mut ringd(), deny(number, libc::EPERM));
        assert_eq!(exit, Some(0), "{report:#}");
        assert_eq!(report["auto"]["driver"], "epoll");
        assert_eq!(check(&report, "uring.setup")["status"], "ok");
        for id in [id, "driver.uring"] {
            let cause = check(&report, id)["cause"].as_str().unwrap();
            assert!(cause.contains(&format!("seccomp filter denies {call}")), "{id}: {cause}");
        }
    }
}

#[test]
fn without_openat2_nothing_is_served() {
    for code in [libc::EPERM, libc::ENOSYS] {
        let (exit, report) = report(&mut ringd(), deny(libc::SYS_openat2, code));
        assert_eq!(exit, Some(1), "{report:#}");
        assert_eq!(report["serving"], false);
        let check = check(&report, "calls.openat2");
        assert_eq!(check["status"], "fatal");
        assert!(check["cause"].as_str().unwrap().contains("seccomp filter denies openat2"));
    }
}

#[test]
fn denied_calls_are_findings_and_not_failures() {
    for call in [libc::SYS_socket, libc::SYS_socketpair, libc::SYS_memfd_create, libc::SYS_uname] {
        let (exit, report) = report(&mut ringd(), deny(call, libc::EPERM));
        let possible = call != libc::SYS_socket;
        assert_eq!(exit, Some(i32::from(!possible)), "{report:#}");
        assert_eq!(report["serving"], possible, "{report:#}");
    }
}

#[test]
fn few_descriptors_are_judged_as_the_server_judges_them() {
    let site = site();
    let workers = std::thread::available_parallelism().unwrap().get() as u64;
    // About as many as the workers and their files need.
    let edge = (32 + 17 * workers) * 8 / 5;
    let mut verdicts = Vec::new();
    for descriptors in [40].into_iter().chain(edge - 2..edge + 3).chain([4096]) {
        let jail = Jail { nofile: Some(descriptors), ..Jail::default() };
        let (exit, report) = report(&mut ringd(), jail);
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0"]);
        let starts = Server::try_start(jail.hold(&mut command)).is_ok();
        assert_eq!(report["serving"], starts, "{descriptors} descriptors: {report:#}");
        assert_eq!(exit == Some(0), starts);
        let check = check(&report, "limits.nofile");
        assert_eq!(check["remedies"][0]["line"], "ulimit -n 262144", "{check:#}");
        verdicts.push(starts);
    }
    assert!(verdicts.contains(&true) && verdicts.contains(&false), "{verdicts:?}");
}

#[test]
fn little_locked_memory_is_reported() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (_folder, binary) = public_copy();
    let jail = Jail { memlock: Some(64 * 1024), unprivileged: true, ..Jail::default() };
    let (exit, report) = report(&mut Command::new(&binary), jail);
    assert_eq!(exit, Some(0), "{report:#}");
    let memlock = check(&report, "limits.memlock");
    assert_eq!(memlock["found"], "64 KiB");
    let mut checks = report["checks"].as_array().unwrap().iter();
    // The check is missing if io_uring does not work at all.
    let rings = checks.find(|check| check["id"] == "uring.workers" && check["status"] != "ok");
    if let Some(rings) = rings {
        assert_eq!(report["auto"]["driver"], "epoll");
        assert!(report["auto"]["why"].as_str().unwrap().contains("ENOMEM"), "{report:#}");
        assert_eq!(memlock["status"], "shortcoming", "{memlock:#}");
        assert_eq!(rings["cause"], "the limit of locked memory is too low: 64 KiB");
        assert_eq!(rings["remedies"][0]["line"], "ulimit -l 65536");
    }
    println!("{}: {}", chosen(&report), memlock["status"]);
}

#[test]
fn the_text_has_a_verdict_and_no_escape_codes_in_a_pipe() {
    let end = end_of(ringd().arg("doctor"));
    assert_eq!((end.code, &end.errors[..]), (Some(0), ""), "{end:?}");
    assert!(end.output.ends_with("\nserving is possible\n"), "{}", end.output);
    assert!(end.output.contains("\nauto would choose "), "{}", end.output);
    assert!(!end.output.contains('\x1b'), "{:?}", end.output);
}

#[test]
fn a_closed_output_does_not_change_the_exit_code() {
    let mut command = ringd();
    command.arg("doctor").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let end = end_of(ringd().args(["doctor", "--help"]));
    assert_eq!((end.code, &end.errors[..]), (Some(0), ""));
    for word in ["--json", "Exit codes: 0", "NO_COLOR"] {
        assert!(end.output.contains(word), "{word} is not in:\n{}", end.output);
    }
    let wrong = end_of(ringd().args(["doctor", "--jason"]));
    assert_eq!(wrong.code, Some(2));
}
