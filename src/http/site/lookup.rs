//! From a name to a [`Resource`]: which files are opened and read, and in which order.
//!
//! ```text
//! Open: a candidate and the files beside it, at once
//!   |  ^-- it is not there: the next candidate
//!   |-- a page whose clean address may be taken --> CleanUrl: is it? --.
//!   |-- a page --------------------------------------> Read: all small files at once --> a page
//!   `-- a directory whose entries are wanted --------> Run: the job that makes the page
//! ```
//!
//! A lookup performs nothing and knows no cache: it asks, several questions at a time, each a
//! *part* of the lookup, and goes on when all replies are there. All files of a lookup are opened
//! beneath one root. Who wants the outcome, and what is remembered of it, is the business of
//! `sites.rs`.

use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::cache_key::{PAGE_SUFFIX, ResourceName};
use super::listing::Asked;
use super::listing_job::{self, Listings, Wanted};
use super::page_loader::{LoadStep, PageLoader, codings_beside};
use super::resource::{Page, Resource};
use super::settings::SiteSettings;
use super::target::encode_path;
use crate::ask::{Ask, Reply};
use crate::driver::watch::SiteId;
use crate::driver::{File, FileFailure, FileKind, Now};
use crate::http::semantics::negotiate::Coding;
use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// Files that one lookup has open at a time, at most: a file, that in each coding, and what may
/// have its clean address.
pub const OPENS_MAX: usize = 2 + Coding::ALL.len();

/// What a lookup needs of its site in one step.
pub(super) struct Surroundings<'a> {
    pub(super) site: SiteId,
    pub(super) settings: &'a SiteSettings,
    pub(super) listings: &'a mut Listings,
    /// What the name was so far.
    pub(super) known: Option<&'a Page>,
    pub(super) now: Now,
}

/// How a lookup goes on.
#[derive(Debug)]
pub(super) enum LookupProgress {
    /// With the replies to these questions, each with the number of its part.
    Ask(Vec<(u8, Ask)>),
    /// With more replies to what was asked before.
    Wait,
    /// It is over.
    Done(LookupOutcome),
}

/// What a lookup has led to.
#[derive(Debug)]
pub(super) enum LookupOutcome {
    /// What the name is.
    Found(Resource),
    /// The name is the page that it was so far.
    Unchanged,
    /// It could not be found out.
    Failed(io::Error),
}

/// A name that is being looked up; see the module documentation.
#[derive(Debug)]
pub(super) struct Lookup {
    path: Vec<u8>,
    /// Bytes of the path that name the directory in which changes may concern it.
    directory: usize,
    /// Beneath which everything is opened.
    root: Arc<File>,
    /// No answer is older than this.
    begun: Instant,
    /// What it may be, the next one last.
    candidates: Vec<Candidate>,
    /// What it is if it is none of them.
    otherwise: Resource,
    stage: LookupStage,
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
    Fallback,
    /// The directory whose entries are wanted.
    Entries(Asked),
}

/// What a lookup waits for.
#[derive(Debug)]
enum LookupStage {
    /// It has not begun, or is over.
    None,
    /// A candidate, and the files beside it.
    Open(Candidate, Vec<Option<io::Result<Arc<File>>>>),
    /// The file that has the clean address of this one, which may be there too.
    CleanUrl(PageLoader, Vec<u8>),
    /// Content: so many parts of it.
    Read(PageLoader, usize),
    /// The page of entries.
    Run(Asked),
}

impl Lookup {
    /// A lookup of a name that has not begun.
    pub(super) fn new(
        settings: &SiteSettings,
        root: &Arc<File>,
        name: &ResourceName<'_>,
        now: Instant,
    ) -> Self {
        Self {
            path: name.path().to_vec(),
            directory: name.directory().len(),
            root: Arc::clone(root),
            begun: now,
            candidates: candidates(settings, name),
            otherwise: Resource::Refused(Status::NotFound),
            stage: LookupStage::None,
        }
    }

    /// Begins, beneath this root.
    pub(super) fn begin(&mut self, site: &Surroundings<'_>, root: &Arc<File>) -> LookupProgress {
        self.root = Arc::clone(root);
        self.next(site)
    }

    /// It has its turn: from now on it is as old as it tells.
    pub(super) fn start(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Whether it waits for a page of entries.
    pub(super) fn waits_for_listing(&self) -> bool {
        matches!(self.stage, LookupStage::Run(_))
    }

    /// Since when what is found was so.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// The root that everything is opened beneath.
    pub(super) fn root(&self) -> &Arc<File> {
        &self.root
    }

    /// The directory in which changes may concern the name.
    pub(super) fn directory(&self) -> &[u8] {
        &self.path[..self.directory]
    }

    /// Takes in the reply to the question of a part.
    pub(super) fn resume(
        &mut self,
        site: &mut Surroundings<'_>,
        part: u8,
        reply: Reply,
    ) -> LookupProgress {
        match (std::mem::replace(&mut self.stage, LookupStage::None), reply) {
            (LookupStage::Open(candidate, mut opened), Reply::Opened(result)) => {
                opened[usize::from(part)] = Some(result);
                if opened.iter().any(Option::is_none) {
                    self.stage = LookupStage::Open(candidate, opened);
                    return LookupProgress::Wait;
                }
                let mut opened = opened.into_iter().flatten();
                let Some(first) = opened.next() else { unreachable!("the candidate is one") };
                let beside = codings_beside(site.settings, &candidate.path).iter().copied();
                self.opened(site, candidate, first, beside.zip(opened).collect())
            }
            (LookupStage::CleanUrl(page, stem), Reply::Opened(opened)) => {
                let is_free = match opened {
                    Ok(file) => file.metadata().kind != FileKind::Regular,
                    Err(error) => match FileFailure::of(&error) {
                        FileFailure::NotFound => true,
                        FileFailure::Denied => false,
                        _ => return LookupProgress::Done(LookupOutcome::Failed(error)),
                    },
                };
                if is_free {
                    return found(Resource::Moved(clean_address(site.settings, &stem)));
                }
                self.load(site, page)
            }
            (LookupStage::Read(mut page, left), Reply::Read(Ok(read), bytes)) => {
                page.take(part, read, &bytes, site.now.system);
                if left > 1 {
                    self.stage = LookupStage::Read(page, left - 1);
                    return LookupProgress::Wait;
                }
                self.go_on(page.finish())
            }
            (LookupStage::Read(..), Reply::Read(Err(error), _)) => {
                LookupProgress::Done(LookupOutcome::Failed(error))
            }
            (LookupStage::Run(asked), Reply::Ran(Ok(body))) => {
                found(Resource::Page(listing_job::page(asked, &body)))
            }
            (LookupStage::Run(_), Reply::Ran(Err(error))) => failed(error),
            (stage, reply) => unreachable!("{reply:?} does not answer {stage:?}"),
        }
    }

    /// Asks for the next candidate, and for the files that may stand beside it.
    fn next(&mut self, site: &Surroundings<'_>) -> LookupProgress {
        let Some(candidate) = self.candidates.pop() else {
            let otherwise = Resource::Refused(Status::NotFound);
            return found(std::mem::replace(&mut self.otherwise, otherwise));
        };
        let mut asks = vec![(0, open(&self.root, &candidate.path))];
        if !matches!(candidate.role, Role::Directory | Role::Entries(_)) {
            for (number, coding) in (1..).zip(codings_beside(site.settings, &candidate.path)) {
                let path = [&candidate.path, coding.suffix().as_bytes()].concat();
                asks.push((number, open(&self.root, &path)));
            }
        }
        let opened = asks.iter().map(|_| None).collect();
        self.stage = LookupStage::Open(candidate, opened);
        LookupProgress::Ask(asks)
    }

    /// What came of opening a candidate.
    fn opened(
        &mut self,
        site: &mut Surroundings<'_>,
        candidate: Candidate,
        opened: io::Result<Arc<File>>,
        beside: Vec<(Coding, io::Result<Arc<File>>)>,
    ) -> LookupProgress {
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                return match FileFailure::of(&error) {
                    FileFailure::NotFound => self.next(site),
                    // Links out of the root end in this too; that there is a page of the same name
                    // does not mend it.
                    FileFailure::Denied if candidate.role != Role::Page => {
                        found(Resource::Refused(Status::Forbidden))
                    }
                    FileFailure::Denied => self.next(site),
                    _ => LookupProgress::Done(LookupOutcome::Failed(error)),
                };
            }
        };
        let Candidate { path, role } = candidate;
        match (role, file.metadata().kind) {
            (Role::Page, FileKind::Regular) if is_index(site.settings, &path) => {
                found(Resource::Moved(clean_address(site.settings, &self.path)))
            }
            (Role::Itself | Role::Page | Role::Index | Role::Fallback, FileKind::Regular) => {
                let stem = stem(site.settings, &path).filter(|_| role == Role::Itself);
                let by_rule = role != Role::Fallback;
                match (PageLoader::new(path, by_rule, file, beside), stem) {
                    (Err(error), _) => LookupProgress::Done(LookupOutcome::Failed(error)),
                    (Ok(page), None) => self.load(site, page),
                    (Ok(page), Some(stem)) => {
                        let ask = open(&self.root, &stem);
                        self.stage = LookupStage::CleanUrl(page, stem);
                        LookupProgress::Ask(vec![(0, ask)])
                    }
                }
            }
            (Role::Itself, FileKind::Directory) => {
                let location = format!("{}/", encode_path(&path));
                self.otherwise = Resource::Moved(location.into());
                self.next(site)
            }
            (Role::Directory, FileKind::Directory) => found(Resource::Listing),
            (Role::Entries(asked), FileKind::Directory) => self.list(site, file, asked),
            _ => self.next(site),
        }
    }

    /// Has the entries of a directory read.
    fn list(
        &mut self,
        site: &mut Surroundings<'_>,
        directory: Arc<File>,
        asked: Asked,
    ) -> LookupProgress {
        let (now, shared_for) = (site.now.instant, site.settings.revalidate_after);
        let hide_sidecars = site.settings.content.precompressed;
        let (root, path) = (&self.root, &self.path[..]);
        let wanted = Wanted { site: site.site, root, path, directory, asked, hide_sidecars };
        let (job, since) = site.listings.job(now, shared_for, wanted);
        self.begun = self.begun.min(since);
        self.stage = LookupStage::Run(asked);
        LookupProgress::Ask(vec![(0, Ask::Run { job })])
    }

    fn load(&mut self, site: &Surroundings<'_>, page: PageLoader) -> LookupProgress {
        self.go_on(page.load(site.settings, site.now.system, site.known))
    }

    fn go_on(&mut self, next: LoadStep) -> LookupProgress {
        match next {
            LoadStep::Read(page, reads) => {
                self.stage = LookupStage::Read(page, reads.len());
                LookupProgress::Ask(reads)
            }
            LoadStep::Page(page) => found(Resource::Page(page)),
            LoadStep::Unchanged => LookupProgress::Done(LookupOutcome::Unchanged),
        }
    }
}

fn found(resource: Resource) -> LookupProgress {
    LookupProgress::Done(LookupOutcome::Found(resource))
}

/// What an error of a listing means: one that stays is what the name is.
fn failed(error: io::Error) -> LookupProgress {
    match FileFailure::of(&error) {
        FileFailure::NotFound => found(Resource::Refused(Status::NotFound)),
        FileFailure::Denied => found(Resource::Refused(Status::Forbidden)),
        _ => LookupProgress::Done(LookupOutcome::Failed(error)),
    }
}

/// What a name may stand for, the first one last.
fn candidates(settings: &SiteSettings, name: &ResourceName<'_>) -> Vec<Candidate> {
    let content = &settings.content;
    let candidate = |path: &[u8], role| Candidate { path: path.to_vec(), role };
    match *name {
        ResourceName::Fallback { path } => vec![candidate(path, Role::Fallback)],
        ResourceName::Entries { path, asked } => vec![candidate(path, Role::Entries(asked))],
        ResourceName::Target { path, directory: false } => {
            let mut candidates = Vec::new();
            if content.clean_urls && !path.ends_with(PAGE_SUFFIX) {
                candidates.push(candidate(&[path, PAGE_SUFFIX].concat(), Role::Page));
            }
            candidates.push(candidate(path, Role::Itself));
            candidates
        }
        ResourceName::Target { path, directory: true } => {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let listed = content.listing.then(|| candidate(path, Role::Directory));
            let index = |name: &Vec<u8>| candidate(&[path, slash, name].concat(), Role::Index);
            listed.into_iter().chain(content.index.iter().rev().map(index)).collect()
        }
    }
}

/// Asks for a path below a root, which is `.` itself. A NUL can come from settings only; no
/// file has that name.
fn open(root: &Arc<File>, path: &[u8]) -> Ask {
    let path = if path.is_empty() { b"." } else { path };
    Ask::Open { root: Arc::clone(root), path: CString::new(path).unwrap_or_default() }
}

/// The path whose address a page has, with clean addresses, unless that is taken. A stem that
/// looks like a page itself stands for no other.
fn stem(settings: &SiteSettings, path: &[u8]) -> Option<Vec<u8>> {
    let stem = path.strip_suffix(PAGE_SUFFIX).filter(|_| settings.content.clean_urls)?;
    let has_name = !matches!(stem.last(), None | Some(b'/'));
    (has_name && !stem.ends_with(PAGE_SUFFIX)).then(|| stem.to_vec())
}

/// Whether a file is what its directory's address shows, if that shows a page: with several names
/// for an index, only the first is certain to be the one.
fn is_index(settings: &SiteSettings, path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    settings.content.index.first().is_some_and(|index| index == name)
}

/// The clean address of a page, by its path without suffix: an index has that of its directory.
fn clean_address(settings: &SiteSettings, stem: &[u8]) -> Box<str> {
    if !is_index(settings, &[stem, PAGE_SUFFIX].concat()) {
        return encode_path(stem).into();
    }
    let folder = stem.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &stem[..at]);
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{}{slash}", encode_path(folder)).into()
}
