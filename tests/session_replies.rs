//! What may happen between a session's question and its next turn: a connection that is sending
//! brings the answer at once, and lets the session go on only when the send is over.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringd::driver::chain::read_all;
use ringd::driver::{Chain, File, Job, Links};
use ringd::http::{Content, Http, Settings, Site};
use ringd::session::{Inbox, Now, Reply, Session, Step};

/// A site that remembers one name for a second.
fn site() -> Site {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("html");
    let root = Arc::new(File::open_root(&root, Links::Beneath).unwrap());
    // Nothing in memory, so that a page needs no read.
    let settings = Settings::new(root);
    Site::new(Settings { cache_entries: 1, memory_file_max: 0, content: alone(), ..settings })
}

/// Nothing beside a file is looked for, so that one open tells what it is.
fn alone() -> Content {
    Content { precompressed: false, ..Content::default() }
}

fn ask(session: &mut Http, site: &mut Site, now: Now, path: &str) -> Step {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    session.advance(site, now, &mut Inbox::new(request.as_bytes(), false), &mut Chain::new())
}

/// Answers the question that a step asks.
fn reply(session: &mut Http, site: &mut Site, now: Now, step: Step) {
    let Step::Open { root, path } = step else { panic!("{step:?} opens nothing") };
    let opened = File::open_beneath(&root, &path).map(Arc::new);
    session.resume(site, now, Reply::Opened(opened));
}

/// Lets a session answer, and opens what it asks for on the way.
fn go_on(session: &mut Http, site: &mut Site, now: Now, path: &str) -> Chain {
    // The request stays in the inbox until it is answered.
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut chain = Chain::new();
    loop {
        let inbox = &mut Inbox::new(request.as_bytes(), false);
        match session.advance(site, now, inbox, &mut chain) {
            Step::Receive(_) => return chain,
            step => reply(session, site, now, step),
        }
    }
}

#[test]
fn a_page_that_was_confirmed_is_served_even_when_the_cache_has_forgotten_it() {
    let mut site = site();
    // Later than any change of the files, so that they count as settled.
    let mut now = Now::read();
    now.system = SystemTime::now() + Duration::from_secs(60);
    let (mut one, mut other) = (Http::new(&site), Http::new(&site));
    let step = ask(&mut one, &mut site, now, "/style.css");
    reply(&mut one, &mut site, now, step);
    go_on(&mut one, &mut site, now, "/style.css");

    now.instant += Duration::from_secs(2);
    let step = ask(&mut one, &mut site, now, "/style.css");
    reply(&mut one, &mut site, now, step);
    // Before the first session has its turn, another one needs the only place in the cache.
    let step = ask(&mut other, &mut site, now, "/missing");
    reply(&mut other, &mut site, now, step);
    go_on(&mut other, &mut site, now, "/missing");

    let style = std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/html/style.css")).unwrap();
    assert!(
        go_on(&mut one, &mut site, now, "/style.css").remaining() > style.len(),
        "head and body"
    );
}

/// The status line that a session answers a request with.
fn status(session: &mut Http, site: &mut Site, now: Now, path: &str) -> String {
    let mut chain = go_on(session, site, now, path);
    let answer = String::from_utf8(read_all(&mut chain)).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn an_answer_that_had_to_wait_brings_no_old_file_back() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("page.txt"), "old").unwrap();
    let settings = Settings::new(Arc::new(File::open_root(root.path(), Links::Beneath).unwrap()));
    let mut site = Site::new(Settings { memory_file_max: 0, content: alone(), ..settings });
    let mut now = Now::read();
    let (mut slow, mut other) = (Http::new(&site), Http::new(&site));
    // Its client does not read, so its answer waits.
    let step = ask(&mut slow, &mut site, now, "/page.txt");
    reply(&mut slow, &mut site, now, step);

    std::fs::remove_file(root.path().join("page.txt")).unwrap();
    now.instant += Duration::from_secs(2);
    assert_eq!(status(&mut other, &mut site, now, "/page.txt"), "HTTP/1.1 404 Not Found");
    let mut late = go_on(&mut slow, &mut site, now, "/page.txt");
    assert!(read_all(&mut late).ends_with(b"old"));
    assert_eq!(status(&mut other, &mut site, now, "/page.txt"), "HTTP/1.1 404 Not Found");
}

/// `d/` and `d/index.html` are one name; what they get does not depend on who comes first.
#[test]
fn a_directory_that_is_called_like_an_index_is_a_directory() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("d/index.html")).unwrap();
    let expected = [
        ("/d/", "HTTP/1.1 404 Not Found"),
        ("/d/index.html", "HTTP/1.1 308 Permanent Redirect"),
        ("/d/index.html/", "HTTP/1.1 404 Not Found"),
    ];
    for first in 0..expected.len() {
        let settings =
            Settings::new(Arc::new(File::open_root(root.path(), Links::Beneath).unwrap()));
        let mut site = Site::new(settings);
        let mut session = Http::new(&site);
        for turn in 0..2 * expected.len() {
            let (path, line) = expected[(first + turn) % expected.len()];
            assert_eq!(status(&mut session, &mut site, Now::read(), path), line, "{path}");
        }
    }
}

/// Opens what a request for a listing asks for; gives the job that makes the page.
fn listing_job(session: &mut Http, site: &mut Site, now: Now, path: &str) -> Job {
    loop {
        match ask(session, site, now, path) {
            Step::Run { job } => return job,
            step => reply(session, site, now, step),
        }
    }
}

fn page_of(job: Job) -> String {
    String::from_utf8(job.perform().unwrap()).unwrap()
}

/// Reading a large directory is nearly all the work of a page, so those who wait at the same time
/// share it: whatever pages they want. Nobody else gets it.
#[test]
fn listings_that_wait_together_are_read_once() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("one"), "").unwrap();
    std::fs::create_dir(root.path().join("inner")).unwrap();
    let settings = Settings::new(Arc::new(File::open_root(root.path(), Links::Beneath).unwrap()));
    let content = Content { listing: true, ..alone() };
    let mut site = Site::new(Settings { content, ..settings });
    let mut now = Now::read();
    let mut wait = |now, path| listing_job(&mut Http::new(&site), &mut site, now, path);
    let first = wait(now, "/");
    let together = wait(now, "/?order=desc");
    let elsewhere = wait(now, "/inner/");
    now.instant += Duration::from_secs(1);
    let later = wait(now, "/?sort=time");
    assert!(page_of(first).contains("./one"));
    std::fs::write(root.path().join("two"), "").unwrap();
    std::fs::write(root.path().join("inner/three"), "").unwrap();
    let shows_two = |job: Job| page_of(job).contains("./two");
    assert!(!shows_two(together), "it was read for the first");
    assert!(page_of(elsewhere).contains("./three"));
    assert!(shows_two(later), "what was asked for a second ago is not shared");
    assert!(shows_two(wait(now, "/?sort=size")), "nobody waits any more");
}

/// A head of a request for a page, as a browser sends it, and what comes of it when each open of
/// a name has the outcome that `open` says.
fn browse(site: &mut Site, now: &mut Now, path: &str, open: Opens<'_>) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n");
    let (mut session, mut chain) = (Http::new(site), Chain::new());
    loop {
        let inbox = &mut Inbox::new(request.as_bytes(), false);
        match session.advance(site, *now, inbox, &mut chain) {
            Step::Receive(_) => return String::from_utf8(read_all(&mut chain)).unwrap(),
            Step::Open { root, path } => {
                let name = path.to_str().unwrap();
                let opened =
                    open(name, now).and_then(|()| File::open_beneath(&root, &path).map(Arc::new));
                session.resume(site, *now, Reply::Opened(opened));
            }
            Step::Read { file, offset, mut buffer } => {
                let file = std::fs::File::from(file.as_fd().try_clone_to_owned().unwrap());
                let mut content = vec![0; buffer.capacity() - buffer.len()];
                let read = file.read_at(&mut content, offset);
                buffer.extend_from_slice(&content[..*read.as_ref().unwrap()]);
                session.resume(site, *now, Reply::Read(read, buffer));
            }
            step => panic!("{step:?}"),
        }
    }
}

type Opens<'a> = &'a dyn Fn(&str, &mut Now) -> io::Result<()>;

fn error(code: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(code))
}

/// Crawlers forget what is not found.
#[test]
fn a_shortage_is_no_missing_page() {
    let mut site = site_with(Content { spa: Some(b"app.html".to_vec()), ..alone() }, &["app.html"]);
    let answer = browse(&mut site.1, &mut Now::read(), "/route", &|name, _| match name {
        "app.html" => error(libc::EMFILE),
        _ => Ok(()),
    });
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer}");
}

/// What is known of a name may expire while the page of its error is opened.
#[test]
fn an_error_has_the_page_of_its_own_status() {
    let pages = vec![(404, b"404.html".to_vec()), (403, b"403.html".to_vec())];
    let content = Content { error_pages: pages, ..alone() };
    let mut site = site_with(content, &["404.html", "403.html"]);
    let mut now = Now::read();
    let ok = |_: &str, _: &mut Now| Ok(());
    let other = browse(&mut site.1, &mut now, "/other", &ok);
    assert!(other.starts_with("HTTP/1.1 404 ") && other.ends_with("404.html"), "{other}");
    now.instant += Duration::from_millis(500);
    browse(&mut site.1, &mut now, "/page", &ok);
    // The page of the error has expired, but not that there is no page.
    now.instant += Duration::from_millis(700);
    let answer = browse(&mut site.1, &mut now, "/page", &|name, now| match name {
        "page" => error(libc::EACCES),
        "404.html" => {
            // A slow disk.
            now.instant += Duration::from_secs(3);
            Ok(())
        }
        _ => Ok(()),
    });
    let (status, body) = (&answer[..12], answer.split("\r\n\r\n").nth(1).unwrap());
    assert_eq!((status, body), ("HTTP/1.1 403", "403.html"), "{answer}");
}

/// A site of files that hold their names, in a folder that goes away with it.
fn site_with(content: Content, files: &[&str]) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
    let site = Site::new(Settings { content, ..Settings::new(root) });
    (folder, site)
}
