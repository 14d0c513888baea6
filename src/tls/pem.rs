//! Files with blocks of PEM (RFC 7468): certificates and private keys.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate_error::{CertificateError, FILE_BYTES_MAX, PemContent};

/// How many labels of other blocks an error names.
const LABELS_MAX: usize = 4;

/// The permission of everybody to read (`chmod(2)`).
const OTHERS_READ: u32 = 0o004;

/// The certificates and keys of a file.
#[derive(Debug)]
pub(super) struct PemFile {
    /// In the order of the file.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    /// Whether a key is encrypted. It is not in `keys`.
    pub(super) has_encrypted_key: bool,
    /// What an error says about the file.
    pub(super) content: PemContent,
    /// Whether every user of the machine may read the file.
    pub(super) is_public: bool,
}

impl PemFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is not a regular file, is too large, or has a damaged block.
    pub(super) fn read(file: &Path) -> Result<Self, CertificateError> {
        let (bytes, is_public) = read_bounded(file)?;
        // Some editors begin a file with a byte order mark, which would hide the first block.
        let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        let labels = labels(text);
        let has_encrypted_key = is_encrypted(text, &labels);
        let (mut certificates, mut keys) = (Vec::new(), Vec::new());
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = match block {
                Ok(block) => block,
                // The header of an encrypted key (RFC 1421) is not base64.
                Err(_) if has_encrypted_key => {
                    return Err(CertificateError::EncryptedKey { file: file.to_owned() });
                }
                Err(error) => {
                    let reason = error.to_string();
                    return Err(CertificateError::Pem { file: file.to_owned(), reason });
                }
            };
            match kind {
                SectionKind::Certificate => certificates.push(der.into()),
                _ => keys.extend(PrivateKeyDer::from_pem(kind, der)),
            }
        }
        let content = content(text, labels);
        Ok(Self { certificates, keys, has_encrypted_key, content, is_public })
    }
}

/// The content of a file, and whether everybody may read it.
fn read_bounded(file: &Path) -> Result<(Vec<u8>, bool), CertificateError> {
    let unreadable = |error| CertificateError::Unreadable { file: file.to_owned(), error };
    // Opening a pipe would otherwise wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(file);
    let open = open.map_err(unreadable)?;
    let metadata = open.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(CertificateError::Directory { file: file.to_owned() });
    }
    if !metadata.is_file() {
        return Err(CertificateError::NotRegular { file: file.to_owned() });
    }
    let mut bytes = Vec::new();
    let read: io::Result<usize> = open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge { file: file.to_owned() });
    }
    Ok((bytes, metadata.mode() & OTHERS_READ != 0))
}

/// The labels of the blocks, each once; at most [`LABELS_MAX`].
fn labels(text: &[u8]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let label = line.strip_prefix(b"-----BEGIN ");
        let label = label.and_then(|rest| rest.trim_ascii_end().strip_suffix(b"-----"));
        let Some(label) = label.and_then(|label| std::str::from_utf8(label).ok()) else {
            continue;
        };
        let is_label = label.bytes().all(|byte| byte == b' ' || byte.is_ascii_alphanumeric());
        let is_new = !labels.iter().any(|known| known == label);
        if is_label && is_new && label.len() <= 64 && labels.len() < LABELS_MAX {
            labels.push(label.to_owned());
        }
    }
    labels
}

/// Whether a key is encrypted: as PKCS #8 (RFC 5958), or in the older form with a header
/// (RFC 1421 section 4.6.1.1).
fn is_encrypted(text: &[u8], labels: &[String]) -> bool {
    let has_header = text.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED")
    });
    has_header || labels.iter().any(|label| label == "ENCRYPTED PRIVATE KEY")
}

fn content(text: &[u8], labels: Vec<String>) -> PemContent {
    if !labels.is_empty() {
        return PemContent::Blocks(labels);
    }
    match std::str::from_utf8(text) {
        Ok(text) if text.trim().is_empty() => PemContent::Empty,
        Ok(text) if !text.contains('\0') => PemContent::Text,
        _ => PemContent::Binary,
    }
}
