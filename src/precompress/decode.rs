//! Compares a compressed file with its plain file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::http::semantics::negotiate::Coding;

/// Bytes that are compared at a time.
const PIECE: usize = 64 * 1024;

/// The largest window of `zstd`, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Whether a file decodes to exactly the bytes of `plain`. No more than those is decoded.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn decodes_to(coding: Coding, file: &File, plain: &mut impl Read) -> io::Result<bool> {
    match coding {
        Coding::Brotli => {
            // The decoder ignores what follows the end of its stream, so it must not read ahead.
            let mut source = BufReader::with_capacity(PIECE, file);
            let is_same = reads_as(&mut brotli::Decompressor::new(&mut source, 1), plain)?;
            Ok(is_same && source.fill_buf()?.is_empty())
        }
        Coding::Gzip => reads_as(&mut flate2::read::MultiGzDecoder::new(file), plain),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            reads_as(&mut decoder, plain)
        }
    }
}

/// Whether a decoder gives exactly the bytes of `plain`.
fn reads_as(decoder: &mut impl Read, plain: &mut impl Read) -> io::Result<bool> {
    let mut decoded = vec![0; PIECE];
    let mut expected = vec![0; PIECE];
    loop {
        let read = match decoder.read(&mut decoded) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // An error of the kernel is none of the content.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(_) => return Ok(false),
        };
        // At the end of the coded bytes, the plain file must have no more either.
        let wanted = if read == 0 { 1 } else { read };
        let found = read_up_to(plain, &mut expected[..wanted])?;
        if read != found || decoded[..read] != expected[..found] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Fills the buffer, unless the end comes first.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
