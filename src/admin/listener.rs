//! The sockets of the administration, and the threads that serve their clients.
//!
//! A client has a thread of its own, so one that sends or reads slowly delays no other. It has
//! [`CLIENT_TIMEOUT`] for its request, and as long for the answer; at most [`CLIENTS_MAX`] are
//! served at a time, and the others wait in the backlog.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::Admin;
use super::request::{AdminRequest, Answer, LIMITS, REQUEST_MAX, respond};
use crate::events::EventKind;
use crate::http::h1::head::{self, Head, RequestBody};
use crate::server::{Endpoint, ListenSpec, UnixAddress, UnixOptions, UnixSocket};
use crate::signal_mask::block_signals;

/// The mode of a Unix socket: only the user of the server, and root.
const MODE: u32 = 0o600;

/// How many places the administration may have.
pub(crate) const PLACES_MAX: usize = 8;

/// How many clients are served at a time.
pub(crate) const CLIENTS_MAX: usize = 16;

/// How long a client may take to send its request, and then to read the answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may still send after the answer, and how many bytes. One that waits for the
/// end of the answer closes at once.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
const DISCARDED_MAX: usize = 1 << 20;

/// After accept(2) has failed, the thread waits this long, as descriptors may have run out.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Stack size of the thread of a client, in bytes.
const STACK_BYTES: usize = 512 * 1024;

/// Listening sockets of TCP that one process passes to another.
pub(crate) type PassedTcp = Vec<(Endpoint, OwnedFd)>;

/// Sockets that are listened on.
#[derive(Debug)]
pub(crate) struct AdminListeners {
    tcp: Vec<TcpListener>,
    unix: Vec<(UnixAddress, UnixSocket)>,
}

/// What must live as long as the administration: dropping it removes the files of its sockets.
#[derive(Debug)]
pub(crate) struct AdminFiles {
    sockets: Vec<(UnixAddress, UnixSocket)>,
}

impl AdminFiles {
    /// Takes the names of Unix sockets from the server that this one replaces.
    ///
    /// # Errors
    ///
    /// When a file cannot be renamed.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|(address, socket)| {
            address.as_path().map_or(Ok(()), |path| socket.replace(path))
        })
    }
}

impl AdminListeners {
    /// Listens at these places.
    ///
    /// # Errors
    ///
    /// When a place cannot be listened on: the cause and the remedy.
    pub(crate) fn bind(places: &[ListenSpec]) -> Result<Self, String> {
        Self::bind_with(places, None)
    }

    /// Listens at these places beside a server that is replaced, and has passed these sockets.
    ///
    /// # Errors
    ///
    /// As for [`AdminListeners::bind`].
    pub(crate) fn take_over(places: &[ListenSpec], passed: PassedTcp) -> Result<Self, String> {
        Self::bind_with(places, Some(passed))
    }

    fn bind_with(places: &[ListenSpec], mut passed: Option<PassedTcp>) -> Result<Self, String> {
        if places.len() > PLACES_MAX {
            return Err(format!(
                "--admin: there are {} places; give at most {PLACES_MAX}",
                places.len()
            ));
        }
        let is_beside = passed.is_some();
        let mut listeners = Self { tcp: Vec::new(), unix: Vec::new() };
        for place in places {
            let failed = |error: &dyn std::fmt::Display| format!("--admin {place}: {error}");
            if let ListenSpec::Unix(address, _) = place {
                let address = match address {
                    UnixAddress::Path(path) => UnixAddress::Path(
                        std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                    ),
                    other => other.clone(),
                };
                let options = UnixOptions { mode: MODE, ..UnixOptions::default() };
                let bind = if is_beside { UnixSocket::bind_beside } else { UnixSocket::bind };
                let socket = bind(&address, &options).map_err(|it| failed(&it))?;
                listeners.unix.push((address, socket));
                continue;
            }
            for endpoint in place.resolve().map_err(|error| failed(&error))? {
                let of_place = passed.iter_mut().find_map(|passed| {
                    let place = passed.iter().position(|(other, _)| *other == endpoint)?;
                    Some(passed.swap_remove(place).1)
                });
                if let Some(socket) = of_place {
                    listeners.tcp.push(socket.into());
                    continue;
                }
                let Some(address) = endpoint.socket_addr() else { continue };
                let is_both = matches!(endpoint, Endpoint::BothFamilies(_));
                let listener = listen(address, is_both).map_err(|error| {
                    let remedy = match error.kind() {
                        io::ErrorKind::AddrInUse => {
                            "choose another port; `ss -ltnp` shows who listens"
                        }
                        io::ErrorKind::PermissionDenied => "choose a port above 1023",
                        _ => "check the address",
                    };
                    failed(&format!("cannot listen on {address}: {error}; {remedy}"))
                })?;
                listeners.tcp.push(listener);
            }
        }
        Ok(listeners)
    }

    /// Duplicates of the sockets that are no Unix sockets, for a server that replaces this one.
    pub(crate) fn duplicates(&self) -> io::Result<PassedTcp> {
        let duplicate = |listener: &TcpListener| {
            let address = listener.local_addr()?;
            let is_both = address.is_ipv6() && !SockRef::from(listener).only_v6()?;
            let endpoint = match is_both {
                true => Endpoint::BothFamilies(address.port()),
                false => address.into(),
            };
            Ok((endpoint, OwnedFd::from(listener.try_clone()?)))
        };
        self.tcp.iter().map(duplicate).collect()
    }

    /// Where it is listened, with the ports that the kernel has picked.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok());
        let unix = self.unix.iter().map(|(address, _)| Endpoint::Unix(address.clone()));
        tcp.map(Endpoint::from).chain(unix).collect()
    }

    /// Serves clients, in threads that run as long as the process does.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn serve(self, admin: Admin) -> io::Result<AdminFiles> {
        let (admin, places) = (Arc::new(admin), Arc::new(Places::default()));
        let mut sockets = Vec::new();
        for listener in self.tcp {
            accept_from(Socket::from(listener), false, &admin, &places)?;
        }
        for (address, socket) in self.unix {
            let listener = socket.listener.try_clone()?;
            accept_from(Socket::from(listener), true, &admin, &places)?;
            sockets.push((address, socket));
        }
        Ok(AdminFiles { sockets })
    }
}

/// How many clients wait in the backlog.
const BACKLOG: i32 = 128;

/// Listens at an address, and for IPv6 also at those of IPv4 only if both are meant, whatever the
/// default of the system is.
fn listen(address: SocketAddr, is_both: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!is_both)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Counts the clients that are served.
#[derive(Default, Debug)]
struct Places {
    taken: Mutex<usize>,
    changed: Condvar,
}

/// The place of a client.
struct TakenPlace(Arc<Places>);

impl Places {
    /// Waits for a place.
    fn take(self: &Arc<Self>) -> TakenPlace {
        let full = |taken: &mut usize| *taken >= CLIENTS_MAX;
        let taken = self.changed.wait_while(self.lock(), full);
        *taken.unwrap_or_else(PoisonError::into_inner) += 1;
        TakenPlace(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_one();
    }
}

/// Starts the thread of a listener.
fn accept_from(
    listener: Socket,
    is_local: bool,
    admin: &Arc<Admin>,
    places: &Arc<Places>,
) -> io::Result<()> {
    let (admin, places) = (Arc::clone(admin), Arc::clone(places));
    let run = move || {
        block_signals();
        loop {
            match listener.accept() {
                Ok((client, _)) => serve_client(client, is_local, &admin, places.take()),
                Err(error) => {
                    let cause = format!("the administration cannot accept a client: {error}");
                    admin.source.events.tell(EventKind::Admin, || cause);
                    thread::sleep(RETRY_AFTER);
                }
            }
        }
    };
    thread::Builder::new().name("admin".into()).stack_size(STACK_BYTES).spawn(run).map(drop)
}

/// Starts the thread of a client.
fn serve_client(client: Socket, is_local: bool, admin: &Arc<Admin>, place: TakenPlace) {
    let its_admin = Arc::clone(admin);
    let run = move || {
        // A client that goes away in the middle harms nobody else.
        drop(answer(client, is_local, &its_admin));
        drop(place);
    };
    let started = thread::Builder::new().name("admin-client".into()).stack_size(STACK_BYTES);
    if let Err(error) = started.spawn(run) {
        let cause = format!("the administration cannot serve a client: no thread: {error}");
        admin.source.events.tell(EventKind::Admin, || cause);
    }
}

/// Reads a request and answers it.
fn answer(mut client: Socket, is_local: bool, admin: &Admin) -> io::Result<()> {
    let until = Instant::now() + CLIENT_TIMEOUT;
    let mut received = Vec::new();
    let local = client.local_addr().ok().and_then(|address| address.as_socket());
    let is_loopback = local.is_some_and(|address| address.ip().to_canonical().is_loopback());
    let (answer, head_only, is_all) = loop {
        let mut buffer = [0; REQUEST_MAX];
        let count = read_until(&mut client, &mut buffer, until)?;
        received.extend_from_slice(&buffer[..count]);
        match head::parse(&received, &LIMITS) {
            Ok(Some((Head { request, body, .. }, length))) => {
                let (target, host, head) = (request.target, request.host, &received[..length]);
                let request = AdminRequest { target, host, head, is_local, is_loopback };
                if let Some(take_over) = request.take_over(admin) {
                    take_over(client);
                    return Ok(());
                }
                let is_all = received.len() == length && body == RequestBody::None;
                break (respond(admin, &request), request.method() == b"HEAD", is_all);
            }
            Ok(None) if count > 0 => {}
            Ok(None) => {
                break (Answer::text("400 Bad Request", "The request has no end."), false, true);
            }
            Err(refusal) => {
                let head_only = received.trim_ascii_start().starts_with(b"HEAD ");
                break (Answer::refusal(&refusal), head_only, false);
            }
        }
    };
    write_until(&mut client, &answer.bytes(head_only), Instant::now() + CLIENT_TIMEOUT)?;
    // The place of a client that has nothing more to send is free at once.
    if is_all { Ok(()) } else { discard(client) }
}

/// Reads what a client sends until some point in time. No time is left if this fails: a timeout of
/// zero is refused.
fn read_until(client: &mut Socket, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
    client.set_read_timeout(Some(time_left(until)?))?;
    client.read(buffer)
}

/// Writes all bytes until some point in time, however slowly the client reads.
fn write_until(client: &mut Socket, bytes: &[u8], until: Instant) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        client.set_write_timeout(Some(time_left(until)?))?;
        match client.write(left)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => left = &left[count..],
        }
    }
    Ok(())
}

/// The time until some point, which is not over yet. The kernel takes zero for no limit.
fn time_left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Ends the answer, and reads what the client still sends, such as a body. Closing a socket with
/// bytes that were not read resets the connection, and the client may lose the answer.
fn discard(mut client: Socket) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    let until = Instant::now() + DISCARD_TIMEOUT;
    let (mut left, mut buffer) = (DISCARDED_MAX, [0; REQUEST_MAX]);
    while left > 0 {
        match read_until(&mut client, &mut buffer, until)? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}
