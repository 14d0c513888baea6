//! Listening on a Unix socket.
//!
//! The socket gets a temporary name in its directory, then its rights, then listens, and only then
//! is renamed. So nobody can connect before the rights are right, and the umask of the process,
//! which all threads share, is left alone. `ss -xl` shows the temporary name.

use std::fmt;
use std::fs;
use std::io;
#[cfg(any(feature = "cli", test))]
use std::iter;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Group as SystemGroup, User};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::endpoint::Endpoint;
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
    /// This server has not closed its last socket of this name yet.
    Closing,
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
            UnixCause::Closing => write!(
                f,
                "this server still closes the socket that it had there before; try again, or \
                 choose another name"
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

    /// The address, if another socket has it.
    pub(super) fn busy(&self) -> Option<Endpoint> {
        let is_busy = matches!(self.cause, UnixCause::InUse | UnixCause::Closing);
        is_busy.then(|| Endpoint::Unix(self.address.clone()))
    }

    /// The same error, with a better cause if this server is still closing a socket of this name.
    pub(super) fn while_closing(mut self) -> Self {
        if matches!(self.cause, UnixCause::InUse) {
            self.cause = UnixCause::Closing;
        }
        self
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

    /// The file at a path, if it is the one with this device and inode.
    pub(crate) fn at(path: &Path, (device, inode): (u64, u64)) -> Option<Self> {
        let file = std::mem::ManuallyDrop::new(Self { path: path.to_owned(), device, inode });
        file.is_at(path).then(|| std::mem::ManuallyDrop::into_inner(file))
    }

    /// Device and inode.
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Leaves the file to another process, which removes it.
    #[cfg(feature = "cli")]
    pub(crate) fn give_up(mut self) {
        // There is no file without a name.
        self.path = PathBuf::new();
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

/// A Unix socket that can be listened on, as far as that is known before anything is made.
#[derive(Debug)]
pub(super) struct UnixPlan {
    address: UnixAddress,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
}

/// A Unix socket that no client can reach yet: it has a temporary name, or does not listen.
#[derive(Debug)]
pub(super) struct BoundUnixSocket {
    address: UnixAddress,
    pub(super) socket: OwnedFd,
    /// The file, with its temporary name.
    file: Option<SocketFile>,
}

impl UnixPlan {
    /// Looks up owner and group, which may take long, and looks at what has the name. Changes
    /// nothing. `own` are the files of the sockets on which this server listens already.
    pub(super) fn make<'a>(
        address: &UnixAddress,
        options: &UnixOptions,
        own: impl Iterator<Item = &'a SocketFile>,
    ) -> Result<Self, UnixListenError> {
        let fail = |cause| UnixListenError { address: address.clone(), cause };
        address.check().map_err(|error| fail(UnixCause::Address(error)))?;
        let UnixOptions { mode, owner, group } = options;
        if *mode > 0o777 {
            return Err(fail(UnixCause::Mode(*mode)));
        }
        if let UnixAddress::Path(path) = address {
            find_stale_among(path, own).map_err(fail)?;
        }
        Ok(Self {
            address: address.clone(),
            mode: *mode,
            owner: owner.as_ref().map(user_id).transpose().map_err(fail)?,
            group: group.as_ref().map(group_id).transpose().map_err(fail)?,
        })
    }

    /// Makes the socket. A stale one stays until [`BoundUnixSocket::publish`].
    pub(super) fn bind(&self) -> Result<BoundUnixSocket, UnixListenError> {
        let address = self.address.clone();
        let fail = |cause| UnixListenError { address: self.address.clone(), cause };
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)
            .map_err(|error| fail(UnixCause::Call("socket(2)", error)))?;
        let file = match &self.address {
            UnixAddress::Abstract(name) => bind_abstract(&socket, name).map(|()| None),
            UnixAddress::Path(path) => self.bind_at(&socket, path).map(Some),
        };
        Ok(BoundUnixSocket { address, file: file.map_err(fail)?, socket: socket.into() })
    }

    /// Binds the socket to a temporary name, sets its rights, and listens.
    fn bind_at(&self, socket: &Socket, path: &Path) -> Result<SocketFile, UnixCause> {
        let call = |name| move |error: io::Error| UnixCause::Call(name, error);
        let file = bind_beside(socket, path)?;
        fs::set_permissions(&file.path, fs::Permissions::from_mode(self.mode))
            .map_err(call("chmod(2)"))?;
        if self.owner.is_some() || self.group.is_some() {
            lchown(&file.path, self.owner, self.group).map_err(UnixCause::Owner)?;
        }
        socket.listen(BACKLOG).map_err(call("listen(2)"))?;
        Ok(file)
    }
}

impl BoundUnixSocket {
    /// Lets clients connect. `own` are the files of the sockets on which this server listens
    /// already. Returns the socket and its file, unless the name is abstract.
    pub(super) fn publish<'a>(
        self,
        own: impl Iterator<Item = &'a SocketFile>,
    ) -> Result<(OwnedFd, Option<SocketFile>), UnixListenError> {
        let Self { address, socket, file } = self;
        let published = match (&address, file) {
            (UnixAddress::Path(path), Some(file)) => rename(file, path, own).map(Some),
            _ => SockRef::from(&socket)
                .listen(BACKLOG)
                .map(|()| None)
                .map_err(|error| UnixCause::Call("listen(2)", error)),
        };
        match published {
            Ok(file) => Ok((socket, file)),
            Err(cause) => Err(UnixListenError { address, cause }),
        }
    }
}

/// Makes a socket that listens, and its file unless the name is abstract.
#[cfg(any(feature = "cli", test))]
pub(crate) fn listen(
    address: &UnixAddress,
    options: &UnixOptions,
) -> Result<(OwnedFd, Option<SocketFile>), UnixListenError> {
    UnixPlan::make(address, options, iter::empty())?.bind()?.publish(iter::empty())
}

fn bind_abstract(socket: &Socket, name: &str) -> Result<(), UnixCause> {
    let call = |error| UnixCause::Call("bind(2)", error);
    let address = SockAddr::unix(format!("\0{name}")).map_err(call)?;
    socket.bind(&address).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => UnixCause::InUse,
        _ => call(error),
    })
}

/// Gives the file of a socket its name, unless a socket that is listened on has it.
fn rename<'a>(
    mut file: SocketFile,
    path: &Path,
    own: impl Iterator<Item = &'a SocketFile>,
) -> Result<SocketFile, UnixCause> {
    let mut stale = find_stale_among(path, own)?;
    for _ in 0..ATTEMPTS_MAX {
        drop(stale.map(|(device, inode)| SocketFile { path: path.into(), device, inode }));
        match rename_to_new(&file.path, path) {
            Ok(()) => {
                file.path = path.to_owned();
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(UnixCause::Call("rename(2)", error)),
        }
        stale = find_stale(path)?;
    }
    Err(UnixCause::Changing)
}

/// Like [`find_stale`], but tells the sockets of this server from those of others.
fn find_stale_among<'a>(
    path: &Path,
    mut own: impl Iterator<Item = &'a SocketFile>,
) -> Result<Option<(u64, u64)>, UnixCause> {
    if own.any(|file| file.is_at(path)) { Err(UnixCause::Own) } else { find_stale(path) }
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

/// Checks what the path or name of a socket must be to be listened on, whatever files there are.
#[cfg(feature = "cli")]
pub(crate) fn check(address: &UnixAddress) -> Result<(), ListenSpecError> {
    address.check()?;
    address.as_path().map_or(Ok(()), |path| temporary_room(path).map(drop))
}

/// How many bytes of the name of a socket a temporary name in its directory has room for.
fn temporary_room(path: &Path) -> Result<usize, ListenSpecError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Without the slash behind it, which the root directory has.
    let bytes = directory.as_os_str().len() - usize::from(directory == Path::new("/"));
    let bytes_max = UNIX_NAME_MAX - 1 - EXTRA_BYTES;
    bytes_max.checked_sub(bytes).ok_or_else(|| {
        ListenSpecError::unix(format!(
            "the directory has {bytes} bytes, and at most {bytes_max} leave room for a temporary \
             name (unix(7)); use a shorter path"
        ))
    })
}

/// Binds a socket to a temporary name in the directory of `path`.
fn bind_beside(socket: &Socket, path: &Path) -> Result<SocketFile, UnixCause> {
    let call = |error| UnixCause::Call("bind(2)", error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().as_bytes();
    let room = temporary_room(path).map_err(UnixCause::Address)?;
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
