//! The encoders. Each reads its source to the end, and the same bytes always become the same
//! output.
//!
//! The windows of `br` and `zstd` are at most 4 and 8 MiB: larger ones cost clients memory, and
//! clients need not take a larger one of `zstd` (RFC 9659).

use std::io::{self, Read, Write};
use std::num::NonZeroU64;

use brotli::enc::BrotliEncoderParams;
use flate2::Crc;

use super::settings::CompressionLevel;
use super::state::GZIP_HEADER;
use crate::http::semantics::negotiate::Coding;

const BROTLI_QUALITY: i32 = 11;

/// Windows have 2^22 bytes.
const BROTLI_WINDOW: i32 = 22;

/// Its largest window has 2^23 bytes.
const ZSTD_LEVEL: i32 = 19;

/// Rounds of `zopfli`. One round makes files that are smaller than those of `gzip -9`.
const ROUNDS: NonZeroU64 = NonZeroU64::MIN;
const ROUNDS_BEST: NonZeroU64 = NonZeroU64::new(15).unwrap();

/// Smaller files than this, in bytes, are not divided by `zopfli`.
const SMALL: u64 = 128 << 10;

/// Compresses `source`, which should have `bytes` bytes, into `sink`.
///
/// # Errors
///
/// When the source cannot be read or the sink not be written.
pub(super) fn encode(
    (coding, level): (Coding, CompressionLevel),
    bytes: u64,
    source: &mut impl Read,
    sink: &mut impl Write,
) -> io::Result<()> {
    match coding {
        Coding::Brotli => {
            let params = BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: BROTLI_WINDOW,
                size_hint: usize::try_from(bytes).unwrap_or(usize::MAX),
                ..BrotliEncoderParams::default()
            };
            brotli::BrotliCompress(source, sink, &params).map(drop)
        }
        Coding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(bytes))?;
            io::copy(source, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Coding::Gzip => gzip(level, bytes, source, sink),
    }
}

/// Into how many blocks `zopfli` divides a million bytes at most. To find where takes as long as
/// the rest, and saves little in files that are small.
fn splits_max(level: CompressionLevel, bytes: u64) -> u16 {
    match level {
        CompressionLevel::Default if bytes < SMALL => 1,
        _ => zopfli::Options::default().maximum_block_splits,
    }
}

/// The format is of RFC 1952. It is written here, because the header is one that others do not
/// write: [`GZIP_HEADER`].
fn gzip(
    level: CompressionLevel,
    bytes: u64,
    source: &mut impl Read,
    sink: &mut impl Write,
) -> io::Result<()> {
    let rounds = match level {
        CompressionLevel::Default => ROUNDS,
        CompressionLevel::Best => ROUNDS_BEST,
    };
    sink.write_all(&GZIP_HEADER)?;
    let mut counted = Counted { source, crc: Crc::new() };
    let options = zopfli::Options {
        iteration_count: rounds,
        maximum_block_splits: splits_max(level, bytes),
        ..zopfli::Options::default()
    };
    zopfli::compress(options, zopfli::Format::Deflate, &mut counted, &mut *sink)?;
    sink.write_all(&counted.crc.sum().to_le_bytes())?;
    // The length modulo 2^32, which `amount` is.
    sink.write_all(&counted.crc.amount().to_le_bytes())
}

/// Sums up what is read.
struct Counted<'a, R> {
    source: &'a mut R,
    crc: Crc,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::decode::decodes_to;
    use super::super::state::SidecarHeader;
    use super::*;

    /// Text of words, which compresses as text does.
    fn text(bytes: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let words: Vec<String> = (0..400)
            .map(|_| (0..random.usize(2..9)).map(|_| random.lowercase()).collect())
            .collect();
        let mut text = String::new();
        while text.len() < bytes {
            text += &words[random.usize(..400) * random.usize(..400) / 400];
            text.push(' ');
        }
        text.truncate(bytes);
        text.into_bytes()
    }

    fn coded(how: (Coding, CompressionLevel), plain: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        encode(how, plain.len() as u64, &mut &plain[..], &mut coded).unwrap();
        coded
    }

    fn file_of(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    /// `gzip` is encoded in blocks of a million bytes.
    #[test]
    fn every_coding_decodes_to_the_plain_bytes() {
        let all = text(1_100_000);
        for coding in Coding::ALL {
            for bytes in [0, 1, 2, 255, 256, 5000, 70_000, 1_000_000, 1_000_001, 1_100_000] {
                let plain = &all[..bytes];
                let coded = coded((coding, CompressionLevel::Default), plain);
                let decodes =
                    |plain: &[u8]| decodes_to(coding, &file_of(&coded), &mut &plain[..]).unwrap();
                assert!(decodes(plain), "{coding:?} {bytes}");
                assert!(!decodes(&[plain, b"x"].concat()), "{coding:?} {bytes}");
                assert!(bytes == 0 || !decodes(&plain[..bytes - 1]), "{coding:?} {bytes}");
                let longer = file_of(&[&coded[..], b"garbage"].concat());
                assert!(!decodes_to(coding, &longer, &mut &plain[..]).unwrap(), "{coding:?}");
                let header = SidecarHeader::read(&file_of(&coded)).unwrap();
                assert!(header.is_plausible(coding) && header.is_ours(coding), "{bytes}");
            }
        }
    }

    #[test]
    fn the_best_level_is_smaller() {
        let plain = text(30_000);
        let size = |level| coded((Coding::Gzip, level), &plain).len();
        assert!(size(CompressionLevel::Best) < size(CompressionLevel::Default));
    }

    #[test]
    fn gzip_is_smaller_than_that_of_deflate() {
        for bytes in [1000, 20_000, 300_000] {
            let plain = text(bytes);
            let level = flate2::Compression::best();
            let mut other = flate2::write::GzEncoder::new(Vec::new(), level);
            other.write_all(&plain).unwrap();
            let ours = coded((Coding::Gzip, CompressionLevel::Default), &plain).len();
            assert!(ours < other.finish().unwrap().len(), "{bytes}");
        }
    }

    /// A level with larger windows would not show on smaller files.
    #[test]
    fn windows_are_those_that_clients_have_to_take() {
        let plain = vec![b'a'; 20 << 20];
        let coded = coded((Coding::Zstd, CompressionLevel::Default), &plain);
        let header = SidecarHeader::read(&file_of(&coded)).unwrap();
        assert!(!header.has_large_window(Coding::Zstd));
        assert!(decodes_to(Coding::Zstd, &file_of(&coded), &mut &plain[..]).unwrap());
    }
}
