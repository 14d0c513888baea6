//! Signals other than SIGTERM and SIGINT: none of them cuts an answer off.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::jail::kill_thread;
use crate::process::{Server, drivers, ringd, site, with};
use crate::stopping::{LARGE_BYTES, busy_server};

/// Signals that end a process by default, and that a server ignores.
const IGNORED: [i32; 7] = [
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSTKFLT,
    libc::SIGXFSZ,
];

/// Reads the rest of an answer of [`busy_server`], of which the status line has been read.
fn assert_whole(mut client: TcpStream, driver: &str) {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{driver}: {error}"));
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((rest.len() - end) as u64, LARGE_BYTES, "{driver}");
}

#[test]
fn no_signal_cuts_an_answer_off() {
    for driver in drivers() {
        let (_site, mut server, client) = busy_server(driver);
        for signal in IGNORED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            server.signal(signal);
        }
        for (signal, says) in [
            (libc::SIGHUP, "ringd: SIGHUP: logs are reopened; there is no configuration file (-c)"),
            (libc::SIGUSR2, "ringd: SIGUSR2 does nothing; "),
        ] {
            server.signal(signal);
            let line = server.error_line();
            assert!(line.starts_with(says), "{driver}: {line}");
        }
        thread::sleep(Duration::from_millis(50));
        assert!(server.is_running(), "{driver}");
        assert_whole(client, driver);
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        assert_eq!(end.errors.lines().count(), 1, "one line for each signal: {end:?}");
    }
}

/// A handler that interrupts another one needs its own part of the stack, and some threads have a
/// small one.
#[test]
fn all_signals_at_once_fit_on_every_stack() {
    for driver in drivers() {
        let (_site, server, client) = busy_server(driver);
        server.signal(libc::SIGSTOP);
        let threads = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
        for thread in threads {
            let thread = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
            for signal in IGNORED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
                kill_thread(server.id(), thread, signal);
            }
        }
        server.signal(libc::SIGCONT);
        assert_whole(client, driver);
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!((end.code, end.errors.lines().count()), (Some(0), 1), "{driver}: {end:?}");
    }
}

/// The system says that the process has used up its time, or that the power fails. It may say so
/// again and again, which must not end what is being finished.
#[test]
fn an_announced_end_drains_and_may_be_repeated() {
    for driver in drivers() {
        for signal in [libc::SIGXCPU, libc::SIGPWR] {
            let (_site, mut server, client) = busy_server(driver);
            for _ in 0..3 {
                server.signal(signal);
                thread::sleep(Duration::from_millis(20));
            }
            let line = server.error_line();
            assert!(line.contains("finishing open connections"), "{driver}: {line}");
            assert!(server.is_running(), "{driver}");
            assert_whole(client, driver);
            let end = server.end();
            assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{driver}: {end:?}");
        }
    }
}

/// The other commands are tools in a terminal: they end as every tool does.
#[test]
fn a_client_ends_when_its_terminal_closes() {
    let site = site();
    let server = Server::start(&mut with(&[site.path().to_str().unwrap()]));
    for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        if is_ignored(signal) {
            println!("skipped: these tests run with signal {signal} ignored, which is inherited");
            continue;
        }
        let mut client = ringd();
        client.args(["connect", &server.address().to_string()]);
        let mut client = client.stdin(std::process::Stdio::piped()).spawn().unwrap();
        // Until the program has set up its signals, the default action applies as well.
        thread::sleep(Duration::from_millis(100));
        crate::jail::kill(client.id(), signal);
        let status = client.wait().unwrap();
        assert_eq!(status.code(), None, "a signal has ended it: {status}");
    }
}

/// Whether this process ignores a signal (`SigIgn` of `proc_pid_status(5)`). A shell starts the
/// commands that a script runs in the background with SIGINT and SIGQUIT ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (signal - 1) != 0
}
