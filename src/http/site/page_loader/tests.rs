//! Which compressed files are used, and which files are read.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::driver::Links;

#[test]
fn a_time_in_whole_seconds_is_not_older_than_its_second() {
    let plain = (1_700_000_000, 738_460_206);
    for (beside, is_new) in [
        (plain, true),
        ((plain.0, plain.1 + 1), true),
        ((plain.0 + 1, 0), true),
        // As `brotli -k` sets it.
        ((plain.0, 0), true),
        ((plain.0, plain.1 - 1), false),
        ((plain.0, 1), false),
        ((plain.0 - 1, 0), false),
        ((plain.0 - 1, 999_999_999), false),
    ] {
        assert_eq!(is_as_new(beside, plain), is_new, "{beside:?}");
    }
    assert!(!is_as_new((-2, 0), (-1, 0)) && is_as_new((-1, 0), (-1, 500_000_000)));
}

/// Opens a file.
fn open(folder: &Path, name: &str) -> io::Result<Arc<File>> {
    File::open_root(&folder.join(name), Links::Beneath).map(Arc::new)
}

/// More than the spare capacity that a buffer may have by chance.
const SMALL: u64 = 5000;

fn settings(folder: &Path) -> SiteSettings {
    let root = File::open_root(folder, Links::Beneath).unwrap();
    SiteSettings::new(Arc::new(root))
}

/// A time at which all files of a test are settled.
fn now() -> SystemTime {
    SystemTime::now() + Duration::from_secs(10)
}

/// A loader for the file `a` and the compressed files beside it.
fn loader(folder: &Path) -> PageLoader {
    let beside = Coding::ALL.map(|coding| (coding, open(folder, &format!("a{}", coding.suffix()))));
    let plain = open(folder, "a").unwrap();
    PageLoader::new(b"a".to_vec(), true, plain, beside.into()).unwrap()
}

/// Gives a loader what was read for a part.
fn take(folder: &Path, loader: &mut PageLoader, part: u8, read: usize, buffer: Vec<u8>) {
    let reply = Reply::Read(Ok(read), buffer);
    loader.take_reply(&settings(folder), part, reply, now()).unwrap();
}

/// Loads the page of `a`. `None` if it is the known one.
fn page(folder: &Path, known: Option<&Page>) -> Option<Page> {
    let (mut loader, asks) =
        match loader(folder).load(&settings(folder), SMALL, now(), known, &TagJobs::default()) {
            LoadStep::Page(page) => return Some(page),
            LoadStep::Unchanged => return None,
            LoadStep::Read(loader, asks) => (loader, asks),
        };
    for (part, ask) in asks {
        let Ask::Read { file, mut buffer, .. } = ask else { panic!("{ask:?}") };
        let len = file.metadata().len as usize;
        buffer.extend(std::iter::repeat_n(b'x', len));
        take(folder, &mut loader, part, len, buffer);
    }
    match loader.finish() {
        LoadStep::Page(page) => Some(page),
        next => panic!("{next:?}"),
    }
}

#[test]
fn only_regular_files_that_are_not_older_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "a.br", "a.gz"] {
        fs::write(path(name), "content").unwrap();
    }
    fs::create_dir(path("a.zst")).unwrap();
    let codings = || page(folder.path(), None).unwrap().codings().iter().collect::<Vec<_>>();
    assert_eq!(codings(), [Coding::Brotli, Coding::Gzip]);
    let old = UNIX_EPOCH + Duration::from_secs(784_111_777);
    fs::File::open(path("a.br")).unwrap().set_modified(old).unwrap();
    assert_eq!(codings(), [Coding::Gzip]);
    // An empty file cannot be compressed.
    fs::write(path("a"), "").unwrap();
    fs::write(path("a.gz"), "content").unwrap();
    assert_eq!(codings(), []);
}

/// Otherwise the page would be cached without the compressed file until it changes.
#[test]
fn a_transient_error_of_a_compressed_file_fails_the_page() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "content").unwrap();
    for (error, is_page) in [
        (io::Error::from_raw_os_error(libc::EMFILE), false),
        (io::Error::from_raw_os_error(libc::ENFILE), false),
        (io::Error::from_raw_os_error(libc::EAGAIN), false),
        (io::ErrorKind::ResourceBusy.into(), false),
        (io::Error::from_raw_os_error(libc::ENOENT), true),
        (io::Error::from_raw_os_error(libc::EACCES), true),
        (io::Error::from_raw_os_error(libc::EXDEV), true),
    ] {
        let what = error.to_string();
        let plain = open(folder.path(), "a").unwrap();
        let loader = PageLoader::new(b"a".to_vec(), true, plain, vec![(Coding::Gzip, Err(error))]);
        assert_eq!(loader.is_ok(), is_page, "{what}");
    }
}

/// Buffers have room for one byte more, which shows if a file grows. Empty files are not read, and
/// large files stay open.
#[test]
fn all_small_files_are_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, length) in [("a", 5001), ("a.br", 5000), ("a.zst", 0), ("a.gz", 1)] {
        fs::write(folder.path().join(name), vec![b'x'; length]).unwrap();
    }
    let next = loader(folder.path()).load(
        &settings(folder.path()),
        SMALL,
        now(),
        None,
        &TagJobs::default(),
    );
    let LoadStep::Read(mut loader, asks) = next else { panic!("{next:?}") };
    let mut reads = Vec::new();
    for (part, ask) in asks {
        let Ask::Read { file, offset: 0, mut buffer } = ask else { panic!("{ask:?}") };
        let (len, room) = (file.metadata().len as usize, buffer.capacity() - buffer.len());
        assert!(room > len, "part {part} of {len} bytes has room for {room}");
        buffer.extend(std::iter::repeat_n(b'y', len));
        reads.push((part, len, buffer));
    }
    assert_eq!(
        reads.iter().map(|(part, len, _)| (*part, *len)).collect::<Vec<_>>(),
        [(1, 5000), (3, 1)]
    );
    // The replies may come in any order.
    for (part, len, buffer) in reads.into_iter().rev() {
        take(folder.path(), &mut loader, part, len, buffer);
    }
    let next = loader.finish();
    let LoadStep::Page(page) = next else { panic!("{next:?}") };
    for (coding, is_in_file, body) in [
        (None, true, &b""[..]),
        (Some(Coding::Brotli), false, &[b'y'; 5000]),
        (Some(Coding::Zstd), false, b""),
        (Some(Coding::Gzip), false, b"y"),
    ] {
        let variant = page.variant(coding);
        let (file, content) = (variant.file().is_some(), variant.prepared().body());
        assert_eq!((file, content), (is_in_file, body), "{coding:?}");
    }
}

#[test]
fn a_file_whose_length_changes_while_it_is_read_stays_open() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "12345").unwrap();
    for read in [4, 5, 6] {
        let next = loader(folder.path()).load(
            &settings(folder.path()),
            SMALL,
            now(),
            None,
            &TagJobs::default(),
        );
        let LoadStep::Read(mut loader, mut asks) = next else { panic!("{next:?}") };
        let Some((0, Ask::Read { mut buffer, .. })) = asks.pop() else { panic!("{asks:?}") };
        buffer.extend_from_slice(&b"123456"[..read]);
        take(folder.path(), &mut loader, 0, read, buffer);
        let next = loader.finish();
        let LoadStep::Page(page) = next else { panic!("{next:?}") };
        let variant = page.variant(None);
        let is_whole = read == 5;
        assert_eq!((variant.file().is_none(), variant.len()), (is_whole, 5), "{read} bytes");
        assert_eq!(variant.prepared().body(), if is_whole { &b"12345"[..] } else { b"" });
    }
}

#[test]
fn a_page_is_not_read_again_while_its_files_are_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "a.gz"] {
        fs::write(path(name), "content").unwrap();
    }
    let first = page(folder.path(), None).unwrap();
    assert!(page(folder.path(), Some(&first)).is_none());
    fs::write(path("a.br"), "content").unwrap();
    let second = page(folder.path(), Some(&first)).expect("a compressed file was added");
    assert!(page(folder.path(), Some(&second)).is_none());
    fs::remove_file(path("a.gz")).unwrap();
    let third = page(folder.path(), Some(&second)).expect("a compressed file was removed");
    fs::write(path("a"), "longer content").unwrap();
    fs::write(path("a.br"), "content").unwrap();
    assert!(page(folder.path(), Some(&third)).is_some(), "the plain file has changed");
}

/// The settings of a site whose tags are made of content.
fn with_tags_of_content(folder: &Path) -> SiteSettings {
    let mut settings = settings(folder);
    settings.content.etag = TagSource::Content;
    settings
}

/// Loads a page with tags of content. Returns it and the numbers of the files that jobs have read;
/// `None` for the known page.
fn tagged_page(folder: &Path, known: Option<&Page>, busy: bool) -> Option<(Page, Vec<u8>)> {
    let settings = with_tags_of_content(folder);
    let next = loader(folder).load(&settings, SMALL, now(), known, &TagJobs::default());
    let (mut loader, asks) = match next {
        LoadStep::Read(loader, asks) => (loader, asks),
        LoadStep::Page(page) => return Some((page, Vec::new())),
        LoadStep::Unchanged => return None,
    };
    let mut jobs = Vec::new();
    for (part, ask) in asks {
        let reply = match ask {
            Ask::Run { .. } if busy => Reply::Ran(Err(io::ErrorKind::ResourceBusy.into())),
            Ask::Run { job } => {
                jobs.push(part);
                Reply::Ran(job.perform())
            }
            Ask::Read { file, mut buffer, .. } => {
                assert!(buffer.is_empty());
                file.read_through(|piece| buffer.extend_from_slice(piece)).unwrap();
                Reply::Read(Ok(buffer.len()), buffer)
            }
            other => panic!("{other:?}"),
        };
        loader.take_reply(&settings, part, reply, now()).unwrap();
    }
    let LoadStep::Page(page) = loader.finish() else { panic!("all files have their replies") };
    Some((page, jobs))
}

fn tag(page: &Page, coding: Option<Coding>) -> Option<String> {
    page.variant(coding).validators().tag.map(|tag| tag.to_string())
}

#[test]
fn a_large_file_is_hashed_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, byte, len| {
        fs::write(folder.path().join(name), vec![byte; len]).unwrap();
    };
    write("a", b'x', 6000);
    write("a.br", b'x', 6000);
    write("a.gz", b'y', 10);
    let (first, jobs) = tagged_page(folder.path(), None, false).unwrap();
    assert_eq!(jobs, [0, 1], "the small file is read into memory");
    let plain = tag(&first, None);
    assert_eq!(plain, Some(tags::tag_of(&[b'x'; 6000], None)));
    // The bytes are the same, but not the coding.
    assert_eq!(tag(&first, Some(Coding::Brotli)).unwrap().len(), plain.as_ref().unwrap().len() + 3);
    assert_eq!(
        tag(&first, Some(Coding::Gzip)),
        Some(tags::tag_of(&[b'y'; 10], Some(Coding::Gzip)))
    );
    assert!(tagged_page(folder.path(), Some(&first), false).is_none(), "nothing has changed");
    write("a.br", b'z', 7000);
    let (second, jobs) = tagged_page(folder.path(), Some(&first), false).unwrap();
    assert_eq!(jobs, [1], "the plain file has not changed");
    assert_eq!(tag(&second, None), plain);
    assert_ne!(tag(&second, Some(Coding::Brotli)), tag(&first, Some(Coding::Brotli)));
}

/// A tag that cannot be made now is made when the page is looked up again.
#[test]
fn a_tag_that_is_missing_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), [b'x'; 6000]).unwrap();
    let (page, _) = tagged_page(folder.path(), None, true).unwrap();
    assert_eq!(tag(&page, None), None);
    assert!(page.variant(None).validators().modified.is_some(), "the date is its validator");
    let (page, jobs) = tagged_page(folder.path(), Some(&page), false).unwrap();
    assert_eq!(jobs, [0]);
    assert!(tag(&page, None).is_some() && page.variant(None).validators().modified.is_none());
}

#[test]
fn a_small_file_that_grows_while_it_is_read_has_no_tag() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "12345").unwrap();
    let settings = with_tags_of_content(folder.path());
    let next = loader(folder.path()).load(&settings, SMALL, now(), None, &TagJobs::default());
    let LoadStep::Read(mut loader, _) = next else { panic!("{next:?}") };
    let reply = Reply::Read(Ok(6), b"123456".to_vec());
    loader.take_reply(&settings, 0, reply, now()).unwrap();
    let LoadStep::Page(page) = loader.finish() else { panic!() };
    assert_eq!((tag(&page, None), page.variant(None).len()), (None, 5));
    assert!(page.variant(None).file().is_some());
}

/// Files that are compressed by name have no compressed files beside them.
#[test]
fn nothing_is_beside_a_file_that_is_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    assert_eq!(codings_beside(&settings, b"a.svgz"), []);
    assert_eq!(codings_beside(&settings, b"a.png"), []);
    assert_eq!(codings_beside(&settings, b"a.svg"), Coding::ALL);
}
