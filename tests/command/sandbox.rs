//! In a sandbox that denies a part of io_uring: `auto` serves on epoll, `uring` refuses, and both
//! print the reason.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::jail::{Jail, is_root};
use crate::process::{
    Server, ask, assert_serves, drivers, end_of, public_copy, ringd, site, uring_works,
};

/// The system calls of io_uring, and their names.
const CALLS: [(&str, libc::c_long); 3] = [
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("io_uring_enter", libc::SYS_io_uring_enter),
];

/// How sandboxes deny a call: openly, or like a kernel that does not have it.
const CODES: [(&str, i32); 2] = [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS)];

/// Runs `test` once per call and error, with a command to which the call is denied.
fn in_every_sandbox(arguments: &[&str], test: impl Fn(&mut Command, &str)) {
    // If io_uring is blocked anyway, only the first step is reached.
    let calls = if uring_works() { &CALLS[..] } else { &CALLS[..1] };
    let site = site();
    for (call, number) in calls {
        for (code, errno) in CODES {
            let jail = Jail { denied: Some((*number, errno)), ..Jail::default() };
            let mut command = ringd();
            command.arg(site.path()).args(["--listen", "127.0.0.1:0"]).args(arguments);
            test(jail.hold(&mut command), &format!("{call}: {code}"));
        }
    }
}

#[test]
fn auto_serves_on_epoll_and_names_the_call_that_is_denied() {
    in_every_sandbox(&[], |command, denied| {
        let server = Server::start(command);
        let driver = format!("; driver: epoll ({denied};");
        assert!(server.line.contains(&driver), "{driver:?} is not in: {}", server.line);
        assert_serves(&server);
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!((end.code, end.output.as_str()), (Some(0), ""), "one start line: {end:?}");
    });
}

#[test]
fn uring_refuses_and_names_the_call_that_is_denied() {
    in_every_sandbox(&["--driver", "uring"], |command, denied| {
        end_of(command).assert_failed(1, &["the driver uring does not work here", denied, "auto"]);
    });
}

#[test]
fn a_driver_other_than_uring_does_not_ask_for_it() {
    in_every_sandbox(&["--driver", "epoll"], |command, _| {
        let server = Server::start(command);
        assert!(server.line.contains("; driver: epoll (as asked);"), "{}", server.line);
        assert_serves(&server);
    });
}

#[test]
fn an_ordinary_user_with_little_locked_memory_can_serve() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let site = site();
    let (_folder, binary) = public_copy();
    let jail = Jail { memlock: Some(64 * 1024), unprivileged: true, ..Jail::default() };
    let says = ["driver: uring (io_uring passed its self-test)", "driver: epoll (io_uring"];
    // One ring may fit where eight do not: then the self-test passes, and a worker fails.
    for workers in ["1", "8"] {
        let mut command = Command::new(&binary);
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", workers]);
        let server = Server::start(jail.hold(&mut command));
        assert!(says.iter().any(|driver| server.line.contains(driver)), "{}", server.line);
        println!("{}", server.line);
        assert_serves(&server);
    }
}

/// Without `TCP_INFO`, the server cannot see progress: a download has all of the send timeout.
#[test]
fn a_download_has_the_whole_send_timeout_if_its_progress_cannot_be_seen() {
    const LENGTH: u64 = 64 << 20;
    let site = site();
    std::fs::File::create(site.path().join("large")).unwrap().set_len(LENGTH).unwrap();
    let jail = Jail { no_tcp_info: true, ..Jail::default() };
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--driver", "epoll"]);
    let server = Server::start(jail.hold(command.args(["--send-timeout", "8s"])));
    let mut client = ask(server.address(), "/large");
    // The first check of progress comes after a quarter of the timeout.
    std::thread::sleep(Duration::from_secs(3));
    let mut body = vec![0; LENGTH as usize];
    client.read_exact(&mut body).expect("the download goes on");
}

/// Requests follow each other without a pause, so a send is always in flight. The kernel takes each
/// of them, which is progress.
#[test]
fn a_client_that_pipelines_is_not_cut_off_without_tcp_info() {
    let site = site();
    // Large, so that requests wait at any time.
    std::fs::write(site.path().join("large"), vec![b'x'; 300_000]).unwrap();
    for driver in drivers() {
        let jail = Jail { no_tcp_info: true, ..Jail::default() };
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--driver", driver]);
        let server =
            Server::start(jail.hold(command.args(["--send-timeout", "1s", "--revalidate", "1h"])));
        let mut client = TcpStream::connect(server.address()).unwrap();
        let mut requests = client.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let many = "GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(500);
            while requests.write_all(many.as_bytes()).is_ok() {}
        });
        let until = Instant::now() + Duration::from_secs(3);
        let mut piece = [0; 64 * 1024];
        while Instant::now() < until {
            let count = client.read(&mut piece).unwrap_or_else(|error| panic!("{driver}: {error}"));
            assert!(count > 0, "{driver}: the connection ends");
        }
        client.shutdown(Shutdown::Both).unwrap();
        writer.join().unwrap();
    }
}
