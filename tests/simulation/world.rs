//! A world: one worker on the simulator, its clients, and the faults. It is generic over the
//! protocol, which a [`Scene`] supplies.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::sim::{Dialer, Faults, Files, Sim};
use ringd::driver::{Driver, Limits};
use ringd::server::mailbox::{Closing, Mailbox, Update};
use ringd::server::worker::{Worker, WorkerSettings};
use ringd::server::{INBOX_MAX, Published, ServerTimeouts};
use ringd::service::Service;
use ringd::session::Session;

use crate::client::{Client, Ending, Leaving};
use crate::security::Security;

/// A bound on the turns of a world, and below on its virtual time.
const TURNS_MAX: u64 = 3_000_000;
/// The most memory of a chain that answers of usual length have filled.
pub(crate) const CHAIN_MEMORY_MAX: usize = 128 * 1024;

/// The memory of a connection with a full inbox, and with nearly a full chain.
const FLOODED: usize = INBOX_MAX + 60 * 1024;

/// A world ends in this time. Where the server has room for one connection, twenty patient clients
/// hold it one after another, each for the sum of the timeouts.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the sessions of a scene share, and the messages that it receives.
pub(crate) type SharedOf<S> = <<S as Scene>::Session as Session>::Shared;
pub(crate) type MessageOf<S> = <SharedOf<S> as Service>::Message;

/// What the clients of a world send, and the answers that are allowed.
pub(crate) trait Scene {
    type Session: Session;

    /// The most memory that one connection may use, if its sessions have a bound.
    const MEMORY_MAX: usize = usize::MAX;

    /// What the sessions share, on this machine. Messages to it go through the mailbox.
    fn shared(&self, sim: &mut Sim, mailbox: &Arc<Mailbox<MessageOf<Self>>>) -> SharedOf<Self>;

    /// The clients. Only `act` may change them.
    fn clients(&mut self) -> &mut Vec<Client>;

    /// Lets one client take a step.
    fn act(&mut self, random: &mut Rng, client: usize, now: Duration, dialer: &Dialer);

    /// Changes the world; returns when to be called again.
    fn disturb(&mut self, random: &mut Rng, now: Duration, files: &Files) -> Duration;

    /// A message with which the server gets new settings now, if there is one. If the server has
    /// not taken the last one, `renew` is called again later.
    fn renew(&mut self, _: &mut Rng, _: Duration, _: &Files) -> Option<MessageOf<Self>> {
        None
    }

    /// Checks what every client has received.
    fn judge(&mut self, conditions: &Conditions, run: &mut Run);
}

/// The conditions of a world.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) faults: Faults,
    /// The server's timeouts are longer than anything takes.
    pub(crate) patient: bool,
    /// The server is stopped while there are clients.
    pub(crate) early_drain: bool,
    pub(crate) limits: Limits,
    settings: WorkerSettings,
}

impl Conditions {
    /// How late an event may be noticed because the machine is slow.
    pub(crate) fn slack(&self) -> Duration {
        self.faults.latency_max * 1000 + Duration::from_millis(500)
    }

    /// Whether a request of this client may be late for the server. During a drain, its bytes may
    /// not pause for longer than a second, also in a patient world.
    pub(crate) fn may_be_late(&self, client: &Client) -> bool {
        let slow = self.early_drain && self.slack() > Duration::from_secs(1);
        !self.patient || client.stalls() || slow
    }

    /// A client that has waited this long may have hit a timeout.
    pub(crate) fn shortest_timeout(&self) -> Duration {
        let ServerTimeouts { header, idle, send, .. } = self.settings.timeouts;
        header.min(idle).min(send)
    }
}

impl Conditions {
    /// Raises the limits that would let bytes move in pieces smaller than this.
    pub(crate) fn carry_at_least(&mut self, bytes: u16) {
        self.faults.piece_max = self.faults.piece_max.max(bytes.into());
        self.limits.buffer_bytes = self.limits.buffer_bytes.max(bytes.into());
        self.limits.turn_bytes_max = self.limits.turn_bytes_max.max(bytes.into());
    }
}

/// The bounds of a drain, besides its timeout: how long the last closes may take, and, if no client
/// is left, how long idle connections and lingering ones are kept.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(4);

/// A client whose connection moves no byte for this time is stuck. In a patient world, the timeouts
/// of the server are much longer, so they do not hide it.
const STUCK_AFTER: Duration = Duration::from_secs(300);

impl Conditions {
    /// A drain ends with its timeout, and sooner if all clients have left, or wait for nothing that
    /// the server has.
    fn judge_drain(&self, took: Duration, served: bool, run: &mut Run) {
        let timeout = self.settings.timeouts.drain;
        let bound = if served { timeout.min(REST_MAX + self.error_time()) } else { timeout };
        let bound = bound + self.settings.timeouts.drain_delay + CLOSE_WAIT + self.slack();
        assert!(took <= bound, "a drain took {took:?}, and may take {bound:?}");
        run.drained_late = u64::from(took >= timeout + self.settings.timeouts.drain_delay);
    }

    /// A client that was accepted and does all that it can gets its answers without long pauses.
    fn judge_progress(&self, client: &Client, now: Duration) {
        // Others wait for the server to close, or in its queue.
        let wants = matches!(client.leaving, Leaving::HalfClose | Leaving::CloseWhenServed);
        let accepted = !client.received.is_empty();
        if self.patient && wants && accepted && client.ending.is_none() {
            let pause = now - client.sent_at.max(client.heard_at);
            // A layer opens a record when all of it has arrived, and the client may have sent all
            // that it has in one.
            let transit = self.carry_time(client.script.len());
            let bound = STUCK_AFTER + self.slack() + transit;
            assert!(pause < bound, "stuck for {pause:?}: {client:?}");
        }
    }
}

impl Conditions {
    /// How long it may take to send the answer to a request that stalls.
    fn error_time(&self) -> Duration {
        self.carry_time(1000)
    }

    /// How long so many bytes may be on their way in one direction.
    fn carry_time(&self, bytes: usize) -> Duration {
        let Faults { latency_max, late, piece_max, .. } = self.faults;
        let steps = (bytes / piece_max) as u32 + 1;
        // Late steps take a hundred times as long.
        latency_max * steps * (1 + u32::from(late) / 10)
    }
}

impl Conditions {
    /// How long a stream may make no progress: as long as a send.
    pub(crate) fn stall_timeout(&self) -> Duration {
        self.settings.timeouts.send
    }

    /// How long a handshake may take: as long as a head.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.settings.timeouts.header
    }
}

/// A client at its end of the wire, or, if there is a layer, now and then one that does not finish
/// the handshake.
pub(crate) fn dress<P: Security>(
    security: &P,
    random: &mut Rng,
    client: impl FnOnce(&mut Rng) -> Client,
) -> Client {
    let client = client(random);
    match security.wire(random) {
        None => client,
        Some(_) if random.u8(..12) == 0 => {
            let wire = security.broken_wire(random);
            Client::broken(random, wire)
        }
        wire => client.at(random, wire),
    }
}

/// What happened, in one run or in many.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Run {
    pub(crate) turns: u64,
    pub(crate) clients: u64,
    pub(crate) answers: u64,
    /// Answers that were cut off.
    pub(crate) cut: u64,
    /// Answers that report a fault.
    pub(crate) troubles: u64,
    /// Clients that had to be served completely, and were.
    pub(crate) complete: u64,
    pub(crate) ended: u64,
    pub(crate) broken: u64,
    pub(crate) left: u64,
    pub(crate) refused: u64,
    pub(crate) starved: u64,
    pub(crate) would_block: u64,
    /// Streams that the server has reset, and connections that it has ended for an error.
    pub(crate) resets: u64,
    pub(crate) errors: u64,
    /// Answers by settings that are not the first ones.
    pub(crate) renewed: u64,
    /// Worlds whose drain lasted until its timeout.
    pub(crate) drained_late: u64,
    /// Worlds whose drain found only clients that stalled in a request.
    pub(crate) stalled: u64,
    /// Worlds with a connection that had a full inbox.
    pub(crate) flooded: u64,
    /// A hash over all received bytes and their times, which distinguishes two runs.
    pub(crate) hash: u64,
}

impl Run {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, value) in self.fields().into_iter().zip(other.clone().fields()) {
            *sum += *value;
        }
        self.drained_late += other.drained_late;
        self.stalled += other.stalled;
        self.flooded += other.flooded;
        self.renewed += other.renewed;
        self.resets += other.resets;
        self.errors += other.errors;
        self.hash = self.hash.wrapping_mul(31).wrapping_add(other.hash);
    }

    fn fields(&mut self) -> [&mut u64; 12] {
        [
            &mut self.turns,
            &mut self.clients,
            &mut self.answers,
            &mut self.cut,
            &mut self.troubles,
            &mut self.complete,
            &mut self.ended,
            &mut self.broken,
            &mut self.left,
            &mut self.refused,
            &mut self.starved,
            &mut self.would_block,
        ]
    }

    /// A world in which nothing fails, or everything fails, tests nothing.
    pub(crate) fn assert_telling(&self) {
        // Not every protocol can report faults.
        let mut all = Self { troubles: 1, ..self.clone() };
        assert!(all.fields().into_iter().all(|field| *field > 0), "something never happened");
    }
}

/// The conditions of the world with this seed.
pub(crate) fn conditions(random: &mut Rng) -> Conditions {
    let faults = Faults::draw(random);
    let limits = Limits {
        sockets_max: random.u32(70..200),
        buffers: [1, 2, 4, 64][random.usize(..4)],
        buffer_bytes: [16, 100, 512, 4096][random.usize(..4)],
        turn_bytes_max: [200, 5000, 1 << 20][random.usize(..3)],
        ..Limits::default()
    };
    let patient = random.u8(..5) > 0;
    let mut time = |seconds: u64| {
        if patient {
            Duration::from_secs(seconds * 100)
        } else {
            Duration::from_millis(random.u64(50..3000))
        }
    };
    let (header, idle, send, drain) = (time(30), time(75), time(60), time(10));
    let drain_delay = Duration::from_millis([0, 0, 0, 700][random.usize(..4)]);
    let timeouts = ServerTimeouts { header, idle, send, drain_delay, drain };
    let settings =
        WorkerSettings { connections_max: random.u32(1..60), listeners_max: 1, timeouts };
    Conditions { faults, patient, early_drain: random.u8(..6) == 0, limits, settings }
}

/// Plays a scene to its end, and checks the results.
pub(crate) fn play<S: Scene>(
    mut random: Rng,
    conditions: &Conditions,
    mut scene: S,
    files: impl FnOnce(&mut S, &Files),
) -> Run {
    let Conditions { faults, limits, settings, early_drain, .. } = conditions;
    let mut sim = Sim::seeded(limits, random.u64(..), faults.clone());
    let machine = sim.files();
    files(&mut scene, &machine);
    let (listener, dialer) = sim.listen().unwrap();
    let (mailbox, published) = (Arc::new(Mailbox::default()), Arc::new(Published::default()));
    let shared = scene.shared(&mut sim, &mailbox);
    let mut worker: Worker<Sim, S::Session> = Worker::new(
        sim,
        vec![(0, listener)],
        shared,
        *settings,
        Arc::clone(&mailbox),
        Arc::clone(&published),
    );
    let mut run = Run::default();
    let mut drain_at =
        if *early_drain { Duration::from_micros(random.u64(..400_000)) } else { Duration::MAX };
    let mut disturb_at = Duration::ZERO;
    let mut drained_at = None;
    while !worker.is_done() {
        let now = worker.driver_mut().elapsed();
        let turns = run.turns;
        assert!(
            now < TIME_MAX && turns < TURNS_MAX,
            "no end at {now:?}, after {turns} turns, drained {drained_at:?}"
        );
        for client in 0..scene.clients().len() {
            if scene.clients()[client].next <= now {
                conditions.judge_progress(&scene.clients()[client], now);
                scene.act(&mut random, client, now, &dialer);
            }
        }
        if disturb_at <= now {
            disturb_at = scene.disturb(&mut random, now, &machine);
            if !mailbox.has_update()
                && let Some(message) = scene.renew(&mut random, now, &machine)
            {
                push_update(&mailbox, settings.timeouts, message);
                worker.driver_mut().waker().wake();
            }
        }
        let idle = |client: &Client| client.ending.is_some() || client.rests();
        if drained_at.is_none() && (scene.clients().iter().all(idle) || drain_at <= now) {
            // Nobody waits for an answer, and nobody waits in the queue of the server. A place may
            // have become free only now, and a drain lets a handshake end.
            let served =
                |client: &Client| idle(client) && !client.is_stuck() && !client.awaits_handshake();
            let resting = scene.clients().iter().filter(|client| client.rests()).count();
            let served =
                scene.clients().iter().all(served) && resting <= settings.connections_max as usize;
            run.stalled = u64::from(served && resting > 0);
            (drained_at, drain_at) = (Some((now, served)), Duration::MAX);
            mailbox.push_drain();
            worker.driver_mut().waker().wake();
        }
        let next = scene.clients().iter().map(|client| client.next).min();
        let alarm = next.unwrap_or(Duration::MAX).min(disturb_at).min(drain_at);
        worker.driver_mut().set_alarm((alarm < Duration::MAX).then_some(alarm));
        worker.turn().expect("a turn succeeds");
        worker.check_ops();
        let memory = worker.connection_memory_max();
        assert!(memory <= S::MEMORY_MAX, "a connection uses {memory} bytes");
        run.flooded |= u64::from(memory > FLOODED);
        run.turns += 1;
    }
    let (begun, served) = drained_at.expect("only a drain ends a worker");
    conditions.judge_drain(worker.driver_mut().elapsed() - begun, served, &mut run);
    finish(worker, &published, faults.late > 0, &mut run);
    assert_eq!(machine.open_count(), 0, "files are left open");
    for client in scene.clients().iter_mut().filter(|client| client.ending.is_none()) {
        // The connection still exists after the server has ended.
        client.read_the_rest();
        while client.ending.is_none() {
            client.act(&mut random, TIME_MAX, &dialer, |_| false);
        }
    }
    count(scene.clients(), &mut run);
    scene.judge(conditions, &mut run);
    run
}

/// Sends new settings, which differ only for the service.
fn push_update<M: std::fmt::Debug>(mailbox: &Mailbox<M>, timeouts: ServerTimeouts, message: M) {
    let (added, dropped, service) = (Vec::new(), Vec::new(), Some(message));
    let (result, _) = std::sync::mpsc::channel();
    let update = Update { timeouts, added, dropped, closing: Closing::default(), service, result };
    mailbox.push_update(Box::new(update)).expect("there is no other update");
}

/// The worker has drained: every resource that it was given must come back.
fn finish<S: Session>(
    mut worker: Worker<Sim, S>,
    published: &Published,
    late: bool,
    run: &mut Run,
) {
    // If closes take long, a drain ends without waiting for the last ones.
    let left = published.worker_stats().connections;
    assert!(left == 0 || late, "{left} connections are left open");
    let sim = worker.driver_mut();
    sim.set_alarm(None);
    // Files may still be on their way to connections that have closed.
    for _ in 0..100_000 {
        if sim.in_flight() == 0 {
            break;
        }
        sim.wait(Some(Duration::from_secs(1)), &mut Vec::new()).unwrap();
    }
    assert_eq!((sim.in_flight(), sim.leased(), sim.sockets()), (0, 0, 0));
    let stats = sim.stats();
    (run.starved, run.would_block) = (stats.buffer_waits, stats.would_block);
}

fn count(clients: &[Client], run: &mut Run) {
    for client in clients {
        run.clients += 1;
        match client.ending {
            Some(Ending::Ended) => run.ended += 1,
            Some(Ending::Broken) => run.broken += 1,
            Some(Ending::Left) => run.left += 1,
            Some(Ending::Refused) | None => run.refused += 1,
        }
        for byte in client.received.iter().chain(&client.ended_at.as_nanos().to_le_bytes()) {
            run.hash = (run.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
