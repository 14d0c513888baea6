//! Random order of changes, requests, cancellations, replies and reports: no session gets a result
//! that is too old, and every session gets a result.

use std::time::Instant;

use super::*;

const FILES: [&str; 2] = ["a.txt", "b.txt"];
const LOOKUPS_MAX: u32 = 2;

/// A session that waits for a file, and the oldest version that it may get.
#[derive(Debug)]
struct Asker {
    waiting: WaitingSession,
    file: usize,
    oldest: usize,
}

#[derive(Debug)]
struct World {
    folder: TempDir,
    site: TestSite,
    /// When each version of each file was written. The length of a file is unique for its version.
    versions: [Vec<Instant>; 2],
    /// The last version of each file whose change was reported.
    reported: [usize; 2],
    /// Files whose last changes were not reported yet.
    unreported: Vec<usize>,
    /// Replies that were not delivered yet.
    late: Vec<(AskId, Reply)>,
    askers: Vec<Asker>,
    /// How many sessions got a result.
    told: usize,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        (settings.revalidate_after, settings.lookups_max) = (SECOND, LOOKUPS_MAX);
        let site = TestSite::new(settings);
        let (versions, reported, unreported) = ([Vec::new(), Vec::new()], [0; 2], Vec::new());
        let (late, askers, told) = (Vec::new(), Vec::new(), 0);
        let mut world = Self { folder, site, versions, reported, unreported, late, askers, told };
        (0..FILES.len()).for_each(|file| world.change(file));
        world
    }

    fn change(&mut self, file: usize) {
        let version = self.versions[file].len();
        write_page(self.folder.path(), FILES[file], 10_000 + version);
        self.versions[file].push(self.site.now.instant);
        self.unreported.push(file);
    }

    fn report(&mut self) {
        for file in self.unreported.drain(..) {
            self.reported[file] = self.versions[file].len() - 1;
            self.site.receive([watched::changed(FILES[file])]);
        }
    }

    /// The oldest version that a session may get now: the one of two seconds ago, or the last one
    /// that was reported.
    fn oldest(&self, file: usize) -> usize {
        let since = self.site.now.instant - 2 * SECOND;
        let version = self.versions[file].iter().rposition(|written| *written <= since);
        version.unwrap_or(0).max(self.reported[file])
    }

    fn ask(&mut self, file: usize) {
        let oldest = self.oldest(file);
        let name = ResourceName::Target { path: FILES[file].as_bytes(), directory: false };
        match self.site.find(&name) {
            Ok(found) => self.check(file, oldest, found),
            Err(waiting) => self.askers.push(Asker { waiting, file, oldest }),
        }
        self.site.poll();
    }

    fn check(&mut self, file: usize, oldest: usize, found: Resolved) {
        self.told += 1;
        if let Resolved::Resource(resource) = found {
            let version = length_of(&resource) as usize - 10_000;
            assert!(version >= oldest, "version {version} of {file} is older than {oldest}");
        }
    }

    fn perform(&mut self, place: usize, fails: bool) {
        if self.site.open.is_empty() {
            return;
        }
        let (id, ask) = self.site.open.remove(place % self.site.open.len());
        let shortage = || io::Error::from_raw_os_error(libc::EMFILE);
        let reply = if fails { Reply::Opened(Err(shortage())) } else { perform(ask) };
        self.late.push((id, reply));
    }

    fn reply(&mut self, place: usize) {
        if self.late.is_empty() {
            return;
        }
        let (id, reply) = self.late.remove(place % self.late.len());
        self.site.reply(id, reply);
        for (session, found) in std::mem::take(&mut self.site.told) {
            let is_it = |asker: &Asker| asker.waiting.session == session;
            let place =
                self.askers.iter().position(is_it).expect("only sessions that wait are told");
            let Asker { file, oldest, .. } = self.askers.swap_remove(place);
            self.check(file, oldest, found);
        }
    }

    fn leave(&mut self, place: usize) {
        if !self.askers.is_empty() {
            let asker = self.askers.swap_remove(place % self.askers.len());
            self.site.leave(asker.waiting);
        }
    }

    fn take_step(&mut self, random: &mut fastrand::Rng) {
        let (file, place) = (random.usize(..FILES.len()), random.usize(..64));
        match random.u8(..32) {
            0 => self.change(file),
            1 => self.report(),
            2..8 => self.ask(file),
            8..18 => self.perform(place, random.u8(..40) == 0),
            18..28 => self.reply(place),
            28 => self.leave(place),
            _ => self.site.now.instant += Duration::from_millis(random.u64(..400)),
        }
        let open = self.site.open.len() + self.late.len();
        assert!(open <= LOOKUPS_MAX as usize * AT_ONCE, "{open} questions are open");
    }

    /// Replies to all questions. Then every session must have its result.
    fn end(&mut self) {
        while !self.site.open.is_empty() || !self.late.is_empty() {
            self.perform(0, false);
            self.reply(0);
        }
        assert!(self.askers.is_empty(), "{:?}", self.askers);
    }
}

#[test]
fn no_session_gets_a_result_that_is_too_old() {
    let mut told = 0;
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        (0..600).for_each(|_| world.take_step(&mut random));
        world.end();
        told += world.told;
    }
    assert!(told > 2000, "only {told} sessions got a result");
}
