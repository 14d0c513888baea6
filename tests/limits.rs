//! Bounds of the server as clients meet them, on every driver that works here.

mod support_process;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use support_process::{Server, ask, assert_serves, ringd, site, uring_works};

const DRIVERS: [&str; 3] = ["uring", "epoll", "epoll-lt"];

/// Runs `test` on a server of one worker with room for this many connections.
fn with_room_for(connections: &str, test: impl Fn(&str, Server)) {
    let site = site();
    for driver in DRIVERS.into_iter().filter(|driver| *driver != "uring" || uring_works()) {
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--driver", driver, "--max-connections", connections]);
        test(driver, Server::start(&mut command));
    }
}

/// Connects `count` clients that say nothing.
fn silent_clients(server: &Server, count: usize) -> Vec<TcpStream> {
    let address = server.address();
    let clients = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The kernel connects before the server accepts.
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
        assert_eq!(kind, Err(ErrorKind::WouldBlock), "{driver}: there is no room for it");
        drop(clients);
        waiting.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(waiting.read(&mut [0; 15]).unwrap(), 15, "{driver}");
        assert_serves(&server);
    });
}

#[test]
fn a_full_server_without_work_rests() {
    with_room_for("4", |driver, server| {
        let _clients = silent_clients(&server, 4);
        let before = server.cpu_ticks();
        thread::sleep(Duration::from_secs(1));
        let used = server.cpu_ticks() - before;
        assert!(used < 20, "{driver}: {used} of 100 ticks");
    });
}
