//! Tests of the simulated watcher: it keeps its contract, has faults, and replays.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use super::*;
use crate::driver::watch::{BATCH_MAX, CHANGES_MAX, REQUESTS_MAX, REST, is_at};
use crate::driver::{Driver, Limits, Links, Token};

const SITE: SiteId = SiteId(1);
const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// The receiver of posts: accepted reports, and the number of refusals while it is full.
#[derive(Debug, Default)]
struct PostedReports {
    reports: Vec<ChangeReport>,
    full: bool,
    refusals: usize,
}

type SharedReports = Arc<Mutex<PostedReports>>;

fn mailbox() -> (Post, SharedReports) {
    let mailbox = SharedReports::default();
    let its = Arc::clone(&mailbox);
    let post = move |batch: Vec<ChangeReport>| {
        assert!((1..=BATCH_MAX).contains(&batch.len()));
        let mut posted = its.lock().unwrap();
        if posted.full {
            posted.refusals += 1;
            return Err(batch);
        }
        posted.reports.extend(batch);
        Ok(())
    };
    (Box::new(post), mailbox)
}

fn seeded(seed: u64, faults: Faults) -> (Sim, Watch, SharedReports) {
    let mut sim = Sim::seeded(&Limits::default(), seed, faults);
    let (post, mailbox) = mailbox();
    let watch = sim.watcher(post);
    (sim, watch, mailbox)
}

/// Waits once. Returns whether a wake ended the wait.
fn wait(sim: &mut Sim) -> bool {
    let mut done = Vec::new();
    sim.wait(HOUR, &mut done).unwrap();
    done.iter().any(|done| done.token == Token::WAKE)
}

/// All reports until an hour passes without one.
fn reports(sim: &mut Sim, mailbox: &SharedReports) -> Vec<String> {
    while wait(sim) {}
    mailbox.lock().unwrap().reports.drain(..).map(|report| text(&report)).collect()
}

/// Formats a report: `+watched`, `-unwatched`, `directory|name` with a slash if everything beneath
/// may have changed, `*` for everything.
fn text(report: &ChangeReport) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match report {
        ChangeReport::Watched { path, .. } => format!("+{}", text(path)),
        ChangeReport::Unwatched { path, .. } => format!("-{}", text(path)),
        ChangeReport::Changed { change, .. } => match change {
            Change::Entry { directory, name, beneath } => {
                format!("{}|{}{}", text(directory), text(name), if *beneath { "/" } else { "" })
            }
            Change::Directory { path } => format!("{}|", text(path)),
            Change::Everything => "*".into(),
        },
    }
}

#[test]
fn changes_to_files_are_reported() {
    let (mut sim, mut watch, mailbox) = seeded(1, Faults::NONE);
    let files = sim.files();
    files.write("d/sub/file", b"x");
    files.write("far/file", b"x");
    let root = files.root();
    assert!(watch.watch(SITE, &root, b"d/sub") && watch.watch(SITE, &root, b"missing/sub"));
    assert!(watch.watch(SITE, &root, b"d/sub/file"));
    let told = ["+", "+d", "+d/sub", "-missing/sub", "-d/sub/file"];
    assert_eq!(reports(&mut sim, &mailbox), told);
    type Act = fn(&Files);
    let cases: [(Act, &[&str]); 9] = [
        (|files| files.write("d/sub/file", b"y"), &["d/sub|file"]),
        (|files| files.write_at("d/sub/file", 2, b"y"), &["d/sub|file"]),
        (|files| files.truncate("d/sub/file", 1), &["d/sub|file"]),
        (|files| files.write("d/sub/new", b"y"), &["d/sub|new/"]),
        (|files| files.write("far/file", b"y"), &[]),
        (|files| files.write("new/d/file", b"y"), &["|new/"]),
        (|files| files.rename("d/sub/new", "d/new"), &["d/sub|new/", "d|new/"]),
        (
            |files| files.remove("d/sub/file"),
            // The watch of the directory ends, and the watch above reports the change.
            &["d/sub|file/", "-d/sub", "d/sub|", "d|sub/"],
        ),
        (|files| files.remove("none"), &[]),
    ];
    for (act, expected) in cases {
        act(&files);
        assert_eq!(reports(&mut sim, &mailbox), expected);
    }
    assert!(watch.watch(SITE, &root, b"d/sub") && watch.watch(SITE, &root, b"d"));
    assert_eq!(reports(&mut sim, &mailbox), ["-d/sub"]);
    files.write("d/sub/file", b"x");
    assert!(watch.watch(SITE, &root, b"d/sub"));
    assert_eq!(reports(&mut sim, &mailbox), ["d|sub/", "+d/sub"]);
}

#[test]
fn sites_share_directories_and_are_forgotten_separately() {
    let (mut sim, mut watch, mailbox) = seeded(1, Faults::NONE);
    let files = sim.files();
    files.write("d/sub/file", b"x");
    let inner = files.open("d").unwrap();
    let told = |sim: &mut Sim| {
        while wait(sim) {}
        let text = |report: ChangeReport| format!("{} {}", report.site().0, text(&report));
        mailbox.lock().unwrap().reports.drain(..).map(text).collect::<Vec<_>>()
    };
    assert!(watch.watch(SITE, &files.root(), b"d/sub") && watch.watch(SiteId(2), &inner, b"sub"));
    assert_eq!(told(&mut sim), ["1 +", "1 +d", "1 +d/sub", "2 +", "2 +sub"]);
    files.write("d/sub/file", b"y");
    assert_eq!(told(&mut sim), ["1 d/sub|file", "2 sub|file"]);
    watch.forget(SITE);
    assert_eq!(told(&mut sim), ["1 -", "1 *"]);
    files.write("d/sub/file", b"z");
    assert_eq!(told(&mut sim), ["2 sub|file"]);
    drop(watch);
    files.write("d/sub/file", b"x");
    assert_eq!(told(&mut sim), [""; 0]);
}

/// A wait without other work lasts until the next report, and no longer.
#[test]
fn reports_arrive_after_a_latency() {
    let latency_max = Duration::from_millis(100);
    let (mut sim, mut watch, mailbox) = seeded(3, Faults { latency_max, ..Faults::NONE });
    let files = sim.files();
    files.write("d/file", b"x");
    assert!(watch.watch(SITE, &files.root(), b"d"));
    files.write("d/file", b"before it is watched");
    sim.wait(Some(Duration::from_nanos(1)), &mut Vec::new()).unwrap();
    assert_eq!(mailbox.lock().unwrap().reports, []);
    sim.wait(None, &mut Vec::new()).unwrap();
    assert!(!mailbox.lock().unwrap().reports.is_empty());
    assert!(sim.elapsed() > Duration::ZERO && sim.elapsed() <= 4 * latency_max);
    assert_eq!(reports(&mut sim, &mailbox), ["+", "+d"]);
    let before = sim.elapsed();
    files.write("d/file", b"y");
    sim.wait(None, &mut Vec::new()).unwrap();
    assert!(sim.elapsed() > before && sim.elapsed() <= before + 2 * latency_max);
    assert_eq!(reports(&mut sim, &mailbox), ["d|file"]);
}

#[test]
fn changes_overtake_only_each_other() {
    let now = Instant::now();
    let faults = Faults { latency_max: Duration::from_millis(20), ..Faults::NONE };
    let mut schedule = Schedule::new(Rng::with_seed(1), now);
    let keeps_its_place = |number: usize| number.is_multiple_of(10);
    for number in 0..500 {
        let path = number.to_string().into_bytes().into();
        let report = match keeps_its_place(number) {
            true => ChangeReport::Watched { site: SITE, path },
            false => ChangeReport::Changed { site: SITE, change: Change::Directory { path } },
        };
        schedule.report(now + Duration::from_millis(1) * number as u32, &faults, [report]);
    }
    let mut order = Vec::new();
    while let Some(Plan::Report(report)) = schedule.due(now + Duration::from_secs(3600)) {
        order.push(text(&report).trim_matches(['+', '|']).parse::<usize>().unwrap());
    }
    assert!(
        order.iter().enumerate().all(|(at, number)| at == *number || !keeps_its_place(*number))
    );
    assert!(order.iter().enumerate().any(|(at, number)| at != *number), "some changes overtake");
}

#[test]
fn faults_of_the_watcher_occur() {
    let run = |faults| {
        let (mut sim, mut watch, mailbox) = seeded(1, faults);
        let files = sim.files();
        files.write("d/file", b"x");
        assert!(watch.watch(SITE, &files.root(), b"d"));
        let answers = reports(&mut sim, &mailbox);
        files.write("d/file", b"y");
        (answers, reports(&mut sim, &mailbox), sim.elapsed())
    };
    let none = run(Faults::NONE);
    let told = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!((&none.0, &none.1), (&told(&["+", "+d"]), &told(&["d|file"])));
    let fails = run(Faults { watch_fails: 1000, ..Faults::NONE });
    assert_eq!((fails.0, fails.1), (told(&["-d"]), vec![]));
    let lost = run(Faults { watch_lost: 1000, ..Faults::NONE });
    assert_eq!((lost.0, lost.1), (told(&["+", "+d"]), vec![]));
    let overflow = run(Faults { watch_overflow: 1000, ..Faults::NONE });
    assert_eq!((overflow.0, overflow.1), (told(&["+", "+d"]), told(&["-", "*"])));
    let latency_max = Duration::from_millis(1);
    let slow = run(Faults { latency_max, ..Faults::NONE });
    let late = run(Faults { latency_max, watch_late: 1000, ..Faults::NONE });
    assert!(late.2 > slow.2 && (late.0, late.1) == (slow.0, slow.1));
}

#[test]
fn after_refusals_everything_is_reported() {
    let (mut sim, mut watch, mailbox) = seeded(1, Faults::NONE);
    let files = sim.files();
    files.write("d/file", b"x");
    assert!(watch.watch(SITE, &files.root(), b"d"));
    assert_eq!(reports(&mut sim, &mailbox), ["+", "+d"]);
    mailbox.lock().unwrap().full = true;
    files.write("d/file", b"y");
    for refusals in 1..5 {
        assert!(wait(&mut sim), "a full receiver can make room");
        assert_eq!(mailbox.lock().unwrap().refusals, refusals);
    }
    assert!(sim.elapsed() >= 4 * REST);
    mailbox.lock().unwrap().full = false;
    files.write("d/file", b"z");
    assert_eq!(reports(&mut sim, &mailbox), ["-", "*"]);
    assert!(watch.watch(SITE, &files.root(), b"d"));
    assert_eq!(reports(&mut sim, &mailbox), ["+", "+d"]);
}

#[test]
#[cfg_attr(miri, ignore = "it fills every queue")]
fn every_queue_is_bounded() {
    let latency_max = Duration::from_secs(1);
    let (mut sim, mut watch, mailbox) = seeded(1, Faults { latency_max, ..Faults::NONE });
    let files = sim.files();
    files.write("d/file", b"x");
    let root = files.root();
    assert!(watch.watch(SITE, &root, b"d"));
    assert_eq!(reports(&mut sim, &mailbox), ["+", "+d"]);
    // Reports in transit.
    for _ in 0..30 {
        (0..PLANS_MAX / 20).for_each(|_| files.write("d/file", b"x"));
        sim.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert!(lock(&watch.kernel).schedule.plans.len() <= PLANS_MAX);
    }
    let told = reports(&mut sim, &mailbox);
    assert_eq!((told.first().unwrap(), told.contains(&"*".into())), (&"-".into(), true));
    // The log.
    assert!(watch.watch(SITE, &root, b"d"));
    reports(&mut sim, &mailbox);
    (0..=4096).for_each(|_| files.write("d/file", b"x"));
    assert_eq!(reports(&mut sim, &mailbox), ["-", "*"]);
    // Changes in one post.
    assert!(watch.watch(SITE, &root, b"d"));
    reports(&mut sim, &mailbox);
    sim.calm();
    (0..=2 * CHANGES_MAX).for_each(|number| files.write(format!("d/{number}"), b"x"));
    assert_eq!(reports(&mut sim, &mailbox), ["*"]);
    // Requests.
    let asked = (0..10 * REQUESTS_MAX).filter(|number| {
        let path = format!("missing/{number}");
        watch.watch(SITE, &root, path.as_bytes())
    });
    assert_eq!(asked.count(), REQUESTS_MAX);
    assert_eq!(reports(&mut sim, &mailbox).len(), REQUESTS_MAX);
}

/// In real time, another thread may change files while the machine sleeps.
#[test]
fn a_change_ends_the_sleep_of_a_calm_machine() {
    let mut sim = Sim::open(&Limits::default()).unwrap();
    let (post, mailbox) = mailbox();
    let mut watch = sim.watcher(post);
    let files = sim.files();
    files.write("file", b"x");
    assert!(watch.watch(SITE, &files.root(), b"") && wait(&mut sim));
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        files.write("file", b"y");
    });
    assert!(wait(&mut sim), "an hour has not passed");
    other.join().unwrap();
    let told: Vec<String> = mailbox.lock().unwrap().reports.iter().map(text).collect();
    assert_eq!(told, ["+", "|file"]);
}

/// A model of a user of the watcher, which looks at a directory only after a report.
#[derive(Debug, Default)]
struct Reader {
    /// The last known content of watched directories.
    seen: BTreeMap<Vec<u8>, String>,
    /// Requests without an answer.
    asked: BTreeSet<Vec<u8>>,
    /// All reports, as text.
    told: String,
}

impl Reader {
    fn ask(&mut self, watch: &mut Watch, root: &Arc<File>, path: &[u8]) {
        if watch.watch(SITE, root, path) && !self.seen.contains_key(path) {
            self.asked.insert(path.to_vec());
        }
    }

    /// Processes the posted reports.
    fn read(&mut self, sim: &Sim, mailbox: &SharedReports, files: &Files) {
        for report in mailbox.lock().unwrap().reports.drain(..) {
            self.told.push_str(&format!("{:?} {}\n", sim.elapsed(), text(&report)));
            match report {
                ChangeReport::Watched { path, .. } => {
                    self.asked.remove(&*path);
                    self.seen.insert(path.to_vec(), look(files, &path));
                }
                ChangeReport::Unwatched { path, .. } => {
                    self.asked.retain(|other| !is_at(other, &path));
                    self.seen.retain(|other, _| !is_at(other, &path));
                }
                ChangeReport::Changed { change, .. } => {
                    for (path, seen) in &mut self.seen {
                        if change.is_of_entries(path) {
                            *seen = look(files, path);
                        }
                    }
                }
            }
        }
    }

    /// Checks, when no report is in transit, that the known content is current and that every
    /// request has an answer.
    fn check(&self, files: &Files) {
        let Self { seen, asked, told } = self;
        for (path, seen) in seen {
            assert_eq!(*seen, look(files, path), "{}\n{told}", path.escape_ascii());
        }
        assert_eq!(*asked, BTreeSet::new(), "{told}");
    }
}

/// The content of a directory: names, inodes and lengths.
fn look(files: &Files, path: &[u8]) -> String {
    let Ok(directory) = files.open(if path.is_empty() { b"." } else { path }) else {
        return "missing".into();
    };
    let entries = directory.as_simulated().entries(100).unwrap_or_default().entries;
    let describe = |name: &[u8]| {
        let name = CString::new(name).unwrap();
        let found = directory.as_simulated().describe(name.to_bytes(), Links::Beneath);
        found.map(|found| (found.inode, found.len)).ok()
    };
    let text = |entry: &crate::driver::Entry| format!("{entry:?} {:?}", describe(&entry.name));
    entries.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// A random run of a watcher, as text, in which every loss is reported.
fn life(seed: u64) -> String {
    let mut random = Rng::with_seed(seed);
    let faults = Faults { watch_lost: 0, ..Faults::draw(&mut random) };
    let (mut sim, mut watch, mailbox) = seeded(seed, faults);
    let files = sim.files();
    let directories = ["", "a", "a/b", "a/b/c", "d"];
    let mut reader = Reader::default();
    let name = |random: &mut Rng| {
        let directory = directories[random.usize(..directories.len())];
        let name = ["x", "y"][random.usize(..2)];
        if directory.is_empty() { name.into() } else { format!("{directory}/{name}") }
    };
    for step in 0..400 {
        match random.u8(..16) {
            0..3 => files.write(name(&mut random), &vec![0; step]),
            3..7 => files.remove(name(&mut random)),
            7 | 8 => files.rename(name(&mut random), name(&mut random)),
            9..13 => {
                let directory = directories[random.usize(..directories.len())];
                reader.ask(&mut watch, &files.root(), directory.as_bytes());
            }
            13 if random.u8(..10) == 0 => watch.forget(SITE),
            13 => mailbox.lock().unwrap().full = random.bool(),
            _ => {
                let time = Duration::from_micros(random.u64(..50_000));
                sim.wait(Some(time), &mut Vec::new()).unwrap();
            }
        }
        reader.read(&sim, &mailbox, &files);
        if random.u8(..30) == 0 {
            mailbox.lock().unwrap().full = false;
            while wait(&mut sim) {
                reader.read(&sim, &mailbox, &files);
            }
            reader.check(&files);
        }
    }
    reader.told
}

#[test]
#[cfg_attr(miri, ignore = "its worlds take many minutes there")]
fn a_seed_replays_and_nothing_is_missed() {
    let lives: Vec<String> = (0..300).map(life).collect();
    let again: Vec<String> = (0..300).map(life).collect();
    assert_eq!(lives, again);
    let any = |what: &str| lives.iter().any(|life| life.contains(what));
    let all = any(" +a/b") && any(" -a/b") && any(" *") && any(" a|x");
    assert!(all, "the runs have reports of every kind");
}
