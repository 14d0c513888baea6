//! The root directory of a site, which is opened again from time to time, because its path may lead
//! to another directory, as when a deployment replaces a symbolic link.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::{RootDirectory, RootPath, SiteSettings, is_same_directory};
use crate::ask::Ask;
use crate::driver::{File, FileKind};

/// The root of a site; see the module documentation.
#[derive(Debug)]
pub(super) struct Root {
    current: Arc<File>,
    path: Option<RootPath>,
    /// When the path was last known to lead to `current`.
    known: Instant,
    /// When the path was asked for, if there is no reply yet.
    asked: Option<Instant>,
    ask_after: Duration,
}

/// Whether the root may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freshness {
    /// The root may be used.
    Fresh,
    /// The path has to be asked for first.
    Due,
    /// The path was asked for. The reply will be recent enough.
    Asked,
    /// The path was asked for, but too long ago: it has to be asked for again after the reply.
    AskedBefore,
    /// The path was asked for, and the reply is overdue. The old root is used.
    Hangs,
}

/// How long to wait for the reply before the old root is used.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Root {
    /// The root of a site, as it was opened `now`.
    pub(super) fn new(settings: &SiteSettings, revalidate_after: Duration, now: Instant) -> Self {
        let RootDirectory(root) = &settings.root;
        Self {
            current: Arc::clone(root),
            path: settings.root_path.clone(),
            known: now,
            asked: None,
            ask_after: revalidate_after,
        }
    }

    /// The directory that is served now.
    pub(super) fn get(&self) -> &Arc<File> {
        &self.current
    }

    /// Takes another descriptor of the same directory, so that the old one can be closed.
    pub(super) fn renew(&mut self, same: &Arc<File>) {
        self.current = Arc::clone(same);
    }

    /// Whether the root may be used now.
    pub(super) fn freshness(&mut self, now: Instant) -> Freshness {
        let known = self.known;
        let age = |time| now.saturating_duration_since(time);
        if self.path.is_none() || age(known) < self.ask_after {
            return Freshness::Fresh;
        }
        match self.asked.map(age) {
            None => Freshness::Due,
            Some(age) if age > WAIT_MAX => Freshness::Hangs,
            Some(age) if age <= self.ask_after => Freshness::Asked,
            Some(_) => Freshness::AskedBefore,
        }
    }

    /// When the current directory was last known to be the root. `now` if that cannot be found out:
    /// if the root has no path, or the reply is overdue.
    pub(super) fn known_since(&mut self, now: Instant) -> Instant {
        match self.freshness(now) {
            Freshness::Hangs => now,
            _ => self.path.as_ref().map_or(now, |_| self.known),
        }
    }

    /// The question for the root, if the root has a path.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Ask> {
        let RootPath { base, path } = self.path.as_ref()?;
        self.asked = Some(now);
        Some(Ask::Open { root: Arc::clone(base), path: path.clone() })
    }

    /// Takes the reply. Returns whether the root is another directory now. If opening failed, the
    /// old root stays, because a deployment may be about to create the new one.
    pub(super) fn answered(&mut self, opened: io::Result<Arc<File>>) -> bool {
        if let Some(asked) = self.asked.take() {
            self.known = asked;
        }
        let Ok(file) = opened else { return false };
        let is_directory = file.metadata().kind == FileKind::Directory;
        if !is_directory || is_same_directory(&self.current, &file) {
            return false;
        }
        let links = self.current.links();
        let Some(file) = Arc::into_inner(file) else { return false };
        self.current = Arc::new(file.with_links(links));
        true
    }
}
