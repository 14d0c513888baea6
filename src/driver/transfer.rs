//! One non-blocking attempt at sending a chain: the part of a send that reactor and ring share.
//!
//! Memory leaves by `send(2)` or `sendmsg(2)`, a file by `sendfile(2)`; memory before a file is
//! sent with `MSG_MORE`, so that a head and the first bytes of its file share a segment. Before a
//! piece of a file is sent, one look at the page cache tells whether a disk would stop the loop.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::chain::{Chain, Next};
use super::file::File;
use super::{Stats, sys};

/// Bytes of a file sent by one system call, checked for residency before, and fetched at once
/// when they are cold.
pub(super) const PIECE_BYTES: u64 = 256 * 1024;

/// Memory parts sent by one system call.
const SLICES_MAX: usize = 64;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Progress {
    /// All is sent.
    Done,
    /// The socket takes no more now.
    Blocked,
    /// The budget is spent; the socket may take more.
    Spent,
    /// The next piece is not in memory: fetch it, then try again. Fetching is by reading, which
    /// brings the file's pages into the page cache; what was read is not used.
    Cold(Arc<File>, Range<u64>),
    /// The connection is beyond help.
    Failed(io::Error),
}

/// A chain on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) chain: Box<Chain>,
    pub(super) fin: bool,
    residency: Residency,
}

/// What is known of the page cache along one transfer.
#[derive(Debug)]
struct Residency {
    /// The piece that was fetched last: it is not asked about again, or a file system that
    /// keeps nothing in memory would be fetched from for ever.
    fetched: u64,
    /// Of the file that is being sent, the bytes up to here are in memory.
    resident_to: u64,
}

impl Transfer {
    pub(super) fn new(chain: Box<Chain>, fin: bool) -> Self {
        Self { chain, fin, residency: Residency { fetched: u64::MAX, resident_to: 0 } }
    }

    /// Sends until done, blocked, cold, or `budget` bytes have gone.
    pub(super) fn attempt(
        &mut self,
        socket: BorrowedFd<'_>,
        budget: u64,
        now: Instant,
        stats: &mut Stats,
    ) -> Progress {
        let mut left = budget;
        loop {
            let sent = match self.chain.next() {
                Next::Nothing => return Progress::Done,
                _ if left == 0 => return Progress::Spent,
                Next::Memory { more } => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let bytes_max = usize::try_from(left).unwrap_or(usize::MAX);
                    let count = self.chain.memory_within(&mut slices, bytes_max);
                    stats.system_calls += 1;
                    sys::send(socket, &slices[..count], more)
                }
                Next::File { file, range, .. } => {
                    let end = range.end.min(range.start + PIECE_BYTES.min(left));
                    let piece = range.start..end;
                    if !file.is_resident(now) && !self.residency.check(file, &piece, now, stats) {
                        return Progress::Cold(Arc::clone(file), piece);
                    }
                    let len = (piece.end - piece.start) as usize;
                    stats.system_calls += 1;
                    match sys::sendfile(socket, file.as_fd(), piece.start, len) {
                        Ok(0) => return Progress::Failed(io::ErrorKind::UnexpectedEof.into()),
                        sent => sent,
                    }
                }
            };
            match sent {
                Ok(sent) => {
                    self.chain.advance(sent as u64);
                    left = left.saturating_sub(sent as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stats.would_block += 1;
                    return Progress::Blocked;
                }
                Err(error) => return Progress::Failed(error),
            }
        }
    }
}

impl Residency {
    /// Asks for the last byte of a piece: read-ahead makes it likely that the rest is there too.
    /// A file whose pieces were all there is not asked about for a while.
    fn check(&mut self, file: &File, piece: &Range<u64>, now: Instant, stats: &mut Stats) -> bool {
        if self.fetched != piece.start {
            stats.system_calls += 1;
            if !sys::is_resident(file.as_fd(), piece.end - 1) {
                self.fetched = piece.start;
                return false;
            }
        }
        if piece.start == 0 || piece.start <= self.resident_to {
            self.resident_to = piece.end;
        }
        if self.resident_to == file.metadata().len {
            file.mark_resident(now);
        }
        true
    }
}
