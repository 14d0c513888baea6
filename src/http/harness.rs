//! Runs sessions of HTTP without sockets, for tests, benchmarks and fuzzing.
//!
//! A [`Harness`] stands in for a worker, under the control of its user: it collects questions, and
//! replies when the user says so. Replies are read from the disk, which blocks. [`converse`] runs a
//! whole conversation.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::ask::{Ask, AskId, Reply};
use crate::driver::chain::read_all;
use crate::driver::{Chain, File};
use crate::http::{HttpSettings, Sites, Web};
use crate::service::{Service, SessionId, Task};
use crate::session::{ConnectionInfo, Context, Inbox, Now, Protection, Sent, Session, Step, Timer};

/// Sessions that share one [`Sites`]; see the module documentation.
#[derive(Debug)]
pub struct Harness {
    /// What the sessions share.
    pub sites: Sites,
    sessions: Vec<Web>,
    asks: VecDeque<(AskId, Ask)>,
}

/// The result of one call of a session.
#[derive(Debug)]
pub struct AdvanceResult {
    /// What the session waits for.
    pub step: Step,
    /// Bytes of the input that the session consumed.
    pub taken: usize,
    /// What the session wrote.
    pub output: Vec<u8>,
}

impl Harness {
    /// A harness without sessions.
    pub fn new(settings: HttpSettings) -> Self {
        Self {
            sites: Sites::new(settings, Now::read(), None).recording(0),
            sessions: Vec::new(),
            asks: VecDeque::new(),
        }
    }

    /// Begins a session and returns its number.
    pub fn begin(&mut self) -> usize {
        self.begin_as(&ConnectionInfo::detached())
    }

    /// Begins a session of a connection as `info` says, and returns its number.
    pub fn begin_as(&mut self, info: &ConnectionInfo<'_>) -> usize {
        self.sessions.push(Web::new(&mut self.sites, info));
        self.sessions.len() - 1
    }

    /// Begins a session of HTTP/2 and returns its number: that of a connection whose handshake has
    /// agreed on `h2`.
    pub fn begin_h2(&mut self) -> usize {
        let protection = Protection {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            is_resumed: false,
            protocol: Some("h2"),
            server_name: None,
        };
        self.begin_as(&ConnectionInfo::detached().protected_by(&protection))
    }

    /// Tells a session to drain.
    pub fn drain(&mut self, session: usize) {
        self.sessions[session].drain();
    }

    /// Calls a session with some input.
    pub fn advance(
        &mut self,
        session: usize,
        now: Now,
        input: &[u8],
        ended: bool,
    ) -> AdvanceResult {
        let mut out = Chain::new();
        let (step, taken) = self.advance_into(session, now, input, ended, &mut out);
        AdvanceResult { step, taken, output: read_all(&mut out) }
    }

    /// The same, but appends the output to `out`.
    pub fn advance_into(
        &mut self,
        session: usize,
        now: Now,
        input: &[u8],
        ended: bool,
        out: &mut Chain,
    ) -> (Step, usize) {
        let mut inbox = Inbox::new(input, ended);
        let step = self.call(session, now, false, |web, cx| web.advance(cx, &mut inbox, out));
        (step, inbox.taken())
    }

    /// Calls a session with input while earlier output of it is being sent. `out` is what is queued
    /// behind that send.
    pub fn advance_while_sending(
        &mut self,
        session: usize,
        now: Now,
        input: &[u8],
        out: &mut Chain,
    ) -> (Step, usize) {
        let mut inbox = Inbox::new(input, false);
        let step = self.call(session, now, true, |web, cx| web.advance(cx, &mut inbox, out));
        (step, inbox.taken())
    }

    /// When a session wants [`Timer::Deadline`].
    pub fn deadline(&self, session: usize) -> Option<Instant> {
        self.sessions[session].deadline()
    }

    /// Tells a session that a timer has expired. The result has no input taken.
    pub fn expire(&mut self, session: usize, now: Now, timer: Timer) -> AdvanceResult {
        let mut out = Chain::new();
        let step = self.call(session, now, false, |web, cx| web.expire(cx, timer, &mut out));
        AdvanceResult { step, taken: 0, output: read_all(&mut out) }
    }

    /// The same while earlier output of it is being sent.
    pub fn expire_while_sending(&mut self, session: usize, now: Now, timer: Timer) -> Step {
        let mut out = Chain::new();
        let step = self.call(session, now, true, |web, cx| web.expire(cx, timer, &mut out));
        assert!(out.is_empty(), "nothing is queued behind a send when a timer expires");
        step
    }

    /// Tells a session of a send.
    pub fn sent(&mut self, session: usize, now: Now, sent: Sent) {
        self.call(session, now, false, |web, cx| web.sent(cx, sent));
    }

    /// Ends a session, as if its client had disconnected.
    pub fn close(&mut self, session: usize, now: Now) {
        self.call(session, now, false, Web::closed);
    }

    /// The memory that a session keeps, in bytes, if it says so: those of HTTP/2 do.
    pub fn memory_in_use(&self, session: usize) -> Option<usize> {
        match &self.sessions[session] {
            Web::Http2(http) => Some(http.memory_in_use()),
            Web::Http1(_) | Web::Undecided(_) => None,
        }
    }

    /// How many questions are open.
    pub fn asks(&mut self, now: Now) -> usize {
        self.poll(now);
        self.asks.len()
    }

    fn call<R>(
        &mut self,
        session: usize,
        now: Now,
        sending: bool,
        call: impl FnOnce(&mut Web, &mut Context<'_, Sites>) -> R,
    ) -> R {
        let (mut asks, id) = (Vec::new(), SessionId::detached(session as u32));
        let mut cx = Context::new(&mut self.sites, now, id, sending, &mut asks);
        let result = call(&mut self.sessions[session], &mut cx);
        assert!(asks.is_empty(), "a session of HTTP asks only its service");
        result
    }

    /// Polls the service, and returns the oldest question without a reply, if there is one.
    pub fn next_ask(&mut self, now: Now) -> Option<(AskId, Ask)> {
        self.poll(now);
        self.asks.pop_front()
    }

    /// Delivers the reply to a question.
    pub fn reply(&mut self, now: Now, id: AskId, reply: Reply) {
        self.sites.resume(now, id, reply);
        self.poll(now);
    }

    /// Replies to all questions from the disk, until there are no more.
    pub fn settle(&mut self, now: Now) {
        while let Some((id, ask)) = self.next_ask(now) {
            self.reply(now, id, perform(ask));
        }
    }

    /// Calls a session until it has consumed its input, and returns the output. Questions are
    /// replied to from the disk.
    pub fn answer(&mut self, session: usize, now: Now, input: &[u8]) -> Vec<u8> {
        let (mut output, mut start) = (Vec::new(), 0);
        loop {
            let said = self.advance(session, now, &input[start..], false);
            output.extend(said.output);
            start += said.taken;
            match said.step {
                Step::Receive(_) | Step::Finish { .. } | Step::Abort => return output,
                Step::Flush | Step::Wait => self.settle(now),
            }
        }
    }

    fn poll(&mut self, now: Now) {
        while let Some(task) = self.sites.poll(now) {
            match task {
                Task::Ask(id, ask) => self.asks.push_back((id, ask)),
                Task::Cancel(id) => {
                    let position = self.asks.iter().position(|(other, _)| *other == id);
                    let cancelled = position.and_then(|position| self.asks.remove(position));
                    if let Some((id, ask)) = cancelled {
                        self.sites.resume(now, id, refuse(ask));
                    }
                }
                Task::Answer(waiter, found) => {
                    let session = waiter.session.0.slot() as usize;
                    self.call(session, now, false, |web, cx| web.answered(cx, waiter.id, found));
                }
            }
        }
    }
}

/// Reads the reply to a question from the disk.
pub fn perform(ask: Ask) -> Reply {
    match ask {
        Ask::Open { root, path } => Reply::Opened(File::open_beneath(&root, &path).map(Arc::new)),
        Ask::Run { job } => Reply::Ran(job.perform()),
        Ask::Read { file, offset, mut buffer } => {
            let read = fill(&file, offset, &mut buffer);
            Reply::Read(read, buffer)
        }
    }
}

/// The reply to a question that was cancelled.
fn refuse(ask: Ask) -> Reply {
    let cancelled = || io::Error::from(io::ErrorKind::Interrupted);
    match ask {
        Ask::Open { .. } => Reply::Opened(Err(cancelled())),
        Ask::Read { buffer, .. } => Reply::Read(Err(cancelled()), buffer),
        Ask::Run { .. } => Reply::Ran(Err(cancelled())),
    }
}

/// Appends content of a file from `offset` on, up to the capacity of the buffer.
fn fill(file: &File, offset: u64, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let file = fs::File::from(file.as_fd().try_clone_to_owned()?);
    let start = buffer.len();
    let mut end = start;
    buffer.resize(buffer.capacity(), 0);
    while end < buffer.len() {
        match file.read_at(&mut buffer[end..], offset + (end - start) as u64)? {
            0 => break,
            read => end += read,
        }
    }
    buffer.truncate(end);
    Ok(end - start)
}

/// Runs one conversation whose input arrives in `pieces` and then ends. Returns the output.
pub fn converse<'a>(
    harness: &mut Harness,
    now: Now,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let session = harness.begin();
    let (mut inbox, mut output) = (Vec::new(), Vec::new());
    let ends = pieces.into_iter().map(|piece| (piece, false)).chain([(&b""[..], true)]);
    for (piece, ended) in ends {
        inbox.extend_from_slice(piece);
        loop {
            let said = harness.advance(session, now, &inbox, ended);
            inbox.drain(..said.taken);
            output.extend(said.output);
            match said.step {
                Step::Receive(_) => break,
                Step::Finish { .. } | Step::Abort => return output,
                Step::Flush => {}
                Step::Wait => harness.settle(now),
            }
        }
    }
    panic!("a session waits for input after its end")
}

/// Fuzz entry: splitting the input does not change the output. The first two bytes select the
/// split, the rest is the input.
///
/// # Panics
///
/// If the output differs.
pub fn fuzz_session(root: &Arc<File>, data: &[u8]) {
    let [high, low, stream @ ..] = data else { return };
    let mut harness = Harness::new(HttpSettings::of_root(Arc::clone(root)));
    // A fixed time, because responses contain the date.
    let now = Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) };
    let whole = converse(&mut harness, now, [stream]);
    let cut = usize::from(u16::from_be_bytes([*high, *low])) % (stream.len() + 1);
    let (front, back) = stream.split_at(cut);
    let pieces = converse(&mut harness, now, [front, back]);
    assert!(pieces == whole, "cut at {cut}: {}", difference(&pieces, &whole));
}

/// Shows where two outputs begin to differ.
fn difference(left: &[u8], right: &[u8]) -> String {
    let at = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let around = |bytes: &[u8]| {
        let window = &bytes[at.saturating_sub(80).min(bytes.len())..bytes.len().min(at + 80)];
        String::from_utf8_lossy(window).into_owned()
    };
    format!("from byte {at} on: {:?} against {:?}", around(left), around(right))
}
