//! The session's state between calls, where output alone does not show it.

use crate::session::Now;
use std::sync::Arc;

use super::*;
use crate::driver::{File, Links};
use crate::http::HttpSettings;
use crate::service::SessionId;

/// A site without files, and a session that has answered `requests` requests.
fn begin(requests: usize) -> (Sites, Http) {
    let folder = tempfile::tempdir().unwrap();
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
    let mut sites = Sites::new(HttpSettings::of_root(root), Now::read(), None);
    let mut http = Http::new(&mut sites, &ConnectionInfo::detached());
    for _ in 0..requests {
        let request = b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
        let (step, taken, out) = advance(&mut sites, &mut http, request);
        assert!(matches!(step, Step::Receive(ReceiveTimeout::KeepAlive)), "{step:?}");
        assert!(taken == request.len() && !out.is_empty());
    }
    (sites, http)
}

fn advance(sites: &mut Sites, http: &mut Http, bytes: &[u8]) -> (Step, usize, Vec<u8>) {
    let (mut inbox, mut asks, mut out) = (Inbox::new(bytes, false), Vec::new(), Chain::new());
    let mut cx = Context::new(sites, Now::read(), SessionId::detached(0), false, &mut asks);
    let step = http.advance(&mut cx, &mut inbox, &mut out);
    (step, inbox.taken(), crate::driver::chain::read_all(&mut out))
}

fn expire(sites: &mut Sites, http: &mut Http) -> (Step, Vec<u8>) {
    let (mut asks, mut out) = (Vec::new(), Chain::new());
    let mut cx = Context::new(sites, Now::read(), SessionId::detached(0), false, &mut asks);
    let step = http.expire(&mut cx, Timer::Receive, &mut out);
    (step, crate::driver::chain::read_all(&mut out))
}

/// Parsing a head after each of its bytes would take quadratic time.
#[test]
fn a_head_that_arrives_in_bytes_is_parsed_a_few_times() {
    let (mut sites, mut http) = begin(0);
    let head = format!("GET /{} HTTP/1.1\r\n", "x".repeat(8000));
    let mut parsed_at = Vec::new();
    for end in 0..head.len() {
        let (step, taken, _) = advance(&mut sites, &mut http, &head.as_bytes()[..end]);
        assert_eq!((step, taken), (Step::Receive(ReceiveTimeout::Header), 0));
        if parsed_at.last() != Some(&http.seen) {
            parsed_at.push(http.seen);
        }
    }
    // At 0 and each power of two up to `PARSE_AFTER`, then after each `PARSE_AFTER` bytes.
    let most = 2 + PARSE_AFTER.ilog2() as usize + head.len() / PARSE_AFTER;
    assert!((10..=most).contains(&parsed_at.len()), "{parsed_at:?}");
    // The end of a line is noticed at once: it may be the last.
    advance(&mut sites, &mut http, head.as_bytes());
    assert_eq!(http.seen as usize, head.len());
}

/// Blank lines before a request are not the beginning of one (RFC 9112 section 2.2).
#[test]
fn a_connection_with_only_blank_lines_is_idle() {
    use ReceiveTimeout::{Header, KeepAlive};
    for (input, begun) in [
        ("", false),
        ("\r", false),
        ("\r\n", false),
        ("\r\n\r\n\r", false),
        ("G", true),
        ("\r\nG", true),
        ("\r\n\r\nGET / HTTP/1.1\r\n", true),
    ] {
        for answered in [0, 1] {
            let (mut sites, mut http) = begin(answered);
            let (step, taken, out) = advance(&mut sites, &mut http, input.as_bytes());
            let timeout = if begun || answered == 0 { Header } else { KeepAlive };
            assert_eq!((step, taken), (Step::Receive(timeout), 0), "{input:?}");
            assert!(out.is_empty());
            let (step, out) = expire(&mut sites, &mut http);
            assert!(matches!(step, Step::Finish { linger } if linger == begun), "{input:?}");
            assert_eq!(out.starts_with(b"HTTP/1.1 408 "), begun, "{input:?}");
            assert_eq!(out.is_empty(), !begun, "{input:?}");
        }
    }
}

/// The client is still sending the body. Closing at once would reset the connection, and the reset
/// could overtake the answer (RFC 9112 section 9.6).
#[test]
fn the_end_of_the_time_for_a_body_lingers() {
    let (mut sites, mut http) = begin(0);
    let head = b"OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nbody";
    let (step, ..) = advance(&mut sites, &mut http, head);
    assert_eq!(step, Step::Receive(ReceiveTimeout::Body));
    let (step, out) = expire(&mut sites, &mut http);
    assert!(matches!(step, Step::Finish { linger: true }), "{step:?}");
    assert!(out.is_empty(), "the request has its answer already");
}

/// Input behind the last request makes the kernel reset the connection, and the reset destroys what
/// has not arrived. One segment arrives as a whole, together with the end of the connection.
#[test]
fn the_last_answer_lingers_unless_it_is_one_segment() {
    let last = "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let first = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    for (before, more, lingers) in [
        ("", "", false),
        ("", "\r", true),
        ("", "GET / HTTP/1.1\r\n", true),
        // Nothing tells whether the earlier answers have arrived.
        (first, "", true),
    ] {
        let (mut sites, mut http) = begin(0);
        let input = [before, last, more].concat();
        let (step, taken, out) = advance(&mut sites, &mut http, input.as_bytes());
        assert!(matches!(step, Step::Finish { linger } if linger == lingers), "{input:?} {step:?}");
        assert_eq!(taken, input.len(), "the input is discarded");
        assert!(out.starts_with(b"HTTP/1.1 204 "));
        // Also if the input arrives later.
        let (step, ..) = advance(&mut sites, &mut http, b"more");
        assert!(matches!(step, Step::Finish { linger: true }), "{input:?} {step:?}");
    }
    let (mut sites, mut http) = begin(1);
    let (step, ..) = advance(&mut sites, &mut http, last.as_bytes());
    assert!(matches!(step, Step::Finish { linger: true }), "an earlier answer: {step:?}");
}

/// Also if the request is refused before its method was of interest (RFC 9110 section 9.3.2).
#[test]
fn a_refusal_of_head_has_no_content() {
    let long = format!("/{} HTTP/1.1\r\n", "x".repeat(20_000));
    for rest in [
        "/ HTTP/1.1\r\n\r\n",
        "/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "/ HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n",
        "/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
        "/ HTTP/3.0\r\nHost: a\r\n\r\n",
        "# HTTP/1.1\r\nHost: a\r\n\r\n",
        &long,
    ] {
        let mut answers = ["GET", "\r\nHEAD"].map(|method| {
            let (mut sites, mut http) = begin(0);
            let (_, _, out) = advance(&mut sites, &mut http, format!("{method} {rest}").as_bytes());
            String::from_utf8(out).unwrap()
        });
        for answer in &mut answers {
            let date = answer.find("Date: ").expect("a date");
            answer.replace_range(date..date + 37, "");
        }
        let [get, head] = answers;
        let (get_head, content) = get.split_once("\r\n\r\n").unwrap();
        assert!(!content.is_empty(), "{rest}: {get}");
        assert_eq!(head, format!("{get_head}\r\n\r\n"), "{rest}");
    }
    let (mut sites, mut http) = begin(0);
    advance(&mut sites, &mut http, b"HEAD / HTTP/1.1\r\nHo");
    let (_, out) = expire(&mut sites, &mut http);
    let answer = String::from_utf8(out).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}
