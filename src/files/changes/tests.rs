//! What the kernel tells, and what is made of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread::sleep;

use tempfile::TempDir;

use super::*;
use crate::driver::Links;

/// A root with directories in it, and what watches it; `None` where the kernel has no inotify for
/// us.
fn root_of(directories: &[&str]) -> Option<(TempDir, File, Changes)> {
    let folder = tempfile::tempdir().unwrap();
    for directory in directories {
        fs::create_dir_all(folder.path().join(directory)).unwrap();
    }
    let root = File::open_root(folder.path(), Links::Beneath).unwrap();
    if !can_watch(folder.path()) {
        println!("skipped: there is no watch to be had (fs.inotify in proc(5))");
        return None;
    }
    let mut changes = Changes::new();
    let now = Instant::now();
    assert!(changes.is_in_doubt(&root, b"", now, now), "it was not watched before");
    Some((folder, root, changes))
}

/// Whether the kernel has an instance and a watch for us, apart from what is tested here.
fn can_watch(folder: &Path) -> bool {
    let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
    instance.is_ok_and(|one| inotify::add_watch(&one, folder, WatchFlags::MODIFY).is_ok())
}

/// Opens a directory as a lookup does, and watches it.
fn watch(changes: &mut Changes, root: &File, path: &str) -> bool {
    let opened = CString::new(path).map(|path| File::open_beneath(root, &path));
    drop(opened);
    let now = Instant::now();
    changes.is_in_doubt(root, path.as_bytes(), now, now);
    changes.table.get(path.as_bytes()).is_some()
}

/// A change, for a person: `directory|name`, with a slash if everything beneath may have changed.
fn told_of(change: Change<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match change {
        Change::Entry { directory, name, beneath } => {
            format!("{}|{}{}", text(directory), text(name), if beneath { "/" } else { "" })
        }
        Change::Directory { path } => format!("{}|", text(path)),
        Change::Everything => "everything".into(),
    }
}

/// All that there is to be read, each change once if it is told several times in a row.
fn read(changes: &mut Changes) -> Vec<String> {
    let mut told = Vec::new();
    let mut now = Instant::now();
    loop {
        changes.read(now, |change| told.push(told_of(change)));
        if changes.due.is_none_or(|due| due > now + Duration::from_millis(1)) {
            break;
        }
        now += Duration::from_millis(1);
    }
    told.dedup();
    told
}

#[test]
fn what_happens_is_told() {
    type Act = fn(&Path);
    let cases: [(&str, Act, &[&str]); 11] = [
        ("create", |root| drop(fs::File::create(root.join("new")).unwrap()), &["|new/", "|new"]),
        ("write", |root| fs::write(root.join("d/file"), "x").unwrap(), &["d|file"]),
        (
            "rename over",
            |root| fs::rename(root.join("d/file"), root.join("d/old")).unwrap(),
            &["d|file/", "d|old/"],
        ),
        ("delete", |root| fs::remove_file(root.join("d/file")).unwrap(), &["d|file/"]),
        ("link", |root| fs::hard_link(root.join("d/file"), root.join("d/l")).unwrap(), &["d|l/"]),
        ("permissions", |root| close(&root.join("d/file")), &["d|file"]),
        ("what is not watched", |root| fs::write(root.join("far/file"), "x").unwrap(), &[]),
        ("permissions of a directory", |root| close(&root.join("d")), &["|d/", "d|"]),
        (
            "a directory moves",
            |root| fs::rename(root.join("d"), root.join("e")).unwrap(),
            &["|d/", "|e/"],
        ),
        ("a directory goes", |root| fs::remove_dir_all(root.join("d")).unwrap(), &[]),
        ("a link turns", |root| turn(root), &["|next/", "|link/"]),
    ];
    for (case, act, expected) in cases {
        let Some((folder, root, mut changes)) = root_of(&["d/sub", "far", "to"]) else { return };
        fs::write(folder.path().join("d/file"), "").unwrap();
        symlink("to", folder.path().join("link")).unwrap();
        symlink("far", folder.path().join("next")).unwrap();
        read(&mut changes);
        assert!(watch(&mut changes, &root, "d/sub"));
        assert_eq!((read(&mut changes), changes.watched()), (vec![], 3), "{case}");
        act(folder.path());
        let told = read(&mut changes);
        if case == "a directory goes" {
            // In whatever order things are removed.
            for change in ["|d/", "d|file/", "d|sub/"] {
                assert!(told.contains(&change.into()), "{told:?}");
            }
            assert_eq!(changes.watched(), 1);
            continue;
        }
        assert_eq!(told, expected, "{case}");
        let watched = |path: &str| changes.table.get(path.as_bytes()).is_some();
        let stays = case != "a directory moves";
        assert_eq!([watched("d"), watched("d/sub")], [stays; 2], "{case}");
    }
}

fn close(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn turn(root: &Path) {
    fs::rename(root.join("next"), root.join("link")).unwrap();
}

/// Where a directory was, there may be another: it is watched by what its path leads to now.
#[test]
fn a_path_is_watched_where_it_leads() {
    let Some((folder, root, mut changes)) = root_of(&["old/sub", "new/sub"]) else { return };
    assert!(watch(&mut changes, &root, "old/sub"));
    fs::rename(folder.path().join("old"), folder.path().join("gone")).unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("old")).unwrap();
    read(&mut changes);
    assert_eq!(changes.watched(), 1);
    assert!(watch(&mut changes, &root, "old/sub") && watch(&mut changes, &root, "gone/sub"));
    fs::write(folder.path().join("gone/sub/file"), "").unwrap();
    fs::write(folder.path().join("old/sub/file"), "").unwrap();
    let told = ["gone/sub|file/", "gone/sub|file", "old/sub|file/", "old/sub|file"];
    assert_eq!(read(&mut changes), told);
}

#[test]
fn what_was_seen_before_a_change_is_in_doubt() {
    let Some((folder, root, mut changes)) = root_of(&["d", "other"]) else { return };
    let mut now = Instant::now();
    let mut doubted = |changes: &mut Changes, path: &str, begun| {
        now += Duration::from_millis(1);
        changes.is_in_doubt(&root, path.as_bytes(), begun, now)
    };
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    assert!(doubted(&mut changes, "d", start), "nobody has watched yet");
    assert!(doubted(&mut changes, "d", start), "nor had they when this began");
    assert!(!doubted(&mut changes, "d", later));
    assert!(doubted(&mut changes, "other", start) && !doubted(&mut changes, "other", later));
    fs::write(folder.path().join("d/file"), "").unwrap();
    assert!(!doubted(&mut changes, "d", later), "nobody has heard of it");
    let heard = later + Duration::from_secs(1);
    changes.read(heard, |_| {});
    assert!(doubted(&mut changes, "d", later) && !doubted(&mut changes, "d", heard));
    assert!(!doubted(&mut changes, "other", later), "it is about another directory");
    // What is missing is in the directory above, as far as there is one.
    assert!(!doubted(&mut changes, "missing/d", later));
    fs::create_dir(folder.path().join("missing")).unwrap();
    let heard_again = heard + Duration::from_secs(1);
    changes.read(heard_again, |_| {});
    assert!(doubted(&mut changes, "missing/d", heard));
    // What was moved is watched anew.
    fs::rename(folder.path().join("other"), folder.path().join("d")).unwrap_err();
    fs::remove_dir_all(folder.path().join("d")).unwrap();
    fs::rename(folder.path().join("other"), folder.path().join("d")).unwrap();
    changes.read(heard_again + Duration::from_secs(1), |_| {});
    assert!(doubted(&mut changes, "d", start));
}

#[test]
fn a_reading_follows_another_after_a_rest() {
    let Some((folder, _root, mut changes)) = root_of(&[]) else { return };
    let start = Instant::now();
    assert!(changes.is_due(start), "nothing was read so far");
    changes.read(start, |_| {});
    assert!(!changes.is_due(start + REST / 2) && changes.is_due(start + REST));
    changes.forget_all();
    assert!(!changes.is_due(start + REST), "nothing is watched");
    fs::write(folder.path().join("file"), "").unwrap();
    changes.read(start + REST, |change| panic!("{}", told_of(change)));
    assert!(!Changes::unwatched().is_due(start));
}

/// What is told at once is bounded, and nothing of the rest is lost.
#[test]
fn a_storm_is_read_in_pieces() {
    const FILES: usize = 2000;
    let Some((folder, _root, mut changes)) = root_of(&[]) else { return };
    for number in 0..FILES {
        fs::File::create(folder.path().join(number.to_string())).unwrap();
    }
    let (mut now, mut told, mut readings) = (Instant::now(), 0, 0);
    while changes.is_due(now) {
        let before = told;
        let mut everything = false;
        changes.read(now, |change| match change {
            Change::Everything => everything = true,
            _ => told += 1,
        });
        // An event has 16 bytes, and 16 more for a name.
        assert!(told - before <= EVENTS_MAX + BUFFER_BYTES / 32);
        // Nobody may rely on what is known while there is more to be heard.
        assert_eq!(everything, changes.is_due(now + Duration::from_nanos(1)));
        (now, readings) = (now + Duration::from_nanos(1), readings + 1);
    }
    // Each is created and closed.
    assert_eq!(told, 2 * FILES);
    assert!(readings > 10, "{readings}");
}

#[test]
fn after_lost_events_no_path_is_certain() {
    let max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let Some(max) = max.ok().and_then(|max| max.trim().parse::<usize>().ok()) else { return };
    if max > 200_000 {
        println!("skipped: it takes {max} events to lose one");
        return;
    }
    let Some((folder, root, mut changes)) = root_of(&["d"]) else { return };
    assert!(watch(&mut changes, &root, "d"));
    let names = ["one", "two"].map(|name| folder.path().join(name));
    fs::write(&names[0], "").unwrap();
    for round in 0..max / 2 + 10 {
        fs::rename(&names[round % 2], &names[(round + 1) % 2]).unwrap();
    }
    let told = read(&mut changes);
    assert_eq!((told.last().map(String::as_str), changes.watched()), (Some("everything"), 0));
    assert!(watch(&mut changes, &root, "d"));
    fs::write(folder.path().join("d/file"), "").unwrap();
    assert_eq!(read(&mut changes), ["d|file/", "d|file"]);
}

#[test]
fn watches_are_bounded_and_the_first_ones_stay() {
    let directories: Vec<String> =
        (0..WATCHES_MAX + 50).map(|number| format!("d/{number}")).collect();
    let names: Vec<&str> = directories.iter().map(String::as_str).collect();
    let Some((folder, root, mut changes)) = root_of(&names) else { return };
    let watched = names.iter().filter(|name| watch(&mut changes, &root, name)).count();
    if watched < WATCHES_MAX - 2 {
        println!("skipped: the user has {watched} watches (fs.inotify.max_user_watches)");
        return;
    }
    // The root and `d` are watched too.
    assert_eq!((watched, changes.watched()), (WATCHES_MAX - 2, WATCHES_MAX));
    assert!(watch(&mut changes, &root, names[0]) && !watch(&mut changes, &root, names[watched]));
    // What is gone makes room.
    fs::remove_dir(folder.path().join(names[0])).unwrap();
    read(&mut changes);
    assert!(watch(&mut changes, &root, names[watched]));
}

/// Nobody would tell of the links that a path leads through.
#[test]
fn a_directory_behind_a_link_is_not_watched() {
    let Some((folder, root, mut changes)) = root_of(&["d/sub"]) else { return };
    symlink("d", folder.path().join("link")).unwrap();
    symlink("/", folder.path().join("outside")).unwrap();
    for missing in ["link", "link/sub", "outside", "missing", "missing/sub", "d\0", "d/file"] {
        fs::write(folder.path().join("d/file"), "").unwrap();
        assert!(!watch(&mut changes, &root, missing), "{missing:?}");
    }
    // The directory above is, if there is one, and tells of what is not there yet.
    assert_eq!(changes.watched(), 2);
    assert!(watch(&mut changes, &root, "d/sub"));
    changes.forget_all();
    assert_eq!(changes.watched(), 0);
    assert!(watch(&mut changes, &root, "d/sub"));
}

#[test]
fn nothing_is_watched_unasked() {
    let Some((folder, root, _)) = root_of(&[]) else { return };
    let mut changes = Changes::unwatched();
    let start = Instant::now();
    assert!(!changes.is_in_doubt(&root, b"", start, start) && changes.watched() == 0);
    fs::write(folder.path().join("file"), "").unwrap();
    sleep(Duration::from_millis(1));
    changes.read(Instant::now(), |change| panic!("{}", told_of(change)));
    changes.forget_all();
}

#[test]
fn a_change_may_be_of_entries() {
    let entry = |directory: &'static str, name: &'static str, beneath| Change::Entry {
        directory: directory.as_bytes(),
        name: name.as_bytes(),
        beneath,
    };
    let directory = |path: &'static str| Change::Directory { path: path.as_bytes() };
    for (change, concerned, others) in [
        (entry("", "a", false), &[""][..], &["a", "a/b", "b"][..]),
        (entry("", "a", true), &["", "a", "a/b"], &["b", "ab", "b/a"]),
        (entry("a", "b", false), &["a"], &["", "a/b", "a/b/c"]),
        (entry("a", "b", true), &["a", "a/b", "a/b/c"], &["", "a/bc", "ab", "b", "aa/b"]),
        (directory("a/b"), &["a/b", "a/b/c"], &["", "a", "a/bc", "b"]),
        (Change::Everything, &["", "a", "a/b"], &[]),
    ] {
        let is_of = |path: &&str| change.is_of_entries(path.as_bytes());
        assert!(concerned.iter().all(is_of) && !others.iter().any(is_of), "{}", told_of(change));
    }
}
