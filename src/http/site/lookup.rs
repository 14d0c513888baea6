//! Maps a name to a [`Resource`]: opens and reads the files on which the name depends.
//!
//! ```text
//! Open      opens a candidate and its compressed files, all at once
//!             not found, or a directory: Open the next candidate; after the last one, done
//!             a page with a clean URL:   CleanUrl
//!             another page:              Read
//!             a directory to list:       Run
//! CleanUrl  opens the path without `.html`
//!             no file is there:          done, with a redirect to the clean URL
//!             a file is there:           Read
//! Read      reads all small files at once, if there are any; then done, with a page
//!             (for tags of content, jobs read the large files at the same time)
//! Run       runs the job that makes a listing; then done, with a page
//! ```
//!
//! A lookup does no I/O and does not use the cache. It asks several questions at a time, each of
//! which is a *part* of the lookup, and goes on when all have replies. All files are opened beneath
//! the same root; the last candidates of a site with a fallback root, beneath that. `sites.rs`
//! caches the outcome and tells the sessions that wait for it.

use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::cache_key::{PAGE_SUFFIX, ResourceName};
use super::http_settings::HttpSettings;
use super::listing::Asked;
use super::listing_job::{self, Listings, Wanted};
use super::page_loader::{LoadStep, PageLoader, codings_beside};
use super::resource::{Page, Resource};
use super::settings::{FallbackRoot, SiteSettings};
use super::tags::{TagJobs, TagSource};
use super::target::encode_path;
use crate::ask::{Ask, Reply};
use crate::driver::watch::SiteId;
use crate::driver::{File, FileFailure, FileKind, Now};
use crate::http::semantics::negotiate::Coding;
use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// How many files one lookup has open at most: a file, its compressed files, and a file at its
/// clean URL.
pub const OPENS_MAX: usize = 2 + Coding::ALL.len();

/// The state of the site that a step of a lookup uses.
pub(super) struct Surroundings<'a> {
    pub(super) site: SiteId,
    pub(super) http: &'a HttpSettings,
    pub(super) settings: &'a SiteSettings,
    pub(super) listings: &'a mut Listings,
    pub(super) tag_jobs: &'a TagJobs,
    /// The page that is cached under the name.
    pub(super) known: Option<&'a Page>,
    pub(super) now: Now,
}

/// What a lookup needs next.
#[derive(Debug)]
pub(super) enum LookupProgress {
    /// Replies to these questions, each with the number of its part.
    Ask(Vec<(u8, Ask)>),
    /// The remaining replies to earlier questions.
    Wait,
    /// Nothing: the lookup is done.
    Done(LookupOutcome),
}

/// The outcome of a lookup.
#[derive(Debug)]
pub(super) enum LookupOutcome {
    /// The resource that the name stands for.
    Found(Resource),
    /// The name still stands for the cached page.
    Unchanged,
    /// The resource is unknown because of this error.
    Failed(io::Error),
}

/// One lookup; see the module documentation.
#[derive(Debug)]
pub(super) struct Lookup {
    path: Vec<u8>,
    /// The length of the prefix of `path` that names the directory to watch.
    directory: usize,
    /// All files are opened beneath this directory.
    root: Arc<File>,
    /// The fallback root, if the site has one.
    fallback: Option<Arc<File>>,
    has_fallen_back: bool,
    /// No file was opened or read before this time.
    begun: Instant,
    /// The files that remain to be tried, in reverse order.
    candidates: Vec<Candidate>,
    /// The outcome if no candidate exists.
    otherwise: Resource,
    stage: LookupStage,
}

/// A file for which the name may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Candidate {
    path: Vec<u8>,
    role: Role,
    /// Whether it is looked for beneath the fallback root.
    in_fallback: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The file at the path of the name.
    Itself,
    /// The file at the path with `.html` appended.
    Page,
    /// An index file.
    Index,
    /// A directory without an index file, which may be listed.
    Directory,
    /// A fallback or error page.
    Fallback,
    /// A directory to list.
    Entries(Asked),
}

/// What a lookup waits for; see the diagram above.
#[derive(Debug)]
enum LookupStage {
    /// Nothing: it has not begun, or is done.
    None,
    /// The candidate and its compressed files. Missing replies are `None`.
    Open(Candidate, Vec<Option<io::Result<Arc<File>>>>),
    /// The file at the clean URL of this page, if there is one, by its path.
    CleanUrl(PageLoader, Vec<u8>),
    /// The content or the tags of the page's files, and the number of missing replies.
    Read(PageLoader, usize),
    /// The page of a listing.
    Run(Asked),
}

impl Lookup {
    /// A lookup that has not begun.
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
            fallback: None,
            has_fallen_back: false,
            begun: now,
            candidates: candidates(settings, name),
            otherwise: Resource::Refused(Status::NotFound),
            stage: LookupStage::None,
        }
    }

    /// Begins to open files beneath this root.
    pub(super) fn begin(&mut self, site: &Surroundings<'_>, root: &Arc<File>) -> LookupProgress {
        self.root = Arc::clone(root);
        self.next(site)
    }

    /// Sets the fallback root, before the lookup begins.
    pub(super) fn fall_back_to(&mut self, root: Option<Arc<File>>) {
        self.fallback = root;
    }

    /// The fallback root.
    pub(super) fn fallback(&self) -> Option<&Arc<File>> {
        self.fallback.as_ref()
    }

    /// Whether a file was looked for beneath the fallback root.
    pub(super) fn has_fallen_back(&self) -> bool {
        self.has_fallen_back
    }

    /// Sets the time of [`Lookup::begun`], when the lookup leaves the line.
    pub(super) fn start(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Whether the lookup waits for the job that makes a listing.
    pub(super) fn waits_for_listing(&self) -> bool {
        matches!(self.stage, LookupStage::Run(_))
    }

    /// The age of the outcome: it reflects all changes before this time, but perhaps no later ones.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// The directory beneath which all files are opened.
    pub(super) fn root(&self) -> &Arc<File> {
        &self.root
    }

    /// The directory to watch for changes of the name's files.
    pub(super) fn directory(&self) -> &[u8] {
        &self.path[..self.directory]
    }

    /// Takes the reply to the question of a part.
    pub(super) fn resume(
        &mut self,
        site: &mut Surroundings<'_>,
        part: u8,
        reply: Reply,
    ) -> LookupProgress {
        match (std::mem::replace(&mut self.stage, LookupStage::None), reply) {
            (LookupStage::Open(candidate, mut opened), Reply::Opened(result)) => {
                let before = opened[usize::from(part)].replace(result);
                assert!(before.is_none(), "part {part} has one reply");
                if opened.iter().any(Option::is_none) {
                    self.stage = LookupStage::Open(candidate, opened);
                    return LookupProgress::Wait;
                }
                let mut opened = opened.into_iter().flatten();
                let Some(first) = opened.next() else {
                    unreachable!("the first part is the candidate")
                };
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
            (LookupStage::Read(mut page, left), reply @ (Reply::Read(..) | Reply::Ran(_))) => {
                let taken = page.take_reply(site.settings, part, reply, site.now.system);
                if let Err(error) = taken {
                    return LookupProgress::Done(LookupOutcome::Failed(error));
                }
                if left > 1 {
                    self.stage = LookupStage::Read(page, left - 1);
                    return LookupProgress::Wait;
                }
                self.go_on(page.finish())
            }
            (LookupStage::Run(asked), Reply::Ran(Ok(body))) => {
                let has_tag = site.settings.content.etag != TagSource::Off;
                found(Resource::Page(listing_job::page(asked, &body, has_tag)))
            }
            (LookupStage::Run(_), Reply::Ran(Err(error))) => self.list_failed(site, error),
            (stage, reply) => unreachable!("{reply:?} does not answer {stage:?}"),
        }
    }

    /// Opens the next candidate and its compressed files.
    fn next(&mut self, site: &Surroundings<'_>) -> LookupProgress {
        let Some(candidate) = self.candidates.pop() else {
            let otherwise = Resource::Refused(Status::NotFound);
            return found(std::mem::replace(&mut self.otherwise, otherwise));
        };
        let root = match &self.fallback {
            _ if !candidate.in_fallback => &self.root,
            Some(fallback) => fallback,
            // It does not exist yet, but may soon.
            None => {
                self.has_fallen_back = true;
                return self.next(site);
            }
        };
        self.has_fallen_back |= candidate.in_fallback;
        let mut asks = vec![(0, open(root, &candidate.path))];
        if !matches!(candidate.role, Role::Directory | Role::Entries(_)) {
            for (number, coding) in (1..).zip(codings_beside(site.settings, &candidate.path)) {
                let path = [&candidate.path, coding.suffix().as_bytes()].concat();
                asks.push((number, open(root, &path)));
            }
        }
        debug_assert!(asks.len() < OPENS_MAX, "no open is left for the file at the clean URL");
        let opened = asks.iter().map(|_| None).collect();
        self.stage = LookupStage::Open(candidate, opened);
        LookupProgress::Ask(asks)
    }

    /// Goes on after a candidate was opened, or could not be opened.
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
                    // This includes links that lead out of the root. A page `a.html` does not
                    // replace a forbidden `a`.
                    FileFailure::Denied if candidate.role != Role::Page => {
                        site.tell_denied(&candidate.path, &error);
                        found(Resource::Refused(Status::Forbidden))
                    }
                    FileFailure::Denied => self.next(site),
                    _ => LookupProgress::Done(LookupOutcome::Failed(error)),
                };
            }
        };
        let Candidate { path, role, in_fallback } = candidate;
        match (role, file.metadata().kind) {
            (Role::Page, FileKind::Regular) if is_index(site.settings, &path) => {
                found(Resource::Moved(clean_address(site.settings, &self.path)))
            }
            (Role::Itself | Role::Page | Role::Index | Role::Fallback, FileKind::Regular) => {
                let has_stem = role == Role::Itself && !in_fallback;
                let stem = stem(site.settings, &path).filter(|_| has_stem);
                let by_rule = role != Role::Fallback;
                let asked = self.asked(site.settings, role);
                let page = PageLoader::new(path, by_rule, file, beside);
                match (page.map(|page| page.asked_as(asked)), stem) {
                    (Err(error), _) => LookupProgress::Done(LookupOutcome::Failed(error)),
                    (Ok(page), None) => self.load(site, page),
                    (Ok(page), Some(stem)) => {
                        let ask = open(&self.root, &stem);
                        self.stage = LookupStage::CleanUrl(page, stem);
                        LookupProgress::Ask(vec![(0, ask)])
                    }
                }
            }
            (Role::Itself, FileKind::Directory)
                if in_fallback && !has_index_in_fallback(site.settings, &path) =>
            {
                self.next(site)
            }
            (Role::Itself, FileKind::Directory) => {
                // The name is not missing in the root.
                self.candidates.retain(|candidate| !candidate.in_fallback);
                let location = format!("{}/", encode_path(&path));
                self.otherwise = Resource::Moved(location.into());
                self.next(site)
            }
            (Role::Directory, FileKind::Directory) => found(Resource::Listing),
            (Role::Entries(asked), FileKind::Directory) => self.list(site, file, asked),
            _ => self.next(site),
        }
    }

    /// The path of the request, if rules need it and it is not that of the file.
    fn asked(&self, settings: &SiteSettings, role: Role) -> Option<Vec<u8>> {
        let is_other = matches!(role, Role::Index | Role::Page);
        let slash: &[u8] = if role == Role::Index && !self.path.is_empty() { b"/" } else { b"" };
        let is_needed = is_other && settings.content.rules.depend_on_request();
        is_needed.then(|| [b"/", &self.path[..], slash].concat())
    }

    /// Starts the job that makes a page of a listing.
    fn list(
        &mut self,
        site: &mut Surroundings<'_>,
        directory: Arc<File>,
        asked: Asked,
    ) -> LookupProgress {
        let (now, shared_for) = (site.now.instant, site.http.revalidate_after);
        let content = &site.settings.content;
        let wanted = Wanted {
            site: site.site,
            root: &self.root,
            path: &self.path,
            directory,
            asked,
            hide_sidecars: content.precompressed,
            hide_site_files: content.hides_site_files,
        };
        let (job, since) = site.listings.job(now, shared_for, wanted);
        self.begun = self.begun.min(since);
        self.stage = LookupStage::Run(asked);
        LookupProgress::Ask(vec![(0, Ask::Run { job })])
    }

    /// The outcome of a listing that failed. Errors that persist are cached.
    fn list_failed(&self, site: &Surroundings<'_>, error: io::Error) -> LookupProgress {
        match FileFailure::of(&error) {
            FileFailure::NotFound => found(Resource::Refused(Status::NotFound)),
            FileFailure::Denied => {
                site.tell_denied(&self.path, &error);
                found(Resource::Refused(Status::Forbidden))
            }
            _ => LookupProgress::Done(LookupOutcome::Failed(error)),
        }
    }

    /// The path that was asked for, beneath the root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    fn load(&mut self, site: &Surroundings<'_>, page: PageLoader) -> LookupProgress {
        let Surroundings { settings, http, known, now, tag_jobs, .. } = site;
        self.go_on(page.load(settings, http.memory_file_max, now.system, *known, tag_jobs))
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

/// The files for which a name may stand, in reverse order.
fn candidates(settings: &SiteSettings, name: &ResourceName<'_>) -> Vec<Candidate> {
    let content = &settings.content;
    let candidate = |path: &[u8], role| Candidate { path: path.to_vec(), role, in_fallback: false };
    let candidates: Vec<_> = match *name {
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
    };
    let Some(FallbackRoot { only, .. }) = &settings.fallback_root else { return candidates };
    // They come last, so they stand first. Fallback and error pages are those of the root.
    let is_there = |it: &&Candidate| {
        matches!(it.role, Role::Itself | Role::Page | Role::Index) && only.matches(&it.path)
    };
    let there = candidates.iter().filter(is_there);
    let there: Vec<_> = there.map(|it| Candidate { in_fallback: true, ..it.clone() }).collect();
    there.into_iter().chain(candidates).collect()
}

/// Whether the index of a directory may be beneath the fallback root.
fn has_index_in_fallback(settings: &SiteSettings, path: &[u8]) -> bool {
    let Some(FallbackRoot { only, .. }) = &settings.fallback_root else { return false };
    let mut names = settings.content.index.iter();
    names.any(|name| only.matches(&[path, b"/", name].concat()))
}

/// Asks for the file at a path below the root. Only settings could contain a NUL; the empty path,
/// which then replaces it, is not found.
fn open(root: &Arc<File>, path: &[u8]) -> Ask {
    let path = if path.is_empty() { b"." } else { path };
    Ask::Open { root: Arc::clone(root), path: CString::new(path).unwrap_or_default() }
}

/// The path of a page's clean URL, if it has one: the path without `.html`. `a.html.html` has none,
/// because `a.html` would redirect again.
fn stem(settings: &SiteSettings, path: &[u8]) -> Option<Vec<u8>> {
    let stem = path.strip_suffix(PAGE_SUFFIX).filter(|_| settings.content.clean_urls)?;
    let has_name = !matches!(stem.last(), None | Some(b'/'));
    (has_name && !stem.ends_with(PAGE_SUFFIX)).then(|| stem.to_vec())
}

/// Whether a file is certain to be the index of its directory: only the first name for an index is,
/// because it takes precedence over the others.
fn is_index(settings: &SiteSettings, path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    settings.content.index.first().is_some_and(|index| index == name)
}

/// The clean URL of a page, by its path without suffix. That of an index is its directory.
fn clean_address(settings: &SiteSettings, stem: &[u8]) -> Box<str> {
    if !is_index(settings, &[stem, PAGE_SUFFIX].concat()) {
        return encode_path(stem).into();
    }
    let folder = stem.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &stem[..at]);
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{}{slash}", encode_path(folder)).into()
}
