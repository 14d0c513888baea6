//! The settings of TLS, and what the TLS connections of a worker share.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{KeyLog, NoKeyLog, RootCertStore, ServerConfig};

use super::provider::provider;
use super::stats::TlsStats;

/// What a server offers in application protocols (RFC 7301).
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// The longest server name that is kept.
const SERVER_NAME_MAX: usize = 253;

/// How TLS is to be spoken.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Whether clients need TLS 1.3. Otherwise 1.2 is accepted too.
    pub needs_tls13: bool,
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
        Self { needs_tls13: false, client_ca: None, handshake_timeout, key_log: None }
    }
}

/// Settings with certificates, ready for connections. Its clones share all of it.
#[derive(Clone)]
pub struct TlsConfig {
    server: Arc<ServerConfig>,
    certificates: Arc<dyn ResolvesServerCert>,
    tickets: Arc<dyn ProducesTickets>,
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
    /// and no others: a ticket must not outlive the key that vouched for it.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub fn new(
        settings: &TlsSettings,
        certificates: Arc<dyn ResolvesServerCert>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let tickets = match before {
            Some(before) => Arc::clone(&before.tickets),
            None => rustls::crypto::aws_lc_rs::Ticketer::new()?,
        };
        let provider = Arc::clone(provider());
        let versions = if settings.needs_tls13 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let failed = |reason: String| TlsError::ClientCa { path: path.clone(), reason };
                let roots = read_roots(path).map_err(failed)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(
                    verifier.build().map_err(|error| failed(error.to_string()))?,
                )
            }
        };
        let mut server = builder.with_cert_resolver(Arc::clone(&certificates));
        server.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        server.ticketer = Arc::clone(&tickets);
        // Browsers reconnect once with a ticket, and each costs 200 bytes and a seal.
        server.send_tls13_tickets = 1;
        // Tickets suffice; a store would be shared and locked.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;
        server.key_log = settings.key_log.clone().unwrap_or_else(|| Arc::new(NoKeyLog));
        let handshake_timeout = settings.handshake_timeout;
        Ok(Self { server: Arc::new(server), certificates, tickets, handshake_timeout })
    }
}

fn read_roots(path: &PathBuf) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("it has no certificate".to_owned()),
        false => Ok(roots),
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
    handshake_timeout: Duration,
}

/// Chooses certificates, and keeps the name for which it has chosen last: rustls does not tell the
/// user of an unbuffered connection.
#[derive(Debug)]
struct Chosen {
    certificates: Arc<dyn ResolvesServerCert>,
    /// Only one worker uses it, so nobody waits for the lock.
    name: Mutex<Option<Box<str>>>,
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
        Self { server: Arc::new(server), chosen, handshake_timeout: config.handshake_timeout }
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

    /// A new connection.
    pub(super) fn connection(&self) -> UnbufferedServerConnection {
        let server = Arc::clone(&self.config().server);
        UnbufferedServerConnection::new(server).expect("only wrong sizes of fragments are refused")
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.config().handshake_timeout
    }

    /// New connections get another configuration.
    pub(super) fn replace(&mut self, config: &TlsConfig) {
        self.config = Some(WorkerConfig::new(config));
    }

    /// The name for which a certificate was chosen since the last call.
    pub(super) fn take_server_name(&self) -> Option<Box<str>> {
        self.config().chosen.name.lock().unwrap_or_else(PoisonError::into_inner).take()
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
