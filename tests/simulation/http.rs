//! Worlds of HTTP: files that change, requests of every sort, and an oracle that knows the
//! content of each name at each time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::Driver;
use ringd::driver::sim::{Dialer, Files, Sim};
use ringd::http::site::SitesMessage;
use ringd::http::{Http, HttpSettings, Sites};
use ringd::server::INBOX_MEMORY_MAX;
use ringd::server::mailbox::Mailbox;

use crate::answer::{Answer, Taken, take_answer};
use crate::client::{Client, Ending};
use crate::crowd::{Crowd, visitor};
use crate::requests::{BODY_MAX, Expect, NAMES, Request, THERE};
use crate::security::{Bare, Message, Security, Shared};
use crate::tables::{SETTINGS, Tables};
use crate::wish::{CODED, PLAIN, Wish, form};
use crate::world::{self, CHAIN_MEMORY_MAX, Conditions, Run, Scene};

/// How long a cached file is served without a look at the file system.
const REVALIDATE: Duration = Duration::from_secs(1);

/// The same if every change is reported, so that nothing needs to expire.
const HARDLY_EVER: Duration = Duration::from_secs(3600);

/// The content of a name from some time on; `None` if it did not exist.
#[derive(Debug)]
struct Version {
    from: Duration,
    bytes: Option<Vec<u8>>,
}

struct HttpScene<P> {
    security: P,
    handshake: Duration,
    clients: Vec<Client>,
    requests: Vec<Vec<Request>>,
    /// For each client: how many answers are complete, and the bytes up to there.
    served: Vec<(usize, usize)>,
    history: BTreeMap<&'static str, Vec<Version>>,
    /// Whether files change.
    changes: bool,
    /// Whether a file was truncated while it may have been in transit.
    cuts: bool,
    sizes: Vec<usize>,
    memory_file_max: u64,
    cache_entries: usize,
    watch: Watch,
    revalidate: Duration,
    /// The tables of sites that the server was sent.
    tables: Tables,
}

/// How reliable the reports of changes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watch {
    /// There are no reports.
    No,
    /// They come late or in another order, or are lost.
    Unreliable,
    /// They all come, if not at once.
    Reliable,
}

/// How old an answer may be that could not be revalidated because descriptors ran out.
const STALE_MAX: Duration = Duration::from_secs(60);

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
    // If bytes move one by one, less content takes the same number of steps.
    let size_max = conditions.faults.piece_max.saturating_mul(400).min(200_000);
    let sizes = [0, 1, 100, 8192, 8193, 60_000, 200_000];
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
        history: BTreeMap::new(),
        changes: random.bool(),
        cuts: false,
        sizes: sizes.into_iter().filter(|size| *size <= size_max).collect(),
        memory_file_max: [0, 100, 8192][random.usize(..3)],
        cache_entries: [0, 1, 3, 100][random.usize(..4)],
        watch: Watch::No,
        revalidate: REVALIDATE,
        tables: Tables::default(),
    };
    let faults = &conditions.faults;
    let troubles =
        [faults.watch_fails, faults.watch_late, faults.watch_lost, faults.watch_overflow];
    let watch = match random.u8(..3) {
        0 => Watch::No,
        _ if troubles == [0; 4] => Watch::Reliable,
        _ => Watch::Unreliable,
    };
    let revalidate = if watch == Watch::Reliable { HARDLY_EVER } else { REVALIDATE };
    let tables = if random.bool() { Tables::with_reloads() } else { Tables::default() };
    let scene = HttpScene { watch, revalidate, tables, ..scene };
    let first = random.u64(..);
    world::play(random, &conditions, scene, |scene, files| {
        let mut random = Rng::with_seed(first);
        // Keeps the directory in existence, whatever else is removed.
        files.write("folder/kept", b"");
        for name in &NAMES[..THERE] {
            scene.replace(&mut random, Duration::ZERO, name, files);
        }
    })
}

impl<P: Security> HttpScene<P> {
    /// Gives a name new content, in a new inode.
    fn replace(&mut self, random: &mut Rng, now: Duration, name: &'static str, files: &Files) {
        let size = self.sizes[random.usize(..self.sizes.len())];
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        files.write("new", &bytes);
        files.rename("new", name);
        self.note(now, name, Some(bytes));
    }

    fn note(&mut self, now: Duration, name: &'static str, bytes: Option<Vec<u8>>) {
        self.history.entry(name).or_default().push(Version { from: now, bytes });
    }

    /// The contents that a client may get for a name.
    fn versions(&self, name: &str, client: &Client, conditions: &Conditions) -> Vec<Option<&[u8]>> {
        let (faults, slack) = (&conditions.faults, conditions.slack());
        let Some(history) = self.history.get(name) else { return vec![None] };
        // If every change is reported, an answer is no older than the report is late, or was
        // found before its directory was watched.
        let age_max = match self.watch {
            Watch::Reliable => Duration::from_secs(1),
            Watch::No | Watch::Unreliable if faults.descriptors > 0 => STALE_MAX,
            Watch::No | Watch::Unreliable => 2 * self.revalidate,
        };
        let until = history.iter().skip(1).map(|next| next.from).chain([Duration::MAX]);
        let versions = history.iter().zip(until).filter(|(version, until)| {
            let seen = until.saturating_add(age_max + slack) >= client.started;
            seen && version.from <= client.ended_at
        });
        versions.map(|(version, _)| version.bytes.as_deref()).collect()
    }

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
                    if self.judge_answer(&answer, request, client, conditions, run) {
                        run.troubles += 1;
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
                        self.judge_part(&answer, request, client, conditions);
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
        let calm = conditions.faults.reset == 0 && conditions.faults.disk == 0 && !self.cuts;
        // If a client still sends a body after the last answer, the server reads on for a limited
        // time only. Then it resets, which may destroy an answer that is not read yet.
        let sends_on = requests.iter().any(|request| request.last && request.body);
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

    /// Checks a whole answer; returns whether it reports a fault.
    fn judge_answer(
        &self,
        answer: &Answer,
        request: &Request,
        client: &Client,
        conditions: &Conditions,
        run: &mut Run,
    ) -> bool {
        let faults = &conditions.faults;
        assert!(answer.field("date").is_some() && answer.field("server") == Some("ringd"));
        let trouble = match answer.status {
            503 => faults.descriptors > 0,
            500 => faults.disk > 0,
            408 => conditions.may_be_late(client),
            _ => false,
        };
        if trouble {
            return true;
        }
        if matches!(request.expect, Expect::Name(_)) || answer.field(SETTINGS).is_some() {
            run.renewed += u64::from(self.tables.judge(answer, client, conditions));
        }
        if request.last {
            assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
        }
        let name = match request.expect {
            Expect::Status(status) => {
                assert_eq!(answer.status, status, "{request:?}");
                return false;
            }
            Expect::Name(name) => name,
        };
        self.judge_file(name, answer, request, client, conditions);
        false
    }

    /// Checks the answer to a request for a file.
    fn judge_file(
        &self,
        name: &str,
        answer: &Answer,
        request: &Request,
        client: &Client,
        conditions: &Conditions,
    ) {
        let Wish { range, coded, absent } = request.wish;
        let versions = |name| self.versions(name, client, conditions);
        let any = |fits: &dyn Fn(&[u8]) -> bool| {
            let forms = if coded && name == PLAIN { &[PLAIN, CODED][..] } else { &[name] };
            let form = form(answer, name);
            let forms = forms.iter().filter(|it| !answer.has_content() || **it == form);
            let mut fitting = forms.flat_map(|form| versions(form)).flatten();
            assert!(fitting.any(fits), "{name} never fitted {answer:?}: {request:?}, {client:?}");
        };
        match answer.status {
            404 => assert!(versions(name).contains(&None), "{name} was there: {client:?}"),
            304 if absent => any(&|_| true),
            _ if absent => panic!("{} for what is there: {client:?}", answer.status),
            200 if request.head_only => any(&|bytes| answer.length == bytes.len()),
            // An empty file has no ranges.
            200 => any(&|bytes| answer.body == bytes && (range.is_none() || bytes.is_empty())),
            206 if !request.head_only => any(&|bytes| {
                range.is_some_and(|range| answer.is_part(bytes, range)) && answer.is_complete()
            }),
            416 if !request.head_only => any(&|bytes| {
                let of = format!("bytes */{}", bytes.len());
                let beyond = range.is_some_and(|(first, _)| first >= bytes.len());
                beyond && answer.field("content-range") == Some(&*of)
            }),
            status => panic!("{status} for {name}: {client:?}"),
        }
    }

    /// Checks an answer that was cut off in its body.
    fn judge_part(
        &self,
        answer: &Answer,
        request: &Request,
        client: &Client,
        conditions: &Conditions,
    ) {
        let Expect::Name(name) = request.expect else { return };
        let versions = self.versions(form(answer, name), client, conditions);
        let fits = |bytes: &&[u8]| match (answer.status, request.wish.range) {
            (200, _) => answer.length == bytes.len() && bytes.starts_with(&answer.body),
            (206, Some(range)) => answer.is_part(bytes, range),
            _ => true,
        };
        let is_page = matches!(answer.status, 200 | 206);
        let fits = versions.iter().flatten().any(fits);
        assert!(!is_page || fits, "{name} never held this: {client:?}");
    }
}

/// Whether a client may send for longer than a lingering close waits.
fn crawls(client: &Client, conditions: &Conditions) -> bool {
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
        let settings = HttpSettings {
            memory_file_max: self.memory_file_max,
            cache_entries: self.cache_entries,
            cache_bytes: 300_000,
            revalidate_after: self.revalidate,
            watch: self.watch != Watch::No,
            ..HttpSettings::new(self.tables.present(&sim.files()))
        };
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
        if !self.changes {
            return Duration::MAX;
        }
        // A changed file gets the time of the change, as on a real machine.
        files.set_time(Duration::from_secs(2_000_000_000) + now);
        let name = NAMES[random.usize(..THERE)];
        match random.u8(..6) {
            0 => {
                files.remove(name);
                self.note(now, name, None);
            }
            1 => {
                let last = self.history.get(name).and_then(|history| history.last());
                if let Some(Version { bytes: Some(bytes), .. }) = last {
                    let bytes = bytes[..bytes.len() / 2].to_vec();
                    files.truncate(name, bytes.len() as u64);
                    self.note(now, name, Some(bytes));
                    self.cuts = true;
                }
            }
            _ => self.replace(random, now, name, files),
        }
        // Changes become rarer, or the days that some clients wait would be full of them.
        now + now / 4 + Duration::from_micros(random.u64(1000..2_000_000))
    }

    fn renew(
        &mut self,
        random: &mut Rng,
        now: Duration,
        files: &Files,
    ) -> Option<Message<P::Session<Http>>> {
        let table = self.tables.next(random, now, files)?;
        Some(P::message::<Http>(SitesMessage::Table(table)))
    }

    fn judge(&mut self, conditions: &Conditions, run: &mut Run) {
        for number in 0..self.clients.len() {
            self.judge_client(number, conditions, run);
        }
    }
}
