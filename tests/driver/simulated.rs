//! The simulator, without faults and in real time: peers and files are in memory.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::sim::{self, Sim};
use ringd::driver::{File, Limits, Sock};

use crate::harness::WAIT_MAX;
use crate::subject::{Dial, Files, Peer, Subject};

impl Subject for Sim {
    type Peer = sim::Peer;
    type Dialer = sim::Dialer;
    type Files = sim::Files;

    fn calls_for_events() -> Option<u64> {
        Some(0)
    }

    fn gives_turns() -> bool {
        true
    }

    fn open(limits: &Limits) -> io::Result<Self> {
        Self::open(limits)
    }

    fn connect(&mut self) -> (Sock, sim::Peer) {
        let (sock, mut peer) = self.connect().unwrap();
        peer.set_timeout(Some(WAIT_MAX));
        (sock, peer)
    }

    fn listen(&mut self) -> (Sock, sim::Dialer) {
        self.listen().unwrap()
    }

    fn listen_twice(&mut self) -> ([Sock; 2], sim::Dialer) {
        let (first, dialer) = self.listen().unwrap();
        ([first, self.listen_again(&dialer).unwrap()], dialer)
    }

    fn files(&self) -> sim::Files {
        self.files()
    }

    fn run(test: impl FnOnce()) {
        test();
    }

    fn alone(test: impl FnOnce()) {
        test();
    }

    fn take_descriptors(&mut self) -> Vec<fs::File> {
        self.set_descriptors_max(Some(0));
        Vec::new()
    }

    fn give_descriptors(&mut self, _: Vec<fs::File>) {
        self.set_descriptors_max(None);
    }
}

impl Peer for sim::Peer {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write);
    }

    fn reset(self) {
        self.reset();
    }

    fn twin(&self) -> Self {
        self.try_clone()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.set_timeout(Some(timeout));
    }

    fn set_nonblocking(&mut self, nonblocking: bool) {
        self.set_nonblocking(nonblocking);
    }
}

impl Dial for sim::Dialer {
    type Peer = sim::Peer;

    fn dial(&self) -> io::Result<sim::Peer> {
        let mut peer = self.dial()?;
        peer.set_timeout(Some(WAIT_MAX));
        Ok(peer)
    }
}

impl Files for sim::Files {
    fn write(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.write_at(name, offset, bytes);
    }

    fn truncate(&self, name: &str, len: u64) {
        self.truncate(name, len);
    }

    fn remove(&self, name: &str) {
        self.remove(name);
    }

    fn rename(&self, from: &str, to: &str) {
        self.rename(from, to);
    }

    fn root(&self) -> Arc<File> {
        self.root()
    }

    fn open(&self, name: &str) -> Arc<File> {
        self.open(name).unwrap()
    }
}
