//! Handshakes: the choice of a certificate, certificates of clients, and handshakes that do not
//! end by themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::eventually;
use crate::configured::Folder;
use crate::https::{Place, few_drivers};
use crate::https_client::Client;
use crate::https_made::{Authority, write};
use crate::process::{PAGE, Server};

/// Two sites with certificates of their own, the second for all names beneath its host.
const TWO: &str = "\
[server]
listen = \"127.0.0.1:0\"
[[site]]
hosts = \"a.example\"
root = \"html\"
tls-cert = \"a.pem\"
tls-key = \"a.key\"
[[site]]
hosts = \"*.b.example\"
default = true
root = \"other\"
tls-cert = \"b.pem\"
tls-key = \"b.key\"
";

#[test]
fn the_name_chooses_the_certificate() {
    for driver in few_drivers() {
        let (folder, authority) = (Folder::new(TWO), Authority::new("the authority"));
        let (a, b) = (authority.issue(&["a.example"]), authority.issue(&["*.b.example"]));
        a.write(&folder.path(""), "a");
        b.write(&folder.path(""), "b");
        let server = Server::start(folder.command().args(["--driver", driver]));
        let (address, client) = (server.address(), Client::trusting(&authority));
        for (name, pair) in [("a.example", &a), ("x.b.example", &b)] {
            assert_eq!(client.get(address, name).leaf, pair.der, "{driver}: {name}");
        }
        client.assert_fails(address, "unknown.example", "not valid for name");
        let all = Client::trusting_all();
        for name in ["unknown.example", "127.0.0.1", "x.y.b.example"] {
            // Not every name has a site, so the answer may be any.
            let leaf = all.try_get(address, name, "/").unwrap().leaf;
            assert_eq!(leaf, b.der, "{driver}: {name} gets the certificate of the default site");
        }
        assert_eq!(all.without_name().get(address, "a.example").leaf, b.der);
    }
}

#[test]
fn clients_may_need_a_certificate() {
    for driver in few_drivers() {
        let (place, issuer) = (Place::new(), Authority::new("the issuer of clients"));
        write(&place.files.path().join("ca.pem"), &issuer.pem);
        let server = place.serve(&["--tls-client-ca", "ca.pem", "--driver", driver]);
        let address = server.address();
        let right = Client::with_identity(&issuer.issue(&["client"]));
        assert_eq!(right.get(address, "a.example").body, PAGE);
        // A session that is resumed would not end with the certificate of the client.
        assert!(format!("{:?}", right.get(address, "a.example").kind).contains("Full"));
        Client::trusting_all().assert_fails(address, "a.example", "CertificateRequired");
        Client::old().assert_fails(address, "a.example", "");
        let other = Authority::new("the issuer of clients").issue(&["client"]);
        Client::with_identity(&other).assert_fails(address, "a.example", "alert");
        let expired = issuer.issue_expired(&["client"]);
        Client::with_identity(&expired).assert_fails(address, "a.example", "CertificateExpired");
    }
}

/// The issuers of clients are renewed like certificates.
#[test]
fn issuers_of_clients_are_renewed() {
    let (place, before, after) = (Place::new(), Authority::new("old"), Authority::new("new"));
    let file = place.files.path().join("ca.pem");
    write(&file, &before.pem);
    let server = place.serve(&["--tls-client-ca", "ca.pem"]);
    let old = Client::with_identity(&before.issue(&["client"]));
    old.get(server.address(), "a.example");
    old.get(server.address(), "a.example");
    write(&file, &after.pem);
    let line = server.error_line();
    assert!(line.contains("renewed the issuers of client certificates"), "{line}");
    old.assert_fails(server.address(), "a.example", "alert");
    let new = Client::with_identity(&after.issue(&["client"]));
    new.get(server.address(), "a.example");
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--handshake-timeout", "200ms", "--driver", driver]);
        for begin in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(begin).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, [0; 0], "{driver}");
        }
        Client::trusting(&place.authority).get(server.address(), "a.example");
    }
}

/// A client that is in the middle of its handshake when the server stops gets an answer; one that
/// does not go on keeps the server only for the time of a handshake.
#[test]
fn a_drain_lets_handshakes_end() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver, "--handshake-timeout", "5s"]);
        let mut silent = TcpStream::connect(server.address()).unwrap();
        silent.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        let mut stream = Client::trusting(&place.authority).begin(server.address(), "a.example");
        // The first flight of the client, and the answer of the server.
        stream.conn.write_tls(&mut stream.sock).unwrap();
        stream.conn.read_tls(&mut stream.sock).unwrap();
        server.signal(libc::SIGTERM);
        let line = server.error_line();
        assert!(line.contains("finishing open connections"), "{line}");
        // All workers have begun the drain when nobody listens any more.
        eventually("nobody listens", || TcpStream::connect(server.address()).is_err());
        stream.conn.process_new_packets().unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(PAGE), "{driver}: {}", String::from_utf8_lossy(&answer));
        assert!(String::from_utf8_lossy(&answer).contains("Connection: close\r\n"));
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
    }
}

/// The output of a client that is installed, or `None`.
fn real(name: &str, arguments: &[&str]) -> Option<String> {
    let command = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    match command {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        Err(error) => {
            println!("{name} skipped: {error}");
            None
        }
    }
}

#[test]
fn real_clients_are_served() {
    for driver in few_drivers() {
        let place = Place::new();
        let ca = write(&place.files.path().join("ca.pem"), &place.authority.pem);
        let ca = ca.to_str().unwrap();
        let server = place.serve(&["--driver", driver]);
        let address = server.address();
        let resolve = format!("a.example:{}:127.0.0.1", address.port());
        let url = format!("https://a.example:{}/", address.port());
        for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"], &["--http1.1"]] {
            let arguments = [&["-sS", "--cacert", ca, "--resolve", &resolve, &url], version];
            if let Some(text) = real("curl", &arguments.concat()) {
                assert_eq!(text.as_bytes(), PAGE, "{driver}: {version:?}");
            }
        }
        let connect = address.to_string();
        let openssl = ["s_client", "-connect", &connect, "-servername", "a.example", "-CAfile", ca];
        if let Some(text) = real("openssl", &openssl) {
            assert!(text.contains("Verify return code: 0 (ok)"), "{driver}: {text}");
        }
        let port = address.port().to_string();
        let verified = ["--sni-hostname=a.example", "--verify-hostname=a.example"];
        let gnutls = [&verified[..], &["--x509cafile", ca, "-p", &port, "127.0.0.1"]].concat();
        if let Some(text) = real("gnutls-cli", &gnutls) {
            assert!(text.contains("The certificate is trusted"), "{driver}: {text}");
        }
        thread::yield_now();
    }
}
