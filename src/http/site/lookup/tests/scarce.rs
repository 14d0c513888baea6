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

fn plain(folder: &TempDir) -> SiteSettings {
    let mut settings = settings(folder.path());
    settings.content.precompressed = false;
    settings
}

fn status(found: Resolved) -> Option<Status> {
    match found {
        Resolved::Resource(_) => None,
        Resolved::TransientError(status) => Some(status),
    }
}

/// A response keeps its files open after the cache has evicted them, and they count.
#[test]
fn files_of_responses_in_flight_count_after_their_eviction() {
    let folder = folder();
    // Each page evicts the one before.
    let settings = SiteSettings { cache_entries: 1, files_max: 2, ..plain(&folder) };
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
    let settings = SiteSettings { files_max: 2, ..plain(&folder) };
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

/// Lookups fail with EMFILE. What is known and did not change is used for a while.
#[test]
fn a_shortage_does_not_fail_requests_for_what_is_known() {
    let folder = folder();
    let mut site = TestSite::new(SiteSettings { revalidate_after: SECOND, ..plain(&folder) });
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
    let mut site = TestSite::new(SiteSettings { cache_idle: 60 * SECOND, ..plain(&folder) });
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
