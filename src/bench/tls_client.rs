//! TLS of the client: a connection of rustls for each of the concurrent connections of a load.
//!
//! A slot outlives its connections, because it keeps the session ticket for the next one. It checks
//! that each handshake is of the expected kind: otherwise a row would measure something else than
//! it says. The client accepts every certificate: the server is a child of this process, which has
//! just made its certificate, and checks by a client are no cost of the server.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    NamedGroup, SignatureScheme,
};
use serde::Serialize;

use super::answers::AnswerError;
use super::plan::{BenchProtocol, TlsHandshake};
use crate::driver::Chain;
use crate::tls::{cipher_name, provider};

/// The application protocols by their names (RFC 7301, RFC 9113 section 3.1).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What client and server have agreed on in a handshake.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct AgreedTls {
    /// The version of TLS.
    pub version: &'static str,
    /// The cipher suite, by its registered name.
    pub cipher_suite: &'static str,
    /// The group of the key exchange (RFC 8446 section 4.2.7).
    pub group: String,
}

impl fmt::Display for AgreedTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, cipher_suite, group } = self;
        write!(f, "TLS {version}, {cipher_suite}, {group}")
    }
}

/// Why a connection of the client fails.
#[derive(Debug)]
pub enum ClientTlsError {
    /// The library reports an error, such as an alert of the server.
    Library(Error),
    /// A handshake is not of the kind that the row measures.
    Kind {
        /// The kind that the row measures.
        expected: TlsHandshake,
        /// The kind of the handshake.
        found: HandshakeKind,
    },
    /// The server does not choose HTTP/2, which the row measures, but this protocol or none.
    NoHttp2(Option<String>),
    /// An answer is not the expected one.
    Answer(AnswerError),
}

impl fmt::Display for ClientTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => write!(
                f,
                "TLS failed: {error}; check the options of TLS after `--`, or leave out --tls"
            ),
            Self::Kind { expected, found } => {
                let found = match found {
                    HandshakeKind::Full => "full",
                    HandshakeKind::FullWithHelloRetryRequest => "full with a second attempt",
                    HandshakeKind::Resumed => "resumed",
                };
                write!(
                    f,
                    "a handshake was {found}, but this row measures {expected} ones; the server \
                     does not treat session tickets as expected, so run without --tls"
                )
            }
            Self::NoHttp2(found) => write!(
                f,
                "the server chose {} in the handshake, but this row measures HTTP/2; turn it on in \
                 the server, or leave out --h2",
                found.as_deref().unwrap_or("no protocol")
            ),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

impl From<Error> for ClientTlsError {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<io::Error> for ClientTlsError {
    fn from(error: io::Error) -> Self {
        Self::Library(Error::General(error.to_string()))
    }
}

/// The groups that the client offers for the key exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TlsGroups {
    /// Those of a browser, first the one with ML-KEM.
    Browser,
    /// Those without ML-KEM. OpenSSL has it from 3.5 on, so servers with another library would not
    /// do the same work.
    Classic,
}

/// The provider of the client. Its cipher suites are in the order of browsers, which begin with
/// AES-128: the hash of that suite makes a handshake cheaper, and servers follow the client.
fn client_provider(groups: TlsGroups) -> CryptoProvider {
    let mut own = CryptoProvider::clone(provider());
    own.cipher_suites.sort_by_key(|it| it.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    if groups == TlsGroups::Classic {
        own.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
    }
    own
}

/// TLS of one of the concurrent connections; see the module documentation.
#[derive(Debug)]
pub(super) struct TlsSlot {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
    connection: ClientConnection,
    expected: TlsHandshake,
    protocol: BenchProtocol,
    /// Whether the connection before had an answer, so the slot has a ticket.
    has_ticket: bool,
    /// Whether the handshake of this connection is checked.
    is_checked: bool,
}

impl TlsSlot {
    /// A slot whose handshakes, from the second connection on, are of the kind `expected`.
    ///
    /// # Errors
    ///
    /// When the library refuses the settings.
    pub(super) fn new(
        expected: TlsHandshake,
        protocol: BenchProtocol,
        groups: TlsGroups,
        server: IpAddr,
    ) -> Result<Self, ClientTlsError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(client_provider(groups)))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        config.alpn_protocols = match protocol {
            BenchProtocol::Http1 => vec![HTTP1.to_vec()],
            // Like a browser. So a server without HTTP/2 is found by its choice, not by an alert.
            BenchProtocol::Http2 { .. } => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        };
        config.resumption = match expected {
            TlsHandshake::Full => Resumption::disabled(),
            TlsHandshake::Resumed => Resumption::in_memory_sessions(1),
        };
        let (config, server) = (Arc::new(config), ServerName::from(server));
        let connection = ClientConnection::new(Arc::clone(&config), server.clone())?;
        let (has_ticket, is_checked) = (false, false);
        Ok(Self { config, server, connection, expected, protocol, has_ticket, is_checked })
    }

    /// Begins a new connection. `has_ticket` says whether the one before had an answer. If not, it
    /// may have used up the ticket, so the next handshake may be of any kind.
    ///
    /// # Errors
    ///
    /// When the library refuses the settings.
    pub(super) fn restart(&mut self, has_ticket: bool) -> Result<(), ClientTlsError> {
        self.connection = ClientConnection::new(Arc::clone(&self.config), self.server.clone())?;
        (self.has_ticket, self.is_checked) = (has_ticket, false);
        Ok(())
    }

    /// Encrypts requests into a chain. Before the end of the handshake, the chain gets what begins
    /// it, and the requests follow with its end.
    ///
    /// # Errors
    ///
    /// When the library cannot encrypt.
    pub(super) fn send(
        &mut self,
        requests: &[u8],
        chain: &mut Chain,
    ) -> Result<(), ClientTlsError> {
        self.connection.writer().write_all(requests)?;
        self.take_output(chain)
    }

    /// Whether there is something to send.
    pub(super) fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Moves everything that is to be sent into a chain.
    ///
    /// # Errors
    ///
    /// None that are expected: memory takes all bytes.
    pub(super) fn take_output(&mut self, chain: &mut Chain) -> Result<(), ClientTlsError> {
        let mut written = Ok(0);
        chain.copy_with(|bytes| {
            while self.connection.wants_write() && written.is_ok() {
                written = self.connection.write_tls(bytes);
            }
        });
        Ok(written.map(drop)?)
    }

    /// Takes bytes that have arrived, and passes what is in them to `feed`. Returns how many
    /// answers they complete: the sum of what `feed` returns.
    ///
    /// # Errors
    ///
    /// When TLS fails, the handshake is of another kind or agrees on another protocol, or an answer
    /// is not the expected one.
    pub(super) fn receive(
        &mut self,
        mut bytes: &[u8],
        mut feed: impl FnMut(&[u8]) -> Result<u32, AnswerError>,
    ) -> Result<u32, ClientTlsError> {
        let mut complete = 0;
        // The server may send nothing after its `close_notify`; what comes is not taken.
        while !bytes.is_empty() && self.connection.read_tls(&mut bytes)? > 0 {
            let mut left = self.connection.process_new_packets()?.plaintext_bytes_to_read();
            self.check_handshake()?;
            while left > 0 {
                let mut reader = self.connection.reader();
                let plaintext = reader.fill_buf()?;
                let count = plaintext.len();
                complete += feed(plaintext).map_err(ClientTlsError::Answer)?;
                reader.consume(count);
                left = if count == 0 { 0 } else { left.saturating_sub(count) };
            }
        }
        Ok(complete)
    }

    fn check_handshake(&mut self) -> Result<(), ClientTlsError> {
        if self.is_checked || self.connection.is_handshaking() {
            return Ok(());
        }
        self.is_checked = true;
        let chosen = self.connection.alpn_protocol();
        if matches!(self.protocol, BenchProtocol::Http2 { .. }) && chosen != Some(HTTP2) {
            let chosen = chosen.map(|name| String::from_utf8_lossy(name).into_owned());
            return Err(ClientTlsError::NoHttp2(chosen));
        }
        let Some(found) = self.connection.handshake_kind() else { return Ok(()) };
        let wanted = match self.expected {
            TlsHandshake::Full => HandshakeKind::Full,
            TlsHandshake::Resumed if self.has_ticket => HandshakeKind::Resumed,
            TlsHandshake::Resumed => return Ok(()),
        };
        match found == wanted {
            true => Ok(()),
            false => Err(ClientTlsError::Kind { expected: self.expected, found }),
        }
    }

    /// What the handshake of this connection has agreed on; `None` before its end.
    pub(super) fn agreed(&self) -> Option<AgreedTls> {
        let suite = self.connection.negotiated_cipher_suite().filter(|_| self.is_checked)?;
        let group = self.connection.negotiated_key_exchange_group()?;
        Some(AgreedTls {
            // The client offers no other one.
            version: "1.3",
            cipher_suite: cipher_name(suite.suite()),
            group: format!("{:?}", group.name()),
        })
    }
}

/// Accepts every certificate; see the module documentation.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
