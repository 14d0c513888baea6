//! The program as a child process, to read what the kernel reports about it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ringd::driver::DriverKind;

use crate::common::eventually;

/// A running `ringd`; killed if it is dropped before [`Process::stop`].
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    pub(crate) fn start(kind: DriverKind, root: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringd"))
            .arg(root)
            .args(["--listen", "127.0.0.1:0", "--workers", "2", "--driver", kind.name()])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        let (_, rest) = banner.split_once("http://").expect("the banner has an address");
        let address = rest[..rest.find('/').unwrap()].parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends it with SIGTERM, and checks that it exits with success.
    pub(crate) fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let mut code = None;
        eventually("the process ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        assert_eq!(code.unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has ended, which is expected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
