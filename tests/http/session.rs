//! The session alone, where a moment can be chosen exactly.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{Chain, File, Links, chain};
use ringd::http::{Content, Http, Settings, Site};
use ringd::session::{Inbox, Now, Reply, Session, Step};

/// A site over two files, with room for one name in its cache.
fn site(directory: &tempfile::TempDir) -> Site {
    for name in ["a.txt", "b.txt"] {
        fs::write(directory.path().join(name), name).unwrap();
    }
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    // Nothing beside the files is looked for, so that one open tells all.
    let content = Content { precompressed: false, ..Content::default() };
    Site::new(Settings { cache_entries: 1, content, ..Settings::new(root) })
}

/// Performs a step and lets the session know.
fn perform(session: &mut Http, site: &mut Site, now: Now, step: Step) {
    let reply = match step {
        Step::Open { root, path } => Reply::Opened(File::open_beneath(&root, &path).map(Arc::new)),
        Step::Read { file, mut buffer, .. } => {
            let mut file = fs::File::from(file.as_fd().try_clone_to_owned().unwrap());
            let read = file.read_to_end(&mut buffer);
            Reply::Read(read, buffer)
        }
        other => panic!("{other:?} needs nothing"),
    };
    session.resume(site, now, reply);
}

fn advance(session: &mut Http, site: &mut Site, now: Now, input: &str) -> (Step, Vec<u8>) {
    let mut out = Chain::new();
    let step = session.advance(site, now, &mut Inbox::new(input.as_bytes(), false), &mut out);
    (step, chain::read_all(&mut out))
}

/// Lets a session answer a request to its end.
fn answer(session: &mut Http, site: &mut Site, now: Now, request: &str) -> String {
    let (mut step, mut bytes) = advance(session, site, now, request);
    while !matches!(step, Step::Receive(_)) {
        perform(session, site, now, step);
        let more;
        // The request stays until it is answered.
        (step, more) = advance(session, site, now, if bytes.is_empty() { request } else { "" });
        bytes.extend(more);
    }
    String::from_utf8(bytes).unwrap()
}

const A: &str = "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n";
const B: &str = "GET /b.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// The answer to an open may have to wait until what was written before it is sent. Meanwhile
/// other sessions use the cache.
#[test]
fn what_was_found_unchanged_may_be_evicted_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = site(&directory);
    let mut now = Now::read();
    // Late enough for the files to count as settled.
    now.system += Duration::from_secs(10);
    let (mut first, mut second) = (Http::new(&site), Http::new(&site));
    assert!(answer(&mut first, &mut site, now, A).ends_with("a.txt"));
    now.instant += Duration::from_secs(5);
    let (step, _) = advance(&mut first, &mut site, now, A);
    perform(&mut first, &mut site, now, step);
    assert!(answer(&mut second, &mut site, now, B).ends_with("b.txt"));
    assert!(answer(&mut first, &mut site, now, A).ends_with("a.txt"));
}

/// Whoever asks while somebody else asks the file system gets what is known, unless that is old:
/// then everybody asks.
#[test]
fn an_expired_page_is_asked_for_once() {
    for (age, once) in [(1500, true), (5000, false)] {
        let directory = tempfile::tempdir().unwrap();
        let mut site = site(&directory);
        let mut now = Now::read();
        now.system += Duration::from_secs(10);
        let (mut first, mut second) = (Http::new(&site), Http::new(&site));
        answer(&mut first, &mut site, now, A);
        now.instant += Duration::from_millis(age);
        let (step, _) = advance(&mut first, &mut site, now, A);
        assert!(matches!(step, Step::Open { .. }));
        let (step, _) = advance(&mut second, &mut site, now, A);
        assert_eq!(matches!(step, Step::Receive(_)), once, "{age} ms: {step:?}");
    }
}

/// A server that drains ends the connection of its own accord: the client may be sending.
#[test]
fn the_last_answer_of_a_drain_lingers() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = site(&directory);
    let now = Now::read();
    let mut session = Http::new(&site);
    session.drain();
    let (step, _) = advance(&mut session, &mut site, now, A);
    perform(&mut session, &mut site, now, step);
    let (step, _) = advance(&mut session, &mut site, now, A);
    perform(&mut session, &mut site, now, step);
    let (step, bytes) = advance(&mut session, &mut site, now, A);
    assert!(String::from_utf8(bytes).unwrap().contains("Connection: close\r\n"));
    assert!(matches!(step, Step::Finish { linger: true }), "{step:?}");
}
