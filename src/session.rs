//! Sessions: conversations as functions of their input, without sockets, drivers or clocks.
//!
//! A [`Session`] is one conversation in one protocol. It gets bytes and the time, writes its
//! answers into a [`Chain`], and returns a [`Step`], which says when to call it again. Because it
//! performs no I/O, it can be tested, fuzzed and replayed like any function. Because it does not
//! block, one thread runs thousands of sessions.
//!
//! A session asks for files and jobs with [`Context::ask`], also for several at once. Everything
//! that sessions share is in their [`Service`].
//!
//! The *chunking law*: the output must not depend on how the input is split into pieces. It makes
//! answers independent of timing.
//!
//! [`crate::echo`] is the smallest session; its documentation explains the rest.

use std::io;
use std::num::NonZero;
use std::time::Instant;

use crate::ask::{Ask, AskId, Reply};
use crate::driver::{Chain, Driver, Sock, SocketAddress};
use crate::service::{Service, SessionId, Waiter};

pub use crate::driver::Now;

/// Maximum number of open questions per session.
pub const ASKS_MAX: usize = 8;

/// One conversation. All sessions of a worker share one [`Session::Shared`].
///
/// The first call is [`new`](Session::new), the last one [`closed`](Session::closed), with any
/// number of other calls in any order between them. A worker that fails drops its sessions without
/// calling [`closed`](Session::closed).
pub trait Session: Sized {
    /// The service that the sessions of a worker share.
    type Shared: Service;

    /// Whether a connection is to be served.
    #[inline]
    fn admit(_: &Self::Shared, _: &ConnectionInfo<'_>) -> Admission {
        Admission::Client
    }

    /// Begins a conversation.
    fn new(shared: &mut Self::Shared, info: &ConnectionInfo<'_>) -> Self;

    /// Takes complete messages from `inbox`, writes answers to `out`, and returns the next step.
    ///
    /// A message must be shorter than [`INBOX_MAX`](crate::server::INBOX_MAX): there, receiving
    /// pauses until the session takes bytes.
    ///
    /// Input also arrives while earlier output is being sent; [`Context::sending`] is set then.
    /// `out` holds the output that is queued behind that send, so it is empty unless
    /// [`Context::sending`] is set. A session that must not write before everything is sent returns
    /// [`Step::Wait`].
    ///
    /// This is also called without new input: at the end of the input, after a reply or an answer,
    /// after [`Session::drain`], and when a send has completed and the last step was
    /// [`Step::Flush`] or [`Step::Wait`], or input is left, or the input has ended.
    fn advance(
        &mut self,
        cx: &mut Context<'_, Self::Shared>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step;

    /// Takes the reply to a question of [`Context::ask`]. [`Session::advance`] is called next.
    fn resume(&mut self, _: &mut Context<'_, Self::Shared>, id: AskId, reply: Reply) {
        unreachable!("{reply:?} for {id:?}, but this session asks no questions")
    }

    /// Takes an answer of the service that the session waits for. [`Session::advance`] is called
    /// next.
    fn answered(
        &mut self,
        _: &mut Context<'_, Self::Shared>,
        id: AskId,
        _: <Self::Shared as Service>::Answer,
    ) {
        unreachable!("an answer for {id:?}, but this session does not wait for its service")
    }

    /// A timer has expired. `out` is as in [`Session::advance`]. After [`Timer::Receive`], the step
    /// [`Step::Receive`] restarts the timer. After [`Timer::Deadline`], the session must move its
    /// deadline, or this is called again.
    fn expire(&mut self, cx: &mut Context<'_, Self::Shared>, timer: Timer, out: &mut Chain)
    -> Step;

    /// The server is about to stop: the session finishes the exchange in progress, then returns
    /// [`Step::Finish`]. [`Session::advance`] is called next if the session waits for input.
    fn drain(&mut self);

    /// The session's own deadline: when to call [`Session::expire`] with [`Timer::Deadline`],
    /// whatever the session waits for. This is called after each other call of the session, until
    /// [`Step::Finish`]. The call of [`Session::expire`] never comes early. It comes up to 0.2 s
    /// late, and later while the worker is busy.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// A send has completed, or the connection failed during it. [`Session::advance`] or
    /// [`Session::closed`] may be called next.
    fn sent(&mut self, _: &mut Context<'_, Self::Shared>, _: Sent) {}

    /// The connection ends: nothing more is sent, and no reply or answer will arrive. Here a
    /// session withdraws what it has requested from the service, and writes its log.
    fn closed(&mut self, _: &mut Context<'_, Self::Shared>) {}
}

/// What a session can learn about its connection when it begins.
#[derive(Clone, Copy)]
pub struct ConnectionInfo<'a> {
    /// The number of the listener that accepted the connection: its place in
    /// [`ServerSettings::listen`](crate::server::ServerSettings::listen), or what
    /// [`PreparedListeners::numbers`](crate::server::PreparedListeners::numbers) says of a later
    /// one.
    pub listener: u32,
    /// The time of the turn in which the conversation begins.
    pub now: Now,
    /// What protects the connection; `None` if nothing does.
    pub protection: Option<&'a Protection>,
    addresses: Addresses<'a>,
}

/// What protects a connection: the result of a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protection {
    /// The protocol with its version, such as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// Whether the handshake continues an earlier session.
    pub is_resumed: bool,
    /// The protocol that both sides have agreed on, by its name in ALPN (RFC 7301). `None` if the
    /// client has named none.
    pub protocol: Option<&'static str>,
    /// The name of the server that the client has asked for (RFC 6066 section 3), in lower case.
    pub server_name: Option<Box<str>>,
}

/// What becomes of a connection that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is closed, and nothing is read of it.
    Denied,
    /// It is served, and counts for its peer.
    Client,
    /// It is served. Its peer is a proxy, whose connections are those of many clients.
    Proxy,
}

/// Reads the addresses of sockets, and sets their pace. All drivers do.
pub trait SocketAddresses {
    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    fn peer(&self, sock: Sock) -> io::Result<SocketAddress>;

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    fn local(&self, sock: Sock) -> io::Result<SocketAddress>;

    /// Sets how many bytes per second of a connection are sent at most; see
    /// [`Driver::set_pace`].
    ///
    /// # Errors
    ///
    /// As there.
    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()>;
}

impl<D: Driver> SocketAddresses for D {
    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        Driver::peer(self, sock)
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        Driver::local(self, sock)
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        Driver::set_pace(self, sock, rate)
    }
}

/// The addresses of a connection. Each costs a system call, so they are read only on demand.
#[derive(Clone, Copy)]
pub struct Addresses<'a> {
    socket: Option<(&'a dyn SocketAddresses, Sock)>,
    /// Whom a proxy has named as its peer.
    peer: Option<&'a SocketAddress>,
    /// Whom a request names as the client.
    client: Option<&'a SocketAddress>,
}

impl<'a> Addresses<'a> {
    /// Those of a socket.
    pub fn of(driver: &'a dyn SocketAddresses, sock: Sock) -> Self {
        Self { socket: Some((driver, sock)), ..Self::none() }
    }

    /// Those of a conversation without a socket, which has none.
    pub const fn none() -> Self {
        Self { socket: None, peer: None, client: None }
    }

    /// The same, with this peer if a proxy has named one for the connection.
    #[must_use]
    pub fn with_peer(self, peer: Option<&'a SocketAddress>) -> Self {
        Self { peer, ..self }
    }

    /// The same, with this client if a proxy has named one for the request.
    #[must_use]
    pub fn with_client(self, client: Option<&'a SocketAddress>) -> Self {
        Self { client, ..self }
    }

    /// The address of the peer: whom a trusted proxy has named for the connection, else that of
    /// the socket.
    ///
    /// # Errors
    ///
    /// When the connection is gone already, or there is no socket.
    pub fn peer(&self) -> io::Result<SocketAddress> {
        if let Some(peer) = self.peer {
            return Ok(*peer);
        }
        let (driver, sock) = self.socket.ok_or(io::ErrorKind::NotConnected)?;
        driver.peer(sock)
    }

    /// The address of the client: whom a trusted proxy has named for the request, else the peer.
    /// [`Client::of`](crate::clients::Client::of) is made of it.
    ///
    /// # Errors
    ///
    /// As for [`Addresses::peer`].
    pub fn client(&self) -> io::Result<SocketAddress> {
        self.client.map_or_else(|| self.peer(), |client| Ok(*client))
    }

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// As for [`Addresses::peer`].
    pub fn local(&self) -> io::Result<SocketAddress> {
        let (driver, sock) = self.socket.ok_or(io::ErrorKind::NotConnected)?;
        driver.local(sock)
    }

    /// Sets how many bytes per second are sent at most, from now on; `None` for any number.
    ///
    /// # Errors
    ///
    /// When there is no socket, or the kernel refuses it.
    pub fn set_pace(&self, rate: Option<NonZero<u64>>) -> io::Result<()> {
        let (driver, sock) = self.socket.ok_or(io::ErrorKind::NotConnected)?;
        driver.set_pace(sock, rate)
    }
}

impl<'a> ConnectionInfo<'a> {
    /// For a connection that this listener accepted.
    pub fn new(listener: u32, now: Now, addresses: Addresses<'a>) -> Self {
        Self { listener, now, protection: None, addresses }
    }

    /// For a conversation without a socket.
    pub fn detached() -> Self {
        Self::new(0, Now::read(), Addresses::none())
    }

    /// The same for a protected connection.
    #[must_use]
    pub fn protected_by(self, protection: &'a Protection) -> Self {
        Self { protection: Some(protection), ..self }
    }

    /// The addresses of the connection.
    pub fn addresses(&self) -> Addresses<'a> {
        self.addresses
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// As for [`Addresses::peer`].
    pub fn peer(&self) -> io::Result<SocketAddress> {
        self.addresses.peer()
    }

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// As for [`Addresses::peer`].
    pub fn local(&self) -> io::Result<SocketAddress> {
        self.addresses.local()
    }
}

/// What a session can use during a call.
pub struct Context<'a, T> {
    /// The service that the sessions of the worker share.
    pub shared: &'a mut T,
    /// The time of this turn of the worker.
    pub now: Now,
    /// Identifies the session to the service.
    pub session: SessionId,
    /// Whether earlier output is still being sent.
    pub sending: bool,
    /// The addresses of the connection.
    pub addresses: Addresses<'a>,
    asks: &'a mut Vec<(AskId, Ask)>,
}

impl<'a, T> Context<'a, T> {
    /// Creates a context of a conversation without a socket. The questions of the session are added
    /// to `asks`.
    pub fn new(
        shared: &'a mut T,
        now: Now,
        session: SessionId,
        sending: bool,
        asks: &'a mut Vec<(AskId, Ask)>,
    ) -> Self {
        Self { shared, now, session, sending, addresses: Addresses::none(), asks }
    }

    /// The same for a connection with these addresses.
    #[must_use]
    pub fn with_addresses(self, addresses: Addresses<'a>) -> Self {
        Self { addresses, ..self }
    }

    /// The context of a session within this one, which shares a part of what this one shares.
    pub fn within<'b, U>(
        &'b mut self,
        part: impl FnOnce(&'b mut T) -> &'b mut U,
        sending: bool,
    ) -> Context<'b, U> {
        let Context { now, session, addresses, .. } = *self;
        Context { shared: part(self.shared), now, session, sending, addresses, asks: self.asks }
    }

    /// Asks a question. [`Session::resume`] gets the reply. A session may have at most [`ASKS_MAX`]
    /// questions open, each with a different id.
    pub fn ask(&mut self, id: AskId, ask: Ask) {
        self.asks.push((id, ask));
    }

    /// Names this session to the service as a waiter. The answer will have this `id`.
    pub fn waiter(&self, id: AskId) -> Waiter {
        Waiter { session: self.session, id }
    }
}

/// When to call a session again. Its output is sent, or queued behind the send in flight, with
/// every step except [`Step::Abort`], which discards it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// When input arrives.
    Receive(ReceiveTimeout),
    /// When a reply or an answer arrives, or the send in flight completes. Input stays in the
    /// inbox. If this takes longer than the send timeout, the connection is reset.
    Wait,
    /// When the send in flight completes, or input arrives. The session has more to write. There
    /// must be such a send, or output that begins one.
    Flush,
    /// Never: the connection is closed after the output is sent. With `linger`, further input is
    /// read and discarded for a while, because closing at once could destroy the last answer (RFC
    /// 9112, section 9.6). Replies to open questions are discarded.
    Finish {
        /// Whether the peer may still be sending.
        linger: bool,
    },
    /// Never: the connection is reset at once, and unsent output is lost.
    Abort,
}

/// The timeout of the server that limits the wait for input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveTimeout {
    /// The timeout between two exchanges.
    KeepAlive,
    /// The same, counted from this time on: the peer has sent something meanwhile, but has begun no
    /// exchange.
    KeepAliveSince(Instant),
    /// The timeout of a request head. It counts from the start of the head, so a client that sends
    /// one byte at a time does not extend it.
    Header,
    /// The timeout of a body that is discarded; as long as that of a head.
    Body,
    /// None of the server: only the session's own deadline ([`Session::deadline`]) limits the wait.
    /// During a drain, the session is asked ([`Timer::Receive`]) when the peer has sent and
    /// acknowledged nothing for a second.
    Own,
}

/// The timer that has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// The server's timeout for input.
    Receive,
    /// The session's own deadline, [`Session::deadline`].
    Deadline,
}

/// The result of a send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The number of bytes that the kernel has accepted.
    pub bytes: u64,
    /// Whether these are all bytes of the send.
    pub complete: bool,
}

/// Received bytes that the session has not taken yet.
#[derive(Debug)]
pub struct Inbox<'a> {
    bytes: &'a [u8],
    taken: usize,
    ended: bool,
}

impl<'a> Inbox<'a> {
    /// An inbox with these bytes. `ended` means that no more input will follow.
    pub fn new(bytes: &'a [u8], ended: bool) -> Self {
        Self { bytes, taken: 0, ended }
    }

    /// The bytes that have not been taken.
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.taken..]
    }

    /// Takes the first `count` bytes.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "a session takes only bytes that are in the inbox");
    }

    /// Whether the input ends after [`Inbox::bytes`].
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The number of bytes that have been taken.
    pub fn taken(&self) -> usize {
        self.taken
    }
}
