//! `ringd health`, and what it asks: whether all workers respond.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::common::eventually;
use crate::common::ports::free_address;
use crate::configured::{BASE, Folder};
use crate::observed::{Place, assert_refused, observed};
use crate::process::{End, Server, assert_serves, drivers, end_of, ringd, site, with};
use crate::tracer::StoppedThread;

/// Runs `ringd health` for a place.
fn health(place: &str) -> End {
    end_of(ringd().args(["health", place]))
}

/// Asks until the answer is that all workers respond. On a busy machine, a worker may take longer
/// than the server waits for it.
#[track_caller]
fn assert_healthy(ask: impl Fn() -> End) {
    let mut end = ask();
    eventually("all workers respond", || {
        let is_late = end.code == Some(1) && end.errors.contains("not respond");
        if is_late {
            end = ask();
        }
        !is_late
    });
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{end:?}");
    assert_eq!(end.output.trim_end(), "ringd: all workers respond");
}

#[test]
fn a_server_whose_workers_respond_is_healthy() {
    for driver in drivers() {
        let (site, folder) = (site(), tempfile::tempdir().unwrap());
        let socket = format!("unix:{}", folder.path().join("admin.sock").display());
        let more = ["--admin", &*socket];
        let server = Server::start(&mut observed(site.path(), driver, &more));
        let places = Place::all(&server);
        assert_eq!(places.len(), 2, "{}", server.line);
        for place in places {
            assert_healthy(|| health(&place.text()));
        }
        // A path may be relative to the current directory.
        assert_healthy(|| end_of(ringd().args(["health", "unix:admin.sock"]).current_dir(&folder)));
        assert_serves(&server);
    }
}

#[test]
fn the_address_may_come_from_the_file_of_the_server() {
    let text = BASE.replace("\"unix:admin.sock\"", "[\"unix:admin.sock\", \"127.0.0.1:0\"]");
    let folder = Folder::new(&text);
    let health = || end_of(ringd().args(["health", "-c"]).arg(folder.path("ringd.toml")));
    health().assert_failed(1, &["cannot connect to", "no server runs with this administration"]);
    let server = Server::start(&mut folder.command());
    assert_healthy(health);
    folder.write(&BASE.replace("[admin]\nlisten = \"unix:admin.sock\"\n", ""));
    health().assert_failed(1, &["ringd.toml has no [admin]", "127.0.0.1:7899", "restart"]);
    folder.write("workers");
    let end = health();
    assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{end:?}");
    end.assert_names(&["ringd.toml:1:", "1 problem"]);
    assert_serves(&server);
}

#[test]
fn where_nobody_listens_nobody_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    for place in [free_address().to_string(), socket] {
        let told = format!("cannot connect to {place}");
        let words = [&*told, "no server runs with this administration", "--admin"];
        health(&place).assert_failed(1, &words);
    }
}

/// The answer of another program is not taken for one of the administration, whatever its status.
#[test]
fn another_program_is_not_healthy() {
    let words = ["gives no answer of an administration", "check --admin and [admin]"];
    for answer in [
        &b""[..],
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let stranger = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            request[..count].starts_with(b"GET /healthz HTTP/1.1\r\n")
        });
        health(&place).assert_failed(1, &words);
        assert!(stranger.join().unwrap());
    }
    // The site of a server, which has a page for every path.
    let site = site();
    let server = Server::start(&mut with(&[site.path().to_str().unwrap(), "--spa"]));
    health(&server.address().to_string()).assert_failed(1, &words);
    // A program that accepts and says nothing is given up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap().to_string();
    health(&place).assert_failed(1, &["does not answer: it has taken more than 5s", "see its"]);
}

#[test]
fn a_wrong_command_line_is_no_answer() {
    for (arguments, words) in [
        (&["health"][..], &["ADDRESS"][..]),
        (&["health", "127.0.0.1"], &["127.0.0.1", "the port is missing"]),
        (&["health", "unix:@name"], &["unix:@name", "it must be a path"]),
        (&["health", "127.0.0.1:1", "-c", "ringd.toml"], &["cannot be used with"]),
        (&["health", "127.0.0.1:1", "127.0.0.1:2"], &["127.0.0.1:2"]),
        (&["health", "--wait"], &["--wait"]),
    ] {
        assert_refused(arguments, words);
    }
}

/// One thread hangs. The administration says which, and goes on itself.
#[test]
fn a_worker_that_hangs_is_named() {
    for driver in drivers() {
        let site = site();
        let root = site.path().to_str().unwrap();
        let mut command = with(&[root, "--driver", driver, "--workers", "2"]);
        let server = Server::start(command.args(["--admin", "127.0.0.1:0"]));
        let place = Place::of(&server);
        assert_healthy(|| health(&place.text()));
        let Some(stopped) = StoppedThread::stop(&server, "worker-1") else { return };
        // The other one may be late on a busy machine.
        let mut reply = place.ask("GET /healthz", "");
        eventually("one worker does not respond", || {
            let is_late = reply.body == "workers 0, 1 do not respond\n";
            if is_late {
                reply = place.ask("GET /healthz", "");
            }
            !is_late
        });
        assert_eq!(reply.status, "503 Service Unavailable", "{driver}: {}", reply.body);
        assert_eq!(reply.body, "worker 1 does not respond\n", "{driver}");
        let end = health(&place.text());
        end.assert_failed(1, &["ringd: worker", "not respond"]);
        assert_eq!(place.metrics().value("ringd_workers"), 2.0);
        assert_eq!(place.status()["ready"], true);
        assert_eq!(place.get("/readyz").body, "ready\n");
        drop(stopped);
        eventually("the worker responds again", || {
            place.ask("GET /healthz", "").status == "200 OK"
        });
        assert_healthy(|| health(&place.text()));
        assert_serves(&server);
    }
}
