//! A session behind a header of the PROXY protocol.
//!
//! ```text
//! Header -- complete, the client may come in --> Open: all calls go to the inner session
//!     `-- malformed, late, not admitted -------> closed without a word
//! ```
//!
//! The header is read from the inbox and left there until it is complete, so there is no memory for
//! it here. The inner session begins behind it, and takes the client of the header for its peer
//! ([`Addresses::with_peer`]). It may be protected: then the handshake follows the header.

use std::time::{Duration, Instant};

use super::client::Client;
use super::proxy_header::{ProxyHeader, ProxyHeaderError};
use crate::ask::{AskId, Reply};
use crate::driver::{Chain, SocketAddress};
use crate::service::Service;
use crate::session::{
    Addresses, ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer,
};

/// How long a header may take, from the start of the connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection behind a proxy is closed before it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyFailure {
    /// The header cannot be understood.
    Header(ProxyHeaderError),
    /// The header was not complete in time, or its connection has ended before.
    Incomplete,
    /// The client that it names may not come in.
    Denied(Client),
}

/// What decides about the connections behind proxies, and learns about them.
pub trait Doorkeeper: Service {
    /// Whether this client may come in by a listener.
    fn admits_client(&self, listener: u32, client: Client) -> bool;

    /// A connection is closed before it begins.
    fn turned_away(&mut self, failure: ProxyFailure, addresses: Addresses<'_>);
}

/// A session behind a header; see the module documentation.
#[derive(Debug)]
pub struct Proxied<S> {
    /// From the end of the header on.
    inner: Option<S>,
    /// Whom the header names; `None` if it is the peer of the socket.
    client: Option<SocketAddress>,
    listener: u32,
    /// `None` if it is too far in the future.
    header_ends: Option<Instant>,
    draining: bool,
    /// Whether something of the header has come.
    begun: bool,
}

/// The context of the inner session, whose peer is the client of the header.
fn within<'b, T>(cx: &'b mut Context<'_, T>, client: Option<&'b SocketAddress>) -> Context<'b, T> {
    let addresses = cx.addresses.with_peer(client);
    let sending = cx.sending;
    cx.within(|shared| shared, sending).with_addresses(addresses)
}

impl<S: Session<Shared: Doorkeeper>> Proxied<S> {
    /// Goes on with the header. Returns the step if it is not complete.
    fn begin(&mut self, cx: &mut Context<'_, S::Shared>, inbox: &mut Inbox<'_>) -> Result<S, Step> {
        self.begun |= !inbox.bytes().is_empty();
        let refuse = |cx: &mut Context<'_, S::Shared>, failure| {
            cx.shared.turned_away(failure, cx.addresses);
            Err(Step::Finish { linger: false })
        };
        let header = match ProxyHeader::parse(inbox.bytes()) {
            Ok(Some(header)) => header,
            Ok(None) if !inbox.ended() => return Err(Step::Receive(ReceiveTimeout::Header)),
            // Health checks may only connect.
            Ok(None) if !self.begun => return Err(Step::Finish { linger: false }),
            Ok(None) => return refuse(cx, ProxyFailure::Incomplete),
            Err(error) => return refuse(cx, ProxyFailure::Header(error)),
        };
        inbox.take(header.length);
        self.client = header.client;
        let addresses = cx.addresses.with_peer(self.client.as_ref());
        let client = Client::of(addresses);
        if !cx.shared.admits_client(self.listener, client) {
            return refuse(cx, ProxyFailure::Denied(client));
        }
        let info = ConnectionInfo::new(self.listener, cx.now, addresses);
        let mut inner = S::new(cx.shared, &info);
        if self.draining {
            inner.drain();
        }
        Ok(inner)
    }
}

impl<S: Session<Shared: Doorkeeper>> Session for Proxied<S> {
    type Shared = S::Shared;

    fn new(_: &mut S::Shared, info: &ConnectionInfo<'_>) -> Self {
        Self {
            inner: None,
            client: None,
            listener: info.listener,
            header_ends: info.now.instant.checked_add(HEADER_TIMEOUT),
            draining: false,
            begun: false,
        }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, S::Shared>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if self.inner.is_none() {
            match self.begin(cx, inbox) {
                Ok(inner) => self.inner = Some(inner),
                Err(step) => {
                    if let Step::Finish { .. } = step {
                        inbox.take(inbox.bytes().len());
                    }
                    return step;
                }
            }
        }
        let Self { inner: Some(inner), client, .. } = self else {
            unreachable!("it has just begun, or was there before")
        };
        inner.advance(&mut within(cx, client.as_ref()), inbox, out)
    }

    fn resume(&mut self, cx: &mut Context<'_, S::Shared>, id: AskId, reply: Reply) {
        let Self { inner: Some(inner), client, .. } = self else {
            unreachable!("{reply:?} for {id:?}, but nothing was asked")
        };
        inner.resume(&mut within(cx, client.as_ref()), id, reply);
    }

    fn answered(
        &mut self,
        cx: &mut Context<'_, S::Shared>,
        id: AskId,
        answer: <S::Shared as Service>::Answer,
    ) {
        let Self { inner: Some(inner), client, .. } = self else {
            unreachable!("an answer for {id:?}, but nothing was asked")
        };
        inner.answered(&mut within(cx, client.as_ref()), id, answer);
    }

    fn expire(&mut self, cx: &mut Context<'_, S::Shared>, timer: Timer, out: &mut Chain) -> Step {
        let Self { inner: Some(inner), client, .. } = self else {
            // A drain does not wait for clients that say nothing; they are not to blame.
            if self.begun || timer == Timer::Deadline || !self.draining {
                cx.shared.turned_away(ProxyFailure::Incomplete, cx.addresses);
            }
            return Step::Finish { linger: false };
        };
        inner.expire(&mut within(cx, client.as_ref()), timer, out)
    }

    fn drain(&mut self) {
        self.draining = true;
        if let Some(inner) = &mut self.inner {
            inner.drain();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.inner {
            Some(inner) => inner.deadline(),
            None => self.header_ends,
        }
    }

    fn sent(&mut self, cx: &mut Context<'_, S::Shared>, sent: Sent) {
        let Self { inner, client, .. } = self;
        if let Some(inner) = inner {
            inner.sent(&mut within(cx, client.as_ref()), sent);
        }
    }

    fn closed(&mut self, cx: &mut Context<'_, S::Shared>) {
        let Self { inner, client, .. } = self;
        if let Some(inner) = inner {
            inner.closed(&mut within(cx, client.as_ref()));
        }
    }
}
