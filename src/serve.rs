//! Starts a file server or an echo server, with all settings. To embed a file server in another
//! program, [`Settings`](crate::Settings) is a shorter way, which suffices for most.
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
use crate::http::compress::{self, Compressor};
use crate::http::site::{CacheStats, PublishedCacheStats, SiteTableError, SitesMessage};
use crate::http::{Front, HttpSettings, ListenerRoles, SiteSettings, SiteTable, Sites};
use crate::secured::{Layer, SecuredMessage, SecuredService};
use crate::server::{
    self, BoundServer, Endpoint, INBOX_MAX, ListenSpec, Postbox, PreparedListeners, Server,
    ServerSettings, ServerTimeouts, StartError, UpdateError, Updater,
};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsConfig, TlsCounts, TlsShared, TlsStats};

/// The security layer of file servers.
#[cfg(feature = "tls")]
type ServerLayer = Tls;
#[cfg(not(feature = "tls"))]
type ServerLayer = crate::secured::NoLayer;

type LayerMessage = <ServerLayer as Layer>::Message;
type ServerMessage = SecuredMessage<LayerMessage, SitesMessage>;

/// A running file server. Dropping this value does not stop the server; [`Server::stop`] does.
#[derive(Debug)]
#[must_use]
pub struct HttpServer {
    /// The server.
    pub server: Server,
    /// Reads the statistics of its caches.
    pub caches: CacheMonitor,
    /// Compresses files on the fly, and has figures about that.
    pub compressor: Arc<Compressor>,
    /// Reads the statistics of its TLS connections.
    #[cfg(feature = "tls")]
    pub tls: TlsMonitor,
    /// Changes its sites, its listeners and its timeouts.
    pub updater: HttpUpdater,
}

/// Changes a file server that runs. No connection is closed for it.
#[derive(Debug)]
pub struct HttpUpdater {
    updater: Updater<ServerMessage>,
    /// The generation of the present table of sites.
    generation: u64,
    timeouts: ServerTimeouts,
    roles: ListenerRoles,
    /// Whether there is a configuration of TLS.
    has_tls: bool,
}

/// What a file server is to serve from now on.
#[derive(Debug)]
pub struct HttpUpdate {
    /// The sites.
    pub sites: Vec<Arc<SiteSettings>>,
    /// What the clients of each listener get; `None` if that stays as it is.
    pub roles: Option<ListenerRoles>,
    /// The configuration of TLS; `None` if it stays as it is.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsConfig>,
}

impl From<Vec<Arc<SiteSettings>>> for HttpUpdate {
    /// These sites, and the present listeners and certificates.
    fn from(sites: Vec<Arc<SiteSettings>>) -> Self {
        Self {
            sites,
            roles: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl HttpUpdate {
    /// The message for the layers of a worker.
    fn layer_message(&self) -> Option<LayerMessage> {
        #[cfg(feature = "tls")]
        return self.tls.clone();
        #[cfg(not(feature = "tls"))]
        None
    }
}

/// What is wrong with a listener that cannot speak TLS.
const NO_TLS: &str = "a listener is to speak TLS, but there is no configuration of TLS; give one";

/// Why a file server cannot be changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpUpdateError {
    /// The sites do not fit together. Nothing has changed.
    Sites(SiteTableError),
    /// A listener is to speak TLS, but there is no configuration of TLS. Nothing has changed.
    NoTls,
    /// See [`UpdateError`].
    Server(UpdateError),
}

impl fmt::Display for HttpUpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sites(error) => error.fmt(f),
            Self::NoTls => f.write_str(NO_TLS),
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

    /// Replaces the listeners, the timeouts, the sites and the configuration of TLS. Returns the
    /// generation of the new sites when all workers serve them; each worker takes all changes at
    /// once. A site whose root and content are the same as those of a present one with its name
    /// keeps its cache.
    ///
    /// # Errors
    ///
    /// When the sites do not fit together, when a new place cannot be listened on after all, or
    /// when a worker does not respond.
    pub fn apply(
        &mut self,
        listeners: PreparedListeners,
        timeouts: ServerTimeouts,
        update: impl Into<HttpUpdate>,
    ) -> Result<u64, HttpUpdateError> {
        let update = update.into();
        let generation = self.generation + 1;
        let layer = update.layer_message();
        let table = SiteTable::new(generation, update.sites).map_err(HttpUpdateError::Sites)?;
        let roles = update.roles.unwrap_or_else(|| self.roles.clone());
        let has_tls = self.has_tls || layer.is_some();
        if roles.has_secure() && !has_tls {
            return Err(HttpUpdateError::NoTls);
        }
        let table = Arc::new(table.with_roles(roles.clone()));
        #[allow(clippy::clone_on_copy, reason = "without TLS there is no message to clone")]
        let message = || {
            let table = SitesMessage::Table(Arc::clone(&table), timeouts.send);
            match layer.clone() {
                None => SecuredMessage::Inner(table),
                Some(layer) => SecuredMessage::Both(table, layer),
            }
        };
        let applied = self.updater.apply(listeners, timeouts, message);
        if !applied.as_ref().is_err_and(UpdateError::is_refusal) {
            (self.generation, self.timeouts) = (generation, timeouts);
            (self.roles, self.has_tls) = (roles, has_tls);
        }
        applied.map(|()| generation).map_err(HttpUpdateError::Server)
    }

    /// Replaces the sites, and nothing else. Returns when all workers serve them.
    ///
    /// # Errors
    ///
    /// When the sites do not fit together, or when a worker does not respond.
    pub fn replace_sites(&mut self, sites: Vec<Arc<SiteSettings>>) -> Result<(), HttpUpdateError> {
        let generation = self.generation + 1;
        let table = SiteTable::new(generation, sites).map_err(HttpUpdateError::Sites)?;
        let table = Arc::new(table.with_roles(self.roles.clone()));
        let stall_timeout = self.timeouts.send;
        let told = self.updater.tell(self.timeouts, || {
            SecuredMessage::Inner(SitesMessage::Table(Arc::clone(&table), stall_timeout))
        });
        if !matches!(told, Err(UpdateError::Busy(_))) {
            self.generation = generation;
        }
        told.map_err(HttpUpdateError::Server)
    }

    /// Replaces the configuration of TLS, which new connections get. Returns when all workers have
    /// it.
    ///
    /// # Errors
    ///
    /// When a worker does not respond.
    #[cfg(feature = "tls")]
    pub fn renew(&self, tls: &TlsConfig) -> Result<(), HttpUpdateError> {
        let told = self.updater.tell(self.timeouts, || SecuredMessage::Layer(tls.clone()));
        told.map_err(HttpUpdateError::Server)
    }

    /// What the clients of each listener get at present.
    #[must_use]
    pub fn roles(&self) -> &ListenerRoles {
        &self.roles
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

/// Reads the statistics of a server's TLS connections, from any thread.
#[cfg(feature = "tls")]
#[derive(Clone, Default, Debug)]
pub struct TlsMonitor {
    workers: Vec<Arc<TlsStats>>,
}

#[cfg(feature = "tls")]
impl TlsMonitor {
    /// The sum over all workers.
    #[must_use]
    pub fn counts(&self) -> TlsCounts {
        TlsStats::sum(&self.workers)
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
    check(&http)?;
    let bound = BoundServer::bind(settings)?;
    #[cfg(feature = "tls")]
    return start(bound, settings, http, None, selection);
    #[cfg(not(feature = "tls"))]
    start(bound, settings, http, selection)
}

/// Starts a file server with TLS on the listeners that are secure according to
/// [`SiteTable::role`]. Returns when clients can connect.
///
/// # Errors
///
/// As for [`http`].
#[cfg(feature = "tls")]
pub fn https(
    settings: &ServerSettings,
    http: HttpSettings,
    tls: &TlsConfig,
    selection: DriverSelection,
) -> Result<HttpServer, StartError> {
    check(&http)?;
    start(BoundServer::bind(settings)?, settings, http, Some(tls), selection)
}

/// Starts a file server as [`http`] and [`https`] do, on sockets that were bound before.
///
/// # Errors
///
/// As for [`http`], except for addresses.
#[cfg(feature = "tls")]
pub fn on(
    bound: BoundServer,
    settings: &ServerSettings,
    http: HttpSettings,
    tls: Option<&TlsConfig>,
    selection: DriverSelection,
) -> Result<HttpServer, StartError> {
    check(&http)?;
    start(bound, settings, http, tls, selection)
}

/// Checks the settings that are not those of the server.
fn check(http: &HttpSettings) -> Result<(), StartError> {
    if http.lookups_max == 0 {
        return Err(StartError::Settings("a server has at least one lookup at a time"));
    }
    if http.limits.head_bytes_max > INBOX_MAX {
        return Err(StartError::Settings("a request head has at most 32 KiB"));
    }
    let compresses = |site: &Arc<SiteSettings>| !site.content.compress.codings.is_empty();
    if !compress::IS_BUILT && http.sites.sites().iter().any(compresses) {
        return Err(StartError::Settings(
            "this build cannot compress on the fly; build it with the feature `compress`",
        ));
    }
    Ok(())
}

fn start(
    bound: BoundServer,
    settings: &ServerSettings,
    http: HttpSettings,
    #[cfg(feature = "tls")] tls: Option<&TlsConfig>,
    selection: DriverSelection,
) -> Result<HttpServer, StartError> {
    let roles = http.sites.roles().clone();
    #[cfg(feature = "tls")]
    let has_tls = tls.is_some();
    #[cfg(not(feature = "tls"))]
    let has_tls = false;
    if roles.has_secure() && !has_tls {
        return Err(StartError::Settings(NO_TLS));
    }
    let workers: Vec<Arc<PublishedCacheStats>> =
        (0..settings.workers).map(|_| Arc::default()).collect();
    let caches = CacheMonitor { workers };
    let published = caches.workers.clone();
    let compressor = Arc::new(http.compressor());
    let its_compressor = Arc::clone(&compressor);
    #[cfg(feature = "tls")]
    let tls_stats = TlsMonitor { workers: (0..settings.workers).map(|_| Arc::default()).collect() };
    #[cfg(feature = "tls")]
    let (tls, stats) = (tls.cloned(), tls_stats.workers.clone());
    let generation = http.sites.generation();
    let (server, updater) =
        server::start_inlined::<Front<ServerLayer>>(bound, settings, selection, move |seat| {
            let published = Arc::clone(&published[seat.number]);
            #[cfg(feature = "tls")]
            let layer = TlsShared::new(tls.as_ref(), Arc::clone(&stats[seat.number]));
            #[cfg(not(feature = "tls"))]
            let layer = ();
            let compressor = Arc::clone(&its_compressor);
            let evictions = SitesMessage::evictions(poster(seat.postbox.clone()));
            compressor.tell_evictions(Box::new(evictions));
            let post = SitesMessage::reports(poster(seat.postbox));
            let sites = Sites::watching(http.clone(), Now::read(), Box::new(post))
                .publishing(published)
                .compressing(compressor)
                .recording(seat.number);
            SecuredService::new(layer, sites, http.events.clone())
        })?;
    let updater = HttpUpdater { updater, generation, timeouts: settings.timeouts, roles, has_tls };
    Ok(HttpServer {
        server,
        caches,
        compressor,
        #[cfg(feature = "tls")]
        tls: tls_stats,
        updater,
    })
}

/// Posts messages to the sites of a worker. Returns the message if there is no room for it.
fn poster(
    postbox: Postbox<ServerMessage>,
) -> impl FnMut(SitesMessage) -> Result<(), SitesMessage> + Send + 'static {
    move |message| {
        postbox.post(SecuredMessage::Inner(message)).map_err(|message| match message {
            SecuredMessage::Inner(message) => message,
            _ => unreachable!("a message for the sites was posted"),
        })
    }
}

/// Starts an echo server. Returns when clients can connect.
///
/// # Errors
///
/// As for [`server::start`].
pub fn echo(settings: &ServerSettings, selection: DriverSelection) -> Result<Server, StartError> {
    server::start::<Echo>(settings, selection, |_| ())
}
