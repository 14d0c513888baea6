//! What the server does if a worker fails.

use std::io::Write;
use std::net::TcpStream;

use ringd::driver::{Chain, DriverSelection};
use ringd::server::{self, ServerSettings};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

use crate::common::{on_every_driver, settings};

/// A session with a bug.
struct Broken;

impl Session for Broken {
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self
    }

    fn advance(&mut self, _: &mut Context<'_, ()>, inbox: &mut Inbox<'_>, _: &mut Chain) -> Step {
        assert!(inbox.bytes().is_empty(), "this panic is part of a test");
        Step::Receive(ReceiveTimeout::Header)
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn drain(&mut self) {}
}

/// The end of any worker is noticed and ends the others, so no server keeps running with fewer
/// workers than it reports.
#[test]
fn a_worker_that_panics_ends_the_server() {
    on_every_driver(|kind| {
        let settings = ServerSettings { workers: 4, ..settings() };
        let selection = DriverSelection::make(Some(kind)).unwrap();
        let server = server::start::<Broken>(&settings, selection, |_| ()).unwrap();
        let mut peer = TcpStream::connect(&server.addresses()[0]).unwrap();
        peer.write_all(b"hello").unwrap();
        let error = server.join().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    });
}
