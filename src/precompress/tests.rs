//! Runs on directories, with the events that a run may meet: changes, links, signals to stop.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::decode::decodes_to;
use super::tree::Tree;
use super::*;
use crate::http::semantics::negotiate::{Coding, Codings};

const TEXT: &str = "A line that is repeated, so that it compresses well.\n";

/// A site with an old file, `a.html`.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    write(&site.path().join("a.html"), &TEXT.repeat(100));
    site
}

/// Writes a file that seems to be some days old.
fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn settings(site: &Path) -> PrecompressSettings {
    PrecompressSettings { jobs: 2, ..PrecompressSettings::new(site.to_owned()) }
}

/// Calls a function when the first bytes are read.
struct AtFirstRead<F>(AtomicBool, F);

impl<F: Fn() + Sync> PrecompressProgress for AtFirstRead<F> {
    fn begin(&self, _: u64) {}

    fn advance(&self, _: u64) {
        if !self.0.swap(true, Ordering::SeqCst) {
            self.1();
        }
    }
}

fn run_with(
    settings: &PrecompressSettings,
    event: impl Fn() + Sync,
    stop: &AtomicBool,
) -> PrecompressReport {
    let progress = AtFirstRead(AtomicBool::new(false), event);
    precompress(settings, &progress, stop).unwrap()
}

fn run(settings: &PrecompressSettings) -> PrecompressReport {
    run_with(settings, || {}, &AtomicBool::new(false))
}

/// All names beneath a directory, also hidden ones, relative to it and sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            let name = entry.path().strip_prefix(directory).unwrap().to_owned();
            names.push(name.to_str().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

fn faults(report: &PrecompressReport) -> Vec<(&str, SidecarFault)> {
    report.problems.iter().map(|problem| (&*problem.path, problem.fault)).collect()
}

fn written(report: &PrecompressReport) -> u64 {
    report.codings.iter().map(|totals| totals.written).sum()
}

fn current(report: &PrecompressReport) -> u64 {
    report.codings.iter().map(|totals| totals.current).sum()
}

/// The compressed files of a plain file.
fn beside(plain: &Path) -> [(Coding, PathBuf); 3] {
    Coding::ALL.map(|coding| (coding, task::sidecar_path(plain, coding)))
}

#[track_caller]
fn assert_valid(plain: &Path) {
    let metadata = fs::metadata(plain).unwrap();
    for (coding, path) in beside(plain) {
        let coded = fs::metadata(&path).unwrap();
        let what = |of: &fs::Metadata| (of.mtime(), of.mtime_nsec(), of.mode(), of.uid(), of.gid());
        assert_eq!(what(&coded), what(&metadata), "{path:?}");
        assert!(coded.len() < metadata.len(), "{path:?}");
        let mut plain = File::open(plain).unwrap();
        assert!(decodes_to(coding, &File::open(&path).unwrap(), &mut plain).unwrap(), "{path:?}");
    }
}

#[test]
fn files_of_all_directories_get_compressed_files() {
    let site = site();
    let deep = site.path().join("b/c/d.js");
    write(&deep, &TEXT.repeat(30));
    fs::set_permissions(&deep, PermissionsExt::from_mode(0o640)).unwrap();
    write(&site.path().join("photo.png"), &TEXT.repeat(30));
    write(&site.path().join("small.css"), "p {}");
    write(&site.path().join(".hidden.html"), &TEXT.repeat(30));
    write(&site.path().join(".git/b.html"), &TEXT.repeat(30));
    write(&site.path().join("_headers"), &TEXT.repeat(30));
    let before = names(site.path()).len();
    let report = run(&settings(site.path()));
    assert_eq!((report.files, report.other_sizes, written(&report)), (2, 1, 6));
    assert!(report.problems.is_empty() && !report.interrupted);
    assert_valid(&site.path().join("a.html"));
    assert_valid(&deep);
    assert_eq!(names(site.path()).len(), before + 6);
    let check = PrecompressSettings { mode: PrecompressMode::Check, ..settings(site.path()) };
    let report = run(&check);
    assert_eq!((report.failures, current(&report)), (0, 6));
}

#[test]
fn a_second_run_writes_what_is_not_current() {
    let site = site();
    let plain = site.path().join("a.html");
    run(&settings(site.path()));
    let inodes = || beside(&plain).map(|(_, path)| fs::metadata(path).unwrap().ino());
    let first = inodes();
    let report = run(&settings(site.path()));
    assert_eq!((written(&report), current(&report)), (0, 3));
    assert_eq!(inodes(), first);
    // The same bytes again.
    let bytes = || beside(&plain).map(|(_, path)| fs::read(path).unwrap());
    let old = bytes();
    let force = PrecompressSettings { force: true, ..settings(site.path()) };
    assert_eq!(written(&run(&force)), 3);
    assert_eq!(bytes(), old);
    // Another time; a file that is cut off; one that is in another coding; none.
    let [(_, br), (_, zstd), (_, gzip)] = beside(&plain);
    File::options().write(true).open(&br).unwrap().set_modified(SystemTime::now()).unwrap();
    write(&zstd, "");
    fs::copy(&zstd, &gzip).unwrap();
    assert_eq!(written(&run(&settings(site.path()))), 3);
    assert_valid(&plain);
    fs::remove_file(gzip).unwrap();
    assert_eq!(written(&run(&settings(site.path()))), 1);
    // The plain file changes.
    fs::write(&plain, TEXT.repeat(50)).unwrap();
    let report = run(&settings(site.path()));
    assert_eq!((written(&report), current(&report)), (3, 0));
    assert_valid(&plain);
}

#[test]
fn a_dry_run_writes_nothing() {
    let site = site();
    write(&site.path().join("gone.html.br"), "\u{b}1");
    write(&site.path().join(".ringd-precompress-0123456789abcdef"), "1");
    let before = names(site.path());
    let dry =
        PrecompressSettings { mode: PrecompressMode::DryRun, prune: true, ..settings(site.path()) };
    let report = run(&dry);
    assert_eq!(report.planned, ["a.html.br", "a.html.zst", "a.html.gz"]);
    assert_eq!(report.removed, ["gone.html.br"]);
    assert_eq!(names(site.path()), before);
}

#[test]
fn what_is_not_smaller_is_not_written() {
    let site = site();
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200_000).collect();
    fs::write(site.path().join("noise.txt"), &noise).unwrap();
    let report = run(&settings(site.path()));
    assert_eq!((written(&report), report.failures), (3, 0));
    assert!(report.codings.iter().all(|totals| totals.not_worth_it == 1), "{report:?}");
    assert!(!names(site.path()).iter().any(|name| name.starts_with("noise.txt.")));
    // A check expects none either.
    let check = PrecompressSettings { mode: PrecompressMode::Check, ..settings(site.path()) };
    assert_eq!(run(&check).failures, 0);
    // One that is there is removed on demand only.
    fs::write(site.path().join("noise.txt.gz"), &noise).unwrap();
    assert!(run(&settings(site.path())).removed.is_empty());
    let prune = PrecompressSettings { prune: true, ..settings(site.path()) };
    assert_eq!(run(&prune).removed, ["noise.txt.gz"]);
    assert!(!site.path().join("noise.txt.gz").exists());
}

#[test]
fn the_smallest_saving_is_a_part_of_the_plain_file() {
    let mut settings = PrecompressSettings::new("site".into());
    assert_eq!((settings.coded_bytes_max(100), settings.coded_bytes_max(101)), (95, 95));
    settings.saving_min = 0;
    assert_eq!((settings.coded_bytes_max(100), settings.coded_bytes_max(1)), (99, 0));
    settings.saving_min = 99;
    assert_eq!(settings.coded_bytes_max(u64::MAX), u64::MAX / 100);
}

#[test]
fn links_are_not_followed_and_not_replaced() {
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("b.html"), &TEXT.repeat(100));
    write(&outside.path().join("target"), "as it was");
    let site = site();
    symlink(outside.path(), site.path().join("directory")).unwrap();
    symlink(outside.path().join("b.html"), site.path().join("b.html")).unwrap();
    symlink(outside.path().join("target"), site.path().join("a.html.br")).unwrap();
    symlink("nowhere", site.path().join("a.html.zst")).unwrap();
    fs::create_dir(site.path().join("a.html.gz")).unwrap();
    for force in [false, true] {
        let report = run(&PrecompressSettings { force, prune: true, ..settings(site.path()) });
        let occupied = SidecarFault::Occupied;
        let expected = [("a.html.br", occupied), ("a.html.gz", occupied), ("a.html.zst", occupied)];
        assert_eq!(faults(&report), expected);
        assert_eq!((written(&report), report.failures), (0, 0));
        assert_eq!(names(outside.path()), ["b.html", "target"]);
        assert_eq!(fs::read_to_string(outside.path().join("target")).unwrap(), "as it was");
        assert!(site.path().join("a.html.br").is_symlink());
        assert!(site.path().join("a.html.zst").is_symlink());
    }
}

/// A directory may become a link after the walk.
#[test]
fn directories_are_opened_without_following_links() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("in")).unwrap();
    let site = site();
    symlink(outside.path(), site.path().join("link")).unwrap();
    let tree = Tree::open(site.path()).unwrap();
    for path in ["link", "link/in", "..", "/tmp"] {
        assert!(tree.directory(Path::new(path)).is_err(), "{path}");
    }
    assert!(tree.directory(Path::new("")).is_ok());
}

/// Some copies of a site share files with their origin.
#[test]
fn a_file_with_several_names_is_not_written_to() {
    let site = site();
    let copy = tempfile::tempdir_in(site.path().parent().unwrap()).unwrap();
    run(&settings(site.path()));
    for name in names(site.path()) {
        fs::hard_link(site.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let old = fs::read(copy.path().join("a.html.br")).unwrap();
    fs::remove_file(site.path().join("a.html")).unwrap();
    write(&site.path().join("a.html"), &TEXT.repeat(70));
    assert_eq!(written(&run(&PrecompressSettings { force: true, ..settings(site.path()) })), 3);
    assert_eq!(fs::read(copy.path().join("a.html.br")).unwrap(), old);
    assert_valid(&site.path().join("a.html"));
}

#[test]
fn a_file_that_changes_while_it_is_read_gets_no_compressed_file() {
    let change: [fn(&Path); 4] = [
        |plain| File::options().write(true).open(plain).unwrap().write_all_at(b"B", 0).unwrap(),
        |plain| File::options().write(true).open(plain).unwrap().set_len(3000).unwrap(),
        |plain| {
            let end = fs::metadata(plain).unwrap().len();
            File::options().write(true).open(plain).unwrap().write_all_at(b"more", end).unwrap();
        },
        // An editor that keeps the times.
        |plain| {
            let other = plain.with_file_name("other");
            write(&other, &TEXT.repeat(100).replace('A', "B"));
            fs::rename(other, plain).unwrap();
        },
    ];
    for (number, change) in change.into_iter().enumerate() {
        for coding in Coding::ALL {
            let site = site();
            let plain = site.path().join("a.html");
            let codings: Codings = [coding].into_iter().collect();
            let settings = PrecompressSettings { codings, ..settings(site.path()) };
            let report = run_with(&settings, || change(&plain), &AtomicBool::new(false));
            let expected = [("a.html", SidecarFault::Changed)];
            assert_eq!(faults(&report), expected, "{number} {coding:?}");
            assert_eq!((report.failures, names(site.path()).len()), (1, 1), "{number} {coding:?}");
            assert_eq!(written(&run(&settings)), 1);
        }
    }
}

#[test]
fn a_run_that_is_stopped_leaves_no_temporary_files() {
    for coding in Coding::ALL {
        let site = site();
        let codings: Codings = [coding].into_iter().collect();
        let stop = AtomicBool::new(false);
        let settings = PrecompressSettings { codings, ..settings(site.path()) };
        let seen = AtomicU64::new(0);
        let event = || {
            // There is a temporary file now.
            seen.store(names(site.path()).len() as u64, Ordering::SeqCst);
            stop.store(true, Ordering::SeqCst);
        };
        let report = run_with(&settings, event, &stop);
        assert!(report.interrupted && report.problems.is_empty(), "{report:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{coding:?}");
        assert_eq!(names(site.path()), ["a.html"], "{coding:?}");
    }
}

#[test]
fn temporary_files_of_runs_that_are_gone_are_removed() {
    let site = site();
    let left = ".ringd-precompress-0123456789abcdef";
    write(&site.path().join("b").join(left), "x");
    // One that another run writes is kept.
    let directory = Tree::open(site.path()).unwrap().directory(Path::new("")).unwrap();
    let directory = std::os::fd::AsFd::as_fd(&directory);
    let other = temporary::TemporaryFile::create(directory).unwrap();
    let report = run(&settings(site.path()));
    assert_eq!(report.left_over, 1);
    let hidden = || names(site.path()).into_iter().filter(|name| name.contains(".ringd")).count();
    assert_eq!(hidden(), 1);
    let plain = fs::metadata(site.path().join("a.html")).unwrap();
    let stat = tree::stat(directory, OsStr::new("a.html")).unwrap().unwrap();
    other.install(OsStr::new("other.br"), &stat).unwrap();
    let installed = fs::metadata(site.path().join("other.br")).unwrap();
    assert_eq!((installed.mtime_nsec(), hidden()), (plain.mtime_nsec(), 0));
}

/// A compressed file whose plain file does not exist may be all that there is of it.
#[test]
fn downloads_are_not_pruned() {
    let site = site();
    run(&settings(site.path()));
    for (coding, from) in beside(&site.path().join("a.html")) {
        fs::copy(from, site.path().join(format!("gone.html{}", coding.suffix()))).unwrap();
    }
    // As `gzip -n` writes it; and of types that have no compressed files.
    let mut download = fs::read(site.path().join("gone.html.gz")).unwrap();
    download[9] = 3;
    fs::write(site.path().join("manual.txt.gz"), &download).unwrap();
    for name in ["site.tar.gz", "picture.png.br", "README.gz", ".br"] {
        fs::copy(site.path().join("gone.html.gz"), site.path().join(name)).unwrap();
    }
    let before = names(site.path());
    assert!(run(&settings(site.path())).removed.is_empty());
    assert_eq!(names(site.path()), before);
    let prune = PrecompressSettings { prune: true, ..settings(site.path()) };
    let dry = PrecompressSettings { mode: PrecompressMode::DryRun, ..prune.clone() };
    let gone = ["gone.html.br", "gone.html.gz", "gone.html.zst"];
    assert_eq!(run(&dry).removed, gone);
    let report = run(&prune);
    assert_eq!(report.removed, gone);
    assert_eq!(faults(&report), [("manual.txt.gz", SidecarFault::MaybeDownload)]);
    assert_eq!((report.failures, names(site.path()).len()), (0, before.len() - 3));
}

#[test]
fn a_check_names_what_is_wrong() {
    let site = site();
    let plain = site.path().join("a.html");
    let [(_, br), (_, zstd), (_, gzip)] = beside(&plain);
    let check = PrecompressSettings { mode: PrecompressMode::Check, ..settings(site.path()) };
    let found = || {
        let report = run(&check);
        assert_eq!(report.failures, report.problems.len() as u64);
        faults(&report).into_iter().map(|(_, fault)| fault).collect::<Vec<_>>()
    };
    assert_eq!(found(), [SidecarFault::Missing; 3]);
    assert_eq!(names(site.path()), ["a.html"]);
    run(&settings(site.path()));
    assert_eq!(found(), []);
    // `brotli` cuts the time to seconds, and the server accepts that.
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let set = |path: &Path, time| File::open(path).unwrap().set_modified(time).unwrap();
    set(&br, second);
    assert_eq!(found(), []);
    set(&br, second - Duration::from_secs(1));
    assert_eq!(found(), [SidecarFault::Stale]);
    set(&br, SystemTime::now());
    // Other content; cut off; bytes behind the end.
    let other = site.path().join("other.txt");
    write(&other, &TEXT.repeat(99));
    run(&settings(site.path()));
    fs::copy(task::sidecar_path(&other, Coding::Brotli), &br).unwrap();
    let whole = fs::read(&zstd).unwrap();
    fs::write(&zstd, &whole[..whole.len() - 1]).unwrap();
    fs::write(&gzip, [&fs::read(&gzip).unwrap()[..], b"more"].concat()).unwrap();
    assert_eq!(found(), [SidecarFault::Different; 3]);
}
