//! Lookups that meet another root on their way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::driver::Links;
use crate::http::{Content, RootPath, Settings};

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

/// A site in a folder, that remembers for an hour.
fn site_of(folder: &Path, content: Content) -> Site {
    Site::new(Settings {
        content,
        revalidate_after: Duration::from_secs(3600),
        ..Settings::new(open_root(folder))
    })
}

/// Looks up, at a time when the file has not changed for a while.
fn look_up(site: &mut Site, path: &[u8]) -> Found {
    let now = Now::read();
    let now = Now { system: now.system + Duration::from_secs(10), ..now };
    let begun = Lookup::begin(site, now, &Name::Target { path, directory: false });
    finish(site, now, begun)
}

fn known(found: Found) -> Rc<Resource> {
    match found {
        Found::Known(resource) => resource,
        Found::Trouble(status) => panic!("{status:?}"),
    }
}

fn length(found: Found) -> u64 {
    match &*known(found) {
        Resource::Page(page) => page.variant(None).len(),
        other => panic!("{other:?}"),
    }
}

/// Two ask for one file, which is replaced in between; the one that was first is the last to end.
#[test]
fn a_slow_lookup_does_not_bring_an_old_file_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("page.txt");
    fs::write(&place, vec![b'o'; 10_000]).unwrap();
    let mut site = site_of(folder.path(), Content::default());
    let now = Now::read();
    let name = Name::Target { path: b"page.txt", directory: false };
    let Progress::Ask(slow, Step::Open { root, path }) = Lookup::begin(&mut site, now, &name)
    else {
        panic!("the page is asked for")
    };
    let old = File::open_beneath(&root, &path).map(Arc::new);
    fs::write(folder.path().join("new"), vec![b'n'; 20_000]).unwrap();
    fs::rename(folder.path().join("new"), &place).unwrap();
    assert_eq!(length(look_up(&mut site, b"page.txt")), 20_000);
    let later = Now::read();
    let slow = slow.resume(&mut site, later, Reply::Opened(old));
    assert_eq!(length(finish(&mut site, later, slow)), 10_000, "it answers with what it found");
    let Some(Resource::Page(page)) = site.cache.peek(b"page.txt").map(|known| &**known) else {
        panic!("the page is remembered")
    };
    assert_eq!(page.variant(None).len(), 20_000);
}

/// What a shortage says of a name is nothing, and of other names neither.
#[test]
fn a_shortage_forgets_no_more_than_it_must() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::write(folder.path().join(name), vec![b'x'; 10_000]).unwrap();
    }
    for (error, left) in [
        (io::ErrorKind::ResourceBusy.into(), 2),
        (io::Error::from_raw_os_error(libc::EAGAIN), 2),
        // A descriptor is needed, and both have one.
        (io::Error::from_raw_os_error(libc::EMFILE), 0),
        // This one may be broken.
        (io::Error::from_raw_os_error(libc::EIO), 1),
    ] {
        let mut site = site_of(folder.path(), Content::default());
        look_up(&mut site, b"one");
        look_up(&mut site, b"two");
        let (now, name) = (Now::read(), Name::Target { path: b"one", directory: false });
        let Progress::Ask(lookup, _) = Lookup::begin(&mut site, now, &name) else {
            panic!("it is opened")
        };
        let told = error.to_string();
        let ended = lookup.resume(&mut site, now, Reply::Opened(Err(error)));
        assert!(matches!(ended, Progress::Found(Found::Trouble(_))), "{told}");
        assert_eq!(site.cache.len(), left, "{told}");
    }
}

/// The type is that of the name, so another name is another page, even of the same file.
#[test]
fn a_page_is_known_by_its_path_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.html"), vec![b'x'; 10_000]).unwrap();
    std::os::unix::fs::symlink("a.html", folder.path().join("a")).unwrap();
    let content = Content { clean_urls: true, ..Content::default() };
    let mut site = site_of(folder.path(), content);
    let content_type = |found| match &*known(found) {
        Resource::Page(page) => {
            String::from_utf8(page.variant(None).content_type().to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(content_type(look_up(&mut site, b"a")), "application/octet-stream");
    fs::remove_file(folder.path().join("a")).unwrap();
    assert_eq!(content_type(look_up(&mut site, b"a")), "text/html; charset=utf-8");
}

/// No page is sent where it cannot be had.
#[test]
fn a_page_keeps_its_address_when_the_clean_one_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.html.html", "c.html", "index.htm", "index.html"] {
        fs::write(folder.path().join(name), vec![b'x'; 10_000]).unwrap();
    }
    std::os::unix::fs::symlink("/etc", folder.path().join("c")).unwrap();
    let index = vec![b"index.htm".to_vec(), b"index.html".to_vec()];
    let content = Content { clean_urls: true, index, ..Content::default() };
    let mut site = site_of(folder.path(), content);
    for path in [&b"b.html.html"[..], b"c.html", b"index"] {
        assert_eq!(length(look_up(&mut site, path)), 10_000, "{}", path.escape_ascii());
    }
    let moved = known(look_up(&mut site, b"index.html"));
    assert!(matches!(&*moved, Resource::Moved(to) if &**to == "/index"), "{moved:?}");
}

#[test]
fn no_two_names_share_a_key() {
    let key = |name: Name<'_>| {
        let mut key = Vec::new();
        name.write_key(&mut key);
        key
    };
    let asked = listing::Asked::parse(listing::Format::Html, None);
    let of_root = key(Name::Entries { path: b"", asked });
    let peculiar = &of_root[1..];
    assert_ne!(of_root, key(Name::Substitute { path: peculiar }));
    assert_ne!(
        key(Name::Substitute { path: b"a" }),
        key(Name::Target { path: b"a", directory: false })
    );
}

#[test]
fn what_is_empty_needs_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let mut site = site_of(folder.path(), Content::default());
    assert_eq!(length(look_up(&mut site, b"empty")), 0);
    assert_eq!(site.cache.weight().files, 0);
}

/// A site whose changes are watched, in a folder with one page.
fn watching(folder: &Path) -> Option<Site> {
    fs::write(folder.join("page.txt"), vec![b'o'; 10_000]).unwrap();
    let mut site = Site::new(Settings {
        watch: true,
        revalidate_after: Duration::from_secs(3600),
        ..Settings::new(open_root(folder))
    });
    // The first lookup begins the watch, and the second finds that nothing has changed since.
    look_up(&mut site, b"page.txt");
    if site.changes.watched() == 0 {
        println!("skipped: there is no watch to be had (fs.inotify in proc(5))");
        return None;
    }
    look_up(&mut site, b"page.txt");
    assert!(is_valid(&mut site, b"page.txt") && site.figures().expirations == 0);
    Some(site)
}

fn is_valid(site: &mut Site, key: &[u8]) -> bool {
    matches!(site.cache.get(key, Now::read().instant), crate::files::Lookup::Valid(_))
}

/// Puts a file in the place of the page, and lets the site hear of it.
fn replace(folder: &Path, site: &mut Site) {
    fs::write(folder.join("new"), vec![b'n'; 20_000]).unwrap();
    fs::rename(folder.join("new"), folder.join("page.txt")).unwrap();
    std::thread::sleep(Duration::from_millis(11));
    site.notice_changes(Now::read().instant);
}

/// A page is opened, then replaced, and the change is heard of before the lookup ends. Whether it
/// finds the page new or as it was known: nobody uses that unasked.
#[test]
fn a_lookup_that_a_change_overtakes_is_asked_about_again() {
    for known in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut site) = watching(folder.path()) else { return };
        if !known {
            site.cache.clear();
        }
        let now = Now::read();
        let name = Name::Target { path: b"page.txt", directory: false };
        let Progress::Ask(slow, Step::Open { root, path }) = Lookup::begin(&mut site, now, &name)
        else {
            panic!("the page is asked for")
        };
        let old = File::open_beneath(&root, &path).map(Arc::new);
        replace(folder.path(), &mut site);
        let later = Now::read();
        let later = Now { system: later.system + Duration::from_secs(10), ..later };
        let slow = slow.resume(&mut site, later, Reply::Opened(old));
        assert_eq!(length(finish(&mut site, later, slow)), 10_000, "it answers with what it found");
        assert!(site.cache.peek(b"page.txt").is_some() && !is_valid(&mut site, b"page.txt"));
        assert_eq!(length(look_up(&mut site, b"page.txt")), 20_000);
        assert!(is_valid(&mut site, b"page.txt"));
    }
}

#[test]
fn what_has_changed_is_not_used_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut site) = watching(folder.path()) else { return };
    fs::write(folder.path().join("other.txt"), "").unwrap();
    site.notice_changes(Now::read().instant);
    look_up(&mut site, b"other.txt");
    replace(folder.path(), &mut site);
    for _ in 0..3 {
        assert!(!is_valid(&mut site, b"page.txt"), "nobody has asked");
        assert!(is_valid(&mut site, b"other.txt"), "it is another file");
    }
    assert_eq!(length(look_up(&mut site, b"page.txt")), 20_000);
    assert!(is_valid(&mut site, b"page.txt"));
    // Another root: its directories are others.
    site.begin_anew();
    assert_eq!((site.cache.len(), site.figures().watched), (0, 0));
    look_up(&mut site, b"page.txt");
    assert_eq!(site.figures().watched, 1);
}

/// What is asked about each time needs no watch, and what nobody wants watched has none.
#[test]
fn nothing_is_watched_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.txt"), vec![b'o'; 10_000]).unwrap();
    for (watch, revalidate_after) in [(true, Duration::ZERO), (false, Duration::from_secs(1))] {
        let settings = Settings::new(open_root(folder.path()));
        let mut site = Site::new(Settings { watch, revalidate_after, ..settings });
        look_up(&mut site, b"page.txt");
        assert_eq!(site.figures().watched, 0);
    }
}
