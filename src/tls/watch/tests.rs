//! Reports of changes in real directories.
//!
//! Each call sends what the watched file has at that time. A test waits until that is what it has
//! written, so it does not depend on how long anything takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use super::*;

/// How long a test waits for what must happen.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a wrong call may take to come.
const PAUSE: Duration = Duration::from_millis(300);

/// So long that it does not happen in a test.
const NEVER: Duration = Duration::from_secs(3600);

/// Changes are told soon, and only the kernel reports them.
const REPORTED: WatchManner =
    WatchManner { gather: Duration::from_millis(20), look: NEVER, has_inotify: true };

/// Changes are told soon, and only looks find them.
const LOOKED_AT: WatchManner = WatchManner {
    gather: Duration::from_millis(20),
    look: Duration::from_millis(20),
    has_inotify: false,
};

/// A folder, and a watch of a file in it.
struct Scene {
    folder: tempfile::TempDir,
    watch: CertificateWatch,
    /// The content of the file at each call; empty if it cannot be read.
    calls: Receiver<String>,
}

impl Scene {
    /// Watches a file in a folder that is prepared first. `None` if the kernel watches nothing.
    fn new(manner: WatchManner, prepare: impl FnOnce(&Path), file: &str) -> Option<Self> {
        if manner.has_inotify && inotify::init(CreateFlags::CLOEXEC).is_err() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (call, calls) = mpsc::channel();
        let file = folder.path().join(file);
        let read = file.clone();
        let on_change = move || {
            // The test may have ended.
            let _ = call.send(fs::read_to_string(&read).unwrap_or_default());
        };
        let watch = CertificateWatch::start_in(manner, vec![file], Box::new(on_change)).unwrap();
        Some(Self { folder, watch, calls })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for a call at which the file has this content.
    fn wait_for(&self, content: &str) {
        let until = Instant::now() + WAIT_MAX;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.calls.recv_timeout(left) {
                Ok(read) if read == content => return,
                Ok(_) => {}
                Err(error) => panic!("{content:?} is not reported: {error}"),
            }
        }
    }

    /// Checks that the next call finds this content. A pause before lets a wrong call come first.
    fn check_next(&self, content: &str) {
        assert_eq!(self.calls.recv_timeout(WAIT_MAX).as_deref(), Ok(content));
    }
}

/// Writes another file and renames it over the first.
fn replace(file: &Path, content: &str) {
    let other = file.with_extension("new");
    fs::write(&other, content).unwrap();
    fs::rename(&other, file).unwrap();
}

/// Makes a link lead elsewhere.
fn turn(link: &Path, target: &str) {
    let other = link.with_file_name("turning");
    symlink(target, &other).unwrap();
    fs::rename(&other, link).unwrap();
}

/// The ways in which a file changes, in three rounds. The watches are made anew between them.
fn changes(manner: WatchManner) {
    let Some(plain) = Scene::new(manner, |root| fs::write(root.join("f"), "0").unwrap(), "f")
    else {
        return;
    };
    for round in ["1", "22", "333"] {
        replace(&plain.path("f"), round);
        plain.wait_for(round);
        let written = format!("{round} again");
        fs::write(plain.path("f"), &written).unwrap();
        plain.wait_for(&written);
    }
    fs::remove_file(plain.path("f")).unwrap();
    plain.wait_for("");
    fs::write(plain.path("f"), "back").unwrap();
    plain.wait_for("back");
}

#[test]
fn files_that_are_replaced_and_rewritten_are_reported() {
    changes(REPORTED);
}

#[test]
fn file_systems_without_reports_are_looked_at() {
    changes(LOOKED_AT);
}

/// `live/x/f` leads to `archive/x/f1`, then to `f2`, as certbot does it.
fn certbot(manner: WatchManner) {
    let prepare = |root: &Path| {
        fs::create_dir_all(root.join("archive/x")).unwrap();
        fs::create_dir_all(root.join("live/x")).unwrap();
        fs::write(root.join("archive/x/f1"), "1").unwrap();
        symlink("../../archive/x/f1", root.join("live/x/f")).unwrap();
    };
    let Some(scene) = Scene::new(manner, prepare, "live/x/f") else { return };
    for round in ["22", "333"] {
        fs::write(scene.path("archive/x/f").with_extension(round), round).unwrap();
        turn(&scene.path("live/x/f"), &format!("../../archive/x/f.{round}"));
        scene.wait_for(round);
        // The directory of the target is watched too.
        let written = format!("{round} again");
        replace(&scene.path("archive/x/f").with_extension(round), &written);
        scene.wait_for(&written);
    }
}

#[test]
fn links_that_turn_are_reported() {
    certbot(REPORTED);
    certbot(LOOKED_AT);
}

/// `f` leads to `..data/f`, and `..data` to another directory each time, as in Kubernetes.
fn kubernetes(manner: WatchManner) {
    let fill = |root: &Path, name: &str| {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("f"), name).unwrap();
    };
    let prepare = |root: &Path| {
        fill(root, "..1");
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/f", root.join("f")).unwrap();
    };
    let Some(scene) = Scene::new(manner, prepare, "f") else { return };
    for (old, new) in [("..1", "..22"), ("..22", "..333"), ("..333", "..4444")] {
        fill(scene.folder.path(), new);
        turn(&scene.path("..data"), new);
        scene.wait_for(new);
        fs::remove_dir_all(scene.path(old)).unwrap();
    }
}

#[test]
fn directories_that_are_swapped_are_reported() {
    kubernetes(REPORTED);
    kubernetes(LOOKED_AT);
}

#[test]
fn directories_that_appear_later_are_reported() {
    for manner in [REPORTED, LOOKED_AT] {
        let Some(scene) = Scene::new(manner, |_| (), "a/b/f") else { return };
        fs::create_dir(scene.path("a")).unwrap();
        fs::create_dir(scene.path("a/b")).unwrap();
        fs::write(scene.path("a/b/f"), "new").unwrap();
        scene.wait_for("new");
        // A directory that is replaced as a whole.
        fs::create_dir(scene.path("c")).unwrap();
        fs::write(scene.path("c/f"), "moved").unwrap();
        fs::rename(scene.path("a/b"), scene.path("old")).unwrap();
        fs::rename(scene.path("c"), scene.path("a/b")).unwrap();
        scene.wait_for("moved");
    }
}

#[test]
fn other_names_in_the_directory_are_not_reported() {
    let prepare = |root: &Path| fs::write(root.join("f"), "0").unwrap();
    let Some(scene) = Scene::new(REPORTED, prepare, "f") else { return };
    thread::sleep(PAUSE);
    for round in 0..100 {
        fs::write(scene.path("other"), round.to_string()).unwrap();
        fs::rename(scene.path("other"), scene.path("another")).unwrap();
    }
    thread::sleep(PAUSE);
    replace(&scene.path("f"), "1");
    scene.check_next("1");
}

#[test]
fn other_files_are_watched_instead() {
    for manner in [REPORTED, LOOKED_AT] {
        let prepare = |root: &Path| {
            fs::create_dir(root.join("d")).unwrap();
            fs::write(root.join("f"), "0").unwrap();
        };
        let Some(scene) = Scene::new(manner, prepare, "f") else { return };
        scene.watch.set_files(vec![scene.path("d/g")]);
        // At once: it is not missed, though the thread may not know of the file yet.
        replace(&scene.path("d/g"), "g");
        scene.check_next("0");
        replace(&scene.path("f"), "1");
        thread::sleep(PAUSE);
        scene.watch.set_files(vec![scene.path("f"), scene.path("d/g")]);
        replace(&scene.path("f"), "2");
        scene.check_next("2");
    }
}

#[test]
fn a_storm_causes_few_calls() {
    let gather = Duration::from_millis(400);
    let prepare = |root: &Path| fs::write(root.join("f"), "0").unwrap();
    let Some(scene) = Scene::new(WatchManner { gather, ..REPORTED }, prepare, "f") else { return };
    let start = Instant::now();
    let mut renames = 0;
    while renames < 10_000 || start.elapsed() < gather * 3 {
        fs::rename(scene.path("f"), scene.path("other")).unwrap();
        fs::rename(scene.path("other"), scene.path("f")).unwrap();
        renames += 2;
    }
    replace(&scene.path("f"), "calm");
    let mut calls = 1;
    while scene.calls.recv_timeout(WAIT_MAX).unwrap() != "calm" {
        calls += 1;
    }
    // A call comes at least this time after the one before it.
    let calls_max = start.elapsed().as_nanos() / gather.as_nanos() + 1;
    assert!(calls <= calls_max, "{calls} calls, but {calls_max} at most");
}

#[test]
fn a_storm_that_does_not_end_is_told_in_time() {
    let gather = Duration::from_millis(100);
    let prepare = |root: &Path| fs::write(root.join("f"), "0").unwrap();
    let Some(scene) = Scene::new(WatchManner { gather, ..REPORTED }, prepare, "f") else { return };
    let start = Instant::now();
    let call = loop {
        fs::write(scene.path("f"), "1").unwrap();
        match scene.calls.try_recv() {
            Ok(call) => break call,
            Err(_) => assert!(start.elapsed() < WAIT_MAX, "the storm is not told"),
        }
    };
    assert!(call.len() <= 1);
}

#[test]
fn the_thread_ends_with_the_handle() {
    let prepare = |root: &Path| fs::write(root.join("f"), "0").unwrap();
    let Some(Scene { folder, watch, calls }) = Scene::new(REPORTED, prepare, "f") else { return };
    drop(watch);
    // The closure is dropped with the thread.
    assert_eq!(calls.recv_timeout(WAIT_MAX), Err(RecvTimeoutError::Disconnected));
    drop(folder);
}

#[test]
fn a_panic_in_a_call_does_not_block_the_drop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    let (call, calls) = mpsc::channel();
    let on_change = move || {
        let _ = call.send(());
        panic!("as if a handler had a bug");
    };
    let manner = WatchManner { look: Duration::from_millis(20), ..REPORTED };
    let watch =
        CertificateWatch::start_in(manner, vec![file.clone()], Box::new(on_change)).unwrap();
    fs::write(&file, "1").unwrap();
    calls.recv_timeout(WAIT_MAX).unwrap();
    drop(watch);
}
