//! The error log: why files are not served, and what is cut off.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use ringd::driver::DriverKind;
use ringd::events::{EventFormat, EventKind, EventLevel, EventSettings, Events};
use ringd::log_output::LogTarget;

use crate::common::eventually;
use crate::hostile::sparse;
use crate::support::fixture::{Fixture, Setup};

const LENGTH: u64 = 24 << 20;

/// A server with an error log.
struct Told {
    fixture: Fixture,
    events: Events,
    folder: tempfile::TempDir,
}

impl Told {
    fn start(kind: DriverKind, change: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = LogTarget::File(folder.path().join("error.log"));
        let settings = EventSettings { target, format: EventFormat::Text, level: EventLevel::Info };
        let events = Events::open(settings).unwrap();
        let fixture = Fixture::start_with(kind, |setup| {
            setup.http.events = events.clone();
            setup.server.events = events.clone();
            change(setup);
        });
        Self { fixture, events, folder }
    }

    fn count(&self, kind: EventKind) -> u64 {
        self.events.counts().into_iter().find(|(known, _)| *known == kind).unwrap().1
    }

    /// Waits for the first line of a kind, and returns it. An event is counted before its line is
    /// written.
    fn line(&self, kind: EventKind) -> String {
        let (mark, mut found) = (format!(" {}: ", kind.name()), None);
        eventually("it is told", || {
            let text = fs::read_to_string(self.folder.path().join("error.log")).unwrap();
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            found = whole.map(str::to_owned).find(|line| line.contains(&mark));
            found.is_some()
        });
        found.expect("it was found")
    }
}

pub(crate) fn the_cause_of_a_403_is_told(kind: DriverKind) {
    let told = Told::start(kind, |_| {});
    symlink("/etc/hostname", told.fixture.path("out")).unwrap();
    assert_eq!(told.fixture.get("/out").status, 403);
    let line = told.line(EventKind::FileDenied);
    assert!(line.contains("403 for /out of site") && line.contains("leads out of"), "{line}");
    told.fixture.get("/missing");
    assert_eq!(told.count(EventKind::FileDenied), 1, "a missing file is no event");
    told.fixture.finish();
}

pub(crate) fn a_file_that_shrinks_is_told(kind: DriverKind) {
    let told = Told::start(kind, |_| {});
    let path = told.fixture.path("long.bin");
    sparse(&path, LENGTH);
    let mut client = told.fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_head();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let _ = client.count_to_end();
    let line = told.line(EventKind::FileShrank);
    assert!(line.contains("long.bin became shorter"), "{line}");
    told.fixture.finish();
}

/// A client that goes away is its own affair.
pub(crate) fn a_client_that_leaves_is_no_event(kind: DriverKind) {
    let told = Told::start(kind, |_| {});
    sparse(&told.fixture.path("long.bin"), LENGTH);
    let mut client = told.fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_head();
    drop(client);
    told.fixture.finish();
    assert!(
        told.events.counts().iter().all(|(_, count)| *count == 0),
        "{:?}",
        told.events.counts()
    );
}

pub(crate) fn what_a_drain_cuts_off_is_told(kind: DriverKind) {
    let told = Told::start(kind, |setup| setup.server.timeouts.drain = Duration::from_millis(50));
    sparse(&told.fixture.path("long.bin"), LENGTH);
    let mut client = told.fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_head();
    told.fixture.stopper().stop();
    let line = told.line(EventKind::DrainCutOff);
    let peer = if told.fixture.is_unix() { "a Unix socket" } else { "127.0.0.1:" };
    assert!(line.contains(&format!("the connection of {peer}")), "{line}");
}

pub(crate) fn a_full_server_is_told(kind: DriverKind) {
    let told = Told::start(kind, |setup| setup.server.connections_max = 2);
    let clients = [(); 2].map(|()| told.fixture.connect());
    let line = told.line(EventKind::ConnectionsFull);
    assert!(line.contains("a worker has 2 connections"), "{line}");
    drop(clients);
    told.fixture.finish();
}
