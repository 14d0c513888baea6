//! The session of a connection of a web server, as its listener says: with or without a header of
//! the PROXY protocol before everything else.
//!
//! ```text
//! Front -- Direct --------------> Stack -- Plain -------------> Web
//!     `--- Proxied -- header -----'    `-- Secure -- handshake --'
//! ```
//!
//! A connection without a header is passed on at once, so it costs nothing that there could be one.

use std::time::Instant;

use super::site::{Resolved, Sites};
use super::stack::Stack;
use crate::ask::{AskId, Reply};
use crate::clients::{Client, Doorkeeper, Proxied, ProxyFailure};
use crate::driver::Chain;
use crate::secured::{Layer, SecuredAnswer, SecuredService};
use crate::session::{
    Addresses, Admission, ConnectionInfo, Context, Inbox, Sent, Session, Step, Timer,
};

/// A connection of a web server; see the module documentation.
#[derive(Debug)]
pub enum Front<L: Layer> {
    /// The peer is the client, or a proxy that speaks HTTP.
    Direct(Stack<L>),
    /// The peer is a proxy that names the client first. It is boxed, so that other connections stay
    /// small.
    Proxied(Box<Proxied<Stack<L>>>),
}

type Shared<L> = SecuredService<L, Sites>;

impl<L: Layer> Doorkeeper for Shared<L> {
    fn admits_client(&self, listener: u32, client: Client) -> bool {
        self.inner.admits_client(listener, client)
    }

    fn turned_away(&mut self, failure: ProxyFailure, addresses: Addresses<'_>) {
        self.inner.turned_away(failure, addresses);
    }
}

impl<L: Layer> Session for Front<L> {
    type Shared = Shared<L>;

    #[inline]
    fn admit(shared: &Shared<L>, info: &ConnectionInfo<'_>) -> Admission {
        shared.inner.admit(info.listener, info.addresses())
    }

    #[inline]
    fn new(shared: &mut Shared<L>, info: &ConnectionInfo<'_>) -> Self {
        match shared.inner.is_proxied(info.listener) {
            true => Self::Proxied(Box::new(Proxied::new(shared, info))),
            false => Self::Direct(Stack::new(shared, info)),
        }
    }

    #[inline]
    fn advance(
        &mut self,
        cx: &mut Context<'_, Shared<L>>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        match self {
            Self::Direct(stack) => stack.advance(cx, inbox, out),
            Self::Proxied(proxied) => proxied.advance(cx, inbox, out),
        }
    }

    #[inline]
    fn resume(&mut self, cx: &mut Context<'_, Shared<L>>, id: AskId, reply: Reply) {
        match self {
            Self::Direct(stack) => stack.resume(cx, id, reply),
            Self::Proxied(proxied) => proxied.resume(cx, id, reply),
        }
    }

    #[inline]
    fn answered(
        &mut self,
        cx: &mut Context<'_, Shared<L>>,
        id: AskId,
        answer: SecuredAnswer<Resolved>,
    ) {
        match self {
            Self::Direct(stack) => stack.answered(cx, id, answer),
            Self::Proxied(proxied) => proxied.answered(cx, id, answer),
        }
    }

    #[inline]
    fn expire(&mut self, cx: &mut Context<'_, Shared<L>>, timer: Timer, out: &mut Chain) -> Step {
        match self {
            Self::Direct(stack) => stack.expire(cx, timer, out),
            Self::Proxied(proxied) => proxied.expire(cx, timer, out),
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Direct(stack) => stack.drain(),
            Self::Proxied(proxied) => proxied.drain(),
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Direct(stack) => stack.deadline(),
            Self::Proxied(proxied) => proxied.deadline(),
        }
    }

    #[inline]
    fn sent(&mut self, cx: &mut Context<'_, Shared<L>>, sent: Sent) {
        match self {
            Self::Direct(stack) => stack.sent(cx, sent),
            Self::Proxied(proxied) => proxied.sent(cx, sent),
        }
    }

    #[inline]
    fn closed(&mut self, cx: &mut Context<'_, Shared<L>>) {
        match self {
            Self::Direct(stack) => stack.closed(cx),
            Self::Proxied(proxied) => proxied.closed(cx),
        }
    }
}
