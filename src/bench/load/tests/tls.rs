//! The load against a small server with TLS in this process.

use std::sync::Mutex;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group::SECP384R1;
use rustls::version::TLS13;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::tls::{Certificate, Certificates, SiteCertificates, provider};

const CONNECTIONS: u32 = 3;

/// The settings of a server, with a provider that the client may not expect.
fn settings(provider: CryptoProvider) -> ServerConfig {
    let certificate = Arc::new(Certificate::self_signed(&[]).unwrap());
    let site =
        SiteCertificates { hosts: vec![], is_default: true, certificates: vec![certificate] };
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates::new(vec![site])))
}

/// Answers requests, and records the kinds of the handshakes. With `closes`, a connection ends
/// after one answer. The first connection waits until there have been `held` answers on others.
fn serve(
    config: ServerConfig,
    closes: bool,
    held: u64,
) -> (SocketAddr, Arc<Mutex<Vec<HandshakeKind>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, kinds) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
    let recorded = Arc::clone(&kinds);
    let all = Arc::new(AtomicU64::new(0));
    let answered = Arc::clone(&all);
    let answer_all = move |stream: TcpStream, config, kinds: &Mutex<Vec<HandshakeKind>>| {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let (mut request, mut byte, mut answers) = (Vec::new(), [0], 0);
        while matches!(stream.read(&mut byte), Ok(1)) {
            request.push(byte[0]);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                if answers == 0 {
                    kinds.lock().unwrap().extend(stream.conn.handshake_kind());
                }
                answers += 1;
                all.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(ANSWER).is_err() || closes {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                    return;
                }
            }
        }
    };
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let (config, kinds) = (Arc::clone(&config), Arc::clone(&kinds));
            let (all, answer_all) = (Arc::clone(&answered), answer_all.clone());
            thread::spawn(move || {
                while number == 0 && all.load(Ordering::SeqCst) < held {
                    thread::sleep(Duration::from_millis(1));
                }
                answer_all(stream, config, &kinds);
            });
        }
    });
    (address, recorded)
}

fn close_load(address: SocketAddr, tls: TlsHandshake) -> Load {
    Load { shape: Shape::Close, tls: Some(tls), ..load(address, CONNECTIONS) }
}

/// The error of a load that has to fail.
fn failure(load: &Load) -> String {
    let result = load.run(DriverKind::Epoll, &mut || Ok(()));
    result.map(|result| result.requests).unwrap_err().to_string()
}

#[test]
fn handshakes_are_of_the_kind_that_is_measured() {
    for (tls, wanted) in
        [(TlsHandshake::Full, HandshakeKind::Full), (TlsHandshake::Resumed, HandshakeKind::Resumed)]
    {
        let (address, kinds) = serve(settings((**provider()).clone()), true, 0);
        let mut marks = Vec::new();
        let load = Load { warm_up: Duration::from_nanos(1), ..close_load(address, tls) };
        let result = load.run(DriverKind::Epoll, &mut || {
            marks.push(kinds.lock().unwrap().len());
            Ok(())
        });
        let result = result.unwrap();
        let kinds = kinds.lock().unwrap();
        // The first handshake of each connection is full. A fast connection may be at its second
        // one before a slow one has its first.
        let others = kinds.iter().filter(|kind| **kind != wanted).collect::<Vec<_>>();
        let count = if wanted == HandshakeKind::Full { 0 } else { CONNECTIONS as usize };
        assert_eq!(others, vec![&HandshakeKind::Full; count], "{tls}: {kinds:?}");
        // Each answer has a connection. Answers that were on their way at the first mark are
        // counted.
        let most = marks[1] - marks[0] + CONNECTIONS as usize;
        assert!((1..=most as u64).contains(&result.requests), "{} of {marks:?}", result.requests);
        let agreed = result.agreed.unwrap().to_string();
        assert!(agreed.starts_with("TLS 1.3, TLS_"), "{agreed}");
    }
}

#[test]
fn a_row_of_resumed_handshakes_fails_without_tickets() {
    let mut config = settings((**provider()).clone());
    config.send_tls13_tickets = 0;
    let (address, _) = serve(config, true, 0);
    let load = close_load(address, TlsHandshake::Resumed);
    let error = failure(&load);
    assert!(error.contains("was full, but this row measures resumed ones"), "{error}");
}

/// The server wants a group for which the client sends no key share at first, so the handshake
/// takes another round trip.
#[test]
fn a_row_of_full_handshakes_fails_with_others() {
    let provider = CryptoProvider { kx_groups: vec![SECP384R1], ..(**provider()).clone() };
    let (address, _) = serve(settings(provider), true, 0);
    let load = close_load(address, TlsHandshake::Full);
    let error = failure(&load);
    assert!(error.contains("second attempt") && error.contains("full ones"), "{error}");
}

#[test]
fn suites_are_those_of_browsers_and_groups_those_of_the_run() {
    let (address, _) = serve(settings((**provider()).clone()), true, 0);
    let agreed = |groups| {
        let load = Load { groups, ..close_load(address, TlsHandshake::Full) };
        load.run(DriverKind::Epoll, &mut || Ok(())).unwrap().agreed.unwrap()
    };
    let [browser, classic] = [TlsGroups::Browser, TlsGroups::Classic].map(agreed);
    assert_eq!(browser.cipher_suite, "TLS_AES_128_GCM_SHA256");
    assert_eq!(browser.group, "X25519MLKEM768");
    assert_eq!(classic, AgreedTls { group: "X25519".to_owned(), ..browser });
}

/// One handshake takes longer than some answers on each of the other connections.
#[test]
fn handshakes_of_persistent_connections_are_not_measured() {
    let (address, kinds) = serve(settings((**provider()).clone()), false, 100);
    let short = Duration::from_nanos(1);
    let load = Load { shape: Shape::KeepAlive, ..close_load(address, TlsHandshake::Full) };
    let load = Load { warm_up: short, connections: 20, ..load };
    let mut marks = Vec::new();
    let result = load.run(DriverKind::Epoll, &mut || {
        marks.push(kinds.lock().unwrap().len());
        Ok(())
    });
    assert!(result.unwrap().requests >= 1);
    assert_eq!(marks, [20, 20]);
}

#[test]
fn a_server_without_tls_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = close_load(listener.local_addr().unwrap(), TlsHandshake::Full);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let error = failure(&load);
    assert!(error.starts_with("TLS failed: "), "{error}");
}
