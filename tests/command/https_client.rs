//! A client of HTTPS that says what it was shown.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringd::tls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion,
    RootCertStore, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use crate::https_made::{Authority, Pair};

/// Longer than anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A client. It keeps tickets for its next connections.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

/// An answer, and the connection that it came by.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The certificate that the server has shown.
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) kind: HandshakeKind,
    pub(crate) version: ProtocolVersion,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// A connection whose handshake is complete.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    /// A client that accepts only certificates of this authority.
    pub(crate) fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let provider = Arc::clone(provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        Self::made(verifier, &[&TLS13, &TLS12], None)
    }

    /// A client that accepts every certificate, and leaves it to the test to look at it.
    pub(crate) fn trusting_all() -> Self {
        Self::made(Arc::new(AcceptAll), &[&TLS13, &TLS12], None)
    }

    fn made(
        verifier: Arc<dyn ServerCertVerifier>,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Pair>,
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_auth_cert(vec![pair.der.clone()], pair.key_der()).unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(32);
        Self { config: Arc::new(config) }
    }

    /// The same with TLS 1.2 only, and every certificate is accepted.
    pub(crate) fn old() -> Self {
        Self::made(Arc::new(AcceptAll), &[&TLS12], None)
    }

    /// The same with a certificate of its own, and every certificate is accepted.
    pub(crate) fn with_identity(pair: &Pair) -> Self {
        Self::made(Arc::new(AcceptAll), &[&TLS13, &TLS12], Some(pair))
    }

    /// The same, but it offers these application protocols.
    pub(crate) fn with_protocols(mut self, protocols: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        self
    }

    /// The same, but it asks for no name.
    pub(crate) fn without_name(mut self) -> Self {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// A connection that has sent and received nothing.
    pub(crate) fn begin(&self, address: SocketAddr, name: &str) -> Stream {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        StreamOwned::new(connection, stream)
    }

    /// Asks for a path on its own connection.
    pub(crate) fn try_get(
        &self,
        address: SocketAddr,
        name: &str,
        path: &str,
    ) -> io::Result<Answer> {
        let mut stream = self.begin(address, name);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        if let Err(error) = stream.write_all(request.as_bytes()) {
            // The server may have refused the certificate of the client meanwhile. It says why.
            while stream.conn.read_tls(&mut stream.sock)? > 0 {
                stream.conn.process_new_packets().map_err(io::Error::other)?;
            }
            return Err(error);
        }
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let body = bytes.split_off(end.ok_or(io::ErrorKind::UnexpectedEof)? + 4);
        Ok(Answer {
            head: String::from_utf8(bytes).unwrap(),
            body,
            leaf: stream.conn.peer_certificates().unwrap()[0].clone().into_owned(),
            kind: stream.conn.handshake_kind().unwrap(),
            version: stream.conn.protocol_version().unwrap(),
            alpn: stream.conn.alpn_protocol().map(<[u8]>::to_vec),
        })
    }

    /// Asks for the page of a site, which must be served.
    #[track_caller]
    pub(crate) fn get(&self, address: SocketAddr, name: &str) -> Answer {
        let answer = self.try_get(address, name, "/");
        let answer = answer.unwrap_or_else(|error| panic!("{name} at {address}: {error}"));
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
        answer
    }

    /// Asks for the page of a site, which must fail with an error that has this word.
    #[track_caller]
    pub(crate) fn assert_fails(&self, address: SocketAddr, name: &str, word: &str) {
        match self.try_get(address, name, "/") {
            Ok(answer) => panic!("{name} at {address} is served: {}", answer.head),
            Err(error) => assert!(error.to_string().contains(word), "no {word:?} in: {error}"),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.version, self.kind, self.head)
    }
}

/// The SHA-256 digest of a certificate, as ringd writes it.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("a suite of TLS 1.3");
    let digest = suite.common.hash_provider.hash(certificate);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// Accepts every certificate, but checks that the server has its key.
#[derive(Debug)]
struct AcceptAll;

impl ServerCertVerifier for AcceptAll {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
