//! Safe wrappers of the system calls that std does not offer.
//!
//! They repeat interrupted calls, except those with a timeout. "Would block" is an error of kind
//! `WouldBlock`.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags};
use rustix::io::{ReadWriteFlags, preadv2};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, accept_with};

use super::call_log::made;
pub(super) use super::descriptor_set::{DescriptorSet, FD_SETSIZE};
use super::replaced::ReplacedCall;
use super::{Links, SocketAddress};

/// How files are opened for serving: the open does not wait, so a FIFO or a terminal in the root
/// cannot block the server or become its controlling terminal.
pub(super) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Repeats a call until it is not interrupted.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Takes ownership of a descriptor that the kernel has just returned.
///
/// # Safety
///
/// A system call or a completion has just created it, and nothing else owns it.
pub(super) unsafe fn own(descriptor: RawFd) -> OwnedFd {
    assert!(descriptor >= 0);
    // SAFETY: the caller promises that it is new and that nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Repeats a call of rustix until it is not interrupted.
fn retry_on_intr<T>(call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    rustix::io::retry_on_intr(call).map_err(io::Error::from)
}

/// `accept4(2)`: a new connection, non-blocking and close-on-exec.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    made("accept4", || retry_on_intr(|| accept_with(listener, flags)))
}

/// `accept4(2)` that waits for a connection, which is blocking and close-on-exec. A `shutdown(2)`
/// of the listener ends it with `EINVAL`.
pub(super) fn accept_waiting(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    made("accept4", || retry_on_intr(|| accept_with(listener, SocketFlags::CLOEXEC)))
}

/// `recv(2)` that does not wait.
pub(super) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let call = || net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT);
    Ok(made("recvfrom", || retry_on_intr(call))?.0)
}

/// `recv(2)` that waits for data, on a blocking socket.
pub(super) fn recv_waiting(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let call = || net::recv(socket, &mut *buffer, RecvFlags::empty());
    Ok(made("recvfrom", || retry_on_intr(call))?.0)
}

/// `send(2)` or, for several slices, `sendmsg(2)`, without waiting and without `SIGPIPE`. `more`
/// means that other bytes follow at once, so the kernel may wait for them to fill a segment
/// (`MSG_MORE`).
pub(super) fn send(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    more: bool,
) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | send_flags(more);
    match slices {
        [slice] => made("sendto", || retry_on_intr(|| net::send(socket, slice, flags))),
        _ => made("sendmsg", || {
            retry_on_intr(|| {
                net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)
            })
        }),
    }
}

fn send_flags(more: bool) -> SendFlags {
    SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() }
}

/// `send(2)` that waits until all is sent, on a blocking socket. After `SO_SNDTIMEO` without
/// progress, it returns how much was sent, or `WouldBlock` if nothing was. `more` is as for
/// [`send`].
pub(super) fn send_waiting(socket: BorrowedFd<'_>, bytes: &[u8], more: bool) -> io::Result<usize> {
    made("sendto", || retry_on_intr(|| net::send(socket, bytes, send_flags(more))))
}

/// `sendfile(2)` from `offset`; returns 0 if the file ends there.
pub(super) fn sendfile(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    if i64::try_from(offset).is_err() {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    let mut position = offset;
    let call = || rustix::fs::sendfile(socket, file, Some(&mut position), len);
    made("sendfile", || retry_on_intr(call))
}

/// Whether the byte at `offset` can be read without waiting for a disk (`preadv2(2)` with
/// `RWF_NOWAIT`). True for file systems that cannot tell, and at the end of the file.
pub(super) fn is_resident(file: BorrowedFd<'_>, offset: u64) -> bool {
    let mut byte = 0u8;
    match preadv2_nowait(file, std::slice::from_mut(&mut byte), offset) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// `preadv2(2)` with `RWF_NOWAIT`: reads what the page cache holds, or fails with `WouldBlock`.
pub(super) fn preadv2_nowait(
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    if i64::try_from(offset).is_err() {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    let flags = ReadWriteFlags::NOWAIT;
    let call = || preadv2(file, &mut [IoSliceMut::new(buffer)], offset, flags);
    made("preadv2", || retry_on_intr(call)).inspect_err(|error| ReplacedCall::Preadv2.failed(error))
}

/// `openat2(2)` for serving; see [`OPEN_FLAGS`]. With `cached`, it fails with `WouldBlock` unless
/// the kernel has all names in memory (`RESOLVE_CACHED`).
pub(super) fn openat2(
    root: BorrowedFd<'_>,
    path: &CStr,
    links: Links,
    cached: bool,
) -> io::Result<OwnedFd> {
    let cached = if cached { ResolveFlags::CACHED } else { ResolveFlags::empty() };
    open_beneath(root, path, OPEN_FLAGS, links.resolve() | cached)
}

/// `openat2(2)` with `O_PATH`: for reading the metadata of a file, not its content.
pub(super) fn open_path(root: BorrowedFd<'_>, path: &CStr, links: Links) -> io::Result<OwnedFd> {
    open_beneath(root, path, OFlags::PATH | OFlags::CLOEXEC, links.resolve())
}

/// The only call of `openat2(2)`. A ring makes the call itself, from an `OpenHow`.
fn open_beneath(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let call = || rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    made("openat2", || retry_on_intr(call))
}

/// `eventfd(2)`, blocking, because io_uring waits only for blocking files: a read of a non-blocking
/// one fails with `EAGAIN`.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    retry_on_intr(|| rustix::event::eventfd(0, EventfdFlags::CLOEXEC))
}

/// `memfd_create(2)`: a regular file in memory, which nobody can execute. With
/// `vm.memfd_noexec=2`, there are no others; a kernel before 6.3 does not know the flag.
pub(super) fn memory_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| retry_on_intr(|| rustix::fs::memfd_create(c"ringd", flags));
    match create(flags | MemfdFlags::NOEXEC_SEAL) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => create(flags),
        created => created,
    }
}

/// The release of the running kernel (`uname(2)`). A sandbox may deny the call, which rustix
/// assumes to be impossible.
pub(super) fn kernel_release() -> io::Result<String> {
    // SAFETY: `utsname` is plain data, and zero is a valid value: empty strings.
    let mut names: libc::utsname = unsafe { MaybeUninit::zeroed().assume_init() };
    retry(|| {
        // SAFETY: `names` is a live local, of the type that the call fills.
        unsafe { libc::uname(&raw mut names) as isize }
    })?;
    let release = names.release.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    Ok(release.map(char::from).collect())
}

/// The offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h), behind 8 one-byte fields,
/// 24 four-byte ones and two eight-byte ones. `libc` has only an older, shorter structure.
const BYTES_ACKED_OFFSET: usize = 8 + 24 * 4 + 2 * 8;

/// Bytes that the peer has acknowledged, of `sent` bytes: as TCP counts them, or as far as the
/// queue of a Unix socket shows it.
pub(super) fn acknowledged(socket: BorrowedFd<'_>, sent: u64) -> io::Result<u64> {
    match acknowledged_by_tcp(socket) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(sent.saturating_sub(queued(socket)?))
        }
        acknowledged => acknowledged,
    }
}

/// The memory of what a Unix socket has sent and its peer has not read, in bytes (`SIOCOUTQ`,
/// `unix(7)`).
fn queued(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    retry(|| {
        // SAFETY: the call writes an `int`, and `bytes` is a live local of this type.
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) as isize }
    })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Whether this is a listener that workers share: one of a Unix socket (`SO_DOMAIN`,
/// `SO_ACCEPTCONN`, `socket(7)`). False if the calls are denied.
pub(super) fn is_shared_listener(socket: BorrowedFd<'_>) -> bool {
    is_unix(socket) && socket2::SockRef::from(&socket).is_listener().unwrap_or(false)
}

/// Whether this is a Unix socket (`SO_DOMAIN`, `socket(7)`). False if the call is denied.
pub(super) fn is_unix(socket: BorrowedFd<'_>) -> bool {
    socket2::SockRef::from(&socket).domain().is_ok_and(|domain| domain == socket2::Domain::UNIX)
}

/// Bytes that the peer of a TCP connection has acknowledged (`TCP_INFO`, `tcp(7)`; Linux 4.1).
fn acknowledged_by_tcp(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let info: [u8; BYTES_ACKED_OFFSET + 8] = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    // The kernel counts the SYN as one acknowledged byte. Callers only use differences.
    let field = info[BYTES_ACKED_OFFSET..].try_into();
    Ok(u64::from_ne_bytes(field.expect("the array is as long as the field")))
}

/// The least TTL or hop limit of the segments that a TCP socket takes; the kernel drops the others.
/// It takes two calls of `setsockopt(2)`: `IP_MINTTL` (`ip(7)`), and `IPV6_MINHOPCOUNT`
/// (linux/in6.h), which fails for a socket of IPv4. A socket of IPv6 may have clients of both.
pub(super) fn set_min_hops(socket: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    let _ = set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, hops.into());
    set_option(socket, libc::IPPROTO_IP, libc::IP_MINTTL, hops.into())
}

/// The value of an option, up to `N` bytes (`getsockopt(2)`).
pub(super) fn option<const N: usize>(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
) -> io::Result<[u8; N]> {
    let mut value = [0; N];
    let mut len = N as libc::socklen_t;
    retry(|| {
        let value = value.as_mut_ptr().cast();
        // SAFETY: `value` points to a live local of `len` bytes, and `len` is a live local too.
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut len) as isize }
    })?;
    Ok(value)
}

/// `setsockopt(2)` for an option that is an `int`.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: i32,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    let call = || {
        let value = (&raw const value).cast();
        // SAFETY: `value` points to a live local of `len` bytes, which the call only reads.
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) as isize }
    };
    made("setsockopt", || retry(call))?;
    Ok(())
}

/// `shutdown(2)`.
pub(super) fn shutdown(socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    made("shutdown", || socket2::SockRef::from(&socket).shutdown(how))
}

/// Makes reads of a regular file wait. With `O_NONBLOCK`, io_uring assumes that a read does not
/// wait, which is wrong on some file systems.
pub(super) fn set_blocking(file: BorrowedFd<'_>) -> io::Result<()> {
    // `O_NONBLOCK` is the only status flag that was set.
    made("fcntl", || retry_on_intr(|| rustix::fs::fcntl_setfl(file, OFlags::empty())))
}

/// The address of the peer.
pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<SocketAddress> {
    socket_address(&socket2::SockRef::from(&socket).peer_addr()?)
}

fn socket_address(address: &socket2::SockAddr) -> io::Result<SocketAddress> {
    match address.as_socket() {
        Some(address) => Ok(SocketAddress::Internet(address)),
        None if address.is_unix() => Ok(SocketAddress::Unix),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether a connection has input that was not received (`FIONREAD`, `tcp(7)`).
pub(super) fn has_input(socket: BorrowedFd<'_>) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|bytes| bytes > 0)
}

/// The local address (`getsockname(2)`).
pub(super) fn local(socket: BorrowedFd<'_>) -> io::Result<SocketAddress> {
    socket_address(&socket2::SockRef::from(&socket).local_addr()?)
}

/// Makes a descriptor non-blocking (`fcntl(2)`).
pub(super) fn set_nonblocking(file: &impl AsFd) -> io::Result<()> {
    socket2::SockRef::from(file).set_nonblocking(true)
}

/// `ppoll(2)` without a signal mask: `poll(2)` with a timeout that need not be rounded. Returns the
/// number of entries whose `revents` is not zero.
pub(super) fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(timespec);
    let (address, len) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    // SAFETY: pointer and length are those of an exclusive slice, and the timeout is null or a live
    // local; both outlive the call. A null mask leaves the thread's mask as it is.
    let call = || unsafe { libc::ppoll(address, len, pointer(&timeout), std::ptr::null()) };
    made("ppoll", || count(call()))
}

/// `poll(2)` with a timeout of zero.
pub(super) fn poll_now(entries: &mut [libc::pollfd]) -> io::Result<usize> {
    let (address, len) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    // SAFETY: pointer and length are those of an exclusive slice that outlives the call.
    made("poll", || retry(|| unsafe { libc::poll(address, len, 0) as isize }))
}

/// `pselect(2)` without a signal mask: `select(2)` with a timeout that need not be rounded.
/// Afterwards the sets hold the descriptors that are ready.
pub(super) fn select(
    read: &mut DescriptorSet,
    write: &mut DescriptorSet,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = timeout.map(timespec);
    let end = read.end().max(write.end()) as i32;
    let null = std::ptr::null_mut();
    let (read, write) = ((&raw mut *read).cast(), (&raw mut *write).cast());
    // SAFETY: the sets are live and exclusive, laid out as `fd_set`, and `end` is within them; the
    // timeout is null or a live local. A null mask leaves the thread's mask as it is.
    let call =
        || unsafe { libc::pselect(end, read, write, null, pointer(&timeout), std::ptr::null()) };
    made("pselect6", || count(call()))
}

/// A duration as the kernel takes it. The longest ones are cut to some hundred billion years.
fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn pointer(timeout: &Option<libc::timespec>) -> *const libc::timespec {
    timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)
}

fn count(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A duplicate with the lowest free number from `least` on (`F_DUPFD_CLOEXEC`).
#[cfg(test)]
pub(super) fn duplicate_from(file: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    retry_on_intr(|| rustix::io::fcntl_dupfd_cloexec(file, least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_never_leaves_the_root() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let root = outside.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("page"), "x").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(outside.path().join("secret"), root.join("absolute")).unwrap();
        symlink("page", root.join("beneath")).unwrap();
        let root = fs::File::open(&root).unwrap();
        let open = |path: &CStr| openat2(root.as_fd(), path, Links::Beneath, false);
        assert!(open(c"page").is_ok());
        assert!(open(c"beneath").is_ok());
        for escape in [c"up", c"absolute", c"../secret", c"/etc/passwd"] {
            assert_eq!(open(escape).unwrap_err().raw_os_error(), Some(libc::EXDEV), "{escape:?}");
        }
    }

    #[test]
    fn acknowledged_bytes_follow_the_reader() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = acknowledged(server.as_fd(), 0).unwrap();
        server.write_all(&[7; 1000]).unwrap();
        client.read_exact(&mut [0; 1000]).unwrap();
        let mut after = before;
        for _ in 0..1000 {
            after = acknowledged(server.as_fd(), 0).unwrap();
            if after == before + 1000 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(after, before + 1000);
    }

    /// The memory of the queue is more than its bytes, and there is none once all is read.
    #[test]
    fn acknowledged_bytes_of_a_unix_socket_follow_the_reader() {
        let (mut server, mut client) = std::os::unix::net::UnixStream::pair().unwrap();
        server.write_all(&[7; 1000]).unwrap();
        assert_eq!(
            acknowledged(server.as_fd(), 5000).ok(),
            Some(5000 - queued(server.as_fd()).unwrap())
        );
        assert!(acknowledged(server.as_fd(), 5000).unwrap() <= 4000);
        client.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(acknowledged(server.as_fd(), 5000).ok(), Some(5000));
    }
}
