//! The error log: where it goes, what its lines are like, and how it is rotated.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::common::eventually;
use crate::observed::{Client, assert_refused, observed};
use crate::process::{Server, drivers, end_of, site};

/// What a line of a file is like: the level, the event, and the message.
fn parts(line: &str) -> (&str, &str, &str) {
    let (time, rest) = line.split_once(' ').unwrap();
    let digits = time.replace(|it: char| it.is_ascii_digit(), "0");
    assert_eq!(digits, "0000-00-00T00:00:00.000Z", "{line}");
    let (level, rest) = rest.split_once(' ').unwrap();
    let (event, message) = rest.split_once(": ").unwrap();
    (level, event, message)
}

/// The text of a log.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Runs a server with this log and these options, requests a page, and stops it. Returns what
/// it has written to the log and to standard error.
fn run_with(driver: &str, options: &[&str]) -> (String, String) {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let path = folder.path().join("error.log");
    // A note, which is a warning.
    let log = ["--error-log", path.to_str().unwrap(), "--spa=/missing.html"];
    let server = Server::start(observed(site.path(), driver, &log).args(options));
    assert!(server.line.starts_with("ringd: serving "), "{}", server.line);
    Client::connect(&server).get("a");
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    (text(&path), end.errors)
}

#[test]
fn a_line_of_a_file_has_time_level_and_event() {
    for driver in drivers() {
        let (text, errors) = run_with(driver, &[]);
        assert_eq!(errors, "", "{driver}: nothing is left for standard error");
        let lines: Vec<_> = text.lines().map(parts).collect();
        let [note, started, stopping] = lines[..] else { panic!("{driver}: {text}") };
        assert_eq!((note.0, note.1), ("warn", "note"));
        assert_eq!((started.0, started.1), ("info", "started"));
        assert!(started.2.starts_with("serving ") && started.2.contains(driver), "{text}");
        assert_eq!((stopping.0, stopping.1), ("info", "stopping"));
    }
}

#[test]
fn a_line_may_be_an_object_of_json() {
    let (text, _) = run_with("auto", &["--error-log-format", "json"]);
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["note", "started", "stopping"]);
    assert_eq!((&lines[0]["level"], &lines[1]["level"]), (&"warn".into(), &"info".into()));
    for line in &lines {
        let (time, message) = (line["ts"].as_str().unwrap(), line["message"].as_str().unwrap());
        assert_eq!(parts(&format!("{time} a b: {message}")), ("a", "b", message));
    }
}

#[test]
fn lines_below_the_level_are_left_out() {
    for (level, count) in [("info", 3), ("warn", 1), ("error", 0)] {
        let (text, _) = run_with("auto", &["--error-log-level", level]);
        assert_eq!(text.lines().count(), count, "{level}: {text}");
    }
}

/// The signal is not needed, but may come from a tool that rotates logs.
#[test]
fn a_log_that_is_renamed_is_opened_again() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let (path, old) = (folder.path().join("error.log"), folder.path().join("error.log.1"));
    let log = ["--error-log", path.to_str().unwrap()];
    let server = Server::start(&mut observed(site.path(), "auto", &log));
    eventually("the start is told", || text(&path).contains(" started: "));
    fs::rename(&path, &old).unwrap();
    eventually("the path is opened again", || path.exists());
    server.signal(libc::SIGUSR2);
    eventually("the new file has the line", || text(&path).contains(" signal: SIGUSR2 "));
    assert!(!text(&old).contains("SIGUSR2"));
    for signal in [libc::SIGHUP, libc::SIGUSR1] {
        fs::rename(&path, &old).unwrap();
        server.signal(signal);
        eventually("the line of the signal is in the new file", || {
            text(&path).contains("signal: ")
        });
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code, Some(0));
    assert!(text(&path).contains(" stopping: "));
}

/// Whoever starts a server looks at standard error.
#[test]
fn a_failed_start_is_told_on_standard_error_too() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let path = folder.path().join("error.log");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let mut command = crate::process::ringd();
    command.arg(site.path()).args(["--listen", &taken, "--error-log"]).arg(&path);
    end_of(&mut command).assert_failed(1, &[&taken, "in use"]);
    let text = text(&path);
    let (level, event, message) = parts(text.trim_end());
    assert_eq!((level, event), ("error", "failed"));
    assert!(message.contains(&taken), "{text}");
}

#[test]
fn standard_output_may_have_the_error_log() {
    let site = site();
    let log = ["--error-log", "stdout"];
    let server = Server::start(&mut observed(site.path(), "auto", &log));
    assert!(server.line.starts_with("ringd: serving "), "{}", server.line);
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{end:?}");
    assert!(end.output.starts_with("ringd: finishing open connections"), "{end:?}");
    assert_eq!(end.output.lines().count(), 1, "nothing is told twice: {end:?}");
}

#[test]
fn errors_are_always_told() {
    let remedy = "errors are always told; the path /dev/null discards them";
    assert_refused(&["--error-log", "off"], &["--error-log", "off", remedy]);
    assert_refused(&["--error-log-level", "debug"], &["debug", "error, warn, info"]);
    assert_refused(&["--error-log-format", "xml"], &["xml", "text, json"]);
    let site = site();
    let server = Server::start(&mut observed(site.path(), "auto", &["--error-log", "/dev/null"]));
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{end:?}");
}
