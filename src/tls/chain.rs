//! The order of the certificates in a file: the leaf, then each one's issuer (RFC 8446 section
//! 4.4.2).
//!
//! Clients find their way through other orders, but not all of them do, and a certificate that is
//! missing or superfluous is usually a mistake.

use std::path::Path;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode, Reader, SliceReader};

use super::certificate_error::CertificateError;
use super::leaf::subject_and_issuer;
use super::provider::provider;

/// Checks that the first certificate is that of the key, and each other one the issuer of the one
/// before it. `files` are those of the certificates and of the key.
pub(super) fn check(
    chain: &[CertificateDer<'static>],
    key: Option<&SubjectPublicKeyInfoDer<'_>>,
    files: (&Path, &Path),
) -> Result<(), CertificateError> {
    let (file, key_file) = files;
    let links = links(chain, file)?;
    let is_leaf = |link: &Link<'_>| key.is_none_or(|key| link.key == key.as_ref());
    let Some(leaf) = links.iter().position(is_leaf) else {
        return Err(CertificateError::KeyMismatch {
            certificate: file.to_owned(),
            key: key_file.to_owned(),
        });
    };
    let order = order(&links, leaf);
    if order.iter().copied().eq(0..chain.len()) {
        return Ok(());
    }
    let is_placed =
        |link: &Link<'_>| order.iter().any(|placed| links[*placed].certificate == link.certificate);
    if leaf != 0 || links.iter().all(is_placed) {
        let told = |number: &usize| (number + 1, subject_and_issuer(links[*number].certificate).0);
        let order = order.iter().map(told).collect();
        let is_leaf_first = leaf == 0;
        return Err(CertificateError::WrongOrder { file: file.to_owned(), is_leaf_first, order });
    }
    // The order is that of the file up to the certificate whose issuer is missing.
    let kept = order.iter().enumerate().take_while(|(place, number)| place == *number).count();
    let last = kept.saturating_sub(1);
    let (name, issuer) = subject_and_issuer(links[last].certificate);
    Err(CertificateError::NotIssued { file: file.to_owned(), number: last + 1, name, issuer })
}

/// A certificate of the file.
struct Link<'a> {
    certificate: &'a CertificateDer<'static>,
    parsed: EndEntityCert<'a>,
    key: Vec<u8>,
}

fn links<'a>(
    chain: &'a [CertificateDer<'static>],
    file: &Path,
) -> Result<Vec<Link<'a>>, CertificateError> {
    let parse = |(at, certificate): (usize, &'a CertificateDer<'static>)| {
        let not_der = |error: webpki::Error| CertificateError::NotDer {
            file: file.to_owned(),
            number: at + 1,
            reason: error.to_string(),
        };
        let parsed = EndEntityCert::try_from(certificate).map_err(not_der)?;
        let key = parsed.subject_public_key_info().to_vec();
        Ok(Link { certificate, parsed, key })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// The way from the leaf to the last issuer that is there, in positions. An issuer that comes next
/// in the file is preferred, because there may be several.
fn order(links: &[Link<'_>], leaf: usize) -> Vec<usize> {
    let mut order = vec![leaf];
    let mut last = leaf;
    while order.len() < links.len() {
        let others = (last + 1..links.len()).chain(0..last);
        let is_next = |at: &usize| {
            let is_placed =
                order.iter().any(|placed| links[*placed].certificate == links[*at].certificate);
            !is_placed && has_issued(&links[*at], &links[last])
        };
        let Some(next) = others.into_iter().find(is_next) else { break };
        order.push(next);
        last = next;
    }
    order
}

/// Whether one certificate has issued another: the names are the same, and so is the key, as far as
/// the algorithm of the signature is known.
fn has_issued(issuer: &Link<'_>, issued: &Link<'_>) -> bool {
    issuer.parsed.subject() == issued.parsed.issuer()
        && is_signed_by(issued.certificate, &issuer.parsed) != Some(false)
}

/// `None` if no algorithm fits the signature and the key.
fn is_signed_by(certificate: &[u8], issuer: &EndEntityCert<'_>) -> Option<bool> {
    let (message, algorithm, signature) = signed_parts(certificate).ok()?;
    let known = provider().signature_verification_algorithms.all;
    let fitting = known.iter().filter(|known| known.signature_alg_id().as_ref() == algorithm);
    let mut answer = None;
    for fitting in fitting {
        match issuer.verify_signature(*fitting, message, signature) {
            Ok(()) => return Some(true),
            Err(webpki::Error::InvalidSignatureForPublicKey) => answer = Some(false),
            Err(_) => {}
        }
    }
    answer
}

/// The signed part of a certificate, the algorithm without its header, and the signature (RFC 5280
/// section 4.1.1).
fn signed_parts(certificate: &[u8]) -> x509_cert::der::Result<(&[u8], &[u8], &[u8])> {
    let mut reader = SliceReader::new(certificate)?;
    reader.sequence(|reader| {
        let message = reader.tlv_bytes()?;
        let algorithm = AnyRef::decode(reader)?.value();
        let signature = BitStringRef::decode(reader)?.raw_bytes();
        Ok((message, algorithm, signature))
    })
}
