//! A certificate, the certificates of its issuers, and its private key: loaded from files, checked.
//!
//! What is wrong in a way that no client accepts is an error of [`Certificate::load`]. What depends
//! on the clock is a note: a server must start with an expired certificate, because its clock may
//! be wrong.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate_error::CertificateError;
use super::chain;
use super::leaf::{Leaf, host_form};
use super::pem::PemFile;
use super::provider::{provider, sha256};

/// A certificate that expires within this time gets a note, or within a third of its life if that
/// is shorter: certificates of six days are renewed when two are left.
const EXPIRES_SOON: Duration = Duration::from_secs(10 * DAY_SECONDS);
const LIFE_PARTS: u32 = 3;

/// How many names of a certificate a message has; some have a hundred.
pub const NAMES_SHOWN_MAX: usize = 4;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A certificate with its private key; see the module documentation.
#[derive(Debug)]
pub struct Certificate {
    certified_key: Arc<CertifiedKey>,
    leaf: Leaf,
    fingerprint: String,
    /// `None` if it was made in memory.
    files: Option<CertificateFiles>,
}

#[derive(Debug)]
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    /// Whether every user of the machine may read the key.
    is_key_public: bool,
}

impl Certificate {
    /// Loads a certificate and its private key from files of PEM (RFC 7468). One file may hold
    /// both: then both paths are the same. The issuers follow the certificate in its file.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has not what it should have, if the key does not belong to the
    /// certificate, if the issuers are in the wrong order, or if the certificate has no name.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        // A link to the directory of both files may turn between the two reads. Then the files
        // belong to two pairs, and another read finds one pair.
        Self::read(certificate, key).or_else(|_| Self::read(certificate, key))
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let mut file = PemFile::read(certificate)?;
        let chain = std::mem::take(&mut file.certificates);
        if chain.is_empty() {
            let (file, content) = (certificate.to_owned(), file.content);
            return Err(CertificateError::NoCertificate { file, content });
        }
        let key_file = if key == certificate { file } else { PemFile::read(key)? };
        let is_key_public = key_file.is_public;
        let private_key = only_key(key_file, key)?;
        let files = CertificateFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            is_key_public,
        };
        Self::assemble(chain, private_key, Some(files))
    }

    /// A certificate without files.
    pub(super) fn in_memory(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        Self::assemble(vec![certificate], key, None)
    }

    fn assemble(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        files: Option<CertificateFiles>,
    ) -> Result<Self, CertificateError> {
        let paths = files.as_ref().map(|files| (&*files.certificate, &*files.key));
        let (file, key_file) = paths.unwrap_or((Path::new("memory"), Path::new("memory")));
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| CertificateError::UnusableKey {
            file: key_file.to_owned(),
            reason: error.to_string(),
        })?;
        chain::check(&chain, key.public_key().as_ref(), (file, key_file))?;
        let leaf = Leaf::parse(&chain[0]).map_err(|reason| CertificateError::NotDer {
            file: file.to_owned(),
            number: 1,
            reason,
        })?;
        if leaf.dns_names.is_empty() && leaf.addresses.is_empty() {
            return Err(CertificateError::NoNames { file: file.to_owned() });
        }
        let fingerprint = fingerprint(&chain[0]);
        let certified_key = Arc::new(CertifiedKey::new(chain, key));
        Ok(Self { certified_key, leaf, fingerprint, files })
    }

    /// The DNS names that the certificate is valid for, in lower case. A name that begins with
    /// `*.` stands for all names with one label instead of the asterisk (RFC 9525 section 6.3).
    pub fn dns_names(&self) -> &[String] {
        &self.leaf.dns_names
    }

    /// The IP addresses that the certificate is valid for.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.leaf.addresses
    }

    /// All names and addresses, for messages; at most [`NAMES_SHOWN_MAX`] of them.
    pub fn names(&self) -> String {
        let names = self.leaf.dns_names.iter().cloned();
        let names = names.chain(self.leaf.addresses.iter().map(ToString::to_string));
        let mut shown: Vec<String> = names.take(NAMES_SHOWN_MAX).collect();
        let more = self.leaf.dns_names.len() + self.leaf.addresses.len() - shown.len();
        if more > 0 {
            shown.push(format!("{more} more"));
        }
        shown.join(", ")
    }

    /// Whether the certificate is valid for a host: a name in any case, an IP address with or
    /// without brackets, or all names of a pattern such as `*.example.com`.
    pub fn is_valid_for(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return self.leaf.addresses.contains(&address);
        }
        let host = host_form(host);
        let parent = host.split_once('.').filter(|(first, _)| !first.is_empty());
        let parent = parent.map(|(_, parent)| parent);
        self.leaf.dns_names.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => *name == host || Some(suffix) == parent,
            None => *name == host,
        })
    }

    /// The time from which the certificate is valid.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// The time until which the certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// The kind of the key in words, such as "ECDSA P-256", "RSA 2048" or "Ed25519".
    pub fn key_kind(&self) -> &str {
        &self.leaf.key_kind
    }

    /// The SHA-256 digest of the certificate: pairs of hexadecimal digits in upper case, with
    /// colons between them.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The public key with its algorithm, in DER (RFC 5280 section 4.1.2.7).
    pub fn public_key(&self) -> &[u8] {
        &self.leaf.public_key
    }

    /// Whether another certificate has the same public key, and therefore the same private key.
    pub fn has_same_key_as(&self, other: &Self) -> bool {
        self.leaf.public_key == other.leaf.public_key
    }

    /// Whether the key can sign in one of the ways that a client accepts.
    pub fn fits(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified_key.key.choose_scheme(schemes).is_some()
    }

    /// The certificate, those of its issuers, and the key, for rustls.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// The file of the certificate; `None` if it was made in memory.
    pub fn certificate_path(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| &*files.certificate)
    }

    /// The file of the key; `None` if it was made in memory.
    pub fn key_path(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| &*files.key)
    }

    /// What an operator should know about the certificate at this time, in sentences: that it is
    /// not valid now, that it expires soon, or that every user may read its key.
    pub fn notes(&self, now: SystemTime) -> Vec<String> {
        let mut notes: Vec<String> = self.note_on_time(now).into_iter().collect();
        if let Some(CertificateFiles { key, is_key_public: true, .. }) = &self.files {
            let key = key.display();
            notes.push(format!(
                "every user of this machine may read the private key in {key}; withdraw that with \
                 `chmod o-r {key}`"
            ));
        }
        notes
    }

    fn note_on_time(&self, now: SystemTime) -> Option<String> {
        let (title, remedy) = match &self.files {
            Some(files) => {
                (format!("the certificate in {}", files.certificate.display()), "renew it")
            }
            None => ("the self-signed certificate".to_owned(), "restart the server for a new one"),
        };
        let Leaf { not_before, not_after, .. } = self.leaf;
        if let Ok(wait) = not_before.duration_since(now)
            && !wait.is_zero()
        {
            let (wait, time) = (length(wait), time(not_before));
            return Some(format!(
                "{title} is not valid yet, but in {wait}, from {time}; correct the clock, or wait"
            ));
        }
        let Ok(left) = not_after.duration_since(now) else {
            let ago = length(now.duration_since(not_after).unwrap_or_default());
            let time = time(not_after);
            return Some(format!(
                "{title} expired {ago} ago, at {time}, so clients refuse it; {remedy}, or correct \
                 the clock"
            ));
        };
        let life = not_after.duration_since(not_before).unwrap_or_default();
        (left < EXPIRES_SOON.min(life / LIFE_PARTS)).then(|| {
            let (left, time) = (length(left), time(not_after));
            format!("{title} expires in {left}, at {time}; {remedy}")
        })
    }
}

/// The private key of a file.
fn only_key(mut from: PemFile, file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let file = file.to_owned();
    let count = from.keys.len() + usize::from(from.has_encrypted_key);
    if count > 1 {
        return Err(CertificateError::SeveralKeys { file, count });
    }
    if from.has_encrypted_key {
        return Err(CertificateError::EncryptedKey { file });
    }
    from.keys.pop().ok_or(CertificateError::NoKey { file, content: from.content })
}

fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::new();
    for byte in sha256(certificate) {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a `String` does not fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

fn time(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

/// A length of time in whole days, or in hours if it is shorter than two days.
fn length(time: Duration) -> String {
    let (days, hours) = (time.as_secs() / DAY_SECONDS, time.as_secs() / 3600);
    match (days, hours) {
        (0, 0) => "less than an hour".to_owned(),
        (0, 1) => "1 hour".to_owned(),
        (0 | 1, hours) => format!("{hours} hours"),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests;
