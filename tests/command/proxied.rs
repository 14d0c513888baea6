//! Proxies of others that send a PROXY header or a forwarded field: the access log has the address
//! of the client.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::ports::free_address;
use crate::configured::Folder;
use crate::process::{Server, get};

/// Whether a program is installed; prints that it is not.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A proxy, ended with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server behind proxies of this machine, which logs the addresses of clients.
fn server(keys: &str) -> (Folder, Server) {
    let folder = Folder::new(&format!(
        "[log]\naccess = \"access.log\"\nformat = \"{{client}}\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\ntrusted = \"127.0.0.1\"\n{keys}\n\
         [[site]]\nroot = \"html\"\n"
    ));
    let server = Server::start(&mut folder.command());
    (folder, server)
}

/// The clients of the log, once there is one.
fn clients(folder: &Folder) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(folder.path("access.log")).unwrap();
        if text.ends_with('\n') {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < deadline, "no line was written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// HAProxy with these options of its server; its client has the address 127.0.0.7.
fn passes_on(keys: &str, options: &str, defaults: &str) {
    if !is_there("haproxy") {
        return;
    }
    let (folder, server) = server(keys);
    let (port, backend) = (free_address().port(), server.address());
    let text = format!(
        "defaults\n {defaults}\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
         frontend in\n bind 127.0.0.1:{port}\n default_backend ringd\n\
         backend ringd\n source 127.0.0.1\n server one {backend} {options}\n"
    );
    let path = folder.path("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-db", "-f"]).arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
    let _proxy = Proxy(haproxy.spawn().unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        let from = "127.0.0.7".parse().unwrap();
        match ask_from(from, address) {
            Some(answer) if answer.starts_with(b"HTTP/1.1 200 ") => break answer,
            _ => assert!(Instant::now() < deadline, "the proxy passes nothing on"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!answer.is_empty());
    assert!(clients(&folder).iter().all(|client| client == "127.0.0.7"));
}

/// The answer to a client at an address of this machine; `None` if it cannot connect.
fn ask_from(source: Ipv4Addr, address: SocketAddr) -> Option<Vec<u8>> {
    use std::io::{Read, Write};
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).ok()?;
    let mut stream = std::net::TcpStream::from(socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn haproxy_names_clients_with_version_1() {
    passes_on("proxy-protocol = \"require\"", "send-proxy", "mode http");
}

#[test]
fn haproxy_names_clients_with_version_2() {
    passes_on("proxy-protocol = \"require\"", "send-proxy-v2", "mode tcp");
}

#[test]
fn haproxy_names_clients_with_a_checksum() {
    let options = "send-proxy-v2 proxy-v2-options crc32c,unique-id";
    passes_on("proxy-protocol = \"require\"", options, "mode tcp");
}

#[test]
fn haproxy_names_clients_in_a_field() {
    passes_on("forwarded = \"x-forwarded-for\"", "", "mode http\n option forwardfor");
}

/// The proxy has the certificate, and ringd has none.
#[test]
fn a_proxy_with_https_may_be_before_a_redirect() {
    use std::io::{Read, Write};
    let hsts = "[site-defaults]\nhsts = \"5min\"\n";
    let keys = format!("forwarded = \"x-forwarded-for\"\nprotocol = \"redirect\"\n{hsts}");
    let (_folder, server) = server(&keys);
    for (proto, parts) in [
        ("http", ["HTTP/1.1 308 ", "Location: https://a.example/?b\r\n"]),
        ("https", ["HTTP/1.1 200 ", "Strict-Transport-Security: max-age=300\r\n"]),
    ] {
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "GET /?b HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: {proto}\r\n\
             Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(parts.iter().all(|part| answer.contains(part)), "{proto}: {answer}");
        assert_eq!(answer.contains("Strict-Transport"), proto == "https", "{answer}");
    }
    server.signal(libc::SIGTERM);
    let end = server.end();
    assert!(!end.errors.contains("no effect"), "{end:?}");
}

#[test]
fn curl_names_itself() {
    if !is_there("curl") {
        return;
    }
    let (folder, server) = server("proxy-protocol = \"require\"");
    let url = format!("http://{}/", server.address());
    let curl = Command::new("curl").args(["-sS", "--haproxy-protocol", &url]).output().unwrap();
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    assert_eq!(clients(&folder), ["127.0.0.1"]);
    // Without a header, curl gets no answer.
    let plain = Command::new("curl").args(["-sS", &url]).output().unwrap();
    assert!(!plain.status.success() && plain.stdout.is_empty());
}

#[test]
fn a_reload_changes_who_is_admitted() {
    let port = free_address().port();
    let text = |of_listener: &str, of_site: &str| {
        format!(
            "[admin]\nlisten = \"unix:admin.sock\"\n\
             [[listen]]\naddress = \"127.0.0.1:{port}\"\n{of_listener}\n\
             [[site]]\nroot = \"html\"\n{of_site}\n"
        )
    };
    let folder = Folder::new(&text("", ""));
    let server = Server::start(&mut folder.command());
    assert!(get(server.address(), "/").0.starts_with("HTTP/1.1 200 "));
    folder.write(&text("", "deny = [\"127.0.0.0/8\"]"));
    folder.assert_reloads(&[]);
    assert!(get(server.address(), "/").0.starts_with("HTTP/1.1 403 "));
    folder.write(&text("deny = \"127.0.0.1\"", ""));
    folder.assert_reloads(&[]);
    assert_eq!(ask_from(Ipv4Addr::LOCALHOST, server.address()).unwrap_or_default(), b"");
    folder.write(&text("deny = \"127.0.0.2\"", ""));
    folder.assert_reloads(&[]);
    assert!(get(server.address(), "/").0.starts_with("HTTP/1.1 200 "));
}
