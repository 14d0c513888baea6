//! Which files and ports a server may open (`landlock(7)`).
//!
//! Rules hold on directories, not on their names: a directory that is renamed keeps its rule, and
//! one that takes its place has none. So what a deployment may replace is allowed by the directory
//! that holds it. Rules hold for the thread that enters them and for those that it starts.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, CompatLevel,
    Compatible, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::SandboxNeeds;

/// The newest version of the interface that the rules are written for.
const KNOWN: ABI = ABI::V6;

/// What every server reads besides its own files: time zones, which it may look up late, and the
/// limits of the machine.
const ALWAYS_READ: [&str; 3] = ["/etc/localtime", "/usr/share/zoneinfo", "/proc/sys"];

/// What the process reads of itself. The rule is on the inode of the directory, which the kernel
/// may make anew when nothing refers to it, so the descriptor stays open.
const ITSELF: &str = "/proc/self";

/// A file, by its device and its inode.
type FileId = (u64, u64);

/// The rules that hold.
#[derive(Debug)]
pub(super) struct FileRules {
    /// The version of the interface.
    pub(super) version: u8,
    /// What an older version lacks, and the version of Linux that has it.
    pub(super) lacks: Option<&'static str>,
    read: HashSet<FileId>,
    write: HashSet<FileId>,
    listen: HashSet<FileId>,
    /// `None` if the kernel cannot restrict them.
    ports: Option<HashSet<u16>>,
    _itself: Option<PathFd>,
}

/// Enters the rules.
pub(super) fn enter(needs: &SandboxNeeds, denies_connect: bool) -> Result<FileRules, String> {
    let failed = |error: RulesetError| error.to_string();
    let itself = PathFd::new(ITSELF).ok();
    let mut rules = ruleset(denies_connect).map_err(failed)?;
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    let writes = AccessFs::WriteFile | AccessFs::MakeReg;
    // A stale socket is removed, and a new one gets its name when it has its rights.
    let sockets = AccessFs::MakeSock | AccessFs::RemoveFile;
    let mut read = HashSet::new();
    for path in needs.read_places().into_iter().chain(ALWAYS_READ.map(PathBuf::from)) {
        read.extend(allow(&mut rules, &path, reads).map_err(failed)?);
    }
    let (mut write, mut listen) = (HashSet::new(), HashSet::new());
    for path in needs.log_places() {
        write.extend(allow(&mut rules, &path, writes).map_err(failed)?);
    }
    for path in needs.socket_places() {
        listen.extend(allow(&mut rules, &path, sockets).map_err(failed)?);
    }
    if let Some(itself) = &itself {
        rules = rules.add_rule(PathBeneath::new(itself.as_fd(), reads)).map_err(failed)?;
    }
    for port in &needs.ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp)).map_err(failed)?;
    }
    let RestrictionStatus { landlock, .. } = rules.restrict_self().map_err(failed)?;
    let version = version_of(landlock)?;
    let ports = (version >= ABI::V4 as u8).then(|| needs.ports.iter().copied().collect());
    let lacks = lacks(version);
    Ok(FileRules { version, lacks, read, write, listen, ports, _itself: itself })
}

/// What is ruled: everything that this version knows. Connecting is left to the filter of system
/// calls if there is one, since that also covers what is not TCP, and not all versions of the
/// kernel let a connection be reset where connecting is ruled here.
fn ruleset(denies_connect: bool) -> Result<RulesetCreated, RulesetError> {
    let net = match denies_connect {
        true => AccessNet::BindTcp.into(),
        false => AccessNet::from_all(KNOWN),
    };
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(net)?
        .scope(BitFlags::<Scope>::all())?
        .create()
}

/// Allows access to a file, or to what is in a directory. A path that leads nowhere has no rule.
/// Neither has a socket, since what is allowed in its directory does not apply to the file, nor a
/// pipe of another process, which the kernel takes no rules for and lets everybody open.
fn allow(
    rules: &mut RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<Option<FileId>, RulesetError> {
    let (Ok(file), Ok(metadata)) = (PathFd::new(path), path.metadata()) else { return Ok(None) };
    let access = match metadata.is_dir() {
        true => access,
        false => access & AccessFs::from_file(KNOWN),
    };
    if !access.is_empty() {
        match (&mut *rules).add_rule(PathBeneath::new(file, access)) {
            Err(error) if !is_refused(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Some(id_of(&metadata)))
}

/// Whether the kernel takes no rule for what is in a file system of its own (`EBADFD`).
fn is_refused(error: &RulesetError) -> bool {
    let RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })) = error
    else {
        return false;
    };
    source.raw_os_error() == Some(libc::EBADFD)
}

fn id_of(metadata: &fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// The version of the interface; an error if there is none.
fn version_of(status: LandlockStatus) -> Result<u8, String> {
    match status {
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi as u8),
        LandlockStatus::NotEnabled => {
            Err("the kernel has it, but `lsm=` of its command line leaves it out".to_owned())
        }
        LandlockStatus::NotImplemented => {
            Err("the kernel has none (Linux 5.13, CONFIG_SECURITY_LANDLOCK)".to_owned())
        }
    }
}

fn lacks(version: u8) -> Option<&'static str> {
    match version {
        ..3 => Some("it cannot keep files from being truncated (Linux 6.2)"),
        3 => Some("it cannot restrict ports (Linux 6.7)"),
        4..6 => Some("it cannot restrict signals and abstract sockets (Linux 6.12)"),
        _ => None,
    }
}

impl FileRules {
    /// Whether the rules allow to read a file or a directory that exists.
    pub(super) fn may_read(&self, path: &Path) -> bool {
        is_beneath(path, &self.read)
    }

    /// Whether the rules allow to make a file and to write it. One that has a rule of its own, such
    /// as a device, is not made.
    pub(super) fn may_write(&self, path: &Path) -> bool {
        is_known(path, &self.write) || is_beneath(directory_of(path), &self.write)
    }

    /// Whether the rules allow to make a socket.
    pub(super) fn may_listen(&self, path: &Path) -> bool {
        is_known(path, &self.listen) || is_beneath(directory_of(path), &self.listen)
    }

    /// Whether the rules allow to listen on a port.
    pub(super) fn may_bind(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

/// The directory in which a file is made.
fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// Whether a file is there and is one of these, or in one of these directories.
fn is_known(path: &Path, allowed: &HashSet<FileId>) -> bool {
    path.exists() && is_beneath(path, allowed)
}

/// Whether a path leads to one of these files or into one of these directories. Also if it leads
/// nowhere, since then that is what is wrong with it.
fn is_beneath(path: &Path, allowed: &HashSet<FileId>) -> bool {
    let Ok(real) = path.canonicalize() else { return true };
    let id = |path: &Path| path.metadata().map(|metadata| id_of(&metadata));
    real.ancestors().any(|path| id(path).is_ok_and(|id| allowed.contains(&id)))
}

/// The version of the interface, found by rules that hold for the thread that asks. They rule only
/// the making of block devices, which it does not do.
pub(super) fn attempt() -> Result<u8, String> {
    let entered = Ruleset::default()
        .handle_access(AccessFs::MakeBlock)
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    version_of(entered.map_err(|error| error.to_string())?.landlock)
}

/// How many threads the process has.
pub(super) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    /// In `/`, a socket stands for itself, and a log may be a link to a pipe. Neither takes a rule.
    #[test]
    fn what_takes_no_rule_does_not_end_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let mut rules = ruleset(true).unwrap();
        let sockets = AccessFs::MakeSock | AccessFs::RemoveFile;
        let writes = AccessFs::WriteFile | AccessFs::MakeReg;
        let listen = allow(&mut rules, &socket, sockets).unwrap();
        let write = allow(&mut rules, &pipe, writes).unwrap();
        let (listen, write) = (HashSet::from_iter(listen), HashSet::from_iter(write));
        let read = HashSet::new();
        let rules =
            FileRules { version: 6, lacks: None, read, write, listen, ports: None, _itself: None };
        // A reload that keeps them needs no more.
        assert!(rules.may_listen(&socket) && rules.may_write(&pipe));
        assert!(!rules.may_listen(&folder.path().join("other")));
        drop(listener);
    }
}
