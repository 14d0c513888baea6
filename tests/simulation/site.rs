//! The site of a world of HTTP: files that change, and an oracle that knows the content of each
//! name at each time.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::sim::Files;
use ringd::http::HttpSettings;

use crate::answer::Answer;
use crate::client::Client;
use crate::requests::{Expect, NAMES, Request, THERE};
use crate::tables::{SETTINGS, Tables};
use crate::wish::{CODED, PLAIN, Wish, form};
use crate::world::{Conditions, Run};

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

/// See the module documentation.
pub(crate) struct Site {
    history: BTreeMap<&'static str, Vec<Version>>,
    /// Whether files change.
    changes: bool,
    /// Whether a file was truncated while it may have been in transit.
    pub(crate) cuts: bool,
    sizes: Vec<usize>,
    memory_file_max: u64,
    cache_entries: usize,
    watch: Watch,
    revalidate: Duration,
    /// The tables of sites that the server was sent.
    pub(crate) tables: Tables,
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

impl Site {
    /// The site of a world, without its files.
    pub(crate) fn draw(random: &mut Rng, conditions: &Conditions) -> Self {
        // If bytes move one by one, less content takes the same number of steps.
        let size_max = conditions.faults.piece_max.saturating_mul(400).min(200_000);
        let sizes = [0, 1, 100, 8192, 8193, 60_000, 200_000];
        let site = Self {
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
        Self { watch, revalidate, tables, ..site }
    }

    /// Writes the files that are there at the beginning.
    pub(crate) fn write_first(&mut self, random: &mut Rng, files: &Files) {
        // Keeps the directory in existence, whatever else is removed.
        files.write("folder/kept", b"");
        for name in &NAMES[..THERE] {
            self.replace(random, Duration::ZERO, name, files);
        }
    }

    /// The settings of the server on this machine.
    pub(crate) fn settings(&self, files: &Files) -> HttpSettings {
        HttpSettings {
            memory_file_max: self.memory_file_max,
            cache_entries: self.cache_entries,
            cache_bytes: 300_000,
            revalidate_after: self.revalidate,
            watch: self.watch != Watch::No,
            ..HttpSettings::new(self.tables.present(files))
        }
    }

    /// Changes a file; returns when to be called again.
    pub(crate) fn disturb(&mut self, random: &mut Rng, now: Duration, files: &Files) -> Duration {
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

    /// Checks a whole answer; returns whether it reports a fault.
    pub(crate) fn judge_answer(
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
    pub(crate) fn judge_part(
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
