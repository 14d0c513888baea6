//! Sessions that share lookups: when they may join one, how many run at a time, and how they end.

use std::sync::Weak;

use super::*;
use crate::http::site::listing::{Asked, Format};

/// Writes a page and its compressed files, all small enough to be read.
fn write_coded_page(folder: &Path) {
    for (name, content) in [("a.css", "plain"), ("a.css.br", "br"), ("a.css.gz", "gzip")] {
        fs::write(folder.join(name), content).unwrap();
    }
    fs::write(folder.join("a.css.zst"), "zstd").unwrap();
}

/// The bodies of all variants of a page, which must be in memory.
fn bodies(found: Resolved) -> Vec<(Option<Coding>, Vec<u8>)> {
    let resource = resource(found);
    let Resource::Page(page) = &*resource else { panic!("{resource:?}") };
    let there = [None].into_iter().chain(page.codings().iter().map(Some));
    there.map(|coding| (coding, page.variant(coding).prepared().body().to_vec())).collect()
}

#[test]
fn all_sessions_that_ask_for_a_name_share_one_lookup() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let mut site = TestSite::new(settings(folder.path()));
    let all: Vec<WaitingSession> = (0..50).map(|_| site.ask(b"page.txt")).collect();
    assert_eq!(site.open.len(), AT_ONCE, "the name is looked up once");
    let replies = site.perform_all();
    // A session may also join after the questions were performed.
    let late = site.ask(b"page.txt");
    assert!(site.open.is_empty());
    site.reply_all(replies);
    let found = resource(site.told(late).unwrap());
    for waiting in all {
        assert!(Rc::ptr_eq(&resource(site.told(waiting).unwrap()), &found));
    }
    assert!(site.told.is_empty(), "each session is told once");
    assert!(Rc::ptr_eq(&site.known(b"page.txt").unwrap(), &found));
}

/// A lookup asks all questions at once that do not depend on each other, and accepts the replies in
/// any order.
#[test]
fn a_page_with_compressed_files_takes_two_rounds() {
    let folder = tempfile::tempdir().unwrap();
    write_coded_page(folder.path());
    let mut random = fastrand::Rng::with_seed(11);
    let mut expected = None;
    for _ in 0..50 {
        let mut site = TestSite::new(settings(folder.path()));
        let waiting = site.ask(b"a.css");
        let opened: Vec<&str> = site.open.iter().map(|(_, ask)| opens(ask)).collect();
        assert_eq!(opened, ["a.css", "a.css.br", "a.css.zst", "a.css.gz"]);
        for round in 1..=2 {
            assert_eq!(site.open.len(), AT_ONCE, "round {round}");
            let mut replies = site.perform_all();
            random.shuffle(&mut replies);
            while let Some((id, reply)) = replies.pop() {
                assert!(site.open.is_empty() && site.told.is_empty(), "some replies are missing");
                site.reply(id, reply);
            }
        }
        let bodies = bodies(site.told(waiting).unwrap());
        let expected = expected.get_or_insert_with(|| bodies.clone());
        assert_eq!(*expected, bodies);
    }
    let expected = expected.unwrap();
    let bodies: Vec<&[u8]> = expected.iter().map(|(_, body)| &body[..]).collect();
    assert_eq!(bodies, [&b"plain"[..], b"br", b"zstd", b"gzip"]);
}

/// The age of a result counts from the beginning of its lookup. When that is too long ago, a
/// session starts a new lookup, which later sessions join.
#[test]
fn a_lookup_is_not_joined_if_it_began_too_long_ago() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    for revalidate_after in [Duration::ZERO, SECOND, HOUR] {
        let settings = HttpSettings { revalidate_after, ..settings(folder.path()) };
        let mut site = TestSite::new(settings);
        let mut all = vec![site.ask(b"page.txt")];
        site.now.instant += revalidate_after;
        all.push(site.ask(b"page.txt"));
        assert_eq!(site.open.len(), AT_ONCE, "recent enough: {revalidate_after:?}");
        site.now.instant += Duration::from_nanos(1);
        all.push(site.ask(b"page.txt"));
        assert_eq!(site.open.len(), 2 * AT_ONCE, "too old: {revalidate_after:?}");
        all.push(site.ask(b"page.txt"));
        assert_eq!(site.open.len(), 2 * AT_ONCE, "the new one: {revalidate_after:?}");
        site.settle();
        let found: Vec<_> = all.iter().map(|one| resource(site.told(*one).unwrap())).collect();
        let same = |one: usize, other: usize| Rc::ptr_eq(&found[one], &found[other]);
        assert!(same(0, 1) && same(2, 3), "{revalidate_after:?}");
    }
}

/// Its age counts only from when it leaves the line.
#[test]
fn a_lookup_in_line_can_always_be_joined() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let settings = HttpSettings { lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let first = site.ask(b"other.txt");
    let in_line = site.ask(b"page.txt");
    site.now.instant += 3 * HOUR;
    let behind = site.ask(b"page.txt");
    site.assert_told_in_turn(&[&[first], &[in_line, behind]]);
    assert!(site.known(b"page.txt").is_some(), "its lookup began just now");
    assert!(site.known(b"other.txt").is_none(), "its lookup began three hours ago");
}

#[test]
fn a_lookup_is_cancelled_when_the_last_session_leaves() {
    let folder = tempfile::tempdir().unwrap();
    write_page(folder.path(), "page.txt", 10_000);
    let mut site = TestSite::new(settings(folder.path()));
    let all = [(); 3].map(|()| site.ask(b"page.txt"));
    let open: Vec<AskId> = site.open.iter().map(|(id, _)| *id).collect();
    let replies = site.perform_all();
    site.reply_all(replies.into_iter().take(1).collect());
    site.leave(all[1]);
    site.leave(all[0]);
    assert!(site.cancelled.is_empty(), "one session still waits");
    site.leave(all[2]);
    assert_eq!(site.cancelled, open[1..], "the first question has its reply already");
    // Leaving again changes nothing.
    site.leave(all[0]);
    assert_eq!(site.cancelled.len(), AT_ONCE - 1);
    // A session that asks now starts a new lookup. The ids of questions without a reply are not
    // reused.
    let again = site.ask(b"page.txt");
    assert_eq!(site.open.len(), AT_ONCE);
    assert!(site.open.iter().all(|(id, _)| !open.contains(id)));
    // A cancelled question may fail or succeed.
    let cancelled = || io::Error::from(io::ErrorKind::Interrupted);
    site.reply(open[1], Reply::Opened(Err(cancelled())));
    let file = Arc::clone(site.sites.site(0).root());
    site.reply(open[2], Reply::Opened(Ok(file)));
    let third = site.ask(b"third.txt");
    assert!(site.open.iter().all(|(id, _)| !open.contains(id)), "one reply is missing");
    site.reply(open[3], Reply::Opened(Err(cancelled())));
    assert!(site.told.is_empty() && site.sites.cache_stats().entries == 0);
    // Now all have replies, so the ids may be reused.
    let fourth = site.ask(b"fourth.txt");
    assert_eq!(site.open.iter().filter(|(id, _)| open.contains(id)).count(), AT_ONCE);
    site.settle();
    assert_eq!(length(site.told(again).unwrap()), 10_000);
    assert!(site.told(third).is_some() && site.told(fourth).is_some() && site.told.is_empty());
}

/// Leaving a lookup that is done, or that another session waits for, has no effect.
#[test]
fn leaving_with_a_wrong_ticket_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = TestSite::new(settings(folder.path()));
    let over = site.ask(b"one");
    site.settle();
    assert!(site.told(over).is_some());
    let other = site.ask(b"two");
    assert_ne!(over.ticket, other.ticket);
    site.leave(over);
    site.leave(WaitingSession { session: over.session, ticket: other.ticket });
    assert!(site.cancelled.is_empty());
    site.settle();
    assert!(site.told(other).is_some());
}

/// The names that are being looked up, by the open questions.
fn running(site: &TestSite) -> Vec<String> {
    let paths = site.open.iter().map(|(_, ask)| opens(ask).to_owned());
    paths.filter(|path| !path.contains('.')).collect()
}

/// The others wait in line, in order. A cancelled lookup counts until all its questions have
/// replies.
#[test]
fn a_limited_number_of_lookups_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { lookups_max: 2, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let all = ["a", "b", "c", "d", "e", "f"].map(|name| site.ask(name.as_bytes()));
    assert_eq!(running(&site), ["a", "b"]);
    // The third lookup leaves the line.
    site.leave(all[2]);
    assert_eq!((running(&site), site.cancelled.len()), (vec!["a".into(), "b".into()], 0));
    // The first lookup is cancelled, but still counts, because its questions have no replies.
    site.leave(all[0]);
    assert_eq!((running(&site), site.cancelled.len()), (vec!["a".into(), "b".into()], AT_ONCE));
    for number in 1..=AT_ONCE {
        let (id, ask) = site.open.remove(0);
        assert!(opens(&ask).starts_with('a') && site.cancelled.contains(&id));
        site.reply(id, perform(ask));
        assert_eq!(running(&site).contains(&"d".into()), number == AT_ONCE);
    }
    assert_eq!(running(&site), ["b", "d"]);
    // The second lookup ends normally.
    for number in 1..=AT_ONCE {
        site.reply_next();
        assert_eq!(running(&site).contains(&"e".into()), number == AT_ONCE);
    }
    assert_eq!(running(&site), ["d", "e"]);
    site.settle();
    let told = all.map(|waiting| site.told(waiting).is_some());
    assert_eq!(told, [false, true, false, true, true, true]);
}

/// A read that fails ends a lookup while other reads are in flight. The lookup counts until these
/// have replies.
#[test]
fn a_failed_lookup_counts_until_all_replies_have_arrived() {
    let folder = tempfile::tempdir().unwrap();
    write_coded_page(folder.path());
    let settings = HttpSettings { lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let (waiting, other) = (site.ask(b"a.css"), site.ask(b"other"));
    let replies = site.perform_all();
    site.reply_all(replies);
    let reads = site.perform_all();
    assert_eq!(reads.len(), AT_ONCE);
    for (number, (id, reply)) in reads.into_iter().enumerate() {
        let Reply::Read(_, buffer) = reply else { panic!("{reply:?}") };
        let failed = if number == 0 { libc::EIO } else { libc::ENOMEM };
        assert!(site.open.is_empty(), "the other lookup did not wait");
        site.reply(id, Reply::Read(Err(io::Error::from_raw_os_error(failed)), buffer));
        if number == 0 {
            let told = site.told(waiting);
            let expected = Status::InternalServerError;
            assert!(matches!(told, Some(Resolved::TransientError(it)) if it == expected));
        }
    }
    assert_eq!(running(&site), ["other"]);
    site.settle();
    assert!(site.told(other).is_some() && site.told.is_empty());
}

#[test]
fn a_lookup_is_refused_at_once_if_the_table_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let target = |name: &str| name.as_bytes().to_vec();
    let mut last = None;
    for number in 0..crate::http::site::lookups::LOOKUPS_MAX {
        let path = target(&number.to_string());
        last =
            Some(site.find(&ResourceName::Target { path: &path, directory: false }).unwrap_err());
    }
    let refused = site.find(&ResourceName::Target { path: b"more", directory: false });
    let expected = Status::ServiceUnavailable;
    assert!(matches!(refused, Ok(Resolved::TransientError(it)) if it == expected), "{refused:?}");
    // A session may still join a lookup. When one lookup is cancelled, another fits.
    site.ask(b"0");
    site.leave(last.unwrap());
    site.ask(b"more");
}

/// The limit of descriptors is computed from [`OPENS_MAX`].
#[test]
fn a_lookup_opens_at_most_opens_max_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["p", "p.html", "p.html.br", "p.html.zst", "p.html.gz"] {
        write_page(folder.path(), name, 10_000);
    }
    let content = Content { clean_urls: true, ..Content::default() };
    let mut site = TestSite::new(settings(folder.path()).with_content(content));
    let waiting = site.ask(b"p.html");
    let mut files: Vec<Weak<File>> = Vec::new();
    let mut most = 0;
    while !site.open.is_empty() {
        let (id, ask) = site.open.remove(0);
        let reply = perform(ask);
        if let Reply::Opened(Ok(file)) = &reply {
            files.push(Arc::downgrade(file));
        }
        most = most.max(files.iter().filter(|file| file.strong_count() > 0).count());
        site.reply(id, reply);
    }
    assert_eq!(length(site.told(waiting).unwrap()), 10_000);
    assert!(most <= OPENS_MAX, "{most} files were open at a time, more than {OPENS_MAX}");
}

/// Two lookups of a name run, because the first one began too long ago to be joined. Then a change
/// is reported.
#[test]
fn a_change_puts_all_lookups_of_a_name_in_doubt() {
    for old_ends_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        write_page(folder.path(), "page.txt", 10_000);
        let mut site = TestSite::new(settings(folder.path()));
        let old = site.ask(b"page.txt");
        let old_replies = site.perform_all();
        site.now.instant += HOUR + SECOND;
        let new = site.ask(b"page.txt");
        let new_replies = site.perform_all();
        assert_eq!(new_replies.len(), AT_ONCE, "the first lookup began too long ago");
        write_page(folder.path(), "page.txt", 20_000);
        site.receive([watched::changed("page.txt")]);
        if old_ends_first {
            site.reply_all(old_replies);
            assert_eq!(length(site.told(old).unwrap()), 10_000);
        } else {
            site.reply_all(new_replies);
            assert_eq!(length(site.told(new).unwrap()), 10_000);
        }
        // Twice, because the first request must not make the result valid for the second.
        for number in 0..2 {
            assert!(site.known(b"page.txt").is_none(), "request {number} gets the old page");
        }
    }
}

/// A listing may take long, and only has its directory open meanwhile, so it does not count towards
/// the limit.
#[test]
fn a_lookup_that_waits_for_a_listing_does_not_block_others() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HttpSettings { lookups_max: 1, ..settings(folder.path()) };
    let mut site = TestSite::new(settings);
    let asked = Asked::parse(Format::Html, None);
    let listing = site.find(&ResourceName::Entries { path: b"", asked }).unwrap_err();
    let (next, last) = (site.ask(b"next"), site.ask(b"last"));
    let (id, open) = site.open.remove(0);
    assert!(site.open.is_empty() && opens(&open) == ".", "the directory is being opened");
    site.reply(id, perform(open));
    let (job, Ask::Run { .. }) = site.open.remove(0) else { panic!("{:?}", site.open) };
    assert_eq!(running(&site), ["next"]);
    let replies = site.perform_all();
    site.reply_all(replies);
    assert!(site.told(next).is_some());
    assert_eq!(running(&site), ["last"]);
    site.reply(job, Reply::Ran(Ok(b"page".to_vec())));
    assert!(site.told(listing).is_some());
    site.settle();
    assert!(site.told(last).is_some());
}

#[test]
fn the_job_of_a_listing_is_cancelled_when_the_last_session_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let content = Content { listing: true, ..Content::default() };
    let mut site = TestSite::new(settings(folder.path()).with_content(content));
    let name = |format| ResourceName::Entries { path: b"", asked: Asked::parse(format, None) };
    let ask = |site: &mut TestSite, format| site.find(&name(format)).unwrap_err();
    let (one, two) = (ask(&mut site, Format::Html), ask(&mut site, Format::Html));
    site.poll();
    let (id, open) = site.open.pop().unwrap();
    assert!(site.open.is_empty() && opens(&open) == ".");
    site.reply(id, perform(open));
    let [(job, Ask::Run { .. })] = &site.open[..] else { panic!("{:?}", site.open) };
    let job = *job;
    site.leave(one);
    assert!(site.cancelled.is_empty());
    site.leave(two);
    assert_eq!(site.cancelled, [job]);
    let again = ask(&mut site, Format::Html);
    site.poll();
    site.reply(job, Reply::Ran(Err(io::ErrorKind::Interrupted.into())));
    site.settle();
    assert!(matches!(&*resource(site.told(again).unwrap()), Resource::Page(_)));
}
