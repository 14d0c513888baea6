//! Walks the directories: counts what is current, removes what is left over, and makes the list of
//! tasks. Links are not followed, and hidden directories are not entered.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, unlinkat};

use super::error::PrecompressError;
use super::filter::{is_hidden, split_sidecar};
use super::report::{PrecompressReport, SidecarFault};
use super::settings::{PrecompressMode, PrecompressSettings};
use super::state::{SidecarHeader, is_current};
use super::task::{Task, TaskKind, sidecar_path};
use super::temporary::{is_temporary, remove_left_over};
use super::tree::{self, FileVersion, PlainFile, Tree};
use crate::http::semantics::negotiate::Coding;

/// How many tasks there may be: some 200 bytes each.
const TASKS_MAX: usize = 3_000_000;

/// The walk of a run.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) settings: &'a PrecompressSettings,
    pub(super) tree: &'a Tree,
    pub(super) stop: &'a AtomicBool,
    pub(super) report: PrecompressReport,
    pub(super) tasks: Vec<Task>,
}

/// A directory that is walked.
struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
    /// Sorted.
    names: Vec<(OsString, FileType)>,
}

impl Directory {
    fn kind(&self, name: &OsStr) -> Option<FileType> {
        let found = self.names.binary_search_by(|(known, _)| known.as_os_str().cmp(name));
        found.ok().map(|at| self.names[at].1)
    }
}

impl Walk<'_> {
    /// Walks everything beneath the root. Ends early if it is to stop.
    pub(super) fn run(&mut self) -> Result<(), PrecompressError> {
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let opened = self.tree.directory(&path);
            let read = opened.and_then(|descriptor| Ok((tree::names(&descriptor)?, descriptor)));
            match read {
                Ok((names, descriptor)) => {
                    let directory = Directory { path, descriptor, names };
                    self.directory(&directory, &mut waiting)?;
                }
                Err(error) if path.as_os_str().is_empty() => {
                    return Err(PrecompressError::Root(self.settings.root.clone(), error));
                }
                Err(error) => {
                    self.report.add_problem(&path, SidecarFault::Unreadable, error.to_string());
                }
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        directory: &Directory,
        waiting: &mut Vec<PathBuf>,
    ) -> Result<(), PrecompressError> {
        for (name, kind) in &directory.names {
            let path = directory.path.join(name);
            match kind {
                FileType::RegularFile if is_temporary(name) => self.left_over(directory, &path),
                _ if is_hidden(name.as_bytes()) => {}
                FileType::Directory => waiting.push(path),
                FileType::RegularFile => match split_sidecar(name.as_bytes()) {
                    Some((plain, coding)) => {
                        self.orphan(directory, &path, OsStr::from_bytes(plain), coding);
                    }
                    None if self.settings.filter.wants(path.as_os_str().as_bytes()) => {
                        self.plain_file(directory, &path)?;
                    }
                    None => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn left_over(&mut self, directory: &Directory, path: &Path) {
        if self.settings.mode == PrecompressMode::Write
            && let Some(name) = path.file_name()
            && let Ok(true) = remove_left_over(&directory.descriptor, name)
        {
            self.report.left_over += 1;
        }
    }

    /// A name like that of a compressed file. Removes it if there is no plain file, and if it is
    /// not a download.
    fn orphan(&mut self, directory: &Directory, path: &Path, plain: &OsStr, coding: Coding) {
        let settings = self.settings;
        let is_one = settings.prune
            && settings.mode != PrecompressMode::Check
            && settings.codings.contains(coding)
            && directory.kind(plain).is_none()
            && settings.filter.wants(path.with_file_name(plain).as_os_str().as_bytes());
        let Some(name) = path.file_name().filter(|_| is_one) else { return };
        let opened = PlainFile::open(&directory.descriptor, name);
        match opened.and_then(|opened| SidecarHeader::read(&opened.file)) {
            Ok(header) if header.is_ours(coding) => self.remove(directory, path, plain),
            Ok(_) => {
                self.report.add_problem(path, SidecarFault::MaybeDownload, String::new());
            }
            Err(error) => {
                let fault = SidecarFault::UnreadableSidecar;
                self.report.add_problem(path, fault, error.to_string());
            }
        }
    }

    fn remove(&mut self, directory: &Directory, path: &Path, plain: &OsStr) {
        if self.settings.mode == PrecompressMode::Write {
            // The plain file may just have been created.
            match tree::stat(&directory.descriptor, plain) {
                Ok(None) => {}
                _ => return,
            }
            let name = path.file_name().unwrap_or_default();
            if let Err(error) = unlinkat(&directory.descriptor, name, AtFlags::empty()) {
                self.report.add_problem(path, SidecarFault::Unwritable, error.to_string());
                return;
            }
        }
        self.report.add_removed(path);
    }

    fn plain_file(&mut self, directory: &Directory, path: &Path) -> Result<(), PrecompressError> {
        let name = path.file_name().unwrap_or_default();
        let version = match tree::stat(&directory.descriptor, name) {
            Ok(stat) => stat.as_ref().and_then(FileVersion::of),
            Err(error) => {
                self.report.add_problem(path, SidecarFault::Unreadable, error.to_string());
                None
            }
        };
        // It may have been removed meanwhile.
        let Some(version) = version else { return Ok(()) };
        let settings = self.settings;
        if !(settings.bytes_min.max(1)..=settings.bytes_max).contains(&version.bytes) {
            self.report.other_sizes += 1;
            return Ok(());
        }
        self.report.files += 1;
        self.report.bytes += version.bytes;
        let shared: Arc<Path> = path.into();
        for coding in settings.codings.iter() {
            let Some(kind) = self.needed(directory, path, &version, coding) else { continue };
            if settings.mode == PrecompressMode::DryRun {
                self.report.add_planned(&sidecar_path(path, coding));
                continue;
            }
            if self.tasks.len() == TASKS_MAX {
                return Err(PrecompressError::TooMany { tasks_max: TASKS_MAX });
            }
            let path = Arc::clone(&shared);
            self.tasks.push(Task { path, coding, kind, bytes: version.bytes });
        }
        Ok(())
    }

    /// What to do for a file in a coding; `None` if its compressed file is current, or must be
    /// left alone.
    fn needed(
        &mut self,
        directory: &Directory,
        path: &Path,
        plain: &FileVersion,
        coding: Coding,
    ) -> Option<TaskKind> {
        let is_check = self.settings.mode == PrecompressMode::Check;
        let sidecar = sidecar_path(path, coding);
        let name = sidecar.file_name()?;
        match directory.kind(name) {
            None if is_check => return Some(TaskKind::Try),
            None => return Some(TaskKind::Make),
            Some(FileType::RegularFile) if is_check => return Some(TaskKind::Verify),
            Some(FileType::RegularFile) if self.settings.force => return Some(TaskKind::Make),
            Some(FileType::RegularFile) => {}
            Some(_) => {
                self.report.add_problem(&sidecar, SidecarFault::Occupied, String::new());
                return None;
            }
        }
        let stat = tree::stat(directory.descriptor.as_fd(), name);
        let version = stat.ok().flatten().as_ref().and_then(FileVersion::of);
        let open = || Ok(PlainFile::open(&directory.descriptor, name)?.file);
        match version {
            Some(version) if is_current(&version, plain, coding, open) => {
                if let Some(totals) = self.report.totals(coding) {
                    totals.current += 1;
                    totals.add(plain.bytes, version.bytes);
                }
                None
            }
            _ => Some(TaskKind::Make),
        }
    }
}
