//! The session contract on every driver: questions in any order, input during a send, deadlines
//! of a session's own, addresses, and the reports of sent bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringd::ask::{Ask, AskId, Reply};
use ringd::driver::{Chain, DriverKind, DriverSelection, Job, SocketAddress};
use ringd::server::{self, Server};
use ringd::service::{Service, Task, Waiter};
use ringd::session::{
    ConnectionInfo, Context, Inbox, Now, ReceiveTimeout, Sent, Session, Step, Timer,
};

use crate::common::{WAIT_MAX, on_every_driver, settings};
use crate::sessions::{Duplex, LATE_BY, Late, Quartet};

fn start<S: Session + 'static>(
    kind: DriverKind,
    shared: impl Fn() -> S::Shared + Clone + Send + 'static,
) -> Server {
    let selection = DriverSelection::make(Some(kind)).unwrap();
    server::start::<S>(&settings(), selection, move |_| shared()).unwrap()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

/// Sends bytes and reads them back at the same time, and then reads the end.
fn echo(server: &Server, bytes: &[u8]) {
    let stream = connect(server);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
    });
}

fn bytes(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(count as u64);
    (0..count).map(|_| random.u8(..)).collect()
}

/// The order of replies depends on the driver here; `tests/simulation/` covers all orders.
#[test]
fn a_session_asks_four_questions_at_once() {
    on_every_driver(|kind| {
        let server = start::<Quartet>(kind, || ());
        for count in [0, 1, 3, 5000, 100_000] {
            echo(&server, &bytes(count));
        }
        server.stop().unwrap();
    });
}

#[test]
fn a_session_reads_while_it_sends() {
    on_every_driver(|kind| {
        let server = start::<Duplex>(kind, || ());
        echo(&server, &bytes(3_000_000));
        server.stop().unwrap();
    });
}

/// Sends more than any socket buffers, and counts the input that arrives meanwhile.
#[derive(Debug)]
struct Talker {
    heard: u64,
    begun: bool,
    sent: u64,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    heard_while_sending: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    whole: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    addresses: Arc<Mutex<Vec<(SocketAddress, SocketAddress)>>>,
}

impl Service for Counts {
    type Answer = ();
    type Message = ();

    fn poll(&mut self, _: Now) -> Option<Task<()>> {
        None
    }

    fn resume(&mut self, _: Now, _: AskId, reply: Reply) {
        unreachable!("{reply:?}")
    }

    fn receive(&mut self, _: Now, (): ()) {}
}

const SPEECH: usize = 32 * 1024 * 1024;

impl Session for Talker {
    type Shared = Counts;

    fn new(counts: &mut Counts, info: &ConnectionInfo<'_>) -> Self {
        let addresses = (info.peer().unwrap(), info.local().unwrap());
        counts.addresses.lock().unwrap().push(addresses);
        Self { heard: 0, begun: false, sent: 0 }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Counts>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        let count = inbox.bytes().len();
        inbox.take(count);
        if cx.sending {
            self.heard += count as u64;
            cx.shared.heard_while_sending.store(self.heard, Ordering::SeqCst);
            out.copy(&vec![b'!'; count]);
        } else if count > 0 && !self.begun {
            self.begun = true;
            out.share(&vec![b'.'; SPEECH].into());
        }
        if inbox.ended() {
            Step::Finish { linger: false }
        } else {
            Step::Receive(ReceiveTimeout::KeepAlive)
        }
    }

    fn expire(&mut self, _: &mut Context<'_, Counts>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn sent(&mut self, cx: &mut Context<'_, Counts>, sent: Sent) {
        self.sent += sent.bytes;
        cx.shared.sent.store(self.sent, Ordering::SeqCst);
        cx.shared.whole.fetch_add(u64::from(sent.complete), Ordering::SeqCst);
    }

    fn drain(&mut self) {}

    fn closed(&mut self, cx: &mut Context<'_, Counts>) {
        cx.shared.closed.fetch_add(1, Ordering::SeqCst);
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + WAIT_MAX;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What HTTP/2 needs: the peer does not read, and its input arrives nevertheless.
#[test]
fn a_session_gets_input_while_its_peer_does_not_read() {
    on_every_driver(|kind| {
        let counts = Counts::default();
        let shared = counts.clone();
        let server = start::<Talker>(kind, move || shared.clone());
        let mut peer = connect(&server);
        peer.write_all(b"?").unwrap();
        // The send has begun once some of it has arrived.
        peer.peek(&mut [0]).unwrap();
        for number in 1..=5 {
            peer.write_all(b"x").unwrap();
            let heard = || counts.heard_while_sending.load(Ordering::SeqCst) == number;
            eventually("input arrives during the send", heard);
        }
        assert_eq!(counts.whole.load(Ordering::SeqCst), 0, "the send is not complete");
        let mut speech = vec![0; SPEECH + 5];
        peer.read_exact(&mut speech).unwrap();
        assert!(speech[..SPEECH].iter().all(|byte| *byte == b'.'));
        assert_eq!(&speech[SPEECH..], b"!!!!!");
        eventually("all sent bytes are reported", || {
            counts.sent.load(Ordering::SeqCst) == SPEECH as u64 + 5
                && counts.whole.load(Ordering::SeqCst) == 2
        });
        let addresses = (peer.local_addr().unwrap().into(), peer.peer_addr().unwrap().into());
        assert_eq!(*counts.addresses.lock().unwrap(), [addresses]);
        drop(peer);
        eventually("the end is reported", || counts.closed.load(Ordering::SeqCst) == 1);
        server.stop().unwrap();
    });
}

/// A peer that vanishes during a send: the session learns how much was sent, and that it is not
/// all.
#[test]
fn a_session_learns_how_much_of_a_broken_send_was_sent() {
    on_every_driver(|kind| {
        let counts = Counts::default();
        let shared = counts.clone();
        let server = start::<Talker>(kind, move || shared.clone());
        let mut peer = connect(&server);
        peer.write_all(b"?").unwrap();
        peer.read_exact(&mut vec![0; 1000]).unwrap();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        eventually("the end is reported", || counts.closed.load(Ordering::SeqCst) == 1);
        assert_eq!(counts.whole.load(Ordering::SeqCst), 0);
        let sent = counts.sent.load(Ordering::SeqCst);
        assert!((1000..SPEECH as u64).contains(&sent), "{sent}");
        server.stop().unwrap();
    });
}

#[test]
fn a_session_has_a_deadline_of_its_own() {
    on_every_driver(|kind| {
        let server = start::<Late>(kind, || ());
        let mut peer = connect(&server);
        for _ in 0..2 {
            let begun = Instant::now();
            peer.write_all(b"one").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            // More input does not move the deadline.
            peer.write_all(b"two").unwrap();
            let mut back = [0; 6];
            peer.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"onetwo");
            assert!(begun.elapsed() >= LATE_BY, "{:?}", begun.elapsed());
        }
        echo(&server, &bytes(10_000));
        server.stop().unwrap();
    });
}

/// A service that has its work done once for all sessions that wait, and continues if some leave.
#[derive(Debug, Default)]
struct Bakery {
    waiters: Vec<Waiter>,
    asked: bool,
    tasks: Vec<Task<u64>>,
    baked: Arc<AtomicU64>,
    gate: Arc<Mutex<()>>,
}

impl Service for Bakery {
    type Answer = u64;
    type Message = ();

    fn poll(&mut self, _: Now) -> Option<Task<u64>> {
        self.tasks.pop()
    }

    fn resume(&mut self, _: Now, id: AskId, reply: Reply) {
        assert!(matches!(reply, Reply::Ran(Ok(_))) && id == AskId(3), "{id:?} {reply:?}");
        let count = self.baked.fetch_add(1, Ordering::SeqCst) + 1;
        self.asked = false;
        self.tasks.extend(self.waiters.drain(..).map(|waiter| Task::Answer(waiter, count)));
    }

    fn receive(&mut self, _: Now, (): ()) {}
}

#[derive(Debug, Default)]
struct Customer {
    answer: Option<u64>,
    waits: bool,
}

impl Session for Customer {
    type Shared = Bakery;

    fn new(_: &mut Bakery, _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Bakery>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if let Some(answer) = self.answer.take() {
            out.copy(answer.to_string().as_bytes());
            return Step::Finish { linger: false };
        }
        if !self.waits && !inbox.bytes().is_empty() {
            inbox.take(inbox.bytes().len());
            self.waits = true;
            let waiter = cx.waiter(AskId(8));
            cx.shared.waiters.push(waiter);
            if !std::mem::replace(&mut cx.shared.asked, true) {
                let gate = Arc::clone(&cx.shared.gate);
                let job = Job::new(move || {
                    drop(gate.lock());
                    Ok(Vec::new())
                });
                cx.shared.tasks.push(Task::Ask(AskId(3), Ask::Run { job }));
            }
        }
        match (self.waits, inbox.ended()) {
            (_, true) => Step::Finish { linger: false },
            (true, false) => Step::Receive(ReceiveTimeout::Header),
            (false, false) => Step::Receive(ReceiveTimeout::KeepAlive),
        }
    }

    fn answered(&mut self, _: &mut Context<'_, Bakery>, id: AskId, answer: u64) {
        assert_eq!(id, AskId(8));
        self.answer = Some(answer);
    }

    fn expire(&mut self, _: &mut Context<'_, Bakery>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn drain(&mut self) {}
}

#[test]
fn a_service_works_once_for_all_sessions_that_wait() {
    on_every_driver(|kind| {
        let (baked, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(())));
        let (its_baked, its_gate) = (Arc::clone(&baked), Arc::clone(&gate));
        let server = start::<Customer>(kind, move || Bakery {
            baked: Arc::clone(&its_baked),
            gate: Arc::clone(&its_gate),
            ..Bakery::default()
        });
        let closed = gate.lock().unwrap();
        let mut first = connect(&server);
        first.write_all(b"1").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut others: Vec<_> = (0..10).map(|_| connect(&server)).collect();
        others.iter_mut().for_each(|other| other.write_all(b"1").unwrap());
        // The session that caused the work leaves before it is done.
        drop(first);
        eventually("the session has left", || server.worker_stats().connections == 10);
        std::thread::sleep(Duration::from_millis(50));
        drop(closed);
        for other in &mut others {
            let mut answer = String::new();
            other.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "1");
        }
        assert_eq!(baked.load(Ordering::SeqCst), 1);
        server.stop().unwrap();
    });
}
