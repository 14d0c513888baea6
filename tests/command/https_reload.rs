//! Reloads of a server with HTTPS, and what becomes of its session tickets.

use std::path::Path;

use rustls::HandshakeKind;

use crate::configured::{BASE, Folder, assert_hangup_says, assert_serves_page};
use crate::https::{Place, few_drivers};
use crate::https_client::Client;
use crate::https_made::{Authority, Pair, key, write};
use crate::process::{PAGE, Server};

/// What every refused reload says.
const REFUSED: &str = "not reloaded, nothing has changed";

/// [`BASE`] with a certificate of its site.
fn secure() -> String {
    format!("{BASE}tls-cert = \"a.pem\"\ntls-key = \"a.key\"\n")
}

/// A folder with certificates for `a.example` and `b.example`.
fn folder(text: &str) -> (Folder, Authority) {
    let (folder, authority) = (Folder::new(text), Authority::new("the authority"));
    authority.issue(&["a.example"]).write(&folder.path(""), "a");
    authority.issue(&["b.example"]).write(&folder.path(""), "b");
    (folder, authority)
}

#[test]
fn a_reload_adds_tls_changes_it_and_removes_it() {
    for driver in few_drivers() {
        let (folder, authority) = folder(BASE);
        let server = Server::start(folder.command().args(["--driver", driver]));
        let (address, client) = (server.address(), Client::trusting(&authority));
        assert_serves_page(&server, PAGE);
        folder.write(&secure());
        folder.assert_reloads(&["1 changed"]);
        assert_eq!(client.get(address, "a.example").body, PAGE, "{driver}");
        client.assert_fails(address, "b.example", "not valid for name");
        folder.write(&secure().replace("\"a.", "\"b."));
        folder.assert_reloads(&["1 site"]);
        client.get(address, "b.example");
        client.assert_fails(address, "a.example", "not valid for name");
        folder.write(BASE);
        folder.assert_reloads(&["1 site"]);
        assert_serves_page(&server, PAGE);
        assert!(client.try_get(address, "a.example", "/").is_err());
        folder.write(&secure());
        folder.assert_reloads(&["1 site"]);
        client.get(address, "a.example");
    }
}

/// A connection goes on as it began, whatever a reload does to its listener.
#[test]
fn open_connections_outlive_a_reload() {
    use std::io::{Read, Write};
    for driver in few_drivers() {
        let (folder, authority) = folder(&secure());
        let server = Server::start(folder.command().args(["--driver", driver]));
        let mut stream = Client::trusting(&authority).begin(server.address(), "a.example");
        let mut ask = |end: &str| {
            write!(stream, "GET / HTTP/1.1\r\nHost: a.example\r\n{end}\r\n").unwrap();
            let mut answer = Vec::new();
            let mut byte = [0];
            while !answer.ends_with(PAGE) {
                stream.read_exact(&mut byte).unwrap();
                answer.extend_from_slice(&byte);
            }
        };
        ask("");
        folder.write(BASE);
        folder.assert_reloads(&["1 site"]);
        ask("");
        folder.write(&secure().replace("\"a.", "\"b."));
        folder.assert_reloads(&["1 site"]);
        ask("Connection: close\r\n");
    }
}

#[test]
fn a_broken_pair_changes_nothing() {
    let (folder, authority) = folder(&secure());
    let server = Server::start(&mut folder.command());
    let client = Client::trusting(&authority);
    for (text, words) in [
        (
            secure().replace("a.key", "b.key"),
            &["does not belong to the certificate", "ringd.toml:11"][..],
        ),
        (secure().replace("a.pem", "none.pem"), &["cannot read", "none.pem", "ringd.toml:10"]),
        (
            secure().replace("[server]", "[server]\ntls-client-ca = \"none.pem\""),
            &["the certificates of clients", "none.pem"],
        ),
        (
            BASE.replace("[server]", "[server]\nlisten-redirect = \"127.0.0.1:1\""),
            &["a redirect to HTTPS, and no site has a certificate", "if a proxy ends TLS"],
        ),
    ] {
        folder.write(&text);
        let told: Vec<&str> = [REFUSED].iter().chain(words).copied().collect();
        assert_hangup_says(&server, &told);
        client.get(server.address(), "a.example");
    }
    folder.write(&secure());
    folder.assert_reloads(&["1 site"]);
    client.get(server.address(), "a.example");
}

#[test]
fn what_needs_a_restart_is_named() {
    let (folder, _) = folder(&secure());
    let _server = Server::start(&mut folder.command());
    folder.write(&secure().replace("[server]", "[server]\ntls-key-log = \"keys\""));
    folder.assert_refuses(&[REFUSED, "cannot change `tls-key-log`"]);
    assert!(!folder.path("keys").exists());
}

/// Without a configuration file, SIGHUP loads the certificates again.
#[test]
fn a_hangup_without_a_file_loads_certificates() {
    let place = Place::new();
    let server = place.serve(&[]);
    let client = Client::trusting(&place.authority);
    let before = client.get(server.address(), "a.example").leaf;
    assert_hangup_says(&server, &["the certificates have not changed"]);
    place.authority.issue(&["a.example"]).write(place.files.path(), "a");
    assert_hangup_says(&server, &["renewed the certificate for a.example, valid until 20"]);
    assert_ne!(client.get(server.address(), "a.example").leaf, before);
    // Only the file of the certificate: the key is that of the one before.
    let other = place.authority.issue(&["a.example"]);
    let mismatched = Pair { key: key().serialize_pem(), ..other };
    mismatched.write(place.files.path(), "a");
    assert_hangup_says(&server, &["does not belong to the certificate in a.pem"]);
    client.get(server.address(), "a.example");
}

/// Makes a connection with each version, so that the client has tickets; then `change` happens.
/// Returns how the next handshake is made.
#[track_caller]
fn after_ticket(server: &Server, client: &Client, change: impl FnOnce()) -> HandshakeKind {
    let address = server.address();
    assert_eq!(client.get(address, "a.example").kind, HandshakeKind::Full);
    assert_eq!(client.get(address, "a.example").kind, HandshakeKind::Resumed);
    change();
    client.get(address, "a.example").kind
}

/// Writes a pair, and asks the server to load it.
fn replace(server: &Server, folder: &Path, pair: &Pair) {
    pair.write(folder, "a");
    assert_hangup_says(server, &["renewed the certificate for a.example"]);
}

#[test]
fn tickets_end_with_the_key() {
    for driver in few_drivers() {
        let place = Place::new();
        let (folder, key) = (place.files.path(), key());
        let server = place.serve(&["--driver", driver]);
        replace(&server, folder, &place.authority.issue_for(&key, &["a.example"]));
        for client in [Client::trusting(&place.authority), Client::old()] {
            // The same key in a new certificate.
            let renewed = place.authority.issue_for(&key, &["a.example"]);
            let kind = after_ticket(&server, &client, || replace(&server, folder, &renewed));
            assert_eq!(kind, HandshakeKind::Resumed, "{driver}: the key is the same");
        }
        for client in [Client::trusting(&place.authority), Client::old()] {
            let other = place.authority.issue(&["a.example"]);
            let kind = after_ticket(&server, &client, || replace(&server, folder, &other));
            assert_eq!(kind, HandshakeKind::Full, "{driver}: the key is another one");
        }
    }
}

/// A client that resumes is not asked for its certificate, so a ticket from before must not do.
#[test]
fn tickets_end_when_clients_need_certificates() {
    for driver in few_drivers() {
        let (folder, authority) = folder(&secure());
        write(&folder.path("ca.pem"), &Authority::new("the issuer of clients").pem);
        let server = Server::start(folder.command().args(["--driver", driver]));
        for client in [Client::trusting(&authority), Client::old()] {
            folder.write(&secure());
            folder.assert_reloads(&["1 site"]);
            client.get(server.address(), "a.example");
            assert_eq!(
                client.get(server.address(), "a.example").kind,
                HandshakeKind::Resumed,
                "{driver}"
            );
            folder.write(&secure().replace("[server]", "[server]\ntls-client-ca = \"ca.pem\""));
            folder.assert_reloads(&["1 site"]);
            let refused = client.try_get(server.address(), "a.example", "/");
            assert!(refused.is_err(), "{driver}: {refused:?}");
        }
    }
}
