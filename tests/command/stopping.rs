//! How the command ends: signals, drains, and what is left behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::ports::{KeptPort, free_address};
use crate::common::{WAIT_MAX, eventually};
use crate::process::{Server, ask, assert_serves, drivers, site, with};
use crate::unread::assert_serves_at;

/// More than socket buffers hold, so the server cannot finish before its client reads.
pub(crate) const LARGE_BYTES: u64 = 64 << 20;

/// The signals that an operator stops a server with.
const STOP: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// A server with a large file, and a client that has requested it.
pub(crate) fn busy_server(driver: &str) -> (tempfile::TempDir, Server, TcpStream) {
    busy_server_with(driver, &["--drain-timeout", "60s"])
}

/// The same, with these options.
fn busy_server_with(driver: &str, options: &[&str]) -> (tempfile::TempDir, Server, TcpStream) {
    let site = site();
    let large = std::fs::File::create(site.path().join("large")).unwrap();
    large.set_len(LARGE_BYTES).unwrap();
    let root = site.path().to_str().unwrap();
    let mut command = with(&[&[root, "--driver", driver], options].concat());
    let server = Server::start(&mut command);
    let mut client = ask(server.address(), "/large");
    let mut status = [0; 15];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    (site, server, client)
}

#[test]
fn a_signal_lets_the_open_request_finish() {
    for driver in drivers() {
        for signal in STOP {
            let port = KeptPort::new();
            let address = port.address();
            let listen = ["--drain-timeout", "60s", "--listen", &address.to_string()];
            let (_site, server, mut client) = busy_server_with(driver, &listen);
            server.signal(signal);
            let says = server.error_line();
            assert!(says.contains("finishing open connections"), "{says}");
            assert_refuses(address);
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            assert_eq!((rest.len() - end) as u64, LARGE_BYTES, "{driver}");
            let end = server.end();
            assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{driver}: {end:?}");
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for driver in drivers() {
        for signal in STOP {
            let (_site, mut server, client) = busy_server(driver);
            server.signal(signal);
            server.error_line();
            thread::sleep(Duration::from_millis(300));
            assert!(server.is_running(), "{driver}: the server waits for its client");
            let second = Instant::now();
            server.signal(signal);
            let end = server.end();
            assert_eq!(end.code, Some(128 + signal), "{driver}: {end:?}");
            // Much less than the drain timeout.
            assert!(second.elapsed() < Duration::from_secs(20), "{:?}", second.elapsed());
            drop(client);
        }
    }
}

#[test]
fn an_idle_client_does_not_keep_the_server() {
    let site = site();
    for driver in drivers() {
        let root = site.path().to_str().unwrap();
        let server = Server::start(&mut with(&[root, "--driver", driver]));
        let _idle = TcpStream::connect(server.address()).unwrap();
        assert_serves(&server);
        let begin = Instant::now();
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        assert!(begin.elapsed() < Duration::from_secs(5), "{driver}: {:?}", begin.elapsed());
    }
}

#[test]
fn the_drain_timeout_ends_a_stuck_client() {
    for driver in drivers() {
        let (_site, server, _stuck) = busy_server_with(driver, &["--drain-timeout", "500ms"]);
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        let told = end.errors.lines().last();
        let line = "ringd: --drain-timeout is over: 1 connection was cut off";
        assert_eq!(told, Some(line), "{driver}: {end:?}");
    }
}

/// A download and half a request are cut off. A client that has requested nothing loses nothing.
#[test]
fn only_connections_with_a_request_in_progress_are_cut_off() {
    for driver in drivers() {
        let (_site, server, _download) = busy_server_with(driver, &["--drain-timeout", "0s"]);
        let _idle = TcpStream::connect(server.address()).unwrap();
        // The first answer shows that the bytes of the same write have arrived.
        let mut half = TcpStream::connect(server.address()).unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT").unwrap();
        half.read_exact(&mut [0; 15]).unwrap();
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        let told = end.errors.lines().last();
        let line = "ringd: --drain-timeout is over: 2 connections were cut off";
        assert_eq!(told, Some(line), "{driver}: {end:?}");
    }
}

/// A stream that cannot be written to, like a log on a full disk.
fn full() -> std::fs::File {
    std::fs::File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_signal_works_if_standard_error_cannot_be_written() {
    let site = site();
    let mut child = with(&[site.path().to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(full())
        .spawn()
        .unwrap();
    let mut line = [0; 15];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ringd: serving ");
    crate::jail::kill(child.id(), libc::SIGTERM);
    let begin = Instant::now();
    let mut ended = None;
    while ended.is_none() && begin.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(10));
        ended = child.try_wait().unwrap();
    }
    // Fails only if the child has already ended.
    let _ = child.kill();
    assert_eq!(child.wait().unwrap().code(), Some(0), "the child ended by itself");
}

#[test]
fn a_server_serves_if_standard_output_cannot_be_written() {
    let site = site();
    let address = free_address();
    let mut child = with(&[site.path().to_str().unwrap(), "--listen", &address.to_string()])
        .stdout(full())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert_serves_at(address);
    let runs = child.try_wait().unwrap();
    // Fails only if the child has already ended.
    let _ = child.kill();
    child.wait().unwrap();
    assert_eq!(runs, None);
}

/// Waits until connections are refused.
pub(crate) fn assert_refuses(address: SocketAddr) {
    let begin = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begin.elapsed() < WAIT_MAX, "{address} still listens");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until nobody listens on a Unix socket whose server was killed: after the end of a process,
/// the kernel takes a moment to let go what the ops of io_uring held.
pub(crate) fn assert_let_go(path: &Path) {
    eventually("the killed server listens no more", || UnixStream::connect(path).is_err());
}

/// The process is stopped for longer than its timeouts while hundreds of clients send a request.
/// All requests are in time.
#[test]
fn a_stopped_process_serves_requests_that_came_in_time() {
    const CLIENTS: usize = 400;
    for driver in drivers() {
        let site = site();
        let root = site.path().to_str().unwrap();
        let timeouts = ["--idle-timeout", "1s", "--header-timeout", "1s", "--workers", "1"];
        let server = Server::start(with(&[root, "--driver", driver]).args(timeouts));
        let mut clients: Vec<TcpStream> =
            (0..CLIENTS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        // The accepted connections have deadlines, which pass while the process is stopped.
        assert_serves(&server);
        server.signal(libc::SIGSTOP);
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        }
        thread::sleep(Duration::from_millis(2500));
        server.signal(libc::SIGCONT);
        let mut served = 0;
        for client in &mut clients {
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut status = [0; 12];
            let is_served = client.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200";
            served += usize::from(is_served);
        }
        assert_eq!(served, CLIENTS, "{driver}");
        drop(clients);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0), "{driver}");
    }
}
