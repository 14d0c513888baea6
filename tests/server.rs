//! The server around the sessions: what happens when a worker fails.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use ringd::driver::{Chain, DriverKind, DriverSelection, Limits};
use ringd::server::{self, ServerSettings};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

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

/// Whichever worker it is, its end is noticed and ends the others: nobody is left with a server
/// that runs on fewer workers than it says.
#[test]
fn a_worker_that_panics_ends_the_server() {
    for kind in DriverKind::ALL {
        let selection = match DriverSelection::make(Some(kind)) {
            Ok(selection) => selection,
            Err(error) => {
                println!("{kind} skipped: {error}");
                continue;
            }
        };
        let settings = ServerSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            workers: 4,
            connections_max: 100,
            header_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(1),
            limits: Limits::default(),
            trace: None,
        };
        let server = server::start::<Broken>(&settings, selection, |_| ()).unwrap();
        let mut peer = TcpStream::connect(server.addresses()[0]).unwrap();
        peer.write_all(b"hello").unwrap();
        let error = server.join().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
