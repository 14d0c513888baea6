//! Worlds of HTTP/2: clients with many streams on each connection.
//!
//! The client's end checks each frame of the server. The oracle of the site checks each response,
//! as in the worlds of HTTP/1.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::Driver;
use ringd::driver::sim::{Dialer, Files, Sim};
use ringd::http::site::SitesMessage;
use ringd::http::{HttpSettings, Sites, Web};
use ringd::server::INBOX_MEMORY_MAX;
use ringd::server::mailbox::Mailbox;

use crate::answer::Answer;
use crate::client::{Client, Ending};
use crate::common::http2_exchange::{Exchange, code};
use crate::h2_talk::Talk;
use crate::http::crawls;
use crate::requests::NAMES;
use crate::security::{Message, Security, Shared};
use crate::site::Site;
use crate::world::{self, CHAIN_MEMORY_MAX, Conditions, Run, Scene};

/// A client with at most so many streams open is not refused any.
const NEVER_REFUSED: usize = 60;

/// What the server's budget for anomalies has at first.
const BUDGET: u64 = 200;

struct Http2Scene<P> {
    security: P,
    handshake: Duration,
    stall_timeout: Duration,
    clients: Vec<Client>,
    talks: Vec<Talk>,
    site: Site,
}

/// A world whose connections are protected by `P`, or by nothing.
pub(crate) fn run<P: Security>(seed: u64) -> Run {
    let mut random = Rng::with_seed(seed);
    let conditions = world::conditions(&mut random);
    let names = match random.u8(..3) {
        0 => vec![NAMES[random.usize(..NAMES.len())]],
        _ => NAMES.to_vec(),
    };
    let security = P::new(&mut random);
    let is_secured = security.wire(&mut random).is_some();
    let mut talks = Vec::new();
    let clients = (0..random.usize(1..12))
        .map(|_| {
            world::dress(&security, &mut random, |random| {
                let (client, talk) = Talk::visitor(random, &names, is_secured);
                talks.push(talk);
                client
            })
        })
        .collect();
    let scene = Http2Scene {
        security,
        handshake: conditions.handshake_timeout(),
        stall_timeout: conditions.stall_timeout(),
        clients,
        talks,
        site: Site::draw(&mut random, &conditions),
    };
    let first = random.u64(..);
    world::play(random, &conditions, scene, |scene, files| {
        scene.site.write_first(&mut Rng::with_seed(first), files);
    })
}

impl<P: Security> Http2Scene<P> {
    fn judge_client(&self, number: usize, conditions: &Conditions, run: &mut Run) {
        let (client, talk) = (&self.clients[number], &self.talks[number]);
        if client.is_broken() {
            return;
        }
        for (request, (id, exchange)) in talk.requests.iter().zip(&talk.http.exchanges) {
            judge_reset(*id, exchange, client, talk, conditions);
            run.resets += u64::from(exchange.reset.is_some());
            if exchange.status == 0 {
                continue;
            }
            let (fields, body) = (exchange.fields.clone(), exchange.body.clone());
            let answer = Answer::new(exchange.status, fields, body);
            if exchange.has_ended {
                run.answers += 1;
                let site = &self.site;
                let trouble = site.judge_answer(&answer, request, client, conditions, run);
                run.troubles += u64::from(trouble);
            } else {
                run.cut += 1;
                self.site.judge_part(&answer, request, client, conditions);
            }
        }
        for goaway in &talk.http.goaways {
            let is_calming = goaway.code == code::CALM && talk.http.cost >= BUDGET;
            assert!(is_calming || goaway.code == code::NO_ERROR, "{goaway:?}: {client:?}");
            run.errors += u64::from(is_calming);
        }
        let whole = client.ending != Some(Ending::Ended) || talk.http.is_at_frame();
        assert!(whole, "an orderly end in the middle of a frame: {client:?}");
        let calm = conditions.faults.reset == 0 && conditions.faults.disk == 0 && !self.site.cuts;
        let is_content = client.is_kind() && talk.http.cost < BUDGET;
        // After GOAWAY, the server closes as soon as all is answered. If the client still sends
        // then, the end may destroy what is in flight. A client that looks again only after a
        // while is as late as one that crawls.
        let breaks_off = talk.has_said_goaway() && client.ending == Some(Ending::Broken);
        let sleeps = client.ended_at > client.sent_at + Duration::from_secs(1);
        if breaks_off && (sleeps || crawls(client, conditions)) {
            return;
        }
        if is_content && calm && conditions.patient && !conditions.early_drain {
            self.judge_service(client, talk, conditions);
            run.complete += 1;
        }
    }

    /// A client that behaves gets all its answers.
    fn judge_service(&self, client: &Client, talk: &Talk, conditions: &Conditions) {
        let is_missing = |exchange: &&Exchange| !exchange.has_ended && exchange.cancelled.is_none();
        let missing = talk.http.exchanges.values().find(is_missing);
        assert!(missing.is_none(), "not answered: {missing:?}: {client:?}");
        assert!(matches!(client.ending, Some(Ending::Ended | Ending::Left)), "{client:?}");
        let (leaving, waited) = (
            talk.has_said_goaway(),
            client.ended_at.saturating_sub(client.sent_at.max(client.heard_at)),
        );
        assert!(!leaving || waited < conditions.shortest_timeout(), "{client:?}");
    }
}

/// Checks that a stream was reset for a reason that the rules have.
fn judge_reset(
    id: u32,
    exchange: &Exchange,
    client: &Client,
    talk: &Talk,
    conditions: &Conditions,
) {
    let is_allowed = match exchange.reset {
        None => true,
        // The client need not go on with an upload.
        Some(code::NO_ERROR) => exchange.has_ended,
        Some(code::CANCEL) => !conditions.patient || !client.is_kind(),
        // A file was not found in time.
        Some(code::INTERNAL) => !conditions.patient && exchange.status == 0,
        Some(code::REFUSED) => talk.most_open > NEVER_REFUSED,
        Some(_) => false,
    };
    assert!(is_allowed, "stream {id}: {exchange:?}: {client:?}: {conditions:?}");
}

impl<P: Security> Scene for Http2Scene<P> {
    type Session = P::Session<Web>;

    /// Input, and one chain: no frame is read while answers are being sent.
    const MEMORY_MAX: usize = INBOX_MEMORY_MAX + CHAIN_MEMORY_MAX;

    fn shared(
        &self,
        sim: &mut Sim,
        mailbox: &Arc<Mailbox<Message<P::Session<Web>>>>,
    ) -> Shared<P::Session<Web>> {
        let settings = HttpSettings {
            h2c: true,
            stall_timeout: self.stall_timeout,
            ..self.site.settings(&sim.files())
        };
        let mailbox = Arc::clone(mailbox);
        let post =
            move |message| mailbox.push(P::message::<Web>(message)).map_err(P::take_back::<Web>);
        let watcher = sim.watcher(Box::new(SitesMessage::reports(post)));
        let sites = Sites::new(settings, sim.now(), Some(Box::new(watcher)));
        self.security.shared::<Web>(sites, self.handshake)
    }

    fn clients(&mut self) -> &mut Vec<Client> {
        &mut self.clients
    }

    fn act(&mut self, random: &mut Rng, client: usize, now: Duration, dialer: &Dialer) {
        let (client, talk) = (&mut self.clients[client], &mut self.talks[client]);
        if !client.is_broken() {
            talk.go_on(random, client);
        }
        client.act(random, now, dialer, |_| talk.is_served());
        // What it has asked for waits for a window, so a drain waits for it. The client may believe
        // that it has cancelled an answer, and has not sent that.
        client.starves |= client.rests() && (talk.is_owed() || client.withholds());
    }

    fn disturb(&mut self, random: &mut Rng, now: Duration, files: &Files) -> Duration {
        self.site.disturb(random, now, files)
    }

    fn renew(
        &mut self,
        random: &mut Rng,
        now: Duration,
        files: &Files,
    ) -> Option<Message<P::Session<Web>>> {
        let table = self.site.tables.next(random, now, files)?;
        Some(P::message::<Web>(SitesMessage::Table(table, self.stall_timeout)))
    }

    fn judge(&mut self, conditions: &Conditions, run: &mut Run) {
        for number in 0..self.clients.len() {
            let (client, talk) = (&self.clients[number], &mut self.talks[number]);
            if !client.is_broken() {
                talk.hear(client);
            }
            self.judge_client(number, conditions, run);
        }
    }
}
