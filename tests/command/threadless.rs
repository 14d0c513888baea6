//! Where no more threads can be started (`ulimit -u`): what needs another thread is done without
//! it, or the start is refused.

use std::process::{Child, Command};

use crate::jail::{Jail, is_root, new_user};
use crate::process::{Server, assert_serves, get, kinds, public_copy, site};
use ringd::driver::DriverKind;

/// Whether limits of processes can be tested; prints the reason if not.
fn limits_bind() -> bool {
    if !is_root() {
        println!("skipped: only root can become another user");
    }
    is_root()
}

/// Processes and threads that a server in these tests may have; enough for a start.
const PROCESSES: u64 = 30;

/// Processes that take all that the user of a server may still have.
struct Others(Vec<Child>);

impl Others {
    fn of(jail: Jail) -> Self {
        let mut others = Self(Vec::new());
        // The kernel refuses to execute a program for a user beyond the limit.
        while let Ok(child) = jail.hold(Command::new("sleep").arg("600")).spawn() {
            others.0.push(child);
            assert!(others.0.len() < PROCESSES as usize, "the limit does not bind");
        }
        others
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only if it has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Names that the kernel does not have in memory, files and listings are all served, or answered
/// with 503, although neither the driver nor the kernel can start a thread for them.
#[test]
fn cold_names_are_answered_without_another_thread() {
    if !limits_bind() {
        return;
    }
    let site = site();
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at * 31 / 8) as u8).collect();
    std::fs::write(site.path().join("large"), &large).unwrap();
    std::fs::create_dir(site.path().join("directory")).unwrap();
    let (_folder, binary) = public_copy();
    for driver in kinds() {
        let mut command = Command::new(&binary);
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1", "--listing"]);
        command.args(["--driver", driver.name()]);
        let jail = Jail { processes: Some((new_user(), PROCESSES)), ..Jail::default() };
        let server = Server::start(jail.hold(&mut command));
        let _others = Others::of(jail);
        for number in 0..3 {
            // Nobody has asked for this name before.
            let (head, _) = get(server.address(), &format!("/missing-{driver}-{number}"));
            assert!(head.starts_with("HTTP/1.1 404 "), "{driver}: {head}");
        }
        assert_serves(&server);
        assert!(get(server.address(), "/large").1 == large, "{driver}");
        let (head, _) = get(server.address(), "/directory/");
        let may = ["HTTP/1.1 200 ", "HTTP/1.1 503 "];
        assert!(may.iter().any(|status| head.starts_with(status)), "{driver}: {head}");
        assert_serves(&server);
    }
}

/// The driver that needs threads to serve starts them before the start line.
#[test]
fn threads_refuses_a_limit_with_which_it_cannot_serve() {
    if !limits_bind() {
        return;
    }
    let site = site();
    let (_folder, binary) = public_copy();
    let mut refused = 0;
    for processes in 1.. {
        assert!(processes < 40, "it does not start with {processes} threads");
        let mut command = Command::new(&binary);
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--driver", DriverKind::Threads.name()]);
        let jail = Jail { processes: Some((new_user(), processes)), ..Jail::default() };
        match Server::try_start(jail.hold(&mut command)) {
            Ok(server) => {
                assert_serves(&server);
                break;
            }
            Err(end) => {
                refused += 1;
                end.assert_failed(1, &["cannot start a thread", "ulimit -u"]);
            }
        }
    }
    assert!(refused >= 4, "it starts with {refused} threads");
}
