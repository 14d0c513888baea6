//! The kernel's drivers: peers are sockets of `std::net`, files are in a temporary directory.

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::ready::{Epoll, EpollLevel, Poll, Select, Sigio, Spin};
use ringd::driver::threads::Threads;
use ringd::driver::uring::Uring;
use ringd::driver::{Driver, DriverKind, File, Limits, Links, Sock};

use crate::alone::{alone, with_descriptors};
use crate::harness::WAIT_MAX;
use crate::subject::{Dial, Files, Peer, Subject};

/// A driver that adopts descriptors. A new one needs a line below, and one in `main.rs`.
pub(crate) trait Kernel: Driver + Sized + 'static {
    /// Its name for `--driver`.
    const KIND: DriverKind;

    /// See [`Subject::CALLS_FOR_EVENTS`].
    const CALLS_FOR_EVENTS: Option<u64>;

    /// See [`Subject::GIVES_TURNS`].
    const GIVES_TURNS: bool;

    fn start(limits: &Limits) -> io::Result<Self>;
}

macro_rules! kernel {
    ($($kind:ident = $driver:ty: $calls_for_news:expr, $gives_turns:expr;)*) => { $(
        impl Kernel for $driver {
            const KIND: DriverKind = DriverKind::$kind;
            const CALLS_FOR_EVENTS: Option<u64> = $calls_for_news;
            const GIVES_TURNS: bool = $gives_turns;

            fn start(limits: &Limits) -> io::Result<Self> {
                Self::open(limits)
            }
        }
    )* };
}

kernel! {
    Uring = Uring: Some(1), true;
    Epoll = Epoll: Some(1), true;
    EpollLevel = EpollLevel: Some(1), true;
    // One call waits for a signal, another drains the queue.
    Sigio = Sigio: Some(2), true;
    Poll = Poll: Some(1), true;
    Select = Select: Some(1), true;
    Spin = Spin: None, true;
    Threads = Threads: Some(1), false;
}

impl<D: Kernel> Subject for D {
    type Peer = TcpStream;
    type Dialer = SocketAddr;
    type Files = Folder;

    const CALLS_FOR_EVENTS: Option<u64> = D::CALLS_FOR_EVENTS;
    const GIVES_TURNS: bool = D::GIVES_TURNS;

    fn open(limits: &Limits) -> io::Result<Self> {
        D::start(limits)
    }

    fn connect(&mut self) -> (Sock, TcpStream) {
        let (ours, peer) = pair();
        (self.adopt(ours.into()).unwrap(), peer)
    }

    fn listen(&mut self) -> (Sock, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The standard library sets a backlog of 128.
        socket2::SockRef::from(&listener).listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        (self.adopt(listener.into()).unwrap(), address)
    }

    fn files(&self) -> Folder {
        Folder::new()
    }

    fn run(test: impl FnOnce()) {
        with_descriptors(D::KIND, test);
    }

    /// The limit on descriptors is per process.
    fn alone(test: impl FnOnce()) {
        alone(test);
    }

    fn take_descriptors(&mut self) -> Vec<fs::File> {
        let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
        rlimit::Resource::NOFILE.set(hard.min(100), hard).unwrap();
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        taken
    }

    fn give_descriptors(&mut self, taken: Vec<fs::File>) {
        drop(taken);
    }
}

impl Peer for TcpStream {
    fn half_close(&self) {
        // Fails if the connection is gone, which also ends the output.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(self) {
        socket2::SockRef::from(&self).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).unwrap();
    }

    fn set_nonblocking(&mut self, nonblocking: bool) {
        Self::set_nonblocking(self, nonblocking).unwrap();
    }
}

impl Dial for SocketAddr {
    type Peer = TcpStream;

    fn dial(&self) -> io::Result<TcpStream> {
        let peer = TcpStream::connect(self)?;
        peer.set_read_timeout(Some(WAIT_MAX))?;
        peer.set_write_timeout(Some(WAIT_MAX))?;
        peer.set_nodelay(true)?;
        Ok(peer)
    }
}

pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = dial(&listener);
    (listener.accept().unwrap().0, peer)
}

pub(crate) fn dial(listener: &TcpListener) -> TcpStream {
    listener.local_addr().unwrap().dial().unwrap()
}

/// A directory, and beside it a file that must stay out of reach.
#[derive(Clone)]
pub(crate) struct Folder {
    outside: Arc<tempfile::TempDir>,
}

impl Folder {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("root")).unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        Self { outside: Arc::new(outside) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join("root").join(name)
    }
}

impl Files for Folder {
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) {
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn truncate(&self, name: &str, len: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.path(name)).unwrap();
        file.set_len(len).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn root(&self) -> Arc<File> {
        Arc::new(File::open_root(&self.path("."), Links::Beneath).unwrap())
    }

    fn open(&self, name: &str) -> Arc<File> {
        let name = CString::new(name).unwrap();
        Arc::new(File::open_beneath(&self.root(), &name).unwrap())
    }
}
