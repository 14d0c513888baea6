//! Reports of changes in real directories.

mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use crate::driver::Links;
use scene::{MARK, SITE, Scene, WAIT_MAX, can_watch, folder_of, gated, posting, text_of};

#[test]
fn changes_are_reported() {
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
        let Some(mut scene) = Scene::new(&["d/sub", "far", "to"]) else { return };
        fs::write(scene.path("d/file"), "").unwrap();
        symlink("to", scene.path("link")).unwrap();
        symlink("far", scene.path("next")).unwrap();
        scene.read();
        assert!(scene.watch("d/sub"));
        assert_eq!((scene.changes(), scene.count()), (vec![], 3), "{case}");
        act(scene.folder.path());
        let told = scene.changes();
        if case == "a directory goes" {
            // The order in which things are removed is not fixed.
            for change in ["|d/", "d|file/", "d|sub/"] {
                assert!(told.contains(&change.into()), "{told:?}");
            }
            assert_eq!(scene.count(), 1);
            continue;
        }
        assert_eq!(told, expected, "{case}");
        let stays = case != "a directory moves";
        assert_eq!([scene.holds("d"), scene.holds("d/sub")], [stays; 2], "{case}");
    }
}

fn close(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn turn(root: &Path) {
    fs::rename(root.join("next"), root.join("link")).unwrap();
}

/// Another directory may take the place of one that is watched: its path is watched where it leads
/// now.
#[test]
fn a_path_is_watched_where_it_leads() {
    let Some(mut scene) = Scene::new(&["old/sub", "new/sub"]) else { return };
    assert!(scene.watch("old/sub"));
    fs::rename(scene.path("old"), scene.path("gone")).unwrap();
    fs::rename(scene.path("new"), scene.path("old")).unwrap();
    scene.read();
    assert_eq!(scene.count(), 1);
    assert!(scene.watch("old/sub") && scene.watch("gone/sub"));
    fs::write(scene.path("gone/sub/file"), "").unwrap();
    fs::write(scene.path("old/sub/file"), "").unwrap();
    let told = ["gone/sub|file/", "gone/sub|file", "old/sub|file/", "old/sub|file"];
    assert_eq!(scene.changes(), told);
}

/// So a user that remembers the answers knows what is watched.
#[test]
fn a_request_is_answered_once() {
    let Some(mut scene) = Scene::new(&["d/sub"]) else { return };
    let ask = |scene: &mut Scene, path: &str| {
        assert!(scene.watcher.watch(SITE, &scene.root, path.as_bytes()));
        scene.read()
    };
    let watched = |path: &str| ChangeReport::Watched { site: SITE, path: path.as_bytes().into() };
    let unwatched =
        |path: &str| ChangeReport::Unwatched { site: SITE, path: path.as_bytes().into() };
    let change = |change: Change| ChangeReport::Changed { site: SITE, change };
    let came = |name: &str| {
        change(Change::Entry { directory: [].into(), name: name.as_bytes().into(), beneath: true })
    };
    assert_eq!(ask(&mut scene, "d/sub"), [watched("d"), watched("d/sub")]);
    assert_eq!(ask(&mut scene, "d/sub"), []);
    assert_eq!(ask(&mut scene, "d"), []);
    // A missing directory is reported by the directory above it, if that exists.
    assert_eq!(ask(&mut scene, "new/sub"), [unwatched("new/sub")]);
    assert_eq!(ask(&mut scene, "d/new"), [unwatched("d/new")]);
    fs::create_dir(scene.path("new")).unwrap();
    assert_eq!(scene.read(), [came("new")]);
    assert_eq!(ask(&mut scene, "new/sub"), [watched("new"), unwatched("new/sub")]);
    // A directory that was moved is watched again.
    fs::rename(scene.path("d"), scene.path("e")).unwrap();
    assert_eq!(scene.read(), [unwatched("d"), came("d"), came("e")]);
    assert_eq!(ask(&mut scene, "d/sub"), [unwatched("d/sub")]);
    assert_eq!(ask(&mut scene, "e/sub"), [watched("e"), watched("e/sub")]);
}

/// Tests the minimum only: reports may be late on a busy machine.
#[test]
fn there_is_a_rest_between_posts() {
    let (sender, reports) = mpsc::channel();
    let (times, posted) = mpsc::channel();
    let post = Box::new(move |batch: Vec<ChangeReport>| {
        times.send((Instant::now(), batch.len())).unwrap();
        batch.into_iter().for_each(|report| drop(sender.send(report)));
        Ok(())
    });
    let Some(mut scene) = Scene::posting(&[], post, reports) else { return };
    for number in 0..500 {
        fs::write(scene.path("file"), number.to_string()).unwrap();
        std::thread::sleep(Duration::from_micros(100));
    }
    scene.read();
    let posted: Vec<(Instant, usize)> = posted.try_iter().collect();
    assert!(posted.len() > 3, "there were only {} posts", posted.len());
    for pair in posted.windows(2) {
        // The rest begins when the post is decided, which may be a little before.
        let between = pair[1].0 - pair[0].0;
        assert!(between > REST / 2 || pair[0].1 == BATCH_MAX, "{between:?}");
    }
}

#[test]
fn a_storm_becomes_everything() {
    // Fewer than the kernel can queue: each file is created and closed.
    const FILES: usize = 2000;
    let (post, reports, gate) = gated();
    let Some(mut scene) = Scene::posting(&["d"], post, reports) else { return };
    assert!(scene.watch("d"));
    gate.shut();
    for number in 0..FILES {
        fs::File::create(scene.path(&format!("d/{number}"))).unwrap();
    }
    gate.open();
    let told = scene.changes();
    // The changes of the post that was under way when the gate was shut, and one report for the
    // rest.
    assert!(told.len() <= CHANGES_MAX + 1, "{}", told.len());
    assert_eq!(told.last().map(String::as_str), Some("everything"));
    assert!(scene.holds("d"), "the watches stay");
    fs::File::create(scene.path("d/after")).unwrap();
    assert_eq!(scene.changes(), ["d|after/", "d|after"]);
}

#[test]
fn after_lost_events_no_path_is_certain() {
    let max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let Some(max) = max.ok().and_then(|max| max.trim().parse::<usize>().ok()) else { return };
    if max > 200_000 {
        println!("skipped: it takes {max} events to lose one");
        return;
    }
    let (post, reports, gate) = gated();
    let Some(mut scene) = Scene::posting(&["d"], post, reports) else { return };
    assert!(scene.watch("d"));
    gate.shut();
    let names = ["one", "two"].map(|name| scene.path(name));
    fs::write(&names[0], "").unwrap();
    // Some events are read before the post waits. Each rename causes two, so enough are left.
    for round in 0..max {
        fs::rename(&names[round % 2], &names[(round + 1) % 2]).unwrap();
    }
    gate.open();
    let lost = ended(SITE);
    while !(scene.next() == lost[0] && scene.next() == lost[1]) {}
    // The other site has lost its watches as well.
    let [unwatched, everything] = ended(MARK);
    assert_eq!([scene.next(), scene.next()], [unwatched, everything]);
    assert_eq!(scene.watched.len(), 0);
    assert!(scene.watcher.watch(MARK, &scene.mark.1, b"") && scene.watch("d"));
    fs::write(scene.path("d/file"), "").unwrap();
    assert_eq!(scene.changes(), ["d|file/", "d|file"]);
}

#[test]
fn watches_are_bounded_and_the_first_ones_stay() {
    let directories: Vec<String> =
        (0..WATCHES_MAX + 50).map(|number| format!("d/{number}")).collect();
    let names: Vec<&str> = directories.iter().map(String::as_str).collect();
    let Some(mut scene) = Scene::new(&names) else { return };
    for name in &names {
        while !scene.watcher.watch(SITE, &scene.root, name.as_bytes()) {
            scene.next();
        }
    }
    while !scene.watcher.watch(SITE, &scene.root, b"missing") {
        scene.next();
    }
    while !matches!(scene.next(), ChangeReport::Unwatched { path, .. } if *path == *b"missing") {}
    let watched = names.iter().filter(|name| scene.holds(name)).count();
    if watched < WATCHES_MAX - 3 {
        println!("skipped: the user has {watched} watches (fs.inotify.max_user_watches)");
        return;
    }
    // The root and `d` are watched too, and the root of the marks.
    assert_eq!((watched, scene.watched.len()), (WATCHES_MAX - 3, WATCHES_MAX));
    assert!(scene.watch(names[0]) && !scene.watch(names[watched]));
    // A directory that is removed makes room.
    fs::remove_dir(scene.path(names[0])).unwrap();
    scene.read();
    assert!(scene.watch(names[watched]));
}

/// Nothing would report a change of the links on the way to a directory.
#[test]
fn a_directory_behind_a_link_is_not_watched() {
    let Some(mut scene) = Scene::new(&["d/sub"]) else { return };
    symlink("d", scene.path("link")).unwrap();
    symlink("/", scene.path("outside")).unwrap();
    for missing in ["link", "link/sub", "outside", "missing", "missing/sub", "d\0", "d/file"] {
        fs::write(scene.path("d/file"), "").unwrap();
        assert!(!scene.watch(missing), "{missing:?}");
    }
    // The directory above is watched, if it exists, and reports when the missing one appears.
    assert_eq!(scene.count(), 2);
    assert!(scene.watch("d/sub"));
    scene.watcher.forget(SITE);
    assert_eq!(scene.read(), ended(SITE));
    assert_eq!(scene.count(), 0);
    fs::write(scene.path("d/sub/file"), "").unwrap();
    assert_eq!(scene.read(), []);
    assert!(scene.watch("d/sub"));
}

#[test]
fn nothing_is_watched_without_a_request() {
    let (post, reports) = posting();
    drop(Inotify::new(post));
    assert_eq!(reports.recv(), Err(mpsc::RecvError));
}

#[test]
fn a_change_says_whose_entries_have_changed() {
    let entry = |directory: &str, name: &str, beneath| Change::Entry {
        directory: directory.as_bytes().into(),
        name: name.as_bytes().into(),
        beneath,
    };
    let directory = |path: &str| Change::Directory { path: path.as_bytes().into() };
    for (change, concerned, others) in [
        (entry("", "a", false), &[""][..], &["a", "a/b", "b"][..]),
        (entry("", "a", true), &["", "a", "a/b"], &["b", "ab", "b/a"]),
        (entry("a", "b", false), &["a"], &["", "a/b", "a/b/c"]),
        (entry("a", "b", true), &["a", "a/b", "a/b/c"], &["", "a/bc", "ab", "b", "aa/b"]),
        (directory("a/b"), &["a/b", "a/b/c"], &["", "a", "a/bc", "b"]),
        (Change::Everything, &["", "a", "a/b"], &[]),
    ] {
        let is_of = |path: &&str| change.is_of_entries(path.as_bytes());
        assert!(concerned.iter().all(is_of) && !others.iter().any(is_of), "{}", text_of(&change));
    }
}

/// The inode is the same: the kernel has one watch, and each site gets reports.
#[test]
fn a_directory_of_two_sites_is_reported_to_both() {
    let Some(mut scene) = Scene::new(&["d/sub"]) else { return };
    let inner = SiteId(2);
    let root = Arc::new(File::open_root(&scene.path("d"), Links::Beneath).unwrap());
    assert!(scene.watch("d/sub"));
    assert!(scene.watcher.watch(inner, &root, b"sub"));
    let watched = |path: &str| ChangeReport::Watched { site: inner, path: path.as_bytes().into() };
    assert_eq!(scene.read(), [watched(""), watched("sub")]);
    fs::File::create(scene.path("d/sub/file")).unwrap();
    let told = |reports: Vec<ChangeReport>| -> BTreeSet<String> {
        let text = |report: &ChangeReport| match report {
            ChangeReport::Changed { site, change } => format!("{} {}", site.0, text_of(change)),
            ChangeReport::Watched { site, path } => format!("{} +{}", site.0, path.escape_ascii()),
            ChangeReport::Unwatched { site, path } => {
                format!("{} -{}", site.0, path.escape_ascii())
            }
        };
        reports.iter().map(text).collect()
    };
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let both = ["1 d/sub|file/", "1 d/sub|file", "2 sub|file/", "2 sub|file"];
    assert_eq!(told(scene.read()), set(&both));
    // What one site forgets is still watched for the other.
    scene.watcher.forget(inner);
    scene.read();
    fs::remove_file(scene.path("d/sub/file")).unwrap();
    assert_eq!(told(scene.read()), set(&["1 d/sub|file/"]));
    // The root of one site is a directory of the other: the watch ends for both.
    assert!(scene.watcher.watch(inner, &root, b"sub"));
    scene.read();
    fs::rename(scene.path("d"), scene.path("e")).unwrap();
    assert_eq!(told(scene.read()), set(&["1 -d", "1 |d/", "1 |e/", "2 -", "2 everything"]));
    assert_eq!(scene.count(), 1);
}

/// No report is lost silently while there is no room for reports.
#[test]
fn refused_reports_become_everything() {
    let (mut post, reports) = posting();
    let (full, refusals) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_full, refused) = (Arc::clone(&full), Arc::clone(&refusals));
    let post = Box::new(move |batch| {
        if !is_full.load(Ordering::SeqCst) {
            return post(batch);
        }
        refused.fetch_add(1, Ordering::SeqCst);
        Err(batch)
    });
    let Some(mut scene) = Scene::posting(&["d"], post, reports) else { return };
    assert!(scene.watch("d"));
    full.store(true, Ordering::SeqCst);
    fs::File::create(scene.path("d/file")).unwrap();
    let until = Instant::now() + WAIT_MAX;
    while refusals.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < until, "the post is not tried again");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Nothing is watched any more.
    fs::File::create(scene.path("d/other")).unwrap();
    full.store(false, Ordering::SeqCst);
    assert_eq!((scene.read(), scene.count()), (ended(SITE).to_vec(), 0));
    assert!(scene.watch("d"));
    fs::remove_file(scene.path("d/file")).unwrap();
    assert_eq!(scene.changes(), ["d|file/"]);
}

#[test]
fn a_drop_ends_the_thread() {
    let Some(scene) = Scene::new(&["d"]) else { return };
    let Scene { watcher, reports, .. } = scene;
    drop(watcher);
    // The sender is dropped with `post`.
    while reports.try_recv().is_ok() {}
    assert_eq!(reports.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

/// As with a disk that does not answer; here it is `post` that hangs.
#[test]
fn a_drop_abandons_a_thread_that_hangs() {
    let (gate, opened) = mpsc::channel::<()>();
    let (reached, reaches) = mpsc::channel();
    let post = Box::new(move |_| {
        reached.send(()).unwrap();
        let _ = opened.recv();
        Ok(())
    });
    let (folder, root) = folder_of(&[]);
    if !can_watch(folder.path()) {
        println!("skipped: no watch is available (fs.inotify in proc(5))");
        return;
    }
    let mut watcher = Inotify::new(post);
    assert!(watcher.watch(SITE, &root, b""));
    reaches.recv_timeout(WAIT_MAX).unwrap();
    drop(watcher);
    assert_eq!(reaches.try_recv(), Err(mpsc::TryRecvError::Empty), "the thread is still there");
    drop(gate);
    assert_eq!(reaches.recv_timeout(WAIT_MAX), Err(mpsc::RecvTimeoutError::Disconnected));
}
