//! The server as a process: started, used over TCP, stopped by signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ringd::driver::{DriverKind, DriverSelection};
use tempfile::TempDir;

/// Longer than anything here takes, so whatever takes longer hangs.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The content of the page that the server has to return.
pub(crate) const PAGE: &[u8] = b"<!doctype html>\n<title>a page</title>\n";

/// The binary under test.
pub(crate) fn ringd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringd"))
}

/// A directory with [`PAGE`] as its index, readable for all users.
pub(crate) fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    open_to_all(site.path());
    std::fs::write(site.path().join("index.html"), PAGE).unwrap();
    site
}

/// Makes a directory readable for other users.
pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Creates a directory, and those above it, that is closed to other users than its owner.
pub(crate) fn create_closed(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

/// A copy of the binary under test that other users can execute, because the build directory may
/// be closed to them. A separate process copies: a file that this process has open for writing may
/// be inherited by another test's child, and executing it would then fail with ETXTBSY.
pub(crate) fn public_copy() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    let binary = folder.path().join("ringd");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_ringd")).arg(&binary).status();
    assert!(copied.unwrap().success());
    (folder, binary)
}

/// Whether io_uring works on this machine; prints the reason if not.
pub(crate) fn uring_works() -> bool {
    DriverSelection::make(Some(DriverKind::Uring))
        .map_err(|error| println!("skipped: {error}"))
        .is_ok()
}

/// The drivers that work on this machine; prints the reason for each other one.
pub(crate) fn kinds() -> impl Iterator<Item = DriverKind> {
    let works = |kind: &DriverKind| match DriverSelection::make(Some(*kind)) {
        Ok(_) => true,
        Err(error) => {
            println!("{kind} skipped: {error}");
            false
        }
    };
    DriverKind::ALL.into_iter().filter(works)
}

/// Whether the tests run with `RINGD_TEST_SANDBOX=require`: servers with a configuration file and
/// those with TLS run in a sandbox.
pub(crate) fn has_sandbox() -> bool {
    std::env::var_os("RINGD_TEST_SANDBOX").is_some_and(|mode| mode == "require")
}

/// Whether a test is left out with [`has_sandbox`]: a sandbox allows only the ports of the start.
pub(crate) fn is_bound_to_ports() -> bool {
    if has_sandbox() {
        println!("skipped: a sandbox allows no port that the configuration did not have");
    }
    has_sandbox()
}

/// Puts the server of a command into a sandbox, with [`has_sandbox`].
pub(crate) fn in_sandbox(command: &mut Command) {
    if has_sandbox() {
        command.args(["--sandbox", "require"]);
    }
}

/// A command with these arguments, which listens on a free port unless they say otherwise.
pub(crate) fn with(arguments: &[&str]) -> Command {
    let mut command = ringd();
    command.args(arguments);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command
}

/// The names of the drivers that work on this machine.
pub(crate) fn drivers() -> impl Iterator<Item = &'static str> {
    kinds().map(DriverKind::name)
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Its start line.
    pub(crate) line: String,
    output: Receiver<String>,
    errors: Receiver<String>,
}

/// The exit code and output of a process that has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Server {
    /// Starts a server, and waits for its start line.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|end| panic!("{command:?} did not start: {end:?}"))
    }

    /// Starts a server whose standard output belongs to a log, and waits for its start line, which
    /// is on standard error.
    pub(crate) fn start_apart(command: &mut Command) -> Self {
        let mut server = Self::spawn(command);
        server.line = server.error_line();
        server
    }

    /// Starts a server; returns its end if it prints no start line.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, End> {
        let mut server = Self::spawn(command);
        match server.output.recv_timeout(WAIT_MAX) {
            Ok(line) => {
                server.line = line;
                Ok(server)
            }
            Err(_) => Err(server.end()),
        }
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let output = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        Self { child, line: String::new(), output, errors }
    }

    /// The addresses in its start line.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let (_, rest) = self.line.split_once(" at ").expect("a start line has addresses");
        let (places, _) = rest.split_once(';').expect("a start line has more than addresses");
        let address = |whole: &str| {
            let place = whole.strip_prefix("http://").or(whole.strip_prefix("https://"));
            place.unwrap_or(whole).trim_end_matches('/').parse()
        };
        places.split(' ').map(|place| address(place).unwrap()).collect()
    }

    /// The address in its start line, which must be the only one.
    pub(crate) fn address(&self) -> SocketAddr {
        let addresses = self.addresses();
        assert_eq!(addresses.len(), 1, "{}", self.line);
        addresses[0]
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) {
        crate::jail::kill(self.child.id(), signal);
    }

    /// Waits for a line on standard output.
    pub(crate) fn output_line(&self) -> String {
        let line = self.output.recv_timeout(WAIT_MAX);
        line.unwrap_or_else(|_| panic!("no line on standard output from: {}", self.line))
    }

    /// Waits for a line on standard error.
    pub(crate) fn error_line(&self) -> String {
        self.errors.recv_timeout(WAIT_MAX).unwrap_or_else(|_| {
            // Its last field tells how the process has ended (`proc(5)`).
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            panic!("no line on standard error from: {}\n{stat:?}", self.line)
        })
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The CPU time that it has used, in the kernel's ticks (`proc(5)`, `/proc/pid/stat`).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which ends with the last bracket: state is field 3, times are 14 and
        // 15.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields = fields.split(' ').skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// What its descriptors refer to (`proc(5)`, `/proc/pid/fd`).
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // A descriptor may be closed meanwhile.
        let target =
            |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.path().read_link().ok();
        folder.filter_map(target).map(|target| target.to_string_lossy().into_owned()).collect()
    }

    /// Whether a watch of inotify is in place (`proc(5)`, `/proc/pid/fdinfo`).
    pub(crate) fn watches_any(&self) -> bool {
        let folder = std::fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).unwrap();
        folder.flatten().any(|entry| {
            let info = std::fs::read_to_string(entry.path());
            info.is_ok_and(|info| info.contains("\ninotify wd:"))
        })
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its memory use, as text.
    pub(crate) fn memory(&self) -> String {
        format!("{} resident, {} threads", self.status("VmRSS"), self.status("Threads"))
    }

    /// A field of its status (`proc(5)`, `/proc/pid/status`).
    pub(crate) fn status(&self, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
        status.lines().find_map(value).expect("a field of the status").trim().to_owned()
    }

    /// Waits until the process has ended.
    pub(crate) fn end(mut self) -> End {
        let begin = Instant::now();
        while self.is_running() {
            assert!(begin.elapsed() < WAIT_MAX, "the process does not end");
            thread::sleep(Duration::from_millis(5));
        }
        let code = self.child.wait().unwrap().code();
        let all = |lines: &Receiver<String>| lines.iter().map(|line| line + "\n").collect();
        End { code, output: all(&self.output), errors: all(&self.errors) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // It may say why the test has failed.
            self.errors.iter().for_each(|line| println!("its standard error: {line}"));
        }
    }
}

impl End {
    /// Asserts an exit code, and one line on standard error that contains all of `words`.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.output, "", "a failure prints nothing to standard output");
        assert_eq!(self.errors.lines().count(), 1, "{}", self.errors);
        assert!(self.errors.starts_with("ringd: "), "{}", self.errors);
        self.assert_names(words);
    }

    /// Asserts that standard error contains all of `words`.
    #[track_caller]
    pub(crate) fn assert_names(&self, words: &[&str]) {
        for word in words {
            assert!(self.errors.contains(word), "no {word:?} in: {}", self.errors);
        }
    }
}

/// Runs a command that is expected to fail.
#[track_caller]
pub(crate) fn end_of(command: &mut Command) -> End {
    match Server::try_start(command) {
        Ok(server) if server.line.contains("; driver: ") => {
            panic!("{command:?} serves: {}", server.line)
        }
        Ok(mut server) => {
            let first = std::mem::take(&mut server.line);
            let end = server.end();
            End { output: first + "\n" + &end.output, ..end }
        }
        Err(end) => end,
    }
}

/// Requests a path on its own connection; returns the head and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = ask(address, path);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

/// Sends a request for a path, and returns the connection.
pub(crate) fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// Asserts that a server returns [`PAGE`] at all of its addresses.
#[track_caller]
pub(crate) fn assert_serves(server: &Server) {
    for address in server.addresses() {
        let (head, body) = get(address, "/");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, PAGE);
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            // The receiver is gone once the test is over.
            let _ = sender.send(line);
        }
    });
    receiver
}
