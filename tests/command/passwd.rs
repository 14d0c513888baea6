//! `ringd passwd`, and what a configuration says of its files.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine;
use ringd::passwords::Users;

use crate::configured::{BASE, Folder};
use crate::process::{End, Server, end_of, ringd, site};

/// Runs `ringd passwd` with this input.
fn passwd(arguments: &[&str], input: &str) -> End {
    let mut command = ringd();
    command.arg("passwd").args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let [output, errors] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    End { code: status.code(), output, errors }
}

fn fits(path: &Path, user: &str, password: &str) -> bool {
    let users = Users::parse(&fs::read_to_string(path).unwrap()).unwrap();
    users.get(user.as_bytes()).is_some_and(|hash| hash.fits(password.as_bytes()))
}

#[test]
fn a_line_is_printed_without_a_file() {
    let end = passwd(&["anna"], "one two\nmore\n");
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{end:?}");
    assert!(end.output.starts_with("anna:$argon2id$v=19$m=19456,t=2,p=1$"), "{}", end.output);
    let users = Users::parse(&end.output).unwrap();
    assert!(users.get(b"anna").unwrap().fits(b"one two"));
}

#[test]
fn a_file_is_made_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let link = folder.path().join("link");
    symlink("users", &link).unwrap();
    let file = ["--file", path.to_str().unwrap()];
    let end = passwd(&[&["anna"][..], &file].concat(), "one");
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.errors.contains("added anna in") && end.output.is_empty(), "{end:?}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    // As long as it is open, no other file gets its number.
    let before = fs::File::open(&path).unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    text.insert_str(0, "# staff\n");
    fs::write(&path, &text).unwrap();
    // A link stays.
    let end = passwd(&["b\u{f6}rge", "-f", link.to_str().unwrap()], "two\r\n");
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(fits(&path, "anna", "one") && fits(&path, "b\u{f6}rge", "two"));
    let end = passwd(&[&["anna"][..], &file].concat(), "three\n");
    assert!(end.errors.contains("changed the password of anna"), "{end:?}");
    assert!(fits(&path, "anna", "three") && fits(&path, "b\u{f6}rge", "two"));
    let text = fs::read_to_string(&path).unwrap();
    let starts: Vec<&str> = text.lines().map(|line| &line[..5]).collect();
    assert_eq!(starts, ["# sta", "anna:", "b\u{f6}rg"], "other lines stay in their order");
    let number = before.metadata().unwrap().ino();
    assert_ne!(path.metadata().unwrap().ino(), number, "it was replaced, not written into");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

/// Others may change the file while a password is typed.
#[test]
fn changes_meanwhile_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    fs::write(&path, "# staff\n").unwrap();
    let begin = |user: &str| {
        let mut command = ringd();
        command.args(["passwd", user, "-f"]).arg(&path).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let users = ["anna", "bert", "carl"];
    let children = users.map(begin);
    // They have read the file by now, and wait for the password.
    thread::sleep(Duration::from_millis(500));
    let end = passwd(&["dora", "-f", path.to_str().unwrap()], "secret\n");
    assert_eq!(end.code, Some(0), "{end:?}");
    // The others write at about the same time.
    let children = children.map(|mut child| {
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        child
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for user in users.iter().chain(&["dora"]) {
        assert!(fits(&path, user, "secret"), "{user}: {}", fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn mistakes_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let missing = folder.path().join("no/users");
    let [path_text, missing, folder_text] =
        [&*path, &*missing, folder.path()].map(|path| path.to_str().unwrap());
    for (arguments, input, code, word) in [
        (&["anna", "-f", path_text][..], "", 1, "the password is empty"),
        (&["anna", "-f", path_text], "\n", 1, "the password is empty"),
        (&["anna", "-f", path_text], "a\tb\n", 1, "control character"),
        (&["anna", "-f", missing], "one\n", 1, "no does not exist; make it"),
        (&["anna", "-f", folder_text], "one\n", 1, "is not a file of users"),
        (&["a:b"], "one\n", 2, "colon"),
        (&[" anna"], "one\n", 2, "begins with a space"),
        (&[""], "one\n", 2, "empty"),
        (&[], "one\n", 2, "USER"),
    ] {
        let end = passwd(arguments, input);
        assert!(end.code == Some(code) && end.errors.contains(word), "{arguments:?}: {end:?}");
        assert!(end.output.is_empty() && !end.errors.contains("one"), "{end:?}");
    }
    assert!(!path.exists());
}

/// The status line of the answer to a request.
fn status(server: &Server, fields: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().next().unwrap_or_default().to_owned() + "\n" + &text
}

fn authorization(text: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Authorization: Basic {text}\r\n")
}

const CHEAP: &str = "$2y$04$lC.OOZBMh.JdlQnXZkc3v.DwqbnS1UfYXl8jCmlxMxrBcNRl98sb6";

#[test]
fn a_reload_reads_the_users_again_and_keeps_them_if_they_are_broken() {
    let text = BASE.replace("[[site]]", "[[site]]\nusers = \"users\"\nrealm = \"staff\"");
    let folder = Folder::new(&text);
    fs::write(folder.path("users"), format!("anna:{CHEAP}\n")).unwrap();
    let server = Server::start(&mut folder.command());
    let anna = authorization("anna:secret");
    let answer = status(&server, &anna);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("\r\ncache-control: private, no-cache\r\n"), "{answer}");
    assert!(answer.contains("vary: authorization\r\n"), "{answer}");
    let asked = status(&server, "");
    assert!(asked.starts_with("HTTP/1.1 401 ") && asked.contains("realm=\"staff\""), "{asked}");
    let reload = || end_of(ringd().args(["reload", "-c"]).arg(folder.path("ringd.toml")));
    fs::write(folder.path("users"), "anna:$apr1$x$y\n").unwrap();
    let end = reload();
    assert_eq!(end.code, Some(1), "{end:?}");
    let all = end.output + &end.errors;
    assert!(all.contains("users:1") && all.contains("MD5"), "{all}");
    assert!(all.contains("ringd passwd anna --file"), "{all}");
    assert!(status(&server, &anna).starts_with("HTTP/1.1 200 "), "the last good users stay");
    fs::write(folder.path("users"), format!("bert:{CHEAP}\n")).unwrap();
    let end = reload();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(status(&server, &anna).starts_with("HTTP/1.1 401 "));
    assert!(status(&server, &authorization("bert:secret")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn options_about_access_are_checked() {
    let site = site();
    let users = site.path().join("users");
    fs::write(&users, "anna:secret\n").unwrap();
    let users = users.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--users", users][..], 1, &["users:1", "not hashed", "ringd passwd anna"][..]),
        (&["--users", "/missing/users"], 1, &["cannot read /missing/users"]),
        (&["--users", "/"], 1, &["is not a file"]),
        (&["--burst", "3"], 1, &["--burst", "--rate"]),
        (&["--rate", "1/h", "--burst", "100"], 1, &["within a day"]),
        (&["--rate", "0/s"], 2, &["at least 1"]),
        (&["--rate", "1/d"], 2, &["s, min or h"]),
        (&["--send-rate", "1K"], 2, &["at least 16K"]),
        (&["--realm", "a\"b"], 2, &["quotation marks"]),
        (&["--client-prefix-v6", "8"], 2, &["16"]),
        (&["--connections-per-client", "0"], 2, &["1"]),
    ] {
        let end = end_of(ringd().arg(site.path()).args(["-l", "127.0.0.1:0"]).args(arguments));
        let has_all = words.iter().all(|word| end.errors.contains(word));
        assert!(end.code == Some(code) && has_all, "{arguments:?}: {end:?}");
    }
}

#[test]
fn passwords_without_tls_are_noted() {
    let site = site();
    let users = site.path().join("users");
    fs::write(&users, format!("anna:{CHEAP}\n")).unwrap();
    let note = "its passwords are sent without TLS";
    for (listen, is_noted) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let mut command = ringd();
        command.args(["--listen", listen, "--users", users.to_str().unwrap()]);
        let server = Server::start(command.arg(site.path()));
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.errors.contains(note), is_noted, "{listen}: {end:?}");
    }
}

#[test]
fn a_client_has_so_many_connections() {
    let site = site();
    for kind in crate::process::kinds() {
        let options = ["--connections-per-client", "2", "--driver", kind.name(), "--workers", "2"];
        let mut command = ringd();
        command.args(options).args(["-l", "127.0.0.1:0"]);
        let server = Server::start(command.arg(site.path()));
        let ask = |stream: &mut TcpStream| {
            let mut status = [0; 12];
            let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            sent.is_ok() && stream.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200"
        };
        let connect = || TcpStream::connect(server.address()).unwrap();
        let (mut one, mut two) = (connect(), connect());
        assert!(ask(&mut one) && ask(&mut two), "{kind}");
        let mut three = connect();
        assert!(!ask(&mut three), "{kind}: the third one is closed");
        drop((one, three));
        crate::common::eventually("a connection is free", || ask(&mut connect()));
        drop(two);
    }
}
