//! One session without a connection: the test decides the order of input, sends and replies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::ask::{Ask, AskId, Reply};
use crate::driver::chain::read_all;
use crate::driver::sim::Files;
use crate::driver::{Chain, File, Job, Now};
use crate::events::Events;
use crate::secured::toy::{HELLO, Reader, Toy, ToySettings, WELCOME, Writer};
use crate::secured::{Secured, SecuredService};
use crate::service::{Service, SessionId, Task};
use crate::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer};

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(9);

/// What the letters of the input write.
pub(super) const SMALL: usize = 10;
pub(super) const LARGE: usize = 20_000;
pub(super) const FILE: usize = 110_000;

/// What the sessions of a test share.
pub(super) struct Stage {
    file: Arc<File>,
    memory: Rc<[u8]>,
    pub(super) reports: Vec<Sent>,
    pub(super) closed: u32,
}

impl Stage {
    pub(super) fn new() -> Self {
        let files = Files::default();
        // Made by copies, because Miri takes long for each step.
        let mut bytes = (0..251).collect::<Vec<u8>>().repeat(FILE.div_ceil(251));
        bytes.truncate(FILE);
        files.write("file", &bytes);
        let file = files.open("file").unwrap();
        let memory = bytes[..LARGE].into();
        Self { file, memory, reports: Vec::new(), closed: 0 }
    }
}

impl Service for Stage {
    type Answer = std::convert::Infallible;
    type Message = std::convert::Infallible;

    fn poll(&mut self, _: Now) -> Option<Task<Self::Answer>> {
        None
    }

    fn resume(&mut self, _: Now, _: AskId, _: Reply) {}

    fn receive(&mut self, _: Now, message: Self::Message) {
        match message {}
    }
}

/// Writes what the letters of its input say.
#[derive(Debug, Default)]
pub(super) struct Player {
    waits: bool,
    over: bool,
    count: u8,
}

impl Player {
    fn act(&mut self, letter: u8, cx: &mut Context<'_, Stage>, out: &mut Chain) -> Option<Step> {
        self.count = self.count.wrapping_add(1);
        let file = FILE as u64;
        match letter {
            b'm' => out.copy(&[self.count; SMALL]),
            b's' => out.share(&cx.shared.memory),
            b'f' => out.file(&cx.shared.file, 0..file),
            b'p' => out.file(&cx.shared.file, u64::from(self.count)..file / 3),
            b'w' => {
                cx.ask(AskId(3), Ask::Run { job: Job::new(|| Ok(Vec::new())) });
                self.waits = true;
                return Some(Step::Wait);
            }
            b'e' | b'q' => {
                if letter == b'q' {
                    cx.ask(AskId(3), Ask::Run { job: Job::new(|| Ok(Vec::new())) });
                }
                self.over = true;
                return Some(Step::Finish { linger: false });
            }
            b'x' => {
                self.over = true;
                out.copy(b"not sent");
                return Some(Step::Abort);
            }
            _ => {}
        }
        None
    }
}

impl Session for Player {
    type Shared = Stage;

    fn new(_: &mut Stage, _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Stage>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        assert!(!self.over, "a session that has finished is not called");
        assert!(cx.sending || out.is_empty(), "output is queued only behind a send");
        if self.waits {
            return Step::Wait;
        }
        while let Some(letter) = inbox.bytes().first() {
            if out.is_full() {
                return Step::Flush;
            }
            if *letter == b'h' && cx.sending {
                return Step::Wait;
            }
            inbox.take(1);
            if let Some(step) = self.act(*letter, cx, out) {
                return step;
            }
        }
        if inbox.ended() {
            self.over = true;
            return Step::Finish { linger: false };
        }
        Step::Receive(ReceiveTimeout::KeepAlive)
    }

    fn resume(&mut self, _: &mut Context<'_, Stage>, _: AskId, _: Reply) {
        assert!(!self.over, "a session that has finished gets no replies");
        self.waits = false;
    }

    fn expire(&mut self, _: &mut Context<'_, Stage>, _: Timer, _: &mut Chain) -> Step {
        self.over = true;
        Step::Finish { linger: false }
    }

    fn drain(&mut self) {
        assert!(!self.over, "a session that has finished is not called");
    }

    fn sent(&mut self, cx: &mut Context<'_, Stage>, sent: Sent) {
        cx.shared.reports.push(sent);
    }

    fn closed(&mut self, cx: &mut Context<'_, Stage>) {
        cx.shared.closed += 1;
    }
}

/// What becomes of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    Whole,
    /// Too many are in progress.
    Busy,
    /// The file has become shorter.
    Short,
}

/// How a session has ended, as its peer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Closed { linger: bool },
    Reset,
}

/// A session and its connection, as far as a test needs one.
pub(super) struct Line<S: Session> {
    pub(super) session: S,
    id: SessionId,
    pub(super) inbox: Vec<u8>,
    ended: bool,
    pub(super) step: Step,
    pub(super) sending: Option<Chain>,
    queued: Chain,
    pub(super) asks: Vec<(AskId, Ask)>,
    /// What the peer has received.
    pub(super) received: Vec<u8>,
    finishing: Option<bool>,
    pub(super) end: Option<End>,
}

impl<S: Session> Line<S> {
    pub(super) fn new(shared: &mut S::Shared, now: Now, number: u32) -> Self {
        let info = ConnectionInfo::new(0, now, crate::session::Addresses::none());
        let session = S::new(shared, &info);
        Self {
            session,
            id: SessionId::detached(number),
            inbox: Vec::new(),
            ended: false,
            step: Step::Receive(ReceiveTimeout::Header),
            sending: None,
            queued: Chain::new(),
            asks: Vec::new(),
            received: Vec::new(),
            finishing: None,
            end: None,
        }
    }

    fn is_open(&self) -> bool {
        self.finishing.is_none() && self.end.is_none()
    }

    pub(super) fn call<R>(
        &mut self,
        shared: &mut S::Shared,
        now: Now,
        act: impl FnOnce(&mut S, &mut Context<'_, S::Shared>) -> R,
    ) -> R {
        let sending = self.sending.is_some();
        let mut cx = Context::new(shared, now, self.id, sending, &mut self.asks);
        act(&mut self.session, &mut cx)
    }

    pub(super) fn advance(&mut self, shared: &mut S::Shared, now: Now) {
        if !self.is_open() {
            return;
        }
        let (input, mut out) = (std::mem::take(&mut self.inbox), std::mem::take(&mut self.queued));
        let mut inbox = Inbox::new(&input, self.ended);
        let step = self.call(shared, now, |session, cx| session.advance(cx, &mut inbox, &mut out));
        self.inbox = inbox.bytes().to_vec();
        self.perform(shared, now, step, out);
    }

    fn perform(&mut self, shared: &mut S::Shared, now: Now, step: Step, out: Chain) {
        self.step = step;
        match step {
            Step::Abort => {
                return self.close(shared, now, End::Reset);
            }
            Step::Finish { linger } => {
                self.finishing = Some(linger);
                self.asks.clear();
            }
            Step::Flush => assert!(self.sending.is_some() || !out.is_empty(), "nothing is sent"),
            _ => {}
        }
        self.queued = out;
        self.send_next(shared, now);
    }

    fn send_next(&mut self, shared: &mut S::Shared, now: Now) {
        if self.sending.is_some() {
            return;
        }
        if !self.queued.is_empty() {
            self.sending = Some(std::mem::take(&mut self.queued));
        } else if let Some(linger) = self.finishing {
            self.close(shared, now, End::Closed { linger });
        }
    }

    /// The connection ends; a send in progress fails after `bytes` bytes.
    pub(super) fn fail(&mut self, shared: &mut S::Shared, now: Now, bytes: u64) {
        if let Some(mut chain) = self.sending.take() {
            chain.advance(bytes.min(chain.remaining()));
            let sent = Sent { bytes: chain.sent(), complete: false };
            self.call(shared, now, |session, cx| session.sent(cx, sent));
        }
        self.close(shared, now, End::Reset);
    }

    fn close(&mut self, shared: &mut S::Shared, now: Now, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            if let (End::Reset, Some(chain)) = (end, self.sending.take()) {
                let sent = Sent { bytes: chain.sent(), complete: false };
                self.call(shared, now, |session, cx| session.sent(cx, sent));
            }
            self.call(shared, now, Session::closed);
            self.asks.clear();
        }
    }

    pub(super) fn input(&mut self, shared: &mut S::Shared, now: Now, bytes: &[u8], ended: bool) {
        self.inbox.extend_from_slice(bytes);
        self.ended |= ended;
        if self.step != Step::Wait {
            self.advance(shared, now);
        }
    }

    /// The send in progress completes.
    pub(super) fn sent(&mut self, shared: &mut S::Shared, now: Now) {
        let Some(mut chain) = self.sending.take() else { return };
        self.received.extend(read_all(&mut chain));
        let sent = Sent { bytes: chain.sent(), complete: true };
        let sending = !self.queued.is_empty();
        let mut cx = Context::new(shared, now, self.id, sending, &mut self.asks);
        self.session.sent(&mut cx, sent);
        self.send_next(shared, now);
        let has_input = self.ended || !self.inbox.is_empty();
        if has_input || !matches!(self.step, Step::Receive(_)) {
            self.advance(shared, now);
        }
    }

    /// Answers one question.
    pub(super) fn reply(&mut self, shared: &mut S::Shared, now: Now, place: usize, how: How) {
        let (id, ask) = self.asks.swap_remove(place);
        let reply = match ask {
            Ask::Read { buffer, .. } if how == How::Busy => {
                Reply::Read(Err(std::io::ErrorKind::ResourceBusy.into()), buffer)
            }
            Ask::Read { file, offset, mut buffer } => {
                let end = (FILE as u64).min(offset + buffer.capacity() as u64);
                let mut chain = Chain::new();
                chain.file(&file, offset..end);
                let mut bytes = read_all(&mut chain);
                if how == How::Short {
                    bytes.truncate(10);
                }
                buffer.extend_from_slice(&bytes);
                Reply::Read(Ok(bytes.len()), buffer)
            }
            _ => Reply::Ran(Ok(Vec::new())),
        };
        self.call(shared, now, |session, cx| session.resume(cx, id, reply));
        self.advance(shared, now);
    }

    /// Lets the session's own deadline come, if it is over.
    pub(super) fn tick(&mut self, shared: &mut S::Shared, now: Now) {
        let is_due = self.session.deadline().is_some_and(|deadline| deadline <= now.instant);
        if self.is_open() && is_due {
            self.expire(shared, now, Timer::Deadline);
        }
    }

    pub(super) fn expire(&mut self, shared: &mut S::Shared, now: Now, timer: Timer) {
        let mut out = std::mem::take(&mut self.queued);
        let step = self.call(shared, now, |session, cx| session.expire(cx, timer, &mut out));
        self.perform(shared, now, step, out);
    }

    pub(super) fn drain(&mut self, shared: &mut S::Shared, now: Now) {
        if self.is_open() {
            self.session.drain();
            if matches!(self.step, Step::Receive(_)) {
                self.advance(shared, now);
            }
        }
    }
}

pub(super) type Shared = SecuredService<Toy, Stage>;
pub(super) type Guarded = Line<Secured<Toy, Player>>;

pub(super) fn shared() -> Shared {
    SecuredService::new(ToySettings(HANDSHAKE), Stage::new(), Events::default())
}

/// Passes the answers of the service on, as a worker does at the end of a turn.
pub(super) fn serve(shared: &mut Shared, now: Now, lines: &mut [Guarded]) {
    while let Some(task) = shared.poll(now) {
        let Task::Answer(waiter, answer) = task else { continue };
        let line = lines.iter_mut().find(|line| line.id == waiter.session);
        let Some(line) = line.filter(|line| line.is_open()) else { continue };
        line.call(shared, now, |session, cx| session.answered(cx, waiter.id, answer));
        line.advance(shared, now);
    }
}

/// The wire of a client that says this.
pub(super) fn records(words: &[&[u8]]) -> Vec<u8> {
    let (mut writer, mut wire) = (Writer::default(), Vec::new());
    writer.write(HELLO, &mut wire);
    words.iter().for_each(|words| writer.write(words, &mut wire));
    wire
}

/// The plaintext in what a client has received, and whether it is all.
pub(super) fn plaintext(wire: &[u8]) -> (Vec<u8>, bool) {
    let (mut reader, mut plain, mut ended) = (Reader::default(), Vec::new(), false);
    reader.push(wire);
    if let Ok(Some(content)) = reader.take() {
        assert_eq!(content, WELCOME);
    }
    while let Ok(Some(content)) = reader.take() {
        assert!(!ended, "nothing follows the end of output");
        ended = content.is_empty();
        plain.extend(content);
    }
    (plain, ended)
}
