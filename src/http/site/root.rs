//! The root directory of a site, which is opened again from time to time, because its path may lead
//! to another directory, as when a deployment replaces a symbolic link.
//!
//! If the site has a fallback root, its path is opened after that of the root, and lookups wait for
//! both replies. So a deployment that makes the present release the previous one, and then the new
//! one the present one, never shows the new root with an older fallback.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::{RootDirectory, RootPath, SiteSettings, is_same_directory};
use crate::ask::Ask;
use crate::driver::{File, FileKind, Links};

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
    fallback: Option<Box<Fallback>>,
}

/// The fallback root.
#[derive(Debug)]
struct Fallback {
    current: Option<Arc<File>>,
    path: Option<RootPath>,
    /// Whether the reply to the open question is for it.
    is_asked: bool,
}

/// What the reply to the question for a root means.
#[derive(Debug)]
pub(super) struct RootReply {
    /// Whether a directory is another one now.
    pub(super) has_turned: bool,
    /// The question for the fallback root, which has to be asked next.
    pub(super) next: Option<Ask>,
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
        let fallback = settings.fallback_root.as_ref().map(|fallback| {
            let current = fallback.root.as_ref().map(|RootDirectory(root)| Arc::clone(root));
            let path = fallback.root_path.clone();
            Box::new(Fallback { current, path, is_asked: false })
        });
        Self {
            fallback,
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

    /// The fallback root, if there is one now.
    pub(super) fn fallback(&self) -> Option<&Arc<File>> {
        self.fallback.as_ref()?.current.as_ref()
    }

    /// Takes other descriptors of the same directories, so that the old ones can be closed.
    pub(super) fn renew(&mut self, settings: &SiteSettings) {
        self.current = Arc::clone(&settings.root.0);
        if let Some(fallback) = &mut self.fallback {
            let same = settings.fallback_root.as_ref().and_then(|same| same.root.as_ref());
            fallback.current = same.map(|RootDirectory(root)| Arc::clone(root));
        }
    }

    /// Whether the roots are those of these settings.
    pub(super) fn is_of(&self, settings: &SiteSettings) -> bool {
        let own = |file: &Arc<File>| RootDirectory(Arc::clone(file));
        let new = settings.fallback_root.as_ref().and_then(|fallback| fallback.root.clone());
        own(&self.current) == settings.root && self.fallback().map(own) == new
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

    /// Takes the reply. If opening failed, the old root stays, because a deployment may be about to
    /// create the new one.
    pub(super) fn answered(&mut self, opened: io::Result<Arc<File>>) -> RootReply {
        let links = self.current.links();
        if let Some(fallback) = self.fallback.as_mut().filter(|fallback| fallback.is_asked) {
            fallback.is_asked = false;
            let new = opened.ok().and_then(|file| turned(fallback.current.as_ref(), file, links));
            let has_turned = new.is_some();
            fallback.current = new.or(fallback.current.take());
            self.learn();
            return RootReply { has_turned, next: None };
        }
        let new = opened.ok().and_then(|file| turned(Some(&self.current), file, links));
        let has_turned = new.is_some();
        self.current = new.unwrap_or_else(|| Arc::clone(&self.current));
        let next = self.fallback.as_mut().and_then(|fallback| fallback.ask());
        if next.is_none() {
            self.learn();
        }
        RootReply { has_turned, next }
    }

    /// All replies have come.
    fn learn(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.known = asked;
        }
    }
}

impl Fallback {
    fn ask(&mut self) -> Option<Ask> {
        let RootPath { base, path } = self.path.as_ref()?;
        self.is_asked = true;
        Some(Ask::Open { root: Arc::clone(base), path: path.clone() })
    }
}

/// The directory that was opened, if it is another one than the present one.
fn turned(current: Option<&Arc<File>>, opened: Arc<File>, links: Links) -> Option<Arc<File>> {
    let is_directory = opened.metadata().kind == FileKind::Directory;
    if !is_directory || current.is_some_and(|current| is_same_directory(current, &opened)) {
        return None;
    }
    Arc::into_inner(opened).map(|file| Arc::new(file.with_links(links)))
}
