//! What a site asks of its watcher, and what reports do to lookups.

use std::cell::RefCell;

use super::*;
use crate::driver::watch::Change;
use crate::http::site::listing::{Asked, Format};

/// A watcher that notes what it is asked for, and reports nothing by itself.
#[derive(Clone, Default, Debug)]
pub(super) struct StubWatcher(Rc<RefCell<WatchLog>>);

#[derive(Default, Debug)]
struct WatchLog {
    requests: Vec<WatchRequest>,
    /// Whether it has no room for requests.
    refuses: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum WatchRequest {
    Watch(SiteId, String),
    Forget(SiteId),
}

impl Watcher for StubWatcher {
    fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool {
        assert_eq!(root.metadata().kind, FileKind::Directory);
        let path = String::from_utf8(path.to_vec()).unwrap();
        let mut log = self.0.borrow_mut();
        log.requests.push(WatchRequest::Watch(site, path));
        !log.refuses
    }

    fn forget(&mut self, site: SiteId) {
        self.0.borrow_mut().requests.push(WatchRequest::Forget(site));
    }
}

impl StubWatcher {
    fn refuse(&self, refuses: bool) {
        self.0.borrow_mut().refuses = refuses;
    }

    /// What was asked for since the last time.
    fn requests(&self) -> Vec<WatchRequest> {
        std::mem::take(&mut self.0.borrow_mut().requests)
    }
}

/// The first root of a site.
const SITE: SiteId = SiteId(0);

pub(super) fn watched(path: &str) -> ChangeReport {
    ChangeReport::Watched { site: SITE, path: path.as_bytes().into() }
}

fn unwatched(path: &str) -> ChangeReport {
    ChangeReport::Unwatched { site: SITE, path: path.as_bytes().into() }
}

/// A file has changed.
pub(super) fn changed(path: &str) -> ChangeReport {
    changed_in(SITE, path)
}

fn changed_in(site: SiteId, path: &str) -> ChangeReport {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (directory, name) = (directory.as_bytes().into(), name.as_bytes().into());
    ChangeReport::Changed { site, change: Change::Entry { directory, name, beneath: false } }
}

fn everything() -> ChangeReport {
    ChangeReport::Changed { site: SITE, change: Change::Everything }
}

/// Requests for watches of the first root.
fn watches<const N: usize>(paths: [&str; N]) -> Vec<WatchRequest> {
    paths.iter().map(|path| WatchRequest::Watch(SITE, (*path).to_owned())).collect()
}

/// The watch is asked for before the files are, so that it misses no more than it must.
#[test]
fn each_directory_is_watched_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, stub) = watching(folder.path());
    assert_eq!(stub.requests(), watches([""]));
    let waiting = site.ask(b"d/one.txt");
    assert_eq!((stub.requests(), site.open.is_empty()), (watches(["d"]), false));
    site.settle();
    assert!(site.told(waiting).is_some());
    for path in [&b"d/two.txt"[..], b"d/one.txt.html", b"page.txt"] {
        site.look_up(path);
    }
    let directory = ResourceName::Target { path: b"d/sub", directory: true };
    site.find(&directory).expect_err("it is not known");
    site.settle();
    assert_eq!(stub.requests(), watches(["d/sub"]));
    assert_eq!(site.sites.cache_stats().watched, 3);
}

/// What is asked about each time needs no watch, and what nobody wants watched has none.
#[test]
fn nothing_is_watched_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    for (watch, revalidate_after) in [(true, Duration::ZERO), (false, SECOND)] {
        let stub = StubWatcher::default();
        let settings = SiteSettings { watch, revalidate_after, ..settings(folder.path()) };
        let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
        site.look_up(b"page.txt");
        assert_eq!((stub.requests(), site.sites.cache_stats().watched), (Vec::new(), 0));
    }
}

/// A watcher that has no room at the moment is asked again by the next lookup.
#[test]
fn a_watch_that_is_refused_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, stub) = watching(folder.path());
    stub.requests();
    for (refuses, asked) in [(true, watches(["d"])), (false, watches(["d"])), (false, Vec::new())] {
        stub.refuse(refuses);
        let number = site.sessions;
        site.look_up(format!("d/{number}.txt").as_bytes());
        assert_eq!(
            (stub.requests(), site.sites.cache_stats().watched),
            (asked, 2 - u64::from(refuses))
        );
    }
}

/// A site that has files in many directories keeps the number of those that it has watched within
/// a bound.
#[test]
fn watched_directories_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, stub) = watching(folder.path());
    for number in 0..5000 {
        let waiting = site.ask(format!("{number}/file").as_bytes());
        for (id, _) in std::mem::take(&mut site.open) {
            site.reply(id, Reply::Opened(Err(io::Error::from_raw_os_error(libc::ENOENT))));
        }
        site.told(waiting).expect("all was replied to");
    }
    assert_eq!((stub.requests().len(), site.sites.cache_stats().watched), (4096, 4096));
}

/// What was seen in a directory before it was watched may have changed unnoticed: what is known of
/// it, and what is just being looked up, holds for a second and no longer.
#[test]
fn a_watch_that_begins_limits_what_was_found_before() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    for directory in ["", "d"] {
        let (mut site, _) = watching(folder.path());
        let paths = [&b"d/known.txt"[..], b"d/sub/known.txt", b"d", b"dx/known.txt"];
        paths.iter().for_each(|path| drop(site.look_up(path)));
        let slow = site.ask(b"d/slow.txt");
        let replies = site.perform_all();
        site.hear([watched(directory)]);
        assert!(paths.iter().all(|path| site.known(path).is_some()));
        site.reply_all(replies);
        assert!(site.told(slow).is_some() && site.known(b"d/slow.txt").is_some());
        site.now.instant += SECOND;
        let beneath = [true, true, directory.is_empty(), directory.is_empty()];
        for (path, limited) in paths.iter().zip(beneath) {
            assert_eq!(site.known(path).is_none(), limited, "{}", path.escape_ascii());
            assert_eq!(site.known(path).is_none(), limited, "it holds no longer for others");
        }
        for _ in 0..2 {
            assert!(site.known(b"d/slow.txt").is_none());
        }
        // What is found from now on holds for its time.
        site.look_up(b"d/slow.txt");
        site.now.instant += HOUR - SECOND;
        assert!(site.known(b"d/slow.txt").is_some());
    }
}

/// A lookup that began before its directory was watched says nothing of other names, also of those
/// that begin like its own and were looked up since.
#[test]
fn a_lookup_that_was_not_watched_limits_its_own_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, _) = watching(folder.path());
    let slow = site.ask(b"d/page");
    let replies = site.perform_all();
    site.hear([watched("d")]);
    site.look_up(b"d/page.txt");
    site.reply_all(replies);
    assert!(site.told(slow).is_some());
    site.now.instant += SECOND;
    let known = [&b"d/page"[..], b"d/page.txt"].map(|path| site.known(path).is_some());
    assert_eq!(known, [false, true]);
}

/// A listing that was read before its directory was watched is not shared with those who ask after
/// that, and is asked about again.
#[test]
fn a_reading_is_no_younger_than_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    let (mut site, _) = watching(folder.path());
    let queries: [Option<&[u8]>; 3] = [None, Some(b"sort=size"), Some(b"sort=time")];
    let names = queries.map(|query| {
        let asked = Asked::parse(Format::Html, query);
        ResourceName::Entries { path: b"d", asked }
    });
    let ask = |site: &mut TestSite, number: usize| {
        site.find(&names[number]).expect_err("it is not known");
        site.poll();
        let (id, ask) = site.open.pop().unwrap();
        site.reply(id, perform(ask));
        site.open.pop().unwrap()
    };
    let (first, second) = (ask(&mut site, 0), ask(&mut site, 1));
    // It reads for both of them.
    let mut replies = vec![(first.0, perform(first.1))];
    fs::write(folder.path().join("d/new.txt"), "").unwrap();
    site.hear([watched("d")]);
    let third = ask(&mut site, 2);
    replies.extend([second, third].map(|(id, ask)| (id, perform(ask))));
    let shows_new = |(_, reply): &(AskId, Reply)| match reply {
        Reply::Ran(Ok(page)) => page.windows(7).any(|window| window == b"new.txt"),
        reply => panic!("{reply:?}"),
    };
    assert_eq!(replies.iter().map(shows_new).collect::<Vec<_>>(), [false, false, true]);
    site.reply_all(replies);
    site.now.instant += SECOND;
    let known = names.map(|name| site.find(&name).is_ok());
    assert_eq!(known, [false, false, true], "only the last one was read after the watch began");
}

/// Nothing more is reported of a directory whose watch has ended, nor of those beneath it, by the
/// contract of watchers: the next lookup there asks for it again.
#[test]
fn a_watch_that_ends_is_asked_for_again() {
    for (ended, again) in [
        ("d/sub", watches(["d/sub"])),
        ("d", watches(["d", "d/sub"])),
        ("", watches(["", "d", "d/sub", "dx"])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, stub) = watching(folder.path());
        let names = [&b"one"[..], b"d/one", b"d/sub/one", b"dx/one"];
        names.iter().for_each(|name| drop(site.look_up(name)));
        site.hear(["d", "d/sub", "dx"].map(watched));
        assert_eq!(stub.requests(), watches(["", "d", "d/sub", "dx"]));
        site.hear([unwatched(ended), everything()]);
        names.iter().for_each(|name| drop(site.look_up(name)));
        assert_eq!(stub.requests(), again, "the watch of {ended:?} has ended");
        assert_eq!(site.sites.cache_stats().watched, 4);
    }
}

/// Who asks after a change waits for a lookup that has not missed it, and whoever comes behind
/// waits for the same one. It does not matter which of the two ends first.
#[test]
fn who_asks_after_a_change_is_not_told_what_was_before() {
    for first_ends_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, _) = watching(folder.path());
        let before = site.ask(b"page.txt");
        let old = site.perform_all();
        write_page(folder.path(), "page.txt", 20_000);
        site.hear([changed("page.txt")]);
        site.now.instant += Duration::from_nanos(1);
        let after = site.ask(b"page.txt");
        assert_eq!(site.open.len(), AT_ONCE);
        let behind = site.ask(b"page.txt");
        assert_eq!(site.open.len(), AT_ONCE, "there is one that it can wait for");
        let new = site.perform_all();
        let ends = if first_ends_first { [old, new] } else { [new, old] };
        ends.into_iter().for_each(|replies| site.reply_all(replies));
        let told = [before, after, behind].map(|waiting| length(site.told(waiting).unwrap()));
        assert_eq!(told, [10_000, 20_000, 20_000]);
        assert_eq!(site.known(b"page.txt").map(|page| length_of(&page)), Some(20_000));
    }
}

/// A lookup that has not begun misses nothing.
#[test]
fn a_lookup_in_line_is_in_no_doubt() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let stub = StubWatcher::default();
    let settings = SiteSettings { watch: true, lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    let first = site.ask(b"other.txt");
    let in_line = site.ask(b"page.txt");
    site.hear([changed("page.txt")]);
    let behind = site.ask(b"page.txt");
    for waiting in [&[first][..], &[in_line, behind]] {
        assert_eq!(site.open.len(), AT_ONCE);
        let replies = site.perform_all();
        site.reply_all(replies);
        assert!(waiting.iter().all(|waiting| site.told(*waiting).is_some()));
    }
    assert!(site.open.is_empty(), "they wait for one lookup");
    assert!(site.known(b"page.txt").is_some());
}

/// The entries that somebody waits for are shared with others until something is heard of them.
#[test]
fn a_listing_is_read_anew_after_a_change() {
    for changed_path in [None, Some("d/new.txt"), Some("new.txt")] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let (mut site, _) = watching(folder.path());
        let mut job = |format| {
            let name = ResourceName::Entries { path: b"d", asked: Asked::parse(format, None) };
            site.find(&name).expect_err("it is not known");
            site.poll();
            let (id, ask) = site.open.pop().unwrap();
            site.reply(id, perform(ask));
            site.hear(changed_path.map(changed).into_iter().collect::<Vec<_>>());
            match site.open.pop() {
                Some((_, Ask::Run { job })) => job,
                other => panic!("{other:?}"),
            }
        };
        let (first, second) = (job(Format::Html), job(Format::Json));
        first.perform().unwrap();
        fs::write(folder.path().join("d/new.txt"), "").unwrap();
        let page = String::from_utf8(second.perform().unwrap()).unwrap();
        assert_eq!(page.contains("new.txt"), changed_path == Some("d/new.txt"), "{changed_path:?}");
    }
}

/// The directories of another root are others, and bear another name: reports that are still on
/// their way mean nothing.
#[test]
fn reports_of_an_earlier_root_are_ignored() {
    let (folder, settings) = releases();
    let stub = StubWatcher::default();
    let settings = SiteSettings { watch: true, revalidate_after: SECOND, ..settings };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    site.look_up(b"page.txt");
    assert_eq!(stub.requests(), watches([""]));
    turn(folder.path(), "two");
    site.now.instant += SECOND;
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    let requests = stub.requests();
    let [WatchRequest::Forget(SITE), WatchRequest::Watch(second, directory)] = &requests[..] else {
        panic!("{requests:?}")
    };
    assert!(*second != SITE && directory.is_empty());
    site.look_up(b"d/other.txt");
    let known = |site: &mut TestSite| {
        [&b"page.txt"[..], b"d/other.txt"].map(|path| site.known(path).is_some())
    };
    assert_eq!((known(&mut site), site.sites.cache_stats().watched), ([true, true], 2));
    site.hear([everything(), unwatched(""), changed("page.txt"), watched(""), watched("c")]);
    assert_eq!((known(&mut site), site.sites.cache_stats().watched), ([true, true], 2));
    site.hear([changed_in(*second, "page.txt")]);
    assert_eq!(known(&mut site), [false, true]);
}
