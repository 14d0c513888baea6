//! Tests of drains in a process that may not filter the segments of a socket.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use socket2::{Domain, SockRef, Socket, Type};

use super::{HOPS_MAX, NO_SYN};

/// Runs a test in a thread without `CAP_NET_ADMIN`; capabilities belong to the thread. Prints a
/// reason and does nothing if this kernel lets every process attach a filter: then no listener
/// demands hops.
pub(in crate::driver) fn run(test: impl FnOnce() + Send) {
    let test = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        match SockRef::from(&any).attach_filter(&NO_SYN) {
            Ok(()) => println!("skipped: this kernel lets every process attach a filter"),
            Err(_) => test(),
        }
    };
    let ended = thread::scope(|scope| scope.spawn(test).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Connects as a client whose handshake was under way when the listener began to demand hops: the
/// last segment of the handshake arrives, and the segments after it have the usual TTL.
pub(in crate::driver) fn late_client(address: SocketAddr, sends: &[u8]) -> TcpStream {
    let client = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    client.set_ttl_v4(HOPS_MAX.into()).unwrap();
    client.connect(&address.into()).unwrap();
    client.set_ttl_v4(64).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(sends).unwrap();
    client
}
