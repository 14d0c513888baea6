//! Files of hosting services in a root: how they are read, and what is told of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::eventually;
use crate::configured::{BASE, Folder};
use crate::process::{Server, end_of, get, ringd, site, with};

/// Replaces a file, so that nobody sees half of it.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

/// A server over a root with these two files.
fn start(root: &Path, redirects: &str, headers: &str) -> Server {
    fs::write(root.join("_redirects"), redirects).unwrap();
    fs::write(root.join("_headers"), headers).unwrap();
    Server::start(with(&["--site-files", "netlify", "--driver", "epoll"]).arg(root))
}

fn head_of(server: &Server, target: &str) -> String {
    get(server.address(), target).0
}

/// Reads lines until one has all of these words.
#[track_caller]
fn assert_says(server: &Server, words: &[&str]) {
    for _ in 0..20 {
        let line = server.error_line();
        if words.iter().all(|word| line.contains(word)) {
            return;
        }
        println!("{line}");
    }
    panic!("no line with {words:?}");
}

#[test]
fn the_files_of_a_root_are_applied_and_read_again() {
    let root = site();
    let server = start(root.path(), "/a /b 302\n/c /d Country=de\n", "/\n  X-A: one\n");
    assert_says(&server, &["_redirects:2: `/c /d Country=de` is left out", "no condition"]);
    let head = head_of(&server, "/a");
    assert!(head.starts_with("HTTP/1.1 302 ") && head.contains("\r\nLocation: /b\r\n"), "{head}");
    assert!(head_of(&server, "/").contains("\r\nX-A: one\r\n"));
    for target in ["/_redirects", "/_headers", "/c"] {
        assert!(head_of(&server, target).starts_with("HTTP/1.1 404 "), "{target}");
    }
    put(&root.path().join("_redirects"), "/a /e 301\n");
    eventually("new redirects apply", || head_of(&server, "/a").contains("\r\nLocation: /e\r\n"));
    assert_says(&server, &["the files of the root have new rules"]);
    put(&root.path().join("_headers"), "/*\n  X-A: two\n  Date: x\n");
    eventually("new fields apply", || head_of(&server, "/").contains("\r\nX-A: two\r\n"));
    assert_says(&server, &["_headers:3: `Date: x` is left out"]);
    // A broken file keeps the last good rules.
    fs::write(root.path().join("_redirects"), b"/a /f\xff\n").unwrap();
    assert_says(&server, &["_redirects: it is not UTF-8", "the last good ones stay"]);
    assert!(head_of(&server, "/a").contains("\r\nLocation: /e\r\n"));
    fs::remove_file(root.path().join("_redirects")).unwrap();
    eventually("the redirects go", || head_of(&server, "/a").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_root_that_turns_brings_its_files() {
    let folder =
        Folder::new(&format!("{BASE}site-files = \"cloudflare\"\n").replace("html", "now"));
    for (name, to) in [("html", "/one"), ("other", "/two")] {
        fs::write(folder.path(name).join("_redirects"), format!("/index.html {to}\n")).unwrap();
    }
    symlink("html", folder.path("now")).unwrap();
    let server = Server::start(&mut folder.command());
    let head = head_of(&server, "/index.html");
    assert!(head.contains("\r\nLocation: /one\r\n"), "a file loses: {head}");
    symlink("other", folder.path("next")).unwrap();
    fs::rename(folder.path("next"), folder.path("now")).unwrap();
    eventually("the other root has its redirects", || {
        head_of(&server, "/index.html").contains("\r\nLocation: /two\r\n")
    });
    // A reload takes a rule of the configuration, which goes first, and keeps those of the file.
    let text = BASE.replace("html", "now");
    let rule = "redirect = [{ from = \"/mine\", to = \"/three\" }]\n";
    folder.write(&format!("{text}site-files = \"cloudflare\"\n{rule}"));
    folder.assert_reloads(&["1 changed"]);
    for (target, to) in [("/mine", "/three"), ("/index.html", "/two")] {
        let head = head_of(&server, target);
        assert!(head.contains(&format!("\r\nLocation: {to}\r\n")), "{head}");
    }
    folder.write(&text);
    folder.assert_reloads(&["1 changed", "there is _redirects in the root"]);
    assert!(head_of(&server, "/_redirects").starts_with("HTTP/1.1 200 "));
}

#[test]
fn files_that_are_not_read_are_noted() {
    let root = site();
    for name in ["_redirects", "_headers"] {
        fs::write(root.path().join(name), "").unwrap();
    }
    let server = Server::start(with(&["--driver", "epoll"]).arg(root.path()));
    assert_says(&server, &["_redirects and _headers in the root", "--site-files netlify"]);
}

#[test]
fn a_check_takes_what_is_left_out_for_a_mistake() {
    let folder = Folder::new(&format!("{BASE}site-files = \"netlify\"\n"));
    let check = || end_of(ringd().arg("check").arg(folder.path("ringd.toml")));
    assert_eq!(check().code, Some(0));
    let redirects = folder.path("html/_redirects");
    fs::write(&redirects, "/a /b\n/* https://b.example/:splat 200\n").unwrap();
    fs::write(folder.path("html/_headers"), "/*\n  Content-Length: 3\n").unwrap();
    let end = check();
    assert_eq!((end.code, &*end.output), (Some(1), ""));
    end.assert_names(&["html/_redirects:2:", "ringd is no proxy", "html/_headers:2:"]);
    let many: String = (0..10_001).map(|number| format!("/{number} /x\n")).collect();
    fs::write(&redirects, many).unwrap();
    let end = check();
    end.assert_names(&["html/_redirects: line 10001: a site has at most 10000 rules"]);
    fs::write(&redirects, "#".repeat((1 << 20) + 1)).unwrap();
    check().assert_names(&["html/_redirects: it has 1048577 bytes, and 1 MiB is allowed"]);
}
