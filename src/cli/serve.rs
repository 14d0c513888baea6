//! `ringd serve`, the default command: its options and their conversion into a plan.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};

use super::connections::shares;
use super::root::open_root;
use super::server::BOUNDS;
use super::value::{positive_time, size, time};
use super::{CommandError, ContentArgs, ServerArgs};
use crate::descriptors::Descriptors;
use crate::driver::{DriverSelection, File, FileKind, Links};
use crate::http::RootPath;
use crate::http::site::FallbackUse;
use crate::{http, server};

/// The heading of the options of the cache in the help.
const CACHE: &str = "Cache (per worker)";

/// The command line of `ringd serve`.
#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7890")))]
pub struct ServeArgs {
    /// Directory to serve
    #[arg(default_value = "./html")]
    pub root: PathBuf,

    /// Options of all servers.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Options about content.
    #[command(flatten)]
    pub content: ContentArgs,

    /// How long a request head may take to arrive
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub header_timeout: Duration,

    /// Cached names; each may hold a file open [default: 2048, fewer if descriptors are scarce]
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(..=1_000_000),
        help_heading = CACHE
    )]
    pub cache_entries: Option<u32>,

    /// How long a cached name that no request uses is kept, with its open file
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = positive_time,
        help_heading = CACHE
    )]
    pub cache_idle: Duration,

    /// Memory for cached small files and response heads
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "32M",
        value_parser = cache_bytes,
        help_heading = CACHE
    )]
    pub cache_bytes: usize,

    /// Files up to this size are sent from memory, larger ones with sendfile(2); at most 1M
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "8K",
        value_parser = memory_file_max,
        help_heading = CACHE
    )]
    pub memory_file_max: u64,

    /// How long a cached file is served before it is checked for changes
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = time,
        help_heading = CACHE
    )]
    pub revalidate: Duration,

    /// Do not use inotify to notice changes; they then show after --revalidate
    #[arg(long, help_heading = CACHE)]
    pub no_watch: bool,
}

/// Everything that a run of `ringd serve` needs.
#[derive(Debug)]
pub struct ServePlan {
    /// The settings of the server.
    pub server: server::ServerSettings,
    /// The settings of the sites.
    pub http: http::HttpSettings,
    /// The driver.
    pub selection: DriverSelection,
    /// The root for the start line: its absolute path, and the target of a link in it.
    pub root: String,
    /// Notes for the operator, printed before the server starts.
    pub notes: Vec<String>,
}

impl ServePlan {
    /// Turns a command line into a plan. Opens the root, tests the driver, and raises the soft
    /// limit of descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// When the root cannot be served, descriptors do not suffice, or the driver does not work.
    pub fn make(args: &ServeArgs) -> Result<Self, CommandError> {
        let links = args.content.symlinks.into();
        let root = open_root(&args.root, links).map_err(|error| with_page_of_spa(error, args))?;
        let content = args.content.content()?;
        let mut notes = notes(&root, links, &content);
        let descriptors = Descriptors::raise_limit(args.server.worker_count());
        let selection = args.server.selection()?;
        notes.extend_from_slice(&selection.notes);
        let cache_entries = descriptors.cache_entries(args.cache_entries, selection.kind);
        let files = descriptors.files_min(cache_entries);
        let site = http::SiteSettings {
            root_path: Some(root_path(&args.root)?),
            content,
            ..http::SiteSettings::new(root)
        };
        let shares = shares(descriptors, &args.server, selection.kind, files)?;
        Ok(Self {
            server: args.server.settings(shares.connections, args.header_timeout)?,
            http: http::HttpSettings {
                memory_file_max: args.memory_file_max,
                cache_entries: cache_entries as usize,
                files_max: shares.files as usize,
                cache_idle: args.cache_idle,
                cache_bytes: args.cache_bytes,
                revalidate_after: args.revalidate,
                watch: !args.no_watch,
                lookups_max: (descriptors.opening() as u32 / http::site::OPENS_MAX as u32).max(1),
                ..http::HttpSettings::new(site)
            },
            selection,
            root: display_root(&args.root),
            notes,
        })
    }
}

/// Adds to the error of a root that it may be meant as the value of `--spa`.
fn with_page_of_spa(CommandError(error): CommandError, args: &ServeArgs) -> CommandError {
    let page = args.root.display();
    let is_page = args.root.is_relative() && args.root.extension().is_some();
    CommandError(match args.content.spa {
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

/// Parses `--cache-bytes`.
fn cache_bytes(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| "it must fit into the address space".into())
}

/// Parses `--memory-file-max`. The limit is 1 MiB, because copying a larger file would delay the
/// other connections of the worker.
fn memory_file_max(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes > 1 << 20 => Err("it must be at most 1M".into()),
        bytes => Ok(bytes),
    }
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
