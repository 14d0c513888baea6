//! The access log: where it goes, what it holds, and what a reader or a disk can do to it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::fs::OFlags;

use crate::common::eventually;
use crate::jail::{Jail, is_root};
use crate::observed::{Client, Place, assert_no_start, assert_refused, named_pipe, observed};
use crate::process::{Server, create_closed, drivers, open_to_all, public_copy, site, with};

/// A format whose lines are known in advance.
const FORMAT: &str = "{method} {target} {status} {aborted}";

/// More requests with a [`long`] target than a pipe and all pages of a worker hold.
const MANY: usize = 150;

/// A query that makes a line of 7000 bytes.
fn long() -> String {
    "q".repeat(7000)
}

/// The lines of a file, which are whole, in order of their text.
#[track_caller]
fn sorted_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn: {text}");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A named pipe that is read now and then.
struct PipeReader {
    pipe: fs::File,
    text: String,
}

impl PipeReader {
    /// Opens a named pipe, and waits for nothing. With `stays`, the pipe has a writer as long as it
    /// has this reader, so it never ends.
    fn open(path: &Path, stays: bool) -> Self {
        let mut options = fs::File::options();
        options.read(true).write(stays).custom_flags(OFlags::NONBLOCK.bits() as i32);
        Self { pipe: options.open(path).unwrap(), text: String::new() }
    }

    /// Everything that was read so far, and what is in the pipe.
    fn text(&mut self) -> &str {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.text += std::str::from_utf8(&buffer[..count]).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        &self.text
    }
}

#[test]
fn each_answer_is_a_line_of_a_file_for_its_owner_and_group() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("access.log");
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let mut client = Client::connect(&server);
        assert_eq!(client.ask("GET /", ""), 200);
        assert_eq!(client.ask("GET /", "If-None-Match: *\r\n"), 304);
        assert_eq!(client.ask("HEAD /a%20b?c", ""), 404);
        let long = format!("A: {}\r\n", "a".repeat(20_000));
        assert_eq!(client.ask("GET /long", &long), 431);
        // Garbage, and a request without `Host`.
        for request in ["garbage\r\n\r\n", "GET /bare HTTP/1.1\r\n\r\n"] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        let umask = u32::from_str_radix(server.status("Umask").as_str(), 8).unwrap();
        assert_eq!(mode, 0o640 & !umask, "{mode:o}");
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        let lines = sorted_lines(&path);
        let expected = [
            "- garbage 400 -",
            "GET / 200 -",
            "GET / 304 -",
            "GET /bare 400 -",
            "GET /long 431 -",
            "HEAD /a%20b?c 404 -",
        ];
        assert_eq!(lines, expected, "{driver}");
    }
}

#[test]
fn the_known_formats_are_those_of_other_servers() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    for (format, agent) in [("common", ""), ("combined", r#" "-" "a \x22b\x22""#), ("json", "")] {
        let path = folder.path().join(format);
        let log = ["--log", path.to_str().unwrap(), "--log-format", format];
        let server = Server::start(&mut observed(site.path(), "auto", &log));
        let status = Client::connect(&server).ask("GET /?x", "User-Agent: a \"b\"\r\n");
        assert_eq!(status, 200);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        let line = sorted_lines(&path).remove(0);
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&line["status"], &line["target"]), (&200.into(), &"/?x".into()), "{line}");
            assert_eq!(line["agent"], "a \"b\"", "{line}");
            continue;
        }
        let (client, rest) = line.split_once('[').unwrap();
        assert_eq!(client, "127.0.0.1 - - ");
        let (_, rest) = rest.split_once("] ").unwrap();
        assert_eq!(rest, format!("\"GET /?x HTTP/1.1\" 200 38{agent}"));
    }
}

/// Then the start line is on standard error, and standard output has nothing but the log.
#[test]
fn standard_output_belongs_to_the_log() {
    for driver in drivers() {
        let site = site();
        let log = ["--log", "stdout", "--log-format", FORMAT];
        let server = Server::start_apart(&mut observed(site.path(), driver, &log));
        assert!(server.line.starts_with("ringd: serving "), "{}", server.line);
        let mut client = Client::connect(&server);
        client.get("a");
        assert_eq!(server.output_line(), "GET /?a 200 -");
        client.get("b");
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!((end.code, end.output.as_str()), (Some(0), "GET /?b 200 -\n"), "{end:?}");
        assert!(end.errors.starts_with("ringd: finishing open connections"), "{end:?}");
    }
}

#[test]
fn standard_error_may_have_the_log() {
    let site = site();
    let log = ["--log", "stderr", "--log-format", FORMAT];
    let server = Server::start(&mut observed(site.path(), "auto", &log));
    Client::connect(&server).get("a");
    assert_eq!(server.error_line(), "GET /?a 200 -");
}

#[test]
fn a_log_that_cannot_be_opened_is_no_start() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let pipe = folder.path().join("pipe");
    named_pipe(&pipe);
    let missing = folder.path().join("none/access.log");
    let create = format!("create the directory {}", folder.path().join("none").display());
    let beneath = site.path().join("index.html/access.log");
    for (path, words) in [
        (missing.as_path(), ["No such file or directory", &create]),
        (folder.path(), ["Is a directory", "name a file in it"]),
        (&pipe, ["nobody reads this pipe", "start its reader first"]),
        (&beneath, ["Not a directory", "check the path"]),
    ] {
        let path = path.to_str().unwrap();
        for option in ["--log", "--error-log"] {
            let words = [&*format!("{option} {path}: "), words[0], words[1]];
            assert_no_start(&mut observed(site.path(), "auto", &[option, path]), &words);
        }
    }
    let end = ["--log", "logs/"];
    assert_refused(&end, &["--log", "logs/", "it must be a file, not a directory"]);
    let empty = ["--log", ""];
    assert_refused(&empty, &["--log", "it must be stdout, stderr, or the path of a file"]);
}

#[test]
fn a_directory_that_is_not_writable_is_no_start() {
    if !is_root() {
        return println!("skipped: only root can become another user");
    }
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let (_copy, binary) = public_copy();
    open_to_all(folder.path());
    create_closed(&folder.path().join("closed"));
    for (directory, option) in [("", "--log"), ("closed", "--log"), ("", "--error-log")] {
        let path = folder.path().join(directory).join("access.log");
        let mut command = std::process::Command::new(&binary);
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", option]).arg(&path);
        let jail = Jail { unprivileged: true, ..Jail::default() };
        let remedy = format!("let the user of the server write to {}", path.display());
        assert_no_start(jail.hold(&mut command), &[option, "Permission denied", &remedy]);
    }
}

#[test]
fn a_wrong_format_is_refused_with_the_right_one() {
    for (format, words) in [
        ("{client} {statu}", &["there is no value {statu}", "a similar one is {status}"][..]),
        ("{Target}", &["there is no value {Target}", "a similar one is {target}"]),
        ("{zzzzzz}", &["there is no value {zzzzzz}", "client, user, time,"]),
        ("{status", &["a brace has no counterpart"]),
        ("combine", &["it must be combined, common, json, or a template"]),
    ] {
        let told = [&["--log-format", format][..], words].concat();
        assert_refused(&["--log-format", format], &told);
    }
}

/// The file of a named pipe is not looked at, so here only the signal can be the reason.
#[test]
fn signals_open_the_log_again() {
    for (signal, says) in [
        (libc::SIGHUP, "ringd: SIGHUP: logs are reopened; there is no configuration file"),
        (libc::SIGUSR1, "ringd: connections "),
    ] {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        named_pipe(&path);
        let mut reader = PipeReader::open(&path, true);
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), "auto", &log));
        let mut client = Client::connect(&server);
        client.get("a");
        eventually("the line is in the pipe", || reader.text() == "GET /?a 200 -\n");
        fs::rename(&path, &old).unwrap();
        client.get("b");
        eventually("the old log is written on", || reader.text().ends_with("?b 200 -\n"));
        server.signal(signal);
        let line = server.error_line();
        assert!(line.starts_with(says), "{line}");
        eventually("the path is opened again", || path.exists());
        client.get("c");
        let is_there = || sorted_lines(&path) == ["GET /?c 200 -"];
        eventually("the line is in the new file", is_there);
        assert_eq!(reader.text(), "GET /?a 200 -\nGET /?b 200 -\n");
    }
}

/// Whoever rotates logs only renames them. Each line is in one of the files, and whole.
#[test]
fn a_file_that_is_renamed_is_opened_again_and_no_line_is_lost() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("access.log");
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let (mut client, mut count) = (Client::connect(&server), 0);
        for round in 0..2 {
            fs::rename(&path, folder.path().join(format!("access.log.{round}"))).unwrap();
            eventually("the path is opened again", || {
                client.get(count);
                count += 1;
                path.exists()
            });
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        let mut lines = sorted_lines(&path);
        for round in 0..2 {
            lines.extend(sorted_lines(&folder.path().join(format!("access.log.{round}"))));
        }
        lines.sort();
        let mut expected: Vec<_> = (0..count).map(|at| format!("GET /?{at} 200 -")).collect();
        expected.sort();
        assert_eq!(lines, expected, "{driver}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_again_is_written_on() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let (logs, old) = (folder.path().join("logs"), folder.path().join("old"));
    fs::create_dir(&logs).unwrap();
    let path = logs.join("access.log");
    let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
    let server = Server::start(&mut observed(site.path(), "auto", &log));
    fs::rename(&logs, &old).unwrap();
    let line = server.error_line();
    for words in ["the access log cannot be opened again", "No such file", "is written on"] {
        assert!(line.contains(words), "{line}");
    }
    let mut client = Client::connect(&server);
    client.get("a");
    let old = old.join("access.log");
    eventually("the old file is written on", || sorted_lines(&old) == ["GET /?a 200 -"]);
    // The directory is there again, and so is the log.
    fs::create_dir(&logs).unwrap();
    eventually("the path is opened again", || path.exists());
    client.get("b");
    eventually("the new file has the line", || sorted_lines(&path) == ["GET /?b 200 -"]);
}

#[test]
fn no_line_is_lost_when_the_server_ends() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 50;
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("access.log");
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let root = site.path().to_str().unwrap();
        let server = Server::start(
            with(&[root, "--driver", driver, "--workers", "3", "--idle-timeout", "1h"]).args(log),
        );
        let address = server.address();
        let clients: Vec<Client> = thread::scope(|scope| {
            let one = |number: usize| {
                let mut client = Client::connect_to(address);
                (0..REQUESTS).for_each(|at| client.get(format_args!("{number}.{at}")));
                client
            };
            let clients: Vec<_> = (0..CLIENTS).map(|at| scope.spawn(move || one(at))).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        // The server waits for nobody, so the last lines have not waited for others yet.
        drop(clients);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        let mut lines = sorted_lines(&path);
        lines.dedup();
        assert_eq!(lines.len(), CLIENTS * REQUESTS, "{driver}");
    }
}

/// Clients get their answers, lines that have no room are dropped, and all others arrive when they
/// are read at last.
#[test]
fn a_reader_that_does_not_read_delays_no_answer() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("pipe");
        named_pipe(&path);
        let mut reader = PipeReader::open(&path, true);
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let admin = Place::of(&server);
        let (mut client, long) = (Client::connect(&server), long());
        (0..MANY).for_each(|_| client.get(&long));
        let is_dropping = |metrics: &crate::observed::Metrics| metrics.lines().1 > 0.0;
        admin.metrics_until("lines are dropped", is_dropping);
        // An answer is counted when the worker learns that it was sent, which may be after the
        // client has it.
        admin.metrics_until("all answers are counted", |metrics| {
            metrics.sum("ringd_requests_total", "code=\"200\"") == MANY as f64
        });
        let alarm = admin.get("/").body;
        assert!(alarm.contains("lines of the access log were dropped."), "{alarm}");
        let metrics = admin.metrics_until("every line is written or dropped", |metrics| {
            reader.text();
            let (written, dropped) = metrics.lines();
            written + dropped == MANY as f64
        });
        let (written, dropped) = metrics.lines();
        assert!(written > 0.0 && dropped > 0.0, "{driver}: {written} and {dropped}");
        let line = format!("GET /?{long} 200 -");
        let lines: Vec<&str> = reader.text().lines().collect();
        assert!(lines.iter().all(|other| *other == line), "{driver}: lines are whole");
        assert_eq!(lines.len() as f64, written, "{driver}");
    }
}

#[test]
fn a_server_ends_though_nobody_reads_its_log() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("pipe");
        named_pipe(&path);
        let _reader = PipeReader::open(&path, true);
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let (mut client, long) = (Client::connect(&server), long());
        (0..MANY).for_each(|_| client.get(&long));
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        end.assert_names(&["the last lines of the access log are lost"]);
    }
}

#[test]
fn a_reader_that_goes_away_is_told_and_another_one_may_come() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let path = folder.path().join("pipe");
        named_pipe(&path);
        let mut reader = PipeReader::open(&path, false);
        let log = ["--log", path.to_str().unwrap(), "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let admin = Place::of(&server);
        let mut client = Client::connect(&server);
        client.get("a");
        eventually("the line is in the pipe", || reader.text() == "GET /?a 200 -\n");
        drop(reader);
        (0..10).for_each(|at| client.get(at));
        let line = server.error_line();
        assert!(line.contains("nobody reads the access log any more"), "{driver}: {line}");
        admin.metrics_until("every line is counted", |it| it.lines() == (1.0, 10.0));
        let mut reader = PipeReader::open(&path, true);
        client.get("b");
        eventually("another reader gets lines", || reader.text() == "GET /?b 200 -\n");
        assert_eq!(admin.metrics_until("it is counted", |it| it.lines().0 == 2.0).lines().1, 10.0);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0), "{driver}");
    }
}

#[test]
fn a_full_disk_delays_no_answer() {
    for driver in drivers() {
        let begin = Instant::now();
        let site = site();
        let log = ["--log", "/dev/full", "--log-format", FORMAT];
        let server = Server::start(&mut observed(site.path(), driver, &log));
        let admin = Place::of(&server);
        let (mut client, long) = (Client::connect(&server), long());
        (0..MANY).for_each(|_| client.get(&long));
        let metrics = admin.metrics_until("lines are dropped", |it| it.lines().1 > 0.0);
        assert_eq!(metrics.lines().0, 0.0, "{driver}: nothing is written");
        admin.metrics_until("all answers are counted", |metrics| {
            metrics.sum("ringd_requests_total", "code=\"200\"") == MANY as f64
        });
        let line = server.error_line();
        assert!(line.contains("the access log cannot be written: No space left"), "{line}");
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        end.assert_names(&["the last lines of the access log are lost"]);
        let told = end.errors.lines().filter(|line| line.contains("cannot be written: ")).count();
        // Ten in ten seconds.
        let told_max = 10 * (begin.elapsed().as_secs() as usize / 10 + 1);
        assert!(told < told_max, "{driver}: {end:?}");
    }
}
