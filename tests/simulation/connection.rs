//! One connection at exactly chosen moments: events at the same time as a deadline, what a
//! session leaves behind when it ends, and questions asked when bytes are reported as sent.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringd::ask::{Ask, AskId, Reply};
use ringd::driver::sim::{Dialer, Faults, Peer, Sim};
use ringd::driver::{Chain, Driver, Job, Limits, Now};
use ringd::server::mailbox::Mailbox;
use ringd::server::worker::{Worker, WorkerSettings};
use ringd::server::{Published, ServerTimeouts};
use ringd::service::{Service, Task, Waiter};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer};

const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(7);

const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// More than a socket buffers.
const BIG: usize = 1 << 20;

/// Does what the letters of its input say, and writes each as a capital when it is done.
#[derive(Debug, Default)]
struct Actor {
    drained: bool,
    waits: bool,
    done: Vec<u8>,
    deadline: Option<Instant>,
    asks_when_sent: bool,
}

/// Asks once for each session that waits, and passes on the reply.
#[derive(Debug, Default)]
struct Clerk {
    tasks: Vec<Task<()>>,
    waiter: Option<Waiter>,
}

impl Service for Clerk {
    type Answer = ();
    type Message = ();

    fn poll(&mut self, _: Now) -> Option<Task<()>> {
        self.tasks.pop()
    }

    fn resume(&mut self, _: Now, _: AskId, _: Reply) {
        self.tasks.extend(self.waiter.take().map(|waiter| Task::Answer(waiter, ())));
    }

    fn receive(&mut self, _: Now, (): ()) {}
}

fn job() -> Ask {
    Ask::Run { job: Job::new(|| Ok(Vec::new())) }
}

impl Session for Actor {
    type Shared = Clerk;

    fn new(_: &mut Clerk, _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Clerk>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        out.copy(&std::mem::take(&mut self.done));
        while let (false, Some(letter)) = (self.waits, inbox.bytes().first()) {
            match letter {
                b'x' => return Step::Abort,
                // Incomplete until the full stop: the session takes nothing.
                b'h' => match inbox.bytes().iter().position(|byte| *byte == b'.') {
                    Some(end) => inbox.take(end),
                    None => return Step::Receive(ReceiveTimeout::Header),
                },
                _ => {}
            }
            inbox.take(1);
            match letter {
                b'j' => cx.ask(AskId(1), job()),
                b's' => {
                    cx.shared.waiter = Some(cx.waiter(AskId(2)));
                    cx.shared.tasks.push(Task::Ask(AskId(3), job()));
                }
                // Waits for a reply that never comes.
                b'w' => {}
                b'b' => {
                    out.share(&vec![b'B'; BIG].into());
                    continue;
                }
                b'l' => {
                    out.copy(b"L");
                    return Step::Finish { linger: true };
                }
                b'q' => {
                    out.copy(if self.drained { b"Q" } else { b"-" });
                    continue;
                }
                b'd' => self.deadline = Some(cx.now.instant + SEND_TIMEOUT),
                b'a' => {
                    self.asks_when_sent = true;
                    out.copy(b"A");
                    return Step::Receive(ReceiveTimeout::KeepAlive);
                }
                _ => {
                    out.copy(&[letter.to_ascii_uppercase()]);
                    continue;
                }
            }
            self.waits = true;
        }
        match (self.waits, inbox.ended()) {
            (true, _) => Step::Wait,
            (false, true) => Step::Finish { linger: false },
            (false, false) => Step::Receive(ReceiveTimeout::KeepAlive),
        }
    }

    fn resume(&mut self, _: &mut Context<'_, Clerk>, _: AskId, reply: Reply) {
        assert!(matches!(reply, Reply::Ran(Ok(_))), "{reply:?}");
        self.waits = false;
        self.done.push(b'J');
    }

    fn answered(&mut self, _: &mut Context<'_, Clerk>, _: AskId, (): ()) {
        self.waits = false;
        self.done.push(b'S');
    }

    fn expire(&mut self, cx: &mut Context<'_, Clerk>, timer: Timer, out: &mut Chain) -> Step {
        if timer == Timer::Receive {
            return Step::Finish { linger: false };
        }
        let deadline = self.deadline.take().expect("a deadline is set");
        assert!(deadline <= cx.now.instant);
        self.waits = false;
        out.copy(b"D");
        Step::Receive(ReceiveTimeout::KeepAlive)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn sent(&mut self, cx: &mut Context<'_, Clerk>, _: Sent) {
        if std::mem::take(&mut self.asks_when_sent) {
            cx.ask(AskId(4), job());
        }
    }

    fn drain(&mut self) {
        self.drained = true;
    }
}

/// A worker with one connection, in virtual time.
struct World {
    worker: Worker<Sim, Actor>,
    peer: Peer,
    dialer: Dialer,
    mailbox: Arc<Mailbox<()>>,
    published: Arc<Published>,
}

impl World {
    fn new() -> Self {
        let limits = Limits { sockets_max: 8, buffers: 2, ..Limits::default() };
        let mut sim = Sim::seeded(&limits, 0, Faults::NONE);
        let (listener, dialer) = sim.listen().unwrap();
        let settings = WorkerSettings {
            connections_max: 4,
            listeners_max: 1,
            timeouts: ServerTimeouts {
                header: IDLE_TIMEOUT,
                idle: IDLE_TIMEOUT,
                send: SEND_TIMEOUT,
                drain_delay: Duration::ZERO,
                drain: DRAIN_TIMEOUT,
            },
        };
        let (mailbox, published) = (Arc::new(Mailbox::default()), Arc::default());
        let published: Arc<Published> = published;
        let (mail, stats) = (Arc::clone(&mailbox), Arc::clone(&published));
        let worker = Worker::new(sim, vec![(0, listener)], Clerk::default(), settings, mail, stats);
        let mut peer = dialer.dial().unwrap();
        peer.set_nonblocking(true);
        let mut world = Self { worker, peer, dialer, mailbox, published };
        world.turns(3);
        world
    }

    /// Runs turns of the worker, a millisecond each if nothing happens.
    fn turns(&mut self, count: u32) {
        for _ in 0..count {
            let alarm = self.worker.driver_mut().elapsed() + Duration::from_millis(1);
            self.worker.driver_mut().set_alarm(Some(alarm));
            self.worker.turn().unwrap();
            self.worker.check_ops();
        }
    }

    fn say(&mut self, words: &[u8]) {
        self.peer.write_all(words).unwrap();
    }

    /// Asks the worker to drain.
    fn drain(&mut self) {
        self.mailbox.push_drain();
        self.worker.driver_mut().waker().wake();
    }

    /// Lets time pass in small steps, as on a machine that is not stopped.
    fn live(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 50 {
            self.pass(Duration::from_millis(49));
            self.turns(1);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.worker.driver_mut().pass(time);
    }

    /// What the peer has received since the last call: `None` if the connection was reset.
    fn heard(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.peer.read_to_end(&mut bytes) {
            Ok(_) => Some([&bytes[..], b"."].concat()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(bytes),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                None
            }
        }
    }

    #[track_caller]
    fn hears(&mut self, words: &[u8]) {
        self.turns(8);
        let heard = self.heard();
        let text = heard.as_deref().map(String::from_utf8_lossy);
        assert_eq!(heard.as_deref(), Some(words), "{text:?}");
    }
}

/// The process is stopped for longer than the timeout while a reply is on its way. The reply was
/// in time, and so is the session's answer.
#[test]
fn a_reply_that_came_while_the_process_was_stopped_is_in_time() {
    for (question, reply) in [(b"j", b"J"), (b"s", b"S")] {
        let mut world = World::new();
        world.say(question);
        world.turns(1);
        world.pass(2 * SEND_TIMEOUT);
        world.hears(reply);
        world.say(b"z");
        world.hears(b"Z");
    }
}

#[test]
fn input_that_came_while_the_process_was_stopped_is_in_time() {
    let mut world = World::new();
    world.say(b"z");
    world.hears(b"Z");
    world.say(b"y");
    world.pass(2 * IDLE_TIMEOUT);
    world.hears(b"Y");
    world.pass(2 * IDLE_TIMEOUT);
    world.hears(b".");
}

/// The session's deadline and the end of its phase come at the same time. At the deadline, the
/// session begins another phase, which must not end with the old one.
#[test]
fn a_deadline_begins_another_phase() {
    for late in [Duration::ZERO, SEND_TIMEOUT] {
        let mut world = World::new();
        world.say(b"d");
        world.turns(1);
        world.pass(SEND_TIMEOUT + Duration::from_secs(1) + late);
        world.hears(b"D");
        world.say(b"z");
        world.hears(b"Z");
    }
}

#[test]
fn a_question_asked_when_bytes_are_sent_is_submitted() {
    let mut world = World::new();
    world.say(b"a");
    world.hears(b"AJ");
    world.say(b"aj");
    world.hears(b"AJJ");
}

/// Input that is left in the inbox of a session that has ended is discarded.
#[test]
fn a_session_that_aborts_may_leave_input() {
    for words in [&b"x"[..], b"xyz", b"zxyz", b"jxyz", b"sxyz", b"axyz"] {
        let mut world = World::new();
        world.say(words);
        world.turns(8);
        assert_eq!(world.heard(), None, "{words:?}");
    }
}

/// A full inbox stops the receive; when the session has taken its content, the rest arrives, also
/// while the worker drains.
#[test]
fn a_full_inbox_pauses_and_goes_on() {
    for draining in [false, true] {
        let mut world = World::new();
        world.say(b"d");
        world.turns(4);
        if draining {
            world.drain();
        }
        // Much more than the inbox and the buffers of both sockets hold.
        let flood = vec![b'z'; 2_000_000];
        let (mut said, mut refused) = (0, 0);
        while said < flood.len() && refused < 100 {
            match world.peer.write(&flood[said..]) {
                Ok(count) => (said, refused) = (said + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
                Err(error) => panic!("{error}"),
            }
            world.turns(1);
        }
        assert!((64 * 1024..1_000_000).contains(&said), "{said} bytes");
        world.turns(50);
        world.pass(SEND_TIMEOUT + Duration::from_millis(200));
        let mut heard = Vec::new();
        for _ in 0..2000 {
            world.turns(1);
            heard.extend(world.heard().expect("the connection was reset"));
            if heard.len() > said {
                break;
            }
        }
        assert_eq!(heard.len(), said + 1, "draining: {draining}");
        assert!(heard.starts_with(b"D") && heard[1..].iter().all(|letter| *letter == b'Z'));
    }
}

#[test]
fn a_session_that_waits_in_vain_is_reset() {
    let mut world = World::new();
    world.say(b"w");
    world.live(SEND_TIMEOUT - Duration::from_millis(500));
    assert_eq!(world.heard().as_deref(), Some(&b""[..]));
    world.live(Duration::from_secs(1));
    assert_eq!(world.heard(), None);
}

/// A peer that reads slowly makes progress; one that does not read makes none.
#[test]
fn only_a_peer_that_does_not_read_is_cut_off() {
    let mut world = World::new();
    world.say(b"b");
    let mut piece = [0; 1000];
    for _ in 0..4 * SEND_TIMEOUT.as_secs() {
        world.live(Duration::from_secs(1));
        assert_eq!(world.peer.read(&mut piece).unwrap(), piece.len());
        // After a reset, the peer could still read what it had received before.
        assert_eq!(world.published.worker_stats().connections, 1);
    }
    world.live(SEND_TIMEOUT + SEND_TIMEOUT / 2);
    assert_eq!(world.heard(), None);
}

/// A session has finished, and its peer sends on and on.
#[test]
fn a_flood_while_lingering_is_cut_off() {
    let mut world = World::new();
    world.say(b"l");
    world.turns(8);
    assert_eq!(world.heard().as_deref(), Some(&b"L."[..]));
    let mut said = 0;
    let broken = (0..500).any(|_| {
        world.turns(1);
        match world.peer.write(&[b'z'; 4096]) {
            Ok(count) => said += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
        false
    });
    assert!(broken, "{said} bytes were taken");
    assert!(said < 512 * 1024, "{said} bytes were taken");
}

/// The server is full, so a connection waits in the queue until another one ends.
#[test]
fn a_connection_accepted_during_a_drain_is_told() {
    let mut world = World::new();
    let mut others: Vec<Peer> = (1..4).map(|_| world.dialer.dial().unwrap()).collect();
    world.turns(8);
    let mut late = world.dialer.dial().unwrap();
    late.set_nonblocking(true);
    world.drain();
    world.turns(8);
    others.pop();
    world.turns(8);
    for peer in [&mut late, &mut world.peer] {
        peer.write_all(b"q").unwrap();
    }
    world.turns(8);
    for peer in [&mut late, &mut world.peer] {
        let mut heard = [0];
        assert_eq!((peer.read(&mut heard).unwrap(), &heard), (1, b"Q"));
    }
}

/// During a drain, a request that arrives steadily may take as long as its timeout allows.
#[test]
fn a_request_that_arrives_steadily_is_finished_during_a_drain() {
    let mut world = World::new();
    world.say(b"h");
    world.turns(4);
    world.drain();
    for _ in 0..6 {
        world.live(Duration::from_millis(800));
        assert_eq!(world.heard().as_deref(), Some(&b""[..]));
        world.say(b"h");
    }
    world.say(b".q");
    world.hears(b"HQ");
}

/// A request that stalls does not hold a drain, whether it began before or during it.
#[test]
fn a_request_that_stalls_does_not_hold_a_drain() {
    for begun in [true, false] {
        let mut world = World::new();
        if begun {
            world.say(b"h");
            world.turns(4);
        }
        world.drain();
        world.live(Duration::from_millis(500));
        if !begun {
            world.say(b"h");
        }
        world.live(Duration::from_millis(2000));
        assert_eq!(world.heard().as_deref(), Some(&b"."[..]), "begun before: {begun}");
        world.turns(8);
        assert!(world.worker.is_done());
    }
}
