//! A driver that logs its ops and completions: `--trace`.
//!
//! [`Trace`] wraps any driver and is a driver itself, so it sees exactly what passes through the
//! contract, and costs nothing if it is not used. It writes a line for each op submitted,
//! completion, cancel and wait. Waits without completions share one line, written when something
//! follows. The lines of a wait are written out together, before the next wait begins.
//!
//! The line of a wait shows where the I/O models differ: how many system calls were made since the
//! wait before, how many ops went to the kernel without one, how often the kernel returned "would
//! block", and the system calls by name. A readiness driver learns that it may try, and tries; a
//! completion driver gets the result. A helper is a thread that the driver has started.
//!
//! A [`TraceRecord`] takes the same as data: `ringd tour` draws it.

mod record;
mod text;

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_log::{CallLog, Caller, Calls, MadeCall, count};
use super::{
    Completion, Driver, DriverStats, Now, Op, OpId, Outcome, Sock, SocketAddress, Token, Waker,
};
use crate::line_log::{LineLog, LogSettings};

pub use record::{TraceEvent, TraceRecord, TraceWait};

/// The first lines of a trace.
const LEGEND: &str = "\
# -> an op is submitted    <- it completes (more: it goes on)    -x a cancel
# == a wait: its duration and its completions; and since the wait before: system calls,
#    submissions without a system call of their own (io_uring), \"would block\" results, and the
#    system calls by name; of a helper, a thread of the driver that blocks in its place;
#    what was submitted to the ring
# .. why the driver does that
# connection 0#2 is the second connection in slot 0
#  time, ms     who               what
";

/// A trace may be long, and its reader should miss nothing while it pauses.
const LOG: LogSettings = LogSettings { thread: "trace", mark: "# ", waiting_max: 1 << 20 };

/// Writes the traces of several drivers to one place, with one clock. Its clones do the same.
#[derive(Clone, Debug)]
pub struct Tracer {
    to: TraceTarget,
    begun: Instant,
}

/// Where a trace goes.
#[derive(Clone, Debug)]
enum TraceTarget {
    Log(Arc<LineLog>),
    Record(TraceRecord),
}

impl Tracer {
    /// Writes the legend to `to`, and then what the drivers do. If `to` blocks, the drivers do not;
    /// if it fails, the trace ends and the drivers continue.
    ///
    /// # Errors
    ///
    /// If no thread can be started to write from.
    pub fn to(to: impl io::Write + Send + 'static) -> io::Result<Self> {
        let log = LineLog::new(LOG, to)?;
        log.append(LEGEND);
        Ok(Self { to: TraceTarget::Log(Arc::new(log)), begun: Instant::now() })
    }

    /// Keeps what the drivers do, as data.
    pub fn recording(record: TraceRecord) -> Self {
        Self { to: TraceTarget::Record(record), begun: Instant::now() }
    }

    /// Notes the system calls of this thread, and of those that it starts from now on. To be called
    /// before the thread opens the driver that is to be traced, since that may start threads.
    pub fn watch_thread(&self) {
        CallLog::of_this_thread();
    }

    /// Traces a driver. `name` describes a token. `label` starts each line, to distinguish several
    /// drivers.
    pub fn trace(&self, driver: impl Driver, label: String, name: TokenName) -> Trace {
        Trace {
            counted: driver.stats(),
            driver: Box::new(driver),
            tracer: self.clone(),
            name,
            label,
            lines: String::new(),
            quiet: None,
            calls: CallLog::of_this_thread(),
            live: HashMap::new(),
        }
    }
}

/// Describes a token in a few characters; only the caller knows what its tokens mean.
pub type TokenName = fn(Token) -> String;

/// A driver that is traced; see the module documentation.
pub struct Trace {
    /// Boxed: a trace costs far more than the indirection, and with one type of traced driver, the
    /// code above it is not compiled twice for each driver.
    driver: Box<dyn Driver>,
    tracer: Tracer,
    name: TokenName,
    label: String,
    /// Lines that are not yet in the log.
    lines: String,
    /// Waits without completions, not yet written.
    quiet: Option<Waited>,
    /// The system calls of this thread and of the helpers.
    calls: CallLog,
    /// The driver's statistics at the last line of a wait.
    counted: DriverStats,
    /// The ops in flight, to name them when they are cancelled.
    live: HashMap<(Token, &'static str), OpId>,
}

/// One wait, or several without completions.
#[derive(Debug)]
struct Waited {
    waits: u32,
    /// When the last of them ended.
    until: Instant,
    took: Duration,
    completions: usize,
    /// The driver's statistics at that time.
    stats: DriverStats,
    /// The system calls since the wait before.
    calls: Calls,
}

impl Trace {
    /// Writes a line: time, subject and event.
    fn line(&mut self, at: Instant, mark: &str, who: &str, what: &str) {
        let time = at.duration_since(self.tracer.begun).as_secs_f64() * 1e3;
        let label = &self.label;
        let from = self.lines.len();
        // Writing to a string cannot fail.
        let _ = write!(self.lines, "{time:>11.3} {label}{mark} {who:<17} {what}");
        self.lines.truncate(from + self.lines[from..].trim_end().len());
        self.lines.push('\n');
    }

    fn line_of_wait(&mut self, waited: Waited) {
        let Waited { waits, until, took, completions, stats, calls } = waited;
        let before = std::mem::replace(&mut self.counted, stats);
        if let TraceTarget::Record(record) = &self.tracer.to {
            let would_block = stats.would_block - before.would_block;
            return record.add(TraceEvent::Waited(TraceWait {
                waits,
                until,
                took,
                completions,
                would_block,
                calls: calls.last.into(),
                earlier: calls.earlier,
            }));
        }
        let who = if waits == 1 { "wait".to_owned() } else { format!("{waits} waits") };
        let took = took.as_secs_f64() * 1e3;
        let mut what = format!("{took:>9.3} ms  completions {completions:>2}");
        let counts = [
            ("calls", stats.system_calls - before.system_calls, true),
            ("submissions", stats.submissions - before.submissions, true),
            ("would block", stats.would_block - before.would_block, true),
            ("buffer waits", stats.buffer_waits - before.buffer_waits, false),
            ("refused", stats.refused - before.refused, false),
        ];
        for (name, count, always) in counts {
            if always {
                let _ = write!(what, "  {name} {count:>2}");
            } else if count > 0 {
                let _ = write!(what, "  {name} {count}");
            }
        }
        what += &text::names(&calls, stats.system_calls - before.system_calls);
        self.line(until, "==", &who, &what);
    }

    /// Writes the line of waits without completions, because something follows.
    fn write_quiet(&mut self) {
        if let Some(quiet) = self.quiet.take() {
            self.line_of_wait(quiet);
        }
    }

    fn waited(&mut self, began: Instant, completions: usize) {
        let (until, stats) = (Instant::now(), self.driver.stats());
        let calls = self.calls.take();
        let mut waited = Waited { waits: 1, until, took: until - began, completions, stats, calls };
        if completions > 0 {
            self.write_quiet();
            return self.line_of_wait(waited);
        }
        if let Some(quiet) = self.quiet.take() {
            waited.waits = quiet.waits.saturating_add(1);
            waited.took += quiet.took;
            waited.calls = quiet.calls.then(waited.calls);
        }
        self.quiet = Some(waited);
    }

    fn completed(&mut self, completion: &Completion) {
        let Completion { token, more, outcome } = completion;
        let op = text::op_of(outcome);
        if !more {
            self.live.remove(&(*token, op));
        }
        let mut what = match outcome {
            // The address is only for convenience. A peer that has disconnected has none.
            Outcome::Accepted(Ok(sock)) => match self.driver.peer(*sock) {
                Ok(peer) => format!("{op:<7} {peer}"),
                Err(_) => format!("{op:<7} a peer that is gone"),
            },
            outcome => format!("{op:<7} {}", text::result(outcome)),
        };
        what += if *more { ", more" } else { "" };
        let who = if *token == Token::WAKE { String::new() } else { (self.name)(*token) };
        let at = Instant::now();
        self.line(at, "<-", &who, &what);
        if let TraceTarget::Record(record) = &self.tracer.to {
            record.add(TraceEvent::Completed { at, op, what });
        }
    }

    /// Writes why the driver does what it does.
    fn remark(&mut self) {
        for remark in self.calls.take_remarks() {
            self.line(Instant::now(), "..", "", remark);
        }
    }

    /// Passes the lines to the log.
    fn flush(&mut self) {
        if let TraceTarget::Log(log) = &self.tracer.to {
            log.append(&self.lines);
        }
        self.lines.clear();
    }
}

impl super::sealed::Sealed for Trace {}

impl Driver for Trace {
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock> {
        self.driver.adopt(socket)
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        self.driver.set_joint(listener, joint);
    }

    fn duplicate(&self, listener: Sock) -> io::Result<OwnedFd> {
        self.driver.duplicate(listener)
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.write_quiet();
        let name = text::op(&op);
        let what = format!("{name:<7} {}", text::request(&op));
        let who = (self.name)(token);
        let at = Instant::now();
        self.line(at, "->", &who, &what);
        if let TraceTarget::Record(record) = &self.tracer.to {
            record.add(TraceEvent::Submitted { at, op: name, what });
        }
        let id = self.driver.submit(token, op);
        self.remark();
        self.live.insert((token, name), id);
        id
    }

    fn cancel(&mut self, op: OpId) {
        self.write_quiet();
        let named = self.live.iter().find(|(_, id)| **id == op).map(|(named, _)| *named);
        match named {
            Some((token, name)) => {
                let who = (self.name)(token);
                self.line(Instant::now(), "-x", &who, name);
            }
            None => self.line(Instant::now(), "-x", "", "an op that has ended"),
        }
        self.driver.cancel(op);
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.flush();
        let before = out.len();
        let began = Instant::now();
        let result = self.driver.wait(timeout, out);
        self.waited(began, out.len() - before);
        for completion in &out[before..] {
            self.completed(completion);
        }
        if let Err(error) = &result {
            self.write_quiet();
            self.line(Instant::now(), "==", "wait", &text::error(error));
        }
        result
    }

    fn waker(&self) -> Waker {
        self.driver.waker()
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        self.driver.acknowledged(sock)
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        self.driver.peer(sock)
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        self.driver.set_pace(sock, rate)
    }

    fn has_input(&self, sock: Sock) -> bool {
        self.driver.has_input(sock)
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        self.driver.local(sock)
    }

    fn now(&self) -> Now {
        self.driver.now()
    }

    fn in_flight(&self) -> usize {
        self.driver.in_flight()
    }

    fn leased(&self) -> usize {
        self.driver.leased()
    }

    fn stats(&self) -> DriverStats {
        self.driver.stats()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.write_quiet();
        self.flush();
    }
}

#[cfg(test)]
mod tests;
