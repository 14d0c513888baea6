//! What a monitor tells of the workers.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use ringd::driver::{Chain, DriverSelection};
use ringd::server::{self, Published, ServerSettings};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

use crate::common::{WAIT_MAX, eventually, on_every_driver, settings};

/// Ends the turn in which a session hangs.
fn release() -> &'static (SyncSender<()>, Mutex<Receiver<()>>) {
    static RELEASE: OnceLock<(SyncSender<()>, Mutex<Receiver<()>>)> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let (release, wait) = sync_channel(1);
        (release, Mutex::new(wait))
    })
}

/// A session that hangs at the first byte.
struct Hanging;

impl Session for Hanging {
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self
    }

    fn advance(&mut self, _: &mut Context<'_, ()>, inbox: &mut Inbox<'_>, _: &mut Chain) -> Step {
        if inbox.bytes().is_empty() {
            return Step::Receive(ReceiveTimeout::Header);
        }
        release().1.lock().unwrap().recv().unwrap();
        Step::Finish { linger: false }
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn drain(&mut self) {}
}

#[test]
fn a_worker_that_hangs_is_found_and_idle_ones_are_not() {
    on_every_driver(|kind| {
        let settings = ServerSettings { workers: 3, ..settings() };
        let selection = DriverSelection::make(Some(kind)).unwrap();
        let server = server::start::<Hanging>(&settings, selection, |_| ()).unwrap();
        let monitor = server.monitor();
        assert_eq!(monitor.unresponsive(WAIT_MAX), [0; 0], "all are idle");
        let mut peer = TcpStream::connect(&server.addresses()[0]).unwrap();
        peer.write_all(b"hang").unwrap();
        let hanging = || monitor.unresponsive(Duration::from_millis(50)).len();
        // The others may be late on a busy machine, but not for ever.
        eventually("one worker hangs", || hanging() == 1);
        assert_eq!(monitor.counts().accepted, 1, "of all workers");
        release().0.send(()).unwrap();
        assert_eq!(monitor.unresponsive(WAIT_MAX), [0; 0], "it has gone on");
        let threads: Vec<_> = monitor.workers().filter_map(Published::thread).collect();
        assert_eq!(threads.len(), 3);
        let is_thread = |id: &u32| std::path::Path::new(&format!("/proc/self/task/{id}")).exists();
        assert!(threads.iter().all(is_thread), "{threads:?}");
        server.stop().unwrap();
    });
}
