//! `ringd serve`, and `ringd` alone: its options, and the plan that they make.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};

use super::connections::connections;
use super::server::BOUNDS;
use super::value::{positive_time, size, time};
use super::{ContentArgs, Failure, ServerArgs};
use crate::descriptors::Descriptors;
use crate::driver::{DriverSelection, File, FileKind, Links};
use crate::http::RootPath;
use crate::http::site::FallbackUse;
use crate::{http, server};

/// Where help lists what is remembered of files.
const CACHE: &str = "Cache, for each worker";

/// The commands, the hidden one too: a directory that is not there may be meant as one of them.
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
    /// The directory to serve
    #[arg(default_value = "./html")]
    pub root: PathBuf,

    /// Options of all servers.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Options about what is made of the files.
    #[command(flatten)]
    pub content: ContentArgs,

    /// How long a request may take to arrive
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub header_timeout: Duration,

    /// Names that are remembered; each may hold a file open [default: 2048, or fewer where
    /// descriptors are short]
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(..=1_000_000),
        help_heading = CACHE
    )]
    pub cache_entries: Option<u32>,

    /// Bytes of small files and heads that are remembered
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "32M",
        value_parser = cache_bytes,
        help_heading = CACHE
    )]
    pub cache_bytes: usize,

    /// Files up to this size are sent from memory, larger ones by sendfile(2)
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "8K",
        value_parser = memory_file_max,
        help_heading = CACHE
    )]
    pub memory_file_max: u64,

    /// How long a remembered file is served before the file system is asked whether it changed
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = time,
        help_heading = CACHE
    )]
    pub revalidate: Duration,

    /// Do not let the kernel tell of changes (inotify): what is remembered is served for all of
    /// --revalidate
    #[arg(long, help_heading = CACHE)]
    pub no_watch: bool,
}

/// All that a run needs.
#[derive(Debug)]
pub struct ServePlan {
    /// For the server.
    pub server: server::ServerSettings,
    /// For its sessions.
    pub http: http::SiteSettings,
    /// The driver.
    pub selection: DriverSelection,
    /// The root, as it is called when it is told to a person.
    pub root: String,
    /// What the operator should know before anybody is served, a line each.
    pub notes: Vec<String>,
}

impl ServePlan {
    /// Turns a command line into settings, looking at the machine where it must.
    ///
    /// Raises the soft limit of descriptors to the hard one.
    ///
    /// # Errors
    ///
    /// When the root cannot be served, the limits do not suffice, or the driver does not work.
    pub fn make(args: &ServeArgs) -> Result<Self, Failure> {
        let links = args.content.symlinks.into();
        let root = open_root(&args.root, links)?;
        let content = args.content.content()?;
        let notes = notes(&root, links, &content);
        let descriptors = Descriptors::raise_limit(args.server.worker_count());
        let selection = args.server.selection()?;
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
            root: name_of(&args.root),
            notes,
        })
    }
}

/// The root as it was given, from the top; and where it leads at the moment, if there is a link on
/// the way.
fn name_of(root: &Path) -> String {
    let name = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    // Dots are no links.
    let name = name.components().collect::<PathBuf>();
    match root.canonicalize() {
        Ok(real) if real != name => format!("{} (now {})", name.display(), real.display()),
        _ => name.display().to_string(),
    }
}

/// What may surprise, though it may be meant.
fn notes(root: &File, links: Links, content: &http::Content) -> Vec<String> {
    let mut notes = Vec::new();
    if links == Links::Follow {
        let note = "all symbolic links are followed, out of the root too, as --symlinks says";
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
            notes.push(format!("{option}: there is no file /{path} in the root yet"));
        }
    }
    notes
}

/// Bytes of the cache.
fn cache_bytes(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| "it must be less than the address space".into())
}

/// Bytes of a file that is kept in memory. A larger one would hold up others while it is copied.
fn memory_file_max(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes > 1 << 20 => Err("it must be at most 1M".into()),
        bytes => Ok(bytes),
    }
}

/// Opens the root, and makes sure that files beneath it can be opened the safe way.
fn open_root(path: &Path, links: Links) -> Result<Arc<File>, Failure> {
    let failed = |reason: &str| {
        let path = path.display();
        Failure(format!("cannot serve {path}: {reason}"))
    };
    let root = File::open_root(path, links).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if let Ok(target) = path.read_link() => {
            let target = target.display();
            failed(&format!("it is a link to {target}, and there is no such directory"))
        }
        io::ErrorKind::NotFound if is_command(path) => {
            failed("there is no such directory; a command comes before its options")
        }
        io::ErrorKind::NotFound => {
            failed("there is no such directory; name the one to serve, as in `ringd DIRECTORY`")
        }
        io::ErrorKind::PermissionDenied => {
            failed("permission denied; the directory must be readable for the user of ringd")
        }
        _ => failed(&error.to_string()),
    })?;
    if root.metadata().kind != FileKind::Directory {
        return Err(failed("it is not a directory; name the directory that the file is in"));
    }
    match File::open_beneath(&root, c".") {
        Ok(_) => Ok(Arc::new(root)),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(failed("the kernel lacks openat2(2); Linux 5.6 or newer is needed"))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            Err(failed("openat2(2) is denied; allow it in the seccomp profile"))
        }
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// What leads to the root, and will lead to another one when a link on the way is turned.
fn root_path(path: &Path) -> Result<RootPath, Failure> {
    let failed = |error: io::Error| {
        let here = "the current directory cannot be read";
        Failure(format!("{here}: {error}; start ringd in another one"))
    };
    // An absolute path needs no beginning, and the current directory may be closed to us.
    let base = if path.is_absolute() { "/" } else { "." };
    let base = File::open_root(Path::new(base), Links::Follow).map_err(failed)?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    Ok(RootPath { base: Arc::new(base), path })
}

/// Whether a root that does not exist is rather a command behind options.
fn is_command(root: &Path) -> bool {
    root.to_str().is_some_and(|root| COMMANDS.contains(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_root_names_cause_and_remedy() {
        let missing =
            open_root(Path::new("/no/such/directory"), Links::Beneath).unwrap_err().to_string();
        assert!(missing.contains("no such directory") && missing.contains("ringd DIRECTORY"));
        let file = open_root(Path::new("Cargo.toml"), Links::Beneath).unwrap_err().to_string();
        assert!(file.contains("not a directory"), "{file}");
    }

    #[test]
    fn a_command_behind_options_is_told_from_a_directory() {
        let command = open_root(Path::new("echo"), Links::Beneath).unwrap_err().to_string();
        assert!(command.contains("before its options"), "{command}");
    }
}
