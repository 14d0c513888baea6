//! `ringd passwd`: sets the password of a user in a file, or prints the line for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::CommandError;
use super::hidden_line::ask_hidden;
use crate::passwords::{PasswordHash, USERS_BYTES_MAX, check_name};

/// Who may read a new file: its owner, and the group of the server.
const MODE: u32 = 0o640;

/// The longest password, in bytes; the server compares no longer ones.
const PASSWORD_BYTES_MAX: usize = 1024;

/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 2 * PASSWORD_BYTES_MAX;

/// How long another program may keep the directory of the file locked, and how often it is looked
/// whether it still does. `ringd passwd` keeps it for as long as it takes to write the file.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

const AFTER_HELP: &str = "\
The password is asked for twice; if standard input is no terminal, its first line is the password.
It is hashed with Argon2id (19 MiB, 2 passes). A server takes the change with `ringd reload`, or at
SIGHUP.";

/// The command line of `ringd passwd`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct PasswdArgs {
    /// Name of the user
    #[arg(value_name = "USER", value_parser = user_name)]
    pub user: String,

    /// File of the users; without it, the line for it is printed
    ///
    /// It is made if it does not exist. Other lines stay as they are
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

fn user_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// Runs the command.
pub(super) fn run(args: &PasswdArgs) -> Result<ExitCode, CommandError> {
    // A mistake in the path is told before the password is typed.
    args.file.as_deref().map(UsersFile::read).transpose()?;
    let password = ask(&args.user)?;
    let hash = PasswordHash::make(password.as_bytes());
    let hash = hash.map_err(|error| CommandError(format!("cannot hash the password: {error}")))?;
    let line = format!("{}:{}", args.user, hash.text());
    let written = match args.file.as_deref() {
        Some(path) => {
            let _lock = lock(path)?;
            // The file may have changed while the password was typed.
            UsersFile::read(path)?.replace(&args.user, &line)?
        }
        None => {
            let mut out = io::stdout();
            let written = writeln!(out, "{line}").and_then(|()| out.flush());
            return written.map(|()| ExitCode::SUCCESS).map_err(|error| {
                CommandError(format!("cannot write the line to standard output: {error}"))
            });
        }
    };
    // The result does not depend on whether somebody reads this.
    let _ = writeln!(io::stderr(), "ringd: {written}");
    Ok(ExitCode::SUCCESS)
}

/// The password from the terminal, or from standard input.
fn ask(user: &str) -> Result<String, CommandError> {
    let failed = |error: io::Error| CommandError(format!("cannot read the password: {error}"));
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let hidden = |prompt: &str| -> Result<String, CommandError> {
            let line = ask_hidden(prompt, LINE_BYTES_MAX).map_err(failed)?;
            let line = String::from_utf8(line);
            let line = line.map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
            Ok(line.trim_end_matches(['\r', '\n']).to_owned())
        };
        let first = hidden(&format!("Password of {user}: "))?;
        if first != hidden("Again: ")? {
            return Err(CommandError("the passwords differ; nothing was changed".to_owned()));
        }
        first
    } else {
        let mut line = String::new();
        let mut input = stdin.lock().take(LINE_BYTES_MAX as u64);
        input.read_line(&mut line).map_err(failed)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    let reason = match password.len() {
        0 => "the password is empty; nothing was changed",
        // RFC 7617 section 2.
        _ if password.chars().any(char::is_control) => {
            "the password has a control character, which browsers cannot send"
        }
        1..=PASSWORD_BYTES_MAX => return Ok(password),
        _ => "the password has more than 1024 bytes; choose a shorter one",
    };
    Err(CommandError(reason.to_owned()))
}

/// Waits until no other `ringd passwd` changes a file in the same directory, and keeps others from
/// it as long as the result is open. The directory is locked, because the file is replaced.
/// Without the right to read the directory, nothing is locked.
fn lock(path: &Path) -> Result<Option<File>, CommandError> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let Ok(opened) = File::open(folder) else { return Ok(None) };
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(opened)),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let folder = folder.display();
                return Err(CommandError(format!(
                    "another program has locked the directory {folder}; try again when it has \
                     ended; nothing was changed"
                )));
            }
            // Not every file system has locks.
            Err(_) => return Ok(None),
        }
    }
}

/// Who may do what with a file.
struct FileRights {
    uid: u32,
    gid: u32,
    /// The bits of `chmod(2)`.
    mode: u32,
}

/// A file of users, as it is.
struct UsersFile {
    path: PathBuf,
    text: String,
    /// `None` if the file does not exist.
    rights: Option<FileRights>,
}

impl UsersFile {
    fn read(path: &Path) -> Result<Self, CommandError> {
        let name = path.display();
        // A link stays, and the file that it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                    let folder = folder.display();
                    let reason = format!("the directory {folder} does not exist; make it");
                    return Err(CommandError(format!("cannot write {name}: {reason}")));
                }
                return Ok(Self { path, text: String::new(), rights: None });
            }
            Err(error) => {
                return Err(CommandError(format!("cannot read {name}: {error}")));
            }
        };
        if !metadata.is_file() || metadata.len() > USERS_BYTES_MAX {
            return Err(CommandError(format!("{name} is not a file of users; correct the path")));
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| CommandError(format!("cannot read {name}: {error}")))?;
        let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o777);
        Ok(Self { path, text, rights: Some(FileRights { uid, gid, mode }) })
    }

    /// Replaces the line of a user, or appends one. Returns what was done.
    fn replace(self, user: &str, line: &str) -> Result<String, CommandError> {
        let is_of_user =
            |other: &str| other.trim_ascii().split_once(':').is_some_and(|(name, _)| name == user);
        let is_known = self.text.lines().any(is_of_user);
        let mut text = String::new();
        let mut is_written = false;
        for other in self.text.lines() {
            match (is_of_user(other), is_written) {
                (true, false) => text += line,
                // A second line of the user would be a mistake.
                (true, true) => continue,
                (false, _) => text += other,
            }
            is_written |= is_of_user(other);
            text.push('\n');
        }
        if !is_written {
            text += line;
            text.push('\n');
        }
        let name = self.path.display().to_string();
        self.write(&text).map_err(|error| {
            CommandError(format!("cannot write {name}: {error}; nothing was changed"))
        })?;
        let done = if is_known { "changed the password of" } else { "added" };
        Ok(format!("{done} {user} in {name}"))
    }

    /// Writes another file, and renames it, so that a reader sees the old one or the new one.
    fn write(&self, text: &str) -> io::Result<()> {
        let Some(name) = self.path.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.new", std::process::id()));
        let temporary = self.path.with_file_name(temporary);
        let _ = fs::remove_file(&temporary);
        let written = self.write_to(&temporary, text);
        let done = written.and_then(|()| fs::rename(&temporary, &self.path));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }

    fn write_to(&self, temporary: &Path, text: &str) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(text.as_bytes())?;
        if let Some(rights) = &self.rights {
            keep_owner(&file, rights.uid, rights.gid)?;
        }
        let mode = self.rights.as_ref().map_or(MODE, |rights| rights.mode);
        // Whatever the mask of the process is.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    }
}

/// Gives a file the owner and the group of the one that it replaces. Without that, a server might
/// not be able to read it any more.
fn keep_owner(file: &File, uid: u32, gid: u32) -> io::Result<()> {
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) == (uid, gid) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(uid), Some(gid))
}
