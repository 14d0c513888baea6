//! A directory to serve, with one file of every kind that a request may meet.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// Regular files of the root and their lengths; [`content`] makes their content. By default,
/// files up to 8 KiB are kept in memory.
pub(crate) const FILES: [(&str, usize); 9] = [
    ("index.html", 300),
    ("small.txt", 20),
    ("empty.txt", 0),
    ("under.bin", 8191),
    ("exact.bin", 8192),
    ("over.bin", 8193),
    ("large.bin", 1024 * 1024),
    ("dir/index.html", 77),
    (".well-known/security.txt", 9),
];

/// A style sheet and two codings of it, all with the same old time, and their lengths.
pub(crate) const CODED: [(&str, usize); 3] =
    [("page.css", 400), ("page.css.br", 100), ("page.css.gz", 150)];

/// The content of a file of that length: no two offsets near each other look alike.
pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31) ^ (at >> 8) ^ length) as u8).collect()
}

/// Makes a root.
pub(crate) fn make() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for directory in ["dir", "bare", ".well-known", ".git", "a b", "dir/sub"] {
        fs::create_dir(path.join(directory)).unwrap();
    }
    for (name, length) in FILES {
        fs::write(path.join(name), content(length)).unwrap();
    }
    for (name, length) in CODED {
        fs::write(path.join(name), content(length)).unwrap();
        set_modified(&path.join(name), 784_111_777);
    }
    for name in [".hidden", ".git/config", "bare/file.txt", "dir/.env", "a b/\u{fc} %.txt"] {
        fs::write(path.join(name), name).unwrap();
    }
    fs::write(path.join("secret.txt"), "this must not be read").unwrap();
    fs::set_permissions(path.join("secret.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    symlink("small.txt", path.join("inside")).unwrap();
    symlink("/", path.join("outside")).unwrap();
    symlink("../..", path.join("dir/upwards")).unwrap();
    symlink("circle", path.join("circle")).unwrap();
    let made = Command::new("mkfifo").arg(path.join("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) makes a FIFO");
    // The name remains after the listener is closed.
    drop(UnixListener::bind(path.join("socket")).unwrap());
    root
}

/// A root that is never changed, old enough for strong entity tags, so the answers do not depend
/// on the time of the request.
pub(crate) fn settled() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = make();
        wait_until_settled(&root.path().join("secret.txt"));
        root
    });
    ROOT.path()
}

/// Waits until the file is so old that any further change changes its time.
pub(crate) fn wait_until_settled(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).unwrap();
    let changed = Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
    let settled = SystemTime::UNIX_EPOCH + changed + Duration::from_millis(2100);
    std::thread::sleep(settled.duration_since(SystemTime::now()).unwrap_or_default());
}

/// Sets the time of modification of a file or directory, in seconds since the epoch.
pub(crate) fn set_modified(path: &Path, seconds: i64) {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch - since } else { epoch + since };
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}
