//! Sessions: conversations as functions of their input, without sockets, drivers or clocks.
//!
//! A [`Session`] is one conversation in one protocol. It is given bytes and the time, writes its
//! answers into a [`Chain`], and says in a [`Step`] when it is to be called again. Because it
//! performs no I/O, it can be tested, fuzzed and replayed like any function; because it does not
//! block, one thread runs thousands.
//!
//! What it needs from outside it asks for: files and jobs by [`Context::ask`], several at once if
//! it likes, and everything that sessions share from its [`Service`].
//!
//! The rule that makes answers independent of timing, the *chunking law*: however the input is
//! cut into pieces, the bytes written are the same.
//!
//! [`crate::echo`] is the smallest session, and explains the rest on the way.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::ask::{Ask, AskId, Reply};
use crate::driver::Chain;
use crate::service::{Service, SessionId, Waiter};

pub use crate::driver::Now;

/// Questions that one session may have open at a time.
pub const ASKS_MAX: usize = 8;

/// One conversation. All sessions of a worker have one [`Session::Shared`].
///
/// The life of a session: [`new`](Session::new), any number of calls in any order, then
/// [`closed`](Session::closed), once, and nothing after it. A worker that fails drops its sessions
/// without a word.
pub trait Session: Sized {
    /// What the sessions of a worker share.
    type Shared: Service;

    /// Begins a conversation.
    fn new(shared: &mut Self::Shared, info: &ConnectionInfo<'_>) -> Self;

    /// Takes what is complete in `inbox`, writes answers to `out`, and says what is next.
    ///
    /// Input comes while earlier output is still being sent ([`Context::sending`]). What is
    /// written then goes behind it: `out` holds what has been written and has not begun to be
    /// sent, so it is empty unless [`Context::sending`] is set. A session that must not write
    /// before all is sent says [`Step::Wait`].
    ///
    /// Called again without new input at the end of the input, when a reply or an answer has come,
    /// after [`Session::drain`], and when something was sent and the session said [`Step::Flush`]
    /// or [`Step::Wait`], left input, or has all of its input.
    fn advance(
        &mut self,
        cx: &mut Context<'_, Self::Shared>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step;

    /// Brings the reply to a question of [`Context::ask`]; [`Session::advance`] follows.
    fn resume(&mut self, _: &mut Context<'_, Self::Shared>, id: AskId, reply: Reply) {
        unreachable!("this session asks nothing, and {reply:?} came for {id:?}")
    }

    /// Brings what the service tells a session that waits for it; [`Session::advance`] follows.
    fn answered(
        &mut self,
        _: &mut Context<'_, Self::Shared>,
        id: AskId,
        _: <Self::Shared as Service>::Answer,
    ) {
        unreachable!("this session waits for no service, and an answer came for {id:?}")
    }

    /// A timer has expired. `out` is as in [`Session::advance`]. After [`Timer::Receive`],
    /// [`Step::Receive`] starts it anew; after [`Timer::Deadline`] the session has to move its own
    /// deadline, or it is called again.
    fn expire(&mut self, cx: &mut Context<'_, Self::Shared>, timer: Timer, out: &mut Chain)
    -> Step;

    /// The server is about to stop: finish what is in hand, then [`Step::Finish`].
    /// [`Session::advance`] follows if the session waits for input.
    fn drain(&mut self);

    /// When the session wants [`Session::expire`] to be called with [`Timer::Deadline`], whatever
    /// it waits for. Looked at after each call of the session, until it has said [`Step::Finish`].
    /// The call never comes early. It comes two tenths of a second late, and later if the worker is
    /// busy for longer.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What was written has left: all of one send, or as much of it as the kernel took before the
    /// connection ended. [`Session::advance`] may follow, or [`Session::closed`].
    fn sent(&mut self, _: &mut Context<'_, Self::Shared>, _: Sent) {}

    /// The connection ends. Nothing more is sent, and no reply or answer will come: the time to
    /// take back what the service was asked for, and to note how it went.
    fn closed(&mut self, _: &mut Context<'_, Self::Shared>) {}
}

/// What a session may know of its connection when it begins.
#[derive(Clone, Copy)]
pub struct ConnectionInfo<'a> {
    /// Which listener the connection came by, counted from 0 in the order of the settings.
    pub listener: u16,
    addresses: &'a dyn Addresses,
}

/// Where the addresses of a connection can be had. It costs a system call each, so only who needs
/// them asks.
pub trait Addresses {
    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    fn peer(&self) -> io::Result<SocketAddr>;

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    fn local(&self) -> io::Result<SocketAddr>;
}

/// No addresses, for conversations without a socket.
impl Addresses for () {
    fn peer(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn local(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl<'a> ConnectionInfo<'a> {
    /// Of a connection that came by this listener.
    pub fn new(listener: u16, addresses: &'a dyn Addresses) -> Self {
        Self { listener, addresses }
    }

    /// Of a conversation without a socket.
    pub const fn detached() -> Self {
        Self { listener: 0, addresses: &() }
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.addresses.peer()
    }

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.addresses.local()
    }
}

/// What a session has at hand during one call.
pub struct Context<'a, T> {
    /// What the sessions of the worker share.
    pub shared: &'a mut T,
    /// The time of this turn of the worker.
    pub now: Now,
    /// The session's name, for the service.
    pub session: SessionId,
    /// Whether something that was written before is still being sent.
    pub sending: bool,
    asks: &'a mut Vec<(AskId, Ask)>,
}

impl<'a, T> Context<'a, T> {
    /// What a call of a session needs. Questions are collected in `asks`.
    pub fn new(
        shared: &'a mut T,
        now: Now,
        session: SessionId,
        sending: bool,
        asks: &'a mut Vec<(AskId, Ask)>,
    ) -> Self {
        Self { shared, now, session, sending, asks }
    }

    /// Asks a question; [`Session::resume`] brings the reply. At most [`ASKS_MAX`] questions of a
    /// session are open at a time, each under a name of its own.
    pub fn ask(&mut self, id: AskId, ask: Ask) {
        self.asks.push((id, ask));
    }

    /// A [`Waiter`] for this session: the answer of the service comes back with `id`.
    pub fn waiter(&self, id: AskId) -> Waiter {
        Waiter { session: self.session, id }
    }
}

/// When a session is to be called again. What it has written is sent, or queued behind the send in
/// flight, whatever the step; only [`Step::Abort`] throws it away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// With more input.
    Receive(ReceiveTimeout),
    /// When a reply or an answer has come, or the send in flight has ended. Input stays in the
    /// inbox. A session that waits for longer than the send timeout is reset.
    Wait,
    /// When there is room, or input: the chain is full, and there is more to write.
    Flush,
    /// No more. With `linger`, what the peer still sends is read and thrown away for a while,
    /// because closing at once could destroy the answer on its way (RFC 9112 section 9.6). Of
    /// questions that are open no reply is told.
    Finish {
        /// Whether the peer may still be sending.
        linger: bool,
    },
    /// No more: the connection is reset at once, and what was not sent is lost.
    Abort,
}

/// Which of the server's timeouts bounds the wait for input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveTimeout {
    /// The one between two exchanges.
    KeepAlive,
    /// The one for a request head; measured from its beginning, so that trickling does not help.
    Header,
    /// The one for a body that is thrown away. It is as long as that for a head.
    Body,
}

/// Which timer has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// The server's: the input that the session waits for did not come.
    Receive,
    /// The session's own: its [`Session::deadline`] has come.
    Deadline,
}

/// What has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Bytes that were handed to the kernel.
    pub bytes: u64,
    /// Whether that is all of what was to be sent.
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
    /// An inbox of `bytes`; with `ended`, nothing will follow them.
    pub fn new(bytes: &'a [u8], ended: bool) -> Self {
        Self { bytes, taken: 0, ended }
    }

    /// What is there.
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.taken..]
    }

    /// Takes the first `count` bytes out.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "a session takes no more than there is");
    }

    /// Whether nothing follows [`Inbox::bytes`].
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// How many bytes were taken out.
    pub fn taken(&self) -> usize {
        self.taken
    }
}
