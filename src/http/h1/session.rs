//! HTTP/1.1 as a session: requests in, responses out, in order.
//!
//! ```text
//! Head --- the response can be written ------> written --- body --> Discard --> Head
//!   |  ^                                            `----- none --------------> Head
//!   |  `-- found -- Lookup
//!   `-- something is not known yet --^
//! any -- refused, Connection: close, end of input --> Over
//! ```
//!
//! All requests that are complete when the session is called are answered into one chain. A
//! request whose response has to wait stays in the inbox, and holds those behind it back: answers
//! keep their order. For the same reason nothing new is answered while something is being sent.
//! What is answered with what is decided in `site/answer.rs`.

use std::ops::ControlFlow::{self, Break, Continue};

use super::Framing;
use super::body::Discard;
use super::head::{self, Refusal, RequestBody};
use super::response;
use crate::ask::AskId;
use crate::driver::Chain;
use crate::http::semantics::status::Status;
use crate::http::site::answer::{Exchange, PendingLookup, ResolvedNames};
use crate::http::site::templates::Problem;
use crate::http::site::{Resolved, Sites};
use crate::session::{ConnectionInfo, Context, Inbox, Now, ReceiveTimeout, Session, Step, Timer};

/// Bytes of a line without an end after which an incomplete head is looked at again.
const LOOK_AFTER: usize = 1024;

/// What the session calls the lookup that it waits for. There is one at a time.
const LOOKUP: AskId = AskId(0);

/// An HTTP/1.x conversation; see the module documentation.
#[derive(Debug)]
pub struct Http {
    state: HttpState,
    draining: bool,
    /// Whether a request was answered: until then, the connection's patience is short.
    answered: bool,
    /// The length of the incomplete head that was looked at last.
    seen: u32,
    /// What was looked up for the request at the front of the inbox.
    resolved_names: Option<Box<ResolvedNames>>,
}

#[derive(Debug)]
enum HttpState {
    Head,
    /// Something is being looked up for the request at the front of the inbox.
    Lookup(PendingLookup),
    Discard(Discard, Framing),
    Over {
        linger: bool,
    },
}

impl Session for Http {
    type Shared = Sites;

    fn new(_: &mut Sites, _: &ConnectionInfo<'_>) -> Self {
        Self {
            state: HttpState::Head,
            draining: false,
            answered: false,
            seen: 0,
            resolved_names: None,
        }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if cx.sending {
            return Step::Wait;
        }
        loop {
            if out.is_full() {
                return Step::Flush;
            }
            let flow = match std::mem::replace(&mut self.state, HttpState::Head) {
                HttpState::Head => self.head(cx, inbox, out),
                HttpState::Lookup(pending) => {
                    self.state = HttpState::Lookup(pending);
                    Break(Step::Wait)
                }
                HttpState::Discard(discard, framing) => self.discard(inbox, discard, framing),
                HttpState::Over { linger } => {
                    let linger = linger || !inbox.bytes().is_empty();
                    inbox.take(inbox.bytes().len());
                    self.state = HttpState::Over { linger };
                    Break(Step::Finish { linger })
                }
            };
            if let Break(step) = flow {
                return step;
            }
        }
    }

    fn answered(&mut self, _: &mut Context<'_, Sites>, _: AskId, found: Resolved) {
        let HttpState::Lookup(pending) = std::mem::replace(&mut self.state, HttpState::Head) else {
            unreachable!("nothing is looked up, and {found:?} was found")
        };
        self.resolved_names.get_or_insert_default().note(pending.purpose, found);
    }

    fn expire(&mut self, cx: &mut Context<'_, Sites>, _: Timer, out: &mut Chain) -> Step {
        let begun = self.seen > 0 && matches!(self.state, HttpState::Head);
        let discarding = matches!(self.state, HttpState::Discard(..));
        self.state = HttpState::Over { linger: false };
        if begun {
            let reason = "The request did not arrive in time.";
            let refusal = Refusal { status: Status::RequestTimeout, reason };
            refuse(cx.shared, cx.now, out, refusal);
        }
        Step::Finish { linger: begun || discarding }
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    fn closed(&mut self, cx: &mut Context<'_, Sites>) {
        if let HttpState::Lookup(pending) = &self.state {
            cx.shared.leave(pending.ticket, cx.session);
        }
    }
}

impl Http {
    /// Takes a request head out of the inbox and acts on it.
    fn head(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> ControlFlow<Step> {
        let bytes = inbox.bytes();
        let limits = cx.shared.settings.limits;
        if !self.is_worth_parsing(bytes, inbox.ended(), limits.head_bytes_max) {
            return Break(Step::Receive(ReceiveTimeout::Header));
        }
        let (head, used) = match head::parse(bytes, &limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if inbox.ended() => {
                inbox.take(bytes.len());
                return Break(self.finish(false));
            }
            Ok(None) => {
                self.seen = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let idle = bytes.is_empty() && self.answered;
                return Break(Step::Receive(if idle {
                    ReceiveTimeout::KeepAlive
                } else {
                    ReceiveTimeout::Header
                }));
            }
            Err(refusal) => {
                inbox.take(bytes.len());
                refuse(cx.shared, cx.now, out, refusal);
                return Break(self.finish(true));
            }
        };
        self.seen = 0;
        self.answered = true;
        let framing = Framing::of(&head, self.draining, limits.body_bytes_max);
        let (now, waiter) = (cx.now, cx.waiter(LOOKUP));
        let resolved_names = self.resolved_names.as_deref();
        let sites = &mut *cx.shared;
        let mut exchange = Exchange { sites, now, request: &head.request, resolved_names, waiter };
        match exchange.answer() {
            Ok(answer) => {
                response::write(out, cx.shared.common.at(now.system), framing, &answer);
                inbox.take(used);
                self.resolved_names = None;
                self.after(framing, head.body, limits.body_bytes_max);
                Continue(())
            }
            Err(pending) => {
                self.state = HttpState::Lookup(pending);
                Break(Step::Wait)
            }
        }
    }

    /// Parsing an incomplete head again for every byte of it would cost its length squared. It
    /// is looked at when a line has ended, or when it has doubled or grown by [`LOOK_AFTER`]
    /// since: that finds the same, in time.
    fn is_worth_parsing(&self, bytes: &[u8], ended: bool, head_bytes_max: usize) -> bool {
        let seen = self.seen as usize;
        ended
            || bytes.len() >= 2 * seen
            || bytes.len() - seen >= LOOK_AFTER
            || bytes.len() >= head_bytes_max
            || memchr::memchr(b'\n', &bytes[seen..]).is_some()
    }

    /// What follows an answer.
    fn after(&mut self, framing: Framing, body: RequestBody, body_bytes_max: u64) {
        let discard = Discard::new(body, body_bytes_max);
        match discard {
            None => self.after_body(framing),
            Some(_) if !framing.keep_alive => self.state = HttpState::Over { linger: true },
            Some(discard) => self.state = HttpState::Discard(discard, framing),
        }
    }

    /// What follows an answer to a request whose body is read.
    fn after_body(&mut self, framing: Framing) {
        self.state = if framing.keep_alive {
            HttpState::Head
        } else {
            // A client that did not ask for the end may be sending its next request.
            HttpState::Over { linger: self.draining }
        };
    }

    /// Throws away the body of a request that was answered.
    fn discard(
        &mut self,
        inbox: &mut Inbox<'_>,
        mut discard: Discard,
        framing: Framing,
    ) -> ControlFlow<Step> {
        match discard.feed(inbox.bytes()) {
            Ok(progress) => {
                inbox.take(progress.used);
                if progress.done {
                    self.after_body(framing);
                    return Continue(());
                }
                if inbox.ended() {
                    return Break(self.finish(false));
                }
                self.state = HttpState::Discard(discard, framing);
                Break(Step::Receive(ReceiveTimeout::Body))
            }
            // The answer is out already: what can be told is told by the end.
            Err(_) => {
                inbox.take(inbox.bytes().len());
                Break(self.finish(true))
            }
        }
    }

    fn finish(&mut self, linger: bool) -> Step {
        self.state = HttpState::Over { linger };
        Step::Finish { linger }
    }
}

/// The last response, to what is no request.
fn refuse(sites: &mut Sites, now: Now, out: &mut Chain, refusal: Refusal) {
    let Refusal { status, reason } = refusal;
    let answer = sites.error(Problem { status, detail: reason });
    response::write(out, sites.common.at(now.system), Framing::LAST, &answer);
}
