//! The directories and the names in them that decide what a path leads to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

/// A path leads through at most this many links, as in the kernel (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// Directories, without links on the way to them, and the names in them.
pub(super) type Places = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// For each file: its name in its directory, the name of each link on the way to it in the
/// directory of the link, or the first name that is missing.
pub(super) fn places(files: &[PathBuf]) -> Places {
    let mut places = Places::new();
    for file in files {
        // It fails only if the path is empty or the working directory is gone.
        if let Ok(file) = path::absolute(file) {
            add(&file, &mut places);
        }
    }
    places
}

fn add(file: &Path, places: &mut Places) {
    let mut at = PathBuf::from("/");
    let mut left: VecDeque<OsString> = steps(file).collect();
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        match Path::new(&step).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => {
                let path = at.join(name);
                let link = fs::symlink_metadata(&path).map(|metadata| metadata.is_symlink());
                if !matches!(link, Ok(false)) || left.is_empty() {
                    places.entry(at.clone()).or_default().insert(name.to_owned());
                }
                match link {
                    Ok(false) => at = path,
                    Ok(true) if links < LINKS_MAX => {
                        links += 1;
                        let Ok(target) = fs::read_link(&path) else { return };
                        for step in steps(&target).rev() {
                            left.push_front(step);
                        }
                    }
                    Ok(true) | Err(_) => return,
                }
            }
            _ => {}
        }
    }
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().map(|step| OsStr::to_owned(step.as_os_str()))
}

/// What distinguishes the file that a path leads to, and its content, from another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the content, and of anything.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The identity of each file; `None` if there is none.
pub(super) fn identities(files: &[PathBuf]) -> Vec<Option<FileIdentity>> {
    let identity = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some(FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    };
    files.iter().map(identity).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("archive/x")).unwrap();
        fs::create_dir_all(root.join("live/x")).unwrap();
        fs::write(root.join("archive/x/cert3.pem"), "").unwrap();
        symlink("../../archive/x/cert3.pem", root.join("live/x/cert.pem")).unwrap();
        symlink("live", root.join("now")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(root.join("live/x"), root.join("absolute")).unwrap();
        for (file, expected) in [
            ("archive/x/cert3.pem", &["archive/x|cert3.pem"][..]),
            ("live/x/cert.pem", &["archive/x|cert3.pem", "live/x|cert.pem"]),
            ("now/./x/cert.pem", &["|now", "archive/x|cert3.pem", "live/x|cert.pem"]),
            ("absolute/cert.pem", &["|absolute", "archive/x|cert3.pem", "live/x|cert.pem"]),
            ("live/../live/x/other.pem", &["live/x|other.pem"]),
            ("missing/x/cert.pem", &["|missing"]),
            ("loop/cert.pem", &["|loop"]),
        ] {
            let mut found = Vec::new();
            for (directory, names) in places(&[root.join(file)]) {
                let directory = directory.strip_prefix(&root).unwrap().display().to_string();
                found.extend(names.iter().map(|name| format!("{directory}|{}", name.display())));
            }
            assert_eq!(found, expected, "{file}");
        }
    }
}
