//! In a sandbox that denies a call of a driver: what has a replacement is replaced, and what has
//! none ends the start with an error that names the call.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::jail::Jail;
use crate::process::{Server, assert_serves, end_of, get, kinds, ringd, site, uring_works};
use ringd::driver::DriverKind;
use tempfile::TempDir;

/// How sandboxes deny a call: openly, or like a kernel that does not have it.
const CODES: [i32; 2] = [libc::EPERM, libc::ENOSYS];

fn deny(call: libc::c_long, code: i32) -> Jail {
    Jail { denied: Some((call, code)), ..Jail::default() }
}

/// A command that serves `root` with this driver and one worker.
fn serving(root: &Path, driver: DriverKind) -> Command {
    let mut command = ringd();
    command.arg(root).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--driver", driver.name()]);
    command
}

/// A part of the content that the server returns for `Range: bytes=<range>`.
fn get_range(address: SocketAddr, path: &str, range: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 206 "), "{}", String::from_utf8_lossy(&answer[..100]));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    answer.split_off(end)
}

fn contains(bytes: &[u8], piece: &[u8]) -> bool {
    bytes.windows(piece.len()).any(|window| window == piece)
}

/// Asserts that a server sends each kind of answer that has a part of a file: `large` is the
/// content of `/large`, and `error` that of the page for errors.
#[track_caller]
fn assert_sends_files(server: &Server, large: &[u8], error: &[u8]) {
    let address = server.address();
    // The second answer comes from the file that the cache holds open.
    for _ in 0..2 {
        let (head, body) = get(address, "/large");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(body == large, "{} bytes", body.len());
    }
    assert!(get_range(address, "/large", "100000-299999") == large[100_000..300_000]);
    let several = get_range(address, "/large", "5-20004,200000-249999");
    assert!(contains(&several, &large[5..20_005]) && contains(&several, &large[200_000..250_000]));
    let (head, body) = get(address, "/missing");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(body == error, "{} bytes", body.len());
}

fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fastrand::Rng::with_seed(count as u64).fill(&mut bytes);
    bytes
}

/// A site with a large file and a page for errors, and the contents of both.
fn site_with_files() -> (TempDir, Vec<u8>, Vec<u8>) {
    let (large, error) = (bytes(3_000_000), bytes(70_000));
    let site = site();
    std::fs::write(site.path().join("large"), &large).unwrap();
    std::fs::write(site.path().join("404.html"), &error).unwrap();
    (site, large, error)
}

/// Files too large for the cache are read and sent instead. `EINVAL` is the answer of a file
/// system that does not support the call.
#[test]
fn files_are_sent_where_sendfile_is_denied() {
    let (site, large, error) = site_with_files();
    for driver in kinds() {
        for code in [libc::EPERM, libc::ENOSYS, libc::EINVAL] {
            println!("{driver}, {code}");
            let mut command = serving(site.path(), driver);
            let server = Server::start(deny(libc::SYS_sendfile, code).hold(&mut command));
            assert_sends_files(&server, &large, &error);
        }
    }
}

/// The operator learns at the start that files cost more here.
#[test]
fn a_note_says_that_files_are_copied() {
    let site = site();
    for driver in kinds() {
        let mut command = serving(site.path(), driver);
        let server = Server::start(deny(libc::SYS_sendfile, libc::EPERM).hold(&mut command));
        let note = server.error_line();
        for word in ["ringd: sendfile is denied (EPERM)", "ringd doctor"] {
            assert!(note.contains(word), "{driver}: no {word:?} in: {note}");
        }
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert!(!end.errors.contains("denied"), "{driver}: one note: {end:?}");
    }
}

/// The doctor says the same as the server: files are sent in another way.
#[test]
fn the_doctor_says_that_files_can_be_served_without_sendfile() {
    for code in CODES {
        let mut command = ringd();
        let jail = deny(libc::SYS_sendfile, code);
        let end = end_of(jail.hold(command.args(["doctor", "--json"])));
        assert_eq!(end.code, Some(0), "{end:?}");
        let report: serde_json::Value = serde_json::from_str(&end.output).unwrap();
        assert_eq!(report["serving"], true, "{report:#}");
        let mut checks = report["checks"].as_array().unwrap().iter();
        let check = checks.find(|check| check["id"] == "calls.sendfile").expect("a check");
        assert_eq!(check["status"], "shortcoming", "{check:#}");
        assert!(check["cause"].as_str().unwrap().contains("read and sent"), "{check:#}");
    }
}

/// A file system may support no `sendfile(2)`, as `proc(5)` for files of this kind.
#[test]
fn a_file_is_sent_whose_file_system_has_no_sendfile() {
    let Ok(content) = std::fs::read("/proc/config.gz") else {
        return println!("skipped: this kernel has no /proc/config.gz");
    };
    for driver in kinds() {
        let server = Server::start(&mut serving(Path::new("/proc"), driver));
        for _ in 0..2 {
            let (head, body) = get(server.address(), "/config.gz");
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{driver}: {head}");
            assert!(body == content, "{driver}: {} bytes", body.len());
        }
        let part = get_range(server.address(), "/config.gz", "10000-19999");
        assert!(part == content[10_000..20_000], "{driver}");
    }
}

/// Small files are read with a call that waits, on another thread; and nothing needs to know
/// whether an adopted socket is a listener.
#[test]
fn a_call_that_has_a_replacement_may_be_denied() {
    let site = site();
    let large = bytes(1_000_000);
    std::fs::write(site.path().join("large"), &large).unwrap();
    for driver in kinds() {
        for call in [libc::SYS_preadv2, libc::SYS_getsockopt, libc::SYS_shutdown] {
            for code in CODES {
                println!("{driver}: {call}, {code}");
                let mut command = serving(site.path(), driver);
                let command = deny(call, code).hold(&mut command);
                if driver == DriverKind::Threads && call == libc::SYS_shutdown {
                    // Nothing else ends a call that blocks.
                    end_of(command).assert_failed(1, &["threads does not work here: shutdown"]);
                    continue;
                }
                let server = Server::start(command);
                assert_serves(&server);
                assert!(get(server.address(), "/large").1 == large);
                server.signal(libc::SIGTERM);
                assert_eq!(server.end().code, Some(0));
            }
        }
    }
}

/// Without both calls, the thread that reads must send what it read.
#[test]
fn files_are_sent_where_sendfile_and_preadv2_are_denied() {
    let (site, large, error) = site_with_files();
    for driver in kinds() {
        let jail = Jail {
            denied: Some((libc::SYS_sendfile, libc::EPERM)),
            also_denied: Some((libc::SYS_preadv2, libc::EPERM)),
            ..Jail::default()
        };
        let server = Server::start(jail.hold(&mut serving(site.path(), driver)));
        assert_sends_files(&server, &large, &error);
    }
}

/// The calls that a driver cannot do without, beside those of io_uring.
fn needed(driver: DriverKind) -> Vec<(&'static str, libc::c_long)> {
    let wait = match driver {
        // The ring makes the others by itself. These two send what comes before a file.
        DriverKind::Uring => {
            return vec![("sendto", libc::SYS_sendto), ("sendmsg", libc::SYS_sendmsg)];
        }
        DriverKind::Epoll | DriverKind::EpollLevel => ("epoll_pwait", libc::SYS_epoll_pwait),
        DriverKind::Poll | DriverKind::Sigio => ("ppoll", libc::SYS_ppoll),
        DriverKind::Select => ("pselect6", libc::SYS_pselect6),
        DriverKind::Spin | DriverKind::Threads => ("accept4", libc::SYS_accept4),
    };
    vec![
        wait,
        ("accept4", libc::SYS_accept4),
        ("recvfrom", libc::SYS_recvfrom),
        ("sendto", libc::SYS_sendto),
    ]
}

#[test]
fn without_a_call_that_it_needs_a_driver_does_not_start() {
    let site = site();
    for driver in kinds() {
        for (name, call) in needed(driver) {
            for (code, errno) in [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS)] {
                let mut command = serving(site.path(), driver);
                let end = end_of(deny(call, errno).hold(&mut command));
                let refusal = format!("the driver {driver} does not work here: {name}: {code}");
                end.assert_failed(1, &[&refusal, "seccomp filter", "container", "auto"]);
            }
        }
    }
}

/// `auto` tests the driver that takes the place of `uring`, too.
#[test]
fn auto_does_not_start_on_a_driver_that_does_not_work() {
    let site = site();
    for code in CODES {
        let jail = Jail {
            denied: Some((libc::SYS_io_uring_setup, code)),
            also_denied: Some((libc::SYS_accept4, code)),
            ..Jail::default()
        };
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", "127.0.0.1:0"]);
        let end = end_of(jail.hold(&mut command));
        end.assert_failed(1, &["io_uring_setup: E", "nor does epoll: accept4: E", "ringd doctor"]);
    }
}

/// The ring accepts, receives and sends by itself, so it does not need these calls.
#[test]
fn uring_serves_without_the_calls_of_a_reactor() {
    if !uring_works() {
        return;
    }
    let site = site();
    for call in [libc::SYS_accept4, libc::SYS_recvfrom, libc::SYS_epoll_pwait] {
        for code in CODES {
            let mut command = serving(site.path(), DriverKind::Uring);
            let server = Server::start(deny(call, code).hold(&mut command));
            assert_serves(&server);
        }
    }
}

/// Compressed forms that are not small are files in memory. Without such files, the server says so
/// once, and does not try again and again.
#[cfg(feature = "compress")]
#[test]
fn large_files_stay_plain_without_files_in_memory() {
    let site = site();
    let small = "small words, ".repeat(200);
    let large = bytes(400_000).iter().map(|byte| format!("{byte:x}")).collect::<String>();
    std::fs::write(site.path().join("small.txt"), &small).unwrap();
    std::fs::write(site.path().join("large.txt"), &large).unwrap();
    // Files that have just changed are not compressed.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for code in CODES {
        let mut command = serving(site.path(), DriverKind::Epoll);
        command.args(["--compress=gzip", "--compress-level=fast"]);
        let server = Server::start(deny(libc::SYS_memfd_create, code).hold(&mut command));
        let is_compressed = |path: &str| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let fields = "Host: h\r\nAccept-Encoding: gzip\r\nConnection: close";
            let request = format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 "));
            contains(&answer, b"Content-Encoding: gzip\r\n")
        };
        for _ in 0..3 {
            assert!(!is_compressed("/large.txt"));
        }
        crate::common::eventually("a small one is compressed", || is_compressed("/small.txt"));
        assert!(!is_compressed("/large.txt"));
        server.signal(libc::SIGTERM);
        let end = server.end();
        let remedy = "let the sandbox allow memfd_create(2), or raise --memory-file-max";
        assert_eq!(end.errors.matches(remedy).count(), 1, "{end:?}");
    }
}
