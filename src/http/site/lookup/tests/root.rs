//! Lookups and the root that they begin in, which is asked for now and then.

use super::*;

/// The root is asked for by one lookup at a time, and nobody depends on whether that one is still
/// wanted when the reply comes.
#[test]
fn a_root_that_was_asked_for_in_vain_does_no_harm() {
    for other_root in [false, true] {
        let (folder, settings) = releases();
        let mut site = TestSite::new(SiteSettings { revalidate_after: SECOND, ..settings });
        site.look_up(b"page.txt");
        site.now.instant += SECOND;
        let gone = site.ask(b"page.txt");
        let (id, ask) = site.open.remove(0);
        if other_root {
            turn(folder.path(), "two");
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

/// A lookup that waits for the root begins when the reply is there, so a root that has changed by
/// then throws no doubt on it: what it finds is remembered, and others may wait for it.
#[test]
fn the_lookup_that_finds_another_root_is_in_no_doubt() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(SiteSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    turn(folder.path(), "two");
    site.now.instant += SECOND;
    let waiting = site.ask(b"page.txt");
    let (id, ask) = site.open.remove(0);
    site.reply(id, perform(ask));
    assert_eq!(site.open.len(), AT_ONCE);
    let behind = site.ask(b"page.txt");
    assert_eq!(site.open.len(), AT_ONCE, "there is one that it can wait for");
    site.settle();
    let found = [waiting, behind].map(|waiting| length(site.told(waiting).unwrap()));
    assert_eq!(found, [20_000, 20_000]);
    assert!(site.known(b"page.txt").is_some(), "it was looked up in this root");
}

/// Where everything is asked about each time, so is the root: who asks after it has changed gets
/// what is in the new one, also if somebody else has asked for the root just before.
#[test]
fn a_root_that_was_asked_for_before_is_not_believed_without_end() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(settings);
    let before = site.ask(b"page.txt");
    let root = site.perform_all();
    turn(folder.path(), "two");
    site.now.instant += SECOND;
    let after = site.ask(b"page.txt");
    site.settle();
    site.reply_all(root);
    site.settle();
    assert_eq!(length(site.told(before).unwrap()), 10_000);
    assert_eq!(length(site.told(after).unwrap()), 20_000);
}

/// The paths that are asked for at the moment.
fn paths(site: &TestSite) -> Vec<&str> {
    site.open.iter().map(|(_, ask)| opens(ask)).collect()
}

/// Whether all that is asked for is beneath the root that is served now.
fn is_beneath(site: &TestSite, root: &Path) -> bool {
    let root = open_root(root);
    site.open.iter().all(|(_, ask)| match ask {
        Ask::Open { root: other, .. } => other.metadata().inode == root.metadata().inode,
        other => panic!("{other:?}"),
    })
}

/// The root was asked for a moment ago, and the reply tells what is to be known.
#[test]
fn who_comes_while_the_root_is_asked_for_waits_for_it() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(SiteSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    site.now.instant += SECOND;
    let first = site.ask(b"other.txt");
    let (id, ask) = site.open.remove(0);
    site.now.instant += SECOND / 2;
    let second = site.ask(b"third.txt");
    assert!(site.open.is_empty(), "{:?}", paths(&site));
    turn(folder.path(), "two");
    site.reply(id, perform(ask));
    assert_eq!(site.open.len(), 2 * AT_ONCE);
    assert!(is_beneath(&site, &folder.path().join("two")));
    site.settle();
    assert!(site.told(first).is_some() && site.told(second).is_some());
    // For as long as it is known, nobody asks; and it is known since the question.
    site.now.instant += SECOND / 4;
    site.ask(b"fourth.txt");
    assert_eq!(site.open.len(), AT_ONCE);
    site.settle();
    site.now.instant += SECOND / 4;
    site.ask(b"fifth.txt");
    assert_eq!(site.open.len(), 1, "{:?}", paths(&site));
}

/// Where the reply does not come in a second, the root that is there is served on, and it is not
/// asked for again. The next lookup takes those along who have waited.
#[test]
fn a_root_that_does_not_come_is_not_waited_for() {
    for revalidate_after in [Duration::ZERO, SECOND / 2, 5 * SECOND] {
        let (folder, settings) = releases();
        let mut site = TestSite::new(SiteSettings { revalidate_after, ..settings });
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
        [first, in_time, later].into_iter().for_each(|who| assert!(site.told(who).is_some()));
        site.reply(id, perform(ask));
        site.settle();
        assert!(site.open.is_empty());
    }
}

/// However many wait for a root that does not come: they keep nobody in line.
#[test]
fn those_who_wait_for_the_root_leave_room_for_others() {
    let (_folder, settings) = releases();
    let mut site =
        TestSite::new(SiteSettings { lookups_max: 3, revalidate_after: SECOND, ..settings });
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

/// Those who left while they waited for the root do not begin when it comes, and leave nothing
/// behind.
#[test]
fn who_waited_for_the_root_and_left_does_not_begin() {
    let (_folder, settings) = releases();
    let mut site = TestSite::new(SiteSettings { revalidate_after: Duration::ZERO, ..settings });
    let first = site.ask(b"page.txt");
    let (id, ask) = site.open.remove(0);
    let before = format!("{:?}", site.sites).len();
    for number in 0..100 {
        site.now.instant += Duration::from_micros(number % 2);
        let waiting = site.ask(b"other.txt");
        site.leave(waiting);
    }
    let after = format!("{:?}", site.sites).len();
    assert!(after < 2 * before, "{before} bytes of text have become {after}");
    assert!(site.open.is_empty() && site.cancelled.is_empty());
    site.reply(id, perform(ask));
    assert_eq!(site.open.len(), AT_ONCE);
    site.settle();
    assert!(site.told(first).is_some() && site.told.is_empty());
}

/// What is found in a root counts for as long as the root is known to be the root: a name that is
/// looked up just before the root is asked for again is not served for another while.
#[test]
fn what_was_found_is_as_old_as_the_root() {
    let (folder, settings) = releases();
    let mut site = TestSite::new(SiteSettings { revalidate_after: SECOND, ..settings });
    site.look_up(b"page.txt");
    site.now.instant += SECOND / 20;
    turn(folder.path(), "two");
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
