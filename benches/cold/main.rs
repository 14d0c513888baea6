//! Whether cold files delay requests for a hot file: `cargo bench --bench cold`, or
//! `cargo bench --bench cold -- uring epoll` for some of the drivers.
//!
//! A worker is one thread. If it waits for a disk, all its connections wait. This benchmark
//! requests a hot file at a fixed rate while other files are downloaded from the same worker. It
//! measures downloads of files in the page cache (*warm*), and of files that are evicted from it
//! before each download (*cold*). Bytes and rate are the same, so only the disk makes a difference.
//! The server has one worker, in a separate process on its own core.
//!
//! | column | meaning |
//! | --- | --- |
//! | p50 to max | latency of the hot file, counted from when the request was due, in microseconds |
//! | blocked | the share of samples in which the worker was in uninterruptible sleep (disk wait) |
//! | longest | the longest run of such samples, in microseconds |
//! | sent | bytes of the other downloads, in MiB |
//! | disk | bytes that the process read from the disk, in MiB |
//! | loop | the part of `disk` that the thread of the worker caused, for example by read-ahead |
//!
//! If a request is due while the last one is unanswered, its latency counts from when it was due,
//! so one long wait shows in all requests that it delays. A delay that the client causes does not
//! count.
//!
//! The latencies also depend on other work on the machine. Therefore the result depends only on the
//! thread of the worker, whose state (`/proc/PID/task/TID/stat`) is sampled about every 100 µs: it
//! must not be blocked for more than 1 ms at a time with cold files, unless it is blocked as long
//! with warm ones. The `control` shows that the benchmark detects such waits: it does what `ringd`
//! avoids, it calls `sendfile(2)` for files that may be cold. If the control is not blocked, the
//! disk is too fast for a result.
//!
//! Only file contents are cold, not names: only root can evict names, and only for the whole
//! machine.

mod control;
mod load;
mod subject;

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use ringd::driver::{DriverKind, DriverSelection};

use load::{Beside, Tree};
use subject::{Sampled, Subject};

/// The longest time that the worker may be blocked by cold files.
const BLOCKED_MAX: Duration = Duration::from_millis(1);

/// The duration of the benchmark.
struct Effort {
    rounds: usize,
    /// The time per situation and round.
    time: Duration,
    /// The files are smaller, or fewer, by this factor.
    smaller: u64,
}

impl Effort {
    const FULL: Self = Self { rounds: 3, time: Duration::from_millis(1200), smaller: 1 };
    /// Without `--bench`, cargo runs this as a test that the benchmark works.
    const QUICK: Self = Self { rounds: 1, time: Duration::from_millis(50), smaller: 16 };
}

/// The downloads that run at the same time as the requests for the hot file.
#[derive(Clone, Copy)]
struct Situation {
    beside: Option<Beside>,
    cold: bool,
}

impl Situation {
    /// All situations. Each cold one directly follows its warm one.
    fn all() -> Vec<Self> {
        let pairs = Beside::ALL
            .into_iter()
            .flat_map(|beside| [false, true].map(|cold| Self { beside: Some(beside), cold }));
        std::iter::once(Self { beside: None, cold: false }).chain(pairs).collect()
    }

    fn name(self) -> String {
        match self.beside {
            None => "nothing".into(),
            Some(beside) => {
                format!("{}, {}", beside.name(), if self.cold { "cold" } else { "warm" })
            }
        }
    }
}

/// The measurements of a situation over all rounds.
struct Measurements {
    latency: Histogram<u64>,
    /// The 99th percentile of each round, in microseconds.
    p99: Vec<u64>,
    sampled: Sampled,
    sent: u64,
}

impl Measurements {
    fn new() -> Self {
        let latency = Histogram::new(3).expect("three digits are fine");
        Self { latency, p99: Vec::new(), sampled: Sampled::default(), sent: 0 }
    }

    /// The median of the 99th percentiles of the rounds.
    fn p99(&self) -> u64 {
        let mut all = self.p99.clone();
        all.sort_unstable();
        all[all.len() / 2]
    }
}

/// Measures one situation in one round, with a new server.
fn measure(
    kind: Option<DriverKind>,
    tree: &Tree,
    situation: Situation,
    effort: &Effort,
    measurements: &mut Measurements,
) -> io::Result<()> {
    let subject = Subject::start(kind, tree.root())?;
    let mut hot = load::HotClient::begin(subject.address())?;
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    tree.warm(situation.beside)?;
    let found = thread::scope(|scope| {
        let sampler = scope.spawn(|| subject.sample(&over));
        let loads: Vec<_> = (0..situation.beside.map_or(0, Beside::connections))
            .map(|number| {
                let (tree, over, sent, address) = (&tree, &over, &sent, subject.address());
                let beside = situation.beside.expect("there are connections");
                let download =
                    load::Download { tree, beside, number, cold: situation.cold, over, sent };
                scope.spawn(move || download.run(address))
            })
            .collect();
        let latency = hot.measure(effort.time);
        over.store(true, Ordering::Relaxed);
        let ended: io::Result<()> =
            loads.into_iter().try_for_each(|load| load.join().expect("a load does not panic"));
        let sampled = sampler.join().expect("the sampler does not panic")?;
        ended?;
        Ok::<_, io::Error>((latency?, sampled))
    });
    let (latency, sampled) = found?;
    measurements.p99.push(latency.value_at_quantile(0.99));
    measurements.latency.add(latency).expect("the bounds are the same");
    measurements.sampled.add(&sampled);
    measurements.sent += sent.into_inner();
    Ok(())
}

fn print(subject: &str, situation: Situation, found: &Measurements) {
    let mib = |bytes: Option<u64>| {
        bytes.map_or("-".into(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
    };
    let at = |quantile| found.latency.value_at_quantile(quantile);
    println!(
        "{subject:<9} {:<18} {:>6} {:>6} {:>7} {:>7}  {:>6.2}% {:>8}  {:>6} {:>6} {:>6}",
        situation.name(),
        at(0.5),
        at(0.99),
        at(0.999),
        found.latency.max(),
        found.sampled.blocked_share() * 100.0,
        found.sampled.longest.as_micros(),
        mib(Some(found.sent)),
        mib(found.sampled.disk),
        mib(found.sampled.disk_by_loop),
    );
}

/// Measures one server in all situations. Returns the longest time for which cold files blocked it;
/// zero if it was blocked as long with warm files.
fn measure_all(kind: Option<DriverKind>, tree: &Tree, effort: &Effort) -> io::Result<Duration> {
    let situations = Situation::all();
    let mut found: Vec<_> = situations.iter().map(|_| Measurements::new()).collect();
    for _ in 0..effort.rounds {
        for (situation, measurements) in situations.iter().zip(&mut found) {
            measure(kind, tree, *situation, effort, measurements)?;
        }
    }
    let name = kind.map_or("control", DriverKind::name);
    for (situation, measurements) in situations.iter().zip(&found) {
        print(name, *situation, measurements);
    }
    let (mut worst, mut added) = (Duration::ZERO, Vec::new());
    for (pair, beside) in found[1..].chunks(2).zip(Beside::ALL) {
        let difference = pair[1].p99() as i64 - pair[0].p99() as i64;
        added.push(format!("{} {difference:+} µs", beside.name()));
        let [warm, cold] = [0, 1].map(|index| pair[index].sampled.longest);
        if cold > warm {
            worst = worst.max(cold);
        }
    }
    println!("{name:<9} cold adds at p99 (median of rounds): {}", added.join(", "));
    println!("{name:<9} blocked by cold files for {} µs at most\n", worst.as_micros());
    Ok(worst)
}

fn run() -> io::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = arguments.iter().any(|argument| argument == "--bench");
    let effort = if full { Effort::FULL } else { Effort::QUICK };
    let names: Vec<_> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| *it == name);
    let Some(tree) = Tree::grow(effort.smaller)? else {
        println!("skipped: found no directory whose files can be evicted from the page cache");
        return Ok(true);
    };
    subject::pin_clients();
    println!("{}", tree.describe());
    println!(
        "{:<9} {:<18} {:>6} {:>6} {:>7} {:>7}  {:>7} {:>8}  {:>6} {:>6} {:>6}",
        "driver",
        "beside",
        "p50",
        "p99",
        "p99.9",
        "max",
        "blocked",
        "longest",
        "sent",
        "disk",
        "loop"
    );
    let mut holds = true;
    for kind in DriverKind::ALL.into_iter().filter(|kind| wanted(kind.name())) {
        if let Err(error) = DriverSelection::make(Some(kind)) {
            println!("{kind} skipped: {error}\n");
            continue;
        }
        if measure_all(Some(kind), &tree, &effort)? > BLOCKED_MAX {
            println!("{kind}: BLOCKED for more than {BLOCKED_MAX:?}\n");
            holds = false;
        }
    }
    if measure_all(None, &tree, &effort)? <= BLOCKED_MAX {
        println!("The control is not blocked either: the disk is too fast for a result.");
    }
    // A quick run is too short for a verdict.
    Ok(holds || !full)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("cold: {error}");
            ExitCode::FAILURE
        }
    }
}
