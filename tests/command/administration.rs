//! The administration: what it answers at its paths, whom it lets wait, and how it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::common::eventually;
use crate::configured::{BASE, Folder, assert_hangup_says};
use crate::observed::{Client, Metrics, Place, assert_no_start, observed};
use crate::process::{Server, ask, assert_serves, drivers, site};
use crate::stopping::LARGE_BYTES;

/// The place that [`BASE`] gives to the administration, and one for TCP.
const BOTH: &str = "[\"127.0.0.1:0\", \"unix:admin.sock\"]";

/// The most clients that are served at a time.
const CLIENTS_MAX: usize = 16;

/// A server without a file, with an administration at both kinds of places.
fn server_with_both(folder: &tempfile::TempDir, driver: &str) -> (tempfile::TempDir, Server) {
    let site = site();
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let server = Server::start(&mut observed(site.path(), driver, &["--admin", &socket]));
    (site, server)
}

#[test]
fn every_path_is_answered_at_every_place() {
    let folder = tempfile::tempdir().unwrap();
    let (_site, server) = server_with_both(&folder, "auto");
    let places = Place::all(&server);
    assert_eq!(places.len(), 2, "{}", server.line);
    for (path, media_type, words) in [
        ("/", "text/plain; charset=utf-8", "Requests per second"),
        ("/?x", "text/plain; charset=utf-8", "Requests per second"),
        ("http://localhost", "text/plain; charset=utf-8", "Requests per second"),
        ("/status.json", "application/json", "\"last_reload\": \"applied\""),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "\nringd_ready 1\n"),
        ("/healthz", "text/plain; charset=utf-8", "all workers respond\n"),
        ("/readyz", "text/plain; charset=utf-8", "ready\n"),
    ] {
        for place in &places {
            let reply = place.get(path);
            let field = format!("\r\nContent-Type: {media_type}\r\n");
            assert!(reply.head.contains(&field), "{path}: {}", reply.head);
            let length = format!("\r\nContent-Length: {}\r\n", reply.body.len());
            assert!(reply.head.contains(&length), "{path}: {}", reply.head);
            assert!(reply.head.contains("\r\nCache-Control: no-store\r\n"), "{}", reply.head);
            assert!(reply.body.contains(words), "{path}: {}", reply.body);
            let head = place.ask(&format!("HEAD {path}"), "");
            assert_eq!((head.status.as_str(), head.body.as_str()), ("200 OK", ""), "{path}");
            assert!(head.head.contains(&field), "{path}: {}", head.head);
        }
    }
    for (line, status, allowed) in [
        ("GET /missing", "404 Not Found", None),
        ("GET /status.json/", "404 Not Found", None),
        ("DELETE /missing", "404 Not Found", None),
        ("POST /metrics", "405 Method Not Allowed", Some("GET, HEAD")),
        ("OPTIONS /", "405 Method Not Allowed", Some("GET, HEAD")),
        ("get /readyz", "405 Method Not Allowed", Some("GET, HEAD")),
        ("GET /reload", "405 Method Not Allowed", Some("POST")),
        ("HEAD /reload", "405 Method Not Allowed", Some("POST")),
    ] {
        for place in &places {
            let reply = place.ask(line, "");
            assert_eq!(reply.status, status, "{line}");
            let allow = reply.head.lines().find_map(|line| line.strip_prefix("Allow: "));
            assert_eq!(allow, allowed, "{line}");
        }
    }
    assert_serves(&server);
}

/// Browsers name HTML among what they accept. Other clients get text.
#[test]
fn a_browser_gets_a_page_without_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let (_site, server) = server_with_both(&folder, "auto");
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let reply = Place::of(&server).ask("GET /", accept);
    assert!(reply.head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(reply.head.contains("\r\nContent-Security-Policy: default-src 'none'; "));
    assert!(reply.body.starts_with("<!doctype html>\n"), "{}", reply.body);
    assert!(reply.body.contains("<h2>Workers</h2>") && !reply.body.contains("<script"));
}

/// Whoever can reach a port may look, but not change anything.
#[test]
fn only_a_unix_socket_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let (_site, server) = server_with_both(&folder, "auto");
    let [tcp, unix] = &Place::all(&server)[..] else { panic!("{}", server.line) };
    let reply = tcp.ask("POST /reload", "");
    assert_eq!(reply.status, "403 Forbidden");
    assert!(reply.body.contains("only for the Unix socket"), "{}", reply.body);
    let reply = unix.ask("POST /reload", "");
    assert_eq!(reply.status, "409 Conflict");
    assert!(reply.body.contains("without a configuration file"), "{}", reply.body);

    let folder = Folder::new(&BASE.replace("\"unix:admin.sock\"", BOTH));
    let server = Server::start(&mut folder.command());
    let [tcp, unix] = &Place::all(&server)[..] else { panic!("{}", server.line) };
    assert_eq!(tcp.ask("POST /reload", "").status, "403 Forbidden");
    assert_eq!(tcp.metrics().value("ringd_config_generation"), 1.0);
    assert_eq!(unix.ask("POST /reload", "").status, "200 OK");
    assert_eq!(tcp.metrics().value("ringd_config_generation"), 2.0);
}

/// A web page may give a name of its own the address of this machine, and let a browser ask.
#[test]
fn a_foreign_name_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_site, server) = server_with_both(&folder, "auto");
    let [tcp, unix] = &Place::all(&server)[..] else { panic!("{}", server.line) };
    let request = b"GET /status.json HTTP/1.1\r\nHost: rebind.example:7899\r\n\r\n";
    let reply = tcp.send(request);
    assert_eq!(reply.status, "403 Forbidden");
    assert!(!reply.body.contains("pid"), "{}", reply.body);
    assert_eq!(unix.send(request).status, "200 OK");
}

/// Makes requests with known answers: three times 200, twice 304, then 404, 431 and 400, and one of
/// which only a part is read.
fn make_requests(server: &Server) {
    let mut client = Client::connect(server);
    (0..3).for_each(|at| client.get(at));
    (0..2).for_each(|_| assert_eq!(client.ask("GET /", "If-None-Match: *\r\n"), 304));
    assert_eq!(client.ask("GET /missing", ""), 404);
    let long = format!("A: {}\r\n", "a".repeat(20_000));
    assert_eq!(client.ask("GET /", &long), 431);
    let mut garbage = TcpStream::connect(server.address()).unwrap();
    garbage.write_all(b"garbage\r\n\r\n").unwrap();
    let mut answer = String::new();
    garbage.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut download = ask(server.address(), "/large");
    download.read_exact(&mut [0; 15]).unwrap();
}

#[test]
fn metrics_count_what_was_requested() {
    for driver in drivers() {
        let site = site();
        let large = fs::File::create(site.path().join("large")).unwrap();
        large.set_len(LARGE_BYTES).unwrap();
        let server = Server::start(&mut observed(site.path(), driver, &[]));
        let place = Place::of(&server);
        let before = place.metrics();
        assert_eq!(before.sum("ringd_requests_total", ""), 0.0, "{driver}");
        make_requests(&server);
        let counted = |metrics: &Metrics| {
            let total = metrics.sum("ringd_requests_total", "");
            (total, metrics.value("ringd_responses_aborted_total")) == (9.0, 1.0)
        };
        let metrics = place.metrics_until("everything is counted", counted);
        for (code, count) in [(200, 4.0), (304, 2.0), (404, 1.0), (431, 1.0), (400, 1.0)] {
            let label = format!("code=\"{code}\"");
            assert_eq!(metrics.sum("ringd_requests_total", &label), count, "{driver}, {code}");
        }
        assert_eq!(metrics.sum("ringd_request_duration_seconds_count", ""), 9.0, "{driver}");
        assert_eq!(metrics.value("ringd_response_size_bytes_count"), 9.0, "{driver}");
        assert_eq!(metrics.value("ringd_requests_in_progress"), 0.0, "{driver}");
        let connections = metrics.sum("ringd_connections_accepted_total", "");
        assert_eq!(connections, 3.0, "{driver}");
        let bytes = metrics.sum("ringd_response_bytes_total", "");
        assert!(bytes > 0.0 && bytes < LARGE_BYTES as f64, "{driver}: {bytes}");
        let lookups = metrics.sum("ringd_cache_lookups_total", "");
        assert!(lookups > 0.0, "{driver}");
        let status = place.status();
        assert_eq!(status["requests"]["total"], 9, "{driver}: {status}");
        assert_eq!(status["requests"]["by_status"]["304"], 2, "{driver}: {status}");
        assert_eq!(status["requests"]["aborted"], 1, "{driver}: {status}");
        assert_eq!(status["driver"], driver);
    }
}

/// The formats differ in their frame, not in what they say.
#[test]
fn metrics_have_the_format_that_is_asked_for() {
    let site = site();
    let server = Server::start(&mut observed(site.path(), "auto", &[]));
    let place = Place::of(&server);
    Client::connect(&server).get("a");
    place.metrics_until("the request is counted", |metrics| {
        metrics.sum("ringd_requests_total", "code=\"200\"") == 1.0
    });
    let plain = place.get("/metrics");
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2\r\n";
    let open = place.ask("GET /metrics", accept);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(open.head.contains(&format!("\r\nContent-Type: {media_type}\r\n")), "{}", open.head);
    assert!(open.body.ends_with("\n# EOF\n") && !plain.body.contains("# EOF"));
    assert!(plain.body.contains("\n# TYPE ringd_requests_total counter\n"), "{}", plain.body);
    assert!(open.body.contains("\n# TYPE ringd_requests counter\n"), "{}", open.body);
    let names = |text: &str| -> BTreeSet<String> {
        Metrics::parse(text).of("").into_iter().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&plain.body), names(&open.body));
    // Each family is declared once, before its samples.
    let types: Vec<&str> = open.body.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len(), "{types:?}");
}

/// How many sockets a server has open.
fn sockets(server: &Server) -> usize {
    server.descriptors().iter().filter(|target| target.starts_with("socket:")).count()
}

/// Clients that send nothing, half a request, or do not read, at a time when there are more of them
/// than are served. Others wait in the backlog until those are given up.
#[test]
fn clients_that_do_nothing_are_given_up() {
    let site = site();
    let server = Server::start(&mut observed(site.path(), "auto", &[]));
    let place = Place::of(&server);
    let Place::Tcp(address) = place else { panic!("{place:?}") };
    let before = sockets(&server);
    for sent in
        ["", "GET /metrics HTTP/1.1\r\nHost: ", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let clients: Vec<TcpStream> = (0..2 * CLIENTS_MAX + 1)
            .map(|_| {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(sent.as_bytes()).unwrap();
                client
            })
            .collect();
        if sent.is_empty() {
            let taken = || sockets(&server) == before + CLIENTS_MAX;
            eventually("all places are taken", taken);
            assert_serves(&server);
        }
        let waiting = std::thread::spawn({
            let place = place.clone();
            move || place.get("/metrics")
        });
        while !waiting.is_finished() {
            let count = sockets(&server) - before;
            // The socket of the client of the site may still close.
            let of_site = usize::from(sent.is_empty());
            assert!(count <= CLIENTS_MAX + of_site, "{count} clients are accepted at a time");
        }
        let reply = waiting.join().unwrap();
        assert_eq!(Metrics::parse(&reply.body).value("ringd_ready"), 1.0);
        drop(clients);
    }
}

#[test]
fn a_place_that_cannot_be_listened_on_is_no_start() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let missing = format!("unix:{}", folder.path().join("none/admin.sock").display());
    fs::write(folder.path().join("file"), "").unwrap();
    let file = format!("unix:{}", folder.path().join("file").display());
    for (place, words) in [
        (&taken, ["in use", "choose another port; `ss -ltnp` shows who listens"]),
        (&missing, ["--admin unix:", "create the directory"]),
        (&file, ["is not a socket", "choose another path"]),
        (&"192.0.2.1:0".to_owned(), ["cannot listen on 192.0.2.1:0", "check the address"]),
    ] {
        let told = format!("--admin {place}");
        let words = [&*told, words[0], words[1]];
        assert_no_start(&mut observed(site.path(), "auto", &["--admin", place]), &words);
    }
}

#[test]
fn the_file_of_a_socket_is_for_its_owner_and_goes_with_the_server() {
    for driver in drivers() {
        let folder = tempfile::tempdir().unwrap();
        let (_site, server) = server_with_both(&folder, driver);
        let path = folder.path().join("admin.sock");
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        assert!(!path.exists(), "{driver}: the socket is removed");
    }
}

/// Load balancers learn of the end before it comes.
#[test]
fn a_server_that_will_stop_is_not_ready_and_still_serves() {
    for driver in drivers() {
        let site = site();
        let delay = ["--drain-delay", "1h"];
        let server = Server::start(&mut observed(site.path(), driver, &delay));
        let place = Place::of(&server);
        assert_eq!(place.get("/readyz").body, "ready\n");
        assert_eq!(place.metrics().value("ringd_ready"), 1.0);
        server.signal(libc::SIGTERM);
        let line = server.error_line();
        assert!(line.contains("accepting connections for --drain-delay"), "{line}");
        let reply = place.ask("GET /readyz", "");
        assert_eq!((&*reply.status, &*reply.body), ("503 Service Unavailable", "stopping\n"));
        assert_serves(&server);
        assert_eq!(place.get("/healthz").body, "all workers respond\n", "{driver}");
        assert_eq!(place.metrics().value("ringd_ready"), 0.0);
        assert_eq!(place.status()["ready"], false);
        let status = place.get("/").body;
        assert!(status.contains("The server is stopping"), "{status}");
    }
}

#[test]
fn reloads_are_counted_and_a_failed_one_is_an_alarm() {
    let folder = Folder::new(&BASE.replace("\"unix:admin.sock\"", BOTH));
    let server = Server::start(&mut folder.command());
    let place = Place::of(&server);
    let state = || {
        let (metrics, status) = (place.metrics(), place.status());
        let value = |name: &str| metrics.value(&format!("ringd_config_{name}"));
        let config = &status["config"];
        assert_eq!(config["generation"].as_f64(), Some(value("generation")), "{config}");
        let failed = config["last_reload"] != "applied";
        assert_eq!(value("last_reload_success"), f64::from(u8::from(!failed)));
        (value("generation"), failed, value("last_reload_timestamp_seconds"))
    };
    let alarm = "has failed; the configuration before it applies";
    let (generation, failed, started) = state();
    assert_eq!((generation, failed), (1.0, false));
    folder.assert_reloads(&["(generation 2)"]);
    let (generation, failed, first) = state();
    assert_eq!((generation, failed, first > started), (2.0, false, true));
    assert!(!place.get("/").body.contains(alarm));
    let good = fs::read_to_string(folder.path("ringd.toml")).unwrap();
    folder.write(&good.replace("\"html\"", "\"missing\""));
    assert_hangup_says(&server, &["not reloaded, nothing has changed"]);
    let (generation, failed, second) = state();
    assert_eq!((generation, failed, second > first), (2.0, true, true));
    for accept in ["", "Accept: text/html\r\n"] {
        let page = place.ask("GET /", accept).body;
        assert!(page.contains(alarm), "{page}");
    }
    let label = "kind=\"reload_failed\",level=\"error\"";
    assert_eq!(place.metrics().value(&format!("ringd_events_total{{{label}}}")), 1.0);
    assert_serves(&server);
    folder.write(&good);
    folder.assert_reloads(&["(generation 3)"]);
    let (generation, failed, _) = state();
    assert_eq!((generation, failed), (3.0, false));
    assert!(!place.get("/").body.contains(alarm));
}

/// A file means the same wherever the server is started.
#[test]
fn paths_of_a_file_begin_at_its_directory() {
    let log = "[log]\naccess = \"access.log\"\nformat = \"{target}\"\nerror = \"./error.log\"\n";
    let folder = Folder::new(&format!("{log}{BASE}"));
    let server = Server::start(folder.command().current_dir("/"));
    let socket = folder.path("admin.sock");
    assert_eq!(Place::of(&server), Place::Unix(socket.clone()), "{}", server.line);
    assert_eq!(Place::of(&server).get("/readyz").body, "ready\n");
    Client::connect(&server).get("a");
    let text = |name: &str| fs::read_to_string(folder.path(name)).unwrap_or_default();
    eventually("the access log has the line", || text("access.log") == "/?a\n");
    eventually("the error log has the start", || text("error.log").contains(" started: "));
    // Printed, it means the same elsewhere.
    let mut print = crate::process::ringd();
    print.args(["config", "-c", "ringd.toml"]).current_dir(folder.path(""));
    let printed = crate::process::end_of(&mut print).output;
    for (key, name) in [("access", "access.log"), ("error", "error.log")] {
        let line = format!("\n{key} = {:?} # ", folder.path(name));
        assert!(printed.contains(&line), "no {line} in {printed}");
    }
    let line = format!("\nlisten = [\"unix:{}\"] # ", socket.display());
    assert!(printed.contains(&line), "no {line} in {printed}");
}

#[test]
fn a_reload_leaves_logs_and_places_to_a_restart() {
    let log = "[log]\naccess = \"access.log\"\n";
    let text = format!("{log}{BASE}");
    let folder = Folder::new(&text);
    let server = Server::start(&mut folder.command());
    for (changed, key) in [
        (BASE.to_owned(), "[log] access"),
        (text.replace("access.log", "other.log"), "[log] access"),
        (text.replace(log, &format!("{log}format = \"json\"\n")), "[log] format"),
        (text.replace(log, &format!("{log}error = \"error.log\"\n")), "[log] error"),
        (text.replace(log, &format!("{log}error-format = \"json\"\n")), "[log] error-format"),
        (text.replace(log, &format!("{log}error-level = \"warn\"\n")), "[log] error-level"),
        (text.replace("\"unix:admin.sock\"", "[\"unix:admin.sock\", \":0\"]"), "[admin] listen"),
    ] {
        folder.write(&changed);
        let told = format!("a server that runs cannot change `{key}`; restart ringd");
        folder.assert_refuses(&["not reloaded, nothing has changed", &told]);
        // The server tells of this one as well.
        assert!(server.error_line().contains(&told));
        assert_hangup_says(&server, &[&told]);
    }
    folder.write(&text);
    folder.assert_reloads(&["(generation 2)"]);
    assert!(!folder.path("other.log").exists() && !folder.path("error.log").exists());
    assert_serves(&server);
}
