//! Reloads of a configuration file, as an operator sees them: a wrong one changes nothing, and a
//! right one changes what it says.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::ports::free_address;
use crate::configured::{BASE, Folder, OTHER, assert_hangup_says, assert_serves_page};
use crate::jail::{Jail, is_root, kill};
use crate::process::{
    PAGE, Server, ask, assert_serves, drivers, has_sandbox, is_bound_to_ports, public_copy, site,
    with,
};
use crate::stopping::LARGE_BYTES;
use crate::unread::{Process, assert_serves_at, full_pipe};

/// What every refused reload says.
const REFUSED: &str = "not reloaded, nothing has changed";

/// Files that cannot be loaded at all. `ringd reload` finds that out before it asks the server.
fn broken_files() -> Vec<(String, &'static [&'static str])> {
    let replaced = |from: &str, to: &str| BASE.replace(from, to);
    vec![
        (replaced("[server]", "[server"), &["1 problem", "ringd.toml:1:"]),
        (replaced("workers", "worker"), &["unknown key `worker`", "a similar key is `workers`"]),
        (
            replaced("workers = 2", "workers = \"two\""),
            &["`workers` cannot be \"two\"", "a whole number"],
        ),
        (replaced("127.0.0.1:0", "127.0.0.1"), &["the port is missing"]),
        (
            replaced("127.0.0.1:0", "127.0.0.1:${RINGD_TEST_UNSET}"),
            &["RINGD_TEST_UNSET", "is not set"],
        ),
        (format!("include = \"missing.toml\"\n{BASE}"), &["there is no file \"missing.toml\""]),
        (String::new(), &["has no [[site]]"]),
        (
            format!("{BASE}[[site]]\nhosts = \"A.example\"\nroot = \"other\"\n"),
            &["two sites have the host a.example", "the first one"],
        ),
    ]
}

/// Files that are valid, but that the server refuses.
fn refused_files(taken: &str) -> Vec<(String, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let replaced = |from: &str, to: &str| BASE.replace(from, to);
    let site = |at: usize| format!("[[site]]\nhosts = \"h{at}\"\nroot = \"html\"\n");
    let many: String = (0..18).map(site).collect();
    let in_use = match has_sandbox() {
        false => [taken, "in use", "ss -ltnp"],
        // Nobody tries to bind a port that is not allowed.
        true => ["sandbox", "does not allow listening on port", "restart ringd"],
    };
    vec![
        (
            replaced("workers = 2", "workers = 3"),
            words(&["a server that runs cannot change `workers`", "restart ringd"]),
        ),
        (
            replaced("workers = 2", "workers = 2\ncache-bytes = \"1M\"\ndriver = \"poll\""),
            words(&["cannot change `driver`, `cache-bytes`"]),
        ),
        (replaced("admin.sock", "other.sock"), words(&["cannot change `[admin] listen`"])),
        (replaced("\"html\"", "\"missing\""), words(&["there is no directory", "create it"])),
        (replaced("\"html\"", "\"ringd.toml\""), words(&["cannot serve", "not a directory"])),
        (replaced("[\"127.0.0.1:0\"]", &format!("[\"127.0.0.1:0\", \"{taken}\"]")), words(&in_use)),
        (
            replaced("[\"127.0.0.1:0\"]", "[\"127.0.0.1:0\", \"unix:/missing/site.sock\"]"),
            words(&["unix:/missing/site.sock", "create the directory /missing"]),
        ),
        (format!("{BASE}{many}"), words(&["there are 19 sites", "descriptors for 17", "restart"])),
    ]
}

/// The server goes on with what it has, and takes the next good file.
#[track_caller]
fn assert_goes_on(folder: &Folder, server: &Server) {
    assert_serves(server);
    folder.write(BASE);
    assert_hangup_says(server, &["ringd: reloaded ", ": 1 site (a.example), 0 changed, "]);
    assert_serves(server);
}

#[test]
fn a_broken_file_changes_nothing() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    for (text, words) in broken_files() {
        folder.write(&text);
        let told: Vec<&str> = [REFUSED].iter().chain(words).copied().collect();
        assert_hangup_says(&server, &told);
        assert_serves(&server);
        // The server is not asked, so it prints nothing before the line of the next signal.
        folder.assert_refuses(words);
        assert_goes_on(&folder, &server);
    }
    fs::remove_file(folder.path("ringd.toml")).unwrap();
    assert_hangup_says(&server, &[REFUSED, "No such file"]);
    assert_goes_on(&folder, &server);
}

#[test]
fn what_the_server_cannot_change_changes_nothing() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    for (text, words) in refused_files(&taken) {
        let told: Vec<&str> = [REFUSED].into_iter().chain(words.iter().map(|it| &**it)).collect();
        folder.write(&text);
        assert_hangup_says(&server, &told);
        assert_serves(&server);
        if text.contains("other.sock") {
            folder.assert_refuses(&["other.sock", "no server runs with this administration"]);
        } else {
            folder.assert_refuses(&told);
        }
        assert_goes_on(&folder, &server);
    }
    if is_bound_to_ports() {
        return;
    }
    // A name that is looked up, and a listener that was bound before another one fails.
    let free = free_address();
    let list = format!("[\"127.0.0.1:0\", \"{free}\", \"ringd.invalid:80\"]");
    folder.write(&BASE.replace("[\"127.0.0.1:0\"]", &list));
    folder.assert_refuses(&[REFUSED, "ringd.invalid:80"]);
    assert!(std::net::TcpStream::connect(free).is_err(), "{free} was closed again");
    assert_goes_on(&folder, &server);
}

/// A server needs neither the file nor the directory of a socket that it listens on.
#[test]
fn a_listener_that_stays_is_not_looked_at() {
    let folder = Folder::new(BASE);
    fs::create_dir(folder.path("sockets")).unwrap();
    let path = folder.path("sockets/site.sock");
    let listen = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    folder.write(&BASE.replace("[\"127.0.0.1:0\"]", &listen));
    let server = Server::start(&mut folder.command());
    assert!(path.exists());
    fs::remove_dir_all(folder.path("sockets")).unwrap();
    folder.assert_reloads(&["0 changed"]);
    assert!(!path.exists(), "a reload makes the file again");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code, Some(0));
}

/// Values that say what the server has by itself are no change, in either direction.
#[test]
fn a_default_may_be_written_down() {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    for driver in drivers() {
        let folder = Folder::new(BASE);
        let _server = Server::start(folder.command().args(["--driver", driver]));
        // A quarter of the descriptors that the driver can use, for two workers.
        let usable = if driver == "select" { 1024 } else { limit };
        let entries = (usable / 4 / 2).min(2048);
        let written = |entries: u64| {
            BASE.replace("workers = 2", &format!("workers = 2\ncache-entries = {entries}"))
        };
        folder.write(&written(entries));
        folder.assert_reloads(&["0 changed"]);
        folder.write(&written(entries + 1));
        folder.assert_refuses(&[REFUSED, "cannot change `cache-entries`"]);
        folder.write(BASE);
        folder.assert_reloads(&["0 changed"]);
    }
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let (_, chosen) = server.line.split_once("; driver: ").unwrap();
    let kind = chosen.split(' ').next().unwrap();
    folder.write(&BASE.replace("workers = 2", &format!("workers = 2\ndriver = \"{kind}\"")));
    folder.assert_reloads(&["0 changed"]);
    folder.write(BASE);
    folder.assert_reloads(&["0 changed"]);
}

#[test]
fn a_root_that_may_not_be_read_changes_nothing() {
    let folder = Folder::new(&BASE.replace("[admin]\nlisten = \"unix:admin.sock\"\n", ""));
    crate::process::create_closed(&folder.path("closed"));
    let (_copy, binary) = public_copy();
    let mut command = std::process::Command::new(binary);
    command.arg("-c").arg(folder.path("ringd.toml"));
    if !is_root() {
        // Only for root another user is needed, whom the mode stops.
        let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(folder.path("closed"), none).unwrap();
    }
    let jail = Jail { unprivileged: is_root(), ..Jail::default() };
    let server = Server::start(jail.hold(&mut command));
    let good = fs::read_to_string(folder.path("ringd.toml")).unwrap();
    folder.write(&good.replace("\"html\"", "\"closed\""));
    assert_hangup_says(&server, &[REFUSED, "cannot serve", "closed"]);
    assert_serves(&server);
    folder.write(&good);
    assert_hangup_says(&server, &["ringd: reloaded "]);
    assert_serves(&server);
}

#[test]
fn a_glob_may_match_nothing_and_later_match_a_site() {
    let text = format!("include = \"sites.d/*.toml\"\n{BASE}");
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    folder.write(&text);
    folder.assert_reloads(&["1 site (a.example)", "matches no file yet"]);
    fs::create_dir(folder.path("sites.d")).unwrap();
    let other = "[[site]]\nhosts = \"b.example\"\nroot = \"../other\"\n";
    fs::write(folder.path("sites.d/b.toml"), other).unwrap();
    folder.assert_reloads(&["2 sites (a.example, b.example), 1 changed"]);
    assert_serves(&server);
    let mut answer = String::new();
    let address = server.address();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(std::str::from_utf8(OTHER).unwrap()), "{answer}");
}

#[test]
fn a_new_root_is_served_at_once() {
    for driver in drivers() {
        let folder = Folder::new(BASE);
        let server = Server::start(folder.command().args(["--driver", driver]));
        assert_serves(&server);
        folder.write(&BASE.replace("\"html\"", "\"other\""));
        folder.assert_reloads(&["ringd.toml (generation 2): 1 site (a.example), 1 changed, "]);
        assert_serves_page(&server, OTHER);
        // Whoever asks, the server prints the result as well.
        let line = server.error_line();
        assert!(line.starts_with("ringd: reloaded ") && line.contains("generation 2"), "{line}");
        folder.write(BASE);
        assert_hangup_says(&server, &["(generation 3): 1 site (a.example), 1 changed, "]);
        assert_serves(&server);
    }
}

#[test]
fn the_start_line_names_the_file() {
    let folder = Folder::new(BASE);
    let file = folder.path("ringd.toml");
    let (file, root) = (file.display(), folder.path("html"));
    let line = Server::start(&mut folder.command()).line.clone();
    let expected = format!("ringd: serving {} by {file} at http://127.0.0.1:", root.display());
    assert!(line.starts_with(&expected), "{line}");
    let more =
        "[[site]]\nhosts = \"b\"\nroot = \"html\"\n[[site]]\nhosts = \"c\"\nroot = \"html\"\n";
    folder.write(&format!("{BASE}{more}"));
    let line = Server::start(&mut folder.command()).line.clone();
    let sites = "3 sites (a.example, b, 1 more)";
    let expected = format!("ringd: serving {sites} of {file} at http://127.0.0.1:");
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let site = site();
    let server = Server::start(&mut with(&[site.path().to_str().unwrap()]));
    assert_hangup_says(
        &server,
        &["SIGHUP: logs are reopened; there is no configuration file (-c)"],
    );
    assert_serves(&server);
}

#[test]
fn a_server_that_stops_reloads_nothing() {
    for driver in drivers() {
        let folder = Folder::new(BASE);
        let large = fs::File::create(folder.path("html/large")).unwrap();
        large.set_len(LARGE_BYTES).unwrap();
        let timeout = ["--driver", driver, "--drain-timeout", "60s"];
        let server = Server::start(folder.command().args(timeout));
        let mut client = ask(server.address(), "/large");
        client.read_exact(&mut [0; 15]).unwrap();
        server.signal(libc::SIGTERM);
        let line = server.error_line();
        assert!(line.contains("finishing open connections"), "{line}");
        folder.write(&BASE.replace("\"html\"", "\"other\""));
        assert_hangup_says(&server, &["SIGHUP: the server is stopping, and reloads nothing"]);
        folder.assert_refuses(&["the server is stopping, and reloads nothing"]);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.len() as u64 >= LARGE_BYTES, "{driver}: {} bytes", rest.len());
        let end = server.end();
        assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{driver}: {end:?}");
    }
}

/// However many signals come while a reload runs, the last file is served in the end.
#[test]
fn the_file_that_is_written_last_is_served() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let other = BASE.replace("\"html\"", "\"other\"");
    for round in 0..3 {
        folder.write(if round % 2 == 0 { BASE } else { &other });
        for _ in 0..100 {
            server.signal(libc::SIGHUP);
        }
        let (text, page) = if round % 2 == 0 { (&*other, OTHER) } else { (BASE, PAGE) };
        folder.write(text);
        server.signal(libc::SIGHUP);
        let begin = std::time::Instant::now();
        while crate::process::get(server.address(), "/").1 != page {
            assert!(begin.elapsed() < Duration::from_secs(30), "the last file is not served");
            thread::sleep(Duration::from_millis(10));
        }
    }
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let refused = end.errors.lines().find(|line| line.contains("not reloaded"));
    assert_eq!(refused, None);
}

/// Nobody reads the results: the server reloads all the same, and tells those who ask.
#[test]
fn a_reload_does_not_wait_for_readers() {
    let address = free_address();
    let base = BASE.replace("127.0.0.1:0", &address.to_string());
    let folder = Folder::new(&base);
    let (_reader, writer) = full_pipe();
    let mut command = folder.command();
    command.stdout(Stdio::null()).stderr(writer);
    let mut process = Process::start(&mut command);
    assert_serves_at(address);
    for round in 0..50 {
        let root = if round % 2 == 0 { "\"other\"" } else { "\"html\"" };
        folder.write(&base.replace("\"html\"", root));
        kill(process.id(), libc::SIGHUP);
        // A long result: with many problems.
        folder.write(&format!("{base}{}", "x = 1\n".repeat(400)));
        kill(process.id(), libc::SIGHUP);
    }
    folder.write(&base);
    folder.assert_reloads(&["1 site (a.example)"]);
    assert_serves_at(address);
    kill(process.id(), libc::SIGTERM);
    assert_eq!(process.end(), Some(0));
}

/// Nothing of a site that is gone stays open, so its file system can be unmounted.
#[test]
fn a_site_that_is_gone_is_let_go() {
    let folder = Folder::new(&BASE.replace("\"html\"", "\"other\""));
    let server = Server::start(&mut folder.command());
    let root = folder.path("other").to_str().unwrap().to_owned();
    let is_open = || server.descriptors().iter().any(|target| target.starts_with(&root));
    assert_serves_page(&server, OTHER);
    assert!(is_open());
    folder.write(BASE);
    folder.assert_reloads(&["1 changed"]);
    assert_serves(&server);
    crate::common::eventually("the old root is closed", || !is_open());
    // Nor do reloads without a change pile up descriptors.
    let before = server.descriptors();
    for _ in 0..20 {
        folder.assert_reloads(&["0 changed"]);
    }
    let after = server.descriptors();
    assert!(after.len() <= before.len() + 2, "{after:?} after {before:?}");
}

/// A reload that waited for a writer of the FIFO would hold up all later ones.
#[test]
fn a_fifo_is_refused_instead_of_waited_for() {
    let folder = Folder::new(&format!("include = \"sites/*.toml\"\n{BASE}"));
    let server = Server::start(&mut folder.command());
    fs::create_dir(folder.path("sites")).unwrap();
    for name in ["sites/fifo.toml", "root"] {
        let made = std::process::Command::new("mkfifo").arg(folder.path(name)).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) makes a FIFO");
    }
    assert_hangup_says(&server, &[REFUSED, "fifo.toml", "not a regular file"]);
    fs::remove_file(folder.path("sites/fifo.toml")).unwrap();
    folder.write(&BASE.replace("\"html\"", "\"root\""));
    assert_hangup_says(&server, &[REFUSED, "not a directory"]);
    assert_goes_on(&folder, &server);
}

/// Two files may name the same socket.
#[test]
fn a_reload_of_another_file_is_refused() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let other = folder.path("other.toml");
    fs::write(&other, BASE).unwrap();
    let end = crate::process::end_of(crate::process::ringd().arg("reload").arg(&other));
    assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{end:?}");
    end.assert_names(&["the server runs with", "ringd.toml", "not with", "other.toml"]);
    assert_goes_on(&folder, &server);
    // A link leads to the same file.
    std::os::unix::fs::symlink(folder.path("ringd.toml"), folder.path("link.toml")).unwrap();
    let link = folder.path("link.toml");
    let end = crate::process::end_of(crate::process::ringd().arg("reload").arg(link));
    assert_eq!(end.code, Some(0), "{end:?}");
}
