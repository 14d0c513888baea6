//! Which watches a site requests, and the effect of reports on lookups.

use std::cell::RefCell;

use super::*;
use crate::driver::watch::Change;
use crate::http::SiteTable;
use crate::http::site::listing::{Asked, Format};

/// A watcher that logs requests, and sends no reports by itself.
#[derive(Clone, Default, Debug)]
pub(super) struct StubWatcher(Rc<RefCell<WatchLog>>);

#[derive(Default, Debug)]
struct WatchLog {
    requests: Vec<WatchRequest>,
    /// Whether requests for watches fail.
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

    /// The requests since the last call.
    fn requests(&self) -> Vec<WatchRequest> {
        std::mem::take(&mut self.0.borrow_mut().requests)
    }
}

/// The watcher's id of the first root.
const SITE: SiteId = SiteId(0);

pub(super) fn watched(path: &str) -> ChangeReport {
    ChangeReport::Watched { site: SITE, path: path.as_bytes().into() }
}

fn unwatched(path: &str) -> ChangeReport {
    ChangeReport::Unwatched { site: SITE, path: path.as_bytes().into() }
}

/// A report that a file has changed.
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

/// Requests for watches beneath the first root.
fn watches<const N: usize>(paths: [&str; N]) -> Vec<WatchRequest> {
    paths.iter().map(|path| WatchRequest::Watch(SITE, (*path).to_owned())).collect()
}

/// The watch is requested when the lookup begins, to miss as few changes as possible.
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
    site.find(&directory).expect_err("the name is not cached");
    site.settle();
    assert_eq!(stub.requests(), watches(["d/sub"]));
    assert_eq!(site.sites.cache_stats().watched, 3);
}

/// Watches are useless if every request revalidates, and may be disabled in the settings.
#[test]
fn no_watch_is_requested_if_it_is_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    for (watch, revalidate_after) in [(true, Duration::ZERO), (false, SECOND)] {
        let stub = StubWatcher::default();
        let settings = HttpSettings { watch, revalidate_after, ..settings(folder.path()) };
        let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
        site.look_up(b"page.txt");
        assert_eq!((stub.requests(), site.sites.cache_stats().watched), (Vec::new(), 0));
    }
}

#[test]
fn a_watch_that_failed_is_requested_again_by_the_next_lookup() {
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

#[test]
fn the_number_of_watched_directories_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, stub) = watching(folder.path());
    for number in 0..5000 {
        let waiting = site.ask(format!("{number}/file").as_bytes());
        for (id, _) in std::mem::take(&mut site.open) {
            site.reply(id, Reply::Opened(Err(io::Error::from_raw_os_error(libc::ENOENT))));
        }
        site.told(waiting).expect("all questions have replies");
    }
    assert_eq!((stub.requests().len(), site.sites.cache_stats().watched), (4096, 4096));
}

/// A change before the watch began may have been missed. So results from before it are valid for
/// only a second, and so are those of lookups that run when it begins.
#[test]
fn results_from_before_a_watch_are_valid_for_a_second() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    for directory in ["", "d"] {
        let (mut site, _) = watching(folder.path());
        let paths = [&b"d/known.txt"[..], b"d/sub/known.txt", b"d", b"dx/known.txt"];
        paths.iter().for_each(|path| drop(site.look_up(path)));
        let slow = site.ask(b"d/slow.txt");
        let replies = site.perform_all();
        site.receive([watched(directory)]);
        assert!(paths.iter().all(|path| site.known(path).is_some()));
        site.reply_all(replies);
        assert!(site.told(slow).is_some() && site.known(b"d/slow.txt").is_some());
        site.now.instant += SECOND;
        let beneath = [true, true, directory.is_empty(), directory.is_empty()];
        for (path, limited) in paths.iter().zip(beneath) {
            assert_eq!(site.known(path).is_none(), limited, "{}", path.escape_ascii());
            assert_eq!(site.known(path).is_none(), limited, "it is not extended");
        }
        for _ in 0..2 {
            assert!(site.known(b"d/slow.txt").is_none());
        }
        // Results from now on are valid for the usual time.
        site.look_up(b"d/slow.txt");
        site.now.instant += HOUR - SECOND;
        assert!(site.known(b"d/slow.txt").is_some());
    }
}

/// Another name that begins with the name of the lookup, and was looked up later, is not limited.
#[test]
fn a_lookup_from_before_a_watch_limits_only_its_own_result() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, _) = watching(folder.path());
    let slow = site.ask(b"d/page");
    let replies = site.perform_all();
    site.receive([watched("d")]);
    site.look_up(b"d/page.txt");
    site.reply_all(replies);
    assert!(site.told(slow).is_some());
    site.now.instant += SECOND;
    let known = [&b"d/page"[..], b"d/page.txt"].map(|path| site.known(path).is_some());
    assert_eq!(known, [false, true]);
}

/// A listing that was read before its directory was watched is not shared with later requests, and
/// expires after a second.
#[test]
fn a_listing_from_before_a_watch_is_not_shared_after_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    let (mut site, _) = watching(folder.path());
    let queries: [Option<&[u8]>; 3] = [None, Some(b"sort=size"), Some(b"sort=time")];
    let names = queries.map(|query| {
        let asked = Asked::parse(Format::Html, query);
        ResourceName::Entries { path: b"d", asked }
    });
    let ask = |site: &mut TestSite, number: usize| {
        site.find(&names[number]).expect_err("the name is not cached");
        site.poll();
        let (id, ask) = site.open.pop().unwrap();
        site.reply(id, perform(ask));
        site.open.pop().unwrap()
    };
    let (first, second) = (ask(&mut site, 0), ask(&mut site, 1));
    // The first job reads the directory for both.
    let mut replies = vec![(first.0, perform(first.1))];
    fs::write(folder.path().join("d/new.txt"), "").unwrap();
    site.receive([watched("d")]);
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

/// When the watch of a directory ends, so do those of all directories beneath it.
#[test]
fn a_watch_that_has_ended_is_requested_again() {
    for (ended, again) in [
        ("d/sub", watches(["d/sub"])),
        ("d", watches(["d", "d/sub"])),
        ("", watches(["", "d", "d/sub", "dx"])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, stub) = watching(folder.path());
        let names = [&b"one"[..], b"d/one", b"d/sub/one", b"dx/one"];
        names.iter().for_each(|name| drop(site.look_up(name)));
        site.receive(["d", "d/sub", "dx"].map(watched));
        assert_eq!(stub.requests(), watches(["", "d", "d/sub", "dx"]));
        site.receive([unwatched(ended), everything()]);
        names.iter().for_each(|name| drop(site.look_up(name)));
        assert_eq!(stub.requests(), again, "the watch of {ended:?} has ended");
        assert_eq!(site.sites.cache_stats().watched, 4);
    }
}

/// A session that asks after a change was reported starts a new lookup, and later sessions join it.
/// It does not matter which of the two lookups ends first.
#[test]
fn a_lookup_from_before_a_change_is_not_joined_after_it() {
    for first_ends_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, _) = watching(folder.path());
        let before = site.ask(b"page.txt");
        let old = site.perform_all();
        write_page(folder.path(), "page.txt", 20_000);
        site.receive([changed("page.txt")]);
        site.now.instant += Duration::from_nanos(1);
        let after = site.ask(b"page.txt");
        assert_eq!(site.open.len(), AT_ONCE);
        let behind = site.ask(b"page.txt");
        assert_eq!(site.open.len(), AT_ONCE, "the third session joins the new lookup");
        let new = site.perform_all();
        let ends = if first_ends_first { [old, new] } else { [new, old] };
        ends.into_iter().for_each(|replies| site.reply_all(replies));
        let told = [before, after, behind].map(|waiting| length(site.told(waiting).unwrap()));
        assert_eq!(told, [10_000, 20_000, 20_000]);
        assert_eq!(site.known(b"page.txt").map(|page| length_of(&page)), Some(20_000));
    }
}

/// A lookup that has not begun has not read an old state.
#[test]
fn a_change_does_not_put_a_lookup_in_line_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let stub = StubWatcher::default();
    let settings = HttpSettings { watch: true, lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    let first = site.ask(b"other.txt");
    let in_line = site.ask(b"page.txt");
    site.receive([changed("page.txt")]);
    let behind = site.ask(b"page.txt");
    site.assert_told_in_turn(&[&[first], &[in_line, behind]]);
    assert!(site.known(b"page.txt").is_some());
}

/// A listing is shared until a change of its directory is reported.
#[test]
fn a_listing_is_read_again_after_a_change() {
    for changed_path in [None, Some("d/new.txt"), Some("new.txt")] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let (mut site, _) = watching(folder.path());
        let mut job = |format| {
            let name = ResourceName::Entries { path: b"d", asked: Asked::parse(format, None) };
            site.find(&name).expect_err("the name is not cached");
            site.poll();
            let (id, ask) = site.open.pop().unwrap();
            site.reply(id, perform(ask));
            site.receive(changed_path.map(changed).into_iter().collect::<Vec<_>>());
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

/// Each root has its own id, so late reports about an earlier root can be recognised.
#[test]
fn reports_about_an_earlier_root_are_ignored() {
    let (folder, settings) = releases();
    let stub = StubWatcher::default();
    let settings = HttpSettings { watch: true, revalidate_after: SECOND, ..settings };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    site.look_up(b"page.txt");
    assert_eq!(stub.requests(), watches([""]));
    deploy(folder.path(), "two");
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
    site.receive([everything(), unwatched(""), changed("page.txt"), watched(""), watched("c")]);
    assert_eq!((known(&mut site), site.sites.cache_stats().watched), ([true, true], 2));
    site.receive([changed_in(*second, "page.txt")]);
    assert_eq!(known(&mut site), [false, true]);
}

/// A table with one site, whose content is that of its generation.
fn table(folder: &Path, generation: u64) -> Arc<SiteTable> {
    let content = Content { listing: generation.is_multiple_of(2), ..Content::default() };
    let site = SiteSettings { content, ..SiteSettings::new(open_root(folder)) };
    Arc::new(SiteTable::new(generation, vec![Arc::new(site)]).unwrap())
}

/// The end of all watches is reported while a request is on its way. The watcher serves the
/// request, so a site that is retired now has to be forgotten, though it knows of no watch.
#[test]
fn a_site_whose_request_is_on_its_way_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { watch: true, ..HttpSettings::new(table(folder.path(), 1)) };
    let stub = StubWatcher::default();
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    let renew = |site: &mut TestSite, generation| {
        let table = table(folder.path(), generation);
        site.sites.receive(site.now, SitesMessage::Table(table, Duration::MAX));
    };
    site.look_up(b"page.txt");
    site.receive([unwatched(""), everything()]);
    assert_eq!((stub.requests(), site.sites.cache_stats().watched), (watches([""]), 0));
    renew(&mut site, 2);
    assert_eq!(stub.requests(), [WatchRequest::Forget(SITE)]);
    // The new one has not asked for a watch.
    renew(&mut site, 3);
    assert_eq!(stub.requests(), []);
}

/// After tens of thousands of sites, a number is used again. If the watcher is so late that reports
/// about the earlier site still come, they are taken for those of the new one. But the watcher
/// serves requests in order, so it reports the end of the earlier site before it watches for the
/// new one: then nothing is believed that is not so.
#[test]
fn late_reports_of_a_number_that_is_used_again_do_no_lasting_harm() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let settings = HttpSettings { watch: true, ..HttpSettings::new(table(folder.path(), 1)) };
    let stub = StubWatcher::default();
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    site.look_up(b"page.txt");
    assert_eq!(stub.requests(), watches([""]));
    // Each site has two numbers.
    for generation in 2..=1 + u64::from(u16::MAX / 2) + 1 {
        let table = table(folder.path(), generation);
        site.sites.receive(site.now, SitesMessage::Table(table, Duration::MAX));
    }
    assert_eq!(stub.requests(), [WatchRequest::Forget(SITE)]);
    for late in [true, false] {
        site.look_up(b"page.txt");
        if late {
            site.receive([changed("page.txt"), watched("old"), watched("")]);
            assert_eq!(site.sites.cache_stats().watched, 2);
            site.look_up(b"page.txt");
        }
        site.receive([unwatched(""), everything()]);
        assert!(site.known(b"page.txt").is_none(), "what was found meanwhile is checked again");
        site.receive([watched("")]);
        assert_eq!(site.sites.cache_stats().watched, 1);
    }
    assert!(stub.requests().starts_with(&watches([""])), "the new site has the number");
    site.look_up(b"page.txt");
    site.receive([changed("page.txt")]);
    assert!(site.known(b"page.txt").is_none());
}
