//! What a configuration needs of a sandbox.

#[cfg(feature = "sandbox")]
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The most links on the way to a path, as in the kernel.
#[cfg(feature = "sandbox")]
const LINKS_MAX: usize = 40;

/// What a server opens after it has started: by a reload, or because a deployment, a renewal or a
/// rotation replaces what it has.
#[derive(Clone, Default, Debug)]
pub struct SandboxNeeds {
    /// Files and directories that are read. What may be read is what is beside them: a deployment
    /// turns a link or renames a directory, a renewal renames a file.
    pub reads: Vec<PathBuf>,
    /// Logs: files that are made and written, and renamed by others.
    pub logs: Vec<PathBuf>,
    /// The files of Unix sockets.
    pub sockets: Vec<PathBuf>,
    /// TCP ports that are listened on.
    pub ports: Vec<u16>,
    /// Whether Unix sockets are listened on.
    pub has_unix: bool,
}

impl SandboxNeeds {
    /// The files and directories beneath which reading is allowed.
    #[cfg(feature = "sandbox")]
    pub(super) fn read_places(&self) -> Vec<PathBuf> {
        places(&self.reads, LinksOnTheWay::Turn)
    }

    /// The directories in which files may be made and written.
    #[cfg(feature = "sandbox")]
    pub(super) fn log_places(&self) -> Vec<PathBuf> {
        places(&self.logs, LinksOnTheWay::Stay)
    }

    /// The directories in which sockets may be made, and files be removed.
    #[cfg(feature = "sandbox")]
    pub(super) fn socket_places(&self) -> Vec<PathBuf> {
        places(&self.sockets, LinksOnTheWay::Stay)
    }

    /// The first thing that is not allowed, for a message.
    pub(super) fn denied(
        &self,
        may_read: impl Fn(&Path) -> bool,
        may_write: impl Fn(&Path) -> bool,
        may_listen: impl Fn(&Path) -> bool,
        may_bind: impl Fn(u16) -> bool,
    ) -> Option<String> {
        let read = self.reads.iter().find(|path| !may_read(path));
        let sockets = self.sockets.iter();
        let socket = sockets.map(|path| (path, may_listen(path)));
        let logs = self.logs.iter().map(|path| (path, may_write(path)));
        let made = logs.chain(socket).find(|(_, may)| !may).map(|(path, _)| path);
        let port = self.ports.iter().find(|port| !may_bind(**port));
        let read = read.map(|path| format!("reading {}", path.display()));
        let made = || made.map(|path| format!("making {}", path.display()));
        let port = || port.map(|port| format!("listening on port {port}"));
        read.or_else(made).or_else(port)
    }
}

/// What becomes of the links on the way to a path.
#[cfg(feature = "sandbox")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum LinksOnTheWay {
    /// A deployment may turn them, as those on the way to a root.
    Turn,
    /// Those on the way to a log or a socket are of the system.
    Stay,
}

/// The directories that hold these files and directories, by their names and where those lead, and
/// if links may turn, those that hold what each link on the way leads to. One
/// that is in `/` stands for itself, since otherwise everything would be allowed, and so does a
/// device or a pipe, since those beside it have nothing to do with it.
#[cfg(feature = "sandbox")]
fn places(paths: &[PathBuf], links: LinksOnTheWay) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let is_special = is_special(path);
        let targets = match links {
            LinksOnTheWay::Turn if !is_special => targets(&absolute),
            _ => Vec::new(),
        };
        for name in path.canonicalize().into_iter().chain(targets).chain([absolute]) {
            places.push(match name.parent() {
                Some(parent) if is_top(parent) || is_special => name,
                Some(parent) => parent.to_owned(),
                None => name,
            });
        }
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// Where the links on the way to a path lead, and the links on the way to those. The links of
/// `/proc` lead to what a process has, those in `/` are of the system, and nobody turns them.
#[cfg(feature = "sandbox")]
fn targets(path: &Path) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let is_turned = |name: &&Path| {
            !name.starts_with("/proc") && name.parent().is_some_and(|parent| !is_top(parent))
        };
        for name in path.ancestors().filter(is_turned) {
            let Ok(target) = name.read_link() else { continue };
            let target = name.parent().unwrap_or(Path::new("/")).join(target);
            if seen.len() < LINKS_MAX && !seen.contains(&target) {
                seen.push(target.clone());
                paths.push(target);
            }
        }
    }
    let real = seen.iter().filter_map(|target| target.canonicalize().ok());
    real.filter(|target| !target.starts_with("/proc")).collect()
}

/// Whether a path leads to a device or a pipe.
#[cfg(feature = "sandbox")]
fn is_special(path: &Path) -> bool {
    let kind = path.metadata().map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device() || kind.is_fifo())
}

/// Whether a path leads to `/`.
#[cfg(feature = "sandbox")]
fn is_top(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real == Path::new("/"))
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_beside_a_file_is_allowed_also_where_a_link_leads() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        for name in ["releases/1", "sites"] {
            std::fs::create_dir_all(real.join(name)).unwrap();
        }
        symlink("../releases/1", real.join("sites/current")).unwrap();
        assert_eq!(
            places(&[real.join("sites/current")], LinksOnTheWay::Turn),
            [real.join("releases"), real.join("sites")]
        );
        // What does not exist yet is known by its name.
        assert_eq!(places(&[real.join("sites/next")], LinksOnTheWay::Turn), [real.join("sites")]);
    }

    /// `/var/run` may lead to `/run`, and logs to another disk: what is beside those is not
    /// allowed.
    #[test]
    fn links_on_the_way_to_logs_and_sockets_stay() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("disk/data/log")).unwrap();
        symlink("disk/data/log", real.join("log")).unwrap();
        let path = real.join("log/access.log");
        assert_eq!(places(std::slice::from_ref(&path), LinksOnTheWay::Stay), [real.join("log")]);
        let turned = places(&[path], LinksOnTheWay::Turn);
        assert!(turned.contains(&real.join("disk/data")), "{turned:?}");
    }

    /// A deployment turns a link above a root, or one that another link leads through.
    #[test]
    fn what_is_beside_the_target_of_each_link_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        for name in ["app/releases/1/public", "sites"] {
            std::fs::create_dir_all(real.join(name)).unwrap();
        }
        symlink("releases/1", real.join("app/current")).unwrap();
        let releases = [real.join("app/current"), real.join("app/releases")];
        let root = real.join("app/current/public");
        let own = real.join("app/releases/1");
        assert_eq!(
            places(&[root], LinksOnTheWay::Turn),
            [&releases[..], std::slice::from_ref(&own)].concat()
        );
        symlink("../app/current/public", real.join("sites/site")).unwrap();
        let places = places(&[real.join("sites/site")], LinksOnTheWay::Turn);
        assert_eq!(places, [releases[1].clone(), own, real.join("sites")]);
        // A circle ends.
        symlink("circle", real.join("sites/circle")).unwrap();
        assert_eq!(
            super::places(&[real.join("sites/circle")], LinksOnTheWay::Turn),
            [real.join("sites")]
        );
    }

    #[test]
    fn a_device_stands_for_itself() {
        assert_eq!(places(&["/dev/null".into()], LinksOnTheWay::Turn), [Path::new("/dev/null")]);
    }

    #[test]
    fn what_is_at_the_top_stands_for_itself() {
        assert_eq!(
            places(&["/tmp".into(), "/".into()], LinksOnTheWay::Turn),
            [Path::new("/"), Path::new("/tmp")]
        );
        assert_eq!(
            places(&["/tmp/..".into()], LinksOnTheWay::Turn),
            [Path::new("/"), Path::new("/tmp")]
        );
    }
}
