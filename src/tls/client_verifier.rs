//! Verifies certificates of clients, and bounds what a client can make that cost.
//!
//! A client sends its chain before it proves that it has the key, so anybody may send any. The
//! library looks for a path to an issuer through everything that was sent, and checks up to 100
//! signatures. How much that can be grows steeply with the number of certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// How many certificates may come with that of the client. Public authorities use one or two.
///
/// Certificates that all have the name of the authority, and different keys, make the library try
/// every order of them: 16 paths for three, 65 for four.
const INTERMEDIATES_MAX: usize = 3;

/// Refuses long chains; everything else is the decision of the verifier that it has.
#[derive(Debug)]
pub(super) struct BoundedVerifier(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for BoundedVerifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(CertificateError::UnknownIssuer.into());
        }
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::WebPkiClientVerifier;

    use super::*;
    use crate::tls::made::{Authority, KeyKind, key, parameters};
    use crate::tls::provider::provider;

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn long_chains_are_refused() {
        let root = Authority::root("root");
        let leaf = der(&root.issue(&parameters("client", &["a.example"]), &key(KeyKind::P256)));
        let mut roots = RootCertStore::empty();
        roots.add(der(&root.pem)).unwrap();
        let provider = Arc::clone(provider());
        let inner = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = BoundedVerifier(inner.unwrap());
        let other = der(&Authority::root("other").pem);
        let verify = |count: usize| {
            let more = vec![other.clone(); count];
            verifier.verify_client_cert(&leaf, &more, UnixTime::now()).map(drop)
        };
        assert_eq!(verify(0), Ok(()));
        assert_eq!(verify(INTERMEDIATES_MAX), Ok(()));
        let refused = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(verify(INTERMEDIATES_MAX + 1), Err(refused));
    }
}
