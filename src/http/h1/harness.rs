//! Conversations without sockets: for tests, benchmarks and fuzzing.
//!
//! A [`Harness`] does for sessions what a worker does, but at once and under the control of its
//! user: questions are collected, and answered when the user says so. It waits for disks.
//! [`converse`] has a whole conversation; the chunking law is tested with it.

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
use crate::http::{Http, SiteSettings, Sites};
use crate::service::{Service, SessionId, Task};
use crate::session::{ConnectionInfo, Context, Inbox, Now, Session, Step};

/// Sessions that share one [`Sites`]; see the module documentation.
#[derive(Debug)]
pub struct Harness {
    /// What the sessions share.
    pub sites: Sites,
    sessions: Vec<Http>,
    asks: VecDeque<(AskId, Ask)>,
}

/// What one call of a session has led to.
#[derive(Debug)]
pub struct Said {
    /// When it wants to be called again.
    pub step: Step,
    /// Bytes of the input that it has taken.
    pub taken: usize,
    /// What it has written.
    pub output: Vec<u8>,
}

impl Harness {
    /// No session yet.
    pub fn new(settings: SiteSettings) -> Self {
        Self { sites: Sites::new(settings, None), sessions: Vec::new(), asks: VecDeque::new() }
    }

    /// Begins a session; gives its number.
    pub fn begin(&mut self) -> usize {
        self.sessions.push(Http::new(&mut self.sites, &ConnectionInfo::detached()));
        self.sessions.len() - 1
    }

    /// Tells a session to drain.
    pub fn drain(&mut self, session: usize) {
        self.sessions[session].drain();
    }

    /// Calls a session with this input.
    pub fn advance(&mut self, session: usize, now: Now, input: &[u8], ended: bool) -> Said {
        let mut out = Chain::new();
        let (step, taken) = self.advance_into(session, now, input, ended, &mut out);
        Said { step, taken, output: read_all(&mut out) }
    }

    /// The same, into a chain of the caller's.
    pub fn advance_into(
        &mut self,
        session: usize,
        now: Now,
        input: &[u8],
        ended: bool,
        out: &mut Chain,
    ) -> (Step, usize) {
        let (mut inbox, mut asks) = (Inbox::new(input, ended), Vec::new());
        let id = SessionId::detached(session as u32);
        let mut cx = Context::new(&mut self.sites, now, id, false, &mut asks);
        let step = self.sessions[session].advance(&mut cx, &mut inbox, out);
        assert!(asks.is_empty(), "an HTTP/1 session asks its site");
        (step, inbox.taken())
    }

    /// Ends a session, as when its client has gone.
    pub fn close(&mut self, session: usize, now: Now) {
        let (mut asks, id) = (Vec::new(), SessionId::detached(session as u32));
        let mut cx = Context::new(&mut self.sites, now, id, false, &mut asks);
        self.sessions[session].closed(&mut cx);
    }

    /// Lets the site do what it can, and gives the next question that is open, if there is one.
    pub fn next_ask(&mut self, now: Now) -> Option<(AskId, Ask)> {
        self.poll(now);
        self.asks.pop_front()
    }

    /// Brings the reply to a question.
    pub fn reply(&mut self, now: Now, id: AskId, reply: Reply) {
        self.sites.resume(now, id, reply);
        self.poll(now);
    }

    /// Answers all questions from the disk, until there are no more.
    pub fn settle(&mut self, now: Now) {
        while let Some((id, ask)) = self.next_ask(now) {
            self.reply(now, id, perform(ask));
        }
    }

    /// Has a session answer its input to the end, with questions answered from the disk.
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
                    let mut asks = Vec::new();
                    let sites = &mut self.sites;
                    let mut cx = Context::new(sites, now, waiter.session, false, &mut asks);
                    self.sessions[session].answered(&mut cx, waiter.id, found);
                }
            }
        }
    }
}

/// The reply to a question, from the disk.
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

/// Appends what a file has at `offset`, as much as fits into the buffer's spare capacity.
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

/// Has one conversation, whose input comes in `pieces` and then ends. Returns what the peer gets.
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

/// Fuzz entry: however a conversation is cut, the answers are the same. The first two bytes
/// choose the cut, the rest is what the client sends.
///
/// # Panics
///
/// If the chunking law does not hold.
pub fn fuzz_session(root: &Arc<File>, data: &[u8]) {
    let [high, low, stream @ ..] = data else { return };
    let mut harness = Harness::new(SiteSettings::new(Arc::clone(root)));
    // A fixed time, so that two conversations about the same differ in nothing.
    let now = Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) };
    let whole = converse(&mut harness, now, [stream]);
    let cut = usize::from(u16::from_be_bytes([*high, *low])) % (stream.len() + 1);
    let (front, back) = stream.split_at(cut);
    let pieces = converse(&mut harness, now, [front, back]);
    assert!(pieces == whole, "cut at {cut}: {}", difference(&pieces, &whole));
}

/// Where two answers part, for the message of a failed test.
fn difference(left: &[u8], right: &[u8]) -> String {
    let at = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let around = |bytes: &[u8]| {
        let window = &bytes[at.saturating_sub(80).min(bytes.len())..bytes.len().min(at + 80)];
        String::from_utf8_lossy(window).into_owned()
    };
    format!("from byte {at} on: {:?} against {:?}", around(left), around(right))
}
