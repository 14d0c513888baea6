//! What the sandbox denies: a child process enters it and then tries.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, capabilities, set_keep_capabilities};
use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::driver::uring::{Uring, features};
use crate::driver::{DriverKind, DriverSelection, Limits, probe};

/// The directory of the child, which is one only if it is set.
const FOLDER: &str = "RINGD_TEST_CONFINED";

/// Whether the kernel has everything; prints what is missing.
fn is_complete() -> bool {
    let found = (on_a_thread(attempt_files), on_a_thread(attempt_filter));
    match found {
        (Ok(6..), Ok(())) => true,
        lack => {
            println!("skipped: this kernel has no complete sandbox: {lack:?}");
            false
        }
    }
}

fn on_a_thread<T: Send + 'static>(attempt: fn() -> T) -> T {
    thread::spawn(attempt).join().unwrap()
}

/// Runs a test of this file, which must be ignored, in a process of its own.
fn run_in_child(name: &str) {
    if !is_complete() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("sandbox::tests::{name}")])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

/// The directory of a child; `None` if somebody runs all ignored tests.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER);
    if folder.is_none() {
        println!("skipped: another test starts this one");
    }
    folder.map(PathBuf::from)
}

/// A site in a directory of its own, beside what is not the server's.
fn make_files(folder: &Path) -> SandboxNeeds {
    for name in ["sites/root", "sites/next", "logs", "others"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["sites/root/page", "sites/next/page", "others/secret", "logs/access.log"] {
        fs::write(folder.join(name), "x").unwrap();
    }
    SandboxNeeds {
        reads: vec![folder.join("sites/root")],
        logs: vec![folder.join("logs/access.log")],
        ..SandboxNeeds::default()
    }
}

#[track_caller]
fn assert_denied<T: fmt::Debug>(what: &str, result: io::Result<T>) {
    let error = result.expect_err(what);
    let code = error.raw_os_error();
    assert!(matches!(code, Some(libc::EACCES | libc::EPERM)), "{what}: {error}");
}

#[test]
fn what_a_server_does_not_need_is_denied() {
    run_in_child("denied");
}

#[test]
#[ignore = "what_a_server_does_not_need_is_denied runs it"]
fn denied() {
    let Some(folder) = folder() else { return };
    let mut needs = make_files(&folder);
    // What exists before the sandbox and is not the server's.
    let others = TcpListener::bind("127.0.0.1:0").unwrap();
    let others_unix = UnixListener::bind(folder.join("others/socket")).unwrap();
    let address = others.local_addr().unwrap();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    needs.ports.push(kept.local_addr().unwrap().port());
    drop(kept);
    Sandbox::of_thread(&needs, DriverKind::Epoll).unwrap();

    assert_eq!(fs::read(folder.join("sites/root/page")).unwrap(), b"x");
    assert_eq!(fs::read(folder.join("sites/next/page")).unwrap(), b"x");
    assert_denied("reading a file of others", fs::read(folder.join("others/secret")));
    assert_denied("reading the passwords", fs::read("/etc/shadow"));
    assert_denied("reading a log", fs::read(folder.join("logs/access.log")));
    let link = folder.join("sites/root/link");
    assert_denied("making a link", symlink("../../others/secret", link));
    assert_denied("reading a directory of others", fs::read_dir(folder.join("others")));
    assert_denied("writing into a root", fs::write(folder.join("sites/root/page"), "y"));
    assert_denied("making a file in a root", fs::write(folder.join("sites/root/new"), "y"));
    assert_denied("removing a page", fs::remove_file(folder.join("sites/root/page")));
    fs::write(folder.join("logs/access.log.1"), "y").unwrap();
    let rights = fs::Permissions::from_mode(0o777);
    assert_denied("other rights", fs::set_permissions(folder.join("logs/access.log"), rights));

    assert_denied("connecting", TcpStream::connect(address));
    assert_denied("connecting to a Unix socket", UnixStream::connect(folder.join("others/socket")));
    assert_denied("a socket of UDP", UdpSocket::bind("127.0.0.1:0"));
    assert_denied("a datagram socket", UnixDatagram::unbound());
    assert_denied("a pair of datagram sockets", UnixDatagram::pair());
    assert!(UnixStream::pair().is_ok());
    let mptcp = Protocol::from(libc::IPPROTO_MPTCP);
    for domain in [Domain::IPV4, Domain::IPV6] {
        assert_denied("MPTCP", Socket::new(domain, Type::STREAM, Some(mptcp)));
        assert!(Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).is_ok());
    }
    assert_denied("listening on another port", TcpListener::bind("127.0.0.1:0"));
    assert!(TcpListener::bind(("127.0.0.1", needs.ports[0])).is_ok());
    assert_denied("executing", Command::new("/bin/true").status());
    assert!(thread::spawn(|| 7).join().is_ok_and(|seven| seven == 7));
    let parent = rustix::process::getppid().unwrap();
    let signal = rustix::process::test_kill_process(parent);
    assert_denied("a signal to others", signal.map_err(io::Error::from));
    drop((others, others_unix));
}

/// Drivers make calls that no other part makes, so each passes its self-test, and opens once more
/// after it, as workers do. Then everything is over that only a start does.
#[test]
fn every_driver_works_within_the_filters() {
    run_in_child("drivers");
}

#[test]
#[ignore = "every_driver_works_within_the_filters runs it"]
fn drivers() {
    let Some(folder) = folder() else { return };
    let needs = make_files(&folder);
    let others = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = others.local_addr().unwrap();
    let works = |kind: &DriverKind| DriverSelection::make(Some(*kind)).is_ok();
    let kinds: Vec<_> = DriverKind::ALL.into_iter().filter(works).collect();
    // A thread that runs already.
    let (go, wait) = std::sync::mpsc::channel();
    let earlier = thread::spawn(move || {
        wait.recv().unwrap();
        TcpStream::connect(address)
    });
    let mut sandbox = Sandbox::begin(SandboxMode::Auto, &needs).unwrap();
    for kind in &kinds {
        let selection = DriverSelection::make_for(Some(*kind), true);
        assert!(selection.as_ref().is_ok_and(|it| it.notes.is_empty()), "{kind}: {selection:?}");
        for (step, result) in probe::exercise(*kind) {
            result.unwrap_or_else(|error| panic!("{kind}: {step:?}: {error}"));
        }
    }
    sandbox.finish(DriverKind::Uring).unwrap();
    go.send(()).unwrap();
    assert_denied("connecting on a thread that ran before", earlier.join().unwrap());
    let limits = Limits { restricted: true, ..Limits::default() };
    let ring = Uring::open(&limits).map(drop).unwrap_err();
    assert!(ring.to_string().contains("io_uring_setup: EPERM"), "{ring}");
    assert!(sandbox.summary(DriverKind::Epoll).unwrap().contains(" system calls"));
    // This process has two threads, so files could not be confined completely.
    sandbox.enter_files().unwrap();
    let summary = sandbox.summary(DriverKind::Epoll).unwrap();
    assert!(summary.contains("no landlock: 1 threads already run"), "{summary}");
}

#[test]
fn a_restricted_ring_refuses_other_ops() {
    if DriverSelection::make(Some(DriverKind::Uring)).is_err() {
        return println!("skipped: io_uring does not work here");
    }
    let trial = features::TRIALS.iter().find(|trial| trial.id == "restrictions").unwrap();
    trial.run().unwrap();
}

#[test]
fn a_configuration_that_needs_more_is_refused() {
    run_in_child("needs_more");
}

#[test]
#[ignore = "a_configuration_that_needs_more_is_refused runs it"]
fn needs_more() {
    let Some(folder) = folder() else { return };
    let mut needs = make_files(&folder);
    needs.logs.push("/dev/null".into());
    let sandbox = Sandbox::of_thread(&needs, DriverKind::Epoll).unwrap();
    let with = |change: &dyn Fn(&mut SandboxNeeds)| {
        let mut needs = needs.clone();
        change(&mut needs);
        sandbox.check(&needs)
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|needs| needs.reads.push(folder.join("sites/next"))), Ok(()));
    // Whoever opens it says that it does not exist.
    assert_eq!(with(&|needs| needs.reads.push(folder.join("missing"))), Ok(()));
    assert_eq!(with(&|needs| needs.logs.push(folder.join("logs/other.log"))), Ok(()));
    for (change, word) in [
        (
            &(|needs: &mut SandboxNeeds| needs.reads.push("/etc/passwd".into()))
                as &dyn Fn(&mut SandboxNeeds),
            "reading /etc/passwd",
        ),
        (&|needs| needs.logs.push("/etc/log".into()), "making /etc/log"),
        (&|needs| needs.logs.push("/dev/zero".into()), "making /dev/zero"),
        (&|needs| needs.ports.push(1), "listening on port 1"),
        (&|needs| needs.has_unix = true, "listening on Unix sockets"),
    ] {
        let error = with(change).unwrap_err();
        assert!(error.contains(word) && error.contains("restart ringd"), "{error}");
    }
}

/// As with `User=` and `AmbientCapabilities=` of systemd.
#[test]
fn who_is_the_user_already_loses_capabilities() {
    run_in_child("capable");
}

#[test]
#[ignore = "who_is_the_user_already_loses_capabilities runs it"]
fn capable() {
    let Some(_) = folder() else { return };
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root may become somebody else");
    }
    set_keep_capabilities(true).unwrap();
    let (user, group) = (Uid::from_raw(65_533), Gid::from_raw(65_533));
    setgroups(&[]).unwrap();
    setresgid(group, group, group).unwrap();
    setresuid(user, user, user).unwrap();
    let permitted = || capabilities(None).unwrap().permitted;
    assert!(permitted().contains(CapabilitySet::NET_BIND_SERVICE));
    let identity = Identity::find(Some("65533"), Some("65533")).unwrap().unwrap();
    identity.assume().unwrap();
    assert_eq!(permitted(), CapabilitySet::empty());
}

#[test]
fn what_is_off_does_nothing() {
    let mut sandbox = Sandbox::begin(SandboxMode::Off, &SandboxNeeds::default()).unwrap();
    sandbox.enter_files().unwrap();
    sandbox.finish(DriverKind::Epoll).unwrap();
    assert_eq!(sandbox.summary(DriverKind::Epoll), None);
    assert_eq!(sandbox.check(&SandboxNeeds { ports: vec![1], ..Default::default() }), Ok(()));
}
