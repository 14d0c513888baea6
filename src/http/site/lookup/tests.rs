//! Lookups that meet another root, a change, another lookup or a shortage on their way. They run
//! in a site, whose questions are replied to when the test says so.

mod random;
mod root;
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
use crate::http::h1::harness::perform;
use crate::http::site::lookups::Ticket;
use crate::http::site::sites::{Resolved, Sites};
use crate::http::{Content, RootPath, SiteSettings};
use crate::service::{Service, SessionId, Task, Waiter};

/// Questions that a lookup asks at once: for a file, and for it in each coding.
const AT_ONCE: usize = 1 + Coding::ALL.len();
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A site without sessions, and what it wants.
#[derive(Debug)]
struct TestSite {
    sites: Sites,
    now: Now,
    /// Questions that were not performed, in their order.
    open: Vec<(AskId, Ask)>,
    /// Questions without a reply, performed or not.
    asked: Vec<AskId>,
    /// Those that are not needed any more.
    cancelled: Vec<AskId>,
    /// What sessions were told, by their numbers.
    told: Vec<(u32, Resolved)>,
    /// How many sessions there were.
    sessions: u32,
}

/// A session that waits to be told.
#[derive(Clone, Copy, Debug)]
struct WaitingSession {
    session: u32,
    ticket: Ticket,
}

impl TestSite {
    fn new(settings: SiteSettings) -> Self {
        Self::watched(settings, None)
    }

    /// At a time when no file has changed for a while.
    fn watched(settings: SiteSettings, watcher: Option<Box<dyn Watcher>>) -> Self {
        let now = Now::read();
        Self {
            sites: Sites::new(settings, watcher),
            now: Now { system: now.system + 10 * SECOND, ..now },
            open: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            told: Vec::new(),
            sessions: 0,
        }
    }

    /// Does what the site wants, except for its questions.
    fn poll(&mut self) {
        while let Some(task) = self.sites.poll(self.now) {
            match task {
                Task::Ask(id, ask) => {
                    assert!(!self.asked.contains(&id), "{id:?} is asked before its reply");
                    self.asked.push(id);
                    self.open.push((id, ask));
                }
                Task::Cancel(id) => self.cancelled.push(id),
                Task::Answer(Waiter { session, id }, found) => {
                    assert_eq!(SessionId::detached(id.0), session, "the waiter's own name");
                    self.told.push((id.0, found));
                }
            }
        }
    }

    /// Another session asks for a name; the site does nothing yet.
    fn find(&mut self, name: &ResourceName<'_>) -> Result<Resolved, WaitingSession> {
        self.sessions += 1;
        let session = self.sessions;
        let waiter = Waiter { session: SessionId::detached(session), id: AskId(session) };
        let found = self.sites.find(self.now, name, waiter);
        found.map_err(|ticket| WaitingSession { session, ticket })
    }

    /// Another session asks for a file, and has to wait.
    fn ask(&mut self, path: &[u8]) -> WaitingSession {
        let Err(waiting) = self.find(&ResourceName::Target { path, directory: false }) else {
            panic!("{} is known", path.escape_ascii())
        };
        self.poll();
        waiting
    }

    /// What is known of a file, if that may be used.
    fn known(&mut self, path: &[u8]) -> Option<Rc<Resource>> {
        match self.find(&ResourceName::Target { path, directory: false }) {
            Ok(Resolved::Resource(resource)) => Some(resource),
            Ok(other) => panic!("{other:?} is remembered"),
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

    /// Replies to all questions that were asked before, and to those that follow.
    fn settle(&mut self) {
        self.poll();
        while !self.open.is_empty() {
            let (id, ask) = self.open.remove(0);
            self.reply(id, perform(ask));
        }
    }

    /// Performs all that is asked for at the moment; the replies are on their way.
    fn perform_all(&mut self) -> Vec<(AskId, Reply)> {
        self.open.drain(..).map(|(id, ask)| (id, perform(ask))).collect()
    }

    fn reply_all(&mut self, replies: Vec<(AskId, Reply)>) {
        replies.into_iter().for_each(|(id, reply)| self.reply(id, reply));
    }

    /// What a session was told.
    fn told(&mut self, waiting: WaitingSession) -> Option<Resolved> {
        let place = self.told.iter().position(|(session, _)| *session == waiting.session)?;
        Some(self.told.swap_remove(place).1)
    }

    fn look_up(&mut self, path: &[u8]) -> Resolved {
        let waiting = self.ask(path);
        self.settle();
        self.told(waiting).expect("everything was replied to")
    }

    /// What a file is, by what is known if that may be used.
    fn get(&mut self, path: &[u8]) -> Resolved {
        match self.find(&ResourceName::Target { path, directory: false }) {
            Ok(found) => found,
            Err(waiting) => {
                self.settle();
                self.told(waiting).expect("everything was replied to")
            }
        }
    }

    fn hear(&mut self, reports: impl Into<Vec<ChangeReport>>) {
        self.sites.receive(self.now, reports.into());
        self.poll();
    }
}

fn resource(found: Resolved) -> Rc<Resource> {
    match found {
        Resolved::Resource(resource) => resource,
        Resolved::TransientError(status) => panic!("{status:?}"),
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

/// The settings of a site in a folder, that remembers for an hour.
fn settings(folder: &Path) -> SiteSettings {
    SiteSettings { revalidate_after: HOUR, ..SiteSettings::new(open_root(folder)) }
}

/// A page too large to be read, so that a lookup is a matter of opening alone.
fn write_page(folder: &Path, name: &str, length: usize) {
    fs::write(folder.join("being-written"), vec![b'x'; length]).unwrap();
    fs::rename(folder.join("being-written"), folder.join(name)).unwrap();
}

/// Two releases of a site, whose pages differ in length, and the settings of a site that serves
/// the first one and asks each time which it is.
fn releases() -> (TempDir, SiteSettings) {
    let folder = tempfile::tempdir().unwrap();
    for (release, length) in [("one", 10_000), ("two", 20_000)] {
        fs::create_dir(folder.path().join(release)).unwrap();
        write_page(&folder.path().join(release), "page.txt", length);
    }
    turn(folder.path(), "one");
    let root = open_root(&folder.path().join("current"));
    let path = CString::new(folder.path().join("current").to_str().unwrap()).unwrap();
    let root_path = Some(RootPath { base: follow_all(), path });
    (
        folder,
        SiteSettings { root_path, revalidate_after: Duration::ZERO, ..SiteSettings::new(root) },
    )
}

/// Where the path of a root begins.
fn follow_all() -> Arc<File> {
    Arc::new(File::open_root(Path::new("/"), Links::Follow).unwrap())
}

/// Serves another release from now on.
fn turn(folder: &Path, release: &str) {
    symlink(release, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

/// It has asked for the root, which is still the same, and for the page, when somebody else learns
/// that there is another root.
#[test]
fn a_lookup_that_a_new_root_overtakes_is_not_remembered() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(settings);
    let overtaken = site.ask(b"page.txt");
    let (id, ask) = site.open.remove(0);
    site.reply(id, perform(ask));
    let old = site.perform_all();
    turn(folder.path(), "two");
    let other = site.ask(b"other.txt");
    let (id, ask) = site.open.remove(0);
    site.reply(id, perform(ask));
    site.reply_all(old);
    assert_eq!(length(site.told(overtaken).unwrap()), 10_000, "it answers with what it found");
    assert_eq!(site.sites.cache_stats().entries, 0, "the old page is in the cache of the new root");
    site.leave(other);
    site.settle();
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    assert_eq!(site.sites.cache_stats().entries, 1);
}

/// Files are asked for in two steps here: the page and those beside it at once, then the file that
/// has its clean address. The root changes in between.
#[test]
fn all_files_of_a_lookup_are_of_one_root() {
    for (name, expected) in [
        (&b"page.html"[..], &["page.html", "page.html.br", "page.html.zst", "page.html.gz"][..]),
        (b"page", &["page", "page.br", "page.zst", "page.gz"]),
    ] {
        let (folder, settings) = releases();
        write_page(&folder.path().join("one"), "page.html", 10_000);
        let content = Content { clean_urls: true, ..Content::default() };
        let mut site = TestSite::new(SiteSettings { content, ..settings });
        let first = Arc::clone(&site.sites.settings.root);
        let waiting = site.ask(name);
        let (id, ask) = site.open.remove(0);
        site.reply(id, perform(ask));
        let is_of_first = |(_, ask): &(AskId, Ask)| match ask {
            Ask::Open { root, .. } => Arc::ptr_eq(root, &first),
            _ => false,
        };
        assert!(site.open.iter().all(is_of_first));
        assert_eq!(site.open.iter().map(|(_, ask)| opens(ask)).collect::<Vec<_>>(), expected);
        let replies = site.perform_all();
        turn(folder.path(), "two");
        let other = site.ask(b"other.txt");
        let (id, ask) = site.open.remove(0);
        site.reply(id, perform(ask));
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

/// Two look one file up, which is replaced in between; the one that was first is the last to end.
/// That they run at once takes an hour between them here: who comes sooner joins the first.
#[test]
fn a_slow_lookup_does_not_bring_an_old_file_back() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let mut site = TestSite::new(settings(folder.path()));
    let slow = site.ask(b"page.txt");
    let old = site.perform_all();
    write_page(folder.path(), "page.txt", 20_000);
    site.now.instant += HOUR + SECOND;
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    site.reply_all(old);
    assert_eq!(length(site.told(slow).unwrap()), 10_000, "it answers with what it found");
    assert_eq!(site.known(b"page.txt").map(|page| length_of(&page)), Some(20_000));
}

/// What a shortage says of a name is nothing, and of other names neither.
#[test]
fn a_shortage_forgets_no_more_than_it_must() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        write_page(folder.path(), name, 10_000);
    }
    for (error, status, left) in [
        (io::ErrorKind::ResourceBusy.into(), Status::ServiceUnavailable, 2),
        (io::Error::from_raw_os_error(libc::EAGAIN), Status::ServiceUnavailable, 2),
        // A descriptor is needed, and both have one.
        (io::Error::from_raw_os_error(libc::EMFILE), Status::ServiceUnavailable, 0),
        // This one may be broken.
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
        assert!(site.told(waiting).is_none(), "{what}: the files beside it are awaited");
        site.settle();
        let told = site.told(waiting);
        assert!(
            matches!(&told, Some(Resolved::TransientError(told)) if *told == status),
            "{what}: {told:?}"
        );
        assert_eq!(site.sites.cache_stats().entries, left, "{what}");
    }
}

/// The type is that of the name, so another name is another page, even of the same file.
#[test]
fn a_page_is_known_by_its_path_too() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "a.html", 10_000);
    symlink("a.html", folder.path().join("a")).unwrap();
    let content = Content { clean_urls: true, ..Content::default() };
    let mut site = TestSite::new(SiteSettings { content, ..settings(folder.path()) });
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

/// No page is sent where it cannot be had.
#[test]
fn a_page_keeps_its_address_when_the_clean_one_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.html.html", "c.html", "index.htm", "index.html"] {
        write_page(folder.path(), name, 10_000);
    }
    symlink("/etc", folder.path().join("c")).unwrap();
    let index = vec![b"index.htm".to_vec(), b"index.html".to_vec()];
    let content = Content { clean_urls: true, index, ..Content::default() };
    let mut site = TestSite::new(SiteSettings { content, ..settings(folder.path()) });
    for path in [&b"b.html.html"[..], b"c.html", b"index"] {
        assert_eq!(length(site.look_up(path)), 10_000, "{}", path.escape_ascii());
    }
    let moved = resource(site.look_up(b"index.html"));
    assert!(matches!(&*moved, Resource::Moved(to) if &**to == "/index"), "{moved:?}");
}

#[test]
fn what_is_empty_needs_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    assert_eq!(length(site.look_up(b"empty")), 0);
    assert_eq!(site.sites.cache_stats().files, 0);
}

/// A site over a folder with a page and another file, whose changes are reported; and the watcher
/// that it asks for that.
fn watching(folder: &Path) -> (TestSite, StubWatcher) {
    write_page(folder, "page.txt", 10_000);
    fs::write(folder.join("other.txt"), "").unwrap();
    let stub = StubWatcher::default();
    let settings = SiteSettings { watch: true, ..settings(folder) };
    let mut site = TestSite::watched(settings, Some(Box::new(stub.clone())));
    site.look_up(b"other.txt");
    site.hear([watched::watched("")]);
    // What was found while nothing was watched is asked about once more.
    site.now.instant += SECOND;
    site.look_up(b"other.txt");
    assert!(site.known(b"other.txt").is_some());
    (site, stub)
}

/// A page is opened, then replaced, and the change is heard of before the lookup ends. Whether it
/// finds the page new or as it was known: nobody uses that unasked.
#[test]
fn a_lookup_that_a_change_overtakes_is_asked_about_again() {
    for known in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, _) = watching(folder.path());
        if known {
            site.look_up(b"page.txt");
            site.now.instant += HOUR;
        }
        let slow = site.ask(b"page.txt");
        let old = site.perform_all();
        write_page(folder.path(), "page.txt", 20_000);
        site.hear([watched::changed("page.txt")]);
        site.reply_all(old);
        assert_eq!(length(site.told(slow).unwrap()), 10_000, "it answers with what it found");
        assert_eq!(site.sites.cache_stats().entries, 2, "what was found is remembered");
        assert!(site.known(b"page.txt").is_none(), "nobody uses it unasked");
        assert_eq!(length(site.look_up(b"page.txt")), 20_000);
        assert!(site.known(b"page.txt").is_some());
    }
}

#[test]
fn what_has_changed_is_not_used_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, _) = watching(folder.path());
    site.look_up(b"page.txt");
    assert!(site.known(b"page.txt").is_some());
    write_page(folder.path(), "page.txt", 20_000);
    site.hear([watched::changed("page.txt")]);
    for _ in 0..3 {
        assert!(site.known(b"page.txt").is_none(), "nobody has asked");
        assert!(site.known(b"other.txt").is_some(), "it is another file");
    }
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
    assert!(site.known(b"page.txt").is_some());
}
