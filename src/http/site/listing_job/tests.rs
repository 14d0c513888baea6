//! How much of what was read is kept.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Weak;

use super::*;
use crate::driver::Links;

const SITE: SiteId = SiteId(0);
const SECOND: Duration = Duration::from_secs(1);

/// Readings, and the directories that they hold open.
struct Readings {
    root: Arc<File>,
    listings: Listings,
    now: Instant,
    valid_for: Duration,
}

impl Readings {
    fn new(folder: &Path, kept_max: usize, bytes_max: usize) -> Self {
        let root = Arc::new(File::open_root(folder, Links::Beneath).unwrap());
        let (listings, now) = (Listings::new(kept_max, bytes_max), Instant::now());
        Self { root, listings, now, valid_for: SECOND }
    }

    /// The job for a page of a directory, and the directory.
    fn job(&mut self, path: &str, asked: Asked) -> (Job, Weak<File>) {
        let directory = File::open_beneath(&self.root, &CString::new(path).unwrap()).unwrap();
        let directory = Arc::new(directory);
        let opened = Arc::downgrade(&directory);
        let (root, path) = (&self.root, path.as_bytes());
        let (hide_sidecars, hide_site_files) = (false, false);
        let site = SITE;
        let wanted = Wanted { site, root, path, directory, asked, hide_sidecars, hide_site_files };
        (self.listings.job(self.now, self.valid_for, wanted).0, opened)
    }

    /// Makes a page, and returns whether the directory was read for it.
    fn make(&mut self, path: &str, format: Format) -> (Vec<u8>, Weak<File>) {
        let (job, directory) = self.job(path, Asked::new(format));
        let made = job.perform().unwrap();
        self.listings.shrink();
        (made, directory)
    }
}

/// Directories with a hundred names each, of 200 bytes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for directory in ["a", "b", "c", "d"] {
        fs::create_dir(folder.path().join(directory)).unwrap();
        for number in 0..100 {
            let name = format!("{}{number:03}", "n".repeat(197));
            fs::write(folder.path().join(directory).join(name), "").unwrap();
        }
    }
    folder
}

#[test]
fn the_oldest_readings_are_dropped_if_there_are_too_many_or_they_are_too_large() {
    let folder = folder();
    // A reading takes 20 kB for names, 3 kB for the rest, and 1 kB for orders.
    for (kept_max, bytes_max, expected) in [
        (8, 200_000, [true; 4]),
        (2, 200_000, [false, false, true, true]),
        (8, 80_000, [false, true, true, true]),
        (8, 50_000, [false, false, true, true]),
        (8, 10_000, [false; 4]),
        (0, 200_000, [false; 4]),
    ] {
        let mut readings = Readings::new(folder.path(), kept_max, bytes_max);
        let kept = ["a", "b", "c", "d"].map(|path| {
            readings.now += SECOND / 100;
            readings.make(path, Format::Html).1
        });
        let kept = kept.map(|directory| directory.upgrade().is_some());
        assert_eq!(kept, expected, "{kept_max}, {bytes_max}");
    }
}

/// A reading that alone is too large does not displace others.
#[test]
fn a_reading_that_is_too_large_does_not_displace_others() {
    let folder = folder();
    for number in 0..400 {
        let name = format!("a/{}{number:03}", "m".repeat(197));
        fs::write(folder.path().join(name), "").unwrap();
    }
    let mut readings = Readings::new(folder.path(), 8, 60_000);
    let (_, small) = readings.make("b", Format::Html);
    let (_, large) = readings.make("a", Format::Html);
    assert_eq!((small.upgrade().is_some(), large.upgrade().is_some()), (true, false));
}

/// Beneath another root, links of the same directory may lead elsewhere.
#[test]
fn a_reading_beneath_another_root_is_not_used() {
    let folder = folder();
    let mut readings = Readings::new(folder.path(), 8, 200_000);
    readings.make("a", Format::Html);
    readings.root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
    fs::write(folder.path().join("a/new"), "").unwrap();
    let (page, _) = readings.make("a", Format::Json);
    assert!(String::from_utf8(page).unwrap().contains("\"new\""));
}

/// Another directory may have got the name, without a report.
#[test]
fn a_reading_of_another_directory_of_the_same_name_is_not_used() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let mut readings = Readings::new(folder.path(), 8, 200_000);
    let (_, before) = readings.make("a", Format::Html);
    fs::rename(path("a"), path("old")).unwrap();
    fs::create_dir(path("a")).unwrap();
    fs::write(path("a/new"), "").unwrap();
    assert!(before.upgrade().is_some(), "the first reading is kept");
    let (page, _) = readings.make("a", Format::Json);
    assert!(String::from_utf8(page).unwrap().contains("\"new\""));
}

/// Not even until the next look at the time, for which the worker would have to wake up.
#[test]
fn without_a_validity_no_reading_is_kept() {
    let folder = folder();
    let mut readings =
        Readings { valid_for: Duration::ZERO, ..Readings::new(folder.path(), 8, 200_000) };
    let (job, directory) = readings.job("a", Asked::new(Format::Html));
    assert_eq!(readings.listings.deadline(), None);
    job.perform().unwrap();
    assert!(directory.upgrade().is_none());
}

/// Jobs that wait share a reading, also if it is dropped before they run.
#[test]
fn jobs_own_the_reading_that_they_share() {
    let folder = folder();
    let mut readings = Readings::new(folder.path(), 8, 200_000);
    let (first, directory) = readings.job("a", Asked::new(Format::Html));
    let (second, unused) = readings.job("a", Asked::new(Format::Json));
    readings.listings.clear(SITE);
    first.perform().unwrap();
    fs::write(folder.path().join("a/new"), "").unwrap();
    assert!(directory.upgrade().is_some() && unused.upgrade().is_none());
    let page = String::from_utf8(second.perform().unwrap()).unwrap();
    assert!(!page.contains("\"new\""), "the directory was read again");
    assert!(directory.upgrade().is_none());
}
