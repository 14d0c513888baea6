//! The output of `--trace`, on every driver that works on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::jail;
use crate::process::{PAGE, Server, assert_serves, kinds, ringd, site};
use ringd::driver::DriverKind;

/// The longest that anything that must happen may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

fn echo(kind: DriverKind, workers: &str) -> Command {
    let mut command = ringd();
    command.args(["echo", "--trace", "--listen", "127.0.0.1:0", "--driver", kind.name()]);
    command.args(["--workers", workers]);
    command
}

/// Sends a text and reads it back; then both sides end.
fn exchange(address: SocketAddr, text: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
}

/// One line of a trace.
#[derive(Debug)]
struct Line {
    time: f64,
    worker: String,
    mark: String,
    who: String,
    /// The op and its details, or the counts of a wait.
    what: String,
}

/// Ends a server, and parses its trace.
fn trace_of(server: Server, workers: usize) -> Vec<Line> {
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    // Messages of the program may come anywhere.
    let mut lines = end.errors.lines().filter(|line| !line.starts_with("ringd: ")).peekable();
    assert!(lines.peek().unwrap().starts_with("# -> an op is submitted"), "the legend is first");
    lines.filter(|line| !line.starts_with('#')).map(|line| parse(line, workers)).collect()
}

fn parse(line: &str, workers: usize) -> Line {
    let (time, rest) = line.split_at(12);
    let (worker, rest) = rest.split_at(if workers > 1 { 5 } else { 0 });
    let (mark, rest) = rest.split_at(3);
    let (who, what) = rest.split_at(18);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    Line {
        time: time.trim().parse().unwrap_or_else(|_| panic!("no time in {line:?}")),
        worker: worker.trim().to_owned(),
        mark: mark.trim().to_owned(),
        who: words(who),
        what: words(what),
    }
}

/// A count in the lines of waits, in all.
fn total(lines: &[Line], name: &str) -> u64 {
    let waits = lines.iter().filter(|line| line.mark == "==");
    let count = |line: &Line| {
        let (_, rest) =
            line.what.split_once(&format!("{name} ")).expect("every wait has this count");
        rest.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    waits.map(count).sum()
}

#[test]
fn an_exchange_can_be_followed() {
    for kind in kinds() {
        let server = Server::start(&mut echo(kind, "1"));
        exchange(server.address(), "hello");
        exchange(server.address(), "again!");
        let lines = trace_of(server, 1);
        let mut rest = lines.iter();
        let expected = [
            ("->", "listener 0", "accept"),
            ("<-", "listener 0", "accept 127.0.0.1:"),
            ("->", "connection 0", "recv"),
            ("<-", "connection 0", "recv 5 bytes, more"),
            ("->", "connection 0", "send 5 bytes"),
            ("<-", "connection 0", "send 5 bytes"),
            ("->", "connection 0", "close"),
            ("<-", "connection 0", "close"),
            ("->", "connection 0#2", "recv"),
            ("<-", "connection 0#2", "recv 6 bytes"),
            ("->", "connection 0#2", "send 6 bytes"),
            ("<-", "connection 0#2", "send 6 bytes"),
            ("<-", "", "wake"),
            ("->", "listener 0", "close"),
            ("<-", "listener 0", "close"),
        ];
        for (mark, who, what) in expected {
            let found = rest
                .any(|line| line.mark == mark && line.who == who && line.what.starts_with(what));
            assert!(found, "{kind}: no {mark} {who} {what} in its place in {lines:#?}");
        }
        assert!(lines.is_sorted_by_key(|line| (line.time * 1e3) as u64), "{kind}: {lines:#?}");
    }
}

/// The first clause of the contract, checked in the trace.
#[test]
fn every_op_has_one_last_completion() {
    for kind in kinds() {
        let server = Server::start(&mut echo(kind, "1"));
        for text in ["one", "two", "three"] {
            exchange(server.address(), text);
        }
        let lines = trace_of(server, 1);
        let mut open: HashMap<(&str, &str), i32> = HashMap::new();
        for line in &lines {
            let op = (line.who.as_str(), line.what.split(' ').next().unwrap());
            match line.mark.as_str() {
                "->" => *open.entry(op).or_default() += 1,
                "<-" if op.1 != "wake" && !line.what.ends_with(", more") => {
                    *open.entry(op).or_default() -= 1;
                }
                _ => {}
            }
        }
        let count = open.len();
        open.retain(|_, count| *count != 0);
        assert!(open.is_empty() && count >= 5, "{kind}: {open:?} in {lines:#?}");
    }
}

#[test]
fn the_waits_show_how_the_models_differ() {
    for kind in kinds() {
        let server = Server::start(&mut echo(kind, "1"));
        exchange(server.address(), "hello");
        let lines = trace_of(server, 1);
        let completions = lines.iter().filter(|line| line.mark == "<-").count() as u64;
        assert_eq!(total(&lines, "completions"), completions, "{kind}: {lines:#?}");
        assert!(total(&lines, "calls") > 0, "{kind}: {lines:#?}");
        let (submissions, would_block) =
            (total(&lines, "submissions"), total(&lines, "would block"));
        if kind == DriverKind::Uring {
            assert!(submissions > 0 && would_block == 0, "{lines:#?}");
        } else {
            assert_eq!(submissions, 0, "{kind}: {lines:#?}");
        }
        if [DriverKind::Epoll, DriverKind::EpollLevel].contains(&kind) {
            assert!(would_block > 0, "{kind}: {lines:#?}");
        }
    }
}

/// The names of the calls tell the models apart; strace(1) names them in the same way.
#[test]
fn the_calls_of_each_driver_are_named() {
    for kind in kinds() {
        let server = Server::start(&mut echo(kind, "1"));
        exchange(server.address(), "hello");
        let lines = trace_of(server, 1);
        let has =
            |name: &str| lines.iter().any(|line| line.mark == "==" && line.what.contains(name));
        let expected: &[&str] = match kind {
            DriverKind::Threads => &["futex", "helper: ", "accept4", "recvfrom", "sendto", "close"],
            DriverKind::Spin => &["sched_yield", "accept4", "recvfrom", "sendto", "close"],
            DriverKind::Select => &["pselect6", "accept4", "recvfrom", "sendto", "close"],
            DriverKind::Poll => &["ppoll", "accept4", "recvfrom", "sendto", "close"],
            DriverKind::Sigio => &["ppoll", "ioctl", "fcntl", "recvfrom", "sendto", "close"],
            DriverKind::EpollLevel | DriverKind::Epoll => {
                &["epoll_pwait", "epoll_ctl", "accept4", "recvfrom", "sendto", "close"]
            }
            DriverKind::Uring => &["io_uring_enter", "ring: ", "RECV", "SEND", "close"],
        };
        for name in expected {
            assert!(has(name), "{kind}: no {name} in {lines:#?}");
        }
        assert!(kind != DriverKind::Uring || !has("recvfrom"), "{lines:#?}");
    }
}

#[test]
fn workers_are_told_apart() {
    let kind = kinds().next().unwrap();
    let server = Server::start(&mut echo(kind, "2"));
    exchange(server.address(), "hello");
    let lines = trace_of(server, 2);
    for worker in ["w0", "w1"] {
        let mut its = lines.iter().filter(|line| line.worker == worker);
        assert!(its.any(|line| line.mark == "->" && line.who == "listener 0"), "{lines:#?}");
    }
}

#[test]
fn serving_files_can_be_followed_too() {
    let site = site();
    for kind in kinds() {
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1", "--trace"]);
        let server = Server::start(command.args(["--driver", kind.name()]));
        assert_serves(&server);
        let lines = trace_of(server, 1);
        let length = PAGE.len();
        let (opened, read) =
            (format!("open a file of {length} bytes"), format!("read {length} bytes"));
        for what in ["open \"index.html\"", &opened, &read] {
            assert!(lines.iter().any(|line| line.what == what), "{kind}: no {what} in {lines:#?}");
        }
        let explains = |line: &Line| line.mark == ".." && line.what.contains("tried inline");
        assert_eq!(lines.iter().any(explains), kind == DriverKind::Uring, "{kind}: {lines:#?}");
    }
}

#[test]
fn without_the_option_there_is_no_trace() {
    for kind in kinds() {
        let mut command = ringd();
        command.args(["echo", "--listen", "127.0.0.1:0", "--driver", kind.name()]);
        let server = Server::start(&mut command);
        exchange(server.address(), "hello");
        server.signal(libc::SIGTERM);
        let errors = server.end().errors;
        // The message about the signal, unless the process has already ended.
        assert!(errors.lines().all(|line| line.starts_with("ringd: finishing")), "{errors}");
    }
}

/// An echo server whose standard error the test holds, and its address.
fn unread_echo(kind: DriverKind) -> (Child, SocketAddr) {
    let mut command = echo(kind, "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, rest) = line.split_once(" at ").unwrap();
    (child, rest.split(';').next().unwrap().parse().unwrap())
}

/// The exit code of a child that ends by itself.
fn code_of(mut child: Child) -> Option<i32> {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < WAIT_MAX {
        thread::sleep(Duration::from_millis(10));
    }
    // Fails only if the child has already ended.
    let _ = child.kill();
    child.wait().unwrap().code()
}

/// The reader of the trace may close it, or not read, like a pager: the server continues.
#[test]
fn the_trace_need_not_be_read() {
    for kind in kinds() {
        for gone in [true, false] {
            let (mut child, address) = unread_echo(kind);
            if gone {
                drop(child.stderr.take());
            }
            // More than 500 bytes of trace each: in all more than a pipe holds, 64 KiB (pipe(7)).
            for _ in 0..500 {
                exchange(address, "hello");
            }
            jail::kill(child.id(), libc::SIGTERM);
            assert_eq!(code_of(child), Some(0), "{kind}, gone: {gone}");
        }
    }
}

#[test]
fn a_second_signal_works_if_the_trace_is_not_read() {
    let kind = kinds().next().unwrap();
    let (mut child, address) = unread_echo(kind);
    for _ in 0..500 {
        exchange(address, "hello");
    }
    // A client that does not read keeps the server for the whole drain timeout.
    let mut stuck = TcpStream::connect(address).unwrap();
    stuck.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while stuck.write_all(&[b'x'; 60_000]).is_ok() {}
    jail::kill(child.id(), libc::SIGTERM);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "the server waits for its client");
    jail::kill(child.id(), libc::SIGTERM);
    let second = Instant::now();
    assert_eq!(code_of(child), Some(128 + libc::SIGTERM));
    assert!(second.elapsed() < Duration::from_secs(5), "{:?}", second.elapsed());
}
