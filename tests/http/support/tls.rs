//! TLS on the client's side, so that tests of behaviour also run over HTTPS.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ringd::tls::{Certificate, Certificates, SiteCertificates, TlsConfig, TlsSettings};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

thread_local! {
    static OVER_TLS: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose servers speak TLS, and whose clients do.
pub(crate) fn over_tls(test: impl FnOnce()) {
    OVER_TLS.set(true);
    test();
}

/// Whether servers and clients speak TLS.
pub(crate) fn is_on() -> bool {
    OVER_TLS.get()
}

/// What a server needs; the certificate is made once.
pub(crate) fn server_config(handshake_timeout: Duration) -> TlsConfig {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let made = || Arc::new(Certificate::self_signed(&[]).unwrap());
    let certificates = vec![Arc::clone(CERTIFICATE.get_or_init(made))];
    let site = SiteCertificates { hosts: Vec::new(), is_default: true, certificates };
    let settings = TlsSettings { handshake_timeout, ..TlsSettings::default() };
    TlsConfig::new(&settings, Arc::new(Certificates::new(vec![site])), None).unwrap()
}

/// A connection with TLS. Its clones share it, to send and receive from two threads.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    connection: Arc<Mutex<ClientConnection>>,
    /// What has arrived and was not read.
    plain: VecDeque<u8>,
}

impl TlsStream {
    /// The handshake begins with the first read or write.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self::with_protocols(tcp, Vec::new())
    }

    /// The same for a client that speaks HTTP/2 only.
    pub(crate) fn for_http2(tcp: TcpStream) -> Self {
        Self::with_protocols(tcp, vec![b"h2".to_vec()])
    }

    fn with_protocols(tcp: TcpStream, protocols: Vec<Vec<u8>>) -> Self {
        static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let mut config = Arc::clone(CONFIG.get_or_init(client_config));
        if !protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = protocols;
        }
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        Self { tcp, connection: Arc::new(Mutex::new(connection)), plain: VecDeque::new() }
    }

    pub(crate) fn twin(&self) -> Self {
        let connection = Arc::clone(&self.connection);
        Self { tcp: self.tcp.try_clone().unwrap(), connection, plain: VecDeque::new() }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Says that no more comes, and ends the output.
    pub(crate) fn half_close(&mut self) -> io::Result<()> {
        self.begin()?;
        let records = {
            let mut connection = self.lock();
            connection.send_close_notify();
            records(&mut connection)
        };
        (&self.tcp).write_all(&records)?;
        self.tcp.shutdown(Shutdown::Write)
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the handshake.
    fn begin(&mut self) -> io::Result<()> {
        while self.lock().is_handshaking() {
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.complete_io(&mut self.tcp)?;
        }
        Ok(())
    }
}

/// What the connection has to send.
fn records(connection: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut records).expect("memory takes all");
    }
    records
}

/// Takes all that was decrypted. `Ok` is the end of input; `WouldBlock` means that more may come.
fn take_plain(connection: &mut ClientConnection, plain: &mut VecDeque<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match connection.reader().read(&mut buffer)? {
            0 => return Ok(()),
            count => plain.extend(&buffer[..count]),
        }
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.begin() {
            // The server has closed a connection on which nothing had arrived.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            begun => begun?,
        }
        while self.plain.is_empty() {
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            match take_plain(&mut connection, &mut self.plain) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
            drop(connection);
            // Without the lock: another thread may have to send before something comes.
            let mut wire = [0; 18 * 1024];
            let read = self.tcp.read(&mut wire)?;
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mut rest = &wire[..read];
            loop {
                connection.read_tls(&mut rest)?;
                let processed = connection.process_new_packets();
                processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                let _ = take_plain(&mut connection, &mut self.plain);
                if rest.is_empty() {
                    break;
                }
            }
        }
        self.plain.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        let bytes = &bytes[..bytes.len().min(16 * 1024)];
        let (count, records) = {
            let mut connection = self.lock();
            (connection.writer().write(bytes)?, records(&mut connection))
        };
        self.tcp.write_all(&records)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client_config() -> Arc<ClientConfig> {
    let provider = Arc::clone(ringd::tls::provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let verifier = Arc::new(AnyCertificate(provider));
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Arc::new(builder.with_no_client_auth())
}

/// Accepts every certificate: these tests are about what comes after the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
