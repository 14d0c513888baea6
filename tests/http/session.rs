//! The session alone, where each moment can be chosen exactly.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ringd::ask::{Ask, AskId};
use ringd::driver::{File, Links};
use ringd::http::harness::{Harness, perform};
use ringd::http::{Content, HttpSettings};
use ringd::session::{Now, ReceiveTimeout, Step};

/// Sessions of a site with two files, and room for one name in its cache.
fn harness(directory: &tempfile::TempDir) -> Harness {
    for name in ["a.txt", "b.txt"] {
        fs::write(directory.path().join(name), name).unwrap();
    }
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    // Precompressed files are not looked up, so one open decides the result.
    let content = Content { precompressed: false, ..Content::default() };
    Harness::new(HttpSettings {
        cache_entries: 1,
        ..HttpSettings::of_root(root).with_content(content)
    })
}

/// Lets a session answer a request completely.
fn answer(harness: &mut Harness, session: usize, now: Now, request: &str) -> String {
    String::from_utf8(harness.answer(session, now, request.as_bytes())).unwrap()
}

/// Calls a session that has to wait, and returns the only open question.
fn question(harness: &mut Harness, session: usize, now: Now, request: &str) -> (AskId, Ask) {
    let said = harness.advance(session, now, request.as_bytes(), false);
    assert_eq!((said.step, said.taken), (Step::Wait, 0));
    let asked = harness.next_ask(now).expect("an open question");
    assert!(harness.next_ask(now).is_none());
    asked
}

const A: &str = "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n";
const B: &str = "GET /b.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// The answer to an open may have to wait until earlier output is sent. Meanwhile other sessions
/// use the cache.
#[test]
fn a_revalidated_page_may_be_evicted_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut harness = harness(&directory);
    let mut now = Now::read();
    // Late enough for the files to count as settled.
    now.system += Duration::from_secs(10);
    let (first, second) = (harness.begin(), harness.begin());
    assert!(answer(&mut harness, first, now, A).ends_with("a.txt"));
    now.instant += Duration::from_secs(5);
    let (id, ask) = question(&mut harness, first, now, A);
    harness.reply(now, id, perform(ask));
    assert!(answer(&mut harness, second, now, B).ends_with("b.txt"));
    // The result is already known, and is not asked for again.
    let said = harness.advance(first, now, A.as_bytes(), false);
    assert!(String::from_utf8(said.output).unwrap().ends_with("a.txt"), "{:?}", said.step);
}

/// During a revalidation, requests get the cached page, unless it is too old: then all wait for
/// the same lookup. Without shared lookups, each session would start one.
#[test]
fn an_expired_page_is_asked_for_once() {
    for (age, goes_on) in [(1500, true), (5000, false)] {
        let directory = tempfile::tempdir().unwrap();
        let mut harness = harness(&directory);
        let mut now = Now::read();
        now.system += Duration::from_secs(10);
        let sessions = [harness.begin(), harness.begin(), harness.begin()];
        let [first, second, third] = sessions;
        answer(&mut harness, first, now, A);
        now.instant += Duration::from_millis(age);
        let (id, ask) = question(&mut harness, first, now, A);
        assert!(matches!(ask, Ask::Open { .. }));
        for other in [second, third] {
            let said = harness.advance(other, now, A.as_bytes(), false);
            let went_on = matches!(said.step, Step::Receive(_));
            assert_eq!(went_on, goes_on, "{age} ms: {:?}", said.step);
            assert!(harness.next_ask(now).is_none(), "{age} ms: it is asked for already");
        }
        harness.reply(now, id, perform(ask));
        let waited = if goes_on { &sessions[..1] } else { &sessions };
        for session in waited {
            let said = harness.advance(*session, now, A.as_bytes(), false);
            assert!(matches!(said.step, Step::Receive(_)), "{age} ms: {:?}", said.step);
            assert!(said.output.ends_with(b"a.txt"));
        }
    }
}

/// Nothing that a clock says may end a worker: neither a clock that is not set, nor one far ahead.
#[test]
fn a_clock_out_of_range_only_costs_the_dates() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("far.txt"), "far").unwrap();
    let far = fs::File::options().write(true).open(directory.path().join("far.txt")).unwrap();
    far.set_modified(UNIX_EPOCH + Duration::from_secs(1 << 40)).unwrap();
    let day = Duration::from_secs(86400);
    for (system, has_clock) in [
        (UNIX_EPOCH - Duration::from_secs(1 << 40), false),
        (UNIX_EPOCH - Duration::from_nanos(1), false),
        (UNIX_EPOCH, true),
        (UNIX_EPOCH + Duration::from_secs(253_402_300_799), true),
        (UNIX_EPOCH + Duration::from_secs(253_402_300_800), false),
        (UNIX_EPOCH + Duration::from_secs(1 << 60), false),
    ] {
        let content = Content { listing: true, ..Content::default() };
        let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
        let mut harness = Harness::new(HttpSettings::of_root(root).with_content(content));
        let mut now = Now { system, ..Now::read() };
        let session = harness.begin();
        for (target, fields, status) in [
            ("/far.txt", "", 200),
            ("/far.txt", "If-Modified-Since: Friday, 06-Nov-20 08:49:37 GMT\r\n", 200),
            ("/far.txt", "Range: bytes=0-0\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200),
            ("/", "", 200),
            ("/?sort=time", "Accept: application/json\r\n", 200),
            ("/missing", "", 404),
            ("/\u{1}", "", 400),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let said = answer(&mut harness, session, now, &request);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{system:?} {said}");
            assert_eq!(said.contains("\r\nDate: "), has_clock, "{system:?} {said}");
            now.instant += day;
        }
    }
}

/// Responses are put together from runs of prepared fields and fields of their own.
#[test]
fn no_response_has_a_field_twice() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("dir")).unwrap();
    for (name, length) in [("a.css", 1000), ("a.css.br", 500), ("404.html", 100), ("big.js", 9000)]
    {
        fs::write(directory.path().join(name), vec![b'x'; length]).unwrap();
    }
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    let content = Content { listing: true, ..Content::default() };
    let mut harness = Harness::new(HttpSettings::of_root(root).with_content(content));
    let mut now = Now::read();
    now.system += Duration::from_secs(10);
    let mut statuses = std::collections::BTreeSet::new();
    for target in ["/a.css", "/big.js", "/missing", "/dir", "/dir/", "/%zz"] {
        for lines in [
            "",
            "Range: bytes=0-0",
            "Range: bytes=0-0,200-201",
            "Range: bytes=99999-",
            "If-None-Match: *",
            "If-Match: \"x\"",
        ] {
            for coding in ["br", "identity"] {
                for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                    let fields = format!("Accept-Encoding: {coding}\r\nConnection: close\r\n");
                    let lines = if lines.is_empty() { "X: y" } else { lines };
                    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
                    let session = harness.begin();
                    let said = answer(&mut harness, session, now, &format!("{head}{fields}\r\n"));
                    let (head, _) = said.split_once("\r\n\r\n").unwrap();
                    statuses.insert(head[9..12].to_owned());
                    let names = head.split("\r\n").skip(1).map(|line| line.split(':').next());
                    let mut names: Vec<_> =
                        names.map(|name| name.unwrap().to_lowercase()).collect();
                    names.sort_unstable();
                    let all = names.len();
                    names.dedup();
                    assert_eq!(names.len(), all, "{method} {target} {lines}: {head}");
                }
            }
        }
    }
    let expected = ["200", "204", "206", "304", "308", "400", "404", "405", "412", "416"];
    assert_eq!(Vec::from_iter(statuses), expected);
}

/// Reading a directory is nearly all of the work of a listing, and HEAD needs it only for the tag.
#[test]
fn a_directory_is_not_read_for_head() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.txt"), "a.txt").unwrap();
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    let content = Content { listing: true, ..Content::default() };
    let mut harness = Harness::new(HttpSettings::of_root(root).with_content(content));
    let now = Now::read();
    for (method, fields, reads) in
        [("HEAD", "", false), ("HEAD", "If-None-Match: \"x\"\r\n", true), ("GET", "", true)]
    {
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (session, mut jobs) = (harness.begin(), 0);
        let mut said = harness.advance(session, now, request.as_bytes(), false);
        while said.step == Step::Wait {
            while let Some((id, ask)) = harness.next_ask(now) {
                jobs += usize::from(matches!(ask, Ask::Run { .. }));
                harness.reply(now, id, perform(ask));
            }
            said = harness.advance(session, now, request.as_bytes(), false);
        }
        let head = String::from_utf8(said.output).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {head}");
        // The page is cached after the first reading.
        assert!(jobs == usize::from(reads) || method == "GET", "{method} {fields}: {jobs} jobs");
        assert_eq!(head.contains("Content-Length: "), reads, "{method} {head}");
    }
}

/// `Duration::MAX` is how a program says that results are valid forever.
#[test]
fn results_may_be_valid_forever() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.txt"), "a.txt").unwrap();
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    let settings = HttpSettings { revalidate_after: Duration::MAX, ..HttpSettings::of_root(root) };
    let mut harness = Harness::new(settings);
    let mut now = Now::read();
    let session = harness.begin();
    for _ in 0..3 {
        assert!(answer(&mut harness, session, now, A).ends_with("a.txt"));
        now.instant += Duration::from_secs(365 * 86400);
    }
    assert_eq!(harness.sites.cache_stats().revalidations, 0);
}

/// A server that drains closes while the client may still be sending.
#[test]
fn the_last_answer_of_a_drain_lingers() {
    let directory = tempfile::tempdir().unwrap();
    let mut harness = harness(&directory);
    let now = Now::read();
    let session = harness.begin();
    harness.drain(session);
    // The file is opened, then read.
    for _ in 0..2 {
        let (id, ask) = question(&mut harness, session, now, A);
        harness.reply(now, id, perform(ask));
    }
    let said = harness.advance(session, now, A.as_bytes(), false);
    assert!(String::from_utf8(said.output).unwrap().contains("Connection: close\r\n"));
    assert!(matches!(said.step, Step::Finish { linger: true }), "{:?}", said.step);
}

/// Unlike one segment, several may be cut off by a reset before they have arrived.
#[test]
fn an_answer_of_several_segments_lingers() {
    let directory = tempfile::tempdir().unwrap();
    let mut harness = harness(&directory);
    let request = "GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut now = Now::read();
    for (length, lingers) in [(5, false), (1000, false), (1460, true), (100_000, true)] {
        fs::write(directory.path().join("a.txt"), vec![b'x'; length]).unwrap();
        now.instant += Duration::from_secs(5);
        // Caches the file.
        let other = harness.begin();
        answer(&mut harness, other, now, A);
        let session = harness.begin();
        let said = harness.advance(session, now, request.as_bytes(), false);
        let as_it_should = matches!(said.step, Step::Finish { linger } if linger == lingers);
        assert!(as_it_should, "{length} bytes: {:?}", said.step);
    }
}

/// If a client closes, its question is dropped, unless other sessions wait for the reply too. In
/// either case the reply reaches no closed session.
#[test]
fn closed_sessions_are_not_waited_for() {
    for (others, asked) in [(false, false), (false, true), (true, false), (true, true)] {
        let directory = tempfile::tempdir().unwrap();
        let mut harness = harness(&directory);
        let now = Now::read();
        let (first, second) = (harness.begin(), harness.begin());
        assert_eq!(harness.advance(first, now, A.as_bytes(), false).step, Step::Wait);
        if others {
            assert_eq!(harness.advance(second, now, A.as_bytes(), false).step, Step::Wait);
        }
        let before = if asked { harness.next_ask(now) } else { None };
        assert_eq!(before.is_some(), asked);
        harness.close(first, now);
        let after = harness.next_ask(now);
        assert_eq!(
            after.is_some(),
            others && !asked,
            "a question is asked only if a session waits"
        );
        if let Some((id, ask)) = before.or(after) {
            harness.reply(now, id, perform(ask));
        }
        assert!(answer(&mut harness, second, now, A).ends_with("a.txt"));
    }
}

/// A slow body has its own timeout, so the head after it gets the whole header timeout.
#[test]
fn a_head_behind_a_body_has_its_own_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let mut harness = harness(&directory);
    let now = Now::read();
    let session = harness.begin();
    let post = "POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    let mut last = Step::Wait;
    for (bytes, timeout) in [
        ("P", ReceiveTimeout::Header),
        (&post[1..], ReceiveTimeout::Body),
        ("bod", ReceiveTimeout::Body),
        ("yGET", ReceiveTimeout::Header),
    ] {
        let mut said = harness.advance(session, now, bytes.as_bytes(), false);
        while said.taken < bytes.len() && said.step != Step::Receive(ReceiveTimeout::Header) {
            said = harness.advance(session, now, &bytes.as_bytes()[said.taken..], false);
        }
        assert_eq!(said.step, Step::Receive(timeout), "after {bytes:?}");
        last = said.step;
    }
    assert_ne!(last, Step::Wait);
}
