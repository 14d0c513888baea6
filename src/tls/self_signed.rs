//! Certificates that the server makes and signs itself, for tests on one machine.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{DnsName, PrivateKeyDer};

use super::certificate::Certificate;
use super::certificate_error::CertificateError;

/// How long a certificate is valid.
const LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How much earlier it begins to be valid, because the clock of a client may be slow.
const CLOCK_ERROR: Duration = Duration::from_secs(60 * 60);

/// The names if none is given.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Certificate {
    /// Makes a certificate for DNS names and IP addresses, or for those of this machine if there
    /// are none. The key is an ECDSA key on P-256, and only in memory. The certificate is valid
    /// for 14 days.
    ///
    /// # Errors
    ///
    /// If a name is neither a DNS name nor an IP address.
    pub fn self_signed(names: &[String]) -> Result<Self, CertificateError> {
        let local = || LOCAL_NAMES.map(str::to_owned).to_vec();
        let names = if names.is_empty() { local() } else { names.to_vec() };
        let names: Vec<String> =
            names.iter().map(|name| checked(name)).collect::<Result<_, _>>()?;
        let failed = |error: rcgen::Error| CertificateError::SelfSigned {
            name: None,
            reason: error.to_string(),
        };
        let mut parameters = CertificateParams::new(names).map_err(failed)?;
        let now = SystemTime::now();
        parameters.not_before = (now - CLOCK_ERROR).into();
        parameters.not_after = (now + LIFE).into();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "ringd self-signed");
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Self::in_memory(certificate.into(), key)
    }
}

/// A name in the form that a certificate has: without brackets, and without one final dot.
fn checked(name: &str) -> Result<String, CertificateError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let failed = |reason| CertificateError::SelfSigned { name: Some(name.to_owned()), reason };
    if name.strip_prefix("*.").is_some_and(|parent| !parent.contains('.')) {
        return Err(failed("clients want two labels after the asterisk".to_owned()));
    }
    match DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)) {
        Ok(_) => Ok(name.to_ascii_lowercase()),
        Err(error) => Err(failed(error.to_string())),
    }
}
