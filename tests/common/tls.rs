//! TLS for tests: certificates that are made on the spot, and a client.
//!
//! Each server name has a certificate of its own, which its own key has signed. The client trusts
//! exactly these.

#![allow(dead_code, reason = "no binary uses all of this")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringd::tls::{TlsConfig, TlsSettings};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// The longest that a read or a write may block; then the test fails.
const BLOCKED_MAX: Duration = Duration::from_secs(20);

/// Certificates by names. Clients without a name, or with another one, get the first.
#[derive(Clone, Debug)]
pub(crate) struct TestCertificates(Vec<TestCertificate>);

#[derive(Clone, Debug)]
struct TestCertificate {
    names: Vec<String>,
    der: CertificateDer<'static>,
    key: Arc<CertifiedKey>,
}

impl TestCertificates {
    /// A certificate for each of these lists of names.
    pub(crate) fn for_names(lists: &[&[&str]]) -> Self {
        let make = |names: &&[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
            let der = made.cert.der().clone();
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
            let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
            let key = Arc::new(CertifiedKey::new(vec![der.clone()], key));
            TestCertificate { names, der, key }
        };
        Self(lists.iter().map(make).collect())
    }

    /// The configuration of a server with these certificates.
    pub(crate) fn server(&self, settings: &TlsSettings) -> TlsConfig {
        TlsConfig::new(settings, Arc::new(self.clone()), None).unwrap()
    }

    /// The configuration of a client that trusts them, and speaks these versions. Connections with
    /// one configuration resume each other's sessions.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        self.0.iter().for_each(|certificate| roots.add(certificate.der.clone()).unwrap());
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
        let builder = builder.with_protocol_versions(versions).unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

impl ResolvesServerCert for TestCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let has_name = |certificate: &&TestCertificate| {
            certificate.names.iter().any(|name| Some(name.as_str()) == asked)
        };
        let chosen = self.0.iter().find(has_name).or(self.0.first())?;
        Some(Arc::clone(&chosen.key))
    }
}

/// A connection with TLS.
pub(crate) struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    rest: Vec<u8>,
}

/// An answer: the status line with the fields, and the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsAnswer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl TlsClient {
    /// Connects to a server of this name. The handshake takes place with the first bytes.
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the server accepts connections");
        socket.set_read_timeout(Some(BLOCKED_MAX)).unwrap();
        socket.set_write_timeout(Some(BLOCKED_MAX)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { stream: StreamOwned::new(connection, socket), rest: Vec::new() }
    }

    /// Sends bytes, after the handshake.
    ///
    /// # Errors
    ///
    /// When the handshake fails, or the connection ends.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends a request without content, and returns its answer. `fields` are lines with their ends.
    pub(crate) fn ask(&mut self, method: &str, host: &str, rest: &str) -> TlsAnswer {
        let (target, fields) = rest.split_once(' ').unwrap_or((rest, ""));
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.try_send(request).expect("the server reads");
        self.read(method == "HEAD")
    }

    fn read(&mut self, is_head: bool) -> TlsAnswer {
        let end = loop {
            match self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read_more(),
            }
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let mut answer = TlsAnswer { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        let length = answer.field("Content-Length").map_or(0, |length| length.parse().unwrap());
        let length = if is_head || answer.status() == 304 { 0 } else { length };
        while self.rest.len() < length {
            self.read_more();
        }
        answer.body = self.rest.drain(..length).collect();
        answer
    }

    fn read_more(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).expect("the answer goes on");
        assert!(read > 0, "the connection has ended within an answer");
        self.rest.extend_from_slice(&buffer[..read]);
    }

    /// Reads to the end, and returns what has come; an error if the end is no end of TLS.
    pub(crate) fn read_to_end(mut self) -> io::Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.rest)?;
        Ok(self.rest)
    }
}

impl TlsAnswer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.head))
    }

    /// The value of a field, which may occur at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|field| field.0.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| field.1);
        assert_eq!(values.next(), None, "two fields {name} in {}", self.head);
        value
    }
}
