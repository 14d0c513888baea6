//! HTTP/1.1 as a session: requests in, answers out, in order.
//!
//! ```text
//! Head -- known name ----------------------------> answer -- body --> Discard --> Head
//!   |                                                ^   `-- none --------------> Head
//!   `-- unknown name --> Open -- small --> Load -----+
//!                          `-- large, error ---------'
//! any -- refused, Connection: close, end of input --> Finish
//! ```
//!
//! All requests that are complete when the session is called are answered into one chain. An
//! exchange whose file is not known yet holds those behind it back: answers keep their order.

use std::ffi::CString;
use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;
use std::sync::Arc;

use super::answer::{self, Manner};
use super::body::Discard;
use super::request::{self, Body, Method, Request, Version};
use super::resource::{self, Page, Resource};
use super::site::{INDEX, Site};
use super::target::{self, Target};
use super::{Status, request::Refusal};
use crate::driver::{Chain, File, FileKind};
use crate::files::Lookup;
use crate::session::{Inbox, Now, Patience, Reply, Session, Step};

/// Bytes of a line without an end after which an incomplete head is looked at again.
const LOOK_AFTER: usize = 1024;

/// Cached files that are closed when the process runs out of descriptors.
const SHED: usize = 16;

/// An HTTP/1.x conversation; see the module documentation.
#[derive(Debug)]
pub struct Http {
    state: State,
    draining: bool,
    /// Whether a request was answered: until then, the connection's patience is short.
    answered: bool,
    /// The length of the incomplete head that was looked at last.
    seen: u32,
}

#[derive(Debug)]
enum State {
    Head,
    /// Asked for a file.
    Open(Box<Exchange>),
    /// Has the file, wants its content.
    Load(Box<Exchange>, Arc<File>),
    /// Asked for the content of a file, to go behind a head of this many bytes.
    Loading(Box<Exchange>, Arc<File>, usize),
    /// Knows what the name is.
    Ready(Box<Exchange>, Found),
    Discard(Discard, Manner),
    Over {
        linger: bool,
    },
}

/// What opening a file has led to.
#[derive(Debug)]
enum Found {
    /// What the name is. Shared, because the cache may forget it before the answer is written.
    Known(Rc<Resource>),
    /// Trouble that may pass.
    Trouble(Status),
}

/// A request whose name is not known yet: what its answer needs.
#[derive(Debug)]
struct Exchange {
    /// The name to open, relative to the root.
    name: Vec<u8>,
    query: Option<Vec<u8>>,
    /// Whether the name is the index of a directory.
    is_index: bool,
    manner: Manner,
    body: Body,
}

impl Session for Http {
    type Shared = Site;

    fn new(_: &Site) -> Self {
        Self { state: State::Head, draining: false, answered: false, seen: 0 }
    }

    fn advance(
        &mut self,
        site: &mut Site,
        now: Now,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        loop {
            if out.is_full() {
                return Step::Flush;
            }
            let flow = match std::mem::replace(&mut self.state, State::Head) {
                State::Head => self.head(site, now, inbox, out),
                State::Ready(exchange, found) => {
                    self.answer(site, now, out, &exchange, &found);
                    Continue(())
                }
                State::Load(exchange, file) => self.load(now, exchange, file),
                State::Discard(discard, manner) => self.discard(inbox, discard, manner),
                State::Over { linger } => {
                    let linger = linger || !inbox.bytes().is_empty();
                    inbox.take(inbox.bytes().len());
                    self.state = State::Over { linger };
                    Break(Step::Finish { linger })
                }
                State::Open(_) | State::Loading(..) => {
                    unreachable!("a session is not called while it waits for a file")
                }
            };
            if let Break(step) = flow {
                return step;
            }
        }
    }

    fn resume(&mut self, site: &mut Site, now: Now, reply: Reply) {
        self.state = match (std::mem::replace(&mut self.state, State::Head), reply) {
            (State::Open(exchange), Reply::Opened(Ok(file))) => {
                Self::opened(site, now, exchange, file)
            }
            (State::Open(exchange), Reply::Opened(Err(error))) => {
                match resource::status_of(&error) {
                    Ok(status) => found(site, now, exchange, Resource::Refused(status)),
                    Err(status) => trouble(site, exchange, status),
                }
            }
            (State::Loading(exchange, file, head_len), Reply::Read(Ok(read), wire)) => {
                let page = if read as u64 == file.metadata().len {
                    Page::of_memory(&wire, head_len, *file.metadata(), now.system)
                } else {
                    // It grows or shrinks while we look: the length that was announced is kept
                    // or the connection breaks, as for any file that changes while it is sent.
                    Page::of_file(&wire[..head_len], file, now.system)
                };
                found(site, now, exchange, Resource::Page(page))
            }
            (State::Loading(exchange, ..), Reply::Read(Err(_), _)) => {
                trouble(site, exchange, Status::InternalServerError)
            }
            (state, reply) => unreachable!("{reply:?} does not answer {state:?}"),
        };
    }

    fn expire(&mut self, site: &mut Site, now: Now, out: &mut Chain) -> Step {
        let begun = self.seen > 0 && matches!(self.state, State::Head);
        let discarding = matches!(self.state, State::Discard(..));
        self.state = State::Over { linger: false };
        if begun {
            let reason = "The request did not arrive in time.";
            let status = Status::RequestTimeout;
            answer::error(out, &mut site.preface, now.system, Manner::LAST, status, reason);
        }
        Step::Finish { linger: begun || discarding }
    }

    fn drain(&mut self) {
        self.draining = true;
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
        let (request, used) = match request::parse(bytes, &site.settings.head_limits) {
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
            Err(Refusal { status, reason }) => {
                inbox.take(bytes.len());
                answer::error(out, &mut site.preface, now.system, Manner::LAST, status, reason);
                return Break(self.finish(true));
            }
        };
        self.seen = 0;
        self.answered = true;
        let flow = self.act(site, now, &request, out);
        inbox.take(used);
        flow
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

    fn act(
        &mut self,
        site: &mut Site,
        now: Now,
        request: &Request<'_>,
        out: &mut Chain,
    ) -> ControlFlow<Step> {
        let manner = self.manner(request, site);
        let refuse = |out: &mut Chain, site: &mut Site, status, reason| {
            answer::error(out, &mut site.preface, now.system, manner, status, reason);
        };
        match request.method {
            Method::Get | Method::Head => {
                let target = match target::resolve(request.target) {
                    Ok(target) => target,
                    Err(error) => {
                        refuse(out, site, error.status(), explain(error.status()));
                        self.after(manner, request.body, site);
                        return Continue(());
                    }
                };
                return self.fetch(site, now, request, manner, &target, out);
            }
            Method::Options => answer::options(out, &mut site.preface, now.system, manner),
            Method::Connect | Method::Refused => {
                let reason = "This server serves files: it takes GET, HEAD and OPTIONS.";
                refuse(out, site, Status::MethodNotAllowed, reason);
            }
            Method::Unknown => {
                refuse(out, site, Status::NotImplemented, "This method is not known here.");
            }
        }
        self.after(manner, request.body, site);
        Continue(())
    }

    /// Answers GET or HEAD from what is known, or asks for the file.
    fn fetch(
        &mut self,
        site: &mut Site,
        now: Now,
        request: &Request<'_>,
        manner: Manner,
        target: &Target<'_>,
        out: &mut Chain,
    ) -> ControlFlow<Step> {
        if target::has_hidden_segment(target.path()) {
            let status = Status::NotFound;
            answer::error(out, &mut site.preface, now.system, manner, status, explain(status));
            self.after(manner, request.body, site);
            return Continue(());
        }
        let name = name_of(&mut site.name, target);
        if let Lookup::Valid(resource) = site.cache.get(name, now.instant) {
            let asked = Asked { name, query: target.query(), is_index: target.directory() };
            answer_with(out, &mut site.preface, now, manner, resource, asked);
            self.after(manner, request.body, site);
            return Continue(());
        }
        let exchange = Box::new(Exchange {
            name: name.to_vec(),
            query: target.query().map(<[u8]>::to_vec),
            is_index: target.directory(),
            manner,
            body: request.body,
        });
        let Ok(path) = CString::new(name) else { unreachable!("a resolved target holds no NUL") };
        self.state = State::Open(exchange);
        Break(Step::Open { root: Arc::clone(&site.settings.root), path })
    }

    /// What an opened file means for the exchange that asked for it.
    fn opened(site: &mut Site, now: Now, exchange: Box<Exchange>, file: Arc<File>) -> State {
        let metadata = *file.metadata();
        match metadata.kind {
            FileKind::Regular => {}
            FileKind::Directory => return found(site, now, exchange, Resource::Directory),
            FileKind::Other => {
                return found(site, now, exchange, Resource::Refused(Status::NotFound));
            }
        }
        if let Some(known) = site.cache.peek(&exchange.name)
            && let Resource::Page(page) = &**known
            && page.is_of(&file)
        {
            let known = Rc::clone(known);
            site.cache.confirm(&exchange.name, now.instant);
            return State::Ready(exchange, Found::Known(known));
        }
        if metadata.len > 0 && metadata.len <= site.settings.memory_file_max {
            return State::Load(exchange, file);
        }
        let head = resource::head_fields(&exchange.name, &metadata, now.system);
        let page = Page::of_file(&head, file, now.system);
        found(site, now, exchange, Resource::Page(page))
    }

    /// Asks for the content of a small file.
    fn load(&mut self, now: Now, exchange: Box<Exchange>, file: Arc<File>) -> ControlFlow<Step> {
        let metadata = *file.metadata();
        let mut buffer = resource::head_fields(&exchange.name, &metadata, now.system);
        let head_len = buffer.len();
        // One byte more, to notice a file that grew meanwhile.
        buffer.reserve_exact(metadata.len as usize + 1);
        self.state = State::Loading(exchange, Arc::clone(&file), head_len);
        Break(Step::Read { file, offset: 0, buffer })
    }

    /// Answers an exchange that had to wait.
    fn answer(
        &mut self,
        site: &mut Site,
        now: Now,
        out: &mut Chain,
        exchange: &Exchange,
        found: &Found,
    ) {
        let manner = exchange.manner;
        match found {
            Found::Known(resource) => {
                let asked = Asked {
                    name: &exchange.name,
                    query: exchange.query.as_deref(),
                    is_index: exchange.is_index,
                };
                answer_with(out, &mut site.preface, now, manner, resource, asked);
            }
            Found::Trouble(status) => {
                let reason = explain(*status);
                answer::error(out, &mut site.preface, now.system, manner, *status, reason);
            }
        }
        self.after(manner, exchange.body, site);
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

/// Remembers what a name is, at once: an answer may have to wait for a slow client, and what was
/// found would be old by then.
fn found(site: &mut Site, now: Now, exchange: Box<Exchange>, resource: Resource) -> State {
    let bytes = resource.bytes() + exchange.name.len();
    let resource = Rc::new(resource);
    site.cache.insert(&exchange.name, Rc::clone(&resource), bytes, now.instant);
    State::Ready(exchange, Found::Known(resource))
}

/// Forgets what was known of a name: it may be wrong by now.
fn trouble(site: &mut Site, exchange: Box<Exchange>, status: Status) -> State {
    site.cache.remove(&exchange.name);
    if status == Status::ServiceUnavailable {
        site.cache.shed(SHED);
    }
    State::Ready(exchange, Found::Trouble(status))
}

/// What a request asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    name: &'a [u8],
    query: Option<&'a [u8]>,
    is_index: bool,
}

/// Answers with what a name is known to be.
fn answer_with(
    out: &mut Chain,
    preface: &mut answer::Preface,
    now: Now,
    manner: Manner,
    resource: &Resource,
    asked: Asked<'_>,
) {
    let refused = match resource {
        Resource::Page(page) => {
            return answer::page(out, preface, now.system, manner, page);
        }
        Resource::Directory if !asked.is_index => {
            let Asked { name, query, .. } = asked;
            return answer::slash_redirect(out, preface, now.system, manner, name, query);
        }
        // A directory that bears the name of an index is none.
        Resource::Directory => Status::NotFound,
        Resource::Refused(status) => *status,
    };
    answer::error(out, preface, now.system, manner, refused, explain(refused));
}

/// The name that a target asks for: that of the index, for a directory.
fn name_of<'a>(buffer: &'a mut Vec<u8>, target: &Target<'_>) -> &'a [u8] {
    buffer.clear();
    buffer.extend_from_slice(target.path());
    if target.directory() {
        if !buffer.is_empty() {
            buffer.push(b'/');
        }
        buffer.extend_from_slice(INDEX);
    }
    buffer
}

/// A sentence for the body of an error.
fn explain(status: Status) -> &'static str {
    match status {
        Status::BadRequest => "The address of this request cannot be read.",
        Status::Forbidden => "This file may not be read by the server.",
        Status::NotFound => "There is nothing under this address.",
        Status::ServiceUnavailable => "The server is short of something. Try again in a moment.",
        _ => "The server could not read this file.",
    }
}
