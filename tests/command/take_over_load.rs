//! Clients of all kinds that watch a server while it is replaced.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::PAGE;

/// The size of the file `large`.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// Longer than anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The content of the file `large`.
pub(crate) fn large() -> Vec<u8> {
    let mut bytes = vec![0; LARGE_BYTES];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

/// What the clients have seen.
#[derive(Debug)]
pub(crate) struct Report {
    /// The answers that were complete and right.
    pub(crate) answers: u64,
    /// Connections that the server had closed while they were idle, so that a request on them was
    /// made again.
    pub(crate) reconnects: u64,
    /// The first errors.
    pub(crate) errors: Vec<String>,
    /// The longest time from the begin of a small request to the end of its answer.
    pub(crate) longest: Duration,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { answers, reconnects, errors, longest } = self;
        write!(
            f,
            "{answers} answers, {reconnects} requests made again because an idle connection was \
             closed, the longest small request took {longest:?}; {} errors: {errors:?}",
            errors.len()
        )
    }
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    answers: AtomicU64,
    reconnects: AtomicU64,
    longest_us: AtomicU64,
    errors: Mutex<Vec<String>>,
}

/// What a client does until the load ends.
type Client = fn(SocketAddr, &Shared);

/// The clients, each in a thread.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts 4 clients that keep their connections, 4 with a connection per request, and 2 that
    /// read a large file slowly.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let kinds: [(usize, Client); 3] =
            [(4, keep_open), (4, connect_each_time), (2, download_slowly)];
        let clients = kinds.into_iter().flat_map(|(count, run)| (0..count).map(move |_| run));
        let clients = clients.map(|run| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(address, &shared))
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// Waits until each kind of client has had some more answers.
    #[track_caller]
    pub(crate) fn assert_goes_on(&self) {
        let (begin, before) = (Instant::now(), self.shared.answers.load(Ordering::Relaxed));
        while self.shared.answers.load(Ordering::Relaxed) < before + 50 {
            assert!(begin.elapsed() < WAIT_MAX, "{:?}", self.shared);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the clients.
    pub(crate) fn end(self) -> Report {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let shared = &self.shared;
        Report {
            answers: shared.answers.load(Ordering::Relaxed),
            reconnects: shared.reconnects.load(Ordering::Relaxed),
            errors: shared.errors.lock().unwrap().clone(),
            longest: Duration::from_micros(shared.longest_us.load(Ordering::Relaxed)),
        }
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Debug) {
        let mut errors = self.errors.lock().unwrap();
        if errors.len() < 20 {
            errors.push(format!("{what}: {error:?}"));
        }
    }

    /// Takes the result of a small request.
    fn count(&self, what: &str, begun: Instant, body: io::Result<Vec<u8>>) {
        match body {
            Ok(body) if body == PAGE => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                let time = begun.elapsed().as_micros() as u64;
                self.longest_us.fetch_max(time, Ordering::Relaxed);
            }
            other => self.failed(what, &other),
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    Ok(stream)
}

/// Why a request has no answer.
enum Failed {
    /// The connection ended before anything of the answer came.
    Unanswered(io::Error),
    Broken(io::Error),
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        let (Failed::Unanswered(error) | Failed::Broken(error)) = failed;
        error
    }
}

/// Asks for the page; returns the body, and whether the connection ends.
fn ask(stream: &mut TcpStream, close: bool) -> Result<(Vec<u8>, bool), Failed> {
    let field = if close { "Connection: close\r\n" } else { "" };
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
    stream.write_all(request.as_bytes()).map_err(Failed::Unanswered)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) if answer.is_empty() => {
                return Err(Failed::Unanswered(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(0) => return Err(Failed::Broken(io::ErrorKind::UnexpectedEof.into())),
            Err(error) if answer.is_empty() => return Err(Failed::Unanswered(error)),
            read => read.map_err(Failed::Broken)?,
        };
        answer.extend_from_slice(&buffer[..count]);
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        if answer.len() >= head + 4 + PAGE.len() {
            let body = answer.split_off(head + 4);
            let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
            return Ok((body, head.contains("connection: close")));
        }
    }
}

/// A server may close an idle connection at any time, so a client whose request found it closed
/// makes another one (RFC 9110, section 9.2.2). On a new connection, that is an error.
fn keep_open(address: SocketAddr, shared: &Shared) {
    let mut kept: Option<TcpStream> = None;
    while shared.goes_on() {
        let begun = Instant::now();
        let reused = kept.take();
        let is_reused = reused.is_some();
        let stream = match reused.map_or_else(|| connect(address), Ok) {
            Ok(stream) => stream,
            Err(error) => {
                shared.failed("connecting", &error);
                continue;
            }
        };
        let mut stream = stream;
        let body = match ask(&mut stream, false) {
            Err(Failed::Unanswered(_)) if is_reused => {
                shared.reconnects.fetch_add(1, Ordering::Relaxed);
                let again = connect(address).and_then(|stream| {
                    kept = Some(stream);
                    Ok(ask(kept.as_mut().expect("just set"), false)?)
                });
                again.map(|(body, ends)| {
                    if ends {
                        kept = None;
                    }
                    body
                })
            }
            Err(failed) => Err(failed.into()),
            Ok((body, ends)) => {
                kept = (!ends).then_some(stream);
                Ok(body)
            }
        };
        shared.count("a kept connection", begun, body);
        thread::sleep(Duration::from_millis(2));
    }
}

fn connect_each_time(address: SocketAddr, shared: &Shared) {
    while shared.goes_on() {
        let begun = Instant::now();
        let body = connect(address).and_then(|mut stream| Ok(ask(&mut stream, true)?.0));
        shared.count("a connection for one request", begun, body);
        thread::sleep(Duration::from_millis(2));
    }
}

fn download_slowly(address: SocketAddr, shared: &Shared) {
    let expected = large();
    while shared.goes_on() {
        match download(address) {
            Ok(body) if body == expected => {
                shared.answers.fetch_add(1, Ordering::Relaxed);
            }
            Ok(body) => shared.failed("a download", &body.len()),
            Err(error) => shared.failed("a download", &error),
        }
    }
}

fn download(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 32 * 1024]);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
        thread::sleep(Duration::from_millis(5));
    }
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(answer.split_off(head + 4))
}
