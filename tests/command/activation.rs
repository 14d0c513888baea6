//! Socket activation and the messages to the service manager: this test is the manager, which keeps
//! the sockets while the server is restarted.
//!
//! `RINGD_RESTARTS` is the number of restarts under load.

#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::ports::free_address;
use crate::configured::Folder;
use crate::process::{PAGE, Server, assert_serves, drivers, end_of, site, with};
use crate::take_over_load::{Load, large};

/// Numbers that the duplicates of sockets get here, so that they are none of those in the child.
const HIGH: i32 = 200;

/// The number of the first descriptor that is passed (`sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// Sockets with names, which a manager keeps.
struct Manager {
    folder: Folder,
    sockets: Vec<(&'static str, OwnedFd)>,
}

impl Manager {
    fn new(text: &str) -> Self {
        Self { folder: Folder::new(text), sockets: Vec::new() }
    }

    fn keep(&mut self, name: &'static str, socket: impl Into<OwnedFd>) {
        let socket = rustix::io::fcntl_dupfd_cloexec(socket.into(), HIGH).unwrap();
        self.sockets.push((name, socket));
    }

    fn keep_tcp(&mut self, name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind(free_address()).unwrap();
        socket2::SockRef::from(&listener).listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        self.keep(name, listener);
        address
    }

    /// A command that gets the sockets. The shell knows the number of the process, which stays.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringd")]);
        command.args(arguments).current_dir(self.folder.path(""));
        command.env("LISTEN_FDS", self.sockets.len().to_string());
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
        command.env("LISTEN_FDNAMES", names.join(":"));
        let numbers: Vec<i32> = self.sockets.iter().map(|(_, it)| it.as_raw_fd()).collect();
        let pass = move || {
            for (from, to) in numbers.iter().zip(FIRST..) {
                // SAFETY: the call has no pointers.
                if unsafe { libc::dup2(*from, to) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec, `pass` makes system calls and nothing else.
        unsafe { command.pre_exec(pass) };
        command
    }
}

/// Without a place to listen, all sockets are served; all workers share each.
#[test]
fn all_sockets_are_served() {
    for driver in drivers() {
        let mut manager = Manager::new("");
        let one = manager.keep_tcp("one");
        let two = manager.keep_tcp("two");
        let path = manager.folder.path("own.sock");
        manager.keep("three", UnixListener::bind(&path).unwrap());
        let mut command = manager.command(&["html", "--driver", driver, "--workers", "3"]);
        let server = Server::start(&mut command);
        let line = &server.line;
        let places = [format!("http://{one}/"), format!("http://{two}/"), "own.sock".to_owned()];
        assert!(places.iter().all(|place| line.contains(place)), "{line}");
        for address in [one, two] {
            for _ in 0..10 {
                assert_eq!(crate::process::get(address, "/").1, PAGE, "{driver}");
            }
        }
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(PAGE), "{driver}");
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0), "{driver}");
        // The sockets are those of the manager.
        assert!(path.exists());
        drop(std::net::TcpStream::connect(one).unwrap());
        drop(UnixStream::connect(&path).unwrap());
    }
}

/// By name and by number, in a file and on the command line.
#[test]
fn sockets_are_claimed_by_name_and_number() {
    let text = "[[listen]]\naddress = [\"fd:web\", \"fd:5\"]\n[[site]]\nroot = \"html\"\n";
    let mut manager = Manager::new(text);
    let web = [manager.keep_tcp("web"), manager.keep_tcp("web")];
    let other = manager.keep_tcp("admin");
    let server = Server::start(&mut manager.command(&["-c", "ringd.toml"]));
    for address in web {
        assert_eq!(crate::process::get(address, "/").1, PAGE);
    }
    assert_eq!(crate::process::get(other, "/").1, PAGE);
    // A reload keeps them.
    server.signal(libc::SIGHUP);
    assert!(server.error_line().contains("reloaded "));
    assert_eq!(crate::process::get(web[0], "/").1, PAGE);
    drop(server);
    let server =
        Server::start(&mut manager.command(&["html", "--listen", "fd:web", "--listen", "fd:5"]));
    assert_eq!(server.addresses().len(), 3, "{}", server.line);
    assert_serves(&server);
}

#[test]
fn a_wrong_socket_is_named() {
    let mut manager = Manager::new("");
    manager.keep_tcp("web");
    let end = end_of(&mut manager.command(&["html", "--listen", "127.0.0.1:0"]));
    end.assert_failed(1, &["3 (web, at 127.0.0.1:", "no place to listen", "fd:NAME"]);
    let end = end_of(&mut manager.command(&["html", "--listen", "fd:web", "--listen", "fd:x"]));
    end.assert_failed(1, &["fd:x", "no listening socket of this name", "FileDescriptorName="]);
    let end = end_of(&mut manager.command(&["html", "--listen", "fd:web", "--listen", "fd:3"]));
    end.assert_failed(1, &["fd:3 is the socket at 127.0.0.1:", "leave out one of the two"]);
    let end = end_of(&mut with(&["html", "--listen", "fd:web"]));
    end.assert_failed(1, &["fd:web", "no listening socket of this name"]);
    manager.keep("log", UdpSocket::bind("127.0.0.1:0").unwrap());
    let end = end_of(&mut manager.command(&["html"]));
    end.assert_failed(1, &["descriptor 4 (log)", "no stream socket", "ListenStream="]);
}

/// Variables that are for another process mean nothing.
#[test]
fn sockets_of_another_process_are_left_alone() {
    let mut command = with(&["html"]);
    let folder = Folder::new("");
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").current_dir(folder.path(""));
    assert_serves(&Server::start(&mut command));
}

/// As `systemctl restart` does with a socket unit: clients wait in the queue, and nobody is
/// refused.
#[test]
fn restarts_refuse_nobody() {
    let count = std::env::var("RINGD_RESTARTS").map_or(5, |count| count.parse().unwrap());
    let mut manager = Manager::new("");
    let address = manager.keep_tcp("web");
    fs::write(manager.folder.path("html").join("large"), large()).unwrap();
    let kinds: Vec<&str> = drivers().collect();
    let start = |number: usize| {
        let driver = kinds[number % kinds.len()];
        Server::start(&mut manager.command(&["html", "--driver", driver, "--workers", "2"]))
    };
    let mut server = start(0);
    let load = Load::start(address);
    for number in 1..=count {
        load.assert_goes_on();
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        server = start(number);
    }
    load.assert_goes_on();
    let report = load.end();
    println!("{count} restarts: {report}");
    assert_eq!(report.errors, Vec::<String>::new(), "{report}");
}

/// A service manager that listens.
struct Messages {
    _folder: tempfile::TempDir,
    socket: UnixDatagram,
    address: OsString,
}

impl Messages {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        Self::of(UnixDatagram::bind(&path).unwrap(), folder, path.into())
    }

    /// At an address that is no file.
    fn abstract_one() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("ringd-test{}", folder.path().display());
        let address = unix::SocketAddr::from_abstract_name(&name).unwrap();
        Self::of(UnixDatagram::bind_addr(&address).unwrap(), folder, format!("@{name}").into())
    }

    fn of(socket: UnixDatagram, folder: tempfile::TempDir, address: OsString) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { _folder: folder, socket, address }
    }

    fn hold<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.address)
    }

    /// The next message that contains a text.
    #[track_caller]
    fn with(&self, text: &str) -> String {
        let (begin, mut seen) = (Instant::now(), Vec::new());
        while begin.elapsed() < Duration::from_secs(30) {
            let mut buffer = [0; 4096];
            let count = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {text:?} after {seen:?}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if message.contains(text) {
                return message;
            }
            seen.push(message);
        }
        panic!("no {text:?} in {seen:?}");
    }
}

#[test]
fn the_manager_is_told() {
    let messages = Messages::new();
    let folder = Folder::new(crate::configured::BASE);
    let mut command = folder.command();
    let server = Server::start(messages.hold(&mut command).env("WATCHDOG_USEC", "200000"));
    let ready = messages.with("READY=1\n");
    assert!(ready.contains("STATUS=serving; ") && ready.contains("0 connections\n"), "{ready}");
    messages.with("WATCHDOG=1\n");
    messages.with("WATCHDOG=1\n");
    server.signal(libc::SIGHUP);
    let reloading = messages.with("RELOADING=1\n");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(messages.with("READY=1\n").contains("STATUS=reloaded "));
    folder.write("");
    server.signal(libc::SIGHUP);
    messages.with("RELOADING=1\n");
    assert!(messages.with("READY=1\n").contains("STATUS=not reloaded"));
    // A download that is not read keeps the drain from ending.
    let mut client = crate::process::ask(server.address(), "/");
    client.read_exact(&mut [0]).unwrap();
    server.signal(libc::SIGTERM);
    let stopping = messages.with("STOPPING=1\n");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    drop(client);
    assert_eq!(server.end().code, Some(0));
}

/// The socket of the manager is connected before the sandbox, which denies connecting.
#[test]
fn the_manager_is_told_from_a_sandbox() {
    for messages in [Messages::new(), Messages::abstract_one()] {
        let site = site();
        let mut command = with(&["--sandbox", "auto"]);
        let server = Server::start(messages.hold(command.arg(site.path())));
        messages.with("READY=1\n");
        server.signal(libc::SIGTERM);
        messages.with("STOPPING=1\n");
        assert_eq!(server.end().code, Some(0));
    }
}

#[test]
fn a_manager_that_cannot_be_told_is_noted_once() {
    let messages = Messages::new();
    fs::remove_file(&messages.address).unwrap();
    for (address, cause) in [
        (&*messages.address, "No such file"),
        (OsStr::new("@ringd-test-nobody"), "refused"),
        (OsStr::new("vsock:2:1"), "neither a path nor @NAME"),
    ] {
        let site = site();
        let server = Server::start(with(&[]).arg(site.path()).env("NOTIFY_SOCKET", address));
        let note = server.error_line();
        for word in ["NOTIFY_SOCKET: ", cause, "Type=exec"] {
            assert!(note.contains(word), "no {word:?} in: {note}");
        }
        assert_serves(&server);
    }
}
