//! The control: a server whose event loop waits for disks, which the benchmark must detect.
//!
//! It implements just enough HTTP for the benchmark, and tries all its non-blocking sockets in
//! turn. It calls `sendfile(2)` without checking whether the file is in the page cache.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::fs::sendfile;

/// The maximum number of bytes of a file per turn.
const PIECE: u64 = 256 * 1024;

/// A running control, which ends when this is dropped.
pub(crate) struct Control {
    address: SocketAddr,
    thread: u32,
    over: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts the loop in a thread that first calls `prepare`.
    pub(crate) fn start(root: &Path, prepare: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, root) = (listener.local_addr()?, root.to_owned());
        let over = Arc::new(AtomicBool::new(false));
        let (thread_over, (sender, receiver)) = (Arc::clone(&over), mpsc::channel());
        let running = thread::spawn(move || {
            prepare();
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            sender.send(thread as u32).expect("the receiver waits for the number");
            serve(&listener, &root, &thread_over);
        });
        let thread = receiver.recv().map_err(io::Error::other)?;
        Ok(Self { address, thread, over, running: Some(running) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its thread.
    pub(crate) fn thread(&self) -> u32 {
        self.thread
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            // Ignore a panic: it has been printed, and the clients fail.
            let _ = running.join();
        }
    }
}

/// A connection, and the rest of the file that is being sent: file, offset and end.
struct Peer {
    stream: TcpStream,
    sending: Option<(File, u64, u64)>,
}

fn serve(listener: &TcpListener, root: &Path, over: &AtomicBool) {
    let mut peers = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            let plain = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            plain.expect("a socket can be prepared");
            peers.push(Peer { stream, sending: None });
        }
        peers.retain_mut(|peer| match peer.turn(root) {
            Ok(stays) => stays,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
    }
}

impl Peer {
    /// Receives a request or sends a piece of a file. Does not wait for the socket, but may wait
    /// for a disk. Returns `false` if the client has closed.
    fn turn(&mut self, root: &Path) -> io::Result<bool> {
        if let Some((file, offset, end)) = &mut self.sending {
            let piece = (*end - *offset).min(PIECE) as usize;
            sendfile(&self.stream, &*file, Some(offset), piece)?;
            if offset == end {
                self.sending = None;
            }
            return Ok(true);
        }
        // A client of the benchmark sends one request in one segment, and reads the answer before
        // it sends the next one.
        let mut buffer = [0; 512];
        let count = self.stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..count]);
        let Some(name) = text.split(' ').nth(1) else { return Ok(false) };
        let file = File::open(root.join(name.trim_start_matches('/')))?;
        let length = file.metadata()?.len();
        write!(self.stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        self.sending = Some((file, 0, length));
        Ok(true)
    }
}
