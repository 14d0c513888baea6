//! One exchange with one driver, and what the driver did in it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::driver::{
    Caller, DriverKind, DriverSelection, File, Links, MadeCall, TraceEvent, TraceRecord, Tracer,
};
use crate::http::{HttpSettings, SiteSettings};
use crate::serve;
use crate::server::ServerSettings;

/// The sizes of the files: one that is served from memory, and one that is not.
pub(super) const PAGE_BYTES: usize = 1000;
pub(super) const LARGE_BYTES: usize = 256 * 1024;

/// How long the driver must do nothing before a step counts as ended.
const QUIET: Duration = Duration::from_millis(40);

/// The longest that a step may take.
const STEP_MAX: Duration = Duration::from_secs(10);

/// The steps of the exchange, in order.
pub(super) const STEPS: [&str; 5] = [
    "a client connects",
    "it asks for a page of 1,000 bytes, which is not in the cache yet",
    "again, on the same connection: the page is in the cache",
    "a file of 256 KiB",
    "the client closes",
];

/// What is served.
#[derive(Debug)]
pub(super) struct Site {
    folder: TempDir,
}

impl Site {
    pub(super) fn make() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("page.html"), [b'p'; PAGE_BYTES])?;
        std::fs::write(folder.path().join("large.bin"), vec![b'l'; LARGE_BYTES])?;
        Ok(Self { folder })
    }
}

/// What a driver did.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) kind: DriverKind,
    /// One entry for each of [`STEPS`]; or why the driver does not work here.
    pub(super) result: io::Result<Vec<StepSeen>>,
}

/// What a driver did in one step.
#[derive(Clone, Debug)]
pub(super) struct StepSeen {
    /// When the client began it.
    pub(super) begun: Instant,
    /// When the last completion came.
    pub(super) ended: Instant,
    /// The ops that were submitted, in order.
    pub(super) ops: Vec<&'static str>,
    /// The system calls that ended in this step.
    pub(super) calls: Vec<MadeCall>,
}

impl StepSeen {
    /// The calls in which threads waited when the step began.
    pub(super) fn waits(&self) -> impl Iterator<Item = &MadeCall> {
        self.calls.iter().filter(|call| call.began + QUIET / 4 < self.begun)
    }

    /// How long the driver was busy with the step: until the last call that ended in it.
    pub(super) fn busy(&self) -> Duration {
        let last = self.calls.iter().map(|call| call.ended).max();
        last.unwrap_or(self.ended).saturating_duration_since(self.begun)
    }

    /// How often a call was made, or an operation submitted to the ring.
    pub(super) fn count(&self, name: &str, is_of_ring: bool) -> usize {
        let is_it = |call: &&MadeCall| call.name == name && (call.by == Caller::Ring) == is_of_ring;
        self.calls.iter().filter(is_it).count()
    }
}

/// Runs the exchange with a driver, several times, and keeps the quickest: in the others, threads
/// have lost their CPU to other programs.
pub(super) fn observe(kind: DriverKind, site: &Site, times: usize) -> Observed {
    let took = |steps: &Vec<StepSeen>| steps.iter().map(StepSeen::busy).sum::<Duration>();
    let results = (0..times).map(|_| run(kind, site));
    let best = results.min_by_key(|result| result.as_ref().map_or(Duration::MAX, took));
    Observed { kind, result: best.unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into())) }
}

fn run(kind: DriverKind, site: &Site) -> io::Result<Vec<StepSeen>> {
    let selection = DriverSelection::make(Some(kind))?;
    let root = File::open_root(site.folder.path(), Links::Beneath)?;
    let record = TraceRecord::default();
    let settings = ServerSettings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        workers: 1,
        connections_max: 16,
        trace: Some(Tracer::recording(record.clone())),
        ..ServerSettings::default()
    };
    let sites = HttpSettings::new(SiteSettings::new(Arc::new(root)));
    let server = serve::http(&settings, sites, selection).map_err(io::Error::other)?.server;
    let address = server.addresses()[0].socket_addr().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let seen = converse(address, &record);
    server.stop()?;
    let (begins, mut events) = seen?;
    events.extend(record.take());
    Ok(steps(kind, &begins, &events))
}

/// Makes the exchange; returns when each step began, the last time is the end, and what happened.
fn converse(
    address: SocketAddr,
    record: &TraceRecord,
) -> io::Result<(Vec<Instant>, Vec<TraceEvent>)> {
    let (mut begins, mut events) = (Vec::new(), Vec::new());
    let is_submitted = |name| {
        move |event: &TraceEvent| match event {
            TraceEvent::Submitted { op, .. } => *op == name,
            _ => false,
        }
    };
    let is_completed = |name| {
        move |event: &TraceEvent| match event {
            TraceEvent::Completed { op, .. } => *op == name,
            _ => false,
        }
    };
    settle(record, &mut events, is_submitted("accept"))?;
    begins.push(Instant::now());
    let mut client = TcpStream::connect_timeout(&address, STEP_MAX)?;
    client.set_read_timeout(Some(STEP_MAX))?;
    client.set_nodelay(true)?;
    settle(record, &mut events, is_submitted("recv"))?;
    for (path, bytes) in
        [("page.html", PAGE_BYTES), ("page.html", PAGE_BYTES), ("large.bin", LARGE_BYTES)]
    {
        begins.push(Instant::now());
        write!(client, "GET /{path} HTTP/1.1\r\nHost: tour\r\n\r\n")?;
        read_answer(&mut client, bytes)?;
        settle(record, &mut events, is_completed("send"))?;
    }
    begins.push(Instant::now());
    client.shutdown(Shutdown::Both)?;
    drop(client);
    settle(record, &mut events, is_completed("close"))?;
    begins.push(Instant::now());
    Ok((begins, events))
}

/// Reads a head, and a body of this size behind it.
fn read_answer(client: &mut TcpStream, bytes: usize) -> io::Result<()> {
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        match client.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        whole = whole.or(head.map(|head| head + 4 + bytes));
    }
    Ok(())
}

/// Waits until the event that ends a step has come, and the driver does nothing more.
fn settle(
    record: &TraceRecord,
    events: &mut Vec<TraceEvent>,
    is_end: impl Fn(&TraceEvent) -> bool,
) -> io::Result<()> {
    let begun = Instant::now();
    let (mut quiet_since, mut has_ended) = (Instant::now(), false);
    while !has_ended || quiet_since.elapsed() < QUIET {
        if begun.elapsed() > STEP_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a step took too long"));
        }
        thread::sleep(QUIET / 8);
        let more = record.take();
        if !more.is_empty() {
            quiet_since = Instant::now();
        }
        has_ended |= more.iter().any(&is_end);
        events.extend(more);
    }
    Ok(())
}

/// Assigns what happened to the steps.
fn steps(kind: DriverKind, begins: &[Instant], events: &[TraceEvent]) -> Vec<StepSeen> {
    let windows = begins.windows(2).map(|pair| pair[0]..pair[1]);
    windows.map(|window| step(kind, window, events)).collect()
}

fn step(kind: DriverKind, window: Range<Instant>, events: &[TraceEvent]) -> StepSeen {
    let mut seen =
        StepSeen { begun: window.start, ended: window.start, ops: Vec::new(), calls: Vec::new() };
    for event in events {
        match event {
            TraceEvent::Submitted { at, op, .. } if window.contains(at) => {
                seen.ops.push(*op);
                seen.ended = *at;
            }
            TraceEvent::Completed { at, .. } if window.contains(at) => seen.ended = *at,
            _ => {}
        }
    }
    // A driver that spins makes calls all the time: those that follow the last completion are not
    // of this step. Others end their steps with the attempt that finds nothing more.
    let until = if kind == DriverKind::Spin { seen.ended } else { window.end };
    let calls = events.iter().filter_map(|event| match event {
        TraceEvent::Waited(wait) => Some(&wait.calls),
        _ => None,
    });
    let is_of_step = |call: &&MadeCall| (window.start..until).contains(&call.ended);
    seen.calls = calls.flatten().filter(is_of_step).copied().collect();
    seen.calls.sort_by_key(|call| call.ended);
    seen
}
