//! The directory that is served, and whether it is still the one that its path leads to.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::{RootPath, SiteSettings};
use crate::ask::Ask;
use crate::driver::{File, FileKind};

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Root {
    current: Arc<File>,
    path: Option<RootPath>,
    /// Since when it is known to be this one.
    known: Option<Instant>,
    /// When the question was asked that has not been answered.
    asked: Option<Instant>,
    ask_after: Duration,
}

/// What is known of the root at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freshness {
    /// It may be used unasked.
    Fresh,
    /// It is to be asked for.
    Due,
    /// It was asked for, recently enough for the answer to be used.
    Asked,
    /// It was asked for before that: the answer will be too old.
    AskedBefore,
    /// It was asked for so long ago that there may be no answer. The one that is open serves on.
    Hangs,
}

/// How long an answer may take. A question that is open for longer is not waited for.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Root {
    /// The root of a site, as it was opened at the start.
    pub(super) fn new(settings: &SiteSettings) -> Self {
        Self {
            current: Arc::clone(&settings.root),
            path: settings.root_path.clone(),
            known: None,
            asked: None,
            ask_after: settings.revalidate_after,
        }
    }

    /// The directory that is served now.
    pub(super) fn get(&self) -> &Arc<File> {
        &self.current
    }

    /// What is known now. The first to ask takes the root as it was opened at the start.
    pub(super) fn freshness(&mut self, now: Instant) -> Freshness {
        let known = *self.known.get_or_insert(now);
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

    /// Since when the directory that is served now is known to be the root. Where there is no
    /// telling, it counts as known.
    pub(super) fn known_since(&mut self, now: Instant) -> Instant {
        match self.freshness(now) {
            Freshness::Hangs => now,
            _ => self.path.as_ref().and(self.known).unwrap_or(now),
        }
    }

    /// Asks for the root anew, if it has a path.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Ask> {
        let RootPath { base, path } = self.path.as_ref()?;
        self.asked = Some(now);
        Some(Ask::Open { root: Arc::clone(base), path: path.clone() })
    }

    /// Takes in what was asked for. Returns whether another directory is served from now on. One
    /// that cannot be had changes nothing: it may be about to be put there.
    pub(super) fn answered(&mut self, opened: io::Result<Arc<File>>) -> bool {
        if let Some(asked) = self.asked.take() {
            self.known = Some(asked);
        }
        let Ok(file) = opened else { return false };
        let (old, new) = (self.current.metadata(), file.metadata());
        let is_new = (old.device, old.inode) != (new.device, new.inode);
        if new.kind != FileKind::Directory || !is_new {
            return false;
        }
        let links = self.current.links();
        let Some(file) = Arc::into_inner(file) else { return false };
        self.current = Arc::new(file.with_links(links));
        true
    }
}
