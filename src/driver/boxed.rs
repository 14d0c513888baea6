//! Implements [`Driver`] for a boxed driver, so code above can be compiled once for all drivers.

use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::sealed::Sealed;
use super::{Completion, Driver, DriverStats, Now, Op, OpId, Sock, SocketAddress, Token, Waker};

impl Sealed for Box<dyn Driver> {}

impl Driver for Box<dyn Driver> {
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock> {
        (**self).adopt(socket)
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        (**self).set_joint(listener, joint);
    }

    fn duplicate(&self, listener: Sock) -> io::Result<OwnedFd> {
        (**self).duplicate(listener)
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        (**self).submit(token, op)
    }

    fn cancel(&mut self, op: OpId) {
        (**self).cancel(op);
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        (**self).wait(timeout, out)
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        (**self).acknowledged(sock)
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        (**self).peer(sock)
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        (**self).set_pace(sock, rate)
    }

    fn has_input(&self, sock: Sock) -> bool {
        (**self).has_input(sock)
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        (**self).local(sock)
    }

    fn now(&self) -> Now {
        (**self).now()
    }

    fn in_flight(&self) -> usize {
        (**self).in_flight()
    }

    fn leased(&self) -> usize {
        (**self).leased()
    }

    fn stats(&self) -> DriverStats {
        (**self).stats()
    }
}
