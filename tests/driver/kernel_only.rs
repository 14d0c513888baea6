//! What only the kernel has: links and FIFOs, duplicates of descriptors, cold pages, addresses,
//! and a count of system calls. The list in `main.rs` exempts the simulator from these tests and
//! from no others.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{Chain, Completion, File, FileKind, Limits, Op, Outcome, Token, is_cancelled};

use crate::files::{opened, read_file};
use crate::harness::*;
use crate::kernel::{Kernel, dial, pair};
use crate::subject::{Dial, Files, Peer};

pub(crate) fn open_through_links<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let files = driver.files();
    files.write("page", b"a page");
    symlink("../secret", files.path("up")).unwrap();
    symlink("page", files.path("beneath")).unwrap();
    let mut open = |path: &std::ffi::CStr| {
        driver.submit(FILE, Op::OpenFile { root: files.root(), path: path.to_owned() });
        opened(last(run_lasts(driver, 1), FILE))
    };
    assert_eq!(open(c"beneath").unwrap().metadata().len, 6);
    assert_eq!(code(open(c"up")), Some(libc::EXDEV));
}

pub(crate) fn open_a_fifo_without_waiting<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let files = driver.files();
    assert!(Command::new("mkfifo").arg(files.path("fifo")).status().unwrap().success());
    driver.submit(FILE, Op::OpenFile { root: files.root(), path: c"fifo".into() });
    let file = opened(last(run_lasts(driver, 1), FILE)).unwrap();
    assert_eq!(file.metadata().kind, FileKind::Other);
}

pub(crate) fn peers_have_addresses<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    assert_eq!(driver.peer(sock).unwrap(), peer.local_addr().unwrap().into());
    assert_eq!(driver.local(sock).unwrap(), peer.peer_addr().unwrap().into());
    close_all(driver, sock);
}

/// Listeners and the connections that they accept have addresses.
pub(crate) fn listeners_have_addresses<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let address = dialer.address();
    assert_eq!(driver.local(listener).unwrap(), address.into());
    assert_eq!(code(driver.peer(listener)), Some(libc::ENOTCONN));
    let peer = dialer.dial().unwrap();
    let sock = accepted(&run_until(driver, |all| !all.is_empty()))[0];
    assert_eq!(driver.local(sock).unwrap(), address.into());
    assert_eq!(driver.peer(sock).unwrap(), peer.local_addr().unwrap().into());
    close(driver, sock);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}

/// A receive stops at a byte of urgent data (`tcp(7)`), although more follows it. The kernel does
/// not report readiness again for what is there already.
pub(crate) fn urgent_data_hides_nothing<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (ours, mut client) = pair();
    let sock = driver.adopt(ours.into()).unwrap();
    driver.submit(RECEIVE, Op::RecvMany { sock });
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    for _ in 0..3 {
        client.write_all(b"before").unwrap();
        socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"after").unwrap();
        let all = run_until(driver, |all| received(all).0.len() >= 11);
        assert_eq!(received(&all).0.escape_ascii().to_string(), "beforeafter");
    }
    close_all(driver, sock);
}

/// Evicts a file from the page cache, if the file system allows it.
fn chill(file: &fs::File) {
    file.sync_all().unwrap();
    #[allow(unsafe_code)]
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

/// Files that are not in the page cache are sent, read and opened as well, and can be cancelled.
pub(crate) fn send_of_cold_files<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let bytes = pattern(3 << 20);
    let mut on_disk = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    on_disk.write_all(&bytes).unwrap();
    chill(&on_disk);
    let file = Arc::new(File::new(on_disk.try_clone().unwrap().into()).unwrap());
    let (sock, peer) = connect(driver);
    let reading = slow_reader(peer.twin(), bytes.len() + 8);
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file, 1..bytes.len() as u64);
    chain.copy(b"tails");
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == [b"head", &bytes[1..], b"tails"].concat());
    chill(&on_disk);
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(bytes.len()));
    assert_eq!(result.unwrap(), bytes.len());
    assert!(buffer == bytes);
    for _ in 0..5 {
        chill(&on_disk);
        let mut chain = Chain::new();
        chain.file(&file, 0..bytes.len() as u64);
        let op = send_chain(driver, sock, chain);
        let mut all = Vec::new();
        driver.wait(Some(Duration::ZERO), &mut all).unwrap();
        driver.cancel(op);
        // The peer does not read, so the send cannot complete.
        all.extend(run_until(driver, |more| lasts(&all) + lasts(more) == 1));
        assert_cancelled(sent(all));
    }
    let mut chain = Chain::new();
    chill(&on_disk);
    chain.file(&file, 0..bytes.len() as u64);
    send_chain(driver, sock, chain);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    close_all(driver, sock);
    drop(peer);
}

/// More file ops than any queue outside the driver holds.
pub(crate) fn many_cold_file_ops<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let bytes = pattern(200_000);
    let mut on_disk = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    on_disk.write_all(&bytes).unwrap();
    chill(&on_disk);
    let file = Arc::new(File::new(on_disk.into()).unwrap());
    for number in 0..100u64 {
        let file = Arc::clone(&file);
        let op = Op::ReadFile { file, offset: number * 1000, buffer: Vec::with_capacity(1500) };
        driver.submit(Token(number), op);
    }
    let mut all = run_lasts(driver, 100);
    all.sort_by_key(|completion| completion.token.0);
    for (number, Completion { token, outcome, .. }) in all.into_iter().enumerate() {
        assert_eq!(token.0, number as u64);
        let Outcome::FileRead(Ok(count), buffer) = outcome else { panic!("{outcome:?}") };
        assert!(buffer == bytes[number * 1000..number * 1000 + count] && count >= 1500);
    }
    assert_eq!(Arc::strong_count(&file), 1);
    assert_home(driver);
}

/// An adopted socket may have duplicates. A close must reach the peer nevertheless, and events of
/// the duplicate must not reach the next owner of the slot.
pub(crate) fn close_reaches_the_peer_despite_duplicates<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (ours, mut peer) = pair();
    let duplicate = ours.try_clone().unwrap();
    let sock = driver.adopt(ours.into()).unwrap();
    receive(driver, sock);
    close_all(driver, sock);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    let (next, mut next_peer) = connect(driver);
    receive(driver, next);
    let before = driver.stats();
    peer.write_all(b"to the duplicate").unwrap();
    assert!(run_none(driver).is_empty());
    assert_no_vain_attempts(driver, &before);
    assert_few_calls(driver, &before, 9, 0);
    next_peer.write_all(b"next").unwrap();
    assert_eq!(received(&run_until(driver, |all| has_received(all, 4))).0, b"next");
    drop(duplicate);
    close_all(driver, next);
}

/// Another holder of the listener shuts it down while its queue is delivered: the accept ends
/// like that of any listener that is closed.
pub(crate) fn close_of_a_listener_that_was_shut_down<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let duplicate = listener.try_clone().unwrap();
    let sock = driver.adopt(listener.into()).unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener: sock });
    close(driver, sock);
    socket2::SockRef::from(&duplicate).shutdown(Shutdown::Both).unwrap();
    let all = run_lasts(driver, 2);
    let [Completion { outcome: Outcome::Accepted(Err(error)), .. }, closed] = &all[..] else {
        panic!("{all:?}")
    };
    assert!(is_cancelled(error) && matches!(closed.outcome, Outcome::Closed), "{all:?}");
}

/// The numbers on which comparisons of drivers rest: system calls for each answer.
pub(crate) fn system_calls_are_few<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let file = file_of(driver, &pattern(20_000));
    let op = receive(driver, sock);
    driver.wait(Some(Duration::from_millis(10)), &mut Vec::new()).unwrap();
    // The first send of a file checks whether it is in memory; the others remember.
    for (len, calls_max) in [(0, 3), (20_000, 5), (20_000, 4)] {
        peer.write_all(b"request").unwrap();
        let before = driver.stats();
        drop(run_until(driver, |all| has_received(all, 7)));
        let mut chain = Chain::new();
        chain.copy(b"head");
        chain.file(&file, 0..len);
        send_chain(driver, sock, chain);
        sent(run_lasts(driver, 1)).unwrap();
        peer.read_exact(&mut vec![0; 4 + len as usize]).unwrap();
        assert_eq!(driver.stats().completions - before.completions, 2);
        assert_no_vain_attempts(driver, &before);
        assert_few_calls(driver, &before, calls_max, 1);
    }
    // A short read has drained the socket, so the next receive makes no call that would fail.
    let before = driver.stats();
    driver.cancel(op);
    run_lasts(driver, 1);
    receive(driver, sock);
    driver.wait(Some(Duration::from_millis(20)), &mut Vec::new()).unwrap();
    assert_no_vain_attempts(driver, &before);
    close_all(driver, sock);
}

pub(crate) fn adopting_is_refused_when_full<D: Kernel>() {
    let driver = &mut D::open(&Limits { sockets_max: 1, ..limits() }).unwrap();
    let (sock, _peer) = connect(driver);
    let (ours, mut peer) = pair();
    assert!(driver.adopt(ours.into()).is_err());
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "a refused socket is closed");
    close_all(driver, sock);
}

/// All duplicates of a socket share its status flags.
pub(crate) fn accept_on_a_listener_made_non_blocking<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let duplicate = listener.try_clone().unwrap();
    let sock = driver.adopt(listener.into()).unwrap();
    duplicate.set_nonblocking(true).unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener: sock });
    assert!(run_none(driver).is_empty());
    for _ in 0..2 {
        let _peer = dial(&duplicate);
        let all = run_until(driver, |all| !all.is_empty());
        assert_eq!(accepted(&all).len(), 1, "{all:?}");
    }
}

/// A file that `sendfile(2)` refuses is read and sent: whole or in part, behind memory and before
/// it, to a peer that reads slowly, and again.
pub(crate) fn send_of_a_file_without_sendfile<D: Kernel>() {
    let Ok(content) = fs::read("/proc/config.gz") else {
        return println!("skipped: this kernel has no /proc/config.gz");
    };
    let driver = &mut D::open(&limits()).unwrap();
    let file = fs::File::open("/proc/config.gz").unwrap();
    let file = Arc::new(File::new(file.into()).unwrap());
    let (sock, peer) = connect(driver);
    let rounds = 50;
    let mut expected = Vec::new();
    for _ in 0..rounds {
        expected.extend([b"head", &content[..], b"middle", &content[100..9000]].concat());
    }
    // Otherwise the sends behind it would fail for another reason.
    let _open = peer.twin();
    let reading = slow_reader(peer, expected.len());
    for _ in 0..rounds {
        let mut chain = Chain::new();
        chain.copy(b"head");
        chain.file(&file, 0..content.len() as u64);
        chain.copy(b"middle");
        chain.file(&file, 100..9000);
        send_chain(driver, sock, chain);
        sent(run_lasts(driver, 1)).unwrap();
    }
    assert!(reading.join().unwrap() == expected);
    let (mut chain, end) = (Chain::new(), content.len() as u64);
    chain.file(&file, end - 10..end + 10);
    send_chain(driver, sock, chain);
    let error = sent(run_lasts(driver, 1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    let mut chain = Chain::new();
    chain.file(&file, 0..end);
    let op = send_chain(driver, sock, chain);
    driver.cancel(op);
    run_lasts(driver, 1);
    close_all(driver, sock);
    assert_eq!(Arc::strong_count(&file), 1, "nothing keeps the file open");
}
