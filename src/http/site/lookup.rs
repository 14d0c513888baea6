//! From a name to a [`Resource`]: which files are opened and read, and in which order.
//!
//! ```text
//! Root --> Open one candidate after the other --> Stem --> Beside --> Load --> a page
//!            `- Directory, Run --> a page of entries
//! ```
//!
//! A lookup performs nothing: it asks for one [`Step`] at a time and is resumed with the
//! [`Reply`]. What it found goes into the cache here, at once: an answer may have to wait for a
//! slow client, and what was found would be old by then. All files of a lookup are opened beneath
//! one root. When another root has taken its place meanwhile, or another lookup has found the name
//! since this one began, nothing of it is remembered: it may be older than what is known. When it
//! is the directory that has changed meanwhile, what was found is remembered, but asked about again
//! before it is used.

use std::ffi::CString;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::driver::{File, FileKind};
use crate::http::semantics::status::Status;
use crate::http::site::listing;
use crate::http::site::listing_job;
use crate::http::site::page_loader::{Loading, Next};
use crate::http::site::resource::{Resource, is_short_of_files, status_of};
use crate::http::site::sites::Site;
use crate::http::site::target::encode_path;
use crate::session::{Now, Reply, Step};

#[cfg(test)]
mod tests;

/// Cached files that are closed when the process runs out of descriptors.
const SHED: usize = 16;

/// What a file is called whose address is clean.
pub(in crate::http) const PAGE_SUFFIX: &[u8] = b".html";

/// What is looked up. Paths are relative to the root, without a slash at either end.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Name<'a> {
    /// What an address stands for.
    Target {
        path: &'a [u8],
        /// Whether the address ends in a slash.
        directory: bool,
    },
    /// A file that answers in the place of others: exactly this one.
    Substitute { path: &'a [u8] },
    /// The entries of a directory.
    Entries { path: &'a [u8], asked: listing::Asked },
}

/// What a lookup has led to.
#[derive(Clone, Debug)]
pub(in crate::http) enum Found {
    /// What the name is. Shared, because the cache may forget it before the answer is written.
    Known(Rc<Resource>),
    /// Trouble that may pass, and is not remembered.
    Trouble(Status),
}

/// How a lookup goes on.
#[derive(Debug)]
pub(in crate::http) enum Progress {
    Ask(Box<Lookup>, Step),
    Found(Found),
}

/// A name that is being looked up; see the module documentation.
#[derive(Debug)]
pub(in crate::http) struct Lookup {
    /// Under which the cache knows the name.
    key: Vec<u8>,
    path: Vec<u8>,
    /// Bytes of the path that name the directory in which changes may concern it.
    directory: usize,
    /// Beneath which everything is opened.
    root: Arc<File>,
    begun: Instant,
    /// What it may be, the next one last.
    candidates: Vec<Candidate>,
    /// What it is if it is none of them.
    otherwise: Resource,
    stage: Stage,
}

/// A file that a name may stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Candidate {
    path: Vec<u8>,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The file of that name.
    Itself,
    /// The file with `.html` behind the name.
    Page,
    /// A directory's index.
    Index,
    /// A directory without an index, whose entries may be shown.
    Directory,
    /// The file that answers in the place of others.
    Substitute,
    /// The directory whose entries are wanted.
    Entries(listing::Asked),
}

/// What a lookup waits for.
#[derive(Debug)]
enum Stage {
    /// The root, by its path.
    Root,
    /// A candidate.
    Open(Candidate),
    /// The file that has the clean address of this one, which may be there too.
    Stem(Loading, Vec<u8>),
    /// Variants and content.
    Load(Loading),
    /// The page of entries.
    Run(listing::Asked),
}

impl Name<'_> {
    /// Under which the cache knows the name. No path holds a NUL or ends in a slash, so that no
    /// two names share a key.
    pub(in crate::http) fn write_key(&self, key: &mut Vec<u8>) {
        key.clear();
        match self {
            Self::Target { path, directory } => {
                key.extend_from_slice(path);
                if *directory {
                    key.push(b'/');
                }
            }
            Self::Substitute { path } => {
                // No key of entries continues like this.
                key.extend_from_slice(b"\0/");
                key.extend_from_slice(path);
            }
            Self::Entries { path, asked } => {
                key.extend_from_slice(path);
                key.push(0);
                key.extend_from_slice(asked.key().as_ref());
            }
        }
    }

    fn path(&self) -> &[u8] {
        match self {
            Self::Target { path, .. } | Self::Substitute { path } | Self::Entries { path, .. } => {
                path
            }
        }
    }

    /// The directory that holds what the name may stand for.
    fn directory(&self) -> &[u8] {
        let path = self.path();
        match self {
            Self::Target { directory: true, .. } | Self::Entries { .. } => path,
            Self::Target { directory: false, .. } | Self::Substitute { .. } => {
                memchr::memrchr(b'/', path).map_or(b"", |slash| &path[..slash])
            }
        }
    }

    /// What the name may stand for, the first one last.
    fn candidates(&self, site: &Site) -> Vec<Candidate> {
        let content = &site.settings.content;
        let candidate = |path: &[u8], role| Candidate { path: path.to_vec(), role };
        match *self {
            Self::Substitute { path } => vec![candidate(path, Role::Substitute)],
            Self::Entries { path, asked } => vec![candidate(path, Role::Entries(asked))],
            Self::Target { path, directory: false } => {
                let mut candidates = Vec::new();
                if content.clean_urls && !path.ends_with(PAGE_SUFFIX) {
                    candidates.push(candidate(&[path, PAGE_SUFFIX].concat(), Role::Page));
                }
                candidates.push(candidate(path, Role::Itself));
                candidates
            }
            Self::Target { path, directory: true } => {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                let listed = content.listing.then(|| candidate(path, Role::Directory));
                let index = |name: &Vec<u8>| candidate(&[path, slash, name].concat(), Role::Index);
                listed.into_iter().chain(content.index.iter().rev().map(index)).collect()
            }
        }
    }
}

impl Lookup {
    /// Begins to look a name up.
    pub(in crate::http) fn begin(site: &mut Site, now: Now, name: &Name<'_>) -> Progress {
        let mut key = Vec::new();
        name.write_key(&mut key);
        let lookup = Box::new(Self {
            key,
            path: name.path().to_vec(),
            directory: name.directory().len(),
            root: Arc::clone(site.root.get()),
            begun: now.instant,
            candidates: name.candidates(site),
            otherwise: Resource::Refused(Status::NotFound),
            stage: Stage::Root,
        });
        match site.root.ask(now.instant) {
            Some(step) => Progress::Ask(lookup, step),
            None => lookup.next(site, now),
        }
    }

    /// Goes on with what was asked for.
    pub(in crate::http) fn resume(
        mut self: Box<Self>,
        site: &mut Site,
        now: Now,
        reply: Reply,
    ) -> Progress {
        match (std::mem::replace(&mut self.stage, Stage::Root), reply) {
            (Stage::Root, Reply::Opened(opened)) => {
                if site.root.answered(opened) {
                    site.begin_anew();
                }
                self.root = Arc::clone(site.root.get());
                self.next(site, now)
            }
            (Stage::Open(candidate), Reply::Opened(Ok(file))) => {
                self.opened(site, now, candidate, file)
            }
            (Stage::Open(candidate), Reply::Opened(Err(error))) => match status_of(&error) {
                Ok(Status::NotFound) => self.next(site, now),
                // Links out of the root end in this too; that there is a page of the same name
                // does not mend it.
                Ok(status) if candidate.role != Role::Page => {
                    self.found(site, now, Resource::Refused(status))
                }
                Ok(_) => self.next(site, now),
                Err(_) => self.trouble(site, &error),
            },
            (Stage::Stem(page, stem), Reply::Opened(opened)) => {
                let is_free = match opened {
                    Ok(file) => file.metadata().kind != FileKind::Regular,
                    Err(error) => match status_of(&error) {
                        Ok(status) => status == Status::NotFound,
                        Err(_) => return self.trouble(site, &error),
                    },
                };
                if is_free {
                    let address = clean(site, &stem);
                    return self.found(site, now, Resource::Moved(address));
                }
                self.load(site, now, page)
            }
            (Stage::Load(loading), reply) => match loading.resume(now, reply) {
                Ok(loading) => self.load(site, now, loading),
                Err(error) => self.trouble(site, &error),
            },
            (Stage::Run(asked), Reply::Ran(Ok(body))) => {
                let page = listing_job::page(asked, &body);
                self.found(site, now, Resource::Page(page))
            }
            (Stage::Run(_), Reply::Ran(Err(error))) => match status_of(&error) {
                Ok(status) => self.found(site, now, Resource::Refused(status)),
                Err(_) => self.trouble(site, &error),
            },
            (stage, reply) => unreachable!("{reply:?} does not answer {stage:?}"),
        }
    }

    /// Asks for the next candidate.
    fn next(mut self: Box<Self>, site: &mut Site, now: Now) -> Progress {
        let Some(candidate) = self.candidates.pop() else {
            let otherwise = Resource::Refused(Status::NotFound);
            let otherwise = std::mem::replace(&mut self.otherwise, otherwise);
            return self.found(site, now, otherwise);
        };
        let step = open(&self.root, &candidate.path);
        self.stage = Stage::Open(candidate);
        Progress::Ask(self, step)
    }

    /// What an opened file means for the name.
    fn opened(
        mut self: Box<Self>,
        site: &mut Site,
        now: Now,
        candidate: Candidate,
        file: Arc<File>,
    ) -> Progress {
        match (candidate.role, file.metadata().kind) {
            (Role::Itself, FileKind::Regular) => self.itself(site, now, candidate.path, file),
            (Role::Page, FileKind::Regular) if is_index(site, &candidate.path) => {
                let address = clean(site, &self.path);
                self.found(site, now, Resource::Moved(address))
            }
            (Role::Page | Role::Index | Role::Substitute, FileKind::Regular) => {
                let by_rule = candidate.role != Role::Substitute;
                self.load(site, now, Loading::new(candidate.path, by_rule, file))
            }
            (Role::Itself, FileKind::Directory) => {
                let location = format!("{}/", encode_path(&candidate.path));
                self.otherwise = Resource::Moved(location.into());
                self.next(site, now)
            }
            (Role::Directory, FileKind::Directory) => self.found(site, now, Resource::Listing),
            (Role::Entries(asked), FileKind::Directory) => {
                let (job, since) =
                    listing_job::job(site, now.instant, &self.root, &self.path, file, asked);
                self.begun = self.begun.min(since);
                self.stage = Stage::Run(asked);
                Progress::Ask(self, Step::Run { job })
            }
            _ => self.next(site, now),
        }
    }

    /// The file that the address names. With clean addresses, a page has another one, unless
    /// that is taken.
    fn itself(
        mut self: Box<Self>,
        site: &mut Site,
        now: Now,
        path: Vec<u8>,
        file: Arc<File>,
    ) -> Progress {
        let stem = path.strip_suffix(PAGE_SUFFIX).map(<[u8]>::to_vec);
        // A stem that looks like a page itself stands for no other.
        let is_clean = |stem: &Vec<u8>| has_name(stem) && !stem.ends_with(PAGE_SUFFIX);
        let stem = stem.filter(|stem| site.settings.content.clean_urls && is_clean(stem));
        let page = Loading::new(path, true, file);
        let Some(stem) = stem else { return self.load(site, now, page) };
        let step = open(&self.root, &stem);
        self.stage = Stage::Stem(page, stem);
        Progress::Ask(self, step)
    }

    /// Asks for what a page still needs.
    fn load(mut self: Box<Self>, site: &mut Site, now: Now, loading: Loading) -> Progress {
        let known = match site.cache.peek(&self.key).map(|known| &**known) {
            Some(Resource::Page(page)) => Some(page),
            _ => None,
        };
        match loading.step(site, &self.root, now, known) {
            Next::Ask(loading, step) => {
                self.stage = Stage::Load(loading);
                Progress::Ask(self, step)
            }
            Next::Page(page) => self.found(site, now, Resource::Page(page)),
            Next::Unchanged => self.confirmed(site, now),
        }
    }

    /// Remembers what the name is.
    fn found(self: Box<Self>, site: &mut Site, now: Now, resource: Resource) -> Progress {
        let resource = Rc::new(resource);
        if !self.is_overtaken(site) {
            let weight = resource.weight(&self.key);
            site.cache.insert(&self.key, Rc::clone(&resource), weight, now.instant);
            if self.is_in_doubt(site, now) {
                site.cache.expire(&self.key);
            }
        }
        Progress::Found(Found::Known(resource))
    }

    /// Notes that the page that is remembered still holds.
    fn confirmed(self: Box<Self>, site: &mut Site, now: Now) -> Progress {
        if !self.is_in_doubt(site, now) {
            site.cache.confirm(&self.key, now.instant);
        }
        let known = site.cache.peek(&self.key).map(Rc::clone);
        Progress::Found(known.map_or(Found::Trouble(Status::ServiceUnavailable), Found::Known))
    }

    /// What could not be found out. What was known of the name is forgotten, for it may be wrong by
    /// now; but a shortage says nothing of the name.
    fn trouble(self: Box<Self>, site: &mut Site, error: &io::Error) -> Progress {
        let (Ok(status) | Err(status)) = status_of(error);
        if is_short_of_files(error) {
            site.cache.shed(SHED);
        }
        if status != Status::ServiceUnavailable && !self.is_overtaken(site) {
            site.cache.remove(&self.key);
        }
        Progress::Found(Found::Trouble(status))
    }

    /// Whether more is known than this lookup can have found.
    fn is_overtaken(&self, site: &Site) -> bool {
        let newer = site.cache.found_at(&self.key).is_some_and(|found| found > self.begun);
        newer || !Arc::ptr_eq(&self.root, site.root.get())
    }

    /// Whether there was a change since this lookup began that it may have missed; from now on,
    /// as far as possible, the kernel tells of the next one.
    fn is_in_doubt(&self, site: &mut Site, now: Now) -> bool {
        let directory = &self.path[..self.directory];
        Arc::ptr_eq(&self.root, site.root.get())
            && site.changes.is_in_doubt(&self.root, directory, self.begun, now.instant)
    }
}

/// Asks for a path below a root, which is `.` itself. A NUL can come from settings only; no
/// file has that name.
pub(in crate::http) fn open(root: &Arc<File>, path: &[u8]) -> Step {
    let path = if path.is_empty() { b"." } else { path };
    Step::Open { root: Arc::clone(root), path: CString::new(path).unwrap_or_default() }
}

/// Whether the last segment of a path is not empty.
fn has_name(path: &[u8]) -> bool {
    !matches!(path.last(), None | Some(b'/'))
}

/// Whether a file is what its directory's address shows, if that shows a page: with several names
/// for an index, only the first is certain to be the one.
fn is_index(site: &Site, path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    site.settings.content.index.first().is_some_and(|index| index == name)
}

/// The clean address of a page, by its path without suffix: an index has that of its directory.
fn clean(site: &Site, stem: &[u8]) -> Box<str> {
    if !is_index(site, &[stem, PAGE_SUFFIX].concat()) {
        return encode_path(stem).into();
    }
    let folder = stem.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &stem[..at]);
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{}{slash}", encode_path(folder)).into()
}
