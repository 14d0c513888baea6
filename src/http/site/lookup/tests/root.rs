//! Lookups, and the root of the site, which is opened again from time to time.

use super::*;

/// The reply to the question for the root is used even if the lookup that needed it was cancelled.
#[test]
fn the_root_is_updated_after_its_lookup_was_cancelled() {
    for other_root in [false, true] {
        let (folder, settings) = releases();
        let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..settings });
        site.look_up(b"page.txt");
        site.now.instant += SECOND;
        let gone = site.ask(b"page.txt");
        let (id, ask) = site.open.remove(0);
        if other_root {
            deploy(folder.path(), "two");
        }
        site.leave(gone);
        site.now.instant += SECOND;
        let next = site.ask(b"other.txt");
        assert_eq!(site.sites.cache_stats().entries, 1);
        site.reply(id, perform(ask));
        assert_eq!(site.sites.cache_stats().entries, u64::from(!other_root));
        site.settle();
        assert!(site.told(next).is_some() && site.told(gone).is_none());
        let expected = if other_root { 20_000 } else { 10_000 };
        assert_eq!(length(site.get(b"page.txt")), expected);
    }
}

/// The lookup begins beneath the new root, so its result is cached, and others may join it.
#[test]
fn a_lookup_that_waited_for_a_new_root_is_not_in_doubt() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    deploy(folder.path(), "two");
    site.now.instant += SECOND;
    let waiting = site.ask(b"page.txt");
    site.reply_next();
    assert_eq!(site.open.len(), AT_ONCE);
    let behind = site.ask(b"page.txt");
    assert_eq!(site.open.len(), AT_ONCE, "the second session joins the lookup");
    site.settle();
    let found = [waiting, behind].map(|waiting| length(site.told(waiting).unwrap()));
    assert_eq!(found, [20_000, 20_000]);
    assert!(site.known(b"page.txt").is_some(), "the result is cached");
}

/// If results are never valid, a request needs a root that was opened after it, even if the
/// question of an earlier request has no reply yet.
#[test]
fn the_reply_to_an_earlier_question_for_the_root_may_be_too_old() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(settings);
    let before = site.ask(b"page.txt");
    let root = site.perform_all();
    deploy(folder.path(), "two");
    site.now.instant += SECOND;
    let after = site.ask(b"page.txt");
    site.settle();
    site.reply_all(root);
    site.settle();
    assert_eq!(length(site.told(before).unwrap()), 10_000);
    assert_eq!(length(site.told(after).unwrap()), 20_000);
}

/// The paths of the open questions.
fn paths(site: &TestSite) -> Vec<&str> {
    site.open.iter().map(|(_, ask)| opens(ask)).collect()
}

/// Whether all open questions are for files beneath this root.
fn is_beneath(site: &TestSite, root: &Path) -> bool {
    let root = open_root(root);
    site.open.iter().all(|(_, ask)| match ask {
        Ask::Open { root: other, .. } => other.metadata().inode == root.metadata().inode,
        other => panic!("{other:?}"),
    })
}

/// The second session asks soon after the question for the root, so the reply is recent enough for
/// both.
#[test]
fn lookups_share_the_question_for_the_root() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    site.now.instant += SECOND;
    let first = site.ask(b"other.txt");
    let (id, ask) = site.open.remove(0);
    site.now.instant += SECOND / 2;
    let second = site.ask(b"third.txt");
    assert!(site.open.is_empty(), "{:?}", paths(&site));
    deploy(folder.path(), "two");
    site.reply(id, perform(ask));
    assert_eq!(site.open.len(), 2 * AT_ONCE);
    assert!(is_beneath(&site, &folder.path().join("two")));
    site.settle();
    assert!(site.told(first).is_some() && site.told(second).is_some());
    // The root is not asked for again until a second after the question.
    site.now.instant += SECOND / 4;
    site.ask(b"fourth.txt");
    assert_eq!(site.open.len(), AT_ONCE);
    site.settle();
    site.now.instant += SECOND / 4;
    site.ask(b"fifth.txt");
    assert_eq!(site.open.len(), 1, "{:?}", paths(&site));
}

/// If the reply takes more than a second, the old root is used, and the question is not asked
/// again. The next lookup also starts those that waited.
#[test]
fn an_overdue_reply_for_the_root_is_not_waited_for() {
    for revalidate_after in [Duration::ZERO, SECOND / 2, 5 * SECOND] {
        let (folder, settings) = releases();
        let mut site = TestSite::new(HttpSettings { revalidate_after, ..settings });
        site.look_up(b"page.txt");
        site.now.instant += revalidate_after;
        let first = site.ask(b"first.txt");
        let (id, ask) = site.open.remove(0);
        site.now.instant += SECOND;
        let in_time = site.ask(b"second.txt");
        assert!(site.open.is_empty(), "{revalidate_after:?}: {:?}", paths(&site));
        site.now.instant += Duration::from_nanos(1);
        let later = site.ask(b"third.txt");
        assert_eq!(site.open.len(), 3 * AT_ONCE, "{revalidate_after:?}: {:?}", paths(&site));
        assert!(is_beneath(&site, &folder.path().join("one")));
        site.settle();
        let all = [first, in_time, later];
        all.into_iter().for_each(|session| assert!(site.told(session).is_some()));
        site.reply(id, perform(ask));
        site.settle();
        assert!(site.open.is_empty());
    }
}

/// More lookups wait for the root than may run at a time.
#[test]
fn lookups_that_wait_for_an_overdue_root_do_not_block_others() {
    let (_folder, settings) = releases();
    let mut site =
        TestSite::new(HttpSettings { lookups_max: 3, revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    site.now.instant += SECOND;
    let mut waiting: Vec<_> = (0..5).map(|n| site.ask(format!("{n}.txt").as_bytes())).collect();
    assert_eq!(site.open.len(), 1, "{:?}", paths(&site));
    let root = site.open.remove(0);
    site.now.instant += 2 * SECOND;
    waiting.push(site.ask(b"page.txt"));
    for _ in 0..3 {
        site.settle();
    }
    waiting.into_iter().for_each(|waiting| assert!(site.told(waiting).is_some()));
    site.reply(root.0, perform(root.1));
}

/// A cancelled lookup must not leave anything in the lists of those that wait for the root.
#[test]
fn a_lookup_that_is_cancelled_while_it_waits_for_the_root_does_not_begin() {
    let (_folder, settings) = releases();
    let mut site = TestSite::new(HttpSettings { revalidate_after: Duration::ZERO, ..settings });
    let first = site.ask(b"page.txt");
    let (id, ask) = site.open.remove(0);
    let before = format!("{:?}", site.sites).len();
    for number in 0..100 {
        site.now.instant += Duration::from_micros(number % 2);
        let waiting = site.ask(b"other.txt");
        site.leave(waiting);
    }
    let after = format!("{:?}", site.sites).len();
    assert!(after < 2 * before, "the debug text of the site grew from {before} to {after} bytes");
    assert!(site.open.is_empty() && site.cancelled.is_empty());
    site.reply(id, perform(ask));
    assert_eq!(site.open.len(), AT_ONCE);
    site.settle();
    assert!(site.told(first).is_some() && site.told.is_empty());
}

/// The age of a result counts from when the root was last known to be the root. So a name that is
/// looked up just before the root expires does not stay valid after it.
#[test]
fn a_result_expires_with_its_root() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    site.now.instant += SECOND / 20;
    deploy(folder.path(), "two");
    site.now.instant += SECOND * 9 / 10;
    site.look_up(b"other.txt");
    assert!(site.known(b"other.txt").is_some());
    site.now.instant += SECOND / 20;
    let later = site.ask(b"other.txt");
    assert_eq!(site.open.len(), 1, "the root is asked for: {:?}", paths(&site));
    site.settle();
    assert!(site.told(later).is_some());
    assert_eq!(length(site.get(b"page.txt")), 20_000);
}

/// The age of a root counts from when it was opened, however late its first lookup is.
#[test]
fn the_first_lookup_may_need_a_newer_root() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..settings });
    deploy(folder.path(), "two");
    site.now.instant += 2 * SECOND;
    assert_eq!(length(site.look_up(b"page.txt")), 20_000);
}
