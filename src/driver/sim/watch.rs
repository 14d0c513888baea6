//! The simulated watcher: it keeps the contract of [`crate::driver::watch`], with latencies and
//! lost reports that the seed determines.
//!
//! It runs inside a [`wait`](crate::driver::Driver::wait), and learns changes from the log of
//! [`Files`]. It processes one request at a time, after a latency, and posts each report some time
//! after the change. So a lookup may see a change before its report, or end before the change is
//! reported. Reports of changes may overtake each other; [`Faults`] decides which are lost. The
//! table of watches, the pending requests and the outbox are the code of the real watcher, not
//! simulated.
//!
//! The thread that waits posts the reports, without the lock of the network, so a post may wake a
//! driver, but must not call this watcher. After a post, accepted or refused, the wait returns as
//! after a wake, so a receiver that was full can make room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::fs::inotify::ReadFlags;

use super::log::NameEvent;
use super::network::{Net, Network};
use super::{Faults, Files, Sim};
use crate::driver::File;
use crate::driver::watch::{
    Change, ChangeReport, Outbox, Post, Requests, Sink, SiteId, WatchEvent, WatchRequest,
    WatchTable, Watcher, ended,
};

#[cfg(test)]
mod tests;

/// The most plans at a time. If there are more, all reports in transit are lost.
const PLANS_MAX: usize = 4096;

/// The handle of a simulated watcher. After it is dropped, nothing is posted.
#[derive(Debug)]
pub struct Watch {
    kernel: Arc<Mutex<Kernel>>,
    net: Arc<Net>,
}

/// The machine's reference to the watcher.
#[derive(Debug, Default)]
pub(super) struct Watching(Weak<Mutex<Kernel>>);

/// The state that the thread of a real watcher has, and the schedule that takes the place of the
/// thread: what it would do, and when.
#[derive(Debug)]
struct Kernel {
    requests: Requests,
    table: WatchTable,
    /// The watch descriptors.
    numbers: Numbers,
    outbox: Outbox,
    schedule: Schedule,
}

/// When the request in progress completes, and when the reports in transit arrive.
#[derive(Debug)]
struct Schedule {
    random: Rng,
    plans: BTreeMap<(Instant, u64), Plan>,
    made: u64,
    /// When the last report that must stay in order arrives.
    ordered: Instant,
    /// When the last report of any kind arrives.
    last: Instant,
    /// A request is in progress: the next one waits.
    busy: bool,
}

#[derive(Debug)]
enum Plan {
    /// Completes a request to watch.
    Watch {
        site: SiteId,
        /// The full name of the root.
        root: Vec<u8>,
        path: Box<[u8]>,
    },
    /// Completes a request to forget a site.
    Forget { site: SiteId },
    /// Puts a report into the outbox.
    Report(ChangeReport),
}

/// The watch descriptors, by the full names of the watched directories.
#[derive(Debug, Default)]
struct Numbers {
    numbers: BTreeMap<Vec<u8>, i32>,
    last: i32,
}

fn lock(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    /// Creates a watcher of this machine's files, which posts to `post` during waits. It replaces
    /// the previous watcher, which posts nothing more. From now on, no
    /// [`Op::Run`](crate::driver::Op::Run) may change the files.
    pub fn watcher(&mut self, post: Post) -> Watch {
        let schedule = Schedule::new(self.random.fork(), self.clock.now().instant);
        let kernel = Arc::new(Mutex::new(Kernel {
            requests: Requests::default(),
            table: WatchTable::default(),
            numbers: Numbers::default(),
            outbox: Outbox::new(post),
            schedule,
        }));
        self.files.log_to(&self.net);
        self.watching = Watching(Arc::downgrade(&kernel));
        Watch { kernel, net: Arc::clone(&self.net) }
    }

    /// Runs the watcher's due plans, without the lock of the network.
    pub(super) fn watch<'a>(
        &self,
        net: &'a Net,
        mut network: MutexGuard<'a, Network>,
    ) -> MutexGuard<'a, Network> {
        network.noted = false;
        let Some(kernel) = self.watching.0.upgrade() else { return network };
        drop(network);
        let posted = lock(&kernel).turn(self.clock.now().instant, &self.faults, &self.files);
        drop(kernel);
        let mut network = net.lock();
        network.woken |= posted;
        network
    }

    /// When the watcher's next work is due, since the start.
    pub(super) fn watch_due(&self) -> Option<Duration> {
        let now = self.clock.now().instant;
        let kernel = self.watching.0.upgrade()?;
        let due = lock(&kernel).due(now)?;
        Some(self.clock.elapsed() + due.saturating_duration_since(now))
    }
}

impl Watcher for Watch {
    /// The root must be a directory of the simulated machine.
    fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool {
        let added = lock(&self.kernel).requests.watch(site, root, path);
        self.net.note();
        added
    }

    fn forget(&mut self, site: SiteId) {
        lock(&self.kernel).requests.forget(site);
        self.net.note();
    }
}

impl Kernel {
    /// Does the work that is due. Returns whether a post was made, accepted or refused.
    fn turn(&mut self, now: Instant, faults: &Faults, files: &Files) -> bool {
        self.read_log(now, faults, files);
        self.begin(now, faults);
        while let Some(plan) = self.schedule.due(now) {
            match plan {
                Plan::Watch { site, root, path } => {
                    self.establish(now, faults, files, (site, &root, &path));
                }
                Plan::Forget { site } => {
                    let Self { table, numbers, .. } = self;
                    table.forget(site, b"", &mut |number| numbers.end(number));
                    self.schedule.report(now, faults, ended(site));
                }
                Plan::Report(ChangeReport::Changed { site, change }) => {
                    self.outbox.changed(site, || change);
                    continue;
                }
                Plan::Report(report) => {
                    self.outbox.push(report);
                    continue;
                }
            }
            self.schedule.busy = false;
            self.begin(now, faults);
        }
        if self.schedule.plans.len() > PLANS_MAX {
            self.lose(self.schedule.sites());
        }
        let posts = !self.outbox.is_empty() && self.outbox.rests_until(now).is_none();
        let lost = self.outbox.post(now);
        self.lose(lost);
        posts
    }

    /// When the next work is due.
    fn due(&self, now: Instant) -> Option<Instant> {
        let plan = self.schedule.plans.keys().next().map(|(due, _)| *due);
        let rest = self.outbox.rests_until(now).unwrap_or(now);
        [plan, (!self.outbox.is_empty()).then_some(rest)].into_iter().flatten().min()
    }

    /// Begins the next request, if none is in progress.
    fn begin(&mut self, now: Instant, faults: &Faults) {
        if self.schedule.busy {
            return;
        }
        let plan = match self.requests.next() {
            None => return,
            Some(WatchRequest::Forget { site }) => Plan::Forget { site },
            Some(WatchRequest::Watch { site, root, path }) => {
                Plan::Watch { site, root: root.as_simulated().name().to_vec(), path }
            }
        };
        self.schedule.busy = true;
        let due = now + self.schedule.latency(faults);
        self.schedule.plan(due, plan);
    }

    /// Reads the log of changes, and plans reports of those that are not lost.
    fn read_log(&mut self, now: Instant, faults: &Faults, files: &Files) {
        let Self { table, numbers, schedule, .. } = self;
        let (logged, overflowed) = files.take_log();
        let mut reported = Reported::default();
        let mut end = Vec::new();
        if overflowed || !logged.is_empty() && schedule.happens(faults.watch_overflow) {
            table.lose(table.sites(), &mut reported, &mut |number| end.push(number));
        }
        for entry in &logged {
            if schedule.happens(faults.watch_lost) {
                continue;
            }
            let (directory, flags, name) = match entry {
                NameEvent::Gone { directory } => (directory, ReadFlags::DELETE_SELF, None),
                NameEvent::Entry { directory, name, moved } => {
                    let flags = if *moved { ReadFlags::CREATE } else { ReadFlags::MODIFY };
                    (directory, flags, Some(&name[..]))
                }
            };
            if let Some(number) = numbers.get(directory) {
                let event = WatchEvent { number, flags, name };
                table.take_in(&event, &mut reported, &mut |number| end.push(number));
            }
        }
        end.into_iter().for_each(|number| numbers.end(number));
        schedule.report(now, faults, reported.0);
    }

    /// Watches a directory and those above it.
    fn establish(
        &mut self,
        now: Instant,
        faults: &Faults,
        files: &Files,
        (site, root, path): (SiteId, &[u8], &[u8]),
    ) {
        if self.table.holds(site, path) {
            return;
        }
        let ends = memchr::memchr_iter(b'/', path).chain([path.len()]);
        for end in (!path.is_empty()).then_some(0).into_iter().chain(ends) {
            let above = &path[..end];
            if self.table.holds(site, above) {
                continue;
            }
            let slash: &[u8] = if root.is_empty() || above.is_empty() { b"" } else { b"/" };
            let name = [root, slash, above].concat();
            let fails = self.table.is_full() || self.schedule.happens(faults.watch_fails);
            if fails || !files.is_directory(&name) {
                let report = ChangeReport::Unwatched { site, path: path.into() };
                return self.schedule.report(now, faults, [report]);
            }
            self.table.add(site, above, self.numbers.of(name));
            let report = ChangeReport::Watched { site, path: above.into() };
            self.schedule.report(now, faults, [report]);
        }
    }

    /// Drops the reports in transit of these sites, and ends their watches.
    fn lose(&mut self, sites: Vec<SiteId>) {
        let Self { table, numbers, outbox, schedule, .. } = self;
        schedule.plans.retain(|_, plan| match plan {
            Plan::Report(report) => !sites.contains(&report.site()),
            Plan::Watch { .. } | Plan::Forget { .. } => true,
        });
        table.lose(sites, outbox, &mut |number| numbers.end(number));
    }
}

impl Schedule {
    fn new(random: Rng, now: Instant) -> Self {
        Self { random, plans: BTreeMap::new(), made: 0, ordered: now, last: now, busy: false }
    }

    fn plan(&mut self, due: Instant, plan: Plan) {
        self.made += 1;
        self.plans.insert((due, self.made), plan);
    }

    /// The next plan, if it is due.
    fn due(&mut self, now: Instant) -> Option<Plan> {
        let entry = self.plans.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Plans the arrival of reports. Changes may overtake each other.
    fn report(
        &mut self,
        now: Instant,
        faults: &Faults,
        reports: impl IntoIterator<Item = ChangeReport>,
    ) {
        for report in reports {
            let mut due = (now + self.latency(faults)).max(self.ordered);
            if !matches!(report, ChangeReport::Changed { .. }) {
                due = due.max(self.last);
                self.ordered = due;
            }
            self.last = self.last.max(due);
            self.plan(due, Plan::Report(report));
        }
    }

    /// The sites with reports in transit.
    fn sites(&self) -> Vec<SiteId> {
        let site = |plan: &Plan| match plan {
            Plan::Report(report) => Some(report.site()),
            Plan::Watch { .. } | Plan::Forget { .. } => None,
        };
        self.plans.values().filter_map(site).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn latency(&mut self, faults: &Faults) -> Duration {
        let max = faults.latency_max.as_nanos() as u64;
        let nanos = if max == 0 { 0 } else { self.random.u64(..max) };
        let times = if self.happens(faults.watch_late) { 100 } else { 1 };
        Duration::from_nanos(nanos) * times
    }

    /// Draws whether an event with this chance, per mille, happens.
    fn happens(&mut self, chance: u16) -> bool {
        chance > 0 && self.random.u16(..1000) < chance
    }
}

impl Numbers {
    fn get(&self, directory: &[u8]) -> Option<i32> {
        self.numbers.get(directory).copied()
    }

    /// The watch descriptor of a directory; a new one if it is not watched yet.
    fn of(&mut self, directory: Vec<u8>) -> i32 {
        let Self { numbers, last } = self;
        *numbers.entry(directory).or_insert_with(|| {
            *last += 1;
            *last
        })
    }

    fn end(&mut self, number: i32) {
        self.numbers.retain(|_, other| *other != number);
    }
}

/// Collects reports, to plan their arrival.
#[derive(Debug, Default)]
struct Reported(Vec<ChangeReport>);

impl Sink for Reported {
    fn push(&mut self, report: ChangeReport) {
        self.0.push(report);
    }

    fn changed(&mut self, site: SiteId, change: impl FnOnce() -> Change) {
        self.0.push(ChangeReport::Changed { site, change: change() });
    }

    fn lose(&mut self, site: SiteId) {
        self.0.extend(ended(site));
    }
}
