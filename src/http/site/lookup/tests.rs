//! Lookups during which the root changes, a file changes, another lookup runs or a resource is
//! lacking. They run in a site without sessions, whose questions get their replies when the test
//! says so.

mod fallback;
mod listings;
mod random;
mod renewal;
mod root;
mod scarce;
mod shared;
mod table;
mod watched;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use watched::StubWatcher;

use super::*;
use crate::ask::AskId;
use crate::driver::Links;
use crate::driver::watch::{ChangeReport, Watcher};
use crate::http::harness::perform;
use crate::http::site::lookups::Ticket;
use crate::http::site::sites::{Resolved, Sites, SitesMessage};
use crate::http::{Content, HttpSettings, RootPath, SiteSettings};
use crate::service::{Service, SessionId, Task, Waiter};

/// The questions that a lookup asks at once: for a file, and for its compressed files.
const AT_ONCE: usize = 1 + Coding::ALL.len();
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A site without sessions, and its tasks.
#[derive(Debug)]
struct TestSite {
    sites: Sites,
    now: Now,
    /// Questions that were not performed yet, in their order.
    open: Vec<(AskId, Ask)>,
    /// Questions without a reply, performed or not.
    asked: Vec<AskId>,
    /// Questions that were cancelled.
    cancelled: Vec<AskId>,
    /// The results that sessions were told, by the number of the session.
    told: Vec<(u32, Resolved)>,
    /// The number of the last session.
    sessions: u32,
}

/// A session that waits for a lookup.
#[derive(Clone, Copy, Debug)]
struct WaitingSession {
    session: u32,
    ticket: Ticket,
}

impl TestSite {
    fn new(settings: HttpSettings) -> Self {
        Self::watched(settings, None)
    }

    /// A site with a watcher, at a time when all files are settled.
    fn watched(settings: HttpSettings, watcher: Option<Box<dyn Watcher>>) -> Self {
        let now = Now::read();
        let now = Now { system: now.system + 10 * SECOND, ..now };
        Self {
            sites: Sites::new(settings, now, watcher),
            now,
            open: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            told: Vec::new(),
            sessions: 0,
        }
    }

    /// Takes the tasks of the site. Questions are not performed yet.
    fn poll(&mut self) {
        while let Some(task) = self.sites.poll(self.now) {
            match task {
                Task::Ask(id, ask) => {
                    assert!(!self.asked.contains(&id), "{id:?} is asked again before its reply");
                    self.asked.push(id);
                    self.open.push((id, ask));
                }
                Task::Cancel(id) => self.cancelled.push(id),
                Task::Answer(Waiter { session, id }, found) => {
                    assert_eq!(SessionId::detached(id.0), session, "the id belongs to the session");
                    self.told.push((id.0, found));
                }
            }
        }
    }

    /// Lets a new session ask for a name, without polling the site. Each has another client.
    fn find(&mut self, name: &ResourceName<'_>) -> Result<Resolved, WaitingSession> {
        self.find_from(std::net::Ipv4Addr::from_bits(self.sessions).into(), name)
    }

    /// Lets a new session ask for a file that is not cached.
    fn ask(&mut self, path: &[u8]) -> WaitingSession {
        let Err(waiting) = self.find(&ResourceName::Target { path, directory: false }) else {
            panic!("{} is cached", path.escape_ascii())
        };
        self.poll();
        waiting
    }

    /// The cached result for a file, if it is valid.
    fn known(&mut self, path: &[u8]) -> Option<Rc<Resource>> {
        match self.find(&ResourceName::Target { path, directory: false }) {
            Ok(Resolved::Resource(resource)) => Some(resource),
            Ok(other) => panic!("{other:?} is cached"),
            Err(WaitingSession { session, ticket }) => {
                self.sites.leave(ticket, SessionId::detached(session));
                None
            }
        }
    }

    fn leave(&mut self, waiting: WaitingSession) {
        self.sites.leave(waiting.ticket, SessionId::detached(waiting.session));
        self.poll();
    }

    fn reply(&mut self, id: AskId, reply: Reply) {
        self.open.retain(|(other, _)| *other != id);
        self.asked.retain(|other| *other != id);
        self.sites.resume(self.now, id, reply);
        self.poll();
    }

    /// Performs all questions and those that follow, and replies to them.
    fn settle(&mut self) {
        self.poll();
        while !self.open.is_empty() {
            let (id, ask) = self.open.remove(0);
            self.reply(id, perform(ask));
        }
    }

    /// Performs the oldest question and replies to it.
    fn reply_next(&mut self) {
        let (id, ask) = self.open.remove(0);
        self.reply(id, perform(ask));
    }

    /// Performs all present questions, and returns the replies for later.
    fn perform_all(&mut self) -> Vec<(AskId, Reply)> {
        self.open.drain(..).map(|(id, ask)| (id, perform(ask))).collect()
    }

    fn reply_all(&mut self, replies: Vec<(AskId, Reply)>) {
        replies.into_iter().for_each(|(id, reply)| self.reply(id, reply));
    }

    /// Checks that lookups run one at a time, each for these sessions.
    fn assert_told_in_turn(&mut self, turns: &[&[WaitingSession]]) {
        for sessions in turns {
            assert_eq!(self.open.len(), AT_ONCE, "one lookup runs");
            let replies = self.perform_all();
            self.reply_all(replies);
            assert!(sessions.iter().all(|session| self.told(*session).is_some()));
        }
        assert!(self.open.is_empty(), "no lookup is left");
    }

    /// The result that a session was told.
    fn told(&mut self, waiting: WaitingSession) -> Option<Resolved> {
        let place = self.told.iter().position(|(session, _)| *session == waiting.session)?;
        Some(self.told.swap_remove(place).1)
    }

    fn look_up(&mut self, path: &[u8]) -> Resolved {
        let waiting = self.ask(path);
        self.settle();
        self.told(waiting).expect("all questions have replies")
    }

    /// The result for a file, from the cache if it is valid.
    fn get(&mut self, path: &[u8]) -> Resolved {
        match self.find(&ResourceName::Target { path, directory: false }) {
            Ok(found) => found,
            Err(waiting) => {
                self.settle();
                self.told(waiting).expect("all questions have replies")
            }
        }
    }

    fn receive(&mut self, reports: impl Into<Vec<ChangeReport>>) {
        self.sites.receive(self.now, SitesMessage::Changes(reports.into()));
        self.poll();
    }
}

fn resource(found: Resolved) -> Rc<Resource> {
    match found {
        Resolved::Resource(resource) => resource,
        other => panic!("{other:?}"),
    }
}

fn length_of(resource: &Resource) -> u64 {
    match resource {
        Resource::Page(page) => page.variant(None).len(),
        other => panic!("{other:?}"),
    }
}

fn length(found: Resolved) -> u64 {
    length_of(&resource(found))
}

/// The path that a question opens.
fn opens(ask: &Ask) -> &str {
    match ask {
        Ask::Open { path, .. } => path.to_str().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn open_root(path: &Path) -> Arc<File> {
    Arc::new(File::open_root(path, Links::Beneath).unwrap())
}

/// The settings of a site whose results are valid for an hour, and kept for longer.
fn settings(folder: &Path) -> HttpSettings {
    let (revalidate_after, cache_idle) = (HOUR, 3 * HOUR);
    HttpSettings { revalidate_after, cache_idle, ..HttpSettings::of_root(open_root(folder)) }
}

/// Writes a page that is too large to be read, so that lookups only open files.
fn write_page(folder: &Path, name: &str, length: usize) {
    fs::write(folder.join("being-written"), vec![b'x'; length]).unwrap();
    fs::rename(folder.join("being-written"), folder.join(name)).unwrap();
}

/// Two releases of a site, whose pages differ in length, and settings that serve the first one and
/// revalidate each time.
fn releases() -> (TempDir, HttpSettings) {
    let folder = tempfile::tempdir().unwrap();
    for (release, length) in [("one", 10_000), ("two", 20_000)] {
        fs::create_dir(folder.path().join(release)).unwrap();
        write_page(&folder.path().join(release), "page.txt", length);
    }
    deploy(folder.path(), "one");
    let root = open_root(&folder.path().join("current"));
    let path = CString::new(folder.path().join("current").to_str().unwrap()).unwrap();
    let root_path = Some(RootPath { base: follow_all(), path });
    (
        folder,
        HttpSettings {
            revalidate_after: Duration::ZERO,
            ..HttpSettings::new(SiteSettings { root_path, ..SiteSettings::new(root) })
        },
    )
}

/// The base of a root's path.
fn follow_all() -> Arc<File> {
    Arc::new(File::open_root(Path::new("/"), Links::Follow).unwrap())
}

/// Replaces the link to the current release.
fn deploy(folder: &Path, release: &str) {
    symlink(release, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

/// The root changes after the lookup has opened its page, and another lookup notices.
#[test]
fn the_result_of_a_lookup_beneath_an_old_root_is_not_cached() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(settings);
    let overtaken = site.ask(b"page.txt");
    site.reply_next();
    let old = site.perform_all();
    deploy(folder.path(), "two");
    let other = site.ask(b"other.txt");
    site.reply_next();
    site.reply_all(old);
    assert_eq!(length(site.told(overtaken).unwrap()), 10_000, "the session gets the old page");
    assert_eq!(site.sites.cache_stats().entries, 0, "the old page is not cached");
    site.leave(other);
    site.settle();
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    assert_eq!(site.sites.cache_stats().entries, 1);
}

/// The root changes between two steps of a lookup: first it opens the page and its compressed
/// files, then the file at the clean URL.
#[test]
fn all_files_of_a_lookup_are_opened_beneath_one_root() {
    for (name, expected) in [
        (&b"page.html"[..], &["page.html", "page.html.br", "page.html.zst", "page.html.gz"][..]),
        (b"page", &["page", "page.br", "page.zst", "page.gz"]),
    ] {
        let (folder, settings) = releases();
        write_page(&folder.path().join("one"), "page.html", 10_000);
        let content = Content { clean_urls: true, ..Content::default() };
        let mut site = TestSite::new(settings.with_content(content));
        let first = Arc::clone(site.sites.site(0).root());
        let waiting = site.ask(name);
        site.reply_next();
        let is_of_first = |(_, ask): &(AskId, Ask)| match ask {
            Ask::Open { root, .. } => Arc::ptr_eq(root, &first),
            _ => false,
        };
        assert!(site.open.iter().all(is_of_first));
        assert_eq!(site.open.iter().map(|(_, ask)| opens(ask)).collect::<Vec<_>>(), expected);
        let replies = site.perform_all();
        deploy(folder.path(), "two");
        let other = site.ask(b"other.txt");
        site.reply_next();
        site.leave(other);
        site.settle();
        site.reply_all(replies);
        assert!(!site.open.is_empty() && site.open.iter().all(is_of_first));
        site.settle();
        let found = site.told(waiting).unwrap();
        match &*resource(found) {
            Resource::Moved(to) => assert_eq!((name, &**to), (&b"page.html"[..], "/page")),
            page => assert_eq!((name, length_of(page)), (&b"page"[..], 10_000)),
        }
    }
}

/// A file is replaced between two lookups, and the first one ends last. They are an hour apart,
/// because otherwise the second session would join the first lookup.
#[test]
fn a_slow_lookup_does_not_replace_a_newer_result() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let mut site = TestSite::new(settings(folder.path()));
    let slow = site.ask(b"page.txt");
    let old = site.perform_all();
    write_page(folder.path(), "page.txt", 20_000);
    site.now.instant += HOUR + SECOND;
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    site.reply_all(old);
    assert_eq!(length(site.told(slow).unwrap()), 10_000, "the session gets the old page");
    assert_eq!(site.known(b"page.txt").map(|page| length_of(&page)), Some(20_000));
}

/// A shortage says nothing about the cached result of a name.
#[test]
fn an_error_removes_no_more_of_the_cache_than_necessary() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        write_page(folder.path(), name, 10_000);
    }
    for (error, status, left) in [
        (io::ErrorKind::ResourceBusy.into(), Status::ServiceUnavailable, 2),
        (io::Error::from_raw_os_error(libc::EAGAIN), Status::ServiceUnavailable, 2),
        // Entries with files are evicted to free descriptors.
        (io::Error::from_raw_os_error(libc::EMFILE), Status::ServiceUnavailable, 0),
        // The cached result of this name may be wrong.
        (io::Error::from_raw_os_error(libc::EIO), Status::InternalServerError, 1),
    ] {
        let mut site = TestSite::new(settings(folder.path()));
        site.look_up(b"one");
        site.look_up(b"two");
        assert_eq!(site.sites.cache_stats().entries, 2);
        site.now.instant += HOUR;
        let waiting = site.ask(b"one");
        let (id, ask) = site.open.remove(0);
        assert_eq!(opens(&ask), "one");
        let what = error.to_string();
        site.reply(id, Reply::Opened(Err(error)));
        assert!(site.told(waiting).is_none(), "{what}: the compressed files have no replies yet");
        site.settle();
        let told = site.told(waiting);
        assert!(
            matches!(&told, Some(Resolved::TransientError(told)) if *told == status),
            "{what}: {told:?}"
        );
        assert_eq!(site.sites.cache_stats().entries, left, "{what}");
    }
}

/// The media type depends on the path, so another path to the same file is another page.
#[test]
fn a_page_is_unchanged_only_if_its_path_is() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "a.html", 10_000);
    symlink("a.html", folder.path().join("a")).unwrap();
    let content = Content { clean_urls: true, ..Content::default() };
    let mut site = TestSite::new(settings(folder.path()).with_content(content));
    let content_type = |found| match &*resource(found) {
        Resource::Page(page) => {
            String::from_utf8(page.variant(None).content_type().to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(content_type(site.look_up(b"a")), "application/octet-stream");
    fs::remove_file(folder.path().join("a")).unwrap();
    site.now.instant += HOUR;
    assert_eq!(content_type(site.look_up(b"a")), "text/html; charset=utf-8");
}

#[test]
fn a_page_does_not_redirect_to_a_clean_url_that_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.html.html", "c.html", "index.htm", "index.html"] {
        write_page(folder.path(), name, 10_000);
    }
    symlink("/etc", folder.path().join("c")).unwrap();
    let index = vec![b"index.htm".to_vec(), b"index.html".to_vec()];
    let content = Content { clean_urls: true, index, ..Content::default() };
    let mut site = TestSite::new(settings(folder.path()).with_content(content));
    for path in [&b"b.html.html"[..], b"c.html", b"index"] {
        assert_eq!(length(site.look_up(path)), 10_000, "{}", path.escape_ascii());
    }
    let moved = resource(site.look_up(b"index.html"));
    assert!(matches!(&*moved, Resource::Moved(to) if &**to == "/index"), "{moved:?}");
}

#[test]
fn an_empty_file_is_not_kept_open() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    assert_eq!(length(site.look_up(b"empty")), 0);
    assert_eq!(site.sites.cache_stats().files, 0);
}

/// A site with two files, whose directory is watched already, and its watcher.
fn watching(folder: &Path) -> (TestSite, StubWatcher) {
    write_page(folder, "page.txt", 10_000);
    fs::write(folder.join("other.txt"), "").unwrap();
    let stub = StubWatcher::default();
    let settings = HttpSettings { watch: true, ..settings(folder) };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    site.look_up(b"other.txt");
    site.receive([watched::watched("")]);
    // The result from before the watch is valid for a second. Look the file up again.
    site.now.instant += SECOND;
    site.look_up(b"other.txt");
    assert!(site.known(b"other.txt").is_some());
    (site, stub)
}

/// A page is replaced after the lookup has opened it, and the change is reported before the lookup
/// ends. It does not matter whether the page was cached before. The result is cached as expired,
/// unless it holds a file: the file may have been deleted.
#[test]
fn the_result_of_a_lookup_is_not_used_again_if_a_change_was_reported() {
    for (known, length_before) in [(true, 10_000), (false, 10_000), (true, 10), (false, 10)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, _) = watching(folder.path());
        write_page(folder.path(), "page.txt", length_before);
        if known {
            site.look_up(b"page.txt");
            site.now.instant += HOUR;
            // The file has another time stamp, so a small one is read again.
            write_page(folder.path(), "page.txt", length_before);
        }
        let slow = site.ask(b"page.txt");
        let mut old = site.perform_all();
        let holds_file = length_before > 8 * 1024;
        if !holds_file {
            site.reply_all(old);
            old = site.perform_all();
        }
        write_page(folder.path(), "page.txt", 20_000);
        site.receive([watched::changed("page.txt")]);
        site.reply_all(old);
        let told = length(site.told(slow).unwrap());
        assert_eq!(told, length_before as u64, "the session gets the old page");
        let kept = site.sites.cache_stats().entries - 1;
        assert_eq!(kept, u64::from(!holds_file), "a page in memory is kept");
        assert!(site.known(b"page.txt").is_none(), "the result is expired");
        assert_eq!(length(site.look_up(b"page.txt")), 20_000);
        assert!(site.known(b"page.txt").is_some());
    }
}

#[test]
fn a_reported_change_expires_only_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, _) = watching(folder.path());
    site.look_up(b"page.txt");
    assert!(site.known(b"page.txt").is_some());
    write_page(folder.path(), "page.txt", 20_000);
    site.receive([watched::changed("page.txt")]);
    for _ in 0..3 {
        assert!(site.known(b"page.txt").is_none(), "the result is expired");
        assert!(site.known(b"other.txt").is_some(), "another file did not change");
    }
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    assert!(site.known(b"page.txt").is_some());
}
