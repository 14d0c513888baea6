//! HTTP/1.1 as a session: requests in, answers out, in order.
//!
//! ```text
//! Head --- the answer can be written ------> written --- body --> Discard --> Head
//!   |  ^                                          `----- none --------------> Head
//!   |  `-- found -- Ask, Looking (a lookup, step by step)
//!   `-- something is not known yet --^
//! any -- refused, Connection: close, end of input --> Finish
//! ```
//!
//! All requests that are complete when the session is called are answered into one chain. A
//! request whose answer has to wait stays in the inbox, and holds those behind it back: answers
//! keep their order. What is answered with what is decided in `site::answer`.

use std::ops::ControlFlow::{self, Break, Continue};

use crate::driver::Chain;
use crate::files::Figures;
use crate::http::h1::body::Discard;
use crate::http::h1::head::{self, Body, Method, Refusal, Request, Version};
use crate::http::semantics::status::Status;
use crate::http::site::answer::{Exchange, Findings, Purpose, Waiting};
use crate::http::site::lookup::{Lookup, Progress};
use crate::http::site::response::{Answer, Complaint, Manner};
use crate::http::site::sites::Site;
use crate::session::{Inbox, Now, Patience, Reply, Session, Step};

/// Bytes of a line without an end after which an incomplete head is looked at again.
const LOOK_AFTER: usize = 1024;

/// An HTTP/1.x conversation; see the module documentation.
#[derive(Debug)]
pub struct Http {
    state: State,
    draining: bool,
    /// Whether a request was answered: until then, the connection's patience is short.
    answered: bool,
    /// The length of the incomplete head that was looked at last.
    seen: u32,
    /// What was looked up for the request at the front of the inbox.
    findings: Option<Box<Findings>>,
}

#[derive(Debug)]
enum State {
    Head,
    /// Has a question.
    Ask(Box<Lookup>, Purpose, Step),
    /// Waits for what it asked for.
    Looking(Box<Lookup>, Purpose),
    Discard(Discard, Manner),
    Over {
        linger: bool,
    },
}

impl Session for Http {
    type Shared = Site;

    fn new(_: &Site) -> Self {
        Self { state: State::Head, draining: false, answered: false, seen: 0, findings: None }
    }

    fn advance(
        &mut self,
        site: &mut Site,
        now: Now,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        site.notice_changes(now.instant);
        loop {
            if out.is_full() {
                return Step::Flush;
            }
            let flow = match std::mem::replace(&mut self.state, State::Head) {
                State::Head => self.head(site, now, inbox, out),
                State::Ask(lookup, purpose, step) => {
                    self.state = State::Looking(lookup, purpose);
                    Break(step)
                }
                State::Discard(discard, manner) => self.discard(inbox, discard, manner),
                State::Over { linger } => {
                    let linger = linger || !inbox.bytes().is_empty();
                    inbox.take(inbox.bytes().len());
                    self.state = State::Over { linger };
                    Break(Step::Finish { linger })
                }
                State::Looking(..) => {
                    unreachable!("a session is not called while it waits for an answer")
                }
            };
            if let Break(step) = flow {
                return step;
            }
        }
    }

    fn resume(&mut self, site: &mut Site, now: Now, reply: Reply) {
        self.state = match std::mem::replace(&mut self.state, State::Head) {
            State::Looking(lookup, purpose) => match lookup.resume(site, now, reply) {
                Progress::Ask(lookup, step) => State::Ask(lookup, purpose, step),
                Progress::Found(found) => {
                    self.findings.get_or_insert_default().note(purpose, found);
                    State::Head
                }
            },
            state => unreachable!("{reply:?} does not answer {state:?}"),
        };
    }

    fn expire(&mut self, site: &mut Site, now: Now, out: &mut Chain) -> Step {
        let begun = self.seen > 0 && matches!(self.state, State::Head);
        let discarding = matches!(self.state, State::Discard(..));
        self.state = State::Over { linger: false };
        if begun {
            let reason = "The request did not arrive in time.";
            self.refuse(site, now, out, Refusal { status: Status::RequestTimeout, reason });
        }
        Step::Finish { linger: begun || discarding }
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    fn figures(site: &Site) -> Figures {
        site.figures()
    }
}

impl Http {
    /// Takes a request head out of the inbox and acts on it.
    fn head(
        &mut self,
        site: &mut Site,
        now: Now,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> ControlFlow<Step> {
        let bytes = inbox.bytes();
        if !self.is_worth_parsing(bytes, inbox.ended(), site) {
            return Break(Step::Receive(Patience::Busy));
        }
        let (request, used) = match head::parse(bytes, &site.settings.head_limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if inbox.ended() => {
                inbox.take(bytes.len());
                return Break(self.finish(false));
            }
            Ok(None) => {
                self.seen = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let idle = bytes.is_empty() && self.answered;
                return Break(Step::Receive(if idle { Patience::Idle } else { Patience::Busy }));
            }
            Err(refusal) => {
                inbox.take(bytes.len());
                self.refuse(site, now, out, refusal);
                return Break(self.finish(true));
            }
        };
        self.seen = 0;
        self.answered = true;
        let manner = self.manner(&request, site);
        let findings = self.findings.as_deref();
        match (Exchange { site, now, out, request: &request, manner, findings }).answer() {
            Ok(()) => {
                inbox.take(used);
                self.findings = None;
                self.after(manner, request.body, site);
                Continue(())
            }
            Err(Waiting { purpose, lookup, step }) => {
                self.state = State::Looking(lookup, purpose);
                Break(step)
            }
        }
    }

    /// The last answer, to what is no request.
    fn refuse(&self, site: &mut Site, now: Now, out: &mut Chain, refusal: Refusal) {
        let Refusal { status, reason } = refusal;
        let (texts, manner) = (&mut site.texts, Manner::LAST);
        Answer { out, texts, now: now.system, manner, fields: "" }
            .error(Complaint { status, reason, more: "" }, false);
    }

    /// Parsing an incomplete head again for every byte of it would cost its length squared. It
    /// is looked at when a line has ended, or when it has doubled or grown by [`LOOK_AFTER`]
    /// since: that finds the same, in time.
    fn is_worth_parsing(&self, bytes: &[u8], ended: bool, site: &Site) -> bool {
        let seen = self.seen as usize;
        ended
            || bytes.len() >= 2 * seen
            || bytes.len() - seen >= LOOK_AFTER
            || bytes.len() >= site.settings.head_limits.head_bytes_max
            || memchr::memchr(b'\n', &bytes[seen..]).is_some()
    }

    /// What follows an answer.
    fn after(&mut self, manner: Manner, body: Body, site: &Site) {
        let discard = Discard::new(body, site.settings.body_bytes_max);
        match discard {
            None => self.after_body(manner),
            Some(_) if !manner.keep_alive => self.state = State::Over { linger: true },
            Some(discard) => self.state = State::Discard(discard, manner),
        }
    }

    /// What follows an answer to a request whose body is read.
    fn after_body(&mut self, manner: Manner) {
        self.state = if manner.keep_alive {
            State::Head
        } else {
            // A client that did not ask for the end may be sending its next request.
            State::Over { linger: self.draining }
        };
    }

    /// Throws away the body of a request that was answered.
    fn discard(
        &mut self,
        inbox: &mut Inbox<'_>,
        mut discard: Discard,
        manner: Manner,
    ) -> ControlFlow<Step> {
        match discard.feed(inbox.bytes()) {
            Ok(progress) => {
                inbox.take(progress.used);
                if progress.done {
                    self.after_body(manner);
                    return Continue(());
                }
                if inbox.ended() {
                    return Break(self.finish(false));
                }
                self.state = State::Discard(discard, manner);
                Break(Step::Receive(Patience::Busy))
            }
            // The answer is out already: what can be told is told by the end.
            Err(_) => {
                inbox.take(inbox.bytes().len());
                Break(self.finish(true))
            }
        }
    }

    fn finish(&mut self, linger: bool) -> Step {
        self.state = State::Over { linger };
        Step::Finish { linger }
    }

    /// How the answer to a request has to look.
    fn manner(&self, request: &Request<'_>, site: &Site) -> Manner {
        let body_ends = match request.body {
            Body::None => true,
            Body::Length(bytes) => bytes <= site.settings.body_bytes_max,
            // How long it is shows when it is read.
            Body::Chunked => true,
        };
        // A client that waits for 100 gets the final answer instead, and may or may not send its
        // body afterwards: only closing tells them apart (RFC 9110 section 10.1.1).
        let waits = request.expects_continue && !matches!(request.body, Body::None);
        Manner {
            head_only: request.method == Method::Head,
            keep_alive: request.keep_alive && !self.draining && body_ends && !waits,
            says_keep_alive: request.version == Version::Http10,
        }
    }
}
