//! Why a certificate and its key cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file of certificates or keys, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file has where a block of PEM (RFC 7468) is expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PemContent {
    /// Nothing.
    Empty,
    /// Bytes that begin like DER, or other bytes that are not text.
    Binary,
    /// Text without blocks.
    Text,
    /// Blocks with these labels, each once; at most four.
    Blocks(Vec<String>),
}

impl fmt::Display for PemContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Binary => f.write_str("it is binary"),
            Self::Text => f.write_str("it has no PEM blocks"),
            Self::Blocks(labels) => write!(f, "it has only {}", labels.join(", ")),
        }
    }
}

/// Why a certificate and its key cannot be used. The text names the file, the cause and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be opened or read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The path leads to a directory.
    Directory {
        /// The path.
        file: PathBuf,
    },
    /// The path leads to a pipe, a socket or a device. It could not be read again.
    NotRegular {
        /// The path.
        file: PathBuf,
    },
    /// A file is larger than [`FILE_BYTES_MAX`].
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A block of PEM is damaged.
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with the block.
        reason: String,
    },
    /// A file has no certificate.
    NoCertificate {
        /// The file.
        file: PathBuf,
        /// What it has instead.
        content: PemContent,
    },
    /// A certificate cannot be parsed.
    NotDer {
        /// The file.
        file: PathBuf,
        /// The number of the certificate in the file, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no private key.
    NoKey {
        /// The file.
        file: PathBuf,
        /// What it has instead.
        content: PemContent,
    },
    /// A private key is encrypted.
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// A file has more than one private key.
    SeveralKeys {
        /// The file.
        file: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// A private key cannot be parsed, or is of a kind that TLS does not use.
    UnusableKey {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key belongs to none of the certificates.
    KeyMismatch {
        /// The file of the certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// Certificates are in the wrong order, or some are there twice.
    WrongOrder {
        /// The file.
        file: PathBuf,
        /// Whether the first one is the certificate of the key.
        is_leaf_first: bool,
        /// The certificates in the right order, each with its number in the file and its name.
        order: Vec<(usize, String)>,
    },
    /// A certificate is not issued by the one after it, nor by another one in the file.
    NotIssued {
        /// The file.
        file: PathBuf,
        /// The number of the certificate in the file, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// A certificate has no DNS name and no IP address that is valid as such. A pattern needs two
    /// labels after its asterisk.
    NoNames {
        /// The file.
        file: PathBuf,
    },
    /// No self-signed certificate can be made for a name.
    SelfSigned {
        /// The name; `None` if it fails for another reason.
        name: Option<String>,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "correct the path, or create the file",
                    io::ErrorKind::PermissionDenied => {
                        "let the user of the server read the file and search its directories"
                    }
                    _ => "check the disk and the path",
                };
                write!(f, "cannot read {}: {error}; {remedy}", file.display())
            }
            Self::Directory { file } => write!(
                f,
                "{} is a directory; name the file in it that has the PEM blocks",
                file.display()
            ),
            Self::NotRegular { file } => write!(
                f,
                "{} is not a regular file, so it cannot be read again; copy it to a file",
                file.display()
            ),
            Self::TooLarge { file } => write!(
                f,
                "{} is larger than {} bytes; name the file that has only the certificate, its \
                 intermediate certificates and the key",
                file.display(),
                FILE_BYTES_MAX
            ),
            Self::Pem { file, reason } => write!(
                f,
                "a PEM block in {} is damaged: {reason}; copy the file again",
                file.display()
            ),
            Self::NoCertificate { .. } | Self::NotDer { .. } | Self::NoNames { .. } => {
                self.write_certificate(f)
            }
            Self::WrongOrder { .. } | Self::NotIssued { .. } => self.write_chain(f),
            Self::SelfSigned { name: None, reason } => {
                write!(f, "cannot make a self-signed certificate: {reason}")
            }
            Self::SelfSigned { name: Some(name), reason } => write!(
                f,
                "cannot make a self-signed certificate for {name:?}: {reason}; write a DNS name \
                 or an IP address, without a port"
            ),
            Self::NoKey { .. }
            | Self::EncryptedKey { .. }
            | Self::SeveralKeys { .. }
            | Self::UnusableKey { .. }
            | Self::KeyMismatch { .. } => self.write_key(f),
        }
    }
}

impl CertificateError {
    /// The file that is to be mended; that of the key if it does not belong to the certificate.
    /// `None` if the certificate was to be made in memory.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { file, .. }
            | Self::Directory { file }
            | Self::NotRegular { file }
            | Self::TooLarge { file }
            | Self::Pem { file, .. }
            | Self::NoCertificate { file, .. }
            | Self::NotDer { file, .. }
            | Self::NoKey { file, .. }
            | Self::EncryptedKey { file }
            | Self::SeveralKeys { file, .. }
            | Self::UnusableKey { file, .. }
            | Self::KeyMismatch { key: file, .. }
            | Self::WrongOrder { file, .. }
            | Self::NotIssued { file, .. }
            | Self::NoNames { file } => Some(file),
            Self::SelfSigned { .. } => None,
        }
    }

    fn write_certificate(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate { file, content: PemContent::Binary } => {
                let file = file.display();
                write!(
                    f,
                    "no certificate is in {file}: it is binary; convert it with `openssl x509 \
                     -inform DER -in {file} -out FILE`, or with `openssl pkcs12 -in {file} -out \
                     FILE -nodes` if it is a PKCS #12 file"
                )
            }
            Self::NoCertificate { file, content } => write!(
                f,
                "no certificate is in {}: {content}; name the file that has \
                 `-----BEGIN CERTIFICATE-----`",
                file.display()
            ),
            Self::NotDer { file, number, reason } => write!(
                f,
                "certificate {number} in {} cannot be used: {reason}; copy the file again, or have \
                 the certificate issued again",
                file.display()
            ),
            Self::NoNames { file } => write!(
                f,
                "the certificate in {} has neither a DNS name nor an IP address that clients \
                 accept; have it issued with a subjectAltName such as DNS:example.com",
                file.display()
            ),
            _ => Ok(()),
        }
    }

    fn write_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { file, content: PemContent::Binary } => {
                let file = file.display();
                write!(
                    f,
                    "no private key is in {file}: it is binary; convert it with `openssl pkey \
                     -inform DER -in {file} -out FILE`"
                )
            }
            Self::NoKey { file, content } => write!(
                f,
                "no private key is in {}: {content}; name the file that has \
                 `-----BEGIN PRIVATE KEY-----`",
                file.display()
            ),
            Self::EncryptedKey { file } => {
                let file = file.display();
                write!(
                    f,
                    "the private key in {file} is encrypted, and the server cannot ask for its \
                     password; decrypt it with `openssl pkey -in {file} -out FILE`, and let only \
                     the server read FILE"
                )
            }
            Self::SeveralKeys { file, count } => write!(
                f,
                "{} has {count} private keys; keep the one that belongs to the certificate",
                file.display()
            ),
            Self::UnusableKey { file, reason } => write!(
                f,
                "the private key in {} cannot be used: {reason}; use ECDSA (P-256, P-384 or \
                 P-521), Ed25519, or RSA with 2048 to 8192 bits",
                file.display()
            ),
            Self::KeyMismatch { certificate, key } if certificate == key => write!(
                f,
                "the key in {} does not belong to the certificate in it; renew both",
                key.display()
            ),
            Self::KeyMismatch { certificate, key } => write!(
                f,
                "the key in {} does not belong to the certificate in {}; renew both, or name the \
                 file of the key that does",
                key.display(),
                certificate.display()
            ),
            _ => Ok(()),
        }
    }

    fn write_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongOrder { file, is_leaf_first, order } => {
                let file = file.display();
                match is_leaf_first {
                    true => write!(f, "the certificates in {file} are in the wrong order")?,
                    false => write!(f, "the first certificate in {file} is not that of the key")?,
                }
                f.write_str("; write them in this order: ")?;
                for (place, (number, name)) in order.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}number {number} ({name})")?;
                }
                Ok(())
            }
            Self::NotIssued { file, number, name, issuer } => write!(
                f,
                "certificate {number} in {} ({name}) is not issued by the one after it; put the \
                 certificate of its issuer ({issuer}) there, or remove those that follow",
                file.display()
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}
