//! A small directory to serve, for conversations without a server: in `fuzz.rs`, and in the
//! fuzzer of `tests/fuzz/`.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ringd::driver::{File, Links};
use tempfile::TempDir;

/// The directory, which is removed when the first value is dropped, and the same as a root.
pub(crate) fn root() -> (TempDir, Arc<File>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (name, length) in [("index.html", 10), ("small.txt", 100), ("over.bin", 9000)] {
        fs::write(path.join(name), vec![b'x'; length]).unwrap();
    }
    for (name, length) in [("page.css", 400), ("page.css.br", 100), ("page.css.gz", 150)] {
        fs::write(path.join(name), vec![b'x'; length]).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
        fs::File::open(path.join(name)).unwrap().set_modified(modified).unwrap();
    }
    fs::create_dir(path.join("dir")).unwrap();
    fs::create_dir(path.join("bare")).unwrap();
    fs::write(path.join("bare/file.txt"), "x").unwrap();
    let root = Arc::new(File::open_root(path, Links::Beneath).unwrap());
    (directory, root)
}
