//! The server under test. It is a separate process, so its CPU time can be measured separately.
//!
//! ```text
//! ringd bench  -- a line: "report" -->  ringd bench-server
//!              <-- a line: JSON -----
//! ```
//!
//! The child first writes its address. It answers each line with its counters, and drains when its
//! standard input ends, which also happens when its parent ends in any way.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::driver::{DriverKind, DriverSelection};
use crate::http::HttpSettings;
use crate::serve::{self, HttpServer};
use crate::server::{Endpoint, ServerSettings};
use crate::tls::TlsConfig;

/// The sockets of a worker besides connections.
const LISTENER: u32 = 1;

/// The descriptors of a server besides connections, with those of the files that a run requests.
const OTHER_DESCRIPTORS: u64 = 48;

/// How long a child may take to end.
const END_WAIT: Duration = Duration::from_secs(5);

/// How long a child may write nothing: it tests its driver first.
const LINE_WAIT: Duration = Duration::from_secs(60);

/// The longest line of a child.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The first line that the child writes.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    address: SocketAddr,
    driver: String,
    /// Builds from before this field do not say it.
    #[serde(default)]
    holds: Option<u32>,
}

/// What a server has used since it started.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(super) struct ServerUsage {
    /// CPU time of all threads.
    pub(super) cpu_nanoseconds: u64,
    /// System calls; `None` for a server that does not count them.
    pub(super) system_calls: Option<u64>,
    /// Submissions to io_uring; `None` for a server that does not count them.
    pub(super) submissions: Option<u64>,
}

/// A child process that serves.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    /// Closing it ends the child.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    greeting: Greeting,
}

impl Child {
    /// Starts a server of this program, or of another build of it, with these arguments of
    /// `ringd serve`, bound to `cores` unless that is empty.
    ///
    /// # Errors
    ///
    /// When it does not start. It prints the cause on standard error itself.
    pub(super) fn start(
        program: Option<&Path>,
        arguments: &[OsString],
        cores: &[usize],
    ) -> io::Result<Self> {
        // A path would name another file, or none, if the program were replaced during the run.
        let program = program.unwrap_or(Path::new("/proc/self/exe"));
        let mut command = Command::new(program);
        command.arg0("ringd").arg("bench-server").args(arguments);
        for core in cores {
            command.arg("--core").arg(core.to_string());
        }
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display()))
        })?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut output = BufReader::new(output);
        match read_line(&mut output) {
            Ok(greeting) => Ok(Self { process, input, output, greeting }),
            Err(error) => {
                drop(input);
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    // It has ended, and its status says more.
                    let status = end(&mut process)?;
                    return Err(io::Error::other(format!("the server did not start: {status}")));
                }
                // Another program may go on whatever happens to its input.
                process.kill()?;
                process.wait()?;
                let program = program.display();
                Err(io::Error::other(format!(
                    "the first line of {program} is not that of a server: {error}; name a program \
                     of ringd"
                )))
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.greeting.address
    }

    /// The name of the driver that the server runs on.
    pub(super) fn driver(&self) -> &str {
        &self.greeting.driver
    }

    /// The most connections that the server holds at a time, if it says so.
    pub(super) fn holds(&self) -> Option<u32> {
        self.greeting.holds
    }

    /// What the server has used so far.
    ///
    /// # Errors
    ///
    /// When the child has ended.
    pub(super) fn usage(&mut self) -> io::Result<ServerUsage> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(b"report\n")?;
        read_line(&mut self.output)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        // A failure of the system call cannot be told to anybody.
        let _ = end(&mut self.process);
    }
}

/// Waits until a child whose standard input has ended drains and ends. Another program than ringd
/// may go on, and is killed then.
fn end(process: &mut process::Child) -> io::Result<ExitStatus> {
    let until = Instant::now() + END_WAIT;
    loop {
        match process.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= until => break,
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
    process.kill()?;
    process.wait()
}

/// Waits until a child has written something, or has ended.
fn wait_for_output(output: &BufReader<ChildStdout>, wait: Duration) -> io::Result<()> {
    if !output.buffer().is_empty() {
        return Ok(());
    }
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(output.get_ref(), PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let error = format!("it has written nothing for {wait:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, error));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a line of JSON. If there is none, the error is [`io::ErrorKind::UnexpectedEof`].
fn read_line<T: for<'de> Deserialize<'de>>(output: &mut BufReader<ChildStdout>) -> io::Result<T> {
    wait_for_output(output, LINE_WAIT)?;
    let mut line = String::new();
    if output.take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// The code of the child: serves until standard input ends, over TLS if there is a configuration of
/// it.
///
/// # Errors
///
/// When the server does not start, fails, or cannot use its standard streams.
pub fn serve(
    settings: &ServerSettings,
    http: HttpSettings,
    tls: Option<&TlsConfig>,
    selection: DriverSelection,
) -> Result<(), Box<dyn std::error::Error>> {
    let HttpServer { server, .. } = match tls {
        None => serve::http(settings, http, selection)?,
        Some(tls) => serve::https(settings, http, tls, selection)?,
    };
    let mut output = io::stdout().lock();
    let mut write_line = |line: String| writeln!(output, "{line}").and_then(|()| output.flush());
    let address = server.addresses().first().and_then(Endpoint::socket_addr);
    let address = address.ok_or("the server has no address")?;
    let kind = server.selection().kind;
    let holds = Some(holds(settings, kind));
    let greeting = Greeting { address, driver: kind.to_string(), holds };
    write_line(serde_json::to_string(&greeting)?)?;
    for line in io::stdin().lines() {
        line?;
        let stats = server.stats();
        let cpu: Duration = clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default();
        let usage = ServerUsage {
            cpu_nanoseconds: cpu.as_nanos() as u64,
            system_calls: Some(stats.system_calls),
            submissions: Some(stats.submissions),
        };
        write_line(serde_json::to_string(&usage)?)?;
    }
    Ok(server.stop()?)
}

/// The most connections of a server: what it may have, and what its driver holds in each worker.
fn holds(settings: &ServerSettings, kind: DriverKind) -> u32 {
    let workers = u32::try_from(settings.workers).unwrap_or(u32::MAX);
    let of_driver = kind.sockets_max().map(|sockets| sockets.saturating_sub(LISTENER));
    let of_driver = of_driver.map_or(u32::MAX, |sockets| sockets.saturating_mul(workers));
    let low = kind.descriptors_max().map(|max| max.saturating_sub(OTHER_DESCRIPTORS));
    let low = low.and_then(|low| u32::try_from(low).ok()).unwrap_or(u32::MAX);
    settings.connections_max.min(of_driver).min(low)
}

/// Binds this thread, and the threads that it starts later, to `cores`. Does nothing if `cores` is
/// empty.
///
/// # Errors
///
/// When a core does not exist or may not be used (`sched_setaffinity(2)`).
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            let message = format!("there is no core {core}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        set.set(*core);
    }
    if cores.is_empty() { Ok(()) } else { Ok(sched_setaffinity(None, &set)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_writes_nothing_is_not_waited_for_without_an_end() {
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let error = wait_for_output(&output, Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.to_string(), "it has written nothing for 10ms");
        child.stdin.take().unwrap().write_all(b"line\n").unwrap();
        wait_for_output(&output, Duration::from_secs(30)).unwrap();
        assert!(end(&mut child).unwrap().success());
    }
}
