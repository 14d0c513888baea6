//! A server whose output nobody reads: it starts, serves and ends all the same.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::common::ports::free_address;
use crate::jail::{Jail, kill};
use crate::process::{PAGE, drivers, get, ringd, site, with};

/// Longer than anything here takes, so whatever takes longer hangs.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A pipe that has no room, as if its reader had stopped reading.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'-'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// A process; dropping it kills it.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end; returns the exit code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < WAIT_MAX, "the process does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a server returns the page.
#[track_caller]
pub(crate) fn assert_serves_at(address: SocketAddr) {
    let begin = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < WAIT_MAX, "nobody listens on {address}");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(get(address, "/").1, PAGE);
}

#[test]
fn a_server_serves_and_ends_though_its_output_is_not_read() {
    let site = site();
    let root = site.path().to_str().unwrap();
    // Two notes on standard error before the start, and the legend of a trace.
    let notes = ["--symlinks", "follow", "--spa=/missing.html"];
    for (out, err) in [(true, false), (false, true), (true, true)] {
        for driver in drivers() {
            let address = free_address();
            let listen = address.to_string();
            let mut command = with(&[root, "--driver", driver, "--listen", &listen]);
            command.args(notes);
            let (full, null) = (full_pipe(), Stdio::null);
            command.stdout(if out { full.1.try_clone().unwrap().into() } else { null() });
            command.stderr(if err { full.1.try_clone().unwrap().into() } else { null() });
            let mut process = Process::start(&mut command);
            assert_serves_at(address);
            for _ in 0..20 {
                for signal in [libc::SIGUSR1, libc::SIGHUP, libc::SIGUSR2] {
                    kill(process.0.id(), signal);
                }
            }
            assert_serves_at(address);
            kill(process.0.id(), libc::SIGTERM);
            assert_eq!(process.end(), Some(0), "{driver}, stdout {out}, stderr {err}");
        }
    }
}

/// An error is reported at the end, so nobody waits for its reader.
#[test]
fn an_error_that_is_not_read_ends_the_process() {
    let site = site();
    let root = site.path().to_str().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    for arguments in [&["/missing"][..], &[root, "--listen", &taken], &["echo", "--listen", &taken]]
    {
        let (_reader, writer) = full_pipe();
        let mut command = ringd();
        command.args(arguments).stdout(Stdio::null()).stderr(writer);
        assert_eq!(Process::start(&mut command).end(), Some(1), "{arguments:?}");
    }
}

/// A worker that fails while nobody reads: the report must not keep the process.
#[test]
fn a_failure_that_is_not_read_ends_the_process() {
    let site = site();
    let address = free_address();
    let (_reader, writer) = full_pipe();
    let mut command = with(&[site.path().to_str().unwrap(), "--listen", &address.to_string()]);
    command.args(["--driver", "epoll"]).stdout(Stdio::null()).stderr(writer);
    let jail = Jail { denied: Some((libc::SYS_accept4, libc::ENOSYS)), ..Jail::default() };
    let mut process = Process::start(jail.hold(&mut command));
    let begin = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        let ended = process.0.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.code() == Some(1)), "{ended:?}");
        if ended.is_some() || begin.elapsed() > WAIT_MAX {
            break;
        }
    }
    assert_eq!(process.end(), Some(1));
}

/// Lines that nobody read in time are counted, and the next reader is told.
#[test]
fn lines_that_are_dropped_are_counted() {
    let site = site();
    let address = free_address();
    let (reader, writer) = full_pipe();
    let mut command = with(&[site.path().to_str().unwrap(), "--listen", &address.to_string()]);
    command.stdout(Stdio::null()).stderr(writer);
    let mut process = Process::start(&mut command);
    assert_serves_at(address);
    // Equal signals merge while they wait, so they come one by one.
    for _ in 0..300 {
        kill(process.0.id(), libc::SIGUSR1);
        thread::sleep(Duration::from_millis(2));
    }
    drop(command);
    let lines = thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.map(|line| line.trim_start_matches('-').to_owned()).collect::<Vec<_>>()
    });
    thread::sleep(Duration::from_millis(100));
    kill(process.0.id(), libc::SIGTERM);
    assert_eq!(process.end(), Some(0));
    let lines = lines.join().unwrap();
    assert!(lines.iter().all(|line| line.is_empty() || line.starts_with("ringd: ")), "{lines:?}");
    let lost = |line: &&String| line.contains("lines are missing");
    let lost = lines.iter().find(lost).unwrap_or_else(|| panic!("{lines:?}"));
    let count = lost.split(' ').nth(1).unwrap().parse::<usize>();
    assert!(count.is_ok_and(|count| count > 0), "{lost}");
}
