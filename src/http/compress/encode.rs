//! The encoders. The same bytes always become the same output.
//!
//! The window of `br` has 4 MiB. That of `zstd` has at most as much at these levels; clients need
//! not take more than 8 MiB (RFC 9659).

use std::io::{self, Read, Write};

use super::settings::CompressLevel;
use crate::http::semantics::negotiate::Coding;

/// Windows of `br` have 2^22 bytes.
#[cfg(feature = "compress")]
const BROTLI_WINDOW: i32 = 22;

/// The levels of `br`, `zstd` and `gzip`.
#[cfg(feature = "compress")]
fn level_of(coding: Coding, level: CompressLevel) -> u8 {
    let levels = match level {
        CompressLevel::Fast => [1, 1, 1],
        CompressLevel::Default => [5, 6, 6],
        CompressLevel::Best => [9, 15, 9],
    };
    levels[coding as usize]
}

/// Compresses `source`, which has `bytes` bytes, into `sink`.
///
/// # Errors
///
/// When the source cannot be read or the sink not be written.
#[cfg(feature = "compress")]
pub(super) fn encode(
    (coding, level): (Coding, CompressLevel),
    bytes: u64,
    source: &mut impl Read,
    sink: &mut impl Write,
) -> io::Result<()> {
    let level = level_of(coding, level);
    match coding {
        Coding::Brotli => {
            let params = brotli::enc::BrotliEncoderParams {
                quality: level.into(),
                lgwin: BROTLI_WINDOW,
                size_hint: usize::try_from(bytes).unwrap_or(usize::MAX),
                ..brotli::enc::BrotliEncoderParams::default()
            };
            brotli::BrotliCompress(source, sink, &params).map(drop)
        }
        Coding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(sink, level.into())?;
            encoder.set_pledged_src_size(Some(bytes))?;
            io::copy(source, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Coding::Gzip => {
            let level = flate2::Compression::new(level.into());
            let mut encoder = flate2::write::GzEncoder::new(sink, level);
            io::copy(source, &mut encoder)?;
            encoder.finish().map(drop)
        }
    }
}

/// A strong entity tag of these bytes, as in the field.
#[cfg(feature = "compress")]
pub(super) fn tag(coding: Coding, bytes: &[u8]) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(bytes);
    // Tags must differ between codings (RFC 9110 section 8.8.3.3).
    format!("\"x{hash:x}-{:x}-{}\"", bytes.len(), coding.name())
}

/// The build has no encoders.
#[cfg(not(feature = "compress"))]
pub(super) fn encode(
    _: (Coding, CompressLevel),
    _: u64,
    _: &mut impl Read,
    _: &mut impl Write,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing is encoded, so nothing has a tag.
#[cfg(not(feature = "compress"))]
pub(super) fn tag(_: Coding, _: &[u8]) -> String {
    unreachable!("nothing is encoded")
}
