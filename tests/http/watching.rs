//! Changes that inotify reports. Without a report, cached answers would be valid for an hour.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use ringd::driver::DriverKind;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::common::eventually;
use crate::support::client::resolve;
use crate::support::fixture::Fixture;

const HOUR: Duration = Duration::from_secs(3600);

/// A server that caches for an hour, unless inotify reports a change; `None` if inotify is not
/// available.
fn start(kind: DriverKind) -> Option<Fixture> {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.revalidate_after = HOUR;
        setup.http.watch = true;
        setup.site.content.clean_urls = true;
        setup.site.content.listing = true;
    });
    // The second request revalidates what was loaded before the watch began.
    for _ in 0..2 {
        fixture.get("/small.txt");
    }
    if !can_watch(&fixture.path(".")) {
        println!("skipped: inotify is not available (fs.inotify in proc(5))");
        fixture.finish();
        return None;
    }
    assert!(fixture.cache().watched > 0);
    Some(fixture)
}

/// Whether the kernel grants an inotify instance and a watch, whatever the server does.
fn can_watch(folder: &Path) -> bool {
    let instance = inotify::init(CreateFlags::CLOEXEC);
    instance.is_ok_and(|one| inotify::add_watch(&one, folder, WatchFlags::MODIFY).is_ok())
}

/// Requests a name until it is cached and no longer revalidated.
fn settle(fixture: &Fixture, target: &str) {
    eventually("the name is cached", || {
        let before = fixture.cache();
        fixture.get(target);
        let after = fixture.cache();
        (before.misses, before.revalidations) == (after.misses, after.revalidations)
            && before.hits < after.hits
    });
}

/// The body of an answer, or its status if it is an error.
fn body(fixture: &Fixture, target: &str) -> String {
    let response = fixture.get(target);
    match response.status {
        200 => String::from_utf8_lossy(&response.body).into_owned(),
        308 => resolve(target, response.field("location").unwrap()),
        status => status.to_string(),
    }
}

pub(crate) fn a_change_is_served_though_nothing_has_expired(kind: DriverKind) {
    type Act = fn(&Fixture);
    let cases: [(&str, &str, Act, &str); 14] = [
        ("/new.txt", "404", |f| fs::write(f.path("new.txt"), "new").unwrap(), "new"),
        ("/new.txt", "new", |f| fs::write(f.path("new.txt"), "written").unwrap(), "written"),
        ("/new.txt", "written", |f| replace(f, "new.txt", "renamed"), "renamed"),
        ("/new.txt", "renamed", |f| fs::remove_file(f.path("new.txt")).unwrap(), "404"),
        ("/bare/", "*file.txt*", |f| fs::write(f.path("bare/more.txt"), "").unwrap(), "*more.txt*"),
        ("/bare/", "*more.txt*", |f| replace(f, "bare/index.html", "index"), "index"),
        ("/bare/", "index", |f| replace(f, "bare/index.html", "other"), "other"),
        ("/bare/", "other", |f| fs::remove_file(f.path("bare/index.html")).unwrap(), "*more.txt*"),
        ("/deep/down/page.txt", "404", |f| replace(f, "deep/down/page.txt", "deep"), "deep"),
        ("/clean", "404", |f| replace(f, "clean.html", "page"), "page"),
        ("/clean.html", "/clean", |f| replace(f, "clean", "taken"), "page"),
        ("/clean", "taken", |f| fs::remove_file(f.path("clean")).unwrap(), "page"),
        ("/bare", "/bare/", |f| fs::remove_dir_all(f.path("bare")).unwrap(), "404"),
        ("/bare/", "404", |f| symlink("deep/down", f.path("bare")).unwrap(), "*page.txt*"),
    ];
    let Some(fixture) = start(kind) else { return };
    let is = |target: &str, expected: &str| {
        let body = body(&fixture, target);
        match expected.strip_prefix('*').and_then(|part| part.strip_suffix('*')) {
            Some(part) => body.contains(part),
            None => body == expected,
        }
    };
    for (number, (target, before, act, after)) in cases.into_iter().enumerate() {
        eventually(&format!("{number}: {target} is {before}"), || is(target, before));
        settle(&fixture, target);
        assert!(is(target, before), "{number}: {target} is not {before} any more");
        act(&fixture);
        eventually(&format!("{number}: {target} becomes {after}"), || is(target, after));
    }
    coding_comes_and_goes(&fixture);
    fixture.finish();
}

/// Replaces a file atomically.
fn replace(fixture: &Fixture, name: &str, content: &str) {
    fs::create_dir_all(fixture.path(name).parent().unwrap()).unwrap();
    fs::write(fixture.path("being-written"), content).unwrap();
    fs::rename(fixture.path("being-written"), fixture.path(name)).unwrap();
}

fn coding_comes_and_goes(fixture: &Fixture) {
    let coding = || {
        let mut client = fixture.connect();
        client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br\r\n\r\n");
        client.read_response().field("content-encoding").is_some()
    };
    settle(fixture, "/small.txt");
    assert!(!coding());
    fs::write(fixture.path("small.txt.br"), "in Brotli, if you believe it").unwrap();
    eventually("the coding is sent", coding);
    settle(fixture, "/small.txt");
    fs::remove_file(fixture.path("small.txt.br")).unwrap();
    eventually("the coding is gone", || !coding());
}

/// Neither the files below the old name nor those below the new one are reported by name.
pub(crate) fn a_directory_that_moves_takes_its_files_along(kind: DriverKind) {
    let Some(fixture) = start(kind) else { return };
    let names = ["/one/sub/page.txt", "/two/sub/page.txt", "/three/sub/page.txt"];
    for name in ["one", "two"] {
        fs::create_dir_all(fixture.path(name).join("sub")).unwrap();
        fs::write(fixture.path(name).join("sub/page.txt"), name).unwrap();
    }
    let expect = |bodies: [&str; 3]| {
        for (target, expected) in names.into_iter().zip(bodies) {
            eventually(&format!("{target} is {expected}"), || body(&fixture, target) == expected);
            settle(&fixture, target);
        }
    };
    expect(["one", "two", "404"]);
    fs::rename(fixture.path("one"), fixture.path("three")).unwrap();
    expect(["404", "two", "one"]);
    fs::rename(fixture.path("two"), fixture.path("one")).unwrap();
    expect(["two", "404", "one"]);
    // The watch is on the directory that now has the name.
    fs::write(fixture.path("one/sub/page.txt"), "written").unwrap();
    expect(["written", "404", "one"]);
    // If a link is replaced, the names below it change with it.
    symlink("three", fixture.path("two")).unwrap();
    expect(["written", "one", "one"]);
    symlink("one", fixture.path("next")).unwrap();
    fs::rename(fixture.path("next"), fixture.path("two")).unwrap();
    expect(["written", "written", "one"]);
    fixture.finish();
}

/// One file is written all the time, and others are created and renamed, in the same directory
/// and in another one.
pub(crate) fn a_busy_directory_does_not_expire_others(kind: DriverKind) {
    let Some(fixture) = start(kind) else { return };
    fs::write(fixture.path("log"), "").unwrap();
    let quiet = ["/small.txt", "/dir/", "/over.bin", "/log.txt", "/bare/file.txt"];
    let settle_all = || quiet.iter().chain(&["/log"]).for_each(|name| settle(&fixture, name));
    settle_all();
    // What was loaded before its directory was watched is revalidated once more after a second.
    eventually("all directories are watched", || {
        let before = fixture.cache();
        std::thread::sleep(Duration::from_millis(1200));
        settle_all();
        fixture.cache().revalidations == before.revalidations
    });
    let before = fixture.cache();
    // A round causes seven events. All rounds together stay below `CHANGES_MAX`, beyond which the
    // watcher reports that everything has changed, however long it gets no CPU time.
    let rounds: usize = 30;
    for round in 1..=rounds {
        std::thread::sleep(Duration::from_millis(10));
        fs::write(fixture.path("log"), round.to_string()).unwrap();
        fs::write(fixture.path("bare/upload"), "").unwrap();
        fs::rename(fixture.path("bare/upload"), fixture.path("bare/done")).unwrap();
        quiet.iter().for_each(|target| drop(fixture.get(target)));
    }
    let after = fixture.cache();
    assert_eq!(after.revalidations, before.revalidations, "the quiet names are not revalidated");
    // If a name is not found, the page for the error is looked up as well.
    assert!(after.hits >= before.hits + (rounds * quiet.len()) as u64);
    assert_eq!((after.misses, after.evictions), (before.misses, before.evictions));
    eventually("what was written is served", || body(&fixture, "/log") == rounds.to_string());
    assert!(fixture.cache().expirations > before.expirations, "the change was reported");
    fixture.finish();
}

/// More changes than are read at once, and no requests meanwhile. The last change is noticed once
/// the watcher has read up to it, although nothing expires for an hour.
pub(crate) fn a_change_behind_a_storm_is_served(kind: DriverKind) {
    let Some(fixture) = start(kind) else { return };
    fs::write(fixture.path("page.txt"), "").unwrap();
    for number in 0..3 {
        settle(&fixture, "/page.txt");
        for file in 0..1000 {
            fs::write(fixture.path(&format!("storm-{file}")), "").unwrap();
        }
        let content = format!("version {number}");
        replace(&fixture, "page.txt", &content);
        eventually(&format!("{kind}: the change is served"), || {
            body(&fixture, "/page.txt") == content
        });
        (0..1000).for_each(|file| fs::remove_file(fixture.path(&format!("storm-{file}"))).unwrap());
    }
    fixture.finish();
}

pub(crate) fn without_a_watch_entries_are_valid_for_their_time(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.revalidate_after = HOUR;
        setup.http.watch = false;
    });
    fs::write(fixture.path("page.txt"), "old").unwrap();
    assert_eq!(body(&fixture, "/page.txt"), "old");
    fs::write(fixture.path("page.txt"), "new").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(body(&fixture, "/page.txt"), "old", "the old answer is cached");
    assert_eq!((fixture.cache().watched, fixture.cache().expirations), (0, 0));
    fixture.finish();
}
