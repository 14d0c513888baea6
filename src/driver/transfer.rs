//! One non-blocking attempt at sending a chain: the part of a send that reactor and proactor share.
//!
//! Memory is sent with `send(2)` or `sendmsg(2)`, a file with `sendfile(2)`. Memory before a file
//! is sent with `MSG_MORE`, so a head and the first bytes of its file share a segment, and so is
//! memory before the end of output. Before it
//! sends a piece of a file, the attempt checks the page cache, because a disk must not block the
//! loop.
//!
//! A file that `sendfile(2)` does not send is read, a piece at a time, and the bytes are sent with
//! `send(2)`. The attempt reads what is in memory, and leaves the rest to another thread.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::chain::{Chain, NextPart, PARTS_FULL};
use super::file::{File, RESIDENT_FOR};
use super::file_copy::FileCopy;
use super::{DriverStats, SendEnd, pace, sys};

/// How many bytes of a file are checked for residency, and fetched if cold, at a time. Unless the
/// whole file is known to be in memory, one system call sends no more.
pub(super) const PIECE_BYTES: u64 = 256 * 1024;

/// The divisor of the rest that a turn takes along: at most a sixteenth of its share.
const REST_PART: u64 = 16;

/// The share of a turn ([`turn_share`]) of a file, in bytes, if TCP sets timers for the
/// connection's pauses ([`pace::is_paced`]). When the next turn comes, the pause is over, and no
/// timer is set.
const PACED_BYTES: u64 = 256 * 1024;

/// The most memory parts that one system call, or one SENDMSG of a ring, sends: as many as a full
/// chain has.
pub(super) const SLICES_MAX: usize = PARTS_FULL;

/// How many of the `remaining` bytes of a send one turn moves: `max`, or all of them if they are
/// hardly more. A short rest would cost another turn and a segment of its own, and there often is
/// one: many files have a power of two as their length, and a head before them.
pub(super) fn turn_share(remaining: u64, max: u64) -> u64 {
    if remaining <= max.saturating_add(max / REST_PART) { remaining } else { max }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    /// Everything is sent.
    Done,
    /// The socket is full.
    Blocked,
    /// The budget is spent; the socket may take more.
    Spent,
    /// The next piece is not in memory: fetch it, then try again. A fetch reads the piece, which
    /// brings its pages into the page cache; the bytes themselves are not used.
    Cold(Arc<File>, Range<u64>),
    /// The same, for a file that `sendfile(2)` does not send: pass what was read to
    /// [`Transfer::copied`], then try again.
    Uncopied(Arc<File>, Range<u64>),
    /// The connection has failed.
    Failed(io::Error),
}

/// A send in progress.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) chain: Box<Chain>,
    pub(super) end: SendEnd,
    /// Whether TCP paces the connection, once that matters.
    paced: Option<bool>,
    /// Made when needed, which for hot files is once in [`RESIDENT_FOR`].
    residency: Option<Box<Residency>>,
}

/// What is known of the page cache, for the file that is being sent.
#[derive(Debug)]
struct Residency {
    file: Arc<File>,
    /// When the first piece was checked.
    since: Instant,
    /// The bytes up to here were in memory.
    resident_to: u64,
    /// The piece that was fetched last. It is not fetched again: with a file system that caches
    /// nothing, that would never end.
    fetched: Option<Range<u64>>,
    /// What was read of the file, if `sendfile(2)` does not send it.
    copy: FileCopy,
}

impl Transfer {
    pub(super) fn new(chain: Box<Chain>, end: SendEnd) -> Self {
        Self { chain, end, paced: None, residency: None }
    }

    /// Takes what was read of `file` for [`AttemptEnd::Uncopied`], from `start` on. An answer that
    /// comes late may be about the file of an earlier send.
    pub(super) fn copied(&mut self, file: &Arc<File>, start: u64, read: io::Result<Vec<u8>>) {
        if let Some(known) = self.residency.as_mut().filter(|known| Arc::ptr_eq(&known.file, file))
        {
            known.copy.set(start, read);
        }
    }

    /// Sends until the chain is sent, the socket is full, the data is cold, or the turn's share of
    /// `turn_bytes_max` is sent ([`turn_share`]).
    pub(super) fn attempt(
        &mut self,
        socket: BorrowedFd<'_>,
        turn_bytes_max: u64,
        now: Instant,
        stats: &mut DriverStats,
    ) -> AttemptEnd {
        let remaining = self.chain.remaining();
        let mut left = turn_share(remaining, turn_bytes_max);
        loop {
            let sent = match self.chain.next() {
                NextPart::Nothing => return AttemptEnd::Done,
                _ if left == 0 => return AttemptEnd::Spent,
                NextPart::Memory { more } => {
                    let bytes_max = usize::try_from(left).unwrap_or(usize::MAX);
                    stats.system_calls += 1;
                    send_memory(socket, &self.chain, bytes_max, more || self.end.follows())
                }
                NextPart::File { file, range, .. } => {
                    let sent_before = remaining - self.chain.remaining();
                    let share = turn_share(remaining, PACED_BYTES).saturating_sub(sent_before);
                    let is_long = range.end - range.start > share;
                    if left > share && is_long && is_paced(&mut self.paced, socket, stats) {
                        left = share;
                    }
                    if left == 0 {
                        return AttemptEnd::Spent;
                    }
                    let mut piece = range.start..range.end.min(range.start.saturating_add(left));
                    if !file.may_sendfile() {
                        let known = Residency::of(&mut self.residency, file, now);
                        match known.send_copy(socket, &piece, stats) {
                            Ok(sent) => sent,
                            Err(end) => return end,
                        }
                    } else {
                        if !file.is_resident(now) {
                            piece.end = piece.end.min(piece.start + PIECE_BYTES);
                            let residency = Residency::of(&mut self.residency, file, now);
                            match residency.sendable(&piece, now, stats) {
                                Some(end) => piece.end = end,
                                None => return AttemptEnd::Cold(Arc::clone(file), piece),
                            }
                        }
                        let len = (piece.end - piece.start) as usize;
                        stats.system_calls += 1;
                        match sys::sendfile(socket, file.as_fd(), piece.start, len) {
                            Ok(0) => {
                                return AttemptEnd::Failed(io::ErrorKind::UnexpectedEof.into());
                            }
                            Err(error) if file.refuses_sendfile(&error) => continue,
                            sent => sent,
                        }
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
                    return AttemptEnd::Blocked;
                }
                Err(error) => return AttemptEnd::Failed(error),
            }
        }
    }
}

/// Sends the next memory parts of a chain with one system call.
#[inline]
fn send_memory(
    socket: BorrowedFd<'_>,
    chain: &Chain,
    bytes_max: usize,
    more: bool,
) -> io::Result<usize> {
    let mut parts = chain.memory(bytes_max);
    match (parts.next(), parts.next()) {
        // Clearing as many slots as a full chain needs would take longer than the rest.
        (Some(only), None) => sys::send(socket, &[IoSlice::new(only)], more),
        _ => gather(socket, chain, bytes_max, more),
    }
}

/// The same for several parts.
#[inline(never)]
fn gather(
    socket: BorrowedFd<'_>,
    chain: &Chain,
    bytes_max: usize,
    more: bool,
) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let filled = slices.iter_mut().zip(chain.memory(bytes_max));
    let count = filled.map(|(slice, part)| *slice = IoSlice::new(part)).count();
    sys::send(socket, &slices[..count], more)
}

/// [`pace::is_paced`], once for each send, since each answer may have another pace.
fn is_paced(known: &mut Option<bool>, socket: BorrowedFd<'_>, stats: &mut DriverStats) -> bool {
    *known.get_or_insert_with(|| pace::is_paced(socket, &mut stats.system_calls))
}

impl Residency {
    /// What is known of this file; nothing if another one was sent before.
    fn of<'a>(known: &'a mut Option<Box<Self>>, file: &Arc<File>, now: Instant) -> &'a mut Self {
        known.take_if(|known| !Arc::ptr_eq(&known.file, file));
        known.get_or_insert_with(|| {
            let file = Arc::clone(file);
            let copy = FileCopy::default();
            Box::new(Self { file, since: now, resident_to: 0, fetched: None, copy })
        })
    }

    /// Sends the beginning of a piece with `send(2)`, if it has been read or is in memory.
    fn send_copy(
        &mut self,
        socket: BorrowedFd<'_>,
        piece: &Range<u64>,
        stats: &mut DriverStats,
    ) -> Result<io::Result<usize>, AttemptEnd> {
        if let Some(error) = self.copy.failure() {
            return Err(AttemptEnd::Failed(error));
        }
        if self.copy.of(piece).is_none() {
            let next = FileCopy::piece(piece);
            stats.system_calls += 1;
            if !self.copy.read_resident(&self.file, &next) {
                return Err(AttemptEnd::Uncopied(Arc::clone(&self.file), next));
            }
        }
        match self.copy.of(piece) {
            Some(bytes) => {
                stats.system_calls += 1;
                Ok(sys::send(socket, &[IoSlice::new(bytes)], false))
            }
            None => Err(AttemptEnd::Failed(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The end of what can be sent of a piece without waiting for a disk, as far as that can be
    /// known; `None` if the piece must be fetched first.
    ///
    /// Only the last byte is checked: read-ahead makes it likely that the rest is there too. After
    /// a cold piece, the others are fetched without a check. Their read-ahead is often still in
    /// progress. And a check is a read, for which the kernel starts read-ahead at the expense of
    /// the loop, and blocks the loop if the queue of the disk is full.
    ///
    /// If all pieces were in memory, and checking them took no longer than [`RESIDENT_FOR`], the
    /// file is not checked again for a while.
    fn sendable(
        &mut self,
        piece: &Range<u64>,
        now: Instant,
        stats: &mut DriverStats,
    ) -> Option<u64> {
        if let Some(fetched) = &mut self.fetched {
            if fetched.contains(&piece.start) {
                return Some(piece.end.min(fetched.end));
            }
            *fetched = piece.clone();
            return None;
        }
        let follows = 0 < piece.start && piece.start <= self.resident_to;
        stats.system_calls += 1;
        if !sys::is_resident(self.file.as_fd(), piece.end - 1) {
            self.fetched = Some(piece.clone());
            return None;
        }
        if piece.start == 0 || follows {
            self.resident_to = piece.end;
        }
        if self.resident_to == self.file.metadata().len && now - self.since < RESIDENT_FOR {
            self.file.mark_resident(now);
        }
        Some(piece.end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Links;
    use super::*;
    use std::time::Duration;

    /// An open file of several pieces, all in memory because they were just written.
    fn pieces(count: u64) -> Arc<File> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), vec![0; (count * PIECE_BYTES) as usize])
            .unwrap();
        let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
        Arc::new(File::open_beneath(&root, c"file").unwrap())
    }

    fn piece(number: u64) -> Range<u64> {
        number * PIECE_BYTES..(number + 1) * PIECE_BYTES
    }

    fn sendable(
        known: &mut Option<Box<Residency>>,
        file: &Arc<File>,
        piece: &Range<u64>,
        now: Instant,
    ) -> Option<u64> {
        Residency::of(known, file, now).sendable(piece, now, &mut DriverStats::default())
    }

    /// A file as long as the share of a turn, and its head: one attempt sends both.
    #[test]
    fn a_short_rest_goes_along() {
        for (remaining, share) in
            [(0, 0), (1600, 1600), (1601, 1601), (1700, 1700), (1701, 1600), (u64::MAX, 1600)]
        {
            assert_eq!(turn_share(remaining, 1600), share, "{remaining}");
        }
        assert_eq!(turn_share(u64::MAX, u64::MAX), u64::MAX);
        let (file, now) = (pieces(1), Instant::now());
        file.mark_resident(now);
        for (paced, turn_bytes_max) in [(true, 4 * PIECE_BYTES), (false, PIECE_BYTES)] {
            let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
            let reading = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
            let mut chain = Box::new(Chain::new());
            chain.copy(&[b'h'; 200]);
            chain.file(&file, 0..PIECE_BYTES);
            let mut transfer = Transfer::new(chain, SendEnd::Open);
            transfer.paced = Some(paced);
            // Our end blocks, so a call sends all that it is asked to.
            let mut stats = DriverStats::default();
            let end = transfer.attempt(ours.as_fd(), turn_bytes_max, now, &mut stats);
            assert!(matches!(end, AttemptEnd::Done), "{end:?}");
            drop(ours);
            assert_eq!(reading.join().unwrap().unwrap(), 200 + PIECE_BYTES);
        }
    }

    /// Several calls may be one attempt: a piece of a file that is read is smaller.
    #[test]
    fn a_paced_connection_sends_its_share_in_several_calls() {
        let file = pieces(4);
        assert!(file.refuses_sendfile(&io::Error::from_raw_os_error(libc::EINVAL)));
        let (ours, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut chain, now) = (Box::new(Chain::new()), Instant::now());
        chain.file(&file, 0..4 * PIECE_BYTES);
        let mut transfer = Transfer::new(chain, SendEnd::Open);
        transfer.paced = Some(true);
        let end = transfer.attempt(ours.as_fd(), 1 << 20, now, &mut DriverStats::default());
        let sent = transfer.chain.sent();
        assert!(matches!(end, AttemptEnd::Blocked) || sent == PACED_BYTES, "{end:?} after {sent}");
    }

    #[test]
    fn a_paced_connection_sends_less_at_a_time() {
        let file = pieces(4);
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let reading = std::thread::spawn(move || {
            io::copy(&mut peer, &mut io::sink()).unwrap();
        });
        let (mut chain, now) = (Box::new(Chain::new()), Instant::now());
        chain.share(&std::rc::Rc::from(vec![0; PACED_BYTES as usize]));
        chain.file(&file, 0..4 * PIECE_BYTES);
        let mut transfer = Transfer::new(chain, SendEnd::Open);
        transfer.paced = Some(true);
        let (mut sent, mut stats) = (0, DriverStats::default());
        loop {
            let most = turn_share(transfer.chain.remaining(), PACED_BYTES);
            let end = transfer.attempt(ours.as_fd(), 1 << 20, now, &mut stats);
            let moved = transfer.chain.sent() - std::mem::replace(&mut sent, transfer.chain.sent());
            assert!(moved <= most, "{moved}");
            if matches!(end, AttemptEnd::Done) {
                break;
            }
            assert!(matches!(end, AttemptEnd::Blocked | AttemptEnd::Spent), "{end:?}");
        }
        drop(ours);
        reading.join().unwrap();
    }

    #[test]
    fn a_file_found_in_memory_is_not_checked_for_a_while() {
        let (file, mut known, now) = (pieces(2), None, Instant::now());
        assert_eq!(sendable(&mut known, &file, &piece(0), now), Some(piece(0).end));
        assert!(!file.is_resident(now), "only half of it was checked");
        assert_eq!(sendable(&mut known, &file, &piece(1), now), Some(piece(1).end));
        assert!(file.is_resident(now));
        assert!(!file.is_resident(now + RESIDENT_FOR));
    }

    /// Its beginning may have been evicted meanwhile.
    #[test]
    fn a_file_that_took_long_to_check_is_checked_again() {
        let (file, mut known, now) = (pieces(2), None, Instant::now());
        let later = now + RESIDENT_FOR + Duration::from_millis(1);
        assert_eq!(sendable(&mut known, &file, &piece(0), now), Some(piece(0).end));
        assert_eq!(sendable(&mut known, &file, &piece(1), later), Some(piece(1).end));
        assert!(!file.is_resident(later));
    }

    #[test]
    fn finding_the_end_in_memory_is_not_enough() {
        let (file, mut known, now) = (pieces(2), None, Instant::now());
        assert_eq!(sendable(&mut known, &file, &piece(1), now), Some(piece(1).end));
        assert!(!file.is_resident(now));
    }

    #[test]
    fn after_a_cold_piece_the_others_are_fetched_without_a_check() {
        let (file, now) = (pieces(3), Instant::now());
        let fetched = Some(piece(0));
        let (copy, file_of) = (FileCopy::default(), Arc::clone(&file));
        let known = Residency { file: file_of, since: now, resident_to: 0, fetched, copy };
        let mut known = Some(Box::new(known));
        // What was fetched is sent, also from its middle, but nothing beyond its end.
        assert_eq!(sendable(&mut known, &file, &piece(0), now), Some(piece(0).end));
        let straddling = 1000..1000 + PIECE_BYTES;
        assert_eq!(sendable(&mut known, &file, &straddling, now), Some(piece(0).end));
        for number in [1, 2] {
            assert_eq!(sendable(&mut known, &file, &piece(number), now), None);
            assert_eq!(sendable(&mut known, &file, &piece(number), now), Some(piece(number).end));
        }
        assert!(!file.is_resident(now), "the pieces were fetched, not found in memory");
    }

    /// Each part is read once, and sent whole although the socket takes it in several calls. What
    /// was read of another file is not sent, not even if it comes last.
    #[test]
    fn a_file_that_sendfile_refuses_is_read_and_sent() {
        let (file, other) = (pieces(1), pieces(1));
        assert!(file.refuses_sendfile(&io::Error::from_raw_os_error(libc::EINVAL)));
        assert!(!other.refuses_sendfile(&io::Error::from_raw_os_error(libc::EPIPE)));
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut chain = Box::new(Chain::new());
        chain.copy(b"head");
        chain.file(&file, 0..PIECE_BYTES);
        let mut transfer = Transfer::new(chain, SendEnd::Open);
        let mut stats = DriverStats::default();
        let mut got = Vec::new();
        while got.len() < 4 + PIECE_BYTES as usize {
            match transfer.attempt(ours.as_fd(), 50_000, Instant::now(), &mut stats) {
                AttemptEnd::Done | AttemptEnd::Spent | AttemptEnd::Blocked => {}
                AttemptEnd::Uncopied(file, piece) => {
                    let read = super::super::file_copy::read_piece(&file, &piece, &mut 0);
                    transfer.copied(&file, piece.start, read);
                }
                other => panic!("{other:?}"),
            }
            if let NextPart::File { range, .. } = transfer.chain.next() {
                transfer.copied(&other, range.start, Ok(b"another file".to_vec()));
            }
            let mut piece = vec![0; 100_000];
            let count = io::Read::read(&mut peer, &mut piece).unwrap_or(0);
            got.extend_from_slice(&piece[..count]);
        }
        assert!(transfer.chain.is_empty());
        assert!(got[..4] == *b"head" && got[4..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_known_of_one_file_is_not_used_for_another() {
        let (one, other, now) = (pieces(1), pieces(2), Instant::now());
        let fetched = Some(piece(1));
        let (copy, resident_to) = (FileCopy::default(), piece(0).end);
        let known = Residency { file: one, since: now, resident_to, fetched, copy };
        let mut known = Some(Box::new(known));
        assert_eq!(sendable(&mut known, &other, &piece(1), now), Some(piece(1).end));
        assert!(!other.is_resident(now), "its first piece was not checked");
    }
}
