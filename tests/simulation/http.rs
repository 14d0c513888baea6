//! Worlds of HTTP/1: requests of every sort for files that change.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::Driver;
use ringd::driver::sim::{Dialer, Files, Sim};
use ringd::http::site::SitesMessage;
use ringd::http::{Http, Sites};
use ringd::server::INBOX_MEMORY_MAX;
use ringd::server::mailbox::Mailbox;

use crate::answer::{Taken, take_answer};
use crate::client::{Client, Ending};
use crate::crowd::{Crowd, visitor};
use crate::requests::{BODY_MAX, NAMES, Request};
use crate::security::{Bare, Message, Security, Shared};
use crate::site::Site;
use crate::world::{self, CHAIN_MEMORY_MAX, Conditions, Run, Scene};

struct HttpScene<P> {
    security: P,
    handshake: Duration,
    clients: Vec<Client>,
    requests: Vec<Vec<Request>>,
    /// For each client: how many answers are complete, and the bytes up to there.
    served: Vec<(usize, usize)>,
    site: Site,
}

pub(crate) fn run(seed: u64) -> Run {
    run_with::<Bare>(seed, Crowd::Usual)
}

/// A world whose connections are protected; each third one has clients that stall, or send much.
pub(crate) fn run_within<P: Security>(seed: u64) -> Run {
    let crowd = match seed % 6 {
        0 => Crowd::Stalling,
        1 => Crowd::Stuck,
        2 => Crowd::Flooding,
        _ => Crowd::Usual,
    };
    run_with::<P>(seed, crowd)
}

/// A world whose server drains while clients stall.
pub(crate) fn run_stalling(seed: u64) -> Run {
    run_with::<Bare>(seed, if seed.is_multiple_of(2) { Crowd::Stalling } else { Crowd::Stuck })
}

/// A world whose clients have much in the server's memory.
pub(crate) fn run_flooding(seed: u64) -> Run {
    run_with::<Bare>(seed, Crowd::Flooding)
}

fn run_with<P: Security>(seed: u64, crowd: Crowd) -> Run {
    let mut random = Rng::with_seed(seed);
    let mut conditions = world::conditions(&mut random);
    if crowd == Crowd::Flooding {
        conditions.carry_at_least(500);
    }
    // In some worlds all clients want the same name.
    let names = match random.u8(..3) {
        0 => vec![NAMES[random.usize(..NAMES.len())]],
        _ => NAMES.to_vec(),
    };
    let security = P::new(&mut random);
    let (clients, requests) = (0..random.usize(1..20))
        .map(|number| {
            let mut requests = Vec::new();
            let client = world::dress(&security, &mut random, |random| {
                let (client, its) = visitor(random, crowd, number, &names);
                requests = its;
                client
            });
            if client.is_broken() {
                requests.clear();
            }
            (client, requests)
        })
        .unzip::<_, _, Vec<Client>, Vec<Vec<Request>>>();
    let scene = HttpScene {
        security,
        handshake: conditions.handshake_timeout(),
        clients,
        served: vec![(0, 0); requests.len()],
        requests,
        site: Site::draw(&mut random, &conditions),
    };
    let first = random.u64(..);
    world::play(random, &conditions, scene, |scene, files| {
        scene.site.write_first(&mut Rng::with_seed(first), files);
    })
}

impl<P: Security> HttpScene<P> {
    fn judge_client(&self, number: usize, conditions: &Conditions, run: &mut Run) {
        let client = &self.clients[number];
        let requests = &self.requests[number];
        let mut rest = &client.received[..];
        let mut answered = 0;
        for request in requests {
            match take_answer(rest, request.head_only) {
                Taken::Whole(answer, used) => {
                    rest = &rest[used..];
                    run.answers += 1;
                    answered += 1;
                    let site = &self.site;
                    if site.judge_answer(&answer, request, client, conditions, run) {
                        run.troubles += 1;
                    } else if request.last {
                        assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
                    }
                    if answer.status == 408 {
                        let late = conditions.may_be_late(client);
                        assert!(late, "408 for a client that is not slow");
                        break;
                    }
                }
                Taken::Part(answer) => {
                    if let Some(answer) = answer {
                        run.cut += 1;
                        self.site.judge_part(&answer, request, client, conditions);
                    }
                    break;
                }
            }
        }
        if client.ending == Some(Ending::Ended) {
            let whole = answered == requests.len() || rest.is_empty();
            assert!(whole, "an orderly end in the middle of an answer: {client:?}");
        }
        if answered == requests.len() {
            assert!(
                rest.is_empty(),
                "more than was asked for: {:?} after {requests:?}",
                String::from_utf8_lossy(rest)
            );
        }
        let calm = conditions.faults.reset == 0 && conditions.faults.disk == 0 && !self.site.cuts;
        // If a client still sends a body after the last answer, the server reads on for a limited
        // time only. Then it resets, which may destroy an answer that is not read yet.
        let sends_on = requests.iter().any(|request| request.last && request.body > 0);
        if sends_on && client.ending == Some(Ending::Broken) && crawls(client, conditions) {
            return;
        }
        if client.is_kind() && calm && conditions.patient && !conditions.early_drain {
            assert_eq!(answered, requests.len(), "not everything was answered: {client:?}");
            assert!(matches!(client.ending, Some(Ending::Ended | Ending::Left)), "{client:?}");
            // If an end was announced, no timeout delays it after the last byte.
            let announced = requests.last().is_some_and(|request| request.last);
            let waited = client.ended_at.saturating_sub(client.sent_at.max(client.heard_at));
            assert!(!announced || waited < conditions.shortest_timeout(), "{client:?}");
            run.complete += 1;
        }
    }
}

/// Whether a client may send for longer than a lingering close waits.
pub(crate) fn crawls(client: &Client, conditions: &Conditions) -> bool {
    let faults = &conditions.faults;
    let piece_max = faults.piece_max.min(conditions.limits.buffer_bytes as usize);
    // All lengths of pieces up to the maximum are equally likely.
    let steps = (2 * BODY_MAX / piece_max) as u32;
    let second = Duration::from_secs(1);
    faults.late > 0
        || faults.latency_max * steps > second / 2
        || client.sent_at > client.started + second
}

impl<P: Security> Scene for HttpScene<P> {
    type Session = P::Session<Http>;

    /// Input, and one chain: no request is read while answers are being sent.
    const MEMORY_MAX: usize = INBOX_MEMORY_MAX + CHAIN_MEMORY_MAX;

    fn shared(
        &self,
        sim: &mut Sim,
        mailbox: &Arc<Mailbox<Message<P::Session<Http>>>>,
    ) -> Shared<P::Session<Http>> {
        let settings = self.site.settings(&sim.files());
        let mailbox = Arc::clone(mailbox);
        let post =
            move |message| mailbox.push(P::message::<Http>(message)).map_err(P::take_back::<Http>);
        let watcher = sim.watcher(Box::new(SitesMessage::reports(post)));
        let sites = Sites::new(settings, sim.now(), Some(Box::new(watcher)));
        self.security.shared::<Http>(sites, self.handshake)
    }

    fn clients(&mut self) -> &mut Vec<Client> {
        &mut self.clients
    }

    fn act(&mut self, random: &mut Rng, client: usize, now: Duration, dialer: &Dialer) {
        let (requests, served) = (&self.requests[client], &mut self.served[client]);
        self.clients[client].act(random, now, dialer, |received| {
            while let Some(request) = requests.get(served.0) {
                match take_answer(&received[served.1..], request.head_only) {
                    Taken::Whole(_, used) => *served = (served.0 + 1, served.1 + used),
                    Taken::Part(_) => return false,
                }
            }
            true
        });
    }

    fn disturb(&mut self, random: &mut Rng, now: Duration, files: &Files) -> Duration {
        self.site.disturb(random, now, files)
    }

    fn renew(
        &mut self,
        random: &mut Rng,
        now: Duration,
        files: &Files,
    ) -> Option<Message<P::Session<Http>>> {
        let table = self.site.tables.next(random, now, files)?;
        Some(P::message::<Http>(SitesMessage::Table(table, Duration::MAX)))
    }

    fn judge(&mut self, conditions: &Conditions, run: &mut Run) {
        for number in 0..self.clients.len() {
            self.judge_client(number, conditions, run);
        }
    }
}
