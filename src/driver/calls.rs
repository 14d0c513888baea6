//! The system calls that every driver needs besides waiting, each tried once.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::trial::{Need, TIME_MAX, Trial, no_answer, untried};
use super::{File, Links, sys};

/// One trial for each call.
pub const TRIALS: [Trial; 6] = [
    Trial {
        id: "listen",
        title: "listening on loopback",
        call: "socket",
        since: (2, 6),
        need: Need::Serving,
        without: "ringd cannot accept connections",
        attempt: listen,
    },
    Trial {
        id: "openat2",
        title: "openat2 within the root",
        call: "openat2",
        since: (5, 6),
        need: Need::Serving,
        without: "ringd cannot open files, and does not start",
        attempt: open_beneath,
    },
    Trial {
        id: "openat2_cached",
        title: "openat2 with cached names only",
        call: "openat2",
        since: (5, 12),
        need: Need::Extra,
        without: "another thread opens every file",
        attempt: open_cached,
    },
    Trial {
        id: "sendfile",
        title: "sendfile",
        call: "sendfile",
        since: (2, 6),
        need: Need::Quality,
        without: "files are read and sent, which costs more CPU time",
        attempt: send_file,
    },
    Trial {
        id: "preadv2_nowait",
        title: "preadv2 without waiting",
        call: "preadv2",
        since: (4, 14),
        need: Need::Extra,
        without: "another thread reads every file, and one that is not in memory may block a \
                  worker",
        attempt: read_resident,
    },
    Trial {
        id: "tcp_info",
        title: "TCP_INFO, acknowledged bytes",
        call: "getsockopt",
        since: (4, 1),
        need: Need::Quality,
        without: "a download that takes longer than --send-timeout is cut off",
        attempt: see_acknowledged,
    },
];

/// The release of the running kernel (`uname(2)`).
///
/// # Errors
///
/// If a sandbox denies the call.
pub fn kernel_release() -> io::Result<String> {
    sys::kernel_release()
}

const BYTES: &[u8] = &[7; 1000];

fn listen() -> io::Result<()> {
    let (mut peer, accepted) = connection()?;
    peer.write_all(BYTES)?;
    let mut got = [0; BYTES.len()];
    (&accepted).read_exact(&mut got)?;
    expect(got == BYTES, "received wrong bytes")
}

/// A TCP connection over loopback: its client, and the accepted socket.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // ringd never connects, so this failure does not count against it: loopback may be down on a
    // machine whose other interfaces are up.
    let peer = TcpStream::connect_timeout(&listener.local_addr()?, TIME_MAX).map_err(untried)?;
    let accepted = TcpStream::from(sys::accept(listener.as_fd())?);
    accepted.set_nonblocking(false)?;
    accepted.set_read_timeout(Some(TIME_MAX))?;
    Ok((peer, accepted))
}

fn root() -> io::Result<File> {
    File::open_root(Path::new("/"), Links::Beneath).map_err(untried)
}

fn open_beneath() -> io::Result<()> {
    let root = root()?;
    File::open_beneath(&root, c".")?;
    let out = sys::openat2(root.as_fd(), c"../", Links::Beneath, false);
    let refused = out.is_err_and(|error| error.raw_os_error() == Some(libc::EXDEV));
    expect(refused, "a path out of the root was not refused")
}

fn open_cached() -> io::Result<()> {
    sys::openat2(root()?.as_fd(), c".", Links::Beneath, true).map(drop)
}

fn send_file() -> io::Result<()> {
    let mut file = std::fs::File::from(sys::memory_file().map_err(untried)?);
    file.write_all(BYTES).map_err(untried)?;
    let (mut peer, socket) = UnixStream::pair().map_err(untried)?;
    peer.set_read_timeout(Some(TIME_MAX)).map_err(untried)?;
    let sent = sys::sendfile(socket.as_fd(), file.as_fd(), 0, BYTES.len())?;
    let mut got = [0; BYTES.len()];
    peer.read_exact(&mut got[..sent])?;
    expect(sent == BYTES.len() && got == BYTES, "sent wrong bytes")
}

fn read_resident() -> io::Result<()> {
    // A file on a disk, whatever has become of its name since this program began; the read brings
    // its first page into the page cache.
    let mut file = std::fs::File::open("/proc/self/exe").map_err(untried)?;
    file.read_exact(&mut [0; 1]).map_err(untried)?;
    sys::preadv2_nowait(file.as_fd(), &mut [0; 1], 0).map(drop)
}

fn see_acknowledged() -> io::Result<()> {
    let (mut peer, accepted) = connection().map_err(untried)?;
    let before = sys::acknowledged(peer.as_fd(), 0)?;
    peer.write_all(BYTES).map_err(untried)?;
    (&accepted).read_exact(&mut [0; BYTES.len()]).map_err(untried)?;
    let until = Instant::now() + TIME_MAX / 2;
    while sys::acknowledged(peer.as_fd(), 0)? != before + BYTES.len() as u64 {
        if Instant::now() > until {
            return Err(no_answer(TIME_MAX / 2));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn expect(kept: bool, otherwise: &'static str) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::Error::other(otherwise)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_that_serving_needs_work_here() {
        for trial in TRIALS.iter().filter(|trial| trial.need == Need::Serving) {
            trial.run().unwrap_or_else(|error| panic!("{}: {error}", trial.id));
        }
    }
}
