//! The kernel's drivers: peers are sockets of `std::net`, files are in a temporary directory.

use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringd::driver::{Driver, DriverKind, File, Limits, Links, Sock, Visitor};

use crate::alone::{alone, with_descriptors};
use crate::harness::WAIT_MAX;
use crate::ports::KeptPort;
use crate::subject::{Dial, Files, Peer, Subject};

/// The drivers of the kernel, behind a pointer, so that the tests are compiled once for all of
/// them. A new one needs a line in `tests/common/drivers.rs`.
pub(crate) type KernelDriver = Box<dyn Driver>;

/// A subject that adopts descriptors.
pub(crate) trait Kernel:
    Subject<Peer = TcpStream, Dialer = KernelDialer, Files = Folder>
{
}

impl Kernel for KernelDriver {}

/// The family of the sockets under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Internet,
    Unix,
}

thread_local! {
    /// The driver that the tests of this thread open.
    static KIND: Cell<DriverKind> = const { Cell::new(DriverKind::Uring) };
    static FAMILY: Cell<Family> = const { Cell::new(Family::Internet) };
}

/// Chooses the driver that this thread opens, and its sockets.
pub(crate) fn choose(kind: DriverKind, family: Family) {
    KIND.set(kind);
    FAMILY.set(family);
}

/// Starts a thread that opens the same driver as this one.
pub(crate) fn spawn<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let (kind, family) = (KIND.get(), FAMILY.get());
    thread::spawn(move || {
        choose(kind, family);
        run()
    })
}

/// Opens a driver.
struct Open<'a>(&'a Limits);

impl Visitor for Open<'_> {
    type Out = io::Result<KernelDriver>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Self::Out {
        Ok(Box::new(open(self.0)?))
    }
}

impl Subject for KernelDriver {
    type Peer = TcpStream;
    type Dialer = KernelDialer;
    type Files = Folder;

    fn calls_for_events() -> Option<u64> {
        match KIND.get() {
            // One call waits for a signal, another drains the queue.
            DriverKind::Sigio => Some(2),
            DriverKind::Spin => None,
            _ => Some(1),
        }
    }

    fn gives_turns() -> bool {
        KIND.get() != DriverKind::Threads
    }

    fn open(limits: &Limits) -> io::Result<Self> {
        KIND.get().visit(Open(limits))
    }

    fn connect(&mut self) -> (Sock, TcpStream) {
        let (ours, peer) = pair();
        (self.adopt(ours.into()).unwrap(), peer)
    }

    fn listen(&mut self) -> (Sock, KernelDialer) {
        let (listener, dialer) = listener();
        (self.adopt(listener).unwrap(), dialer)
    }

    fn listen_twice(&mut self) -> ([Sock; 2], KernelDialer) {
        let (listener, dialer) = listener();
        let duplicate = listener.try_clone().unwrap();
        ([listener, duplicate].map(|descriptor| self.adopt(descriptor).unwrap()), dialer)
    }

    fn files(&self) -> Folder {
        Folder::new()
    }

    fn run(test: impl FnOnce()) {
        with_descriptors(KIND.get(), test);
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

/// Connects to a listener.
#[derive(Clone, Debug)]
pub(crate) enum KernelDialer {
    /// To a port that is nobody else's when the listener is closed.
    Internet(Arc<KeptPort>),
    /// To the file `socket` in a directory.
    Unix(Arc<tempfile::TempDir>),
}

impl KernelDialer {
    /// The address, of a listener of TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Internet(port) => port.address(),
            Self::Unix(folder) => panic!("{folder:?} has no address"),
        }
    }
}

impl Dial for KernelDialer {
    type Peer = TcpStream;

    fn dial(&self) -> io::Result<TcpStream> {
        let peer = match self {
            Self::Internet(port) => return dial_to(port.address()),
            Self::Unix(folder) => of_unix(UnixStream::connect(folder.path().join("socket"))?),
        };
        peer.set_read_timeout(Some(WAIT_MAX))?;
        peer.set_write_timeout(Some(WAIT_MAX))?;
        Ok(peer)
    }
}

/// The connections of so many clients.
pub(crate) fn dial_all(dialer: &KernelDialer, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| dialer.dial().unwrap()).collect()
}

fn dial_to(address: SocketAddr) -> io::Result<TcpStream> {
    let peer = TcpStream::connect(address)?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(WAIT_MAX))?;
    peer.set_write_timeout(Some(WAIT_MAX))?;
    Ok(peer)
}

/// A listener of the family under test, and a dialer for it.
pub(crate) fn listener() -> (OwnedFd, KernelDialer) {
    let (listener, dialer): (OwnedFd, _) = match FAMILY.get() {
        Family::Internet => {
            let port = KeptPort::new();
            let listener = TcpListener::bind(port.address()).unwrap();
            (listener.into(), KernelDialer::Internet(Arc::new(port)))
        }
        Family::Unix => {
            let (listener, dialer) = unix_listener();
            (listener.into(), dialer)
        }
    };
    // The standard library sets a backlog of 128.
    socket2::SockRef::from(&listener).listen(4096).unwrap();
    (listener, dialer)
}

/// The listener of a Unix socket, and a dialer for it.
pub(crate) fn unix_listener() -> (UnixListener, KernelDialer) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    (listener, KernelDialer::Unix(Arc::new(folder)))
}

/// A Unix socket as the type of all peers. Its methods make the same calls for every family, except
/// those for addresses and for options of TCP, which fail.
fn of_unix(stream: UnixStream) -> TcpStream {
    TcpStream::from(OwnedFd::from(stream))
}

pub(crate) fn pair() -> (TcpStream, TcpStream) {
    match FAMILY.get() {
        Family::Internet => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = dial(&listener);
            (listener.accept().unwrap().0, peer)
        }
        Family::Unix => {
            let (ours, peer) = UnixStream::pair().unwrap();
            peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
            peer.set_write_timeout(Some(WAIT_MAX)).unwrap();
            (of_unix(ours), of_unix(peer))
        }
    }
}

pub(crate) fn dial(listener: &TcpListener) -> TcpStream {
    dial_to(listener.local_addr().unwrap()).unwrap()
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
