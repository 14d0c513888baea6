//! How many packets an answer takes, which only a kernel has.

#![allow(unsafe_code)]

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use ringd::driver::{Chain, Op, SendEnd};

use crate::harness::*;
use crate::subject::Subject;

/// `tcpi_segs_in` of `struct tcp_info` (linux/tcp.h).
const SEGMENTS_OFFSET: usize = 140;

/// An interrupted process takes longer than the kernel keeps an incomplete segment, 200 ms.
const TRIES: usize = 20;

/// The segments that a socket has received.
fn segments(socket: &TcpStream) -> u32 {
    let mut info = [0u8; SEGMENTS_OFFSET + 4];
    let mut len = info.len() as libc::socklen_t;
    let (fd, info_of_tcp) = (socket.as_raw_fd(), libc::TCP_INFO);
    let bytes = info.as_mut_ptr().cast();
    // SAFETY: `info` and `len` are live locals, and `len` is the size of `info`.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, info_of_tcp, bytes, &raw mut len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    u32::from_ne_bytes(info[SEGMENTS_OFFSET..].try_into().unwrap())
}

/// Sends an answer and its end; returns how many segments the client got.
fn segments_of<S: Subject<Peer = TcpStream>>(driver: &mut S, end: SendEnd, parts: usize) -> u32 {
    let (sock, mut peer) = connect(driver);
    let before = segments(&peer);
    let mut chain = Box::new(Chain::new());
    for _ in 0..parts {
        chain.share(&std::rc::Rc::from(&b"last words"[..]));
    }
    driver.submit(SEND, Op::Send { sock, chain, end });
    sent(run_lasts(driver, 1)).unwrap();
    close_all(driver, sock);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words".repeat(parts));
    segments(&peer) - before
}

/// One packet less for each connection, and one wake of the client.
pub(crate) fn the_end_shares_the_last_segment<S: Subject<Peer = TcpStream>>() {
    let driver = &mut S::open(&limits()).unwrap();
    for end in [SendEnd::HalfClose, SendEnd::Close] {
        for parts in [1, 3] {
            let tries: Vec<_> = (0..TRIES).map(|_| segments_of(driver, end, parts)).collect();
            assert!(tries.contains(&1), "{end:?}: {tries:?}");
        }
    }
}
