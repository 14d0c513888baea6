//! The administration socket, and `ringd reload`, which uses it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::configured::{BASE, Folder, assert_hangup_says};
use crate::process::{Server, assert_serves, drivers, end_of, ringd};

/// Longer than anything here takes, so whatever takes longer hangs.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Sends bytes to a socket; returns the answer, after which the connection ends without an error.
#[track_caller]
fn exchange(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    for driver in drivers() {
        let folder = Folder::new(BASE);
        let path = folder.path("admin.sock");
        let server = Server::start(folder.command().args(["--driver", driver]));
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        assert!(!path.exists(), "{driver}: the socket is removed");
    }
}

#[test]
fn a_failed_start_leaves_no_socket() {
    let folder = Folder::new(BASE);
    let mut command = folder.command();
    let end = end_of(command.args(["--listen", "unix:/missing/site.sock"]));
    end.assert_failed(1, &["create the directory /missing"]);
    assert!(!folder.path("admin.sock").exists());
}

#[test]
fn what_is_no_request_gets_an_answer() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let path = folder.path("admin.sock");
    let long = [b"POST /reload HTTP/1.1\r\nA: ", &[b'a'; 10_000][..]].concat();
    for (request, status) in [
        (&b"garbage\r\n\r\n"[..], "400 Bad Request"),
        (b"\x16\x03\x01\x00\xff\x01", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (b"POST /reload HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"POST /reload HTTP/1.1\nHost: h\n\n", "400 Bad Request"),
        (b"GET /missing HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found"),
        (b"POST http://ringd/stop HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found"),
        (b"POST ftp://ringd/reload HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request"),
        (b"POST /stop HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found"),
        (b"POST /reload/ HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found"),
        (b"GET /reload HTTP/1.0\r\n\r\n", "405 Method Not Allowed"),
        (b"PUT http://ringd/reload HTTP/1.1\r\nHost: h\r\n\r\n", "405 Method Not Allowed"),
        (b"post /reload HTTP/1.1\r\nHost: h\r\n\r\n", "405 Method Not Allowed"),
    ] {
        let answer = exchange(&path, request);
        let request = request.escape_ascii().to_string();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.contains("\r\nAllow: POST\r\n"), status.starts_with("405"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    }
    // Nothing of it has reloaded.
    assert_hangup_says(&server, &["(generation 2)"]);
    let answer = exchange(&path, b"POST /reload HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("(generation 3)"));
    assert_serves(&server);
}

/// A client may send a body, or further requests, with the head or behind it.
#[test]
fn a_client_that_sends_more_than_a_head_gets_its_answer() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let path = folder.path("admin.sock");
    for bytes in [1, 4096, 4097, 100_000, 500_000] {
        let head = format!("POST /reload HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n");
        let answer = exchange(&path, &[head.as_bytes(), &vec![b'a'; bytes]].concat());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{bytes} bytes: {answer}");
    }
    let more = [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], &[b'\r'; 10_000]].concat();
    assert!(exchange(&path, &more).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_serves(&server);
}

/// The forms that RFC 9112, section 3.2, and RFC 9110, section 5.1, allow.
#[test]
fn a_request_may_have_another_form() {
    let folder = Folder::new(BASE);
    let _server = Server::start(&mut folder.command());
    let path = folder.path("admin.sock");
    for target in ["/reload", "http://ringd/reload", "HTTP://ringd:80/reload"] {
        let answer =
            exchange(&path, format!("\r\nPOST {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {answer}");
    }
    for field in ["Ringd-Config", "ringd-config"] {
        let request =
            format!("POST /reload HTTP/1.1\r\nHost: h\r\n{field}: /etc/other.toml\r\n\r\n");
        let answer = exchange(&path, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 409 Conflict\r\n"), "{field}: {answer}");
    }
}

/// A client that sends nothing, half a request, or goes away.
#[test]
fn a_silent_client_does_not_keep_others_from_reloading() {
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let path = folder.path("admin.sock");
    let mut silent = UnixStream::connect(&path).unwrap();
    let mut half = UnixStream::connect(&path).unwrap();
    half.write_all(b"POST /rel").unwrap();
    drop(UnixStream::connect(&path).unwrap());
    folder.assert_reloads(&["(generation 2)"]);
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let mut answer = Vec::new();
        // Reset if the server has not read all of it.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "it is closed without an answer");
    }
    assert_serves(&server);
}

/// A byte now and then does not prolong the time for the request.
#[test]
fn a_slow_client_is_closed_before_it_has_sent_its_request() {
    let folder = Folder::new(BASE);
    let _server = Server::start(&mut folder.command());
    let mut slow = UnixStream::connect(folder.path("admin.sock")).unwrap();
    slow.write_all(b"POST /reload HTTP/1.1\r\nA: ").unwrap();
    // Thirty seconds, of which the server waits for two.
    let sent = (0..300).take_while(|_| {
        thread::sleep(Duration::from_millis(100));
        slow.write_all(b"a").is_ok()
    });
    let sent = sent.count();
    assert!(sent < 300, "the server still reads");
}

/// `ringd check` finds what a start would find.
#[test]
fn the_socket_is_checked_with_the_file() {
    let folder = Folder::new(BASE);
    let check = || end_of(ringd().arg("check").arg(folder.path("ringd.toml")));
    for (listen, words) in [
        ("unix:missing/admin.sock", &["there is no directory", "create it"][..]),
        ("unix:ringd.toml/admin.sock", &["is not a directory"]),
        ("unix:ringd.toml", &["is not a socket", "remove it, or choose another path"]),
        ("unix:html", &["is a directory", "add the name of the socket"]),
        (&format!("unix:{}", "x".repeat(108)), &["bytes", "at most 107", "use a shorter one"]),
        (
            &format!("unix:{}/a", "x".repeat(102 - folder.path("").as_os_str().len())),
            &["bytes", "at most 100 leave room", "a shorter path"],
        ),
    ] {
        folder.write(&BASE.replace("unix:admin.sock", listen));
        let end = check();
        assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{listen}: {end:?}");
        end.assert_names(words);
        end.assert_names(&["ringd.toml:5:10"]);
        let end = end_of(&mut folder.command());
        assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{listen}: a start");
    }
    // A server that runs is no mistake, and what is beneath /run is made before the start.
    folder.write(BASE);
    let _server = Server::start(&mut folder.command());
    assert_eq!(check().code, Some(0));
    folder.write(&BASE.replace("unix:admin.sock", "unix:/run/ringd.none/admin.sock"));
    let end = check();
    assert_eq!(end.code, Some(0), "{end:?}");
    end.assert_names(&["there is no directory /run/ringd.none yet", "RuntimeDirectory="]);
}

#[test]
fn two_servers_do_not_share_a_socket() {
    let folder = Folder::new(BASE);
    let first = Server::start(&mut folder.command());
    let end = end_of(&mut folder.command());
    let path = folder.path("admin.sock");
    let told = format!("cannot listen on unix:{}", path.display());
    end.assert_failed(1, &[&told, "another server accepts connections there"]);
    folder.assert_reloads(&["(generation 2)"]);
    assert_serves(&first);
}

#[test]
fn without_a_socket_the_operator_learns_about_the_signal() {
    let folder = Folder::new(&BASE.replace("[admin]\nlisten = \"unix:admin.sock\"\n", ""));
    let server = Server::start(&mut folder.command());
    folder.assert_refuses(&[
        "has no Unix socket in [admin]",
        "unix:/run/ringd/admin.sock",
        "SIGHUP",
    ]);
    assert_hangup_says(&server, &["ringd: reloaded "]);
    assert_serves(&server);
    let end = end_of(ringd().arg("reload"));
    assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{end:?}");
    end.assert_names(&["<FILE>"]);
}

/// Nobody listens: there is no file, or a killed server has left it, and the next one replaces it.
#[test]
fn a_stale_socket_is_explained_and_replaced() {
    let folder = Folder::new(BASE);
    let path = folder.path("admin.sock");
    let words = ["cannot connect to", "admin.sock", "no server runs with this administration"];
    folder.assert_refuses(&words);
    let server = Server::start(&mut folder.command());
    server.signal(libc::SIGKILL);
    assert_eq!(server.end().code, None);
    assert!(path.exists(), "a killed server removes nothing");
    folder.assert_refuses(&words);
    let server = Server::start(&mut folder.command());
    folder.assert_reloads(&["(generation 2)"]);
    assert_serves(&server);
}

/// Something else listens at the path.
#[test]
fn an_answer_that_is_none_is_explained() {
    let folder = Folder::new(BASE);
    for answer in [&b""[..], b"hello\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
        let path = folder.path("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let stranger = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            request[..count].starts_with(b"POST /reload HTTP/1.1\r\n")
        });
        folder.assert_refuses(&[
            "admin.sock gives no answer of an administration",
            "check --admin and [admin]",
        ]);
        assert!(stranger.join().unwrap());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_server_of_another_user_is_explained() {
    if !crate::jail::is_root() {
        return println!("skipped: only root can become another user");
    }
    let folder = Folder::new(BASE);
    let server = Server::start(&mut folder.command());
    let (_copy, binary) = crate::process::public_copy();
    let mut command = std::process::Command::new(binary);
    command.args(["reload", "-c"]).arg(folder.path("ringd.toml"));
    let jail = crate::jail::Jail { unprivileged: true, ..Default::default() };
    end_of(jail.hold(&mut command)).assert_failed(1, &["run this as the user of the server"]);
    assert_serves(&server);
}
