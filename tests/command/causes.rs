//! Errors name the call that failed, the cause that holds in this situation, and the remedy.

use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use crate::common::ports::free_address;
use crate::jail::{Jail, is_root};
use crate::process::{Server, create_closed, end_of, ringd, site, with};

/// Which calls a sandbox denies, with which error, and the words of the error.
type Denial = (&'static str, libc::c_long, i32, &'static str);

const DENIALS: [Denial; 8] = [
    ("setsockopt(2)", libc::SYS_setsockopt, libc::EPERM, "a seccomp filter denies the call"),
    ("setsockopt(2)", libc::SYS_setsockopt, libc::EACCES, "a seccomp filter denies the call"),
    ("bind(2)", libc::SYS_bind, libc::EPERM, "a seccomp filter denies the call"),
    ("bind(2)", libc::SYS_bind, libc::EACCES, "a seccomp filter denies the call"),
    ("bind(2)", libc::SYS_bind, libc::ENOSYS, "a seccomp filter denies the call"),
    ("listen(2)", libc::SYS_listen, libc::EPERM, "a seccomp filter denies the call"),
    ("socket(2)", libc::SYS_socket, libc::EPERM, "a seccomp filter denies the call"),
    ("socket(2)", libc::SYS_socket, libc::EAFNOSUPPORT, "RestrictAddressFamilies"),
];

#[test]
fn a_listener_names_the_call_that_is_denied() {
    let site = site();
    for (call, number, code, cause) in DENIALS {
        let mut command = with(&[site.path().to_str().unwrap(), "--driver", "epoll"]);
        let jail = Jail { denied: Some((number, code)), ..Jail::default() };
        let end = end_of(jail.hold(&mut command));
        end.assert_failed(1, &["cannot listen on 127.0.0.1:", call, cause]);
        for guess in ["1024", "check the address"] {
            assert!(!end.errors.contains(guess), "{call}, {code}: {}", end.errors);
        }
    }
}

#[test]
fn a_client_names_the_call_that_is_denied() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    for (call, number) in [("connect(2)", libc::SYS_connect), ("socket(2)", libc::SYS_socket)] {
        for code in [libc::EPERM, libc::EACCES] {
            let mut command = ringd();
            command.args(["connect", &address]);
            let jail = Jail { denied: Some((number, code)), ..Jail::default() };
            let end = end_of(jail.hold(&mut command));
            end.assert_failed(1, &[&address, call, "a seccomp filter denies the call"]);
        }
    }
}

#[test]
fn an_address_that_this_server_has_already_is_not_blamed_on_another() {
    let site = site();
    let port = free_address().port();
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    for (first, second) in [(&all, &one), (&one, &all), (&one, &one)] {
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", first, "--listen", second]);
        let end = end_of(&mut command);
        end.assert_failed(1, &["cannot listen on", second, "this server listens on", first]);
        assert!(!end.errors.contains("stop the other server"), "{}", end.errors);
    }
}

/// A link-local address belongs to an interface.
#[test]
fn a_link_local_address_needs_its_interface() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        println!("skipped: IPv6 is not available: {error}");
        return;
    }
    let site = site();
    let mut command = with(&[site.path().to_str().unwrap(), "--listen", "[fe80::1]:8080"]);
    end_of(&mut command).assert_failed(1, &["[fe80::1]:8080", "bind(2)", "[fe80::1%eth0]:8080"]);
}

#[test]
fn a_closed_directory_above_the_root_is_named() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let site = site();
    let closed = site.path().join("closed");
    let root = closed.join("root");
    create_closed(&closed);
    std::fs::create_dir(&root).unwrap();
    let jail = Jail { unprivileged: true, ..Jail::default() };
    let mut command = with(&[root.to_str().unwrap()]);
    let words = [closed.to_str().unwrap(), "search", "chmod"];
    end_of(jail.hold(&mut command)).assert_failed(1, &words);
}

/// A filter may deny a call as if the kernel did not have it.
#[test]
fn a_kernel_that_is_new_enough_is_not_called_old() {
    let site = site();
    for code in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        let mut command = with(&[site.path().to_str().unwrap()]);
        let jail = Jail { denied: Some((libc::SYS_openat2, code)), ..Jail::default() };
        let end = end_of(jail.hold(&mut command));
        end.assert_failed(1, &["openat2(2)", "a seccomp filter denies the call"]);
        assert!(!end.errors.contains("is needed"), "{}", end.errors);
    }
}

/// The accept fails in a worker, after the start: the test shuts down its listener.
#[test]
fn a_worker_that_fails_is_reported() {
    let site = site();
    let options = [site.path().to_str().unwrap(), "--driver", "epoll", "--workers", "2"];
    let server = Server::start(&mut with(&options));
    let process = pidfd_open(Pid::from_raw(server.id() as i32).unwrap(), PidfdFlags::empty());
    let process = process.unwrap();
    let descriptor = |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty());
    let is_listener = |file: &OwnedFd| SockRef::from(file).is_listener().unwrap_or(false);
    let mut descriptors = (3..100).filter_map(|number| descriptor(number).ok());
    let Some(listener) = descriptors.find(is_listener) else {
        return println!("skipped: the descriptors of a child cannot be taken here");
    };
    SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    let end = server.end();
    assert_eq!(end.code, Some(1), "{end:?}");
    end.assert_names(&["serving has ended", "worker", "accept", "start ringd again"]);
}
