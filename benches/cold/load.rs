//! The files, the client of the hot file, and the downloads of the other files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use super::subject::read_bytes;

const MIB: u64 = 1 << 20;

/// The time between two requests for the hot file.
const INTERVAL: Duration = Duration::from_micros(500);

/// The number of requests for the hot file before the measurement.
const WARM_UP: usize = 200;

/// The number of connections that are opened first, so the server's descriptor table has grown.
const DESCRIPTORS: usize = 300;

/// Timeout for reading an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The files that are downloaded at the same time as the hot one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// A large file on one connection, sent with `sendfile(2)`.
    Large,
    /// Many files on several connections, sent with `sendfile(2)`.
    Many,
    /// Small files, which a lookup reads into memory.
    Small,
}

impl Beside {
    pub(crate) const ALL: [Self; 3] = [Self::Large, Self::Many, Self::Small];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Many => "many",
            Self::Small => "small",
        }
    }

    /// The number of files, and the size of each.
    fn files(self) -> (usize, u64) {
        match self {
            Self::Large => (1, 64 * MIB),
            Self::Many => (64, MIB),
            Self::Small => (1024, 4096),
        }
    }

    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Large => 1,
            Self::Many => 16,
            Self::Small => 4,
        }
    }

    /// Bytes per second of all connections together. A cold download must be able to reach this
    /// rate, so warm and cold downloads transfer the same number of bytes.
    fn rate(self) -> u64 {
        match self {
            Self::Large | Self::Many => 64 * MIB,
            Self::Small => 4 * MIB,
        }
    }
}

/// The directory that is served.
pub(crate) struct Tree {
    folder: TempDir,
    smaller: u64,
}

impl Tree {
    /// Creates the files in a directory whose files can be evicted from the page cache: in cargo's
    /// target directory, otherwise in the directory for temporary files.
    pub(crate) fn grow(smaller: u64) -> io::Result<Option<Self>> {
        for parent in [PathBuf::from(env!("CARGO_TARGET_TMPDIR")), std::env::temp_dir()] {
            fs::create_dir_all(&parent)?;
            let tree = Self { folder: tempfile::tempdir_in(&parent)?, smaller };
            fs::write(tree.root().join("hot"), [b'h'; 1024])?;
            for beside in Beside::ALL {
                let (count, bytes) = tree.files(beside);
                let content = vec![b'c'; bytes as usize];
                for number in 0..count {
                    let mut file = File::create(tree.path(beside, number))?;
                    file.write_all(&content)?;
                    // The kernel does not evict dirty pages.
                    file.sync_data()?;
                }
            }
            if tree.can_be_cold()? {
                return Ok(Some(tree));
            }
        }
        Ok(None)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn describe(&self) -> String {
        let kinds = Beside::ALL.map(|beside| {
            let (count, bytes) = self.files(beside);
            format!(
                "{}: {count} of {} KiB, {} at once, {} MiB/s",
                beside.name(),
                bytes / 1024,
                beside.connections(),
                beside.rate() / MIB
            )
        });
        let rate = 1_000_000 / INTERVAL.as_micros();
        format!("hot: 1 KiB, {rate}/s; {}; in {}", kinds.join("; "), self.root().display())
    }

    fn files(&self, beside: Beside) -> (usize, u64) {
        let (count, bytes) = beside.files();
        match beside {
            Beside::Small => ((count as u64 / self.smaller) as usize, bytes),
            Beside::Large | Beside::Many => (count, bytes / self.smaller),
        }
    }

    fn path(&self, beside: Beside, number: usize) -> PathBuf {
        self.root().join(format!("{}-{number}", beside.name()))
    }

    /// The numbers of the files that a connection downloads.
    fn share(&self, beside: Beside, connection: usize) -> impl Iterator<Item = usize> + use<> {
        (connection..self.files(beside).0).step_by(beside.connections())
    }

    /// Reads files into the page cache.
    pub(crate) fn warm(&self, beside: Option<Beside>) -> io::Result<()> {
        let Some(beside) = beside else { return Ok(()) };
        for number in 0..self.files(beside).0 {
            io::copy(&mut File::open(self.path(beside, number))?, &mut io::sink())?;
        }
        Ok(())
    }

    /// Evicts a file from the page cache.
    fn evict(&self, beside: Beside, number: usize) -> io::Result<()> {
        let file = OpenOptions::new().read(true).open(self.path(beside, number))?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    }

    /// Whether a read after an eviction comes from a disk. If the kernel does not count reads,
    /// assumes that it does.
    fn can_be_cold(&self) -> io::Result<bool> {
        let before = read_bytes(Path::new("/proc/self"));
        self.evict(Beside::Large, 0)?;
        self.warm(Some(Beside::Large))?;
        let read = read_bytes(Path::new("/proc/self")).zip(before).map(|(now, then)| now - then);
        Ok(read.is_none_or(|read| read >= self.files(Beside::Large).1 / 2))
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    Ok(stream)
}

fn request(name: &str) -> String {
    format!("GET /{name} HTTP/1.1\r\nHost: bench\r\n\r\n")
}

fn with_context(context: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{context}: {error}"))
}

/// Reads the head of an answer. Returns the length of the answer including its head, and the number
/// of bytes in the buffer.
fn head(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<(u64, u64)> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        filled += count;
        let text = String::from_utf8_lossy(&buffer[..filled.min(1024)]);
        if let Some((fields, _)) = text.split_once("\r\n\r\n") {
            let (_, length) = fields.split_once("ength: ").ok_or(io::ErrorKind::InvalidData)?;
            let length = length.split("\r\n").next().and_then(|digits| digits.parse::<u64>().ok());
            let length = length.filter(|_| fields.starts_with("HTTP/1.1 200"));
            let length = length.ok_or_else(|| io::Error::other(fields.to_owned()))?;
            return Ok((fields.len() as u64 + 4 + length, filled as u64));
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The client of the hot file, with one connection.
pub(crate) struct HotClient {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl HotClient {
    /// Connects, and sends requests until the server is warmed up.
    pub(crate) fn begin(address: SocketAddr) -> io::Result<Self> {
        // The worker waits for RCU when the descriptor table grows. Let it grow now, because that
        // wait would look like a wait for a disk.
        let many: io::Result<Vec<_>> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        drop(many?);
        let stream = connect(address)?;
        let mut hot = Self { stream, request: request("hot"), answer: vec![0; 4096] };
        for _ in 0..WARM_UP {
            hot.exchange()?;
        }
        Ok(hot)
    }

    /// Sends a request and reads the answer. Answers differ in length, because the entity tag of a
    /// new file is weak.
    fn exchange(&mut self) -> io::Result<()> {
        self.stream.write_all(self.request.as_bytes())?;
        let (bytes, here) = head(&mut self.stream, &mut self.answer)?;
        self.stream.read_exact(&mut self.answer[here as usize..bytes as usize])
    }

    /// Sends requests at the fixed rate for `time`; returns the latencies in microseconds.
    pub(crate) fn measure(&mut self, time: Duration) -> io::Result<Histogram<u64>> {
        let mut latency = Histogram::new(3).expect("three digits are fine");
        let end = Instant::now() + time;
        let (mut due, mut answered) = (Instant::now(), Instant::now());
        while due < end {
            // If the last answer delays this request, the latency counts from when it was due,
            // because the server caused the delay. If the sleep is too long, the latency does not
            // include that, because the client caused the delay.
            let since = if answered >= due {
                due
            } else {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                Instant::now()
            };
            self.exchange().map_err(|error| with_context("the hot file", &error))?;
            answered = Instant::now();
            let _ = latency.record((answered - since).as_micros() as u64);
            due += INTERVAL;
        }
        Ok(latency)
    }
}

/// A connection that downloads the other files.
pub(crate) struct Download<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) beside: Beside,
    /// The number of the connection.
    pub(crate) number: usize,
    pub(crate) cold: bool,
    pub(crate) over: &'a AtomicBool,
    /// The number of bytes received by all downloads.
    pub(crate) sent: &'a AtomicU64,
}

impl Download<'_> {
    /// Repeatedly downloads its share of the files until `over` is set.
    pub(crate) fn run(&self, address: SocketAddr) -> io::Result<()> {
        let mut stream = connect(address)?;
        let mut buffer = vec![0; 128 * 1024];
        let (begun, mut received) = (Instant::now(), 0);
        loop {
            for number in self.tree.share(self.beside, self.number) {
                if self.cold {
                    self.tree.evict(self.beside, number)?;
                }
                let name = format!("{}-{number}", self.beside.name());
                let asked = stream.write_all(request(&name).as_bytes());
                let answer = asked.and_then(|()| head(&mut stream, &mut buffer));
                let (bytes, here) = answer.map_err(|error| with_context(&name, &error))?;
                let mut left = bytes - here;
                received += here;
                self.sent.fetch_add(here, Ordering::Relaxed);
                while left > 0 {
                    let room = left.min(buffer.len() as u64) as usize;
                    let count = match stream.read(&mut buffer[..room]) {
                        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                        read => read,
                    };
                    let context =
                        |error| with_context(&format!("{name}, {left} bytes left"), &error);
                    let count = count.map_err(context)? as u64;
                    left -= count;
                    received += count;
                    self.sent.fetch_add(count, Ordering::Relaxed);
                    if self.throttle(begun, received) {
                        return Ok(());
                    }
                }
                if self.throttle(begun, received) {
                    return Ok(());
                }
            }
        }
    }

    /// Sleeps while the download is ahead of its rate; returns whether `over` is set.
    fn throttle(&self, begun: Instant, received: u64) -> bool {
        let rate = self.beside.rate() as f64 / self.beside.connections() as f64;
        let due = begun + Duration::from_secs_f64(received as f64 / rate);
        while !self.over.load(Ordering::Relaxed) {
            let early = due.saturating_duration_since(Instant::now());
            if early.is_zero() {
                return false;
            }
            thread::sleep(early.min(Duration::from_millis(20)));
        }
        true
    }
}
