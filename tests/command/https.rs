//! HTTPS as an operator meets it: certificates from files, self-signed ones, and what is said of
//! those that cannot be used.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustls::ProtocolVersion;
use tempfile::TempDir;

use crate::https_client::{Client, fingerprint};
use crate::https_made::{Authority, text, write};
use crate::process::{PAGE, Server, drivers, end_of, get, in_sandbox, site, with};

/// The drivers for tests that are about more than one, and expensive: one of each kind.
pub(crate) fn few_drivers() -> impl Iterator<Item = &'static str> {
    drivers().filter(|driver| ["uring", "epoll", "threads"].contains(driver))
}

/// A site and a place for certificates beside it.
pub(crate) struct Place {
    pub(crate) site: TempDir,
    pub(crate) files: TempDir,
    pub(crate) authority: Authority,
}

impl Place {
    pub(crate) fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        Self { site: site(), files, authority: Authority::new("the authority") }
    }

    /// The command that serves the site with these options, in the folder of the files.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = with(&[&[text(self.site.path())], options].concat());
        command.current_dir(&self.files);
        in_sandbox(&mut command);
        command
    }

    /// The same with a certificate for `a.example` and its key.
    pub(crate) fn secure(&self, options: &[&str]) -> Command {
        self.authority.issue(&["a.example"]).write(self.files.path(), "a");
        self.command(&[&["--tls-cert", "a.pem", "--tls-key", "a.key"], options].concat())
    }

    /// Starts a server with a certificate for `a.example`.
    pub(crate) fn serve(&self, options: &[&str]) -> Server {
        Server::start(&mut self.secure(options))
    }
}

/// The error of a process that cannot start.
fn error_of(address: SocketAddr, client: &Client) -> String {
    client.try_get(address, "a.example", "/").unwrap_err().to_string()
}

#[test]
fn one_option_is_enough_to_try_it_out() {
    for driver in drivers() {
        let place = Place::new();
        let server = Server::start(&mut place.command(&["--tls-self-signed", "--driver", driver]));
        assert!(server.line.contains(" at https://127.0.0.1:"), "{}", server.line);
        let note = server.error_line();
        let answer = Client::trusting_all().get(server.address(), "localhost");
        assert_eq!(answer.body, PAGE, "{driver}");
        assert_eq!(answer.version, ProtocolVersion::TLSv1_3);
        let fingerprint = fingerprint(&answer.leaf);
        assert!(note.contains(&format!("SHA-256 fingerprint is {fingerprint}")), "{note}");
        assert!(note.contains("the certificate for localhost, 127.0.0.1, ::1"), "{note}");
    }
}

#[test]
fn certificates_come_from_files() {
    for driver in drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver]);
        assert!(server.line.contains(" at https://127.0.0.1:"), "{}", server.line);
        let answer = Client::trusting(&place.authority).get(server.address(), "a.example");
        assert_eq!((&answer.body[..], answer.alpn), (PAGE, None), "{driver}");
        Client::trusting(&place.authority).assert_fails(
            server.address(),
            "b.example",
            "not valid for name",
        );
    }
    let place = Place::new();
    write(&place.files.path().join("both.pem"), &place.authority.issue(&["a.example"]).both());
    let server = Server::start(&mut place.command(&["--tls-cert", "both.pem"]));
    Client::trusting(&place.authority).get(server.address(), "a.example");
}

/// The options, the code of the exit, and what the one line on standard error has.
type Refusal = (&'static [&'static str], i32, &'static [&'static str]);

#[test]
fn what_cannot_be_used_is_explained() {
    let place = Place::new();
    let folder = place.files.path();
    place.authority.issue(&["a.example"]).write(folder, "a");
    place.authority.issue(&["b.example"]).write(folder, "b");
    write(&folder.join("empty.pem"), "");
    write(&folder.join("ca.pem"), &place.authority.pem);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAo=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write(&folder.join("encrypted.key"), encrypted);
    let refusals: &[Refusal] = &[
        (
            &["--tls-cert", "a.pem", "--tls-key", "b.key"],
            1,
            &["the key in b.key does not belong to the certificate in a.pem", "renew both"],
        ),
        (&["--tls-cert", "missing.pem"], 1, &["cannot read missing.pem", "correct the path"]),
        (&["--tls-cert", "a.pem"], 1, &["no private key is in a.pem", "it has only CERTIFICATE"]),
        (
            &["--tls-cert", "a.pem", "--tls-key", "encrypted.key"],
            1,
            &["the private key in encrypted.key is encrypted", "openssl pkey -in encrypted.key"],
        ),
        (
            &["--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-key", "b.key"],
            1,
            &["1 certificate and 2 keys", "in the same order"],
        ),
        (&["--tls-key", "a.key"], 1, &["--tls-key without --tls-cert", "add the certificate"]),
        (&["--tls-cert", "empty.pem"], 1, &["no certificate is in empty.pem: it is empty"]),
        (&["--tls-cert", "."], 1, &[". is a directory"]),
        (
            &["--listen-redirect", "127.0.0.1:0"],
            1,
            &["but no site has a certificate", "--tls-self-signed"],
        ),
        (
            &["--tls-self-signed", "--listen-redirect", "127.0.0.1:0"],
            1,
            &["a redirect needs a known port", "instead of 0"],
        ),
        (
            &["--tls-self-signed", "--tls-client-ca", "missing.pem"],
            1,
            &["issues the certificates of clients", "cannot read missing.pem"],
        ),
        (
            &["--tls-self-signed", "--tls-client-ca", "a.key"],
            1,
            &["a.key as the issuers of client certificates", "it has only PRIVATE KEY"],
        ),
        (
            &["--tls-self-signed", "--tls-key-log", "missing/keys"],
            1,
            &["--tls-key-log missing/keys: No such file"],
        ),
    ];
    for (options, code, words) in refusals {
        end_of(&mut place.command(options)).assert_failed(*code, words);
    }
    let both = end_of(&mut place.command(&["--tls-self-signed", "--tls-cert", "a.pem"]));
    assert_eq!(both.code, Some(2), "{both:?}");
    both.assert_names(&["--tls-self-signed", "cannot be used with"]);
}

/// A wrong clock must not keep a server from starting.
#[test]
fn an_expired_certificate_and_a_public_key_get_a_note() {
    let place = Place::new();
    let pair = place.authority.issue_expired(&["a.example"]);
    let (_, key) = pair.write(place.files.path(), "old");
    fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
    let options = ["--tls-cert", "old.pem", "--tls-key", "old.key"];
    let server = Server::start(&mut place.command(&options));
    let notes = [server.error_line(), server.error_line()].join("\n");
    assert!(notes.contains("the certificate in old.pem expired 2 days ago"), "{notes}");
    assert!(notes.contains("`chmod o-r old.key`"), "{notes}");
    Client::trusting_all().get(server.address(), "a.example");
    Client::trusting(&place.authority).assert_fails(server.address(), "a.example", "expired");
}

/// Who asks for certificates of clients must not serve all without knowing.
#[test]
fn options_without_a_certificate_get_a_note() {
    let place = Place::new();
    write(&place.files.path().join("ca.pem"), &place.authority.pem);
    let options = ["--hsts", "5min", "--tls-min", "1.3", "--tls-client-ca", "ca.pem"];
    let server = Server::start(&mut place.command(&options));
    for option in ["--hsts", "--tls-min", "--tls-client-ca"] {
        let note = server.error_line();
        let expected = format!("ringd: {option} has no effect without a certificate: ");
        assert!(note.starts_with(&expected), "{note}");
    }
}

#[test]
fn a_listener_without_tls_is_possible_beside_it() {
    let place = Place::new();
    let server = place.serve(&["--listen-plain", "127.0.0.1:0"]);
    let addresses: Vec<SocketAddr> = server.addresses();
    let kinds: Vec<_> = server.line.split(' ').filter(|word| word.contains("://")).collect();
    assert!(kinds[0].starts_with("https://") && kinds[1].starts_with("http://"), "{kinds:?}");
    Client::trusting(&place.authority).get(addresses[0], "a.example");
    let (head, body) = get(addresses[1], "/");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, PAGE);
}

#[test]
fn a_request_without_tls_learns_of_https() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver]);
        let (head, body) = get(server.address(), "/");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(String::from_utf8_lossy(&body).contains("https://"), "{body:?}");
        Client::trusting(&place.authority).get(server.address(), "a.example");
    }
}

#[test]
fn the_oldest_version_can_be_chosen() {
    let place = Place::new();
    let server = place.serve(&[]);
    assert_eq!(Client::old().get(server.address(), "a.example").version, ProtocolVersion::TLSv1_2);
    let server = place.serve(&["--tls-min", "1.3"]);
    Client::trusting(&place.authority).get(server.address(), "a.example");
    Client::old().assert_fails(server.address(), "a.example", "ProtocolVersion");
}

#[test]
fn application_protocols_without_overlap_are_an_alert() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver]);
        let client = Client::trusting(&place.authority);
        let both = client.clone().with_protocols(&["h9", "http/1.1"]);
        let answer = both.get(server.address(), "a.example");
        assert_eq!(answer.alpn.as_deref(), Some(&b"http/1.1"[..]));
        let other = client.with_protocols(&["h9"]);
        let error = error_of(server.address(), &other);
        assert!(error.contains("NoApplicationProtocol"), "{driver}: {error}");
    }
}

#[test]
fn secrets_are_logged_for_their_owner_only() {
    let place = Place::new();
    let server = place.serve(&["--tls-key-log", "keys"]);
    let note = server.error_line();
    assert!(note.contains("--tls-key-log: whoever reads that file can decrypt"), "{note}");
    let file = place.files.path().join("keys");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    Client::trusting(&place.authority).get(server.address(), "a.example");
    Client::old().get(server.address(), "a.example");
    let text = fs::read_to_string(file).unwrap();
    for label in ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_RANDOM"] {
        let lines = text.lines().filter(|line| line.split(' ').next() == Some(label));
        assert_eq!(lines.count(), 1, "{label} in {text}");
    }
    assert!(text.lines().all(|line| line.split(' ').count() == 3), "{text}");
}

#[test]
fn check_shows_each_certificate() {
    let place = Place::new();
    let folder = place.files.path();
    place.authority.issue(&["a.example", "*.a.example"]).write(folder, "a");
    place.authority.issue_expired(&["b.example"]).write(folder, "b");
    let root = place.site.path().display();
    let file = format!(
        "[[site]]\nhosts = \"a.example\"\nroot = {root:?}\ntls-cert = \"a.pem\"\n\
         tls-key = \"a.key\"\n[[site]]\nhosts = \"b.example\"\nroot = {root:?}\n\
         tls-cert = \"b.pem\"\ntls-key = \"b.key\"\n[[site]]\nhosts = \"c.example\"\n\
         root = {root:?}\ntls-self-signed = true\n",
        root = root.to_string(),
    );
    write(&folder.join("ringd.toml"), &file);
    let end = end_of(crate::process::ringd().args(["check", "ringd.toml"]).current_dir(folder));
    assert_eq!(end.code, Some(0), "{end:?}");
    for line in [
        "ringd: certificate for a.example, *.a.example: ECDSA P-256, 89 days left, a.pem",
        "ringd: certificate for b.example: ECDSA P-256, expired, b.pem",
        "ringd: certificate for c.example: ECDSA P-256, 13 days left, self-signed",
    ] {
        assert!(end.output.lines().any(|it| it == line), "{line} is not in {}", end.output);
    }
    end.assert_names(&["the certificate in b.pem expired 2 days ago"]);
}

/// Each problem of a certificate is at the line that names the file.
#[test]
fn check_shows_problems_where_they_are_written() {
    let place = Place::new();
    let folder = place.files.path();
    place.authority.issue(&["a.example"]).write(folder, "a");
    place.authority.issue(&["b.example"]).write(folder, "b");
    let head = format!("[[site]]\nroot = {:?}\n", place.site.path());
    for (text, place, words) in [
        ("tls-cert = \"none.pem\"\n", 3, &["cannot read none.pem", "correct the path"][..]),
        ("tls-cert = \"a.pem\"\ntls-key = \"none.key\"\n", 4, &["cannot read none.key"]),
        ("tls-key = \"b.key\"\ntls-cert = \"a.pem\"\n", 3, &["does not belong"]),
        (
            "tls-cert = [\n\"a.pem\",\n\"none.pem\"]\ntls-key = [\"a.key\", \"b.key\"]\n",
            5,
            &["cannot read none.pem"],
        ),
        (
            "tls-cert = [\"a.pem\", \"b.pem\"]\ntls-key = \"a.key\"\n",
            3,
            &["certificates and keys differ", "2 certificates and 1 key;"],
        ),
        ("tls-key = \"a.key\"\n", 3, &["certificates and keys differ", "without"]),
        (
            "tls-self-signed = true\n[server]\ntls-client-ca = \"none.pem\"\n",
            5,
            &["the certificates of clients", "none.pem"],
        ),
        (
            "[[listen]]\naddress = \":1\"\nprotocol = \"https\"\n",
            5,
            &["HTTPS without a certificate", "tls-self-signed"],
        ),
        ("[server]\nlisten-redirect = \":1\"\n", 4, &["a redirect to HTTPS", "tls-cert"]),
        (
            "tls-self-signed = true\n[server]\nlisten = \":0\"\nlisten-redirect = \":1\"\n",
            6,
            &["a redirect to a port that the kernel picks", "instead of 0"],
        ),
        (
            "tls-cert = \"a.pem\"\ntls-key = \"a.key\"\ntls-self-signed = true\n",
            1,
            &["tls-self-signed", "cannot be used with"],
        ),
    ] {
        write(&folder.join("ringd.toml"), &format!("{head}{text}"));
        let end = end_of(crate::process::ringd().args(["check", "ringd.toml"]).current_dir(folder));
        assert_eq!(end.code, Some(1), "{text}: {end:?}");
        let line = format!("ringd.toml:{place}:");
        assert!(end.errors.contains(&line), "{line} is not in\n{}", end.errors);
        let wide = end.errors.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|word| assert!(wide.contains(word), "{word}: {}", end.errors));
        assert!(end.errors.contains("1 problem"), "{}", end.errors);
    }
}
