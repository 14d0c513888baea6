//! Where the command listens: names, both families, Unix sockets, and proxies in front of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::common::ports::free_address;
use crate::jail::is_root;
use crate::process::{PAGE, Server, drivers, end_of, get, ringd, site, with};
use crate::stopping::assert_let_go;

/// A command that serves a site at these places.
fn listening(root: &Path, places: &[&str]) -> Command {
    let mut command = ringd();
    command.arg(root);
    for place in places {
        command.args(["--listen", place]);
    }
    command
}

/// Asserts that a request over this stream gets [`PAGE`].
#[track_caller]
fn assert_answers(mut stream: impl Read + Write) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(PAGE));
}

fn is_available(address: &str) -> bool {
    TcpListener::bind(address).inspect_err(|error| println!("no {address}: {error}")).is_ok()
}

#[test]
fn localhost_is_both_loopback_addresses() {
    let site = site();
    let server = Server::start(&mut listening(site.path(), &["localhost:0"]));
    let mut expected = vec!["127.0.0.1"];
    expected.extend(is_available("[::1]:0").then_some("::1"));
    let found: Vec<_> = server.addresses().iter().map(|one| one.ip().to_string()).collect();
    assert_eq!(found, expected);
    for address in server.addresses() {
        assert_eq!(get(address, "/").1, PAGE);
    }
}

#[test]
fn a_port_alone_is_served_on_every_address() {
    let site = site();
    for driver in drivers() {
        let mut command = listening(site.path(), &[":0"]);
        let server = Server::start(command.args(["--driver", driver]));
        let port = server.addresses()[0].port();
        for host in ["127.0.0.1", "127.0.0.2", "[::1]"] {
            if is_available(&format!("{host}:0")) {
                let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
                assert_eq!(get(address, "/").1, PAGE, "{driver} {address}");
            }
        }
    }
}

/// A network namespace whose loopback interface has no IPv6.
#[test]
fn without_ipv6_loopback_localhost_is_127_0_0_1() {
    if !is_root() {
        return println!("skipped: only root can make a network namespace");
    }
    let set_up = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6";
    let tried = Command::new("unshare").args(["-n", "sh", "-c", set_up]).output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no network namespace without ::1: {tried:?}");
    }
    let site = site();
    let mut command = Command::new("unshare");
    let binary = env!("CARGO_BIN_EXE_ringd");
    let start = format!("{set_up} && exec {binary} \"$@\"");
    command.args(["-n", "sh", "-c", &start, "sh"]).arg(site.path());
    let server = Server::start(command.args(["--listen", "localhost:7890"]));
    assert!(server.line.contains(" at http://127.0.0.1:7890/;"), "{}", server.line);
}

#[test]
fn a_name_without_a_local_address_is_an_error() {
    let site = site();
    let end = end_of(&mut listening(site.path(), &["ringd.invalid:80"]));
    end.assert_failed(1, &["cannot listen on ringd.invalid:80", "no address", "getent"]);
    let end = end_of(&mut listening(site.path(), &["[fe80::1%missing0]:80"]));
    end.assert_failed(1, &["no interface missing0", "ip link"]);
}

#[test]
fn places_that_overlap_are_an_error() {
    let site = site();
    let port = free_address().port();
    let mut cases = vec![
        (format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("127.0.0.1:{port}")),
        (format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("127.0.0.1:{port}")),
    ];
    if is_available("[::]:0") {
        let (any, all) = (format!("[::]:{port}"), format!(":{port}"));
        cases.push((all.clone(), format!("127.0.0.1:{port}"), any));
        cases.push((format!("127.0.0.1:{port}"), all, format!("127.0.0.1:{port}")));
    }
    for (one, other, first) in cases {
        let end = end_of(&mut listening(site.path(), &[&one, &other]));
        let already = format!("this server listens on {first} as well");
        end.assert_failed(1, &[&already, "leave out one"]);
    }
    let path = site.path().join("socket");
    let place = format!("unix:{}", path.display());
    let end = end_of(&mut listening(site.path(), &[&place, &place]));
    end.assert_failed(1, &["this server listens there already", "leave out one"]);
    assert!(!path.exists(), "a failed start leaves no socket");
}

#[test]
fn a_unix_socket_is_served_on_every_driver() {
    let site = site();
    let path = site.path().join("socket");
    let place = format!("unix:{}", path.display());
    for driver in drivers() {
        let mut command = listening(site.path(), &["127.0.0.1:0", &place]);
        let server = Server::start(command.args(["--driver", driver]));
        assert!(server.line.contains(&format!("/ {place};")), "{}", server.line);
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        assert_answers(UnixStream::connect(&path).unwrap());
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
        assert!(!path.exists(), "the socket is removed");
    }
}

#[test]
fn an_abstract_name_is_served() {
    use std::os::linux::net::SocketAddrExt;
    let site = site();
    // The path of the directory is that of no other test.
    let name = site.path().to_str().unwrap().to_owned();
    let place = format!("unix:@{name}");
    let server = Server::start(&mut listening(site.path(), &[&place]));
    assert!(server.line.contains(&format!(" at {place};")), "{}", server.line);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    assert_answers(UnixStream::connect_addr(&address).unwrap());
    let end = end_of(&mut listening(site.path(), &[&place]));
    end.assert_failed(1, &[&place, "another server accepts"]);
}

/// A server that was killed leaves its socket, and the next one replaces it. A server that runs,
/// and a file, are left alone.
#[test]
fn only_a_stale_socket_is_replaced() {
    let site = site();
    let path = site.path().join("socket");
    let place = format!("unix:{}", path.display());
    let first = Server::start(&mut listening(site.path(), &[&place]));
    let end = end_of(&mut listening(site.path(), &[&place]));
    end.assert_failed(1, &[&place, "another server accepts", "ss -xlp"]);
    assert_answers(UnixStream::connect(&path).unwrap());
    first.signal(libc::SIGKILL);
    first.end();
    assert_let_go(&path);
    assert!(path.exists());
    let next = Server::start(&mut listening(site.path(), &[&place]));
    assert_answers(UnixStream::connect(&path).unwrap());
    // Another server takes the name: this one does not remove what is not its own.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    next.signal(libc::SIGTERM);
    assert_eq!(next.end().code, Some(0));
    UnixStream::connect(&path).unwrap();
    let file = site.path().join("index.html");
    let end = end_of(&mut listening(site.path(), &[&format!("unix:{}", file.display())]));
    end.assert_failed(1, &["not a socket", "left alone"]);
    assert_eq!(fs::read(file).unwrap(), PAGE);
}

#[test]
fn a_start_that_fails_leaves_no_socket() {
    let (site, taken) = (site(), TcpListener::bind("127.0.0.1:0").unwrap());
    let path = site.path().join("socket");
    let places = [format!("unix:{}", path.display()), taken.local_addr().unwrap().to_string()];
    let end = end_of(&mut listening(site.path(), &[&places[0], &places[1]]));
    end.assert_failed(1, &["the port is in use"]);
    assert!(!path.exists());
}

#[test]
fn a_wrong_place_gets_the_right_form() {
    for (place, form) in
        [("::1", "`[::1]:8080`"), ("localhost", "`localhost:8080`"), ("/run/a", "`unix:/run/a`")]
    {
        let end = end_of(&mut with(&["--listen", place]));
        assert_eq!(end.code, Some(2));
        end.assert_names(&[place, "--listen", form]);
    }
}

#[test]
fn echo_listens_on_a_unix_socket() {
    let site = site();
    let path = site.path().join("socket");
    let place = format!("unix:{}", path.display());
    let _server = Server::start(ringd().args(["echo", "--listen", &place]));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

mod proxies {
    use super::*;
    use std::process::{Child, Stdio};

    /// A process that is killed at the end.
    struct Proxy(Child);

    impl Drop for Proxy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A site with a large file, and a server for it on a Unix socket.
    fn backend() -> (tempfile::TempDir, Server, String) {
        let site = site();
        fs::write(site.path().join("large.bin"), large()).unwrap();
        let path = site.path().join("socket");
        let server =
            Server::start(&mut listening(site.path(), &[&format!("unix:{}", path.display())]));
        let path = path.to_str().unwrap().to_owned();
        (site, server, path)
    }

    fn large() -> Vec<u8> {
        (0..3_000_000_u32).map(|at| (at >> 3) as u8).collect()
    }

    /// Whether a program is installed; prints that it is not.
    fn is_there(program: &str) -> bool {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        let found = found.is_ok_and(|output| output.status.success());
        if !found {
            println!("skipped: {program} is not installed");
        }
        found
    }

    /// Starts a proxy with a configuration, and asserts that it passes requests on.
    #[track_caller]
    fn assert_passes_on(site: &Path, port: u16, proxy: &mut Command) {
        let log = fs::File::create(site.join("proxy.log")).unwrap();
        let _proxy = Proxy(proxy.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(site.join("proxy.log")).unwrap();
            assert!(std::time::Instant::now() < deadline, "the proxy does not start: {log}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for _ in 0..20 {
            assert_eq!(get(address, "/").1, PAGE);
        }
        assert!(get(address, "/large.bin").1 == large());
        assert!(get(address, "/missing").0.starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn curl_connects_to_a_unix_socket() {
        if !is_there("curl") {
            return;
        }
        let (_site, _server, path) = backend();
        let curl = ["-sS", "--unix-socket", &path, "http://site/large.bin"];
        let output = Command::new("curl").args(curl).output().unwrap();
        assert!(output.stdout == large(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn nginx_passes_requests_on() {
        if !is_there("nginx") {
            return;
        }
        let (site, _server, path) = backend();
        let (port, folder) = (free_address().port(), site.path().display());
        let configuration = format!(
            "daemon off; pid {folder}/nginx.pid; error_log stderr; user root;\n\
             events {{ }}\n\
             http {{\n\
             access_log off; proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             upstream ringd {{ server unix:{path}; keepalive 4; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://ringd;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n\
             }}\n"
        );
        fs::write(site.path().join("nginx.conf"), configuration).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(site.path().join("nginx.conf")).stdin(Stdio::null());
        assert_passes_on(site.path(), port, &mut nginx);
    }

    #[test]
    fn haproxy_passes_requests_on() {
        if !is_there("haproxy") {
            return;
        }
        let (site, _server, path) = backend();
        let port = free_address().port();
        let configuration = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             frontend in\n bind 127.0.0.1:{port}\n default_backend ringd\n\
             backend ringd\n option httpchk GET /\n server one unix@{path} check\n"
        );
        fs::write(site.path().join("haproxy.cfg"), configuration).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-db", "-f"]).arg(site.path().join("haproxy.cfg")).stdin(Stdio::null());
        assert_passes_on(site.path(), port, &mut haproxy);
    }
}
