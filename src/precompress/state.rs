//! What can be said of a compressed file without decoding it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::tree::FileVersion;
use crate::http::semantics::negotiate::Coding;

/// How a `gzip` file of ours begins (RFC 1952 section 2.3): no name, no time, best compression,
/// and an unknown system. `gzip` writes 3 for the system, and most other programs a time.
pub(super) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];

/// How a frame of `zstd` begins (RFC 8878 section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Windows of `zstd` that clients have to take (RFC 9659 section 3), in bytes.
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

/// The first bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SidecarHeader {
    bytes: [u8; 18],
    len: usize,
}

impl SidecarHeader {
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut header = Self { bytes: [0; 18], len: 0 };
        while header.len < header.bytes.len() {
            let at = header.len;
            match file.read_at(&mut header.bytes[at..], at as u64) {
                Ok(0) => break,
                Ok(read) => header.len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(header)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether it may be in this coding. `br` has no mark; it may not look like another coding.
    pub(super) fn is_plausible(&self, coding: Coding) -> bool {
        let is_gzip = self.bytes().starts_with(&GZIP_HEADER[..3]);
        let is_zstd = self.bytes().starts_with(&ZSTD_MAGIC);
        match coding {
            Coding::Brotli => {
                self.len > 0 && !is_gzip && !is_zstd && !self.has_large_window(coding)
            }
            Coding::Zstd => is_zstd,
            Coding::Gzip => is_gzip,
        }
    }

    /// Whether only programs like this one write it so. A compressed file without a plain one may
    /// be a download, and must not be removed then.
    pub(super) fn is_ours(&self, coding: Coding) -> bool {
        match coding {
            // Hardly anybody offers downloads in this coding.
            Coding::Brotli => self.is_plausible(coding),
            // The program `zstd` appends a checksum.
            Coding::Zstd => self.is_plausible(coding) && self.len > 4 && self.bytes[4] & 0b100 == 0,
            Coding::Gzip => self.bytes().starts_with(&GZIP_HEADER),
        }
    }

    /// Whether clients need more memory to decode it than they have to provide.
    pub(super) fn has_large_window(&self, coding: Coding) -> bool {
        match coding {
            // What RFC 7932 section 9.1 leaves out is in use for larger windows than it allows.
            Coding::Brotli => self.len > 0 && self.bytes[0] & 0x7f == 0b001_0001,
            Coding::Zstd => self.zstd_window().is_some_and(|bytes| bytes > ZSTD_WINDOW_MAX),
            Coding::Gzip => false,
        }
    }

    /// The window of the first frame, in bytes (RFC 8878 section 3.1.1.1); `None` if it is no
    /// frame.
    fn zstd_window(&self) -> Option<u64> {
        let header = self.bytes().strip_prefix(&ZSTD_MAGIC)?;
        let (descriptor, rest) = header.split_first()?;
        let is_single = descriptor & 0b10_0000 != 0;
        if !is_single {
            let window = *rest.first()?;
            let base = 1_u64 << (10 + (window >> 3));
            return Some(base + base / 8 * u64::from(window & 7));
        }
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        let len = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let size = rest.get(dictionary..)?.get(..len)?;
        let value = size.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some(if len == 2 { value + 256 } else { value })
    }
}

/// Whether a compressed file need not be made again: it has the time of the plain file, is smaller,
/// and may be in the coding.
pub(super) fn is_current(
    sidecar: &FileVersion,
    plain: &FileVersion,
    coding: Coding,
    open: impl FnOnce() -> io::Result<File>,
) -> bool {
    let may_be = sidecar.modified == plain.modified && sidecar.bytes < plain.bytes;
    // What cannot be read is made again.
    let begins = |file: File| SidecarHeader::read(&file);
    may_be && open().and_then(begins).is_ok_and(|header| header.is_plausible(coding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> SidecarHeader {
        let mut header = SidecarHeader { bytes: [0; 18], len: bytes.len().min(18) };
        header.bytes[..header.len].copy_from_slice(&bytes[..header.len]);
        header
    }

    fn zstd(rest: &[u8]) -> SidecarHeader {
        header(&[&ZSTD_MAGIC, rest].concat())
    }

    #[test]
    fn windows_are_read_from_all_forms_of_a_header() {
        // Descriptor, window: 2^(10 + exponent) and eighths of it.
        assert_eq!(zstd(&[0, 0]).zstd_window(), Some(1024));
        assert_eq!(zstd(&[0x80, 13 << 3, 1, 2, 3, 4]).zstd_window(), Some(8 << 20));
        assert_eq!(zstd(&[0, 13 << 3 | 1]).zstd_window(), Some(9 << 20));
        // A single segment: the window is the content. Sizes of two bytes begin at 256.
        assert_eq!(zstd(&[0x20, 200]).zstd_window(), Some(200));
        assert_eq!(zstd(&[0x60, 0, 1]).zstd_window(), Some(512));
        assert_eq!(zstd(&[0xa0, 1, 0, 0, 1]).zstd_window(), Some((1 << 24) + 1));
        assert_eq!(zstd(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0]).zstd_window(), Some(1 << 32));
        // A number of a dictionary comes first.
        assert_eq!(zstd(&[0x23, 1, 2, 3, 4, 77]).zstd_window(), Some(77));
        for cut in [&[][..], &[0], &[0x20], &[0x60, 1], &[0xe0, 1, 2, 3]] {
            assert_eq!(zstd(cut).zstd_window(), None, "{cut:?}");
        }
        assert!(zstd(&[0, 13 << 3 | 1]).has_large_window(Coding::Zstd));
        assert!(!zstd(&[0, 13 << 3]).has_large_window(Coding::Zstd));
        assert!(header(&[0x11, 22]).has_large_window(Coding::Brotli));
    }

    #[test]
    fn a_coding_is_known_by_its_first_bytes() {
        let gzip = header(&GZIP_HEADER);
        let br = header(&[0x1b, 1, 2]);
        let zstd = zstd(&[0x20, 1]);
        for (number, one) in [br, zstd, gzip].iter().enumerate() {
            for (other, coding) in Coding::ALL.into_iter().enumerate() {
                assert_eq!(one.is_plausible(coding), number == other, "{number} {coding:?}");
                assert_eq!(one.is_ours(coding), number == other, "{number} {coding:?}");
            }
        }
        // As `gzip` and `zstd` write them.
        assert!(!header(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]).is_ours(Coding::Gzip));
        assert!(!self::zstd(&[0x24, 1]).is_ours(Coding::Zstd));
        assert!(!header(&[]).is_plausible(Coding::Brotli));
    }
}
