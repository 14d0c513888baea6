//! Changes and keys: by a table, and by what lookups open.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::driver::{File, Links};
use crate::http::site::listing::Asked;
use crate::http::site::lookup::{Lookup, Name, Progress};
use crate::http::{Content, Settings, Site};
use crate::session::{Now, Reply, Step};

/// Whether a change concerns a key.
fn concerns(change: Change<'_>, index: &[&str], key: &[u8]) -> bool {
    let index: Vec<Vec<u8>> = index.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut found = false;
    concerned(change, &index, &mut Vec::new(), &mut |concern, told| {
        found |= match concern {
            Concern::Name => told == key,
            Concern::Beginning => key.starts_with(told),
        };
    });
    found
}

/// What a path says of a change: where and to what, with a slash if all beneath has changed.
fn entry(path: &str) -> Change<'_> {
    let (path, beneath) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    Change::Entry { directory: directory.as_bytes(), name: name.as_bytes(), beneath }
}

#[test]
fn a_change_concerns_what_may_depend_on_it() {
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
            assert!(concerns(entry(path), &index, key.as_bytes()), "{path} and {key:?}");
        }
        for key in others {
            assert!(!concerns(entry(path), &index, key.as_bytes()), "{path} and {key:?}");
        }
    }
    let moved = Change::Directory { path: b"d" };
    for (key, expected) in [("d/", true), ("d/a", true), ("d\0hna1", true), ("d", false)] {
        assert_eq!(concerns(moved, &index, key.as_bytes()), expected, "{key:?}");
    }
    assert!(concerns(Change::Everything, &index, b"d"));
}

/// Performs a lookup beneath a folder; returns the paths that it opened, as far as they were
/// there, and those that were not.
fn opened(folder: &Path, content: &Content, name: &Name<'_>) -> Vec<String> {
    let root = Arc::new(File::open_root(folder, Links::Beneath).unwrap());
    let mut site = Site::new(Settings { content: content.clone(), ..Settings::new(root) });
    let now = Now::read();
    let now = Now { system: now.system + Duration::from_secs(10), ..now };
    let mut opened = Vec::new();
    let mut progress = Lookup::begin(&mut site, now, name);
    while let Progress::Ask(lookup, step) = progress {
        let reply = match step {
            Step::Open { root, path } => {
                opened.push(path.to_str().unwrap().to_owned());
                Reply::Opened(File::open_beneath(&root, &path).map(Arc::new))
            }
            Step::Read { buffer, .. } => Reply::Read(Ok(0), buffer),
            Step::Run { .. } => Reply::Ran(Ok(Vec::new())),
            step => panic!("{step:?}"),
        };
        progress = lookup.resume(&mut site, now, reply);
    }
    opened
}

/// Whatever a lookup opens, or finds missing, it depends on: a change of it concerns the name, and
/// so does one of a directory on the way there.
#[test]
fn what_a_lookup_opens_concerns_its_name() {
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
            // It fails where there is a file of that name.
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
                0 => Name::Target { path, directory: true },
                1 => Name::Substitute { path },
                2 => Name::Entries { path, asked },
                _ => Name::Target { path, directory: false },
            };
            let is_of_entries = matches!(name, Name::Entries { .. });
            let mut key = Vec::new();
            name.write_key(&mut key);
            for path in opened(folder.path(), &content, &name) {
                opens += 1;
                let asks = |change: &str| concerns(entry(change), &["index.html", "start"], &key);
                let told = key.escape_ascii();
                assert!(asks(&format!("{path}/")), "{told} depends on {path}");
                // A file that is no directory has no entries, whatever is in it.
                let is_read = folder.path().join(&path).is_file() && !is_of_entries;
                assert!(!is_read || asks(&path), "{told} depends on the content of {path}");
                for (slash, _) in path.match_indices('/') {
                    assert!(asks(&path[..=slash]), "{told} depends on the way to {path}");
                }
            }
        }
    }
    assert!(opens > 2000, "{opens}");
}
