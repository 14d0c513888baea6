//! Listings: readings that several pages share, and clients that take turns.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::sync::Weak;

use super::watched::{changed, watched};
use super::*;
use crate::driver::{Sock, SocketAddress};
use crate::http::site::listing::Format;
use crate::http::site::listing_line::{CLIENT_WAITING_MAX, RUNNING_MAX};
use crate::session::{Addresses, SocketAddresses};

/// A driver that knows one peer.
struct Peer(IpAddr);

impl SocketAddresses for Peer {
    fn peer(&self, _: Sock) -> io::Result<SocketAddress> {
        Ok(SocketAddr::new(self.0, 4000).into())
    }

    fn local(&self, _: Sock) -> io::Result<SocketAddress> {
        unreachable!("only the peer matters")
    }

    fn set_pace(&self, _: Sock, _: Option<NonZero<u64>>) -> io::Result<()> {
        unreachable!("only the peer matters")
    }
}

/// The request for a page, by the number of the page.
fn page(page: u32) -> Asked {
    Asked { page, ..Asked::new(Format::Html) }
}

impl TestSite {
    /// Lets a new session of a client ask for a name, without polling the site.
    pub(super) fn find_from(
        &mut self,
        client: IpAddr,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, WaitingSession> {
        self.find_at(0, client, name)
    }

    /// The same for the site at a place.
    pub(super) fn find_at(
        &mut self,
        place: usize,
        client: IpAddr,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, WaitingSession> {
        self.sessions += 1;
        let session = self.sessions;
        let waiter = Waiter { session: SessionId::detached(session), id: AskId(session) };
        let peer = Peer(client);
        let addresses = Addresses::of(&peer, Sock::detached());
        let found = match self.sites.find_in_cache(self.now, place, name) {
            Some(resource) => Ok(Resolved::Resource(resource)),
            None => self.sites.look_up(self.now, place, name, Some(waiter), addresses),
        };
        found.map_err(|ticket| WaitingSession {
            session,
            ticket: ticket.expect("a waiter gets one"),
        })
    }

    /// Lets a client ask for a page of a listing, without polling the site.
    fn list(
        &mut self,
        client: &str,
        path: &[u8],
        asked: Asked,
    ) -> Result<Resolved, WaitingSession> {
        self.find_from(client.parse().unwrap(), &ResourceName::Entries { path, asked })
    }

    /// Lists a directory of which the page is not cached, and returns the page.
    fn list_now(&mut self, path: &[u8], asked: Asked) -> String {
        let waiting = self.list("192.0.2.1", path, asked).expect_err("the page is not cached");
        self.settle();
        text(&self.told(waiting).unwrap())
    }
}

fn text(found: &Resolved) -> String {
    match found {
        Resolved::Resource(resource) => match &**resource {
            Resource::Page(page) => {
                String::from_utf8(page.variant(None).prepared().body().to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn is_busy(found: &Result<Resolved, WaitingSession>) -> bool {
    matches!(found, Ok(Resolved::TransientError(Status::ServiceUnavailable)))
}

/// The pages after the first one need no reading, but they are only as recent as it.
#[test]
fn a_page_is_valid_no_longer_than_the_reading_that_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { revalidate_after: 10 * SECOND, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    fs::write(folder.path().join("old"), "").unwrap();
    assert!(site.list_now(b"", page(1)).contains(">old<"));
    site.now.instant += 6 * SECOND;
    fs::write(folder.path().join("new"), "").unwrap();
    let json = Asked::new(Format::Json);
    let second = site.list_now(b"", json);
    assert!(second.contains("\"old\"") && !second.contains("\"new\""), "it was read anew");
    site.now.instant += 4 * SECOND - Duration::from_nanos(1);
    assert!(site.list("192.0.2.1", b"", json).is_ok());
    site.now.instant += Duration::from_nanos(1);
    let third = site.list_now(b"", json);
    assert!(third.contains("\"new\""), "the reading is older than results may be");
}

/// A reading has its directory open, so its end must not depend on requests.
#[test]
fn a_reading_is_dropped_at_its_time_on_an_idle_worker() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { revalidate_after: 10 * SECOND, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    assert_eq!(site.sites.deadline(), None);
    let waiting = site.list("192.0.2.1", b"", page(1)).unwrap_err();
    let directory = settle_listing(&mut site);
    assert!(site.told(waiting).is_some());
    assert!(directory.upgrade().is_some());
    let deadline = site.sites.deadline().expect("a reading is kept");
    assert_eq!(deadline, site.now.instant + 10 * SECOND);
    site.now.instant = deadline - Duration::from_nanos(1);
    site.poll();
    assert!(directory.upgrade().is_some());
    site.now.instant = deadline;
    site.poll();
    assert!(directory.upgrade().is_none(), "the directory is still open");
    let deadline = site.sites.deadline().expect("the page is in the cache");
    assert!(deadline > site.now.instant, "the worker may sleep");
}

/// Replies to the questions of one listing, and returns its directory.
fn settle_listing(site: &mut TestSite) -> Weak<File> {
    site.poll();
    let (id, ask) = site.open.remove(0);
    let Reply::Opened(Ok(directory)) = perform(ask) else { panic!("no directory") };
    let opened = Arc::downgrade(&directory);
    site.reply(id, Reply::Opened(Ok(directory)));
    site.settle();
    opened
}

#[test]
fn a_reading_is_dropped_when_a_change_is_reported() {
    for (report, is_dropped) in
        [(changed("d/new.txt"), true), (watched("d"), true), (changed("e/new.txt"), false)]
    {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let (mut site, _) = watching(folder.path());
        site.list("192.0.2.1", b"d", page(1)).unwrap_err();
        let directory = settle_listing(&mut site);
        assert!(directory.upgrade().is_some());
        let told = format!("{report:?}");
        site.receive([report]);
        assert_eq!(directory.upgrade().is_none(), is_dropped, "{told}");
    }
}

/// If results are not valid for any time, no reading is kept.
#[test]
fn a_reading_is_not_kept_if_results_are_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { revalidate_after: Duration::ZERO, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    site.list("192.0.2.1", b"", page(1)).unwrap_err();
    assert!(settle_listing(&mut site).upgrade().is_none());
    let deadline = site.sites.deadline().expect("the page is in the cache");
    assert!(deadline > site.now.instant, "the worker may sleep");
}

/// How much memory a reading takes is known when its job has ended.
#[test]
fn a_reading_that_turns_out_too_large_is_dropped_when_its_job_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes_max, is_kept) in [(usize::MAX, true), (1, false)] {
        let mut site = TestSite::new(settings(folder.path()));
        site.sites.limit_readings(bytes_max);
        site.list("192.0.2.1", b"", page(1)).unwrap_err();
        let directory = settle_listing(&mut site);
        assert_eq!(directory.upgrade().is_some(), is_kept, "{bytes_max}");
    }
}

/// Each kept reading has a directory open.
#[test]
fn a_shortage_closes_the_directories_of_kept_readings() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    site.list("192.0.2.1", b"", page(1)).unwrap_err();
    let directory = settle_listing(&mut site);
    assert!(directory.upgrade().is_some());
    site.ask(b"other.txt");
    while let Some((id, _)) = site.open.pop() {
        site.reply(id, Reply::Opened(Err(io::Error::from_raw_os_error(libc::EMFILE))));
    }
    assert!(directory.upgrade().is_none());
}

#[test]
fn the_oldest_readings_are_dropped_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    let mut directories = Vec::new();
    for number in 0..12 {
        let name = number.to_string();
        fs::create_dir(folder.path().join(&name)).unwrap();
        site.list("192.0.2.1", name.as_bytes(), page(1)).unwrap_err();
        directories.push(settle_listing(&mut site));
        site.now.instant += SECOND;
    }
    let kept: Vec<bool> =
        directories.iter().map(|directory| directory.upgrade().is_some()).collect();
    assert_eq!(kept, [[false; 4], [true; 4], [true; 4]].concat());
}

/// 24 clients request all that they may; then another one comes. It waits for one listing of each,
/// and for those that were under way.
#[test]
fn a_client_waits_for_one_listing_of_each_other_client() {
    const OTHERS: u32 = 24;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("large")).unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    let mut number = 0;
    for client in 0..OTHERS {
        for _ in 0..CLIENT_WAITING_MAX {
            number += 1;
            let client = format!("192.0.2.{client}");
            assert!(!is_busy(&site.list(&client, b"large", page(number))), "{client}");
        }
        // As long as none of its listings has begun, no more of the client may wait.
        let client = format!("192.0.2.{client}");
        assert!(is_busy(&site.list(&client, b"large", page(999))), "{client}");
    }
    site.poll();
    assert_eq!(site.open.len(), RUNNING_MAX, "each opens its directory");
    let late = site.list("2001:db8::1", b"large", page(1000)).unwrap_err();
    let mut done = 0;
    while site.told(late).is_none() {
        site.reply_next();
        done = site.told.len();
        assert!(done <= OTHERS as usize + RUNNING_MAX, "{done} listings were made before");
    }
    assert!(done >= OTHERS as usize, "the others had their turns, too");
}

/// The listing that another client has requested before is made at the turn of the first of them.
#[test]
fn a_client_shares_a_listing_without_sharing_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    let slow: Vec<WaitingSession> =
        (1..=20).map(|number| site.list("192.0.2.1", b"", page(number)).unwrap_err()).collect();
    // The same network twice.
    let fast = ["2001:db8::1", "2001:db8::2"];
    let fast = fast.map(|client| site.list(client, b"", page(20)).unwrap_err());
    assert!(fast.iter().all(|fast| fast.ticket == slow[19].ticket), "they share the lookup");
    site.poll();
    assert_eq!(site.open.len(), 2, "one for each client");
    for _ in 0..4 {
        site.reply_next();
    }
    let told = |site: &mut TestSite, one: WaitingSession| site.told(one).is_some();
    assert!(fast.iter().all(|fast| told(&mut site, *fast)));
    assert!(told(&mut site, slow[0]) && told(&mut site, slow[19]) && !told(&mut site, slow[1]));
    site.settle();
    assert!(slow[1..19].iter().all(|slow| told(&mut site, *slow)));
}

/// Whether the listing is in line, opens its directory, or is being made.
#[test]
fn a_client_that_leaves_makes_room_for_its_next_requests() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..10 {
        let mut all = Vec::new();
        for number in 1..=CLIENT_WAITING_MAX as u32 {
            all.push(site.list("192.0.2.1", b"", page(number)).unwrap_err());
        }
        assert!(is_busy(&site.list("192.0.2.1", b"", page(99))));
        site.poll();
        assert_eq!(site.open.len(), 1, "one at a time");
        if random.bool() {
            site.reply_next();
        }
        all.into_iter().for_each(|waiting| site.leave(waiting));
        site.settle();
        assert!(site.told.is_empty() && site.asked.is_empty());
        site.now.instant += 2 * HOUR;
    }
    let last = site.list("192.0.2.1", b"", page(1)).unwrap_err();
    site.settle();
    assert!(site.told(last).is_some());
}

/// Thousands of clients may leave at once, as after a fault of the network. Those that remain keep
/// their places.
#[test]
fn many_sessions_leave_lookups_in_line_and_the_others_remain() {
    const MANY: u32 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let mut all: Vec<WaitingSession> = Vec::new();
    for number in 0..MANY {
        // Half of them wait for the same name.
        let path = if number % 2 == 0 { 0 } else { number }.to_string();
        let name = ResourceName::Target { path: path.as_bytes(), directory: false };
        all.push(site.find(&name).unwrap_err());
    }
    let stay: Vec<WaitingSession> = all.iter().copied().step_by(1000).skip(1).collect();
    let stay: Vec<WaitingSession> =
        stay.into_iter().chain([all[7], all[MANY as usize - 1]]).collect();
    all.retain(|one| stay.iter().all(|other| other.session != one.session));
    fastrand::Rng::with_seed(5).shuffle(&mut all);
    for waiting in all {
        site.sites.leave(waiting.ticket, SessionId::detached(waiting.session));
    }
    site.settle();
    let told: Vec<u32> = site.told.iter().map(|(session, _)| *session).collect();
    let expected: Vec<u32> = stay.iter().map(|one| one.session).collect();
    assert_eq!(told, expected, "in the order of the line, and of arrival");
    assert!(site.cancelled.is_empty());
}
