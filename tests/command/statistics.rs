//! The line of statistics that a running server prints on SIGUSR1.

use std::collections::HashMap;
use std::net::TcpStream;

use crate::common::eventually;
use crate::process::{Server, assert_serves, drivers, get, ringd, site, with};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Requests the line, and parses it: `name value` between commas.
fn ask(server: &Server) -> HashMap<String, u64> {
    server.signal(libc::SIGUSR1);
    let line = server.error_line();
    let parts = line.strip_prefix("ringd: ").expect("a line from the server").split([',', ';']);
    let figure = |part: &str| {
        let part = part.trim().trim_start_matches("driver: ").trim_start_matches("cache: ");
        let (name, value) = part.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    parts.map(figure).collect()
}

/// Repeats the request until `holds`, because a worker publishes at the end of its turn.
fn ask_until(server: &Server, what: &str, holds: impl Fn(&HashMap<String, u64>) -> bool) {
    let mut figures = HashMap::new();
    for _ in 0..200 {
        figures = ask(server);
        if holds(&figures) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what}: {figures:?}");
}

#[test]
fn a_signal_prints_the_statistics() {
    for driver in drivers() {
        let site = site();
        let root = site.path().to_str().unwrap();
        let server = Server::start(&mut with(&[root, "--driver", driver, "--workers", "1"]));
        let nothing = ask(&server);
        assert_eq!((nothing["connections"], nothing["entries"], nothing["hits"]), (0, 0, 0));
        let open = TcpStream::connect(server.address()).unwrap();
        for _ in 0..5 {
            assert_serves(&server);
        }
        ask_until(&server, "everything is counted", |figures| {
            let asked = figures["hits"] + figures["misses"] + figures["revalidated"];
            let cache = (figures["entries"], figures["misses"], figures["evicted"]);
            (figures["connections"], asked, cache) == (1, 5, (1, 1, 0))
                && figures["bytes"] > 0
                && figures["files"] == 0
                && figures["system calls"] > 0
                && figures["completions"] > 10
        });
        drop(open);
        // During a drain, statistics are printed too, and stop nothing.
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
    }
}

/// Changes are counted with a watch, and not without one.
#[test]
fn changes_are_counted() {
    let site = site();
    let root = site.path().to_str().unwrap();
    let options = [root, "--workers", "1", "--revalidate", "1h"];
    let server = Server::start(&mut with(&options));
    (0..2).for_each(|_| assert_serves(&server));
    let instance = inotify::init(CreateFlags::CLOEXEC);
    if !instance.is_ok_and(|one| inotify::add_watch(&one, root, WatchFlags::MODIFY).is_ok()) {
        println!("skipped: inotify is not available (fs.inotify in proc(5))");
        return;
    }
    assert!(ask(&server)["watched directories"] > 0);
    // A change before that is not reported.
    eventually("the directory is watched", || server.watches_any());
    let before = ask(&server)["changed"];
    std::fs::write(site.path().join("index.html"), "changed").unwrap();
    ask_until(&server, "the change is counted", |figures| {
        get(server.address(), "/");
        figures["changed"] > before
    });
    let (_, body) = get(server.address(), "/");
    assert_eq!(body, b"changed");
    drop(server);
    let server = Server::start(&mut with(&[&options[..], &["--no-watch"]].concat()));
    get(server.address(), "/");
    std::fs::write(site.path().join("index.html"), "changed again").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (_, body) = get(server.address(), "/");
    assert_eq!(body, b"changed");
    let figures = ask(&server);
    assert_eq!((figures["watched directories"], figures["changed"]), (0, 0));
}

/// It has no cache, but it has connections and a driver.
#[test]
fn an_echo_server_has_statistics() {
    let server = Server::start(ringd().args(["echo", "--listen", "127.0.0.1:0"]));
    let figures = ask(&server);
    assert_eq!((figures["connections"], figures["entries"]), (0, 0));
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code, Some(0));
}
