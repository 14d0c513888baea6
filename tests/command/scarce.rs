//! Descriptors: clients that do not read use up none that others need, and no file stays open
//! without a reason.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::common::{WAIT_MAX, eventually};
use crate::jail::{Jail, is_root};
use crate::process::{Server, drivers, get, with};

/// Clients that do not read, and the large files that each of them requests at once.
const STALLED: usize = 218;
const FILES_EACH: usize = 4;

const LARGE: usize = 4 << 20;

/// A site with a small file, a large one, and more large ones than may be open.
fn large_site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small"), "small").unwrap();
    fs::write(folder.path().join("large"), vec![b'x'; 20_000]).unwrap();
    for number in 0..STALLED * FILES_EACH {
        let file = fs::File::create(folder.path().join(number.to_string())).unwrap();
        file.set_len(LARGE as u64).unwrap();
    }
    folder
}

/// A client that requests large files and reads nothing. Its small buffer keeps the server from
/// sending a whole file.
fn stalled(address: SocketAddr, number: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    for file in number * FILES_EACH..(number + 1) * FILES_EACH {
        write!(client, "GET /{file} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    client
}

fn assert_serves_both(server: &Server, what: &str) {
    for (path, len) in [("/small", 5), ("/large", 20_000)] {
        let (head, body) = get(server.address(), path);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{what}: {path}: {head}");
        assert_eq!(body.len(), len, "{what}: {path}");
    }
}

#[test]
fn clients_that_do_not_read_leave_descriptors_for_others() {
    // The clients' ends of the connections.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let site = large_site();
    for driver in drivers() {
        let jail = Jail { nofile: Some(1100), ..Jail::default() };
        let root = site.path().to_str().unwrap();
        let options = ["--workers", "1", "--max-connections", "400", "--driver", driver];
        let server = Server::start(jail.hold(with(&[root]).args(options)));
        let mut clients = Vec::new();
        for number in 0..STALLED {
            clients.push(stalled(server.address(), number));
            if number % 20 == 0 {
                assert_serves_both(
                    &server,
                    &format!("{driver}, client {number}, {} open", server.descriptors().len()),
                );
            }
        }
        let others = (0..400 - STALLED - 10).map(|_| TcpStream::connect(server.address()).unwrap());
        let mut others: Vec<_> = others.collect();
        for (number, client) in others.iter_mut().enumerate() {
            client.set_read_timeout(Some(WAIT_MAX)).unwrap();
            client.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let mut start = [0; 15];
            client.read_exact(&mut start).unwrap_or_else(|error| {
                panic!("{driver}: client {number} gets no answer: {error}");
            });
            assert_eq!(&start, b"HTTP/1.1 200 OK", "{driver}: client {number}");
        }
        drop(others);
        drop(clients);
        eventually("the files are closed again", || server.descriptors().len() < 400);
        assert_serves_both(&server, driver);
    }
}

/// The process cannot open any file. What it knows, it serves.
#[test]
fn a_shortage_of_descriptors_fails_no_request_for_a_cached_file() {
    let site = large_site();
    for driver in drivers() {
        let root = site.path().to_str().unwrap();
        let server = Server::start(&mut with(&[root, "--workers", "1", "--driver", driver]));
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let mut request = |path: &str| {
            write!(client, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let mut piece = [0; 4096];
            loop {
                let count = client.read(&mut piece).unwrap();
                assert!(count > 0, "{driver}: the connection ends after {answer:?}");
                answer.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&answer);
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                    if length.is_some_and(|length| body.len() >= length.parse().unwrap()) {
                        return head.lines().next().unwrap().to_owned();
                    }
                }
            }
        };
        let process = Pid::from_raw(server.id() as i32);
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = |current| {
            let limit = Rlimit { current, maximum };
            prlimit(process, Resource::Nofile, limit).unwrap()
        };
        for path in ["/small", "/large"] {
            assert_eq!(request(path), "HTTP/1.1 200 OK", "{driver}");
        }
        let before = limit(Some(4));
        for _ in 0..3 {
            // Longer than --revalidate, so each request wants to open the files.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            for path in ["/small", "/large"] {
                assert_eq!(request(path), "HTTP/1.1 200 OK", "{driver}: {path}");
            }
        }
        assert_eq!(request("/1"), "HTTP/1.1 503 Service Unavailable", "{driver}");
        assert_eq!(request("/small"), "HTTP/1.1 200 OK", "{driver}: it needs no descriptor");
        limit(before.current);
        assert_eq!(request("/1"), "HTTP/1.1 200 OK", "{driver}");
    }
}

/// Whether the server has a file of this folder open, other than the folder itself.
fn has_open(server: &Server, folder: &Path) -> bool {
    let folder = format!("{}/", folder.display());
    server.descriptors().iter().any(|target| target.starts_with(&folder))
}

#[test]
fn a_deleted_file_is_closed() {
    for driver in drivers() {
        for options in [&["--cache-idle", "1h"][..], &["--no-watch", "--cache-idle", "1s"]] {
            let site = tempfile::tempdir().unwrap();
            fs::write(site.path().join("large"), vec![b'x'; 20_000]).unwrap();
            let root = site.path().to_str().unwrap();
            let common = [root, "--workers", "1", "--driver", driver];
            let server = Server::start(with(&common).args(options));
            assert_eq!(get(server.address(), "/large").1.len(), 20_000);
            let watches = options[0] == "--cache-idle";
            if watches {
                eventually("the directory is watched", || server.watches_any());
                eventually("the file is open", || {
                    get(server.address(), "/large").1.len() == 20_000
                        && has_open(&server, site.path())
                });
            }
            fs::remove_file(site.path().join("large")).unwrap();
            eventually(&format!("{driver} {options:?}: the file is closed"), || {
                !has_open(&server, site.path())
            });
        }
    }
}

/// An open file would keep the file system mounted.
#[test]
fn a_mount_beneath_the_root_can_be_unmounted() {
    if !is_root() {
        return println!("skipped: only root can mount a file system");
    }
    let site = tempfile::tempdir().unwrap();
    let mounted = site.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let script = "mount -t tmpfs none \"$1/mounted\" \
                  && head -c 20000 /dev/zero >\"$1/mounted/large\" \
                  && exec \"$2\" \"$1\" --listen 127.0.0.1:0 --cache-idle 1s";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(site.path());
    let server = match Server::try_start(command.arg(env!("CARGO_BIN_EXE_ringd"))) {
        Ok(server) => server,
        Err(end) => return println!("skipped: no file system can be mounted here: {end:?}"),
    };
    assert_eq!(get(server.address(), "/mounted/large").1.len(), 20_000);
    assert!(has_open(&server, &mounted), "the test would not show anything");
    eventually("the file system can be unmounted", || {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &server.id().to_string(), "umount"]);
        command.arg(&mounted).stderr(Stdio::null()).status().unwrap().success()
    });
}
