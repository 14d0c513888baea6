//! Starts a file server or an echo server. This is how to embed ringd in another program.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use ringd::driver::{DriverSelection, File, Links};
//! use ringd::http::{HttpSettings, SiteSettings};
//! use ringd::serve;
//! use ringd::server::ServerSettings;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = File::open_root("html".as_ref(), Links::Beneath)?;
//! // With port 0, the kernel picks a free port.
//! let settings = ServerSettings { listen: vec!["127.0.0.1:0".parse()?], ..Default::default() };
//! // The best driver that works on this machine.
//! let driver = DriverSelection::make(None)?;
//! let sites = HttpSettings::new(SiteSettings::new(root.into()));
//! let server = serve::http(&settings, sites, driver)?.server;
//!
//! let mut client = TcpStream::connect(&server.addresses()[0])?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
//! let mut answer = Vec::new();
//! client.read_to_end(&mut answer)?;
//! assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
//!
//! // Finish the requests in progress, then end the workers.
//! server.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! To serve a protocol of your own, pass its session type to [`server::start`].

use std::fmt;
use std::sync::Arc;

use crate::driver::{DriverSelection, Now};
use crate::echo::Echo;
use crate::http::site::{CacheStats, PublishedCacheStats, SiteTableError, SitesMessage};
use crate::http::{Http, HttpSettings, SiteSettings, SiteTable, Sites};
use crate::server::{
    self, Endpoint, INBOX_MAX, ListenSpec, PreparedListeners, Server, ServerSettings,
    ServerTimeouts, StartError, UpdateError, Updater,
};

/// A running file server. Dropping this value does not stop the server; [`Server::stop`] does.
#[derive(Debug)]
#[must_use]
pub struct HttpServer {
    /// The server.
    pub server: Server,
    /// Reads the statistics of its caches.
    pub caches: CacheMonitor,
    /// Changes its sites, its listeners and its timeouts.
    pub updater: HttpUpdater,
}

/// Changes a file server that runs. No connection is closed for it.
#[derive(Debug)]
pub struct HttpUpdater {
    updater: Updater<SitesMessage>,
    /// The generation of the present table of sites.
    generation: u64,
}

/// Why a file server cannot be changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpUpdateError {
    /// The sites do not fit together. Nothing has changed.
    Sites(SiteTableError),
    /// See [`UpdateError`].
    Server(UpdateError),
}

impl fmt::Display for HttpUpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sites(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HttpUpdateError {}

impl HttpUpdater {
    /// Finds out whether the places among `listen` that the server does not listen on yet can be
    /// listened on, and changes nothing. The result has the numbers of the listeners, for
    /// [`SiteSettings::listeners`].
    ///
    /// # Errors
    ///
    /// When a place cannot be listened on.
    pub fn prepare(&self, listen: &[ListenSpec]) -> Result<PreparedListeners, HttpUpdateError> {
        self.updater.prepare(listen).map_err(HttpUpdateError::Server)
    }

    /// Replaces the listeners, the timeouts and the sites. Returns the generation of the new sites
    /// when all workers serve them; each worker takes all changes at once. A site whose root and
    /// content are the same as those of a present one with its name keeps its cache.
    ///
    /// # Errors
    ///
    /// When the sites do not fit together, when a new place cannot be listened on after all, or
    /// when a worker does not respond.
    pub fn apply(
        &mut self,
        listeners: PreparedListeners,
        timeouts: ServerTimeouts,
        sites: Vec<Arc<SiteSettings>>,
    ) -> Result<u64, HttpUpdateError> {
        let generation = self.generation + 1;
        let table = SiteTable::new(generation, sites).map_err(HttpUpdateError::Sites)?;
        let table = Arc::new(table);
        let message = || SitesMessage::Table(Arc::clone(&table));
        let applied = self.updater.apply(listeners, timeouts, message);
        let is_refused = |error: &UpdateError| {
            matches!(error, UpdateError::Listen(_) | UpdateError::Busy(_) | UpdateError::Outdated)
        };
        if !applied.as_ref().is_err_and(is_refused) {
            self.generation = generation;
        }
        applied.map(|()| generation).map_err(HttpUpdateError::Server)
    }

    /// The generation of the sites, which grows with each update.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The addresses that the server listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<Endpoint> {
        self.updater.addresses()
    }
}

/// Reads the statistics of a server's caches, from any thread. Each worker has its own cache.
#[derive(Clone, Default, Debug)]
pub struct CacheMonitor {
    workers: Vec<Arc<PublishedCacheStats>>,
}

impl CacheMonitor {
    /// The sum over all workers, each at the end of its last turn.
    pub fn stats(&self) -> CacheStats {
        self.workers.iter().map(|worker| worker.get()).sum()
    }
}

/// Starts a file server. Returns when clients can connect.
///
/// # Errors
///
/// As for [`server::start`], and when a setting of the site is out of range.
pub fn http(
    settings: &ServerSettings,
    http: HttpSettings,
    selection: DriverSelection,
) -> Result<HttpServer, StartError> {
    if http.lookups_max == 0 {
        return Err(StartError::Settings("a server has at least one lookup at a time"));
    }
    if http.limits.head_bytes_max > INBOX_MAX {
        return Err(StartError::Settings("a request head has at most 32 KiB"));
    }
    let workers: Vec<Arc<PublishedCacheStats>> =
        (0..settings.workers).map(|_| Arc::default()).collect();
    let caches = CacheMonitor { workers };
    let published = caches.workers.clone();
    let generation = http.sites.generation();
    let (server, updater) = server::start_inlined::<Http>(settings, selection, move |seat| {
        let published = Arc::clone(&published[seat.number]);
        let post = SitesMessage::reports(move |message| seat.postbox.post(message));
        Sites::watching(http.clone(), Now::read(), Box::new(post))
            .publishing(published)
            .recording(seat.number)
    })?;
    Ok(HttpServer { server, caches, updater: HttpUpdater { updater, generation } })
}

/// Starts an echo server. Returns when clients can connect.
///
/// # Errors
///
/// As for [`server::start`].
pub fn echo(settings: &ServerSettings, selection: DriverSelection) -> Result<Server, StartError> {
    server::start::<Echo>(settings, selection, |_| ())
}
