//! A file server in another program: settings with defaults, and signals that stop it.
//!
//! [`Settings`] is the short way. What it does not offer, such as several sites or HTTPS, is in
//! [`serve`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator;

use crate::driver::{DriverKind, DriverSelection, File, Links};
use crate::http::{Content, HttpSettings, OwnAnswers, OwnReply, OwnRequest, SiteSettings};
use crate::serve::{self, HttpServer};
use crate::server::{ListenSpec, ServerSettings, ServerTimeouts, StartError, Stopper};

/// Settings of a file server. Each method returns the settings with one of them changed.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use ringd::Settings;
/// use ringd::http::OwnReply;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Settings::new("html")
///     .listen("127.0.0.1:0") // with port 0, the kernel picks a free port
///     .workers(1)
///     .answer("/health", |_| OwnReply::text("ok\n"))
///     .start()?
///     .server;
///
/// let mut client = TcpStream::connect(&server.addresses()[0])?;
/// client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"));
/// server.stop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Settings {
    root: PathBuf,
    /// As they were given; they are parsed at the start.
    listen: Vec<String>,
    driver: Option<DriverKind>,
    links: Links,
    server: ServerSettings,
    content: Content,
    answers: OwnAnswers,
}

/// Why a file server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmbedError {
    /// The directory cannot be opened.
    Root(PathBuf, io::Error),
    /// A text does not say where to listen.
    Listen(String, String),
    /// The driver that was named does not work here; or, if none was named, none does.
    Driver(io::Error),
    /// See [`StartError`].
    Start(StartError),
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(path, error) => {
                write!(f, "cannot open {}: {error}; check the path and its rights", path.display())
            }
            Self::Listen(text, error) => write!(f, "cannot listen on {text:?}: {error}"),
            Self::Driver(error) => {
                write!(f, "the driver does not work here: {error}; name none to get one that does")
            }
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EmbedError {}

impl Settings {
    /// The default settings for a directory: port 7890 of loopback, one worker per usable CPU, the
    /// best driver that works, at most 1,024 connections.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_owned(),
            listen: Vec::new(),
            driver: None,
            links: Links::Beneath,
            server: ServerSettings::default(),
            content: Content::default(),
            answers: OwnAnswers::default(),
        }
    }

    /// Where to listen, as the option `--listen` of the command has it: `127.0.0.1:8080`, `:8080`
    /// for all addresses, `unix:/run/site.sock`. The first call replaces the default, others add.
    pub fn listen(mut self, place: impl Into<String>) -> Self {
        self.listen.push(place.into());
        self
    }

    /// The number of worker threads, from 1 to 1,024.
    pub fn workers(mut self, count: usize) -> Self {
        self.server.workers = count;
        self
    }

    /// The driver. Without this, the best one that works is taken.
    pub fn driver(mut self, kind: DriverKind) -> Self {
        self.driver = Some(kind);
        self
    }

    /// How many connections there may be at a time; more wait in the kernel's backlog. Each takes a
    /// descriptor, and so does each cached file.
    pub fn connections_max(mut self, count: u32) -> Self {
        self.server.connections_max = count;
        self
    }

    /// How long clients may take.
    pub fn timeouts(mut self, timeouts: ServerTimeouts) -> Self {
        self.server.timeouts = timeouts;
        self
    }

    /// Which symbolic links are followed; by default those that stay beneath the directory.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Which file a request gets, and with which fields.
    pub fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// An answer of your own at a path, in front of the files: see [`OwnAnswers::with`].
    pub fn answer(
        mut self,
        path: &str,
        reply: impl Fn(OwnRequest<'_>) -> OwnReply + Send + Sync + 'static,
    ) -> Self {
        self.answers = self.answers.with(path, reply);
        self
    }

    /// Starts the server. Returns when clients can connect.
    ///
    /// # Errors
    ///
    /// See [`EmbedError`].
    pub fn start(self) -> Result<HttpServer, EmbedError> {
        let Self { root, listen, driver, links, mut server, content, answers } = self;
        if !listen.is_empty() {
            let parsed = listen.into_iter().map(|text| match text.parse::<ListenSpec>() {
                Ok(place) => Ok(place),
                Err(error) => Err(EmbedError::Listen(text, error.to_string())),
            });
            server.listen = parsed.collect::<Result<_, _>>()?;
        }
        let opened =
            File::open_root(&root, links).map_err(|error| EmbedError::Root(root, error))?;
        let selection = DriverSelection::make(driver).map_err(EmbedError::Driver)?;
        let site = SiteSettings { content, ..SiteSettings::new(opened.into()) };
        let http = HttpSettings { watch: true, answers, ..HttpSettings::new(site) };
        serve::http(&server, http, selection).map_err(EmbedError::Start)
    }
}

/// The signals that ask a program to stop: INT (Ctrl-C), TERM and QUIT.
///
/// ```no_run
/// use ringd::{Settings, StopSignals};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signals = StopSignals::catch()?;
/// let server = Settings::new("html").start()?.server;
/// signals.stop(server.stopper())?;
/// println!("serving at {:?}", server.addresses());
/// server.join()?; // until a signal comes
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StopSignals(iterator::Signals);

impl StopSignals {
    /// Catches the signals from now on. Call this before the server starts: a signal that comes
    /// earlier ends the process.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left for it.
    pub fn catch() -> io::Result<Self> {
        iterator::Signals::new([SIGINT, SIGTERM, SIGQUIT]).map(Self)
    }

    /// Lets the first signal drain a server, in a thread of its own, and a second one end the
    /// process at once, with 128 plus its number as the exit code.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn stop(mut self, stopper: Stopper) -> io::Result<()> {
        let thread = thread::Builder::new().name("signals".into());
        let started = thread.spawn(move || {
            let mut is_stopping = false;
            for signal in self.0.forever() {
                if is_stopping {
                    std::process::exit(128 + signal);
                }
                is_stopping = true;
                stopper.stop();
            }
        });
        started.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_settings_is_said_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Settings::new(&missing).start().unwrap_err().to_string();
        assert!(error.contains("missing: No such file"), "{error}");
        let error = Settings::new(folder.path()).listen("nowhere").start().unwrap_err();
        assert!(error.to_string().starts_with("cannot listen on \"nowhere\""), "{error}");
        let error = Settings::new(folder.path()).workers(0).start().unwrap_err();
        assert!(matches!(error, EmbedError::Start(_)), "{error}");
    }

    #[test]
    fn the_first_place_to_listen_replaces_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new(folder.path()).workers(1);
        let settings = settings.listen("127.0.0.1:0").listen("127.0.0.1:0");
        let server = settings.start().unwrap().server;
        let ports = server.addresses().iter().map(|place| place.socket_addr().unwrap().port());
        assert!(ports.clone().count() == 2 && ports.clone().all(|port| port != 7890));
        server.stop().unwrap();
    }
}
