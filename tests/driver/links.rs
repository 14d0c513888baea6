//! Links: the policy of the root decides which of them an open follows.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use ringd::driver::{File, FileKind, Links, Op};

use crate::files::opened;
use crate::harness::*;
use crate::kernel::{Folder, Kernel};
use crate::subject::Files;

const XDEV: Result<u64, i32> = Err(libc::EXDEV);
const LOOP: Result<u64, i32> = Err(libc::ELOOP);

/// A tree with every kind of link. The page has 6 bytes, the one in the directory 7, and the file
/// that must stay out of reach 1.
fn tree(files: &Folder) {
    files.write("page", b"a page");
    files.write("inner/page", b"another");
    let link = |target: &Path, name: &str| symlink(target, files.path(name)).unwrap();
    link(Path::new("page"), "beneath");
    link(&files.path("page"), "absolute");
    link(Path::new("../secret"), "up");
    link(Path::new("inner"), "way");
    link(Path::new("../page"), "inner/back");
    link(Path::new("/proc/self/exe"), "magic");
    link(Path::new("nowhere"), "dangling");
}

fn root(files: &Folder, links: Links) -> Arc<File> {
    Arc::new(File::open_root(&files.path("."), links).unwrap())
}

fn open<D: Kernel>(driver: &mut D, root: &Arc<File>, path: &CStr) -> io::Result<Arc<File>> {
    driver.submit(FILE, Op::OpenFile { root: Arc::clone(root), path: path.to_owned() });
    opened(last(run_lasts(driver, 1), FILE))
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The table, by policy: the length of the file that is opened, or the error.
pub(crate) fn each_policy_has_its_links<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let files = driver.files();
    tree(&files);
    let whole = c_path(&files.path("page"));
    let missing = Err(libc::ENOENT);
    let cases: [(&CStr, [Result<u64, i32>; 3]); 11] = [
        // Path                   Beneath  Never    Follow
        (c"page", [Ok(6), Ok(6), Ok(6)]),
        (c"inner/page", [Ok(7), Ok(7), Ok(7)]),
        (c"beneath", [Ok(6), LOOP, Ok(6)]),
        (c"absolute", [XDEV, LOOP, Ok(6)]),
        (c"up", [XDEV, LOOP, Ok(1)]),
        (c"way/page", [Ok(7), LOOP, Ok(7)]),
        (c"inner/back", [Ok(6), LOOP, Ok(6)]),
        (c"way/back", [Ok(6), LOOP, Ok(6)]),
        (c"magic", [XDEV, LOOP, LOOP]),
        (c"dangling", [missing, LOOP, missing]),
        (&whole, [XDEV, XDEV, Ok(6)]),
    ];
    for (column, links) in [Links::Beneath, Links::Never, Links::Follow].into_iter().enumerate() {
        let root = root(&files, links);
        for (path, expected) in cases {
            let found = open(driver, &root, path);
            let found = found.map(|file| file.metadata().len);
            let found = found.map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(found, expected[column], "{path:?}, {links:?}");
        }
    }
    assert_home(driver);
}

/// The links of `proc(5)` that are not paths are not followed under any policy.
pub(crate) fn magic_links_are_never_followed<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    for links in [Links::Beneath, Links::Never, Links::Follow] {
        let root = Arc::new(File::open_root(Path::new("/proc/self"), links).unwrap());
        assert!(open(driver, &root, c"status").is_ok(), "{links:?}");
        for path in [c"exe", c"fd/0", c"root/etc", c"cwd"] {
            assert_eq!(code(open(driver, &root, path)), Some(libc::ELOOP), "{path:?}, {links:?}");
        }
    }
}

/// A directory that is opened beneath a root inherits its policy, until it is set anew.
pub(crate) fn a_directory_inherits_its_links<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let files = driver.files();
    tree(&files);
    for links in [Links::Beneath, Links::Never, Links::Follow] {
        let inner = open(driver, &root(&files, links), c"inner").unwrap();
        assert_eq!(inner.links(), links);
        let back = open(driver, &inner, c"back");
        match links {
            Links::Beneath => assert_eq!(code(back), Some(libc::EXDEV)),
            Links::Never => assert_eq!(code(back), Some(libc::ELOOP)),
            Links::Follow => assert_eq!(back.unwrap().metadata().len, 6),
        }
    }
    // The root is opened again by its own path, as a server does to notice a replacement.
    let anchor = root(&files, Links::Follow);
    let anew = open(driver, &anchor, &c_path(&files.path("inner"))).unwrap();
    let anew = Arc::into_inner(anew).expect("a file that was just opened has one owner");
    let anew = Arc::new(anew.with_links(Links::Beneath));
    assert_eq!(anew.metadata().kind, FileKind::Directory);
    assert_eq!(open(driver, &anew, c"page").unwrap().metadata().len, 7);
    assert_eq!(code(open(driver, &anew, c"back")), Some(libc::EXDEV));
    assert_eq!(anew.entries(9).unwrap().entries.len(), 2);
}
