//! The addresses in the start line, `--open` and `--qr`.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::process::{Server, ringd, site};

#[test]
fn each_address_in_the_start_line_can_be_opened() {
    let site = site();
    for listen in ["0.0.0.0:0", ":0"] {
        let mut command = ringd();
        command.arg(site.path()).args(["--listen", listen, "--workers", "1"]);
        let server = Server::start(&mut command);
        let addresses = server.addresses();
        assert!(addresses[0].ip().is_loopback(), "{}", server.line);
        for address in addresses {
            assert!(!address.ip().is_unspecified(), "{}", server.line);
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
}

/// A program that stands in for the one that finds a browser.
fn launcher(folder: &std::path::Path, script: &str) {
    let path = folder.join("xdg-open");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn open_starts_a_browser_with_the_address() {
    let (site, folder) = (site(), tempfile::tempdir().unwrap());
    let told = folder.path().join("told");
    let script = format!("#!/bin/sh\necho \"$1\" > {0}.part && mv {0}.part {0}\n", told.display());
    launcher(folder.path(), &script);
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--open"]).env("PATH", path);
    let server = Server::start(&mut command);
    let until = Instant::now() + Duration::from_secs(30);
    while !told.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let url = fs::read_to_string(&told).expect("the browser was started");
    assert_eq!(url.trim_end(), format!("http://{}/", server.address()));
}

#[test]
fn open_says_what_is_missing() {
    let (site, empty) = (site(), tempfile::tempdir().unwrap());
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--open"]).env("PATH", empty.path());
    let server = Server::start(&mut command);
    let line = server.error_line();
    assert!(line.contains("--open: no browser could be started"), "{line}");
    assert!(line.contains(&format!("open http://{}/ yourself", server.address())), "{line}");
    launcher(empty.path(), "#!/bin/sh\nexit 3\n");
    let server = Server::start(&mut command);
    let line = server.error_line();
    assert!(line.contains("xdg-open") && line.contains("exit status: 3"), "{line}");
}

#[test]
fn a_code_is_for_terminals() {
    let site = site();
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--qr"]);
    let server = Server::start(&mut command);
    let line = server.error_line();
    assert!(line.contains("--qr: standard output is no terminal"), "{line}");
}

#[test]
fn open_has_nothing_to_open_on_a_unix_socket() {
    let site = site();
    let place = format!("unix:{}", site.path().join("socket").display());
    let mut command = ringd();
    command.arg(site.path()).args(["--listen", &place, "--open"]);
    let server = Server::start(&mut command);
    assert!(server.error_line().contains("browsers cannot open"));
}
