//! Take-overs: a new process takes the place of a server that runs. No client notices.
//!
//! `RINGD_TAKE_OVERS` is the number of take-overs under load.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::common::ports::free_address;
use crate::configured::Folder;
use crate::jail::is_root;
use crate::process::{Server, assert_serves, drivers, end_of, has_sandbox, public_copy};
use crate::take_over_load::{LARGE_BYTES, Load, large};

/// A server at one port and one Unix socket.
struct Place {
    folder: Folder,
    address: SocketAddr,
}

impl Place {
    fn new() -> Self {
        let address = free_address();
        let folder = Folder::new("");
        folder.write(&format!(
            "[[listen]]\naddress = [\"{address}\", \"unix:{}\"]\n[admin]\nlisten = \"unix:{}\"\n\
             [[site]]\nroot = \"html\"\n",
            folder.path("site.sock").display(),
            folder.path("admin.sock").display(),
        ));
        fs::write(folder.path("html").join("large"), large()).unwrap();
        Self { folder, address }
    }

    fn command(&self, driver: &str, workers: usize) -> Command {
        let mut command = self.folder.command();
        command.args(["--driver", driver, "--workers", &workers.to_string()]);
        command
    }

    fn start(&self, driver: &str, workers: usize) -> Server {
        Server::start(&mut self.command(driver, workers))
    }

    /// Starts a server that takes over.
    fn take_over(&self, driver: &str, workers: usize) -> Server {
        Server::start(self.command(driver, workers).arg("--take-over"))
    }

    fn admin(&self) -> UnixStream {
        UnixStream::connect(self.folder.path("admin.sock")).unwrap()
    }

    /// Asserts that the server answers by TCP, by its Unix socket, and by its administration.
    #[track_caller]
    fn assert_answers(&self) {
        let (head, body) = crate::process::get(self.address, "/large");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body.len(), LARGE_BYTES);
        for (socket, path) in [("site.sock", "/"), ("admin.sock", "/readyz")] {
            let mut stream = UnixStream::connect(self.folder.path(socket)).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{socket}: {answer}");
        }
    }
}

/// Drains without an error.
fn assert_is_over(server: Server) {
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    end.assert_names(&["another process has taken over"]);
}

/// Worker counts and drivers differ from one server to the next, while clients of all kinds come.
#[test]
fn take_overs_lose_nothing() {
    let place = Place::new();
    let kinds: Vec<&str> = drivers().collect();
    let count = std::env::var("RINGD_TAKE_OVERS").map_or(kinds.len(), |it| it.parse().unwrap());
    let mut server = place.start(kinds[0], 1);
    let load = Load::start(place.address);
    for number in 1..=count {
        // 1, 4, 2, and again; the same driver follows itself, too.
        let workers = [1, 4, 2][number % 3];
        let next = place.take_over(kinds[(number / 2) % kinds.len()], workers);
        let old = std::mem::replace(&mut server, next);
        assert_is_over(old);
        load.assert_goes_on();
    }
    let report = load.end();
    println!("{count} take-overs: {report}");
    assert_eq!(report.errors, Vec::<String>::new(), "{report}");
    place.assert_answers();
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code, Some(0));
    assert!(!place.folder.path("site.sock").exists(), "the last server removes its files");
    assert!(!place.folder.path("admin.sock").exists());
}

/// A third server may come while the first one still drains. The end of the first must not make the
/// second believe that the sockets are its own.
#[test]
fn take_overs_may_overlap() {
    for driver in drivers() {
        let place = Place::new();
        let first = place.start(driver, 2);
        let mut slow = crate::process::ask(place.address, "/large");
        slow.read_exact(&mut [0; 1000]).unwrap();
        let second = place.take_over(driver, 2);
        let mut slow_too = crate::process::ask(place.address, "/large");
        let begun = slow_too.read_exact(&mut [0; 1000]);
        begun.unwrap_or_else(|error| panic!("{driver}, the second server: {error}"));
        let load = Load::start(place.address);
        let third = place.take_over(driver, 4);
        for (slow, old) in [(slow, first), (slow_too, second)] {
            let mut slow = slow;
            let mut rest = Vec::new();
            slow.read_to_end(&mut rest).unwrap();
            assert!(rest.len() > LARGE_BYTES - 1000, "{driver}: {}", rest.len());
            assert_is_over(old);
            load.assert_goes_on();
            place.assert_answers();
        }
        let report = load.end();
        assert_eq!(report.errors, Vec::<String>::new(), "{driver}: {report}");
        third.signal(libc::SIGTERM);
        assert_eq!(third.end().code, Some(0));
        assert!(TcpStream::connect(place.address).is_err(), "{driver}: nobody listens");
    }
}

/// What the new file does not name is closed with the old server, as in any drain, and what is new
/// is bound.
#[test]
fn addresses_may_change_with_a_take_over() {
    let place = Place::new();
    let old = place.start("epoll", 2);
    let (kept, new) = (place.address, free_address());
    let admin = place.folder.path("admin.sock");
    place.folder.write(&format!(
        "[[listen]]\naddress = [\"{new}\", \"{kept}\"]\n[admin]\nlisten = \"unix:{}\"\n[[site]]\n\
         root = \"html\"\n",
        admin.display()
    ));
    let server = place.take_over("epoll", 2);
    assert_eq!(server.addresses(), [new, kept]);
    assert_serves(&server);
    assert_is_over(old);
    assert!(!place.folder.path("site.sock").exists(), "nobody listens there");
    assert_serves(&server);
}

/// A server that has given up its user and most system calls can pass its sockets on, and one that
/// takes over does so after it has got them.
#[test]
fn confined_servers_are_taken_over() {
    for driver in drivers() {
        let place = Place::new();
        // The user of the server makes and removes sockets there.
        fs::set_permissions(place.folder.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let start = |command: &mut Command| {
            if !has_sandbox() {
                command.args(["--sandbox", "auto"]);
            }
            if is_root() {
                command.args(["--user", "nobody"]);
            }
            Server::start(command)
        };
        let first = start(&mut place.command(driver, 1));
        let second = start(place.command(driver, 3).arg("--take-over"));
        assert_is_over(first);
        place.assert_answers();
        let third = start(place.command(driver, 2).arg("--take-over"));
        assert_is_over(second);
        place.assert_answers();
        third.signal(libc::SIGTERM);
        assert_eq!(third.end().code, Some(0), "{driver}");
        assert!(!place.folder.path("admin.sock").exists(), "{driver}");
        assert!(!place.folder.path("site.sock").exists(), "{driver}");
    }
}

#[test]
fn a_take_over_needs_a_server() {
    let place = Place::new();
    let end = end_of(place.command("epoll", 1).arg("--take-over"));
    end.assert_failed(1, &["--take-over", "admin.sock", "no server runs", "without --take-over"]);
    let address = place.address;
    let text = format!("[[listen]]\naddress = \"{address}\"\n[[site]]\nroot = \"html\"\n");
    place.folder.write(&text);
    let end = end_of(place.command("epoll", 1).arg("--take-over"));
    end.assert_failed(1, &["--take-over", "no Unix socket in [admin]", "admin.sock"]);
    let end = end_of(crate::process::ringd().arg("--take-over"));
    end.assert_names(&["--config"]);
}

/// The socket of the administration belongs to its user. If its rights are changed, the server asks
/// the kernel who the other process is.
#[test]
fn another_user_cannot_take_over() {
    if !is_root() {
        return println!("skipped: only root can start a process of another user");
    }
    let place = Place::new();
    let server = place.start("epoll", 1);
    let (_copy, binary) = public_copy();
    let try_as_nobody = || {
        let mut command = Command::new(&binary);
        command.arg("-c").arg(place.folder.path("ringd.toml")).arg("--take-over");
        end_of(command.uid(65_534).gid(65_534))
    };
    try_as_nobody().assert_failed(1, &["--take-over", "Permission denied", "as root"]);
    let admin = place.folder.path("admin.sock");
    fs::set_permissions(admin, fs::Permissions::from_mode(0o666)).unwrap();
    try_as_nobody().assert_failed(1, &["--take-over", "only root and the user of the server"]);
    place.assert_answers();
    drop(server);
}

/// Then the old server goes on, and the next take-over succeeds.
#[test]
fn the_old_server_goes_on_if_the_new_one_ends() {
    for driver in drivers() {
        let place = Place::new();
        let server = place.start(driver, 2);
        let mut client = place.admin();
        client.write_all(b"POST /take-over HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 100]).unwrap();
        place.assert_answers();
        drop(client);
        let line = server.error_line();
        let words = ["failed", "it has ended before it served", "goes on"];
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
        place.assert_answers();
        // A file that a start refuses.
        let mut wrong = place.command(driver, 2);
        wrong.args(["--take-over", "--listen", "192.0.2.1:80"]);
        let end = end_of(&mut wrong);
        assert_eq!(end.code, Some(1), "{end:?}");
        let line = server.error_line();
        assert!(line.contains("it has ended before it served"), "{line}");
        place.assert_answers();
        let next = place.take_over(driver, 2);
        assert_is_over(server);
        place.assert_answers();
        drop(next);
    }
}

#[test]
fn one_takes_over_at_a_time() {
    let place = Place::new();
    let server = place.start("epoll", 1);
    let mut client = place.admin();
    client.write_all(b"POST /take-over HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    let end = end_of(place.command("epoll", 1).arg("--take-over"));
    end.assert_failed(1, &["another process is taking over"]);
    // A reload could change what the other process has just got.
    let end = place.folder.reload();
    end.assert_failed(1, &["another process is taking over, which has read the file itself"]);
    assert!(server.error_line().contains("another process is taking over"));
    drop(client);
    let line = server.error_line();
    assert!(line.contains("goes on"), "{line}");
    let end = place.folder.reload();
    assert_eq!(end.code, Some(0), "{end:?}");
    drop(server);
}

/// The new server has the sockets then, and serves.
#[test]
fn the_new_server_goes_on_if_the_old_one_ends() {
    let place = Place::new();
    let listener = TcpListener::bind(place.address).unwrap();
    let path = place.folder.path("admin.sock");
    let admin = UnixListener::bind(&path).unwrap();
    let address = place.address;
    let old = std::thread::spawn(move || {
        let (mut client, _) = admin.accept().unwrap();
        read_head(&mut client);
        let body = format!(
            "{{\"version\":2,\"program\":\"0\",\"endpoints\":[{{\"address\":{{\"tcp\":\
             \"{address}\"}},\"role\":\"clients\",\"name\":null,\"number\":null,\
             \"is_shared\":false,\"file\":null,\"sockets\":1}},{{\"address\":{{\"unix\":\
             \"unix:{}\"}},\"role\":\"administration\",\"name\":null,\"number\":null,\
             \"is_shared\":true,\"file\":null,\"sockets\":1}}]}}",
            path.display()
        );
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        client.write_all((head + &body).as_bytes()).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let sockets = [listener.as_fd(), admin.as_fd()];
        rights.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(&client, &[IoSlice::new(b"+")], &mut rights, SendFlags::empty()).unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        assert_eq!(line, b"serving\n");
    });
    let server = place.take_over("epoll", 1);
    old.join().unwrap();
    let line = server.error_line();
    assert!(line.contains("the old server has ended"), "{line}");
    place.assert_answers();
    drop(server);
}

/// A server of another version is not taken over.
#[test]
fn an_unknown_manifest_is_refused() {
    let place = Place::new();
    let admin = UnixListener::bind(place.folder.path("admin.sock")).unwrap();
    let old = std::thread::spawn(move || {
        let (mut client, _) = admin.accept().unwrap();
        read_head(&mut client);
        let body = "{\"version\":7,\"program\":\"9.9\",\"endpoints\":[]}";
        write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
    });
    let end = end_of(place.command("epoll", 1).arg("--take-over"));
    end.assert_failed(1, &["ringd 9.9", "in another way", "stop it"]);
    old.join().unwrap();
}

fn read_head(client: &mut UnixStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"POST /take-over "));
}

/// What waits in the queue of the old server when it drains is answered by the new one.
#[test]
fn what_waits_in_a_queue_is_answered() {
    for driver in drivers() {
        let place = Place::new();
        let mut command = place.command(driver, 1);
        // Its table is full after the first connection, so the others wait.
        let old = Server::start(command.args(["--max-connections", "1"]));
        let mut first = TcpStream::connect(place.address).unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        first.read_exact(&mut [0; 10]).unwrap();
        let waiting: Vec<TcpStream> = (0..100)
            .map(|_| {
                let mut client = TcpStream::connect(place.address).unwrap();
                let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                client.write_all(request).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                client
            })
            .collect();
        let server = place.take_over(driver, 4);
        for mut client in waiting {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{driver}: {answer:?}");
        }
        drop(first);
        assert_is_over(old);
        drop(server);
    }
}
