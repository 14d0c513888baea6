//! HTTP/1.1 as a session.
//!
//! ```text
//! Head ---- a name has to be looked up --------------------> Lookup
//! Lookup -- the name was looked up ------------------------> Head
//! Head ---- response written, the request has no body -----> Head
//! Head ---- response written, the request has a body ------> Discard
//! Discard - the body has ended ----------------------------> Head
//! any ----- refusal, `close`, end of input, timeout -------> Over
//! ```
//!
//! One call writes the responses to all complete requests into one chain. A request that needs a
//! lookup stays in the inbox, and the requests after it wait, because responses must keep their
//! order. While a chain is being sent, no request is read, so a client that pipelines requests and
//! reads slowly makes the server hold one chain at most. `site/answer.rs` decides the responses.

use std::cell::Cell;
use std::num::NonZero;
use std::ops::ControlFlow::{self, Break, Continue};

use super::Framing;
use super::body::Discard;
use super::head::{self, Head, Refusal, RequestBody};
use super::response;
use crate::ask::AskId;
use crate::driver::Chain;
use crate::http::records::{ConnectionRecords, RequestNote};
use crate::http::semantics::request::Method;
use crate::http::semantics::status::Status;
use crate::http::site::answer::{PendingLookup, ResolvedNames, Undecided};
use crate::http::site::decide::{Asker, decide, misdirected};
use crate::http::site::origin::Origin;
use crate::http::site::response::Response;
use crate::http::site::templates::Problem;
use crate::http::site::{Resolved, Sites};
use crate::session::{
    ConnectionInfo, Context, Inbox, Protection, ReceiveTimeout, Sent, Session, Step, Timer,
};

#[cfg(test)]
mod tests;

/// After this many more bytes, an incomplete head is parsed again even if no line has ended.
const PARSE_AFTER: usize = 1024;

/// The most bytes that fit into one segment of a connection over Ethernet.
const SEGMENT_BYTES: u64 = 1460;

/// The id of the lookup that the session waits for. There is one at a time.
const LOOKUP: AskId = AskId(0);

/// An HTTP/1.x conversation; see the module documentation.
#[derive(Debug)]
pub struct Http {
    state: HttpState,
    /// The listener of the connection, which decides with the host which site answers.
    listener: u32,
    /// What protects the connection. It is boxed, so that other connections stay small.
    protection: Option<Box<Protection>>,
    draining: bool,
    /// Whether a head was parsed. The keep-alive timeout applies only between requests; before the
    /// first one, the header timeout does.
    answered: bool,
    /// The length of the incomplete head when it was parsed last.
    seen: u32,
    /// Whether a request has begun: a connection with only blank lines is idle.
    begun: bool,
    /// Whether it is one for a head only.
    asks_head: bool,
    /// The results of lookups for the request at the front of the inbox.
    resolved_names: Option<Box<ResolvedNames>>,
    /// How fast answers are sent, if that is limited.
    pace: Cell<Option<NonZero<u64>>>,
    /// For the log, if there is one.
    records: Option<Box<ConnectionRecords>>,
}

// Most connections are idle most of the time, so they are small: what they seldom have is boxed.
const _: () = assert!(size_of::<Http>() <= 64);

#[derive(Debug)]
enum HttpState {
    Head,
    /// A lookup for the request at the front of the inbox is running.
    Lookup(Box<PendingLookup>),
    /// The body of a request that has a response. The connection persists.
    Discard(Box<Discard>),
    Over {
        linger: bool,
    },
}

impl Session for Http {
    type Shared = Sites;

    fn new(sites: &mut Sites, info: &ConnectionInfo<'_>) -> Self {
        Self {
            state: HttpState::Head,
            listener: info.listener,
            protection: info.protection.cloned().map(Box::new),
            draining: false,
            answered: false,
            seen: 0,
            begun: false,
            asks_head: false,
            resolved_names: None,
            pace: Cell::new(None),
            records: sites.records(info),
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
                HttpState::Discard(discard) => self.discard(inbox, discard),
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
            unreachable!("no lookup is running, but {found:?} was found")
        };
        self.resolved_names.get_or_insert_default().note(*pending, found);
    }

    fn expire(&mut self, cx: &mut Context<'_, Sites>, _: Timer, out: &mut Chain) -> Step {
        let begun = self.begun && matches!(self.state, HttpState::Head);
        let discarding = matches!(self.state, HttpState::Discard(..));
        self.state = HttpState::Over { linger: false };
        if begun {
            let reason = "The request did not arrive in time.";
            let refusal = Refusal { status: Status::RequestTimeout, reason };
            self.refuse(cx, out, b"", refusal, self.asks_head);
        }
        Step::Finish { linger: begun || discarding }
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    fn sent(&mut self, cx: &mut Context<'_, Sites>, sent: Sent) {
        if let Some(records) = &mut self.records {
            cx.shared.sent(records, cx.now, sent);
        }
    }

    fn closed(&mut self, cx: &mut Context<'_, Sites>) {
        if let Some(records) = &mut self.records {
            cx.shared.closed(records, cx.now);
        }
        if let HttpState::Lookup(pending) = &self.state {
            cx.shared.leave(pending.ticket, cx.session);
        }
    }
}

impl Http {
    /// Parses the head at the front of the inbox, and writes the response.
    fn head(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> ControlFlow<Step> {
        let bytes = inbox.bytes();
        let limits = cx.shared.settings.limits;
        if !self.is_worth_parsing(bytes, inbox.ended(), limits.head_bytes_max) {
            return Break(Step::Receive(self.timeout(bytes)));
        }
        let mut head = Head::EMPTY;
        let used = match head::parse_into(&mut head, bytes, &limits) {
            Ok(Some(used)) => used,
            Ok(None) if inbox.ended() => {
                inbox.take(bytes.len());
                return Break(self.finish(false));
            }
            Ok(None) => return Break(self.wait_for_rest(cx, bytes)),
            Err(refusal) => {
                inbox.take(bytes.len());
                self.refuse(cx, out, bytes, refusal, head::asks_head(bytes));
                return Break(self.finish(true));
            }
        };
        let head = &head;
        debug_assert!(0 < used && used <= bytes.len(), "the head is a part of the inbox");
        (self.seen, self.begun) = (0, false);
        let is_first = !std::mem::replace(&mut self.answered, true);
        if let Some(records) = &mut self.records {
            cx.shared.begin_request(records, cx.now);
        }
        let mut origin = Origin::SERVER;
        let asker = Asker {
            listener: self.listener,
            protection: self.protection.as_deref(),
            draining: self.draining,
            pace: &self.pace,
            head: &bytes[..used],
            lookup: Some(LOOKUP),
        };
        match decide(cx, &asker, &head.request, self.resolved_names.as_deref(), &mut origin) {
            Ok(answer) => {
                let framing = Framing::of(head, self.draining, limits.body_bytes_max);
                self.write(cx, out, framing, &answer, Some(head), &bytes[..used], origin);
                inbox.take(used);
                self.resolved_names = None;
                let linger = self.must_linger(out, is_first);
                self.after(framing, head.body, limits.body_bytes_max, linger);
                Continue(())
            }
            Err(Undecided::Lookup(pending)) => {
                self.resolved_names.get_or_insert_default().keep_refusal(origin.refusal);
                self.state = HttpState::Lookup(Box::new(pending));
                Break(Step::Wait)
            }
            Err(Undecided::NoTurn) => unreachable!("a lookup may always begin"),
            Err(Undecided::Misdirected(detail)) => {
                let answer = misdirected(cx.shared, head.request.method, detail);
                self.write(cx, out, Framing::LAST, &answer, Some(head), &bytes[..used], origin);
                inbox.take(bytes.len());
                Break(self.finish(true))
            }
        }
    }

    /// Writes a response, and notes it for the log.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the log needs all that is known")]
    fn write(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        framing: Framing,
        answer: &Response,
        head: Option<&Head<'_>>,
        asked: &[u8],
        origin: Origin,
    ) {
        let start = if self.records.is_some() { out.remaining() } else { 0 };
        let is_secure = origin.is_secure(self.protection.is_some());
        let common = cx.shared.fields_of_all(cx.now, is_secure, origin.place, answer);
        response::write(out, common, framing, answer);
        if let Some(records) = &mut self.records {
            let asked = asked_of(head, asked, origin);
            cx.shared.note(records, cx.now, &asked, answer, origin, [start, out.remaining()]);
        }
    }

    /// Writes the last response of a connection, to a head that is malformed or late.
    fn refuse(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        asked: &[u8],
        refusal: Refusal,
        asks_head: bool,
    ) {
        let Refusal { status, reason } = refusal;
        let method = if asks_head { Method::Head } else { Method::Get };
        let answer = cx.shared.error(Problem { status, detail: reason }).to(method);
        self.write(cx, out, Framing::LAST, &answer, None, asked, Origin::SERVER);
    }

    /// Waits for the rest of an incomplete head.
    fn wait_for_rest(&mut self, cx: &mut Context<'_, Sites>, bytes: &[u8]) -> Step {
        let timeout = self.timeout(bytes);
        self.seen = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Some(records) = &mut self.records {
            cx.shared.keep_line(records, bytes);
        }
        Step::Receive(timeout)
    }

    /// The timeout for the rest of an incomplete head.
    fn timeout(&mut self, bytes: &[u8]) -> ReceiveTimeout {
        self.begun |= !head::is_blank(&bytes[self.seen as usize..]);
        self.asks_head = self.begun && head::asks_head(bytes);
        if self.begun || !self.answered {
            ReceiveTimeout::Header
        } else {
            ReceiveTimeout::KeepAlive
        }
    }

    /// Whether to parse the head again. Parsing an incomplete head after each byte would take
    /// quadratic time. So it is parsed again when a line has ended, or when it has doubled or has
    /// grown by [`PARSE_AFTER`].
    fn is_worth_parsing(&self, bytes: &[u8], ended: bool, head_bytes_max: usize) -> bool {
        let seen = self.seen as usize;
        debug_assert!(bytes.len() >= seen, "an incomplete head stays in the inbox");
        ended
            // After an answer there is often nothing more.
            || bytes.len() >= (2 * seen).max(1)
            || bytes.len() - seen >= PARSE_AFTER
            || bytes.len() >= head_bytes_max
            || memchr::memchr(b'\n', &bytes[seen..]).is_some()
    }

    /// Whether a connection that ends after this output lingers, although its input has ended with
    /// the request. If anything else arrives after the close, such as the line end that some
    /// clients append to a body, the kernel answers with a reset, which destroys what has not
    /// arrived yet (RFC 9112 section 9.6). Only an answer that is sent as one segment, together
    /// with the end of the connection, cannot be overtaken: lingering would make a short connection
    /// a tenth dearer and gain nothing.
    fn must_linger(&self, out: &Chain, is_first: bool) -> bool {
        // If the server ends the connection, the client may already be sending a request.
        self.draining || !is_first || out.remaining() > SEGMENT_BYTES
    }

    /// Goes on after a response: with the body of its request, if there is one.
    fn after(&mut self, framing: Framing, body: RequestBody, body_bytes_max: u64, linger: bool) {
        let discard = Discard::new(body, body_bytes_max);
        self.state = match discard {
            None if framing.keep_alive => HttpState::Head,
            None => HttpState::Over { linger },
            Some(_) if !framing.keep_alive => HttpState::Over { linger: true },
            Some(discard) => HttpState::Discard(Box::new(discard)),
        };
    }

    /// Discards the body of a request that has a response.
    fn discard(&mut self, inbox: &mut Inbox<'_>, mut discard: Box<Discard>) -> ControlFlow<Step> {
        match discard.feed(inbox.bytes()) {
            Ok(progress) => {
                let is_all = progress.used == inbox.bytes().len();
                debug_assert!(progress.done || is_all, "a body that goes on uses all input");
                inbox.take(progress.used);
                if progress.done {
                    self.state = HttpState::Head;
                    return Continue(());
                }
                if inbox.ended() {
                    return Break(self.finish(false));
                }
                self.state = HttpState::Discard(discard);
                Break(Step::Receive(ReceiveTimeout::Body))
            }
            // The response is written already, so the error can only close the connection.
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

/// What the log says of a request, from its head if that is well formed.
fn asked_of<'a>(head: Option<&Head<'a>>, bytes: &'a [u8], origin: Origin) -> RequestNote<'a> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let bytes = &bytes[start.unwrap_or(bytes.len())..];
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    let asked = RequestNote { line: &bytes[..end], head: bytes, ..RequestNote::default() };
    let Some(head) = head else { return asked };
    let host = Some(head.request.host).filter(|host| !host.is_empty());
    let authorization = head.request.authorization.single().filter(|_| origin.is_authenticated);
    RequestNote { host, referer: head.referer, agent: head.user_agent, authorization, ..asked }
}
