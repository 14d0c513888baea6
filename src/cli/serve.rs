//! `ringd serve`, the default command: from its options to a plan.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connections::shares;
use super::root::open_root;
use super::value::address;
use super::{CommandError, Config, ServerOptions, SiteOptions};
use crate::descriptors::Descriptors;
use crate::driver::{DriverSelection, File, FileKind, Links};
use crate::http::RootPath;
use crate::http::site::FallbackUse;
use crate::{http, server};

/// Everything that a run of `ringd serve` needs.
#[derive(Debug)]
pub struct ServePlan {
    /// The settings of the server.
    pub server: server::ServerSettings,
    /// The settings of the site.
    pub http: http::SiteSettings,
    /// The driver.
    pub selection: DriverSelection,
    /// The root for the start line: its absolute path, and the target of a link in it.
    pub root: String,
    /// Notes for the operator, printed before the server starts.
    pub notes: Vec<String>,
}

impl ServePlan {
    /// Turns options into a plan. Opens the root, tests the driver, and raises the soft limit of
    /// descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// When the root cannot be served, descriptors do not suffice, or the driver does not work.
    pub fn make(config: &Config) -> Result<Self, CommandError> {
        let [site] = &config.sites[..] else {
            return Err(CommandError(format!(
                "several sites are not served yet, and there are {}; leave one [[site]]",
                config.sites.len()
            )));
        };
        let ServerOptions { server: args, http } = &config.options;
        let mut addresses = config.listeners.iter().flat_map(|listener| &listener.addresses);
        if let Some(other) = addresses.find(|text| address(text).is_err()) {
            return Err(CommandError(format!(
                "{other} is not served yet; write an IP address and a port, as in 0.0.0.0:8080"
            )));
        }
        let links = site.content.symlinks.into();
        let root = open_root(&site.root, links).map_err(|error| with_page_of_spa(error, site))?;
        let content = site.content.content()?;
        let mut notes = notes(&root, links, &content);
        let descriptors = Descriptors::raise_limit(args.worker_count());
        let selection = args.selection()?;
        notes.extend_from_slice(&selection.notes);
        let cache_entries = descriptors.cache_entries(http.cache_entries, selection.kind);
        let files = descriptors.files_min(cache_entries);
        let shares = shares(descriptors, args, selection.kind, files)?;
        Ok(Self {
            server: args.settings(shares.connections, http.header_timeout)?,
            http: http::SiteSettings {
                root_path: Some(root_path(&site.root)?),
                content,
                memory_file_max: http.memory_file_max,
                cache_entries: cache_entries as usize,
                files_max: shares.files as usize,
                cache_idle: http.cache_idle,
                cache_bytes: http.cache_bytes,
                revalidate_after: http.revalidate,
                watch: !http.no_watch,
                lookups_max: (descriptors.opening() as u32 / http::site::OPENS_MAX as u32).max(1),
                ..http::SiteSettings::new(root)
            },
            selection,
            root: display_root(&site.root),
            notes,
        })
    }
}

/// Adds to the error of a root that it may be meant as the value of `--spa`.
fn with_page_of_spa(CommandError(error): CommandError, site: &SiteOptions) -> CommandError {
    let page = site.root.display();
    let is_page = site.root.is_relative() && site.root.extension().is_some();
    CommandError(match site.content.spa {
        Some(_) if is_page => format!("{error}; a value of --spa is written --spa=/{page}"),
        _ => error,
    })
}

/// The absolute path of the root; if it contains a symbolic link, also the current target.
fn display_root(root: &Path) -> String {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    // Collecting the components removes `.`, which would make the two paths differ without a link.
    let absolute = absolute.components().collect::<PathBuf>();
    match root.canonicalize() {
        Ok(real) if real != absolute => format!("{} (now {})", absolute.display(), real.display()),
        _ => absolute.display().to_string(),
    }
}

/// Notes about settings that are valid but may be a mistake.
fn notes(root: &File, links: Links, content: &http::Content) -> Vec<String> {
    let mut notes = Vec::new();
    if links == Links::Follow {
        let note = "--symlinks follow: links that leave the root are followed too, so their \
                    targets are public";
        notes.push(note.to_owned());
    }
    for (its_use, path) in content.fallbacks() {
        let option = match its_use {
            FallbackUse::Application => "--spa",
            FallbackUse::Error => "--error-page",
        };
        let file = CString::new(path).map(|path| File::open_beneath(root, &path));
        let is_file = |file: &File| file.metadata().kind == FileKind::Regular;
        if !matches!(file, Ok(Ok(file)) if is_file(&file)) {
            let path = String::from_utf8_lossy(path);
            notes.push(format!(
                "{option}: there is no file /{path} in the root yet; create it, or check the path"
            ));
        }
    }
    notes
}

/// The path of the root and where it begins. A worker opens it again from time to time, because a
/// deployment may replace a symbolic link in it.
fn root_path(path: &Path) -> Result<RootPath, CommandError> {
    let failed = |error: io::Error| {
        let path = path.display();
        CommandError(format!(
            "cannot open the directory that {path} is relative to: {error}; start ringd in a \
             directory that it may read, or name the root by its absolute path"
        ))
    };
    // For an absolute path the current directory is not needed, and it may be unreadable.
    let base = if path.is_absolute() { "/" } else { "." };
    let base = File::open_root(Path::new(base), Links::Follow).map_err(failed)?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    Ok(RootPath { base: Arc::new(base), path })
}
