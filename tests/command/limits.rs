//! Bounds of the server, on every driver that works on this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::process::{Server, ask, assert_serves, kinds, ringd, site};
use ringd::driver::DriverKind;

/// Runs `test` on a server with one worker and room for this many connections.
fn with_room_for(connections: &str, test: impl Fn(DriverKind, Server)) {
    let site = site();
    for driver in kinds() {
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--driver", driver.name(), "--max-connections", connections]);
        test(driver, Server::start(&mut command));
    }
}

/// If the descriptor table grows while threads share it, a thread waits for milliseconds.
#[test]
fn the_descriptor_table_has_its_size_from_the_start() {
    with_room_for("600", |driver, server| {
        let entries: usize = server.status("FDSize").parse().unwrap();
        assert!(entries >= 600, "{driver}: {entries} entries");
    });
}

/// Connects `count` clients that send nothing.
fn silent_clients(server: &Server, count: usize) -> Vec<TcpStream> {
    let address = server.address();
    let clients = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The kernel completes the connects before the server accepts.
    thread::sleep(Duration::from_millis(200));
    clients
}

#[test]
fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
    with_room_for("4", |driver, server| {
        let clients = silent_clients(&server, 4);
        let mut waiting = ask(server.address(), "/");
        waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let answer = waiting.read(&mut [0; 1]);
        let kind = answer.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::WouldBlock), "{driver}: the connection waits");
        drop(clients);
        waiting.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(waiting.read(&mut [0; 15]).unwrap(), 15, "{driver}");
        assert_serves(&server);
    });
}

#[test]
fn a_full_idle_server_does_not_spin() {
    with_room_for("4", |driver, server| {
        if driver == DriverKind::Spin {
            return println!("skipped: {driver} polls all the time by design");
        }
        let _clients = silent_clients(&server, 4);
        let before = server.cpu_ticks();
        thread::sleep(Duration::from_secs(1));
        let used = server.cpu_ticks() - before;
        assert!(used < 20, "{driver}: {used} of 100 ticks");
    });
}

/// A cached file holds a descriptor number that a connection may need.
#[test]
fn cached_files_leave_room_for_connections_on_select() {
    let site = site();
    for number in 0..1100 {
        std::fs::write(site.path().join(format!("{number}.bin")), [7; 10_000]).unwrap();
    }
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--driver", "select"]);
    let server = Server::start(&mut command);
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for number in 0..1100 {
        let request = format!("HEAD /{number}.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 4096];
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "the server still answers");
            answer.extend_from_slice(&buffer[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{number}");
    }
    assert_serves(&server);
}

/// Input that arrived in time is answered, however long the process was stopped.
#[test]
fn a_server_that_was_stopped_answers_what_came_meanwhile() {
    let site = site();
    let ask = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let is_answered = |client: &mut TcpStream| {
        let mut start = [0; 15];
        client.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200 OK"
    };
    thread::scope(|scope| {
        for driver in kinds() {
            let site = &site;
            scope.spawn(move || {
                let mut command = ringd();
                command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
                command.args(["--driver", driver.name(), "--idle-timeout", "2s"]);
                let server = Server::start(command.args(["--header-timeout", "2s"]));
                let connect = || {
                    let client = TcpStream::connect(server.address()).unwrap();
                    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    client
                };
                let (mut idle, mut half) = (connect(), connect());
                idle.write_all(ask.as_bytes()).unwrap();
                assert!(is_answered(&mut idle), "{driver}");
                // The rest of the page.
                assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
                half.write_all(&ask.as_bytes()[..10]).unwrap();
                thread::sleep(Duration::from_millis(300));
                server.signal(libc::SIGSTOP);
                thread::sleep(Duration::from_millis(100));
                idle.write_all(ask.as_bytes()).unwrap();
                half.write_all(&ask.as_bytes()[10..]).unwrap();
                thread::sleep(Duration::from_millis(2500));
                server.signal(libc::SIGCONT);
                assert!(is_answered(&mut half), "{driver}: half a request");
                assert!(is_answered(&mut idle), "{driver}: an idle connection");
            });
        }
    });
}
