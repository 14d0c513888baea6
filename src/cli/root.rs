//! Opens the root of `ringd serve`, and explains why a directory cannot be served.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::CommandError;
use crate::driver::{File, FileKind, Links, calls};
use crate::sandbox;
use crate::server::ListenSpec;

/// The command that `ringd bench` starts; nobody types it.
const HIDDEN: &str = "bench-server";

/// All commands, also the hidden one. If a root that does not exist has one of these names, the
/// error explains where a command goes.
pub(super) const COMMANDS: &[&str] = &[
    "serve",
    "echo",
    "tour",
    "doctor",
    "check",
    "reload",
    "health",
    "config",
    "passwd",
    #[cfg(feature = "precompress")]
    "precompress",
    #[cfg(feature = "bench")]
    "bench",
    #[cfg(feature = "bench")]
    HIDDEN,
    "connect",
];

/// The first version of Linux that has `openat2(2)`.
const OPENAT2_SINCE: (u32, u32) = (5, 6);

/// Whether nothing is at a path. One that cannot be looked at counts as there.
pub(super) fn is_missing(path: &Path) -> bool {
    path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Opens the root, and checks that `openat2(2)` works on it.
pub(super) fn open_root(path: &Path, links: Links) -> Result<Arc<File>, CommandError> {
    let path_name = path.display();
    root_reason(path, links)
        .map_err(|reason| CommandError(format!("cannot serve {path_name}: {reason}")))
}

/// Opens the root; the error is why it cannot be served, without its path.
pub(super) fn root_reason(path: &Path, links: Links) -> Result<Arc<File>, String> {
    let failed = |reason: &str| reason.to_owned();
    // Opening a FIFO would wait for a writer.
    if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(no_directory(path));
    }
    let root = File::open_root(path, links).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => {
            let target = path.read_link().unwrap_or_default();
            let target = target.display();
            failed(&format!("it is a link to {target}, which does not exist; correct the link"))
        }
        io::ErrorKind::NotFound if is_command(path) => failed(
            "there is no such directory; if you meant the command, a command comes before \
                    its options",
        ),
        io::ErrorKind::NotFound => without_directory(path.to_str().unwrap_or("")),
        io::ErrorKind::PermissionDenied => failed(&denied(path, &error)),
        _ => failed(&format!("{error}; check the directory")),
    })?;
    if root.metadata().kind != FileKind::Directory {
        return Err(no_directory(path));
    }
    match File::open_beneath(&root, c".") {
        Ok(_) => Ok(Arc::new(root)),
        Err(error) => Err(failed(&without_openat2(path, &error))),
    }
}

/// Explains that there is no root of this name, and what the word may mean.
fn without_directory(word: &str) -> String {
    let meant = match similar_command(word) {
        Some(name) => Some(format!("if you meant the command: ringd {name}")),
        None => foreign_word(word),
    };
    let remedy = || "name the one to serve, as in `ringd DIRECTORY`".to_owned();
    format!("there is no such directory; {}", meant.unwrap_or_else(remedy))
}

/// What to do about a root that is no directory.
fn no_directory(path: &Path) -> String {
    if path.extension().is_some_and(|extension| extension == "toml") {
        let path = path.display();
        return format!("it is not a directory; as a configuration file: ringd -c {path}");
    }
    "it is not a directory; name the directory that the file is in".to_owned()
}

/// Explains why the root may not be opened: names the directory that is closed.
fn denied(root: &Path, error: &io::Error) -> String {
    let closed = closed_directory(root);
    match (error.raw_os_error(), closed) {
        (Some(libc::EACCES), Some(closed)) if closed == root => {
            "permission denied; make the directory readable for the user of ringd, as with `chmod \
             o+rx`"
                .to_owned()
        }
        (Some(libc::EACCES), Some(closed)) => {
            let closed = closed.display();
            format!(
                "permission denied, because the user of ringd may not search {closed}; allow it, \
                 as with `chmod o+x {closed}`"
            )
        }
        _ if sandbox::confines_files() => format!(
            "the sandbox of this process does not allow reading {}, because nothing beside it was \
             configured when ringd started; restart ringd",
            root.display()
        ),
        _ => format!(
            "open(2): {error}; the permissions of the directories allow it, so a security module \
             or a sandbox denies it: look for the rule with `journalctl -k --grep 'avc|apparmor'`"
        ),
    }
}

/// The first directory on the way to the root, or the root itself, that permissions close.
fn closed_directory(root: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut above: Vec<&Path> = absolute.ancestors().skip(1).collect();
    above.reverse();
    let is_closed = |path: &Path, wanted| access(path, wanted) == Err(Errno::ACCESS);
    match above.into_iter().find(|path| is_closed(path, Access::EXEC_OK)) {
        Some(closed) => Some(closed.to_owned()),
        None => is_closed(root, Access::READ_OK | Access::EXEC_OK).then(|| root.to_owned()),
    }
}

/// Explains why `openat2(2)` fails on the root.
fn without_openat2(root: &Path, error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EACCES) && closed_directory(root).is_some() {
        return denied(root, error);
    }
    let release = calls::kernel_release().unwrap_or_default();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let version = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    let has_it = version.is_some_and(|version| version >= OPENAT2_SINCE);
    match Errno::from_io_error(error) {
        Some(Errno::NOSYS) if !has_it => {
            "the kernel does not have openat2(2); Linux 5.6 or newer is needed".to_owned()
        }
        // Permissions are not the cause: they allow open(2), and are checked above.
        Some(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => format!(
            "openat2(2): {error}; a seccomp filter denies the call; allow it in the profile of the \
             container or in the SystemCallFilter of the unit; of systemd's options, \
             RestrictSUIDSGID= and DynamicUser= deny it too"
        ),
        _ => format!("openat2(2): {error}; check the directory"),
    }
}

/// What a word means to other programs: commands, addresses, and values of options that take none
/// here.
pub(super) fn foreign_word(word: &str) -> Option<String> {
    let meaning = match word {
        "version" => "the version: ringd --version",
        "start" | "run" | "up" | "file-server" => "to serve a directory: ringd DIRECTORY",
        "stop" | "quit" | "shutdown" => "to stop a server, send it SIGTERM with kill(1)",
        "status" => "to see whether a server responds: ringd health",
        "test" | "validate" => "to check a configuration file: ringd check FILE",
        "*" => "--cors takes no value, and allows all origins",
        _ if word.starts_with("http://") || word.starts_with("https://") => {
            "ringd serves files and is no proxy; --cors takes no value"
        }
        "gzip" | "br" | "zstd" => {
            return Some(format!("a value of --compress is written --compress={word}"));
        }
        _ => {
            let address = word.parse::<ListenSpec>().ok()?;
            return Some(format!("to listen there, write --listen {address}"));
        }
    };
    Some(meaning.to_owned())
}

/// The command that `word` is a mistyped form of: at most one letter in three is wrong, where two
/// letters in the wrong order are one mistake.
pub(super) fn similar_command(word: &str) -> Option<&'static str> {
    let mistakes = |name: &str| strsim::osa_distance(word, name);
    // `--health` is an option of other servers, and no mistyped command.
    let is_word = !word.starts_with('-');
    let names = COMMANDS.iter().copied().filter(|name| is_word && *name != HIDDEN);
    let near = names.filter(|name| (1..=name.len() / 3).contains(&mistakes(name)));
    near.min_by_key(|name| mistakes(name))
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
    fn an_address_in_place_of_a_root_is_explained() {
        for (word, listen) in [
            (":8080", ":8080"),
            ("*:8080", ":8080"),
            ("8080", "127.0.0.1:8080"),
            ("localhost:8080", "localhost:8080"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let error = open_root(Path::new(word), Links::Beneath).unwrap_err().to_string();
            let end = format!("no such directory; to listen there, write --listen {listen}");
            assert!(error.ends_with(&end), "{error}");
        }
        for word in ["site", "localhost", "65536", "a:b"] {
            assert_eq!(foreign_word(word), None, "{word}");
        }
    }

    #[test]
    fn the_error_of_a_command_after_options_says_where_it_goes() {
        let command = open_root(Path::new("echo"), Links::Beneath).unwrap_err().to_string();
        assert!(command.contains("before its options"), "{command}");
    }
}
