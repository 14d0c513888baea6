//! What the server needs to know of a certificate (RFC 5280): names, times, the kind of its key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_cert::Certificate as X509;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Kinds of keys (RFC 5480 section 2.1.1, RFC 8017 appendix A.1, RFC 8410 section 3).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Curves (RFC 5480 section 2.1.1.1).
const CURVES: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "ECDSA P-256"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "ECDSA P-384"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "ECDSA P-521"),
];

/// The longest name of a subject or issuer in a message, in characters.
const NAME_CHARS_MAX: usize = 80;

/// What is known of the certificate of the server itself, the leaf of the chain.
#[derive(Debug)]
pub(super) struct Leaf {
    /// In lower case; a name may begin with `*.`.
    pub(super) dns_names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) key_kind: String,
    /// The public key, with its algorithm (SubjectPublicKeyInfo).
    pub(super) public_key: Vec<u8>,
}

impl Leaf {
    /// Parses a certificate. The error says what is wrong with it.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let checked = EndEntityCert::try_from(der).map_err(|error| error.to_string())?;
        let parsed = X509::from_der(der).map_err(|error| error.to_string())?;
        let parsed = parsed.tbs_certificate();
        let validity = parsed.validity();
        let names = parsed.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
        Ok(Self {
            dns_names: checked.valid_dns_names().map(host_form).collect(),
            addresses: names.iter().filter_map(address).collect(),
            not_before: validity.not_before.to_system_time(),
            not_after: validity.not_after.to_system_time(),
            key_kind: key_kind(parsed.subject_public_key_info()),
            public_key: checked.subject_public_key_info().to_vec(),
        })
    }
}

/// A name in the form in which names are compared: in lower case, without one final dot.
pub(super) fn host_form(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The subject and the issuer of a certificate, for messages.
pub(super) fn subject_and_issuer(der: &CertificateDer<'_>) -> (String, String) {
    match X509::from_der(der) {
        Ok(parsed) => {
            let parsed = parsed.tbs_certificate();
            let subject = shown(parsed.subject());
            let subject = if !subject.is_empty() { subject } else { first_name(der) };
            (subject, shown(parsed.issuer()))
        }
        Err(_) => ("unnamed".to_owned(), "unnamed".to_owned()),
    }
}

/// Stands for the subject of certificates that have none, which is allowed if they have names.
fn first_name(der: &CertificateDer<'_>) -> String {
    let checked = EndEntityCert::try_from(der).ok();
    let name = checked.and_then(|checked| checked.valid_dns_names().next().map(str::to_owned));
    name.unwrap_or_else(|| "unnamed".to_owned())
}

/// A name in one line of bounded length.
fn shown(name: &Name) -> String {
    let text = name.to_string();
    let visible = |letter: char| if letter.is_control() { '?' } else { letter };
    let mut short: String = text.chars().take(NAME_CHARS_MAX).map(visible).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

fn address(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(octets) = name else { return None };
    let octets = octets.as_bytes();
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// The kind of a key in words, such as "RSA 2048".
fn key_kind(key: &SubjectPublicKeyInfoOwned) -> String {
    let parameters = key.algorithm.parameters.as_ref();
    match key.algorithm.oid {
        EC => {
            let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
            let named = CURVES.iter().find(|(known, _)| Some(*known) == curve);
            named.map_or("ECDSA", |(_, name)| name).to_owned()
        }
        RSA => match key.subject_public_key.as_bytes().and_then(modulus_bits) {
            Some(bits) => format!("RSA {bits}"),
            None => "RSA".to_owned(),
        },
        ED25519 => "Ed25519".to_owned(),
        other => format!("key of kind {other}"),
    }
}

/// The length of the modulus of an RSA key (RFC 8017 appendix A.1.1), in bits.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader.sequence(|reader| -> x509_cert::der::Result<UintRef<'_>> {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok(modulus)
    });
    let bytes = modulus.ok()?;
    let bytes = bytes.as_bytes();
    let zeros = bytes.first()?.leading_zeros() as usize;
    Some(bytes.len() * 8 - zeros)
}
