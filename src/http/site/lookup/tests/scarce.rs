//! Lookups while descriptors are scarce: within the site's own limit, or because the process has
//! none left.

use super::*;

/// A folder with files that are too large for memory, and a small one.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two", "three"] {
        write_page(folder.path(), name, 10_000);
    }
    write_page(folder.path(), "small", 10);
    folder
}

fn plain(folder: &TempDir) -> HttpSettings {
    let content = Content { precompressed: false, ..Content::default() };
    settings(folder.path()).with_content(content)
}

fn status(found: Resolved) -> Option<Status> {
    match found {
        Resolved::Resource(_) => None,
        Resolved::TransientError(status) => Some(status),
        Resolved::Renewed | Resolved::Checked(_) => panic!("the sites stay"),
    }
}

/// A response keeps its files open after the cache has evicted them, and they count.
#[test]
fn files_of_responses_in_flight_count_after_their_eviction() {
    let folder = folder();
    // Each page evicts the one before.
    let settings = HttpSettings { cache_entries: 1, files_max: 2, ..plain(&folder) };
    let mut site = TestSite::new(settings);
    let (one, two) = (site.get(b"one"), site.get(b"two"));
    assert_eq!(status(site.get(b"three")), Some(Status::ServiceUnavailable));
    assert_eq!(status(site.get(b"small")), None, "its content is in memory");
    drop(one);
    assert_eq!(status(site.get(b"three")), None);
    drop(two);
}

/// A page of the cache that no response uses makes room for another one.
#[test]
fn the_cache_closes_files_to_make_room() {
    let folder = folder();
    let settings = HttpSettings { files_max: 2, ..plain(&folder) };
    let mut site = TestSite::new(settings);
    let kept = site.get(b"one");
    for _ in 0..5 {
        assert_eq!(status(site.get(b"two")), None);
        assert_eq!(status(site.get(b"three")), None);
    }
    assert_eq!(site.sites.cache_stats().files, 2);
    assert!(site.known(b"one").is_some(), "closing it would gain nothing");
    drop(kept);
}

/// A page in two codings, whose files are too large for memory; and a site that has room for
/// `files_max` open files.
fn encoded(files_max: usize) -> (TempDir, TestSite) {
    let folder = folder();
    write_page(folder.path(), "one.gz", 5_000);
    let settings = settings(folder.path());
    let memory_file_max = 4_000;
    let site = TestSite::new(HttpSettings { files_max, memory_file_max, ..settings });
    (folder, site)
}

/// The files of a page that did not change are open already, so they need no room.
#[test]
fn only_the_files_that_have_changed_need_room() {
    let (folder, mut site) = encoded(2);
    let files = site.sites.open_files();
    assert_eq!(status(site.get(b"one")), None);
    assert_eq!(files.count(), 2);
    write_page(folder.path(), "one.gz", 6_000);
    site.now.instant += HOUR;
    assert_eq!(status(site.get(b"one")), None);
    assert_eq!(files.count(), 2);
}

/// A response keeps the files of the old page open. The new page shares the one that did not
/// change.
#[test]
fn the_old_and_the_new_page_share_the_files_that_did_not_change() {
    let (folder, mut site) = encoded(4);
    let files = site.sites.open_files();
    let old = site.get(b"one");
    write_page(folder.path(), "one.gz", 6_000);
    site.now.instant += HOUR;
    let new = site.get(b"one");
    assert_eq!(files.count(), 3, "one plain file and two compressed ones");
    drop(old);
    assert_eq!(files.count(), 2);
    drop(new);
}

/// It is requested all the time, so the new version takes over the rank of the old one.
#[test]
fn a_hot_page_that_was_loaded_again_stays_hot() {
    let folder = folder();
    let settings = HttpSettings { files_max: 2, revalidate_after: SECOND, ..plain(&folder) };
    let mut site = TestSite::new(settings);
    // A slow client has one file, and the other one belongs to a page that others request.
    let slow = site.get(b"three");
    assert_eq!(status(site.get(b"one")), None);
    assert_eq!(status(site.get(b"one")), None);
    assert_eq!(status(site.get(b"two")), Some(Status::ServiceUnavailable), "a page is hot");
    write_page(folder.path(), "one", 20_000);
    site.now.instant += SECOND;
    assert_eq!(length(site.get(b"one")), 20_000);
    assert_eq!(status(site.get(b"two")), Some(Status::ServiceUnavailable), "it is still hot");
    site.now.instant += 20 * SECOND;
    assert_eq!(status(site.get(b"two")), None);
    drop(slow);
}

/// Lookups fail with EMFILE. What is known and did not change is used for a while.
#[test]
fn a_shortage_does_not_fail_requests_for_what_is_known() {
    let folder = folder();
    let mut site = TestSite::new(HttpSettings { revalidate_after: SECOND, ..plain(&folder) });
    let shortage = |site: &mut TestSite, path: &[u8]| match site
        .find(&ResourceName::Target { path, directory: false })
    {
        Ok(found) => status(found),
        Err(waiting) => {
            site.poll();
            while let Some((id, _)) = site.open.pop() {
                let error = io::Error::from_raw_os_error(libc::EMFILE);
                site.reply(id, Reply::Opened(Err(error)));
            }
            status(site.told(waiting).unwrap())
        }
    };
    assert_eq!(status(site.get(b"small")), None);
    assert_eq!(status(site.get(b"one")), None);
    for _ in 0..30 {
        site.now.instant += 2 * SECOND;
        assert_eq!(shortage(&mut site, b"small"), None);
        assert_eq!(shortage(&mut site, b"two"), Some(Status::ServiceUnavailable));
    }
    assert!(site.sites.cache_stats().files == 0, "the descriptor of the other page was freed");
    site.now.instant += 2 * SECOND;
    assert_eq!(shortage(&mut site, b"small"), Some(Status::ServiceUnavailable), "it is too old");
}

/// The site wakes its worker to close a file that no request uses.
#[test]
fn a_file_that_nobody_requests_is_closed() {
    let folder = folder();
    let mut site = TestSite::new(HttpSettings { cache_idle: 60 * SECOND, ..plain(&folder) });
    let files = site.sites.open_files();
    assert_eq!(status(site.get(b"one")), None);
    assert_eq!(files.count(), 1);
    let begun = site.now.instant;
    while let Some(due) = site.sites.deadline() {
        site.now.instant = due;
        site.poll();
    }
    assert_eq!(files.count(), 0);
    let took = site.now.instant - begun;
    assert!((60 * SECOND..=75 * SECOND).contains(&took), "{took:?}");
}
