//! What may happen between a session's question and its next turn. If a connection is sending,
//! the session gets the reply at once, but continues only when the send is complete.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringd::ask::{Ask, Reply};
use ringd::driver::chain::read_all;
use ringd::driver::{Chain, File, Links};
use ringd::http::harness::{Harness, perform};
use ringd::http::{Content, Http, HttpSettings, Sites};
use ringd::service::SessionId;
use ringd::session::{ConnectionInfo, Context, Inbox, Now, Session, Step};

/// The settings of a site whose cache holds one name, for a second.
fn settings() -> HttpSettings {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("html");
    let root = Arc::new(File::open_root(&root, Links::Beneath).unwrap());
    // No content in memory, so a page needs no read.
    let settings = HttpSettings::of_root(root);
    HttpSettings { cache_entries: 1, memory_file_max: 0, ..settings.with_content(alone()) }
}

/// Without precompressed files, so one open decides the outcome of a name.
fn alone() -> Content {
    Content { precompressed: false, ..Content::default() }
}

/// A request. It stays in the inbox until it is answered.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends a session a request that needs a lookup.
fn ask(harness: &mut Harness, session: usize, now: Now, path: &str) {
    let said = harness.advance(session, now, get(path).as_bytes(), false);
    assert_eq!((said.step, said.taken), (Step::Wait, 0), "{path}");
}

/// Answers the open question.
fn reply(harness: &mut Harness, now: Now) {
    let (id, ask) = harness.next_ask(now).expect("an open question");
    assert!(matches!(ask, Ask::Open { .. }), "{ask:?} opens nothing");
    harness.reply(now, id, perform(ask));
}

#[test]
fn a_revalidated_page_is_served_even_if_it_was_evicted() {
    let mut harness = Harness::new(settings());
    // Late enough for the files to count as settled.
    let mut now = Now::read();
    now.system = SystemTime::now() + Duration::from_secs(60);
    let (one, other) = (harness.begin(), harness.begin());
    harness.answer(one, now, get("/style.css").as_bytes());

    now.instant += Duration::from_secs(2);
    ask(&mut harness, one, now, "/style.css");
    reply(&mut harness, now);
    // Before the first session has its turn, another one takes the only place in the cache.
    ask(&mut harness, other, now, "/missing");
    reply(&mut harness, now);
    harness.answer(other, now, get("/missing").as_bytes());

    let style = std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/html/style.css")).unwrap();
    let said = harness.advance(one, now, get("/style.css").as_bytes(), false);
    assert!(matches!(said.step, Step::Receive(_)), "{:?}", said.step);
    assert!(said.output.len() as u64 > style.len(), "head and body");
}

/// The status line of a session's answer to a request.
fn status(harness: &mut Harness, session: usize, now: Now, path: &str) -> String {
    let answer = String::from_utf8(harness.answer(session, now, get(path).as_bytes())).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn a_delayed_answer_does_not_restore_an_old_file() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("page.txt"), "old").unwrap();
    let settings =
        HttpSettings::of_root(Arc::new(File::open_root(root.path(), Links::Beneath).unwrap()));
    let mut harness =
        Harness::new(HttpSettings { memory_file_max: 0, ..settings.with_content(alone()) });
    let mut now = Now::read();
    let (slow, other) = (harness.begin(), harness.begin());
    // The client does not read, so its answer waits.
    ask(&mut harness, slow, now, "/page.txt");
    reply(&mut harness, now);

    std::fs::remove_file(root.path().join("page.txt")).unwrap();
    now.instant += Duration::from_secs(2);
    assert_eq!(status(&mut harness, other, now, "/page.txt"), "HTTP/1.1 404 Not Found");
    let late = harness.advance(slow, now, get("/page.txt").as_bytes(), false);
    assert!(late.output.ends_with(b"old"), "{:?}", late.step);
    assert_eq!(status(&mut harness, other, now, "/page.txt"), "HTTP/1.1 404 Not Found");
}

/// During a send, a session writes nothing and takes no input: the input stays.
#[test]
fn nothing_is_answered_during_a_send() {
    let mut sites = Sites::new(settings(), Now::read(), None);
    let mut session = Http::new(&mut sites, &ConnectionInfo::detached());
    let (now, input) = (Now::read(), "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (sending, taken) in [(true, 0), (true, 0), (false, input.len())] {
        let (mut inbox, mut out) = (Inbox::new(input.as_bytes(), false), Chain::new());
        let mut asks = Vec::new();
        let id = SessionId::detached(0);
        let mut cx = Context::new(&mut sites, now, id, sending, &mut asks);
        let step = session.advance(&mut cx, &mut inbox, &mut out);
        assert_eq!((step == Step::Wait, inbox.taken()), (sending, taken));
        assert_eq!(read_all(&mut out).is_empty(), sending);
    }
}

/// `d/` and `d/index.html` are one name; the result does not depend on which is requested first.
#[test]
fn a_directory_named_like_an_index_is_a_directory() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("d/index.html")).unwrap();
    let expected = [
        ("/d/", "HTTP/1.1 404 Not Found"),
        ("/d/index.html", "HTTP/1.1 308 Permanent Redirect"),
        ("/d/index.html/", "HTTP/1.1 404 Not Found"),
    ];
    for first in 0..expected.len() {
        let root = Arc::new(File::open_root(root.path(), Links::Beneath).unwrap());
        let mut harness = Harness::new(HttpSettings::of_root(root));
        let session = harness.begin();
        for turn in 0..2 * expected.len() {
            let (path, line) = expected[(first + turn) % expected.len()];
            assert_eq!(status(&mut harness, session, Now::read(), path), line, "{path}");
        }
    }
}

/// Reading a large directory is nearly all the work of a page, so a reading serves all pages for as
/// long as results are valid. Later requests read the directory again.
#[test]
fn a_reading_serves_all_pages_of_its_time() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("one"), "").unwrap();
    std::fs::create_dir(root.path().join("inner")).unwrap();
    let settings =
        HttpSettings::of_root(Arc::new(File::open_root(root.path(), Links::Beneath).unwrap()));
    let content = Content { listing: true, ..alone() };
    let mut harness = Harness::new(settings.with_content(content));
    let mut now = Now::read();
    let list = |harness: &mut Harness, now: &mut Now, path: &str| {
        browse(harness, now, path, &|_, _| Ok(()))
    };
    assert!(list(&mut harness, &mut now, "/").contains(">one<"));
    std::fs::write(root.path().join("two"), "").unwrap();
    std::fs::write(root.path().join("inner/three"), "").unwrap();
    assert!(
        !list(&mut harness, &mut now, "/?order=desc").contains(">two<"),
        "it is not read again"
    );
    assert!(list(&mut harness, &mut now, "/inner/").contains(">three<"));
    now.instant += Duration::from_secs(1);
    assert!(list(&mut harness, &mut now, "/?sort=time").contains(">two<"), "its time is over");
}

/// Sends a request for a page, as a browser does, and returns the answer if each open of a name
/// has the outcome that `open` returns.
fn browse(harness: &mut Harness, now: &mut Now, path: &str, open: Opens<'_>) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n");
    let (session, mut output) = (harness.begin(), Vec::new());
    loop {
        let said = harness.advance(session, *now, request.as_bytes(), false);
        output.extend(said.output);
        match said.step {
            Step::Receive(_) => return String::from_utf8(output).unwrap(),
            Step::Wait => {}
            step => panic!("{step:?}"),
        }
        while let Some((id, ask)) = harness.next_ask(*now) {
            let refused = match &ask {
                Ask::Open { path, .. } => open(path.to_str().unwrap(), now).err(),
                _ => None,
            };
            let reply = match refused {
                Some(error) => Reply::Opened(Err(error)),
                None => perform(ask),
            };
            harness.reply(*now, id, reply);
        }
    }
}

type Opens<'a> = &'a dyn Fn(&str, &mut Now) -> io::Result<()>;

fn error(code: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(code))
}

/// Crawlers drop pages that return 404.
#[test]
fn a_shortage_is_not_a_404() {
    let content = Content { spa: Some(b"app.html".to_vec()), ..alone() };
    let (_folder, mut harness) = harness_with(content, &["app.html"]);
    let answer = browse(&mut harness, &mut Now::read(), "/route", &|name, _| match name {
        "app.html" => error(libc::EMFILE),
        _ => Ok(()),
    });
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer}");
}

/// The result of a lookup may expire while the page for the error is opened.
#[test]
fn an_error_has_the_page_of_its_own_status() {
    let pages = vec![(404, b"404.html".to_vec()), (403, b"403.html".to_vec())];
    let content = Content { error_pages: pages, ..alone() };
    let (_folder, mut harness) = harness_with(content, &["404.html", "403.html"]);
    let mut now = Now::read();
    let ok = |_: &str, _: &mut Now| Ok(());
    let other = browse(&mut harness, &mut now, "/other", &ok);
    assert!(other.starts_with("HTTP/1.1 404 ") && other.ends_with("404.html"), "{other}");
    now.instant += Duration::from_millis(500);
    browse(&mut harness, &mut now, "/page", &ok);
    // The error's page has expired, but not the result that there is no such page.
    now.instant += Duration::from_millis(700);
    let answer = browse(&mut harness, &mut now, "/page", &|name, now| match name {
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

/// Sessions of a site whose files contain their own names, in a directory that is removed with
/// it.
fn harness_with(content: Content, files: &[&str]) -> (tempfile::TempDir, Harness) {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
    (folder, Harness::new(HttpSettings::of_root(root).with_content(content)))
}
