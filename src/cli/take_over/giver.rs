//! The old server of a take-over: passes its listening sockets, and drains when the new one serves.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::wire::{self, Manifest, ManifestEntry, Role, WireAddress};
use crate::admin::{AdminListeners, Answer, PassedTcp};
use crate::cli::console::Console;
use crate::cli::notify::Notify;
use crate::events::EventKind;
use crate::server::{Endpoint, HandOver, PassedEndpoint, Server};

/// How long the new server may take until it accepts.
const SERVING_WAIT: Duration = Duration::from_secs(60);

/// How long it may take to read what is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// What has become of a process that says nothing more.
const ENDED: &str = "it has ended before it served";

/// Passes the sockets of a server on; see the module documentation.
pub(in crate::cli) struct Giver {
    hand_over: HandOver,
    /// The sockets of the administration.
    administration: PassedTcp,
    console: Console,
    is_stopping: Arc<AtomicBool>,
    /// Whether a take-over is under way.
    is_busy: AtomicBool,
    notify: Notify,
}

impl Giver {
    /// Passes on the sockets of this server, and those of its administration.
    pub(in crate::cli) fn new(
        server: &Server,
        admin: &AdminListeners,
        (console, notify): (&Console, &Notify),
        is_stopping: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            hand_over: server.hand_over(),
            // If there is no descriptor left for one, the new server finds its address in use.
            administration: admin.duplicates().unwrap_or_default(),
            console: console.clone(),
            is_stopping: Arc::clone(is_stopping),
            is_busy: AtomicBool::new(false),
            notify: notify.clone(),
        }
    }

    /// Answers a process that takes over. Returns when it has failed, or at the end of the process.
    pub(in crate::cli) fn give(&self, mut client: Socket) {
        let refusal = match wire::is_trusted(&client) {
            Ok(true) => None,
            Ok(false) => Some("only root and the user of the server may take over".to_owned()),
            Err(error) => Some(format!("the user of the other process is not known: {error}")),
        };
        if let Some(text) = refusal {
            return refuse(&mut client, "403 Forbidden", text);
        }
        if self.is_stopping.load(Ordering::Relaxed) {
            let text = "the server is stopping; start ringd without --take-over when it has ended";
            return refuse(&mut client, "409 Conflict", text.to_owned());
        }
        if self.is_busy.swap(true, Ordering::AcqRel) {
            let text = "another process is taking over; wait for it to end";
            return refuse(&mut client, "409 Conflict", text.to_owned());
        }
        let passed = match self.hand_over.begin() {
            Ok(passed) => passed,
            Err(error) => {
                self.is_busy.store(false, Ordering::Release);
                let text = format!("the server cannot pass its sockets on: {error}");
                return refuse(&mut client, "503 Service Unavailable", text);
            }
        };
        match self.pass(&mut client, &passed) {
            Ok(left) => {
                // Otherwise the addresses that nobody accepts from would stay open.
                drop(passed);
                self.complete(client, &left);
            }
            Err(error) => {
                self.hand_over.take_back();
                let _ = writeln!(client, "{}", wire::GOES_ON);
                self.is_busy.store(false, Ordering::Release);
                let line = format!(
                    "another process has begun to take over, and failed: {error}; this server \
                     goes on"
                );
                self.console.tell(EventKind::TakeOverFailed, line);
            }
        }
    }

    /// Passes the sockets, and waits until the other process serves. Returns the addresses that it
    /// does not accept from.
    fn pass(&self, client: &mut Socket, passed: &[PassedEndpoint]) -> io::Result<Vec<Endpoint>> {
        client.set_write_timeout(Some(SEND_TIMEOUT))?;
        let of_clients = passed.iter().map(|passed| ManifestEntry {
            address: WireAddress::from(&passed.endpoint),
            role: Role::Clients,
            name: passed.name.clone(),
            number: passed.number,
            is_shared: passed.is_shared,
            file: passed.file,
            sockets: passed.sockets.len(),
        });
        let of_administration = self.administration.iter().map(|(endpoint, _)| ManifestEntry {
            address: WireAddress::from(endpoint),
            role: Role::Administration,
            name: None,
            number: None,
            is_shared: true,
            file: None,
            sockets: 1,
        });
        let manifest = Manifest {
            version: wire::VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            endpoints: of_clients.chain(of_administration).collect(),
        };
        let json = serde_json::to_string(&manifest).map_err(io::Error::other)?;
        let told = |error| if is_gone(&error) { io::Error::other(ENDED) } else { error };
        client.write_all(&Answer::ok("application/json", json).bytes(false)).map_err(told)?;
        let sockets = passed.iter().flat_map(|passed| &passed.sockets);
        let administration = self.administration.iter().map(|(_, socket)| socket);
        let all: Vec<BorrowedFd<'_>> = sockets.chain(administration).map(AsFd::as_fd).collect();
        wire::send_descriptors(client, &all).map_err(told)?;
        let line = match wire::read_line(client, Instant::now() + SERVING_WAIT) {
            Ok(Some(line)) => line,
            // Reset, if it has not read everything.
            Ok(None) => return Err(io::Error::other(ENDED)),
            Err(error) if is_gone(&error) => return Err(io::Error::other(ENDED)),
            Err(error) if is_late(&error) => {
                let text = format!("it does not serve after {SERVING_WAIT:?}");
                return Err(io::Error::other(text));
            }
            Err(error) => return Err(error),
        };
        let mut words = line.split(' ');
        if words.next() != Some(wire::SERVING) {
            return Err(io::Error::other(format!("it says {line:?}")));
        }
        let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
        let left = numbers.iter().filter_map(|number| passed.get(*number));
        Ok(left.map(|passed| passed.endpoint.clone()).collect())
    }

    /// Drains. The connection stays open as long as the process lives, so the other one learns of
    /// its end.
    fn complete(&self, mut client: Socket, left: &[Endpoint]) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.notify.stopping();
        let line = "another process has taken over; finishing open connections";
        self.console.tell(EventKind::TakenOver, line);
        self.hand_over.complete(left);
        // If it has just ended, nobody accepts any more, and this server has said so.
        let _ = writeln!(client, "{}", wire::OK);
        let _ = client.set_read_timeout(None);
        while !matches!(client.read(&mut [0; 64]), Ok(0) | Err(_)) {}
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn refuse(client: &mut Socket, status: &'static str, text: String) {
    // The other process may be gone.
    let _ = client.set_write_timeout(Some(SEND_TIMEOUT));
    let _ = client.write_all(&Answer::text(status, text).bytes(false));
}
