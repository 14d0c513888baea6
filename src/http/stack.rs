//! The session of a connection of a web server: with or without a security layer, as its listener
//! says.
//!
//! A connection without a layer is passed on to HTTP at once, so it costs nothing that there could
//! be one.

use std::time::Instant;

use super::site::{ListenerRole, Sites};
use super::web::Web;
use crate::ask::{AskId, Reply};
use crate::driver::Chain;
use crate::secured::{Layer, Secured, SecuredAnswer, SecuredService};
use crate::session::{ConnectionInfo, Context, Inbox, Sent, Session, Step, Timer};

/// A connection of a web server; see the module documentation.
#[derive(Debug)]
pub enum Stack<L: Layer> {
    /// HTTP over the connection itself.
    Plain(Web),
    /// HTTP within a layer. It is boxed, so that connections without a layer stay small.
    Secure(Box<Secured<L, Web>>),
}

type Shared<L> = SecuredService<L, Sites>;

/// The context of HTTP without a layer.
fn plain<'b, L: Layer>(cx: &'b mut Context<'_, Shared<L>>) -> Context<'b, Sites> {
    let sending = cx.sending;
    cx.within(|shared| &mut shared.inner, sending)
}

impl<L: Layer> Session for Stack<L> {
    type Shared = Shared<L>;

    #[inline]
    fn new(shared: &mut Shared<L>, info: &ConnectionInfo<'_>) -> Self {
        match shared.inner.role(info.listener) {
            ListenerRole::Secure => Self::Secure(Box::new(Secured::new(shared, info))),
            ListenerRole::Plain | ListenerRole::Redirect(_) => {
                Self::Plain(Web::new(&mut shared.inner, info))
            }
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
            Self::Plain(web) => web.advance(&mut plain(cx), inbox, out),
            Self::Secure(secured) => secured.advance(cx, inbox, out),
        }
    }

    #[inline]
    fn resume(&mut self, cx: &mut Context<'_, Shared<L>>, id: AskId, reply: Reply) {
        match self {
            Self::Plain(web) => web.resume(&mut plain(cx), id, reply),
            Self::Secure(secured) => secured.resume(cx, id, reply),
        }
    }

    #[inline]
    fn answered(
        &mut self,
        cx: &mut Context<'_, Shared<L>>,
        id: AskId,
        answer: SecuredAnswer<super::site::Resolved>,
    ) {
        match (self, answer) {
            (Self::Plain(web), SecuredAnswer::Inner(answer)) => {
                web.answered(&mut plain(cx), id, answer);
            }
            (Self::Plain(_), SecuredAnswer::Turn) => {
                unreachable!("only a handshake waits for its turn")
            }
            (Self::Secure(secured), answer) => secured.answered(cx, id, answer),
        }
    }

    #[inline]
    fn expire(&mut self, cx: &mut Context<'_, Shared<L>>, timer: Timer, out: &mut Chain) -> Step {
        match self {
            Self::Plain(web) => web.expire(&mut plain(cx), timer, out),
            Self::Secure(secured) => secured.expire(cx, timer, out),
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Plain(web) => web.drain(),
            Self::Secure(secured) => secured.drain(),
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Plain(web) => web.deadline(),
            Self::Secure(secured) => secured.deadline(),
        }
    }

    #[inline]
    fn sent(&mut self, cx: &mut Context<'_, Shared<L>>, sent: Sent) {
        match self {
            Self::Plain(web) => web.sent(&mut plain(cx), sent),
            Self::Secure(secured) => secured.sent(cx, sent),
        }
    }

    #[inline]
    fn closed(&mut self, cx: &mut Context<'_, Shared<L>>) {
        match self {
            Self::Plain(web) => web.closed(&mut plain(cx)),
            Self::Secure(secured) => secured.closed(cx),
        }
    }
}
