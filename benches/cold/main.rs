//! Hot files beside cold ones: `cargo bench --bench cold`, or `... -- uring epoll` for some.
//!
//! A worker is one thread. If it waited for a disk, everybody would. So a hot file is asked for at
//! a fixed rate while others are downloaded from the same single worker, which runs in a process
//! and on a core of its own: files that are in the page cache (*warm*), and files that were put
//! out of it before each download (*cold*). The bytes and their rate are the same, so what differs
//! is the disk.
//!
//! | column | what it is |
//! | --- | --- |
//! | p50 to max | from when a hot request was due to its answer, in microseconds |
//! | blocked | the share of samples in which the worker slept uninterruptibly, as for a disk |
//! | longest | the longest run of such samples, in microseconds |
//! | sent | what was downloaded beside the hot file, in MiB |
//! | disk | what the process read from the disk meanwhile, in MiB |
//! | loop | how much of that the worker's thread has asked for, as by read-ahead |
//!
//! A request that is due while the one before it is unanswered counts from when it was due, so one
//! long wait is not hidden by those that it delays; what the client itself oversleeps does not
//! count. Where cores are shared with others, the latencies are those of the machine. Hence the
//! verdict is about the worker's thread, whose state (`/proc/PID/task/TID/stat`) is sampled about
//! every 100 µs: it must not be blocked for more than 1 ms at a time when files are cold, unless it
//! was when they were warm. The `control` shows what that finds: it is a loop that does what
//! `ringd` avoids, `sendfile(2)` of what may be cold. If it is not blocked, the disk is too fast
//! for this to tell anything.
//!
//! Contents are cold; names are not: only root can make the kernel forget one, and for all.

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

/// How long the worker may be blocked at a time.
const BLOCKED_MAX: Duration = Duration::from_millis(1);

/// How much is done.
struct Effort {
    rounds: usize,
    /// Of one situation in one round.
    time: Duration,
    /// Divides the sizes of the files.
    smaller: u64,
}

impl Effort {
    const FULL: Self = Self { rounds: 3, time: Duration::from_millis(1200), smaller: 1 };
    /// Without `--bench`, cargo wants to know whether it works at all.
    const QUICK: Self = Self { rounds: 1, time: Duration::from_millis(50), smaller: 16 };
}

/// What the hot file is asked for beside.
#[derive(Clone, Copy)]
struct Situation {
    beside: Option<Beside>,
    cold: bool,
}

impl Situation {
    /// What is compared, cold right after warm.
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

/// What was found in all rounds of a situation.
struct ResolvedNames {
    latency: Histogram<u64>,
    /// The 99th percentile of each round, in microseconds.
    p99: Vec<u64>,
    sampled: Sampled,
    sent: u64,
}

impl ResolvedNames {
    fn new() -> Self {
        let latency = Histogram::new(3).expect("three digits are fine");
        Self { latency, p99: Vec::new(), sampled: Sampled::default(), sent: 0 }
    }

    /// The median of the rounds.
    fn p99(&self) -> u64 {
        let mut all = self.p99.clone();
        all.sort_unstable();
        all[all.len() / 2]
    }
}

/// One situation for one round: a new server, the hot file asked for, and what goes on beside it.
fn measure(
    kind: Option<DriverKind>,
    tree: &Tree,
    situation: Situation,
    effort: &Effort,
    resolved_names: &mut ResolvedNames,
) -> io::Result<()> {
    let subject = Subject::start(kind, tree.root())?;
    let mut hot = load::Hot::begin(subject.address())?;
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
        let asked = hot.ask(effort.time);
        over.store(true, Ordering::Relaxed);
        let ended: io::Result<()> =
            loads.into_iter().try_for_each(|load| load.join().expect("a load does not panic"));
        let sampled = sampler.join().expect("the sampler does not panic")?;
        ended?;
        Ok::<_, io::Error>((asked?, sampled))
    });
    let (latency, sampled) = found?;
    resolved_names.p99.push(latency.value_at_quantile(0.99));
    resolved_names.latency.add(latency).expect("the bounds are the same");
    resolved_names.sampled.add(&sampled);
    resolved_names.sent += sent.into_inner();
    Ok(())
}

fn print(subject: &str, situation: Situation, found: &ResolvedNames) {
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

/// Measures one server in all situations; gives the longest time for which it was blocked while
/// files were cold, and not as long while they were warm.
fn measure_all(kind: Option<DriverKind>, tree: &Tree, effort: &Effort) -> io::Result<Duration> {
    let situations = Situation::all();
    let mut found: Vec<_> = situations.iter().map(|_| ResolvedNames::new()).collect();
    for _ in 0..effort.rounds {
        for (situation, resolved_names) in situations.iter().zip(&mut found) {
            measure(kind, tree, *situation, effort, resolved_names)?;
        }
    }
    let name = kind.map_or("control", DriverKind::name);
    for (situation, resolved_names) in situations.iter().zip(&found) {
        print(name, *situation, resolved_names);
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
        println!("skipped: no directory whose files can be put out of the page cache (a tmpfs?)");
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
        println!("The control is not blocked either: this disk is too fast to tell.");
    }
    // What so short a time shows is chance.
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
