//! Makes a body of a file.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use super::body::{CompressedBody, CompressedContent, CompressedId};
use super::encode::{encode, tag};
use crate::driver::File;

/// How much smaller a body is than the plain file at least: a share, and in bytes. Otherwise the
/// client would gain nothing that is worth the memory.
const SAVING_PERCENT_MIN: u64 = 5;
const SAVING_BYTES_MIN: u64 = 64;

/// How many bytes are read at a time.
const READ_BYTES: usize = 64 << 10;

/// Where the plain bytes are.
#[derive(Debug)]
pub enum CompressSource {
    /// In a file, which is read by its descriptor.
    File(Arc<File>),
    /// Here, because the file is small.
    Memory(Vec<u8>),
}

/// What a job has made.
#[derive(Debug)]
pub(super) enum JobResult {
    Made(Arc<CompressedBody>),
    /// It would hardly be smaller, or there is no place for it.
    NotWorth,
    /// The file cannot be read, or has changed meanwhile.
    Failed,
}

/// Compresses a file.
#[derive(Debug)]
pub(super) struct CompressJob {
    pub(super) id: CompressedId,
    pub(super) source: CompressSource,
}

/// Where bodies may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// A body of at most this many bytes gets no descriptor.
    pub(super) memory_file_max: u64,
    /// Whether larger ones get a file in memory. Otherwise they are not made.
    pub(super) has_files: bool,
}

impl CompressJob {
    /// Performs the job.
    pub(super) fn perform(self, limits: BodyLimits) -> JobResult {
        let BodyLimits { memory_file_max, has_files } = limits;
        let plain = self.id.plain.len;
        let saving = (plain * SAVING_PERCENT_MIN).div_ceil(100).max(SAVING_BYTES_MIN);
        let max = plain.saturating_sub(saving);
        let max = if has_files { max } else { max.min(memory_file_max) } as usize;
        let mut coded = BoundedBytes { bytes: Vec::new(), max, is_over: false };
        match self.encode(&mut coded) {
            Err(_) if coded.is_over => return JobResult::NotWorth,
            Err(_) => return JobResult::Failed,
            Ok(()) => {}
        }
        let BoundedBytes { bytes, .. } = coded;
        let tag = tag(self.id.coding, &bytes);
        let content = if bytes.len() as u64 <= memory_file_max {
            CompressedContent::Memory(bytes.into())
        } else {
            match File::in_memory(&bytes) {
                Ok(file) => CompressedContent::File(Arc::new(file)),
                Err(_) => return JobResult::Failed,
            }
        };
        JobResult::Made(Arc::new(CompressedBody::new(self.id, tag, content)))
    }

    fn encode(&self, sink: &mut BoundedBytes) -> io::Result<()> {
        let (id, len) = (&self.id, self.id.plain.len);
        let how = (id.coding, id.level);
        match &self.source {
            CompressSource::Memory(bytes) => {
                if bytes.len() as u64 != len {
                    return Err(changed());
                }
                encode(how, len, &mut &bytes[..], sink)
            }
            CompressSource::File(file) => {
                let reader = FileBytes { file, at: 0, end: len };
                let mut reader = BufReader::with_capacity(READ_BYTES, reader);
                encode(how, len, &mut reader, sink)?;
                if *file.metadata() == id.plain && file.is_unchanged()? {
                    Ok(())
                } else {
                    Err(changed())
                }
            }
        }
    }
}

fn changed() -> io::Error {
    io::Error::other("the file has changed while it was compressed")
}

/// Reads a file up to the length that it had.
struct FileBytes<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for FileBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        if room == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..room], self.at)?;
        if read == 0 {
            return Err(changed());
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// Bytes that are too many from some length on.
struct BoundedBytes {
    bytes: Vec<u8>,
    max: usize,
    is_over: bool,
}

impl Write for BoundedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
