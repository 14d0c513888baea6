//! Listening on a Unix socket.
//!
//! The socket gets a temporary name in its directory, then its rights, then listens, and only then
//! is renamed. So nobody can connect before the rights are right, and the umask of the process,
//! which all threads share, is left alone. `ss -xl` shows the temporary name.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Group as SystemGroup, User};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use socket2::{Domain, SockAddr, Socket, Type};

use super::listen_spec_error::ListenSpecError;
use super::listener::BACKLOG;
use super::unix_address::{Account, UNIX_NAME_MAX, UnixAddress, UnixOptions};

/// Bytes of a temporary name besides those of the socket's own: a dot at both ends of it, and
/// [`RANDOM_LETTERS`].
const EXTRA_BYTES: usize = 2 + RANDOM_LETTERS;

/// Random letters at the end of a temporary name.
const RANDOM_LETTERS: usize = 4;

/// How often another temporary name is tried, or the final name is looked at again.
const ATTEMPTS_MAX: u8 = 8;

/// Why a Unix socket cannot be listened on: the cause and a remedy.
#[derive(Debug)]
pub struct UnixListenError {
    address: UnixAddress,
    cause: UnixCause,
}

#[derive(Debug)]
enum UnixCause {
    /// The address is none.
    Address(ListenSpecError),
    /// The directory is too long for the temporary name.
    LongDirectory(usize),
    /// The mode has bits that mean nothing for a socket.
    Mode(u32),
    /// There is no such user or group.
    NoAccount(&'static str, String),
    /// The user or group cannot be looked up.
    Accounts(&'static str, io::Error),
    /// A server accepts connections there.
    InUse,
    /// This server listens there already.
    Own,
    /// This server listens there already, and the rights are to change.
    OtherRights,
    /// The process may not find out whether a server accepts connections there.
    Unknown(io::Error),
    /// There is a file that is no socket.
    NoSocket,
    /// Other servers begin to listen there all the time.
    Changing,
    /// The owner or the group cannot be set.
    Owner(io::Error),
    /// A call has failed.
    Call(&'static str, io::Error),
}

impl fmt::Display for UnixListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, cause } = self;
        write!(f, "cannot listen on {address}: ")?;
        match cause {
            UnixCause::Address(error) => error.fmt(f),
            UnixCause::LongDirectory(bytes) => write!(
                f,
                "the directory has {bytes} bytes, and at most {} leave room for a temporary name \
                 (unix(7)); use a shorter path",
                UNIX_NAME_MAX - 1 - EXTRA_BYTES
            ),
            UnixCause::Mode(mode) => {
                write!(f, "{mode:#o} is not the mode of a socket, which is from 0 to 0o777")
            }
            UnixCause::NoAccount(kind, name) => write!(
                f,
                "there is no {kind} {name}; `getent passwd` and `getent group` list them, and a \
                 number works as well"
            ),
            UnixCause::Accounts(kind, error) => {
                write!(f, "the {kind} cannot be looked up: {error}; use its number")
            }
            UnixCause::InUse => write!(
                f,
                "another server accepts connections there; stop it (`ss -xlp` shows it), or choose \
                 another name"
            ),
            UnixCause::Own => {
                write!(f, "this server listens there already; leave out one of the two")
            }
            UnixCause::OtherRights => write!(
                f,
                "this server listens there already, and cannot change mode, owner or group of a \
                 socket that it accepts from; restart ringd, or choose another path"
            ),
            UnixCause::Unknown(error) => write!(
                f,
                "there is a socket, and connecting to it, to see whether a server uses it, fails: \
                 {error}; stop that server and remove the socket, or choose another path"
            ),
            UnixCause::NoSocket => write!(
                f,
                "the file is not a socket, and is left alone; remove it, or choose another path"
            ),
            UnixCause::Changing => write!(
                f,
                "other processes make sockets there at the same time; start one server at a time"
            ),
            UnixCause::Owner(error) => write!(
                f,
                "the owner or the group cannot be set: chown(2): {error}; only root may choose \
                 another owner, and others only a group to which they belong"
            ),
            UnixCause::Call(call, error) => {
                write!(f, "{call}: {error}; {}", remedy(error, address))
            }
        }
    }
}

/// What to do if a call fails, mostly for the directory of the socket.
fn remedy(error: &io::Error, address: &UnixAddress) -> String {
    let directory = address.as_path().and_then(Path::parent).unwrap_or(Path::new("/")).display();
    match error.raw_os_error() {
        Some(libc::ENOENT) => format!("create the directory {directory}"),
        Some(libc::ENOTDIR) => format!("{directory} is not a directory; choose another path"),
        Some(libc::EACCES | libc::EPERM) => {
            format!("let the process write to the directory {directory}, or choose another path")
        }
        Some(libc::EROFS) => format!(
            "{directory} is read-only; choose another path, or name it in ReadWritePaths of the \
             unit"
        ),
        Some(libc::EAFNOSUPPORT) => "add AF_UNIX to RestrictAddressFamilies of the unit".into(),
        Some(libc::EMFILE) => "raise the limit of descriptors with `ulimit -n`".into(),
        _ => "choose another path".into(),
    }
}

impl std::error::Error for UnixListenError {}

impl UnixListenError {
    /// The server listens at this address already, with other rights.
    pub(super) fn other_rights(address: &UnixAddress) -> Self {
        Self { address: address.clone(), cause: UnixCause::OtherRights }
    }
}

/// The file of a socket. Dropping this removes it, unless it was replaced meanwhile.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), path })
    }

    /// Whether a path leads to this file.
    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_at(&self.path) {
            // If the process may not, the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket that listens, and its file unless the name is abstract. `own` are the files of
/// the sockets on which this server listens already.
pub(super) fn listen<'a>(
    address: &UnixAddress,
    options: &UnixOptions,
    own: impl Iterator<Item = &'a SocketFile>,
) -> Result<(OwnedFd, Option<SocketFile>), UnixListenError> {
    let fail = |cause| UnixListenError { address: address.clone(), cause };
    address.check().map_err(|error| fail(UnixCause::Address(error)))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)
        .map_err(|error| fail(UnixCause::Call("socket(2)", error)))?;
    let file = match address {
        UnixAddress::Abstract(name) => listen_abstract(&socket, name).map(|()| None),
        UnixAddress::Path(path) => {
            let is_own = |file: &SocketFile| file.is_at(path);
            if { own }.any(is_own) {
                Err(UnixCause::Own)
            } else {
                listen_at(&socket, path, options)
            }
        }
    };
    Ok((socket.into(), file.map_err(fail)?))
}

fn listen_abstract(socket: &Socket, name: &str) -> Result<(), UnixCause> {
    let call = |name| move |error: io::Error| UnixCause::Call(name, error);
    let address = SockAddr::unix(format!("\0{name}")).map_err(call("bind(2)"))?;
    socket.bind(&address).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => UnixCause::InUse,
        _ => UnixCause::Call("bind(2)", error),
    })?;
    socket.listen(BACKLOG).map_err(call("listen(2)"))
}

fn listen_at(
    socket: &Socket,
    path: &Path,
    options: &UnixOptions,
) -> Result<Option<SocketFile>, UnixCause> {
    let call = |name| move |error: io::Error| UnixCause::Call(name, error);
    if options.mode > 0o777 {
        return Err(UnixCause::Mode(options.mode));
    }
    let owner = options.owner.as_ref().map(user_id).transpose()?;
    let group = options.group.as_ref().map(group_id).transpose()?;
    // Before anything is made. A stale socket stays until the new one is ready.
    find_stale(path)?;
    let mut file = bind_beside(socket, path)?;
    fs::set_permissions(&file.path, fs::Permissions::from_mode(options.mode))
        .map_err(call("chmod(2)"))?;
    if owner.is_some() || group.is_some() {
        lchown(&file.path, owner, group).map_err(UnixCause::Owner)?;
    }
    socket.listen(BACKLOG).map_err(call("listen(2)"))?;
    for _ in 0..ATTEMPTS_MAX {
        drop(find_stale(path)?.map(|(device, inode)| SocketFile {
            path: path.into(),
            device,
            inode,
        }));
        match rename_to_new(&file.path, path) {
            Ok(()) => {
                file.path = path.to_owned();
                return Ok(Some(file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(UnixCause::Call("rename(2)", error)),
        }
    }
    Err(UnixCause::Changing)
}

/// Looks at what has the name: nothing, or a socket on which nobody listens, by its device and
/// inode. All else is an error.
fn find_stale(path: &Path) -> Result<Option<(u64, u64)>, UnixCause> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|error| UnixCause::Call("lstat(2)", error))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(UnixCause::NoSocket);
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    let address = SockAddr::unix(path);
    let connected = client.and_then(|client| client.connect(&address?));
    match connected {
        Ok(()) => Err(UnixCause::InUse),
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Ok(Some((metadata.dev(), metadata.ino()))),
            Some(libc::ENOENT) => Ok(None),
            // Its queue is full, or it takes datagrams.
            Some(libc::EAGAIN | libc::EPROTOTYPE) => Err(UnixCause::InUse),
            _ => Err(UnixCause::Unknown(error)),
        },
    }
}

/// Binds a socket to a temporary name in the directory of `path`.
fn bind_beside(socket: &Socket, path: &Path) -> Result<SocketFile, UnixCause> {
    let call = |error| UnixCause::Call("bind(2)", error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().as_bytes();
    // Without the slash behind it, which the root directory has.
    let bytes = directory.as_os_str().len() - usize::from(directory == Path::new("/"));
    let Some(room) = (UNIX_NAME_MAX - 1 - EXTRA_BYTES).checked_sub(bytes) else {
        return Err(UnixCause::LongDirectory(bytes));
    };
    let mut error = io::ErrorKind::AddrInUse.into();
    for _ in 0..ATTEMPTS_MAX {
        let mut temporary = b".".to_vec();
        temporary.extend_from_slice(&name[..name.len().min(room)]);
        temporary.push(b'.');
        temporary.extend((0..RANDOM_LETTERS).map(|_| fastrand::alphanumeric() as u8));
        let temporary = directory.join(std::ffi::OsStr::from_bytes(&temporary));
        match socket.bind(&SockAddr::unix(&temporary).map_err(call)?) {
            Ok(()) => return SocketFile::of(temporary).map_err(call),
            Err(failed) if failed.kind() == io::ErrorKind::AddrInUse => error = failed,
            Err(failed) => return Err(call(failed)),
        }
    }
    Err(call(error))
}

/// Renames a file if nothing has the new name.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag. Then a file that appears just now is replaced.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

fn user_id(account: &Account) -> Result<u32, UnixCause> {
    id_of("user", account, |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

fn group_id(account: &Account) -> Result<u32, UnixCause> {
    id_of(
        "group",
        account,
        |name| Ok(SystemGroup::from_name(name)?.map(|group| group.gid.as_raw())),
    )
}

fn id_of(
    kind: &'static str,
    account: &Account,
    look_up: impl Fn(&str) -> io::Result<Option<u32>>,
) -> Result<u32, UnixCause> {
    match account {
        // chown(2) takes this number for "leave it as it is".
        Account::Id(u32::MAX) => Err(UnixCause::NoAccount(kind, account.to_string())),
        Account::Id(id) => Ok(*id),
        Account::Name(name) => look_up(name)
            .map_err(|error| UnixCause::Accounts(kind, error))?
            .ok_or_else(|| UnixCause::NoAccount(kind, name.clone())),
    }
}

#[cfg(test)]
mod tests;
