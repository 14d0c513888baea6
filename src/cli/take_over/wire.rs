//! What the two processes of a take-over say to each other, on the Unix socket of the
//! administration.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::server::{Endpoint, PassedEndpoint};

/// The version of the manifest. Another one is refused.
pub(super) const VERSION: u32 = 2;

/// What the new server says when it accepts, before the numbers of the endpoints that are left.
pub(super) const SERVING: &str = "serving";

/// What the old server answers.
pub(super) const OK: &str = "ok";

/// What the old server says when its workers have closed their listeners. From then on, or from its
/// end on, the sockets are the new server's alone.
pub(super) const CLOSED: &str = "closed";

/// What the old server says if it does not wait any more.
pub(super) const GOES_ON: &str = "goes on";

/// The most descriptors in one message: the kernel allows 253 (`SCM_MAX_FD`, `unix(7)`).
pub(super) const DESCRIPTORS_PER_MESSAGE: usize = 250;

/// The most descriptors in all: 256 endpoints and 1024 workers would be more than a process has.
const DESCRIPTORS_MAX: usize = 65_536;

/// The longest line.
const LINE_MAX: usize = 16 * 1024;

/// The longest answer, without descriptors.
const ANSWER_MAX: usize = 1 << 20;

/// What is passed; the descriptors follow in this order.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Manifest {
    pub(super) version: u32,
    /// The version of the program, for messages.
    pub(super) program: String,
    pub(super) endpoints: Vec<ManifestEntry>,
}

/// An address and how its sockets are used.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ManifestEntry {
    pub(super) address: WireAddress,
    pub(super) role: Role,
    pub(super) name: Option<String>,
    pub(super) number: Option<u32>,
    pub(super) is_shared: bool,
    pub(super) file: Option<(u64, u64)>,
    /// How many descriptors.
    pub(super) sockets: usize,
}

/// An address, as it is written.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WireAddress {
    Tcp(SocketAddr),
    /// A port of both families.
    Port(u16),
    /// With `unix:`.
    Unix(String),
}

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Clients,
    Administration,
}

impl ManifestEntry {
    /// Describes sockets.
    pub(super) fn of(passed: &PassedEndpoint, role: Role) -> Self {
        Self {
            address: WireAddress::from(&passed.endpoint),
            role,
            name: passed.name.clone(),
            number: passed.number,
            is_shared: passed.is_shared,
            file: passed.file,
            sockets: passed.sockets.len(),
        }
    }

    /// The endpoint; a text if something is wrong with the entry.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        let endpoint = self.address.endpoint()?;
        if self.sockets == 0 {
            return Err(format!(
                "its message is wrong: it has no socket for {endpoint}; try again"
            ));
        }
        // More sockets could not join its group.
        if !self.is_shared && matches!(endpoint, Endpoint::Unix(_)) {
            return Err(format!(
                "its message is wrong: {endpoint} is not shared, but workers always share a Unix \
                 socket; stop it, and start ringd without --take-over"
            ));
        }
        Ok(endpoint)
    }
}

impl From<&Endpoint> for WireAddress {
    fn from(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Tcp(address) => Self::Tcp(*address),
            Endpoint::BothFamilies(port) => Self::Port(*port),
            Endpoint::Unix(address) => Self::Unix(address.to_string()),
        }
    }
}

impl WireAddress {
    /// The endpoint; an error if the text is none.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        match self {
            Self::Tcp(address) => Ok(Endpoint::Tcp(*address)),
            Self::Port(port) => Ok(Endpoint::BothFamilies(*port)),
            Self::Unix(text) => {
                text.parse().map(Endpoint::Unix).map_err(|error| format!("{text}: {error}"))
            }
        }
    }
}

/// Whether the peer of a Unix socket runs as root or as the same user as this process
/// (`SO_PEERCRED`, `unix(7)`).
pub(super) fn is_trusted(peer: &Socket) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(peer)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Whether an error says that the peer has ended.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Whether this process runs as root, which may replace the server of any user.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Sends descriptors, each message with one byte.
pub(super) fn send_descriptors(to: &Socket, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
    for some in all.chunks(DESCRIPTORS_PER_MESSAGE) {
        let mut rights = SendAncillaryBuffer::new(&mut space);
        if !rights.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("descriptors do not fit into a message"));
        }
        let bytes = [IoSlice::new(b"+")];
        rustix::io::retry_on_intr(|| sendmsg(to, &bytes, &mut rights, SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives so many descriptors.
pub(super) fn receive_descriptors(
    from: &Socket,
    count: usize,
    until: Instant,
) -> io::Result<Vec<OwnedFd>> {
    if count > DESCRIPTORS_MAX {
        return Err(io::Error::other(format!("{count} descriptors are too many")));
    }
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
    let mut all: Vec<OwnedFd> = Vec::new();
    while all.len() < count {
        from.set_read_timeout(Some(time_left(until)?))?;
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        // Without the flag, a program that is executed meanwhile would inherit them.
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(from.as_fd(), &mut bytes, &mut rights, flags) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                all.extend(descriptors);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            let cause = "this process may not have so many descriptors; raise the limit with \
                         `ulimit -n`";
            return Err(io::Error::other(cause));
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(all)
}

/// Reads a line, byte by byte, because descriptors may follow it. `None` at the end of input.
pub(super) fn read_line(from: &mut Socket, until: Instant) -> io::Result<Option<String>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LINE_MAX {
        from.set_read_timeout(Some(time_left(until)?))?;
        match from.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte == *b"\n" => {
                return String::from_utf8(line).map(Some).map_err(io::Error::other);
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the line is too long"))
}

/// Reads the answer to a request: whether its status is 200, and its body. Reads nothing beyond it.
pub(super) fn read_answer(from: &mut Socket, until: Instant) -> io::Result<(bool, Vec<u8>)> {
    let mut line = || read_line(from, until)?.ok_or(io::ErrorKind::UnexpectedEof.into());
    let status: Result<String, io::Error> = line();
    let is_ok = status?.starts_with("HTTP/1.1 200 ");
    let mut length = 0;
    loop {
        let field = line()?;
        let field = field.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("Content-Length: ") {
            length = value.parse().map_err(io::Error::other)?;
        }
    }
    if length > ANSWER_MAX {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut body = vec![0; length];
    let mut filled = 0;
    while filled < length {
        from.set_read_timeout(Some(time_left(until)?))?;
        match from.read(&mut body[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((is_ok, body))
}

/// The time until some point, which is not over yet. The kernel takes zero for no limit.
fn time_left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};
    use std::io::Write;
    use std::thread;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// More than one message can carry, between bytes that must not be mixed up with them.
    #[test]
    fn many_descriptors_arrive_in_their_order() {
        let (mut one, mut two) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let file = tempfile::tempfile().unwrap();
        let count = 2 * DESCRIPTORS_PER_MESSAGE + 1;
        let sending = thread::spawn(move || {
            let all: Vec<BorrowedFd<'_>> = (0..count).map(|_| file.as_fd()).collect();
            one.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
            send_descriptors(&one, &all).unwrap();
            one.write_all(b"next\n").unwrap();
        });
        assert_eq!(read_answer(&mut two, soon()).unwrap(), (true, b"abc".to_vec()));
        let received = receive_descriptors(&two, count, soon()).unwrap();
        assert_eq!(received.len(), count);
        for descriptor in &received {
            let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        assert_eq!(read_line(&mut two, soon()).unwrap().as_deref(), Some("next"));
        sending.join().unwrap();
        assert_eq!(read_line(&mut two, soon()).unwrap(), None);
    }

    /// With fewer sockets than workers, further ones would have to join a group.
    #[test]
    fn a_unix_socket_that_is_not_shared_is_refused() {
        let endpoint = |address, is_shared| {
            let (role, name, number, file) = (Role::Clients, None, None, None);
            let entry = ManifestEntry { address, role, name, number, is_shared, file, sockets: 1 };
            entry.endpoint()
        };
        let unix = || WireAddress::Unix("unix:/run/ringd.sock".to_owned());
        assert!(endpoint(unix(), true).is_ok());
        let error = endpoint(unix(), false).unwrap_err();
        assert!(error.contains("unix:/run/ringd.sock is not shared"), "{error}");
        assert_eq!(endpoint(WireAddress::Port(80), false), Ok(Endpoint::BothFamilies(80)));
    }

    #[test]
    fn an_end_before_all_descriptors_is_an_error() {
        let (one, two) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        drop(one);
        let error = receive_descriptors(&two, 1, soon()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn addresses_survive_the_way() {
        for endpoint in [
            Endpoint::Tcp("127.0.0.1:80".parse().unwrap()),
            Endpoint::Tcp("[fe80::1%2]:80".parse().unwrap()),
            Endpoint::BothFamilies(8080),
            Endpoint::Unix("unix:/run/a b.sock".parse().unwrap()),
            Endpoint::Unix("unix:@site".parse().unwrap()),
        ] {
            let text = serde_json::to_string(&WireAddress::from(&endpoint)).unwrap();
            let address: WireAddress = serde_json::from_str(&text).unwrap();
            assert_eq!(address.endpoint(), Ok(endpoint), "{text}");
        }
    }
}
