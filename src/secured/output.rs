//! The output of a protected session: from the chains of the inner session to records on the wire.
//!
//! One chain at a time is protected, in pieces of [`PIECE_BYTES`], each when the one before it has
//! been sent. Memory is protected where it is. A range of a file is read first, also in pieces: the
//! next one is read while the last one is being sent. So a connection holds at most two pieces, and
//! a disk that is slow delays only those who wait for it.
//!
//! To the inner session this looks like a send: it gets [`Sent`] when the kernel has taken the
//! records of the whole chain.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::layer::{Layer, LayerError};
use super::service::{PIECE_BYTES, Spares};
use crate::ask::Ask;
use crate::driver::{Chain, File};
use crate::session::Sent;

/// The plaintext of a record, at most (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// A peer can use a record only when all of it has arrived. After a pause the congestion window is
/// small, so a full record would take another round trip. Therefore the records are short until as
/// much has been sent as usually fits into the second flight.
const FIRST_RECORD_BYTES: usize = 4 * 1024;
const FIRST_BYTES: u64 = 32 * 1024;
const PAUSE: Duration = Duration::from_secs(1);

/// Memory in front of a file that is not sent alone, but together with the beginning of the file.
const HEAD_BYTES_MAX: u64 = 8 * 1024;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The chain that is being protected.
    current: Option<Box<Chain>>,
    /// What the inner session has written behind it.
    queued: Option<Box<Chain>>,
    read: FileRead,
    /// How much plaintext of the chain the kernel has taken.
    sent: u64,
    /// The same of the records that are being sent, or will be next, and their length.
    sealed: u64,
    wire: u64,
    /// How much plaintext was sent since the last pause, and when.
    since_pause: u64,
    last: Option<Instant>,
}

/// The read of the next piece of a file.
#[derive(Debug, Default)]
enum FileRead {
    #[default]
    No,
    Asked(Run),
    Ready(Run, Vec<u8>),
}

/// What is read at a time: the ranges of a file that follow each other in the chain.
#[derive(Clone, Copy, Debug)]
struct Run {
    len: usize,
    /// Whether memory is between the ranges.
    has_gaps: bool,
}

/// Why the rest of a file cannot be sent.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) error: io::Error,
    pub(super) path: Option<PathBuf>,
}

impl Output {
    /// Whether a chain is being protected or sent.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some() || self.sealed > 0
    }

    /// Whether all that the inner session has written is protected.
    pub(super) fn is_sealed(&self) -> bool {
        self.current.is_none() && self.queued.is_none()
    }

    /// Memory of the chains that are not protected yet, and of the piece of a file.
    #[cfg(test)]
    pub(super) fn memory_in_use(&self) -> usize {
        let chains = self.current.iter().chain(&self.queued);
        let read = match &self.read {
            FileRead::No => 0,
            FileRead::Asked(run) => run.len,
            FileRead::Ready(_, bytes) => bytes.capacity(),
        };
        chains.map(|chain| chain.memory_in_use()).sum::<usize>() + read
    }

    /// The chain to which the inner session writes.
    pub(super) fn take_chain(&mut self, spares: &mut Spares) -> Box<Chain> {
        self.queued.take().unwrap_or_else(|| spares.take_chain())
    }

    /// Adds what the inner session has written.
    pub(super) fn add(&mut self, chain: Box<Chain>, spares: &mut Spares) {
        if chain.is_empty() {
            spares.put_chain(chain);
        } else if self.is_busy() {
            self.queued = Some(chain);
        } else {
            self.current = Some(chain);
        }
    }

    /// Protects the next piece, and appends it to `out`. Asks for what has to be read before the
    /// next one.
    pub(super) fn seal<L: Layer>(
        &mut self,
        layer: &mut L,
        spares: &mut Spares,
        now: Instant,
        out: &mut Chain,
        mut ask: impl FnMut(Ask),
    ) -> Result<(), LayerError> {
        let mut room = PIECE_BYTES;
        while room > 0 {
            self.read_ahead(spares, &mut ask);
            let Some(chain) = &self.current else { break };
            let before = chain.next_file().map(|(before, ..)| before);
            let record_bytes = self.record_bytes(now);
            let count = match (before, &self.read) {
                (Some(before), FileRead::Ready(run, _)) if before == 0 || run.has_gaps => {
                    self.seal_run(layer, record_bytes, spares, out)?
                }
                (Some(before), read)
                    if before < HEAD_BYTES_MAX && !matches!(read, FileRead::Ready(..)) =>
                {
                    break;
                }
                _ => {
                    let count = self.seal_memory(layer, record_bytes, room, spares, out)?;
                    self.took(count, spares);
                    count
                }
            };
            room = room.saturating_sub(count);
        }
        self.read_ahead(spares, &mut ask);
        if self.sealed > 0 {
            self.wire = out.remaining();
        }
        Ok(())
    }

    /// Protects the memory at the front of the chain, at most `room` bytes.
    fn seal_memory<L: Layer>(
        &self,
        layer: &mut L,
        record_bytes: usize,
        room: usize,
        spares: &mut Spares,
        out: &mut Chain,
    ) -> Result<usize, LayerError> {
        let Some(chain) = &self.current else { return Ok(0) };
        let mut parts = chain.memory(room);
        if let (Some(only), None) = (parts.next(), parts.next()) {
            write(out, |out| layer.seal(only, record_bytes, out))?;
            return Ok(only.len());
        }
        // Several pieces, such as the head of a frame and its content, share a record.
        let mut bytes = spares.take_buffer(PIECE_BYTES);
        chain.memory(room).for_each(|part| bytes.extend_from_slice(part));
        let sealed = write(out, |out| layer.seal(&bytes, record_bytes, out));
        let count = bytes.len();
        spares.put_buffer(bytes);
        sealed.map(|()| count)
    }

    /// Protects what was read of the file, with the memory before and between its ranges. Returns
    /// how much that is.
    fn seal_run<L: Layer>(
        &mut self,
        layer: &mut L,
        record_bytes: usize,
        spares: &mut Spares,
        out: &mut Chain,
    ) -> Result<usize, LayerError> {
        let FileRead::Ready(run, bytes) = std::mem::take(&mut self.read) else { return Ok(0) };
        if !run.has_gaps {
            let sealed = write(out, |out| layer.seal(&bytes, record_bytes, out));
            spares.put_buffer(bytes);
            self.took(run.len, spares);
            return sealed.map(|()| run.len);
        }
        let mut piece = spares.take_buffer(PIECE_BYTES);
        let mut content = &bytes[..];
        while !content.is_empty() {
            let start = piece.len();
            let Some(chain) = &self.current else { break };
            match chain.next_file() {
                Some((0, _, range)) => {
                    let len = content.len().min((range.end - range.start) as usize);
                    piece.extend_from_slice(&content[..len]);
                    content = &content[len..];
                }
                Some((before, ..)) => {
                    chain.memory(before as usize).for_each(|part| piece.extend_from_slice(part));
                }
                None => unreachable!("what was read is in the chain"),
            }
            self.took(piece.len() - start, spares);
        }
        let sealed = write(out, |out| layer.seal(&piece, record_bytes, out));
        let len = piece.len();
        spares.put_buffer(piece);
        spares.put_buffer(bytes);
        sealed.map(|()| len)
    }

    /// So much of the chain is protected.
    fn took(&mut self, count: usize, spares: &mut Spares) {
        self.sealed += count as u64;
        self.since_pause += count as u64;
        let Some(chain) = &mut self.current else { return };
        chain.advance(count as u64);
        if chain.is_empty()
            && let Some(chain) = self.current.take()
        {
            spares.put_chain(chain);
        }
    }

    /// How much plaintext a record has now.
    fn record_bytes(&mut self, now: Instant) -> usize {
        let paused = self.last.is_none_or(|last| now.duration_since(last) >= PAUSE);
        self.last = Some(now);
        if paused {
            self.since_pause = 0;
        }
        if self.since_pause < FIRST_BYTES { FIRST_RECORD_BYTES } else { RECORD_BYTES }
    }

    /// Asks for the next piece of a file, unless it is known already or there is much in front of
    /// it.
    fn read_ahead(&mut self, spares: &mut Spares, ask: &mut impl FnMut(Ask)) {
        let (FileRead::No, Some(chain)) = (&self.read, &self.current) else { return };
        let Some(found) = chain.next_file_run(PIECE_BYTES as u64) else { return };
        if found.before >= HEAD_BYTES_MAX {
            return;
        }
        let len = (found.range.end - found.range.start) as usize;
        let (file, offset) = (Arc::clone(found.file), found.range.start);
        let run = Run { len, has_gaps: found.has_gaps };
        ask(Ask::Read { file, offset, buffer: spares.take_buffer(len) });
        self.read = FileRead::Asked(run);
    }

    /// Takes the result of the read.
    pub(super) fn resume(
        &mut self,
        result: io::Result<usize>,
        mut buffer: Vec<u8>,
    ) -> Result<(), ReadError> {
        let FileRead::Asked(run) = std::mem::take(&mut self.read) else {
            unreachable!("a reply answers a question")
        };
        // A buffer may have more room than was asked for.
        buffer.truncate(run.len);
        let result = match result {
            // The connection is cut off, so that the peer does not take the part for the whole.
            Ok(_) if buffer.len() < run.len => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            let file = self.current.as_ref().and_then(|chain| chain.next_file());
            let path = file.and_then(|(_, file, _)| File::path(file));
            ReadError { error, path }
        })?;
        self.read = FileRead::Ready(run, buffer);
        Ok(())
    }

    /// A send has ended. Returns what the inner session gets to know: that its chain was sent, or
    /// how much of it.
    pub(super) fn sent(&mut self, sent: Sent) -> Option<Sent> {
        let sealed = std::mem::take(&mut self.sealed);
        if !sent.complete {
            // Records are longer than their plaintext, by less than a hundredth.
            let part = u128::from(sealed) * u128::from(sent.bytes.min(self.wire));
            self.sent += part.checked_div(u128::from(self.wire)).unwrap_or(0) as u64;
            return self.cut_off_after(sealed > 0);
        }
        self.sent += sealed;
        if self.current.is_some() || self.sent == 0 {
            return None;
        }
        self.current = self.queued.take();
        Some(Sent { bytes: std::mem::take(&mut self.sent), complete: true })
    }

    /// Nothing more can be sent. Returns how much of a chain was, unless all of it was.
    pub(super) fn cut_off(&mut self) -> Option<Sent> {
        self.cut_off_after(false)
    }

    fn cut_off_after(&mut self, was_busy: bool) -> Option<Sent> {
        let was_busy = was_busy || self.is_busy() || self.sent > 0;
        (self.current, self.queued, self.sealed) = (None, None, 0);
        was_busy.then(|| Sent { bytes: std::mem::take(&mut self.sent), complete: false })
    }
}

/// Appends what `write` appends to memory of a chain.
pub(super) fn write(
    out: &mut Chain,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut result = Ok(());
    out.copy_with(|out| result = write(out));
    result
}
