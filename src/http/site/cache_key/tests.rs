//! Which keys a change invalidates: by a table, and compared with the files that lookups open.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ask::{Ask, Reply};
use crate::driver::{File, Links, Now};
use crate::http::site::listing_job::Listings;
use crate::http::site::lookup::{Lookup, LookupProgress, Surroundings};
use crate::http::site::tags::TagJobs;
use crate::http::{Content, HttpSettings};

/// The site of most keys. The number of the other site begins with the same byte.
const SITE: SiteId = SiteId(0x0701);
const OTHER: SiteId = SiteId(0x0702);

/// Whether a change in `SITE` concerns a key, which is given without its first two bytes.
fn concerns(change: &Change, index: &[&str], key: &[u8]) -> bool {
    let index: Vec<Vec<u8>> = index.iter().map(|name| name.as_bytes().to_vec()).collect();
    let concerned = |site: SiteId| {
        let (mut found, of_site) = (false, [&SITE.0.to_be_bytes(), key].concat());
        invalidated(site, change, &index, &mut Vec::new(), &mut |invalidation, told| {
            found |= match invalidation {
                Invalidation::Key => told == of_site,
                Invalidation::Prefix => of_site.starts_with(told),
            };
        });
        found
    };
    assert!(!concerned(OTHER), "{change:?} in another site concerns {}", key.escape_ascii());
    concerned(SITE)
}

/// The change of the entry at a path. A trailing slash means that everything beneath has changed.
fn entry(path: &str) -> Change {
    let (path, beneath) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    Change::Entry { directory: directory.as_bytes().into(), name: name.as_bytes().into(), beneath }
}

#[test]
fn a_change_concerns_the_keys_that_may_depend_on_it() {
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("a", &["a", "a.html", "\0/a", "\0hna1", "\0jta2"], &["b", "/", "a/", "ab", "\0/b", "a/a"]),
        ("d/a", &["d/a", "d/a.html", "\0/d/a", "d\0hna1"], &["a", "d", "d/", "d/b", "\0hna1"]),
        ("c.css", &["c.css", "c.css.html"], &["c", "css", "c.css.br", "/"]),
        ("c.css.br", &["c.css.br", "c.css", "\0/c.css"], &["c", "c.css.gz"]),
        ("c.html", &["c.html", "c"], &["/", "c/", "c.htm"]),
        ("c.html.zst", &["c.html.zst", "c.html", "c", "\0/c.html"], &["/"]),
        ("index.html", &["/", "index", "index.html"], &["d/", "d/index.html"]),
        ("d/index.html.gz", &["d/", "d/index", "d/index.html"], &["/", "d", "index.html"]),
        ("d/start", &["d/", "d/start"], &["/", "d"]),
        ("d/start.br", &["d/", "d/start", "d/start.br"], &["/", "d"]),
        (".br", &[".br"], &["/", ""]),
        ("d/", &["d", "d/", "d/a", "d/a/b", "d\0hna1", "\0/d/a", "d.html"], &["da", "/", "da/b"]),
        ("d/a/", &["d/a", "d/a/", "d/a/b", "d/a\0jsd3", "\0/d/a/b"], &["d/", "d", "d/ab", "a/b"]),
    ];
    let index = ["index.html", "start"];
    for (path, concerned, others) in cases {
        for key in concerned {
            assert!(concerns(&entry(path), &index, key.as_bytes()), "{path} and {key:?}");
        }
        for key in others {
            assert!(!concerns(&entry(path), &index, key.as_bytes()), "{path} and {key:?}");
        }
    }
    let moved = Change::Directory { path: b"d".as_slice().into() };
    for (key, expected) in [("d/", true), ("d/a", true), ("d\0hna1", true), ("d", false)] {
        assert_eq!(concerns(&moved, &index, key.as_bytes()), expected, "{key:?}");
    }
    for key in ["d", "", "d/", "\0/d", "\0hna1"] {
        assert!(concerns(&Change::Everything, &index, key.as_bytes()), "{key:?}");
    }
}

#[test]
fn no_two_names_share_a_key() {
    let key_of = |site: SiteId, name: ResourceName<'_>| {
        let mut key = b"what was there before".to_vec();
        name.write_key(site, &mut key);
        key
    };
    let key = |name| key_of(SITE, name);
    let asked = Asked::parse(Format::Html, None);
    let of_root = key(ResourceName::Entries { path: b"", asked });
    let peculiar = &of_root[3..];
    assert_ne!(of_root, key(ResourceName::Fallback { path: peculiar }));
    let target = |path, directory| ResourceName::Target { path, directory };
    assert_ne!(key(ResourceName::Fallback { path: b"a" }), key(target(b"a", false)));
    assert_ne!(key(target(b"a", true)), key(target(b"a", false)));
    // The number of one site may be a path in another.
    let names = [target(b"", true), target(b"a", false), ResourceName::Fallback { path: b"a" }];
    for name in names {
        assert_ne!(key_of(SITE, name), key_of(OTHER, name), "{name:?}");
        assert_eq!(key_of(SITE, name)[..2], SITE.0.to_be_bytes(), "{name:?}");
    }
}

/// Performs a lookup beneath a folder. Returns the paths that it tried to open.
fn opened(folder: &Path, content: &Content, name: &ResourceName<'_>) -> Vec<String> {
    let root = Arc::new(File::open_root(folder, Links::Beneath).unwrap());
    let http = HttpSettings::of_root(Arc::clone(&root)).with_content(content.clone());
    let settings = &*http.sites.sites()[0];
    let now = Now::read();
    let now = Now { system: now.system + Duration::from_secs(10), ..now };
    let mut listings = Listings::default();
    let (http, listings) = (&http, &mut listings);
    let tag_jobs = &TagJobs::default();
    let mut site =
        Surroundings { site: SITE, http, settings, listings, tag_jobs, known: None, now };
    let mut lookup = Lookup::new(settings, &root, name, now.instant);
    let (mut paths, mut open) = (Vec::new(), Vec::new());
    let mut progress = lookup.begin(&site, &root);
    loop {
        match progress {
            LookupProgress::Done(_) => return paths,
            LookupProgress::Wait => {}
            LookupProgress::Ask(asks) => open.extend(asks),
        }
        let (part, ask) = open.pop().expect("the lookup waits for a reply");
        let reply = match ask {
            Ask::Open { root, path } => {
                paths.push(path.to_str().unwrap().to_owned());
                Reply::Opened(File::open_beneath(&root, &path).map(Arc::new))
            }
            Ask::Read { buffer, .. } => Reply::Read(Ok(0), buffer),
            Ask::Run { .. } => Reply::Ran(Ok(Vec::new())),
        };
        progress = lookup.resume(&mut site, part, reply);
    }
}

/// A lookup depends on each path that it tries to open: a change of the path or of a parent
/// directory must concern the name. All paths must be in the directory that is watched for the
/// name, or be that directory.
#[test]
fn a_change_of_any_path_that_a_lookup_opens_concerns_its_name() {
    let mut random = fastrand::Rng::with_seed(5);
    let parts = ["a", "b", "index", "start", ".html", ".html", ".br", ".gz", ".zst", ".css"];
    let some = |random: &mut fastrand::Rng| -> String {
        let name: String = (0..random.usize(1..4)).map(|_| random.choice(parts).unwrap()).collect();
        name.trim_start_matches('.').replace("..", ".")
            + if name.starts_with('.') { "a" } else { "" }
    };
    let mut opens = 0;
    for _ in 0..150 {
        let folder = tempfile::tempdir().unwrap();
        let directories = ["", "a/", "a/b/", "index/"];
        for _ in 0..random.usize(..12) {
            let path = folder.path().join(random.choice(directories).unwrap());
            // Fails if there is a file of that name.
            if fs::create_dir_all(&path).is_ok() {
                let _ = fs::write(path.join(some(&mut random)), "content");
            }
        }
        let content = Content {
            clean_urls: random.bool(),
            listing: random.bool(),
            index: vec![b"index.html".to_vec(), b"start".to_vec()],
            ..Content::default()
        };
        for _ in 0..10 {
            let path = random.choice(directories).unwrap().to_owned() + &some(&mut random);
            let path = path.as_bytes();
            let asked = Asked::parse(random.choice(Format::ALL).unwrap(), None);
            let name = match random.u8(..4) {
                0 => ResourceName::Target { path, directory: true },
                1 => ResourceName::Fallback { path },
                2 => ResourceName::Entries { path, asked },
                _ => ResourceName::Target { path, directory: false },
            };
            let is_of_entries = matches!(name, ResourceName::Entries { .. });
            let mut key = Vec::new();
            name.write_key(SITE, &mut key);
            for path in opened(folder.path(), &content, &name) {
                opens += 1;
                let key = &key[2..];
                let asks = |change: &str| concerns(&entry(change), &["index.html", "start"], key);
                let text = key.escape_ascii();
                assert!(asks(&format!("{path}/")), "{text} depends on {path}");
                // A listing does not depend on the content of a file.
                let is_read = folder.path().join(&path).is_file() && !is_of_entries;
                assert!(!is_read || asks(&path), "{text} depends on the content of {path}");
                let watched = name.directory();
                let (parent, _) = path.rsplit_once('/').unwrap_or_default();
                let is_watched = parent.as_bytes() == watched || path.as_bytes() == watched;
                assert!(is_watched || path == ".", "{text} depends on {path}, which is unwatched");
                for (slash, _) in path.match_indices('/') {
                    assert!(asks(&path[..=slash]), "{text} depends on the parents of {path}");
                }
            }
        }
    }
    assert!(opens > 6000, "{opens}");
}
