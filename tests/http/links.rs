//! Symbolic links: which are followed beneath the root, the link to the root itself, and links
//! that change during requests.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use ringd::driver::{DriverKind, File, Links};
use ringd::http::RootPath;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::eventually;
use crate::support::client::Client;
use crate::support::fixture::{Fixture, Setup};
use crate::support::root::content;

/// The values of `--symlinks`.
const POLICIES: [&str; 3] = ["beneath", "never", "follow"];

/// The answer to a target under each policy: the status, and the body of a 200.
type Answers = [(u16, &'static str); 3];

const ALWAYS: Answers = [(200, "a page"); 3];
const UNLESS_NEVER: Answers = [(200, "a page"), (403, ""), (200, "a page")];
const IF_FOLLOWED: Answers = [(403, ""), (403, ""), (200, "a secret")];

const CASES: [(&str, Answers); 18] = [
    ("/page", ALWAYS),
    ("/inner/page", ALWAYS),
    ("/beneath", UNLESS_NEVER),
    ("/chain", UNLESS_NEVER),
    ("/way/page", UNLESS_NEVER),
    ("/way/inner/page", UNLESS_NEVER),
    ("/inner/back", UNLESS_NEVER),
    // The index of a directory may be a link, too.
    ("/linked/", UNLESS_NEVER),
    ("/way", [(308, ""), (403, ""), (308, "")]),
    ("/dangling", [(404, ""), (403, ""), (404, "")]),
    ("/absolute", [(403, ""), (403, ""), (200, "a page")]),
    ("/up", IF_FOLLOWED),
    ("/far", IF_FOLLOWED),
    ("/out/secret", IF_FOLLOWED),
    ("/inner/out/secret", IF_FOLLOWED),
    ("/out", [(403, ""), (403, ""), (308, "")]),
    ("/circle", [(403, ""); 3]),
    // Links of proc(5) that are not paths are never followed.
    ("/magic", [(403, ""); 3]),
];

/// A root `served` with links of every kind, and `outside` beside it.
fn linked() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("served");
        for directory in ["served/inner", "served/linked", "served/shelf", "outside"] {
            fs::create_dir_all(place.path().join(directory)).unwrap();
        }
        fs::write(place.path().join("outside/secret"), "a secret").unwrap();
        fs::write(root.join("small.txt"), content(20)).unwrap();
        for page in ["page", "inner/page", "shelf/own"] {
            fs::write(root.join(page), "a page").unwrap();
        }
        let absolute = root.join("page");
        let far = place.path().join("outside/secret");
        for (name, target) in [
            ("beneath", Path::new("page")),
            ("chain", Path::new("way/back")),
            ("way", Path::new("inner")),
            ("inner/inner", Path::new(".")),
            ("inner/back", Path::new("../beneath")),
            ("linked/index.html", Path::new("../page")),
            ("dangling", Path::new("nowhere")),
            ("absolute", &absolute),
            ("up", Path::new("../outside/secret")),
            ("far", &far),
            ("out", Path::new("../outside")),
            ("inner/out", Path::new("../../outside")),
            ("circle", Path::new("circle")),
            ("magic", Path::new("/proc/self/cwd/Cargo.toml")),
            ("shelf/back", Path::new("../page")),
            ("shelf/dir", Path::new("../inner")),
            ("shelf/up", Path::new("../../outside/secret")),
            ("shelf/nowhere", Path::new("nowhere")),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        place
    });
    static SERVED: LazyLock<std::path::PathBuf> = LazyLock::new(|| ROOT.path().join("served"));
    &SERVED
}

pub(crate) fn each_policy_follows_its_links(kind: DriverKind) {
    for (column, policy) in POLICIES.into_iter().enumerate() {
        let fixture = Fixture::start_as(kind, linked(), &["--symlinks", policy]);
        let mut client = fixture.connect();
        for (target, answers) in CASES {
            let (status, body) = answers[column];
            for method in ["GET", "HEAD"] {
                let response = client.ask(method, target, "");
                assert_eq!(response.status, status, "{method} {target}, {policy}");
                if status == 200 && method == "GET" {
                    response.expect_ok(body.as_bytes());
                }
                assert!(!response.body.windows(8).any(|bytes| bytes == b"a secret") || column == 2);
            }
        }
        drop(client);
        fixture.finish();
    }
}

pub(crate) fn links_are_listed_if_they_can_be_followed(kind: DriverKind) {
    for (policy, hrefs) in [
        ("beneath", &["dir/", "back", "own"][..]),
        ("never", &["own"]),
        ("follow", &["dir/", "back", "own", "up"]),
    ] {
        let options = ["--listing", "--symlinks", policy];
        let fixture = Fixture::start_as(kind, linked(), &options);
        let mut client = fixture.connect();
        assert_eq!(listed(&mut client, "/shelf/").as_deref(), Some(&owned(hrefs)[..]), "{policy}");
        for href in hrefs {
            let response = client.ask("GET", &format!("/shelf/{href}"), "");
            assert_eq!(response.status, 200, "{href}, {policy}");
        }
        drop(client);
        fixture.finish();
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The references of a listing, if there is one.
fn listed(client: &mut Client, target: &str) -> Option<Vec<String>> {
    let response = client.ask("GET", target, "Accept: application/json");
    if response.status != 200 {
        return None;
    }
    let listing: Value = serde_json::from_slice(&response.body).expect("JSON");
    let entries = listing["entries"].as_array().expect("entries").iter();
    Some(entries.map(|entry| entry["href"].as_str().unwrap().to_owned()).collect())
}

/// Releases of a site, and the path that leads to the one that is served.
struct Releases {
    place: TempDir,
}

impl Releases {
    const CURRENT: &str = "current";

    fn new(versions: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("secret"), "a secret").unwrap();
        for version in versions {
            let root = place.path().join(version);
            fs::create_dir_all(root.join("shelf")).unwrap();
            fs::create_dir(root.join(format!("dir-{version}"))).unwrap();
            fs::write(root.join("small.txt"), content(20)).unwrap();
            fs::write(root.join("page.txt"), version).unwrap();
            fs::write(root.join("404.html"), format!("not in {version}")).unwrap();
            fs::write(root.join(format!("only-{version}.txt")), version).unwrap();
            fs::write(root.join(format!("shelf/{version}.txt")), version).unwrap();
            symlink("../secret", root.join("away")).unwrap();
        }
        Self { place }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// Replaces the link atomically, as a deployment does.
    fn link_to(&self, target: &str) {
        symlink(target, self.path("next")).unwrap();
        fs::rename(self.path("next"), self.path(Self::CURRENT)).unwrap();
    }

    fn serve(&self, kind: DriverKind) -> Fixture {
        let current = self.path(Self::CURRENT);
        let base = Arc::new(File::open_root(Path::new("/"), Links::Follow).unwrap());
        let path = CString::new(current.as_os_str().as_bytes()).unwrap();
        Fixture::start_over(kind, &current, |setup: &mut Setup| {
            setup.content(&current, &["--listing"]);
            setup.site.root_path = Some(RootPath { base, path });
            setup.http.revalidate_after = Duration::from_millis(20);
        })
    }
}

/// Checks that all answers come from one release, and none from the others.
fn expect_release(client: &mut Client, version: &str, others: &[&str]) {
    client.ask("GET", "/page.txt", "").expect_ok(version.as_bytes());
    client.ask("GET", &format!("/only-{version}.txt"), "").expect_ok(version.as_bytes());
    assert_eq!(client.ask("GET", &format!("/dir-{version}"), "").status, 308);
    let hrefs = [format!("{version}.txt")];
    assert_eq!(listed(client, "/shelf/").as_deref(), Some(&hrefs[..]));
    for other in others {
        for target in [format!("/only-{other}.txt"), format!("/dir-{other}")] {
            let missing = client.ask("GET", &target, "");
            let body = format!("not in {version}");
            assert_eq!((missing.status, &*missing.body), (404, body.as_bytes()), "{target}");
        }
    }
    // The new root has the link policy of the old one.
    assert_eq!(client.ask("GET", "/away", "").status, 403);
}

/// Waits until a release is served.
fn wait_for(client: &mut Client, version: &str) {
    eventually("the new release is served", || {
        client.ask("GET", "/page.txt", "").body == version.as_bytes()
    });
}

pub(crate) fn a_root_behind_a_link_is_followed(kind: DriverKind) {
    let releases = Releases::new(&["one", "second"]);
    releases.link_to("one");
    let fixture = releases.serve(kind);
    let mut client = fixture.connect();
    // Cached results of one release must not be used for another, so both are requested.
    expect_release(&mut client, "one", &["second"]);
    releases.link_to("second");
    wait_for(&mut client, "second");
    expect_release(&mut client, "second", &["one"]);
    // Back again.
    releases.link_to("one");
    wait_for(&mut client, "one");
    expect_release(&mut client, "one", &["second"]);
    // A path that is no directory is no root, so the old one stays.
    for broken in ["nowhere", "one/page.txt", Releases::CURRENT] {
        releases.link_to(broken);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(100) {
            expect_release(&mut client, "one", &["second"]);
        }
    }
    releases.link_to("second");
    wait_for(&mut client, "second");
    expect_release(&mut client, "second", &["one"]);
    drop(client);
    fixture.finish();
}

/// Some deployments rename directories. While the name does not exist, the old root stays.
pub(crate) fn a_root_that_is_renamed_is_followed(kind: DriverKind) {
    let releases = Releases::new(&["one", "second"]);
    fs::rename(releases.path("one"), releases.path(Releases::CURRENT)).unwrap();
    let fixture = releases.serve(kind);
    let mut client = fixture.connect();
    expect_release(&mut client, "one", &["second"]);
    fs::rename(releases.path(Releases::CURRENT), releases.path("old")).unwrap();
    expect_release(&mut client, "one", &["second"]);
    fs::rename(releases.path("second"), releases.path(Releases::CURRENT)).unwrap();
    wait_for(&mut client, "second");
    expect_release(&mut client, "second", &["one"]);
    fs::remove_dir_all(releases.path("old")).unwrap();
    expect_release(&mut client, "second", &["one"]);
    drop(client);
    fixture.finish();
}

/// A directory that is replaced by a link and put back, as fast as possible.
struct Turning<'a> {
    place: &'a Path,
}

impl Turning<'_> {
    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.place.join(from), self.place.join(to)).unwrap();
    }

    fn to_link(&self) {
        self.rename("served/turn", "directory");
        self.rename("link", "served/turn");
    }

    fn to_directory(&self) {
        self.rename("served/turn", "link");
        self.rename("directory", "served/turn");
    }
}

/// At no moment does anything leak: neither a file, its length, its codings, nor names.
pub(crate) fn a_directory_that_turns_into_a_link_shows_nothing(kind: DriverKind) {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for (directory, says) in [("served/turn", "inside"), ("outside", "SECRET")] {
        fs::create_dir_all(path(directory)).unwrap();
        fs::write(path(directory).join("small.js"), says).unwrap();
        fs::write(path(directory).join("large.bin"), says.repeat(2000)).unwrap();
    }
    // What would be sent in place of the file inside, and what would be listed.
    fs::write(path("outside/small.js.gz"), "SECRET").unwrap();
    fs::write(path("outside/SECRET.txt"), "SECRET").unwrap();
    fs::write(path("served/small.txt"), content(20)).unwrap();
    symlink("../outside", path("link")).unwrap();
    for policy in ["beneath", "never"] {
        let served = path("served");
        let fixture = Fixture::start_over(kind, &served, |setup| {
            setup.content(&served, &["--listing", "--symlinks", policy]);
            setup.http.revalidate_after = Duration::ZERO;
        });
        let mut client = fixture.connect();
        let mut look = |round: usize| {
            let target = ["small.js", "large.bin", "", "SECRET.txt"][round % 4];
            let lines = "Accept-Encoding: gzip\r\nAccept: application/json";
            let response = client.ask("GET", &format!("/turn/{target}"), lines);
            let secret = response.body.windows(6).any(|bytes| bytes == b"SECRET");
            assert!(!secret, "{target} shows what is outside: {}", response.head);
            assert!(matches!(response.status, 200 | 403 | 404 | 503), "{}", response.head);
            response.status
        };
        let turning = Turning { place: place.path() };
        let stopped = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    turning.to_link();
                    thread::yield_now();
                    turning.to_directory();
                }
            });
            // The replacing stops even if the checks panic.
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..400 {
                    look(round);
                }
            }));
            stopped.store(true, Ordering::Relaxed);
            looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        // Each of the two states gives the right answers while it lasts.
        assert_eq!([0, 1, 2, 3].map(&mut look), [200, 200, 200, 404]);
        turning.to_link();
        assert_eq!([0, 1, 2, 3].map(&mut look), [403; 4]);
        turning.to_directory();
        drop(client);
        fixture.finish();
    }
}
