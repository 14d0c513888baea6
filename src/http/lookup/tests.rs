//! Lookups that meet another root on their way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::driver::Links;
use crate::http::{RootPath, Settings};

fn open_root(path: &Path) -> Arc<File> {
    Arc::new(File::open_root(path, Links::Beneath).unwrap())
}

/// Two releases of a site, and a site that serves the first one and asks each time which it is.
fn releases() -> (TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    for release in ["one", "two"] {
        fs::create_dir(folder.path().join(release)).unwrap();
        // Too large to be read, so that a lookup is a matter of opening alone.
        fs::write(folder.path().join(release).join("page.txt"), vec![b'x'; 10_000]).unwrap();
    }
    let path = CString::new(folder.path().join("one").to_str().unwrap()).unwrap();
    let site = Site::new(Settings {
        root_path: Some(RootPath { base: open_root(Path::new("/")), path }),
        revalidate_after: Duration::ZERO,
        ..Settings::new(open_root(&folder.path().join("one")))
    });
    (folder, site)
}

/// Answers what is asked for until the lookup has come to its end.
fn finish(site: &mut Site, now: Now, mut progress: Progress) -> Found {
    loop {
        match progress {
            Progress::Found(found) => return found,
            Progress::Ask(lookup, Step::Open { root, path }) => {
                let opened = File::open_beneath(&root, &path).map(Arc::new);
                progress = lookup.resume(site, now, Reply::Opened(opened));
            }
            Progress::Ask(_, step) => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_lookup_that_a_new_root_overtakes_is_not_remembered() {
    let (folder, mut site) = releases();
    let now = Now::read();
    let name = Name::Target { path: b"page.txt", directory: false };
    let remembers = |site: &Site| site.cache.peek(b"page.txt").is_some();
    // It has asked for the root, which is still the same, and asks for the page now.
    let Progress::Ask(lookup, Step::Open { root, path }) = Lookup::begin(&mut site, now, &name)
    else {
        panic!("the root is asked for")
    };
    let opened = File::open_beneath(&root, &path).map(Arc::new);
    let overtaken = lookup.resume(&mut site, now, Reply::Opened(opened));
    // Somebody else learns that there is another one.
    let other = File::open_root(&folder.path().join("two"), Links::Beneath).map(Arc::new);
    assert!(site.root.answered(other));
    site.cache.clear();
    let old = finish(&mut site, now, overtaken);
    assert!(matches!(&old, Found::Known(known) if matches!(**known, Resource::Page(_))));
    assert!(!remembers(&site), "the old page was put into the cache of the new root");
    let again = Lookup::begin(&mut site, now, &name);
    finish(&mut site, now, again);
    assert!(remembers(&site));
}

#[test]
fn all_files_of_a_lookup_are_of_one_root() {
    let (folder, mut site) = releases();
    let (now, name) = (Now::read(), Name::Target { path: b"page.txt", directory: false });
    let first = Arc::clone(site.root.get());
    let mut progress = Lookup::begin(&mut site, now, &name);
    let mut opens = 0;
    while let Progress::Ask(lookup, Step::Open { root, path }) = progress {
        if opens > 0 {
            assert!(Arc::ptr_eq(&root, &first), "open {opens}");
        }
        opens += 1;
        let opened = File::open_beneath(&root, &path).map(Arc::new);
        progress = lookup.resume(&mut site, now, Reply::Opened(opened));
        let other = File::open_root(&folder.path().join("two"), Links::Beneath).map(Arc::new);
        if opens == 2 {
            assert!(site.root.answered(other));
        }
    }
    // The root, the page, and the page in three codings.
    assert_eq!(opens, 5);
}
