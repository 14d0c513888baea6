//! Keys, certificates and files that tests make when they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, RsaKeySize};

use super::certificate::Certificate;

/// The length of a day.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Kinds of keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A new key.
pub(super) fn key(kind: KeyKind) -> KeyPair {
    match kind {
        KeyKind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyKind::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        KeyKind::Rsa => {
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
        }
    }
}

/// The settings of a certificate with a subject, for names, that is valid for 90 days from
/// yesterday.
pub(super) fn parameters(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, subject);
    set_times(&mut parameters, SystemTime::now() - DAY, 90);
    parameters
}

/// Sets the time from which a certificate is valid, and for how many days.
pub(super) fn set_times(parameters: &mut CertificateParams, from: SystemTime, days: u32) {
    parameters.not_before = from.into();
    parameters.not_after = (from + DAY * days).into();
}

/// An authority that issues certificates.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A root.
    pub(super) fn root(subject: &str) -> Self {
        Self::made(subject, None)
    }

    /// An authority beneath this one.
    pub(super) fn intermediate(&self, subject: &str) -> Self {
        Self::made(subject, Some(self))
    }

    fn made(subject: &str, above: Option<&Self>) -> Self {
        let mut parameters = parameters(subject, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key(KeyKind::P256);
        let certificate = match above {
            Some(above) => parameters.signed_by(&key, &above.issuer),
            None => parameters.self_signed(&key),
        };
        let pem = certificate.unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate in PEM.
    pub(super) fn issue(&self, parameters: &CertificateParams, key: &KeyPair) -> String {
        parameters.signed_by(key, &self.issuer).unwrap().pem()
    }
}

/// A folder with files of certificates and keys.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that only its owner may read.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;

        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

/// A certificate for these names, loaded from files that are gone.
pub(super) fn certificate(names: &[&str], kind: KeyKind) -> Arc<Certificate> {
    certificate_of_key(names, &key(kind))
}

/// A certificate for these names and this key.
pub(super) fn certificate_of_key(names: &[&str], key: &KeyPair) -> Arc<Certificate> {
    let certificate = parameters("test", names).self_signed(key).unwrap();
    let folder = Folder::new();
    let both = folder.write("both.pem", certificate.pem() + &key.serialize_pem());
    Arc::new(Certificate::load(&both, &both).unwrap())
}
