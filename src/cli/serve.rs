//! `ringd serve`, the default command: its options and their conversion into a plan.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};
use rustix::io::Errno;

use super::connections::connections;
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

/// All commands, also the hidden one. If a root that does not exist has one of these names, the
/// error explains where a command goes.
pub(super) const COMMANDS: &[&str] = &[
    "serve",
    "echo",
    "doctor",
    #[cfg(feature = "bench")]
    "bench",
    #[cfg(feature = "bench")]
    "bench-server",
    "connect",
];

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
    /// Turns a command line into a plan. Opens the root, tests the driver, and raises the soft
    /// limit of descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// When the root cannot be served, descriptors do not suffice, or the driver does not work.
    pub fn make(args: &ServeArgs) -> Result<Self, CommandError> {
        let links = args.content.symlinks.into();
        let root = open_root(&args.root, links)?;
        let content = args.content.content()?;
        let mut notes = notes(&root, links, &content);
        let descriptors = Descriptors::raise_limit(args.server.worker_count());
        let selection = args.server.selection()?;
        notes.extend_from_slice(&selection.notes);
        let cache_entries = descriptors.cache_entries(args.cache_entries, selection.kind);
        let connections_max = connections(descriptors, &args.server, cache_entries)?;
        Ok(Self {
            server: args.server.settings(connections_max, args.header_timeout)?,
            http: http::SiteSettings {
                root_path: Some(root_path(&args.root)?),
                content,
                memory_file_max: args.memory_file_max,
                cache_entries: cache_entries as usize,
                cache_bytes: args.cache_bytes,
                revalidate_after: args.revalidate,
                watch: !args.no_watch,
                lookups_max: (descriptors.opening() as u32 / http::site::OPENS_MAX as u32).max(1),
                ..http::SiteSettings::new(root)
            },
            selection,
            root: display_root(&args.root),
            notes,
        })
    }
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

/// Opens the root, and checks that `openat2(2)` works on it.
fn open_root(path: &Path, links: Links) -> Result<Arc<File>, CommandError> {
    let failed = |reason: &str| {
        let path = path.display();
        CommandError(format!("cannot serve {path}: {reason}"))
    };
    let root = File::open_root(path, links).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if let Ok(target) = path.read_link() => {
            let target = target.display();
            failed(&format!("it is a link to {target}, which does not exist; correct the link"))
        }
        io::ErrorKind::NotFound if is_command(path) => failed(
            "there is no such directory; if you meant the command, a command comes before \
                    its options",
        ),
        io::ErrorKind::NotFound => {
            failed("there is no such directory; name the one to serve, as in `ringd DIRECTORY`")
        }
        io::ErrorKind::PermissionDenied => {
            failed("permission denied; make the directory readable for the user of ringd")
        }
        _ => failed(&format!("{error}; check the directory")),
    })?;
    if root.metadata().kind != FileKind::Directory {
        return Err(failed("it is not a directory; name the directory that the file is in"));
    }
    match File::open_beneath(&root, c".") {
        Ok(_) => Ok(Arc::new(root)),
        Err(error) => Err(match Errno::from_io_error(&error) {
            Some(Errno::NOSYS) => {
                failed("the kernel does not have openat2(2); Linux 5.6 or newer is needed")
            }
            Some(Errno::PERM) => failed("openat2(2) is denied; allow it in the seccomp profile"),
            _ => failed(&format!("{error}; check the directory")),
        }),
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

/// Whether a root that does not exist is likely meant as a command.
fn is_command(root: &Path) -> bool {
    root.to_str().is_some_and(|root| COMMANDS.contains(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_an_unusable_root_names_cause_and_remedy() {
        let missing =
            open_root(Path::new("/no/such/directory"), Links::Beneath).unwrap_err().to_string();
        assert!(missing.contains("no such directory") && missing.contains("ringd DIRECTORY"));
        let file = open_root(Path::new("Cargo.toml"), Links::Beneath).unwrap_err().to_string();
        assert!(file.contains("not a directory"), "{file}");
    }

    #[test]
    fn the_error_of_a_command_after_options_says_where_it_goes() {
        let command = open_root(Path::new("echo"), Links::Beneath).unwrap_err().to_string();
        assert!(command.contains("before its options"), "{command}");
    }
}
