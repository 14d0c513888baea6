//! The server under test: a process of its own, so that its CPU time is its own.
//!
//! ```text
//! ringd bench  -- a line: "report" -->  ringd bench-server
//!              <-- a line: JSON -----
//! ```
//!
//! The child says where it listens, answers each line with its counters, and drains when its
//! standard input ends. So it ends with its parent, however that ends.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::driver::DriverSelection;
use crate::http::SiteSettings;
use crate::serve::{self, HttpServer};
use crate::server::ServerSettings;

/// What the child says first.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    address: SocketAddr,
    driver: String,
}

/// What a server has spent since it began.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(super) struct Spent {
    /// CPU time of all its threads.
    pub(super) cpu_nanoseconds: u64,
    /// System calls, if it counts them.
    pub(super) system_calls: Option<u64>,
    /// Submissions to io_uring, if it counts them.
    pub(super) submissions: Option<u64>,
}

/// A child that serves.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    /// Closed to end it.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    greeting: Greeting,
}

impl Child {
    /// Starts a server with these arguments of `ringd serve`, on these cores if they are named.
    ///
    /// # Errors
    ///
    /// When it does not start; it has said why on standard error.
    pub(super) fn start(arguments: &[OsString], cores: &[usize]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bench-server").args(arguments);
        for core in cores {
            command.arg("--core").arg(core.to_string());
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut output = BufReader::new(output);
        match read_line(&mut output) {
            Ok(greeting) => Ok(Self { process, input, output, greeting }),
            Err(error) => {
                drop(input);
                let status = process.wait()?;
                Err(io::Error::new(error.kind(), format!("the server did not start: {status}")))
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.greeting.address
    }

    /// The driver that it runs on.
    pub(super) fn driver(&self) -> &str {
        &self.greeting.driver
    }

    /// What it has spent so far.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn spent(&mut self) -> io::Result<Spent> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(b"report\n")?;
        read_line(&mut self.output)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        // It drains, and every wait of a drain is bounded.
        let _ = self.process.wait();
    }
}

fn read_line<T: for<'de> Deserialize<'de>>(output: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// The child's side: serves with these settings until standard input ends.
///
/// # Errors
///
/// When the server does not start, or ends on its own.
pub fn serve(
    settings: &ServerSettings,
    site: SiteSettings,
    selection: DriverSelection,
) -> Result<(), Box<dyn std::error::Error>> {
    let HttpServer { server, .. } = serve::http(settings, site, selection)?;
    let mut output = io::stdout().lock();
    let mut say = |line: String| writeln!(output, "{line}").and_then(|()| output.flush());
    let address = *server.addresses().first().ok_or("a server listens somewhere")?;
    let greeting = Greeting { address, driver: server.selection().kind.to_string() };
    say(serde_json::to_string(&greeting)?)?;
    for line in io::stdin().lines() {
        line?;
        let stats = server.stats();
        let cpu: Duration = clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default();
        let spent = Spent {
            cpu_nanoseconds: cpu.as_nanos() as u64,
            system_calls: Some(stats.system_calls),
            submissions: Some(stats.submissions),
        };
        say(serde_json::to_string(&spent)?)?;
    }
    Ok(server.stop()?)
}

/// Keeps this thread, and those that it starts, on these cores; on all, if none are named.
///
/// # Errors
///
/// When there is no such core (`sched_setaffinity(2)`).
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no such core"));
        }
        set.set(*core);
    }
    if cores.is_empty() { Ok(()) } else { Ok(sched_setaffinity(None, &set)?) }
}
