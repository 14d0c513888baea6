//! Lookups of files that only the fallback root has.

use super::*;
use crate::http::{FallbackRoot, FileGlobs, RootDirectory, SiteTable};

/// Makes a link to a release.
fn link(folder: &Path, name: &str, release: &str) {
    symlink(release, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join(name)).unwrap();
}

/// The path of a root, which may be a link.
fn root_path(folder: &Path, name: &str) -> RootPath {
    let path = CString::new(folder.join(name).to_str().unwrap()).unwrap();
    RootPath { base: follow_all(), path }
}

/// Three releases, whose assets have their name and differ in length, and a site that serves the
/// second one and falls back to the first one.
fn rollout(previous: Option<&str>) -> (TempDir, HttpSettings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (release, length) in [("one", 10_000), ("two", 20_000), ("three", 30_000)] {
        fs::create_dir_all(path.join(release).join("assets")).unwrap();
        for name in ["page.txt", &format!("{release}.txt"), &format!("assets/{release}.js")] {
            write_page(&path.join(release), name, length);
        }
    }
    link(path, "current", "two");
    if let Some(previous) = previous {
        link(path, "previous", previous);
    }
    let fallback_root = Some(FallbackRoot {
        root: previous.map(|_| RootDirectory(open_root(&path.join("previous")))),
        root_path: Some(root_path(path, "previous")),
        only: FileGlobs::new(&["/assets/**".to_owned()]).unwrap(),
    });
    let site = SiteSettings {
        root_path: Some(root_path(path, "current")),
        fallback_root,
        ..SiteSettings::new(open_root(&path.join("current")))
    };
    let settings = HttpSettings { cache_idle: HOUR, ..HttpSettings::new(site) };
    (folder, HttpSettings { revalidate_after: SECOND, ..settings })
}

fn is_missing(found: Resolved) -> bool {
    matches!(*resource(found), Resource::Refused(Status::NotFound))
}

#[test]
fn a_missing_file_that_matches_is_found_in_the_fallback_root() {
    let (_folder, settings) = rollout(Some("one"));
    let mut site = TestSite::new(settings);
    assert_eq!(length(site.get(b"assets/two.js")), 20_000);
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
    assert_eq!(length(site.get(b"page.txt")), 20_000, "the root precedes");
    assert!(is_missing(site.get(b"one.txt")), "it does not match");
    assert!(is_missing(site.get(b"assets/three.js")));
}

/// A deployment turns the fallback first. Both roots are asked for, one after the other, before any
/// file is opened.
#[test]
fn both_roots_turn_before_a_lookup_begins() {
    let (folder, settings) = rollout(Some("one"));
    let mut site = TestSite::new(settings);
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
    site.now.instant += SECOND;
    let waiting = site.ask(b"assets/two.js");
    let [(_, Ask::Open { .. })] = &site.open[..] else { panic!("{:?}", site.open) };
    link(folder.path(), "previous", "two");
    link(folder.path(), "current", "three");
    site.reply_next();
    let [(_, Ask::Open { path, .. })] = &site.open[..] else { panic!("{:?}", site.open) };
    assert!(path.to_str().unwrap().ends_with("previous"), "{path:?}");
    // A lookup that comes meanwhile waits, too.
    let later = site.ask(b"assets/three.js");
    assert_eq!(site.open.len(), 1, "{:?}", site.open);
    site.reply_next();
    site.settle();
    assert_eq!(length(site.told(waiting).unwrap()), 20_000);
    assert_eq!(length(site.told(later).unwrap()), 30_000);
    assert!(is_missing(site.get(b"assets/one.js")), "it is two releases old");
}

/// The fallback root turns alone: what was found beneath the old one is no longer valid.
#[test]
fn a_fallback_root_that_turns_ends_its_results() {
    let (folder, settings) = rollout(Some("one"));
    let mut site = TestSite::new(settings);
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
    link(folder.path(), "previous", "three");
    site.now.instant += SECOND;
    assert!(is_missing(site.get(b"assets/one.js")));
    assert_eq!(length(site.get(b"assets/three.js")), 30_000);
}

#[test]
fn a_fallback_root_may_appear_later_and_stays_when_its_name_is_gone() {
    let (folder, settings) = rollout(None);
    let mut site = TestSite::new(settings);
    assert!(is_missing(site.get(b"assets/one.js")));
    link(folder.path(), "previous", "one");
    site.now.instant += SECOND;
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
    fs::remove_file(folder.path().join("previous")).unwrap();
    site.now.instant += SECOND;
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
}

/// Nothing watches the fallback root, so what was found there, or not, is valid for a second.
#[test]
fn results_of_the_fallback_root_are_valid_for_a_second() {
    let (folder, settings) = rollout(Some("one"));
    let mut site = TestSite::new(HttpSettings { revalidate_after: HOUR, ..settings });
    for (path, is_of_root) in
        [(&b"assets/one.js"[..], false), (b"assets/three.js", false), (b"assets/two.js", true)]
    {
        site.get(path);
        assert!(site.known(path).is_some(), "{}", path.escape_ascii());
        site.now.instant += 2 * SECOND;
        assert_eq!(site.known(path).is_some(), is_of_root, "{}", path.escape_ascii());
    }
    drop(folder);
}

/// A directory of the root is not missing, even if the other root has a file of this name.
#[test]
fn a_directory_of_the_root_is_not_missing() {
    let (folder, settings) = rollout(Some("one"));
    fs::create_dir(folder.path().join("two/assets/one.js")).unwrap();
    let mut site = TestSite::new(settings);
    let found = resource(site.get(b"assets/one.js"));
    assert!(matches!(&*found, Resource::Moved(path) if &**path == "/assets/one.js/"), "{found:?}");
    fs::create_dir(folder.path().join("one/assets/folder")).unwrap();
    // An index in it would match.
    let found = resource(site.get(b"assets/folder"));
    assert!(matches!(&*found, Resource::Moved(path) if &**path == "/assets/folder/"), "{found:?}");
}

/// Links that leave the fallback root are not followed.
#[test]
fn the_fallback_root_is_a_border() {
    let (folder, settings) = rollout(Some("one"));
    symlink("../../two/two.txt", folder.path().join("one/assets/out.txt")).unwrap();
    let mut site = TestSite::new(settings);
    let found = resource(site.get(b"assets/out.txt"));
    assert!(matches!(*found, Resource::Refused(Status::Forbidden)), "{found:?}");
}

/// A reload that changes only the fallback root serves the new one at once.
#[test]
fn a_reload_changes_the_fallback_root() {
    let (folder, settings) = rollout(Some("one"));
    let old = SiteSettings::clone(&settings.sites.sites()[0]);
    let mut site = TestSite::new(HttpSettings { revalidate_after: HOUR, ..settings });
    assert_eq!(length(site.get(b"assets/one.js")), 10_000);
    let mut generation = 1;
    let mut reload = |site: &mut TestSite, settings: SiteSettings| {
        generation += 1;
        let table = SiteTable::new(generation, vec![Arc::new(settings)]).unwrap();
        site.sites.receive(site.now, SitesMessage::Table(Arc::new(table), HOUR));
        site.poll();
    };
    reload(&mut site, old.clone());
    assert!(site.known(b"assets/one.js").is_some(), "nothing has changed");
    reload(&mut site, SiteSettings { fallback_root: None, ..old });
    assert!(is_missing(site.get(b"assets/one.js")));
    drop(folder);
}
