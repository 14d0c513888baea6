//! Keys, certificates and their files, made when a test runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The length of a day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority that issues certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

fn parameters(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, subject);
    parameters.not_before = (SystemTime::now() - DAY).into();
    parameters.not_after = (SystemTime::now() + DAY * 89 + DAY / 2).into();
    parameters
}

/// A new key.
pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

impl Authority {
    pub(crate) fn new(subject: &str) -> Self {
        let mut parameters = parameters(subject, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let made = parameters.self_signed(&key).unwrap();
        let (pem, der) = (made.pem(), made.der().clone());
        Self { pem, der, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for these names with a new key.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_for(&key(), names)
    }

    /// A certificate for these names and this key.
    pub(crate) fn issue_for(&self, key: &KeyPair, names: &[&str]) -> Pair {
        self.sign(&parameters("made for a test", names), key)
    }

    /// A certificate that has expired two days ago.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Pair {
        let mut parameters = parameters("made for a test", names);
        parameters.not_before = (SystemTime::now() - DAY * 9).into();
        parameters.not_after = (SystemTime::now() - DAY * 2 - DAY / 2).into();
        self.sign(&parameters, &key())
    }

    fn sign(&self, parameters: &CertificateParams, key: &KeyPair) -> Pair {
        let made = parameters.signed_by(key, &self.issuer).unwrap();
        Pair { certificate: made.pem(), key: key.serialize_pem(), der: made.der().clone() }
    }
}

impl Pair {
    /// Writes `NAME.pem` and `NAME.key`, and returns their paths.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(&folder.join(format!("{name}.pem")), &self.certificate);
        (certificate, write(&folder.join(format!("{name}.key")), &self.key))
    }

    /// Both in one text.
    pub(crate) fn both(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }

    /// The key as a client needs it.
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        use rustls::pki_types::pem::PemObject;
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write(path: &Path, content: &str) -> PathBuf {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    path.to_owned()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
