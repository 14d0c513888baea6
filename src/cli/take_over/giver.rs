//! The old server of a take-over: passes its listening sockets, and drains when the new one serves.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::wire::{self, Manifest, ManifestEntry, Role};
use crate::admin::{AdminSockets, Answer};
use crate::cli::console::Console;
use crate::cli::notify::Notify;
use crate::events::EventKind;
use crate::server::{Endpoint, HandOver, PassedEndpoint, Server};

/// How long the new server may take until it accepts.
const SERVING_WAIT: Duration = Duration::from_secs(60);

/// How long it may take to read what is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether the listeners are closed. A worker without room for connections
/// closes them later.
const CLOSED_PAUSE: Duration = Duration::from_millis(20);

/// What has become of a process that says nothing more.
const ENDED: &str = "it has ended before it served";

/// Passes the sockets of a server on; see the module documentation.
pub(in crate::cli) struct Giver {
    hand_over: HandOver,
    /// The sockets of the administration. Its threads keep this, so it must not keep them.
    admin: Weak<AdminSockets>,
    console: Console,
    is_stopping: Arc<AtomicBool>,
    /// Whether a take-over is under way.
    is_busy: AtomicBool,
    notify: Notify,
    /// How long the new server may take until it accepts.
    serving_wait: Duration,
}

impl Giver {
    /// Passes on the sockets of this server, and those of its administration.
    pub(in crate::cli) fn new(
        server: &Server,
        admin: &Arc<AdminSockets>,
        (console, notify): (&Console, &Notify),
        is_stopping: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            hand_over: server.hand_over(),
            admin: Arc::downgrade(admin),
            console: console.clone(),
            is_stopping: Arc::clone(is_stopping),
            is_busy: AtomicBool::new(false),
            notify: notify.clone(),
            serving_wait: SERVING_WAIT,
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
        let given = match self.begin() {
            Ok(given) => given,
            Err(error) => {
                self.is_busy.store(false, Ordering::Release);
                let text = format!("the server cannot pass its sockets on: {error}");
                return refuse(&mut client, "503 Service Unavailable", text);
            }
        };
        match self.pass(&mut client, &given) {
            Ok(left) => {
                // Otherwise the addresses that nobody accepts from would stay open.
                drop(given);
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

    /// The sockets that are passed, in the order of the manifest.
    fn begin(&self) -> io::Result<Vec<(Role, PassedEndpoint)>> {
        // Before the listeners become joint, which would have to be taken back.
        let admin = self.admin.upgrade().map_or(Ok(Vec::new()), |admin| admin.duplicates())?;
        let of_clients = self.hand_over.begin()?.into_iter().map(|it| (Role::Clients, it));
        Ok(of_clients.chain(admin.into_iter().map(|it| (Role::Administration, it))).collect())
    }

    /// Passes the sockets, and waits until the other process serves. Returns the addresses that it
    /// does not accept from.
    fn pass(
        &self,
        client: &mut Socket,
        given: &[(Role, PassedEndpoint)],
    ) -> io::Result<Vec<Endpoint>> {
        client.set_write_timeout(Some(SEND_TIMEOUT))?;
        let manifest = Manifest {
            version: wire::VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            endpoints: given.iter().map(|(role, it)| ManifestEntry::of(it, *role)).collect(),
        };
        let json = serde_json::to_string(&manifest).map_err(io::Error::other)?;
        let told = |error| if wire::is_gone(&error) { io::Error::other(ENDED) } else { error };
        client.write_all(&Answer::ok("application/json", json).bytes(false)).map_err(told)?;
        let sockets = given.iter().flat_map(|(_, passed)| &passed.sockets);
        let all: Vec<BorrowedFd<'_>> = sockets.map(AsFd::as_fd).collect();
        wire::send_descriptors(client, &all).map_err(told)?;
        let line = match wire::read_line(client, Instant::now() + self.serving_wait) {
            Ok(Some(line)) => line,
            // Reset, if it has not read everything.
            Ok(None) => return Err(io::Error::other(ENDED)),
            Err(error) if wire::is_gone(&error) => return Err(io::Error::other(ENDED)),
            Err(error) if is_late(&error) => {
                let text = format!("it does not serve after {:?}", self.serving_wait);
                return Err(io::Error::other(text));
            }
            Err(error) => return Err(error),
        };
        let mut words = line.split(' ');
        if words.next() != Some(wire::SERVING) {
            return Err(io::Error::other(format!("it says {line:?}")));
        }
        let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
        let left = numbers.iter().filter_map(|number| given.get(*number));
        Ok(left.map(|(_, passed)| passed.endpoint.clone()).collect())
    }

    /// Drains. The connection stays open as long as the process lives, so the other one learns of
    /// its end.
    fn complete(&self, mut client: Socket, left: &[Endpoint]) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.notify.stopping();
        let line = "another process has taken over; finishing open connections";
        self.console.tell(EventKind::TakenOver, line);
        // Before anything ends here, and before the other process accepts from them.
        self.admin.upgrade().iter().for_each(|admin| admin.give_up(left));
        let numbers = self.hand_over.complete(left);
        // If it has just ended, nobody accepts any more, and this server has said so.
        let _ = writeln!(client, "{}", wire::OK);
        while self.hand_over.is_open(&numbers) {
            thread::sleep(CLOSED_PAUSE);
        }
        let _ = writeln!(client, "{}", wire::CLOSED);
        let _ = client.set_read_timeout(None);
        while !matches!(client.read(&mut [0; 64]), Ok(0) | Err(_)) {}
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn refuse(client: &mut Socket, status: &'static str, text: String) {
    // The other process may be gone.
    let _ = client.set_write_timeout(Some(SEND_TIMEOUT));
    let _ = client.write_all(&Answer::text(status, text).bytes(false));
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::OwnedFd;

    use socket2::{Domain, Type};

    use super::*;
    use crate::cli::ObserveArgs;
    use crate::driver::{DriverKind, DriverSelection};
    use crate::serve;
    use crate::server::{ListenSpec, ServerSettings};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn tcp(endpoint: &Endpoint) -> SocketAddr {
        endpoint.socket_addr().unwrap()
    }

    /// Receives all sockets, as a new server does.
    fn receive(stream: &mut Socket) -> Vec<OwnedFd> {
        let (is_ok, body) = wire::read_answer(stream, soon()).unwrap();
        assert!(is_ok, "{}", String::from_utf8_lossy(&body));
        let manifest: Manifest = serde_json::from_slice(&body).unwrap();
        let roles: Vec<Role> = manifest.endpoints.iter().map(|entry| entry.role).collect();
        assert_eq!(roles, [Role::Clients, Role::Administration]);
        let count = manifest.endpoints.iter().map(|entry| entry.sockets).sum();
        wire::receive_descriptors(stream, count, soon()).unwrap()
    }

    /// A new server that is too late learns that the old one goes on. The next one is in time, and
    /// leaves the address of the administration.
    #[test]
    fn a_late_server_is_refused_and_the_next_one_is_not() {
        let place: ListenSpec = "127.0.0.1:0".parse().unwrap();
        let settings =
            ServerSettings { listen: vec![place.clone()], workers: 2, ..Default::default() };
        let selection = DriverSelection::make(Some(DriverKind::Epoll)).unwrap();
        let server = serve::echo(&settings, selection).unwrap();
        let admin = Arc::new(AdminSockets::bind(&[place], &mut Vec::new()).unwrap());
        let (address, admin_address) = (tcp(&server.addresses()[0]), tcp(&admin.endpoints()[0]));
        let console = Console::open(&ObserveArgs::default()).unwrap();
        let (notify, is_stopping) = (Notify::default(), Arc::default());
        let mut giver = Giver::new(&server, &admin, (&console, &notify), &is_stopping);
        giver.serving_wait = Duration::from_millis(50);
        let (mut late, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| giver.give(other));
            let sockets = receive(&mut late);
            assert_eq!(sockets.len(), 3, "one for each worker, and one of the administration");
            let line = wire::read_line(&mut late, soon()).unwrap();
            assert_eq!(line.as_deref(), Some(wire::GOES_ON));
        });
        assert!(!is_stopping.load(Ordering::Relaxed));
        TcpStream::connect(admin_address).unwrap();
        giver.serving_wait = Duration::from_secs(60);
        let (mut next, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| giver.give(other));
            let sockets = receive(&mut next);
            writeln!(next, "{} 1", wire::SERVING).unwrap();
            for word in [wire::OK, wire::CLOSED] {
                let line = wire::read_line(&mut next, soon()).unwrap();
                assert_eq!(line.as_deref(), Some(word));
            }
            server.join().unwrap();
            TcpStream::connect(address).unwrap();
            drop(sockets);
            TcpStream::connect(admin_address).unwrap_err();
            TcpStream::connect(address).unwrap_err();
            // The old server waits for the end of the new one, or for its own.
            drop(next);
        });
        assert!(is_stopping.load(Ordering::Relaxed));
    }
}
