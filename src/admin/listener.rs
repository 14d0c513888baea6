//! The threads of the administration: those that accept clients, and those that serve them.
//!
//! A client has a thread of its own, so one that sends or reads slowly delays no other. It has
//! [`CLIENT_TIMEOUT`] for its request, and as long for the answer; at most [`CLIENTS_MAX`] are
//! served at a time, and the others wait in the backlog.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::Admin;
use super::gate::Gate;
use super::request::{AdminRequest, Answer, LIMITS, REQUEST_MAX, respond};
use crate::events::EventKind;
use crate::http::h1::head::{self, Head, RequestBody};
use crate::signal_mask::block_signals;

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

/// Counts the clients that are served.
#[derive(Default, Debug)]
pub(super) struct Places {
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

/// Starts the thread that accepts from a socket, as long as the gate says so.
pub(super) fn accept_from(
    socket: &Arc<Socket>,
    is_local: bool,
    admin: &Arc<Admin>,
    (gate, places): (&Arc<Gate>, &Arc<Places>),
) -> io::Result<()> {
    let (socket, admin) = (Arc::clone(socket), Arc::clone(admin));
    let (gate, places) = (Arc::clone(gate), Arc::clone(places));
    let run = move || {
        block_signals();
        loop {
            match gate.accept(&socket, || places.take()) {
                Ok(Some((client, place))) => serve_client(client, is_local, &admin, place),
                Ok(None) => break,
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
