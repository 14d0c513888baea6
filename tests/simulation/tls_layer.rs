//! The layer of TLS between a client of rustls and the test.

use std::io::{Read, Write};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use fastrand::Rng;
use ringd::secured::{Layer, LayerError, fuzz_layer};
use ringd::session::Inbox;
use ringd::tls::{Tls, TlsSettings, TlsShared, TlsStats};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionTrafficSecrets, Error,
    HandshakeKind, NamedGroup, RootCertStore,
};

use crate::tls::{NAME, certificate, client, connect, server};

/// Both ends of a connection.
struct Pair {
    shared: TlsShared,
    stats: Arc<TlsStats>,
    server: Tls,
    client: ClientConnection,
    /// What the server has received, and what it has to send.
    plain: Vec<u8>,
    out: Vec<u8>,
    /// What the client has received, and whether the server has ended its output.
    heard: Vec<u8>,
    has_heard_end: bool,
    /// How the client's bytes are cut.
    piece: usize,
}

impl Pair {
    fn new(settings: &TlsSettings, config: &Arc<ClientConfig>, piece: usize) -> Self {
        let stats = Arc::default();
        let mut shared = TlsShared::new(Some(&server(settings)), Arc::clone(&stats));
        let (server, client) = (Tls::new(&mut shared), connect(config));
        Self::of(shared, stats, server, client, piece)
    }

    fn of(
        shared: TlsShared,
        stats: Arc<TlsStats>,
        server: Tls,
        client: ClientConnection,
        piece: usize,
    ) -> Self {
        let (plain, out, heard) = (Vec::new(), Vec::new(), Vec::new());
        Self { shared, stats, server, client, plain, out, heard, has_heard_end: false, piece }
    }

    /// Another connection to the same server.
    fn again(self, config: &Arc<ClientConfig>) -> Self {
        let Self { mut shared, stats, piece, .. } = self;
        let (server, client) = (Tls::new(&mut shared), connect(config));
        Self::of(shared, stats, server, client, piece)
    }

    /// What the client has to send.
    fn flight(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    fn open(&mut self, wire: &[u8]) -> Result<(), LayerError> {
        for part in wire.chunks(self.piece) {
            let mut inbox = Inbox::new(part, false);
            let Self { server, shared, plain, out, .. } = self;
            server.open(shared, &mut inbox, plain, out)?;
        }
        Ok(())
    }

    /// Passes what the server has to say to the client.
    fn hear(&mut self) -> Result<(), Error> {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
            let mut piece = [0; 20_000];
            while let Ok(count) = self.client.reader().read(&mut piece) {
                self.heard.extend_from_slice(&piece[..count]);
                self.has_heard_end = count == 0;
                if count == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Goes on until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let wire = self.flight();
            if wire.is_empty() && self.out.is_empty() {
                return;
            }
            self.open(&wire).unwrap();
            self.hear().unwrap();
        }
    }

    /// The server says this, and the client hears it.
    fn say(&mut self, plain: &[u8], record_bytes: usize) {
        self.server.seal(plain, record_bytes, &mut self.out).unwrap();
        self.hear().unwrap();
        assert!(std::mem::take(&mut self.heard) == plain);
    }
}

/// A group that the server does not have: it asks for another one (HelloRetryRequest).
#[derive(Debug)]
struct UnknownGroup;

impl SupportedKxGroup for UnknownGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for UnknownGroup {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        unreachable!("the server does not choose it")
    }

    fn pub_key(&self) -> &[u8] {
        &[4; 133]
    }

    fn group(&self) -> NamedGroup {
        self.name()
    }
}

/// The certificate is chosen twice then, and the second name must not become that of the next
/// connection, whose own one is not known before all of its first message has come.
#[test]
fn a_second_hello_leaves_no_name_behind() {
    let mut retrying = (*client(false)).clone();
    let mut provider = (**retrying.crypto_provider()).clone();
    provider.kx_groups.insert(0, &UnknownGroup);
    let builder = ClientConfig::builder_with_provider(provider.into());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate().cert[0].clone()).unwrap();
    retrying = builder.with_root_certificates(roots).with_no_client_auth();
    let mut pair = Pair::new(&TlsSettings::default(), &Arc::new(retrying), 7);
    pair.settle();
    let kind = pair.client.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::FullWithHelloRetryRequest));
    assert_eq!(pair.server.protection().unwrap().server_name.as_deref(), Some(NAME));
    let mut nameless = (*client(false)).clone();
    nameless.enable_sni = false;
    let mut pair = pair.again(&Arc::new(nameless));
    pair.settle();
    assert_eq!(pair.server.protection().unwrap().server_name, None);
}

/// A renewal while a handshake goes on.
#[test]
fn a_renewal_does_not_take_the_name_of_a_handshake() {
    let settings = TlsSettings::default();
    let mut pair = Pair::new(&settings, &client(false), 1000);
    Tls::receive(&mut pair.shared, server(&settings));
    pair.settle();
    assert_eq!(pair.server.protection().unwrap().server_name.as_deref(), Some(NAME));
}

fn long() -> Vec<u8> {
    (0..50_000).map(|at| (at % 251) as u8).collect()
}

#[test]
fn plaintext_goes_both_ways_however_the_wire_is_cut() {
    for is_old in [false, true] {
        for piece in [1, 7, 1000, 16_661] {
            let mut pair = Pair::new(&TlsSettings::default(), &client(is_old), piece);
            pair.settle();
            let protection = pair.server.protection().unwrap();
            assert_eq!(protection.version, if is_old { "TLSv1.2" } else { "TLSv1.3" });
            assert_eq!(protection.server_name.as_deref(), Some(NAME));
            assert!(!protection.is_resumed && protection.cipher.starts_with("TLS_"));
            pair.client.writer().write_all(&long()).unwrap();
            pair.settle();
            assert!(pair.plain == long());
            pair.say(&long(), 4096);
            pair.say(&long(), 16_384);
        }
    }
}

#[test]
fn a_session_is_resumed() {
    for is_old in [false, true] {
        let config = client(is_old);
        let mut pair = Pair::new(&TlsSettings::default(), &config, 1000);
        pair.settle();
        let mut pair = pair.again(&config);
        pair.settle();
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(pair.server.protection().unwrap().is_resumed);
        pair.say(b"resumed", 4096);
        let counts = TlsStats::sum(&[Arc::clone(&pair.stats)]);
        assert_eq!((counts.full, counts.resumed), (1, 1), "{counts:?}");
    }
}

#[test]
fn keys_may_change_at_any_time() {
    let mut pair = Pair::new(&TlsSettings::default(), &client(false), 3);
    pair.settle();
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(b"with new keys").unwrap();
        pair.settle();
        pair.say(&long(), 16_384);
    }
    assert_eq!(pair.plain, b"with new keys".repeat(3));
}

/// The peer may end its output together with its handshake. What comes behind it is ignored.
#[test]
fn an_end_of_input_is_noticed_and_answers_go_on() {
    for piece in [1, 100_000] {
        for is_old in [false, true] {
            let mut pair = Pair::new(&TlsSettings::default(), &client(is_old), piece);
            while pair.client.is_handshaking() {
                let wire = pair.flight();
                pair.open(&wire).unwrap();
                // The client of TLS 1.3 has its last flight now, and has not sent it.
                pair.hear().unwrap();
            }
            pair.client.writer().write_all(b"all").unwrap();
            pair.client.send_close_notify();
            let wire = [pair.flight(), vec![22, 3, 3, 0, 200, 1, 2, 3]].concat();
            pair.open(&wire).unwrap();
            pair.hear().unwrap();
            assert!(pair.server.has_ended() && pair.plain == b"all");
            assert_eq!(TlsStats::sum(&[Arc::clone(&pair.stats)]).full, 1, "in pieces of {piece}");
            pair.say(&long(), 16_384);
            pair.server.end(&mut pair.out);
            pair.hear().unwrap();
            assert!(pair.has_heard_end);
        }
    }
}

#[test]
fn a_corrupt_record_is_answered_with_an_alert() {
    for is_old in [false, true] {
        let mut pair = Pair::new(&TlsSettings::default(), &client(is_old), 1000);
        pair.settle();
        pair.client.writer().write_all(b"before").unwrap();
        pair.settle();
        pair.client.writer().write_all(b"corrupt").unwrap();
        let mut wire = pair.flight();
        *wire.last_mut().unwrap() ^= 1;
        assert_eq!(pair.open(&wire), Err(LayerError));
        assert_eq!(pair.plain, b"before");
        let heard = pair.hear().unwrap_err();
        assert_eq!(heard, Error::AlertReceived(AlertDescription::BadRecordMac));
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_it_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let names = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
    std::fs::write(&path, names.self_signed(&key).unwrap().pem()).unwrap();
    let settings = TlsSettings { client_ca: Some(path), ..TlsSettings::default() };
    for piece in [1, 100_000] {
        let mut pair = Pair::new(&settings, &client(false), piece);
        let wire = pair.flight();
        pair.open(&wire).unwrap();
        pair.hear().unwrap();
        let wire = pair.flight();
        assert_eq!(pair.open(&wire), Err(LayerError));
        assert!(pair.server.protection().is_none());
        let heard = pair.hear().unwrap_err();
        assert_eq!(heard, Error::AlertReceived(AlertDescription::CertificateRequired));
    }
}

/// A handshake waits for its turn, also behind a record that costs nothing.
#[test]
fn a_client_hello_is_costly_wherever_it_is() {
    let mut pair = Pair::new(&TlsSettings::default(), &client(false), 1000);
    let hello = pair.flight();
    assert!(pair.server.is_costly(&hello));
    assert!(!pair.server.is_costly(&hello[..hello.len() - 1]));
    let warning = [21, 3, 1, 0, 2, 1, 90];
    assert!(!pair.server.is_costly(&warning));
    assert!(pair.server.is_costly(&[&warning[..], &hello].concat()));
    pair.open(&hello[..100]).unwrap();
    assert!(!pair.server.is_costly(b""));
    assert!(pair.server.is_costly(&hello[100..]));
    pair.open(&hello[100..]).unwrap();
    pair.hear().unwrap();
    pair.settle();
    assert!(!pair.server.is_costly(&hello), "the handshake is complete");
}

#[test]
fn a_request_without_tls_is_told_what_to_do() {
    let mut pair = Pair::new(&TlsSettings::default(), &client(false), 5);
    assert_eq!(pair.open(b"GET / HTTP/1.1\r\n\r\n"), Err(LayerError));
    let answer = String::from_utf8(std::mem::take(&mut pair.out)).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
}

/// A client may spread a handshake message over records that are filled up, so what is kept of it
/// may be much longer than the message.
#[test]
fn a_message_in_many_records_is_bounded() {
    let mut config = ClientConfig::clone(&client(false));
    config.enable_secret_extraction = true;
    let config = Arc::new(config);
    let mut pair = Pair::new(&TlsSettings::default(), &config, usize::MAX);
    pair.settle();
    assert!(pair.server.protection().is_some(), "the handshake is complete");
    let client = std::mem::replace(&mut pair.client, connect(&config));
    let (first, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("the suite") };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let mut refused = false;
    for number in 0..10 {
        // Of a message that updates keys, which claims to have 64 KiB: first its head, then a byte.
        let mut record = if number == 0 { vec![24, 0, 0xff, 0xff] } else { vec![0] };
        record.push(22);
        record.resize(16_384, 0);
        let head = [23, 3, 3, 0x40, 0x10];
        let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
        for (byte, part) in nonce[4..].iter_mut().zip(u64::to_be_bytes(first + number)) {
            *byte ^= part;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(head), &mut record).unwrap();
        if pair.open(&[&head[..], &record].concat()).is_err() {
            refused = true;
            break;
        }
    }
    assert!(refused, "160 KiB of such records");
    assert_eq!(TlsStats::sum(&[Arc::clone(&pair.stats)]).broken, 1);
}

/// Bytes of any sort, and first flights that are changed, in any cut.
#[test]
fn any_bytes_have_one_outcome() {
    let mut random = Rng::with_seed(23);
    let mut shared = TlsShared::new(Some(&server(&TlsSettings::default())), Arc::default());
    assert_eq!(certificate().cert.len(), 1);
    for round in 0..200 {
        let mut bytes: Vec<u8> = vec![random.u8(..)];
        if round % 2 == 0 {
            bytes.extend((0..random.usize(..200)).map(|_| random.u8(..)));
        } else {
            connect(&client(round % 3 == 0)).write_tls(&mut bytes).unwrap();
            for _ in 0..random.usize(..3) {
                let place = random.usize(1..bytes.len());
                bytes[place] = random.u8(..);
            }
            bytes.extend((0..random.usize(..20)).map(|_| random.u8(20..24)));
        }
        fuzz_layer::<Tls>(&mut shared, &bytes);
    }
}
