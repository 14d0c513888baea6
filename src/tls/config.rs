//! The settings of TLS, and what the TLS connections of a worker share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{KeyLog, NoKeyLog, RootCertStore, ServerConfig};

use super::certificate_error::CertificateError;
use super::client_verifier::BoundedVerifier;
use super::pem::PemFile;
use super::provider::provider;
use super::stats::TlsStats;

/// What a server offers in application protocols (RFC 7301), the best one first. Without HTTP/2 it
/// offers only the last one.
pub(super) const OFFERED: [&str; 2] = ["h2", "http/1.1"];

/// The longest server name that is kept.
const SERVER_NAME_MAX: usize = 253;

/// How TLS is to be spoken.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Whether clients need TLS 1.3. Otherwise 1.2 is accepted too.
    pub needs_tls13: bool,
    /// Whether HTTP/2 is offered.
    pub has_http2: bool,
    /// A file with the certificates of those who issue the certificates of clients. Then every
    /// client must have one.
    pub client_ca: Option<PathBuf>,
    /// How long a handshake may take, from the start of the connection.
    pub handshake_timeout: Duration,
    /// Where the secrets of connections are logged, for those who look into recorded packets.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        let handshake_timeout = Duration::from_secs(10);
        Self {
            needs_tls13: false,
            has_http2: true,
            client_ca: None,
            handshake_timeout,
            key_log: None,
        }
    }
}

/// Settings with certificates, ready for connections. Its clones share all of it.
#[derive(Clone)]
pub struct TlsConfig {
    server: Arc<ServerConfig>,
    certificates: Arc<dyn ResolvesServerCert>,
    tickets: Arc<dyn ProducesTickets>,
    /// Those who issue the certificates of clients; `None` if clients need none.
    client_issuers: Option<Arc<[CertificateDer<'static>]>>,
    handshake_timeout: Duration,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

/// Why TLS cannot be spoken with these settings.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The file with the issuers of client certificates cannot be used.
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// That file cannot be read.
    ClientCaFile(CertificateError),
    /// The library refuses.
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCa { path, reason } => write!(
                f,
                "cannot use {} as the issuers of client certificates: {reason}; name a file with \
                 their certificates in PEM form",
                path.display()
            ),
            Self::ClientCaFile(error) => {
                write!(f, "cannot learn who issues the certificates of clients: {error}")
            }
            Self::Rustls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

impl TlsConfig {
    /// A configuration with these certificates. Tickets of `before` are accepted if it is given,
    /// and no others: a ticket must not outlive the key that vouched for it. If clients need
    /// certificates, there are no tickets: a client that resumes is not asked for its certificate
    /// again, though that may have expired.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub fn new(
        settings: &TlsSettings,
        certificates: Arc<dyn ResolvesServerCert>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let client_issuers = settings.client_ca.as_deref().map(read_issuers).transpose()?;
        let tickets = match before {
            Some(before) => Arc::clone(&before.tickets),
            None => rustls::crypto::aws_lc_rs::Ticketer::new()?,
        };
        let provider = Arc::clone(provider());
        let versions = if settings.needs_tls13 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = match (&settings.client_ca, &client_issuers) {
            (Some(path), Some(issuers)) => {
                let failed = |reason: String| TlsError::ClientCa { path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for issuer in issuers.iter().cloned() {
                    roots.add(issuer).map_err(|error| failed(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = verifier.build().map_err(|error| failed(error.to_string()))?;
                builder.with_client_cert_verifier(Arc::new(BoundedVerifier(verifier)))
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::clone(&certificates));
        let offered = if settings.has_http2 { &OFFERED[..] } else { &OFFERED[1..] };
        server.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        if client_issuers.is_none() {
            server.ticketer = Arc::clone(&tickets);
        }
        // Browsers reconnect once with a ticket, and each costs 200 bytes and a seal.
        server.send_tls13_tickets = 1;
        // Tickets suffice; a store would be shared and locked.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;
        server.key_log = settings.key_log.clone().unwrap_or_else(|| Arc::new(NoKeyLog));
        let handshake_timeout = settings.handshake_timeout;
        let server = Arc::new(server);
        Ok(Self { server, certificates, tickets, client_issuers, handshake_timeout })
    }

    /// Whether both need certificates of clients from the same issuers, or none.
    #[must_use]
    pub fn accepts_clients_of(&self, other: &Self) -> bool {
        self.client_issuers == other.client_issuers
    }
}

fn read_issuers(path: &Path) -> Result<Arc<[CertificateDer<'static>]>, TlsError> {
    let file = PemFile::read(path).map_err(TlsError::ClientCaFile)?;
    match file.certificates.is_empty() {
        true => Err(TlsError::ClientCa { path: path.to_owned(), reason: file.content.to_string() }),
        false => Ok(file.certificates.into()),
    }
}

/// What the TLS connections of a worker share.
#[derive(Debug)]
pub struct TlsShared {
    /// The configuration for new connections; `None` in a server without TLS.
    config: Option<WorkerConfig>,
    /// What the worker counts.
    pub stats: Arc<TlsStats>,
    scratch: Vec<u8>,
}

/// A configuration for one worker.
#[derive(Debug)]
struct WorkerConfig {
    server: Arc<ServerConfig>,
    chosen: Arc<Chosen>,
    verifies_clients: bool,
    handshake_timeout: Duration,
}

/// Chooses certificates, and keeps the name for which it has chosen last: rustls does not tell the
/// user of an unbuffered connection.
#[derive(Debug)]
pub(super) struct Chosen {
    certificates: Arc<dyn ResolvesServerCert>,
    /// Only one worker uses it, so nobody waits for the lock.
    name: Mutex<Option<Box<str>>>,
}

impl Chosen {
    /// The name for which a certificate was chosen since the last call.
    pub(super) fn take_name(&self) -> Option<Box<str>> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().filter(|name| name.len() <= SERVER_NAME_MAX);
        let name = name.map(|name| name.to_ascii_lowercase().into());
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
        self.certificates.resolve(hello)
    }
}

impl WorkerConfig {
    fn new(config: &TlsConfig) -> Self {
        let certificates = Arc::clone(&config.certificates);
        let chosen = Arc::new(Chosen { certificates, name: Mutex::default() });
        let mut server = (*config.server).clone();
        server.cert_resolver = Arc::clone(&chosen) as Arc<dyn ResolvesServerCert>;
        let (server, handshake_timeout) = (Arc::new(server), config.handshake_timeout);
        let verifies_clients = config.client_issuers.is_some();
        Self { server, chosen, verifies_clients, handshake_timeout }
    }
}

impl TlsShared {
    /// For a worker that counts into `stats`.
    pub fn new(config: Option<&TlsConfig>, stats: Arc<TlsStats>) -> Self {
        Self { config: config.map(WorkerConfig::new), stats, scratch: Vec::new() }
    }

    fn config(&self) -> &WorkerConfig {
        self.config.as_ref().expect("a listener with TLS has a configuration")
    }

    /// A new connection, and what chooses its certificate.
    pub(super) fn connection(&self) -> (UnbufferedServerConnection, Arc<Chosen>) {
        let WorkerConfig { server, chosen, .. } = self.config();
        let connection = UnbufferedServerConnection::new(Arc::clone(server));
        let connection = connection.expect("only wrong sizes of fragments are refused");
        (connection, Arc::clone(chosen))
    }

    /// Whether clients of new connections need certificates.
    pub(super) fn verifies_clients(&self) -> bool {
        self.config().verifies_clients
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.config().handshake_timeout
    }

    /// New connections get another configuration.
    pub(super) fn replace(&mut self, config: &TlsConfig) {
        self.config = Some(WorkerConfig::new(config));
    }

    /// An empty buffer for the input of one call.
    pub(super) fn take_scratch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch)
    }

    /// Takes it back.
    pub(super) fn put_scratch(&mut self, mut scratch: Vec<u8>) {
        scratch.clear();
        if scratch.capacity() > self.scratch.capacity() {
            self.scratch = scratch;
        }
    }
}
