//! Files of the previous release, from a second root.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use ringd::driver::{DriverKind, File, Links};
use ringd::http::{FallbackRoot, FileGlobs, RootDirectory, RootPath};
use tempfile::TempDir;

use crate::common::eventually;
use crate::support::fixture::Fixture;
use crate::support::http2::Http2Connection;
use crate::support::root::{self, content};

/// Releases, whose assets have their number.
const RELEASES: [usize; 3] = [1, 2, 3];

/// The length of an asset. One release has it in memory, another one sends it from the file.
fn length(release: usize) -> usize {
    [0, 500, 30_000, 700][release]
}

fn releases() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for release in RELEASES {
        let path = folder.path().join(release.to_string());
        fs::rename(root::make().keep(), &path).unwrap();
        fs::create_dir(path.join("assets")).unwrap();
        fs::write(path.join(format!("assets/{release}.js")), content(length(release))).unwrap();
        fs::write(path.join(format!("assets/{release}.js.gz")), content(50)).unwrap();
        fs::write(path.join(format!("{release}.html")), "a page").unwrap();
        fs::write(path.join("same.html"), release.to_string()).unwrap();
    }
    folder
}

fn turn(folder: &Path, name: &str, release: usize) {
    symlink(release.to_string(), folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join(name)).unwrap();
}

fn root_path(path: &Path) -> RootPath {
    let base = Arc::new(File::open_root("/".as_ref(), Links::Follow).unwrap());
    RootPath { base, path: CString::new(path.as_os_str().as_bytes()).unwrap() }
}

/// A rollout of three releases: each page finds the assets that it refers to.
pub(crate) fn assets_of_the_previous_release_are_found(kind: DriverKind) {
    let folder = releases();
    let path = folder.path();
    turn(path, "previous", 1);
    turn(path, "current", 2);
    let fixture = Fixture::start_over(kind, &path.join("current"), |setup| {
        let previous = File::open_root(&path.join("previous"), Links::Beneath).unwrap();
        setup.site.root_path = Some(root_path(&path.join("current")));
        setup.site.fallback_root = Some(FallbackRoot {
            root: Some(RootDirectory(Arc::new(previous))),
            root_path: Some(root_path(&path.join("previous"))),
            only: FileGlobs::new(&["/assets/*".to_owned()]).unwrap(),
        });
        setup.http.h2c = true;
    });
    let get = |target: &str| fixture.get(target);
    let expect = |present: usize, previous: usize| {
        for release in [present, previous] {
            let target = format!("/assets/{release}.js");
            get(&target).expect_ok(&content(length(release)));
            let mut client = fixture.connect();
            let coded = client.ask("GET", &target, "Accept-Encoding: gzip");
            assert_eq!(coded.field("content-encoding"), Some("gzip"), "{target}");
            assert!(coded.body == content(50), "{target}");
            let part = client.ask("GET", &target, "Range: bytes=3-9");
            assert!(part.status == 206 && part.body == content(length(release))[3..10]);
        }
        // Pages of the previous release are gone.
        assert_eq!(get(&format!("/{present}.html")).status, 200);
        assert_eq!(get(&format!("/{previous}.html")).status, 404);
        get("/same.html").expect_ok(present.to_string().as_bytes());
    };
    expect(2, 1);
    assert_eq!(get("/assets/3.js").status, 404);
    turn(path, "previous", 2);
    turn(path, "current", 3);
    eventually("the new release is served", || get("/same.html").body == b"3");
    expect(3, 2);
    eventually("the oldest release is gone", || get("/assets/1.js").status == 404);
    if !fixture.is_unix() {
        let mut client = Http2Connection::connect(fixture.address());
        let old = client.ask("GET", "/assets/2.js", &[]);
        assert_eq!((old.status, old.body.len()), (200, length(2)));
    }
    fixture.finish();
}
