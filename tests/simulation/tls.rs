//! Worlds with TLS: the server's layer, and clients of rustls.
//!
//! Keys and nonces are random, but no length depends on them: the key of the certificate makes
//! signatures of one length. So a seed replays.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use ringd::events::Events;
use ringd::secured::{Secured, SecuredMessage, SecuredService};
use ringd::session::Session;
use ringd::tls::{Tls, TlsConfig, TlsSettings, TlsShared};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::security::{Message, Security, Shared, Wire};

/// The name in the certificate.
pub(crate) const NAME: &str = "server.example";

/// A certificate and its key, made once.
pub(crate) fn certificate() -> Arc<CertifiedKey> {
    static CERTIFICATE: OnceLock<Arc<CertifiedKey>> = OnceLock::new();
    let make = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let names = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let chain = vec![CertificateDer::from(names.self_signed(&key).unwrap())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap())
    };
    Arc::clone(CERTIFICATE.get_or_init(make))
}

/// A server's configuration.
pub(crate) fn server(settings: &TlsSettings) -> TlsConfig {
    let certificates = SingleCertAndKey::from((*certificate()).clone());
    TlsConfig::new(settings, Arc::new(certificates), None).unwrap()
}

/// A configuration of clients of this version. Its connections resume sessions of each other.
pub(crate) fn client(is_old: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().cert[0].clone()).unwrap();
    let version = if is_old { &TLS12 } else { &TLS13 };
    let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A client's side of a connection.
pub(crate) fn connect(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    connection.set_buffer_limit(None);
    connection
}

/// See the module documentation.
pub(crate) struct InTlsFor<const HTTP2: bool> {
    client: Arc<ClientConfig>,
    is_old: bool,
}

pub(crate) type InTls = InTlsFor<false>;
pub(crate) type InTlsForHttp2 = InTlsFor<true>;

impl<const HTTP2: bool> Security for InTlsFor<HTTP2> {
    type Session<S: Session> = Secured<Tls, S>;

    fn new(random: &mut Rng) -> Self {
        let is_old = random.u8(..3) == 0;
        let mut client = client(is_old);
        if HTTP2 {
            Arc::make_mut(&mut client).alpn_protocols = vec![b"h2".to_vec()];
        }
        Self { client, is_old }
    }

    fn shared<S: Session>(
        &self,
        inner: Shared<S>,
        handshake: Duration,
    ) -> SecuredService<Tls, Shared<S>> {
        let settings = TlsSettings { handshake_timeout: handshake, ..TlsSettings::default() };
        let layer = TlsShared::new(Some(&server(&settings)), Arc::default());
        SecuredService::new(layer, inner, Events::default())
    }

    fn message<S: Session>(message: Message<S>) -> Message<Secured<Tls, S>> {
        SecuredMessage::Inner(message)
    }

    fn take_back<S: Session>(message: Message<Secured<Tls, S>>) -> Message<S> {
        let SecuredMessage::Inner(message) = message else { panic!("not for the layer") };
        message
    }

    fn wire(&self, _: &mut Rng) -> Option<Box<dyn Wire>> {
        Some(Box::new(TlsWire::new(&self.client, self.is_old)))
    }

    fn broken_wire(&self, random: &mut Rng) -> Option<Box<dyn Wire>> {
        let mut wire = TlsWire { is_broken: true, ..TlsWire::new(&self.client, self.is_old) };
        match random.u8(..3) {
            0 => wire.out = (0..random.usize(1..100)).map(|_| random.u8(..)).collect(),
            1 => wire.out.truncate(random.usize(..wire.out.len())),
            _ => {
                // The heads of the record and of the message, which have no random bytes.
                let place = random.usize(..11);
                wire.out[place] ^= random.u8(1..);
            }
        }
        Some(Box::new(wire))
    }
}

/// A client's end of a TLS connection.
struct TlsWire {
    connection: ClientConnection,
    out: Vec<u8>,
    is_old: bool,
    is_broken: bool,
    ended: bool,
}

impl TlsWire {
    fn new(client: &Arc<ClientConfig>, is_old: bool) -> Self {
        let (connection, out) = (connect(client), Vec::new());
        let mut wire = Self { connection, out, is_old, is_broken: false, ended: false };
        wire.flush();
        wire
    }

    fn flush(&mut self) {
        // A wire that is broken says nothing but what is in `out` from the beginning.
        while self.connection.wants_write() && !self.is_broken {
            self.connection.write_tls(&mut self.out).unwrap();
        }
    }

    /// Reads the plaintext that there is.
    fn read(&mut self, plain: &mut Vec<u8>) {
        let mut piece = [0; 4096];
        loop {
            match self.connection.reader().read(&mut piece) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(count) => plain.extend_from_slice(&piece[..count]),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

impl Wire for TlsWire {
    fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn say(&mut self, random: &mut Rng, plain: &[u8]) -> usize {
        if self.connection.is_handshaking() || self.is_broken {
            return 0;
        }
        if !self.is_old && random.u8(..20) == 0 {
            self.connection.refresh_traffic_keys().unwrap();
        }
        let max = [1, 50, 40_000][random.usize(..3)].max(plain.len() / 100).min(plain.len());
        let count = random.usize(1..=max);
        self.connection.writer().write_all(&plain[..count]).unwrap();
        self.flush();
        count
    }

    fn end(&mut self) {
        self.connection.send_close_notify();
        self.flush();
    }

    fn hear(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) {
        while !bytes.is_empty() {
            assert!(!self.ended, "nothing follows the end of output");
            let read = self.connection.read_tls(&mut bytes);
            match read.map(|_| self.connection.process_new_packets()) {
                Ok(Ok(_)) => self.read(plain),
                other => {
                    assert!(self.is_broken, "{other:?}");
                    return;
                }
            }
        }
        assert!(plain.is_empty() || !self.is_broken, "a broken handshake was completed");
        self.flush();
    }

    fn is_ready(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}
