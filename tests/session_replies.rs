//! What may happen between a session's question and its next turn: a connection that is sending
//! brings the answer at once, and lets the session go on only when the send is over.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringd::driver::{Chain, File};
use ringd::http::{Http, Settings, Site};
use ringd::session::{Inbox, Now, Reply, Session, Step};

/// A site that remembers one name for a second.
fn site() -> Site {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("html");
    let root = Arc::new(File::open_root(&root).unwrap());
    // Nothing in memory, so that a page needs no read.
    Site::new(Settings { cache_entries: 1, memory_file_max: 0, ..Settings::new(root) })
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

fn go_on(session: &mut Http, site: &mut Site, now: Now) -> Chain {
    let mut chain = Chain::new();
    let step = session.advance(site, now, &mut Inbox::new(b"", false), &mut chain);
    assert!(matches!(step, Step::Receive(_)), "{step:?}");
    chain
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
    go_on(&mut one, &mut site, now);

    now.instant += Duration::from_secs(2);
    let step = ask(&mut one, &mut site, now, "/style.css");
    reply(&mut one, &mut site, now, step);
    // Before the first session has its turn, another one needs the only place in the cache.
    let step = ask(&mut other, &mut site, now, "/missing");
    reply(&mut other, &mut site, now, step);
    go_on(&mut other, &mut site, now);

    let style = std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/html/style.css")).unwrap();
    assert!(go_on(&mut one, &mut site, now).remaining() > style.len(), "head and body");
}
