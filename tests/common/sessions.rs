//! Sessions that use the parts of the contract that HTTP/1 does not: several questions at once,
//! input during a send, deadlines of their own. Each of them is an echo, so the same tests and
//! simulated worlds apply to all.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringd::ask::{Ask, AskId, Reply};
use ringd::driver::{Chain, Job};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer};

/// Asks four questions at once, and puts the replies, which come in any order, back in order.
#[derive(Debug, Default)]
pub(crate) struct Quartet {
    /// The bytes of each question, and its reply.
    parts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The order in which the replies came.
    order: Vec<u32>,
}

/// The orders in which four replies have come, over all sessions of this process.
pub(crate) static ORDERS: Mutex<Vec<[u32; 4]>> = Mutex::new(Vec::new());

/// Bytes of input that four questions take together.
const PIECE: usize = 4 * 1024;

impl Quartet {
    fn ask(&self, cx: &mut Context<'_, ()>, number: u32) {
        let part = self.parts[number as usize].0.clone();
        cx.ask(AskId(number), Ask::Run { job: Job::new(move || Ok(part)) });
    }
}

impl Session for Quartet {
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, ()>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if out.is_full() {
            return Step::Flush;
        }
        if !self.parts.is_empty() && self.parts.iter().all(|(_, reply)| reply.is_some()) {
            self.parts.drain(..).filter_map(|(_, reply)| reply).for_each(|reply| out.copy(&reply));
            let order = std::mem::take(&mut self.order).try_into().expect("there are four");
            let mut orders = ORDERS.lock().unwrap();
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
        if self.parts.is_empty() && !inbox.bytes().is_empty() {
            let piece = &inbox.bytes()[..inbox.bytes().len().min(PIECE)];
            let mut cuts = [0, piece.len() / 4, piece.len() / 2, piece.len() * 3 / 4, piece.len()];
            cuts.sort_unstable();
            self.parts =
                cuts.windows(2).map(|cut| (piece[cut[0]..cut[1]].to_vec(), None)).collect();
            inbox.take(piece.len());
            (0..4).for_each(|number| self.ask(cx, number));
        }
        if !self.parts.is_empty() {
            return Step::Wait;
        }
        if inbox.ended() {
            Step::Finish { linger: false }
        } else {
            Step::Receive(ReceiveTimeout::KeepAlive)
        }
    }

    fn resume(&mut self, _: &mut Context<'_, ()>, AskId(number): AskId, reply: Reply) {
        match reply {
            Reply::Ran(Ok(bytes)) => {
                let before = self.parts[number as usize].1.replace(bytes);
                assert!(before.is_none(), "question {number} was answered twice");
                self.order.push(number);
            }
            // The queue of jobs is full. Asking again at once, as all others do, would keep it
            // full.
            Reply::Ran(Err(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
                let part = &mut self.parts[number as usize];
                part.1 = Some(part.0.clone());
                self.order.push(number);
            }
            other => panic!("{other:?} is no reply to a job"),
        }
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Finish { linger: false }
    }

    fn drain(&mut self) {}
}

/// Takes input during a send, and queues it behind what is being sent, one chain at a time.
#[derive(Debug, Default)]
pub(crate) struct Duplex {
    /// Input that was taken and is not written yet.
    held: VecDeque<u8>,
    written: u64,
    sent: u64,
}

/// Bytes that were taken during a send, over all sessions of this process.
pub(crate) static TAKEN_WHILE_SENDING: AtomicU64 = AtomicU64::new(0);

/// A [`Duplex`] that holds this many bytes takes no more.
const HELD_MAX: usize = 256 * 1024;

impl Session for Duplex {
    type Shared = ();

    fn new((): &mut (), info: &ConnectionInfo<'_>) -> Self {
        assert_eq!(info.listener, 0);
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, ()>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        assert!(cx.sending || out.is_empty(), "the chain is empty unless a send is in flight");
        let room = HELD_MAX - self.held.len();
        let count = inbox.bytes().len().min(room);
        self.held.extend(&inbox.bytes()[..count]);
        inbox.take(count);
        if cx.sending {
            TAKEN_WHILE_SENDING.fetch_add(count as u64, Ordering::Relaxed);
        }
        while !self.held.is_empty() && !out.is_full() {
            let piece: Vec<u8> = self.held.drain(..self.held.len().min(4096)).collect();
            self.written += piece.len() as u64;
            out.copy(&piece);
        }
        match (self.held.is_empty(), inbox.ended() && inbox.bytes().is_empty()) {
            (true, true) => Step::Finish { linger: false },
            (true, false) => Step::Receive(ReceiveTimeout::KeepAlive),
            (false, _) => Step::Flush,
        }
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Finish { linger: false }
    }

    fn sent(&mut self, _: &mut Context<'_, ()>, sent: Sent) {
        self.sent += sent.bytes;
        assert!(self.sent <= self.written, "more was sent than written");
    }

    fn drain(&mut self) {}
}

/// Echoes its input when its deadline comes, not before.
#[derive(Debug, Default)]
pub(crate) struct Late {
    held: Vec<u8>,
    due: Option<Instant>,
    ended: bool,
}

/// How long a [`Late`] holds back its input.
pub(crate) const LATE_BY: Duration = Duration::from_millis(250);

/// A [`Late`] that holds this many bytes takes no more.
const LATE_BYTES_MAX: usize = 64 * 1024;

impl Session for Late {
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(&mut self, cx: &mut Context<'_, ()>, inbox: &mut Inbox<'_>, _: &mut Chain) -> Step {
        let room = LATE_BYTES_MAX - self.held.len();
        let piece = &inbox.bytes()[..inbox.bytes().len().min(room)];
        if !piece.is_empty() {
            self.held.extend_from_slice(piece);
            inbox.take(piece.len());
            self.due.get_or_insert(cx.now.instant + LATE_BY);
        }
        self.ended = inbox.ended() && inbox.bytes().is_empty();
        match (self.ended, self.due) {
            (true, None) => Step::Finish { linger: false },
            (true, Some(_)) => Step::Wait,
            (false, _) => Step::Receive(ReceiveTimeout::KeepAlive),
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, ()>, timer: Timer, out: &mut Chain) -> Step {
        let due = match timer {
            Timer::Receive => return Step::Finish { linger: false },
            Timer::Deadline => self.due.take().expect("it has set a deadline"),
        };
        assert!(due <= cx.now.instant, "the deadline came early");
        out.copy(&std::mem::take(&mut self.held));
        if self.ended {
            Step::Finish { linger: false }
        } else {
            Step::Receive(ReceiveTimeout::KeepAlive)
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn drain(&mut self) {}
}
