//! Reports that wait to be posted, and what happens when they are too many or are refused.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use super::{BATCH_MAX, CHANGES_MAX, Change, ChangeReport, Post, REST, Sink, SiteId};

/// The queue of reports on their way to [`Post`].
pub(crate) struct Outbox {
    post: Post,
    /// In order; at most [`CHANGES_MAX`] of them are changes.
    reports: Vec<ChangeReport>,
    changes: usize,
    /// Sites with more changes than that: [`Change::Everything`] is reported for them at the end.
    whole: BTreeSet<SiteId>,
    /// Sites whose reports were lost, as long as the loss itself is not reported.
    lost: BTreeSet<SiteId>,
    /// Nothing is posted before this time.
    rests_until: Option<Instant>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Outbox");
        shown.field("reports", &self.reports.len()).field("lost", &self.lost);
        shown.finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty outbox.
    pub(crate) fn new(post: Post) -> Self {
        let (whole, lost) = (BTreeSet::new(), BTreeSet::new());
        Self { post, reports: Vec::new(), changes: 0, whole, lost, rests_until: None }
    }

    /// Whether there is room for the answers to a request. This alone does not bound them, but no
    /// request causes more answers than there are watches.
    pub(crate) fn has_room(&self) -> bool {
        self.reports.len() < BATCH_MAX
    }

    /// Replaces the changes that wait by [`Change::Everything`] for their sites.
    fn summarise(&mut self) {
        let Self { reports, whole, .. } = self;
        reports.retain(|report| {
            let is_change = matches!(report, ChangeReport::Changed { .. });
            if is_change {
                whole.insert(report.site());
            }
            !is_change
        });
        self.changes = 0;
    }

    /// When the rest ends, if there is one.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// Begins a rest, although nothing was posted.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.rests_until = Some(now + REST);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.whole.is_empty() && self.lost.is_empty()
    }

    /// Posts what waits, unless there is a rest. Returns the sites whose reports were refused; the
    /// caller must end their watches.
    pub(crate) fn post(&mut self, now: Instant) -> Vec<SiteId> {
        if self.is_empty() || self.rests_until(now).is_some() {
            return Vec::new();
        }
        self.rest(now);
        if !self.report_losses() {
            return Vec::new();
        }
        let everything = |site| ChangeReport::Changed { site, change: Change::Everything };
        let mut reports = std::mem::take(&mut self.reports);
        reports.extend(std::mem::take(&mut self.whole).into_iter().map(everything));
        self.changes = 0;
        let mut left = reports.into_iter();
        loop {
            let batch: Vec<ChangeReport> = left.by_ref().take(BATCH_MAX).collect();
            if batch.is_empty() {
                return Vec::new();
            }
            if let Err(refused) = (self.post)(batch) {
                self.lost = refused.iter().chain(left.as_slice()).map(ChangeReport::site).collect();
                return self.lost.iter().copied().collect();
            }
        }
    }

    /// Reports all losses; returns whether that succeeded.
    fn report_losses(&mut self) -> bool {
        while !self.lost.is_empty() {
            let sites: Vec<SiteId> = self.lost.iter().copied().take(BATCH_MAX / 2).collect();
            let batch = sites.iter().flat_map(|site| ended(*site)).collect();
            if (self.post)(batch).is_err() {
                return false;
            }
            self.lost.retain(|site| !sites.contains(site));
        }
        true
    }
}

impl Sink for Outbox {
    /// Adds a report that is not a change, and so keeps its place.
    fn push(&mut self, report: ChangeReport) {
        self.reports.push(report);
    }

    /// Adds a change, unless a report that waits covers it.
    fn changed(&mut self, site: SiteId, change: impl FnOnce() -> Change) {
        if self.whole.contains(&site) {
            return;
        }
        let report = ChangeReport::Changed { site, change: change() };
        if self.reports.last() == Some(&report) {
            return;
        }
        self.reports.push(report);
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            self.summarise();
        }
    }

    /// Drops the reports that wait for a site. Its end and [`Change::Everything`] are reported
    /// before all others.
    fn lose(&mut self, site: SiteId) {
        self.reports.retain(|report| report.site() != site);
        let is_change = |report: &&ChangeReport| matches!(report, ChangeReport::Changed { .. });
        self.changes = self.reports.iter().filter(is_change).count();
        self.whole.remove(&site);
        self.lost.insert(site);
    }
}

/// The two reports that end all watches of a site: nothing of it is watched any more, and anything
/// may have changed.
pub(crate) fn ended(site: SiteId) -> [ChangeReport; 2] {
    [
        ChangeReport::Unwatched { site, path: [].into() },
        ChangeReport::Changed { site, change: Change::Everything },
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const SITE: SiteId = SiteId(1);

    /// Batches, and the number of batches to accept.
    type Posted = Arc<Mutex<(usize, Vec<Vec<ChangeReport>>)>>;

    fn outbox() -> (Outbox, Posted) {
        let posted = Arc::new(Mutex::new((usize::MAX, Vec::new())));
        let its = Arc::clone(&posted);
        let post = Box::new(move |batch: Vec<ChangeReport>| {
            let (room, batches) = &mut *its.lock().unwrap();
            if batches.len() >= *room {
                return Err(batch);
            }
            batches.push(batch);
            Ok(())
        });
        (Outbox::new(post), posted)
    }

    fn change(number: usize) -> Change {
        let name = number.to_string().into_bytes().into();
        Change::Entry { directory: [].into(), name, beneath: false }
    }

    fn watched(number: usize) -> ChangeReport {
        ChangeReport::Watched { site: SITE, path: number.to_string().into_bytes().into() }
    }

    #[test]
    fn the_first_report_is_posted_at_once_and_the_next_after_a_rest() {
        let (mut outbox, posted) = outbox();
        let start = Instant::now();
        let count = || posted.lock().unwrap().1.len();
        outbox.post(start);
        assert_eq!((count(), outbox.rests_until(start)), (0, None), "there was nothing");
        outbox.changed(SITE, || change(1));
        outbox.post(start);
        assert_eq!((count(), outbox.rests_until(start)), (1, Some(start + REST)));
        outbox.changed(SITE, || change(2));
        outbox.post(start + REST / 2);
        assert_eq!((count(), outbox.is_empty()), (1, false));
        outbox.post(start + REST);
        assert_eq!((count(), outbox.is_empty()), (2, true));
    }

    #[test]
    fn too_many_changes_become_everything() {
        let (mut outbox, posted) = outbox();
        let everything = |site| ChangeReport::Changed { site, change: Change::Everything };
        outbox.changed(SiteId(2), || change(0));
        for number in 0..10 * CHANGES_MAX {
            if number == CHANGES_MAX / 2 || number == CHANGES_MAX * 2 {
                outbox.push(watched(number));
            }
            outbox.changed(SITE, || change(number));
            assert!(outbox.reports.len() <= CHANGES_MAX + 2);
        }
        outbox.post(Instant::now());
        let numbers = [CHANGES_MAX / 2, CHANGES_MAX * 2].map(watched);
        let expected = [&numbers[..], &[everything(SITE), everything(SiteId(2))]].concat();
        assert_eq!(posted.lock().unwrap().1, [expected]);
        // It starts anew.
        outbox.changed(SITE, || change(1));
        outbox.changed(SITE, || change(1));
        outbox.post(Instant::now() + REST);
        let one = ChangeReport::Changed { site: SITE, change: change(1) };
        assert_eq!(posted.lock().unwrap().1[1], [one], "a repetition is reported once");
    }

    #[test]
    fn a_loss_is_reported_before_all_others() {
        let (mut outbox, posted) = outbox();
        let mut now = Instant::now();
        posted.lock().unwrap().0 = 1;
        for number in 0..BATCH_MAX {
            outbox.push(watched(number));
        }
        let other = |number| ChangeReport::Watched { site: SiteId(number), path: [].into() };
        let sites = 2..2 + 2 * BATCH_MAX as u16;
        sites.clone().for_each(|number| outbox.push(other(number)));
        assert!(!outbox.has_room());
        let lost: Vec<u16> = outbox.post(now).iter().map(|site| site.0).collect();
        assert_eq!(lost, sites.clone().collect::<Vec<_>>());
        for _ in 0..3 {
            now += REST;
            outbox.push(watched(7));
            assert_eq!(outbox.post(now), []);
        }
        assert_eq!(posted.lock().unwrap().1.len(), 1);
        posted.lock().unwrap().0 = usize::MAX;
        outbox.post(now + REST);
        let batches = posted.lock().unwrap().1.split_off(1);
        assert!(batches.iter().all(|batch| batch.len() <= BATCH_MAX));
        let told = batches.concat();
        let expected = sites.flat_map(|number| ended(SiteId(number)));
        assert_eq!(told, expected.chain(vec![watched(7); 3]).collect::<Vec<_>>());
        assert!(outbox.is_empty());
    }
}
