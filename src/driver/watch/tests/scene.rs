//! A root that is watched, and the reports about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tempfile::TempDir;

use crate::driver::watch::{
    BATCH_MAX, Change, ChangeReport, Inotify, Post, SiteId, Watcher, is_at,
};
use crate::driver::{File, Links};

pub(super) const WAIT_MAX: Duration = Duration::from_secs(20);

/// The site of most tests, and the site whose reports mark how far the others have come.
pub(super) const SITE: SiteId = SiteId(1);
pub(super) const MARK: SiteId = SiteId(99);

/// A root with directories in it, its watcher, and the reports.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) root: Arc<File>,
    pub(super) mark: (TempDir, Arc<File>),
    marks: u64,
    pub(super) watcher: Inotify,
    pub(super) reports: Receiver<ChangeReport>,
    /// What is watched, according to the reports.
    pub(super) watched: BTreeSet<(SiteId, Vec<u8>)>,
}

/// Whether inotify works here, apart from the code under test.
pub(super) fn can_watch(folder: &Path) -> bool {
    let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
    instance.is_ok_and(|one| inotify::add_watch(&one, folder, WatchFlags::MODIFY).is_ok())
}

pub(super) fn folder_of(directories: &[&str]) -> (TempDir, Arc<File>) {
    let folder = tempfile::tempdir().unwrap();
    for directory in directories {
        fs::create_dir_all(folder.path().join(directory)).unwrap();
    }
    let root = File::open_root(folder.path(), Links::Beneath).unwrap();
    (folder, Arc::new(root))
}

/// Posts to a channel.
pub(super) fn posting() -> (Post, Receiver<ChangeReport>) {
    let (sender, reports) = mpsc::channel();
    let post = move |batch: Vec<ChangeReport>| {
        assert!((1..=BATCH_MAX).contains(&batch.len()));
        // The receiver is gone when the test is over.
        batch.into_iter().for_each(|report| drop(sender.send(report)));
        Ok(())
    };
    (Box::new(post), reports)
}

/// Holds the thread of a watcher in `post`.
pub(super) struct Gate {
    shut: Arc<AtomicBool>,
    sender: mpsc::Sender<()>,
}

impl Gate {
    /// From now on, the next post waits, and so no events are read.
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Lets the post go on.
    pub(super) fn open(self) {
        self.shut.store(false, Ordering::SeqCst);
        self.sender.send(()).unwrap();
    }
}

/// Posts to a channel, through a gate that is open at first.
pub(super) fn gated() -> (Post, Receiver<ChangeReport>, Gate) {
    let (mut post, reports) = posting();
    let (sender, opened) = mpsc::channel();
    let shut = Arc::new(AtomicBool::new(false));
    let gate = Gate { shut: Arc::clone(&shut), sender };
    let post = move |batch| {
        if shut.load(Ordering::SeqCst) {
            opened.recv_timeout(WAIT_MAX).unwrap();
        }
        post(batch)
    };
    (Box::new(post), reports, gate)
}

impl Scene {
    /// `None` if inotify does not work here. The root is watched.
    pub(super) fn new(directories: &[&str]) -> Option<Self> {
        let (post, reports) = posting();
        Self::posting(directories, post, reports)
    }

    pub(super) fn posting(
        directories: &[&str],
        post: Post,
        reports: Receiver<ChangeReport>,
    ) -> Option<Self> {
        let (folder, root) = folder_of(directories);
        if !can_watch(folder.path()) {
            println!("skipped: no watch is available (fs.inotify in proc(5))");
            return None;
        }
        let (mark, watched) = (folder_of(&[]), BTreeSet::new());
        let watcher = Inotify::new(post);
        let mut scene = Self { folder, root, mark, marks: 0, watcher, reports, watched };
        assert!(scene.watcher.watch(MARK, &scene.mark.1, b""));
        assert!(scene.watch("") && scene.holds(""));
        Some(scene)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The next report, which updates `watched`.
    pub(super) fn next(&mut self) -> ChangeReport {
        let report = self.reports.recv_timeout(WAIT_MAX).expect("a report comes in time");
        match &report {
            ChangeReport::Watched { site, path } => {
                assert!(self.watched.insert((*site, path.to_vec())), "{path:?} is watched already");
            }
            ChangeReport::Unwatched { site, path } => {
                self.watched.retain(|(other, beneath)| other != site || !is_at(beneath, path));
            }
            ChangeReport::Changed { .. } => {}
        }
        report
    }

    /// All reports about earlier requests and events, both of which are handled in order.
    pub(super) fn read(&mut self) -> Vec<ChangeReport> {
        self.marks += 1;
        let missing = format!("missing-{}", self.marks);
        let mut reports = Vec::new();
        assert!(self.watcher.watch(MARK, &self.mark.1, missing.as_bytes()));
        self.read_until(&mut reports, |report| match report {
            ChangeReport::Unwatched { path, .. } => **path == *missing.as_bytes(),
            _ => false,
        });
        let marked = self.marks.to_string();
        // A directory causes one event; a file would also be closed.
        fs::create_dir(self.mark.0.path().join(&marked)).unwrap();
        self.read_until(&mut reports, |report| match report {
            ChangeReport::Changed { change: Change::Entry { name, .. }, .. } => {
                **name == *marked.as_bytes()
            }
            ChangeReport::Changed { change, .. } => *change == Change::Everything,
            _ => false,
        });
        reports
    }

    pub(super) fn read_until(
        &mut self,
        reports: &mut Vec<ChangeReport>,
        is_last: impl Fn(&ChangeReport) -> bool,
    ) {
        loop {
            let report = self.next();
            if report.site() != MARK {
                reports.push(report);
            } else if is_last(&report) {
                return;
            }
        }
    }

    /// The changes among them; a change that is reported several times in a row counts once.
    pub(super) fn changes(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for report in self.read() {
            if let ChangeReport::Changed { site: SITE, change } = report {
                told.push(text_of(&change));
            }
        }
        told.dedup();
        told
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        self.watched.contains(&(SITE, path.as_bytes().to_vec()))
    }

    /// The number of watched directories, without the marks.
    pub(super) fn count(&self) -> usize {
        self.watched.iter().filter(|(site, _)| *site != MARK).count()
    }

    /// Watches a directory; returns whether that succeeded.
    pub(super) fn watch(&mut self, path: &str) -> bool {
        assert!(self.watcher.watch(SITE, &self.root, path.as_bytes()));
        self.read();
        self.holds(path)
    }
}

/// A change as text: `directory|name`, with a slash if everything beneath may have changed.
pub(super) fn text_of(change: &Change) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match change {
        Change::Entry { directory, name, beneath } => {
            format!("{}|{}{}", text(directory), text(name), if *beneath { "/" } else { "" })
        }
        Change::Directory { path } => format!("{}|", text(path)),
        Change::Everything => "everything".into(),
    }
}
