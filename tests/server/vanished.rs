//! Clients that vanish: jobs that they asked for and that have not begun are dropped, so they
//! delay no other client.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringd::ask::{Ask, AskId, Reply};
use ringd::driver::{Chain, DriverKind, DriverSelection, Job};
use ringd::server::{self, Server};
use ringd::service::{Service, Task};
use ringd::session::{ConnectionInfo, Context, Inbox, Now, ReceiveTimeout, Session, Step, Timer};
use socket2::SockRef;

use crate::common::{WAIT_MAX, eventually, on_every_driver, settings};

/// How many jobs can wait, besides the one that runs; from the contract of drivers.
const WAITING: usize = 16;

/// What the sessions of a server share with the test.
#[derive(Clone, Debug)]
struct Work {
    /// Jobs block until it is closed.
    gate: Arc<Mutex<Receiver<()>>>,
    asked: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

/// A service without work of its own.
impl Service for Work {
    type Answer = Infallible;
    type Message = Infallible;

    fn poll(&mut self, _: Now) -> Option<Task<Infallible>> {
        None
    }

    fn resume(&mut self, _: Now, id: AskId, _: Reply) {
        unreachable!("{id:?} was not asked")
    }

    fn receive(&mut self, _: Now, message: Infallible) {
        match message {}
    }
}

/// Each byte asks for a job; the answer is a byte that shows whether it ran.
#[derive(Debug)]
struct Client {
    /// Whether a job was asked for and its reply has not come.
    waits: bool,
    answer: Option<u8>,
}

impl Session for Client {
    type Shared = Work;

    fn new(_: &mut Work, _: &ConnectionInfo<'_>) -> Self {
        Self { waits: false, answer: None }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Work>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if let Some(answer) = self.answer.take() {
            out.copy(&[answer]);
        }
        if self.waits {
            return Step::Wait;
        }
        if inbox.bytes().is_empty() {
            return Step::Receive(ReceiveTimeout::KeepAlive);
        }
        inbox.take(1);
        cx.shared.asked.fetch_add(1, Ordering::SeqCst);
        let (gate, begun) = (Arc::clone(&cx.shared.gate), Arc::clone(&cx.shared.begun));
        let job = Job::new(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            let _ = gate.lock().unwrap().recv();
            Ok(Vec::new())
        });
        cx.ask(AskId(0), Ask::Run { job });
        self.waits = true;
        Step::Wait
    }

    fn resume(&mut self, _: &mut Context<'_, Work>, _: AskId, reply: Reply) {
        self.waits = false;
        self.answer = Some(if matches!(reply, Reply::Ran(Ok(_))) { b'd' } else { b'r' });
    }

    fn expire(&mut self, _: &mut Context<'_, Work>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn drain(&mut self) {}
}

fn start(kind: DriverKind, work: Work) -> Server {
    let selection = DriverSelection::make(Some(kind)).unwrap();
    server::start::<Client>(&settings(), selection, move |_| work.clone()).unwrap()
}

fn ask(server: &Server) -> TcpStream {
    let mut client = TcpStream::connect(&server.addresses()[0]).unwrap();
    client.set_read_timeout(Some(WAIT_MAX)).unwrap();
    client.write_all(b"x").unwrap();
    client
}

/// As many clients as jobs can wait connect, ask and vanish, twice. The job of one that stays is
/// run, and those of the others do not even begin.
fn jobs_of_vanished_clients_are_dropped(kind: DriverKind) {
    let (open, gate) = mpsc::channel();
    let work =
        Work { gate: Arc::new(Mutex::new(gate)), asked: Arc::default(), begun: Arc::default() };
    let server = start(kind, work.clone());
    let connections = |count: u32| server.worker_stats().connections == count;
    let mut first = ask(&server);
    eventually("the first job is begun", || work.begun.load(Ordering::SeqCst) == 1);
    for round in 1..=2 {
        let clients: Vec<TcpStream> = (0..WAITING).map(|_| ask(&server)).collect();
        let asked = 1 + round * WAITING;
        eventually("all clients have asked", || work.asked.load(Ordering::SeqCst) == asked);
        for client in clients {
            // Makes the close a reset.
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        eventually("the clients are gone", || connections(1));
    }
    let mut honest = ask(&server);
    eventually("all clients have asked", || work.asked.load(Ordering::SeqCst) == 2 + 2 * WAITING);
    drop(open);
    for client in [&mut first, &mut honest] {
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"d");
    }
    assert_eq!(work.begun.load(Ordering::SeqCst), 2);
    drop((first, honest));
    server.stop().unwrap();
}

#[test]
fn jobs_of_vanished_clients_are_dropped_on_every_driver() {
    on_every_driver(jobs_of_vanished_clients_are_dropped);
}
