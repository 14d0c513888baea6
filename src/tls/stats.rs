//! Counters of handshakes. Each worker counts into its own.

use std::sync::Arc;

use rustls::{AlertDescription, Error};

use crate::metrics::Counter;
use crate::secured::HandshakeFailure;

/// What a worker counts.
#[derive(Default, Debug)]
pub struct TlsStats {
    full: Counter,
    resumed: Counter,
    timed_out: Counter,
    not_tls: Counter,
    abandoned: Counter,
    failed: [Counter; TlsFailure::ALL.len()],
    broken: Counter,
}

/// What the workers of a server have counted, together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TlsCounts {
    /// Handshakes with a key exchange and a signature.
    pub full: u64,
    /// Handshakes that continued an earlier session.
    pub resumed: u64,
    /// Handshakes that took longer than they may.
    pub timed_out: u64,
    /// Connections that began with a request without TLS.
    pub not_tls: u64,
    /// Handshakes that the client has begun, and has left without an alert.
    pub abandoned: u64,
    /// Handshakes that failed, by [`TlsFailure::ALL`].
    pub failed: [u64; TlsFailure::ALL.len()],
    /// Connections that failed after the handshake.
    pub broken: u64,
}

macro_rules! failures {
    ($($(#[$doc:meta])* $failure:ident, $name:literal, $explanation:literal;)*) => {
        /// Why a handshake fails.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum TlsFailure {
            $($(#[$doc])* $failure,)*
        }

        impl TlsFailure {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$(Self::$failure),*].len()] = [$(Self::$failure),*];

            /// The name in metrics. Names of alerts are those of RFC 8446 section 6.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$failure => $name,)*
                }
            }

            /// What the operator is told.
            pub(super) fn told(self) -> HandshakeFailure {
                let explanation = match self {
                    $(Self::$failure => $explanation,)*
                };
                HandshakeFailure { name: self.name(), explanation }
            }
        }
    };
}

failures! {
    /// The client does not know the issuer of the certificate.
    UnknownCa, "client_unknown_ca",
        "the client does not know who has issued the certificate; the file of the certificate \
         needs those of its issuers too, except for the root";
    /// The client does not accept the certificate for another reason.
    BadCertificate, "client_bad_certificate",
        "the client does not accept the certificate; look whether it has the name that the client \
         asks for";
    /// The client does not accept the certificate because of its dates.
    CertificateExpired, "client_certificate_expired",
        "the certificate is not valid now, as the client sees it; renew it, or correct the clock \
         of the client";
    /// The client has sent another alert.
    ClientAlert, "client_alert", "the client has ended it with an alert";
    /// Client and server have no version in common.
    ProtocolVersion, "protocol_version",
        "the client offers no version that is allowed here, which are TLS 1.2, unless it is \
         excluded, and TLS 1.3";
    /// They have no cipher suite, group or signature scheme in common.
    HandshakeFailure, "handshake_failure",
        "the client offers no cipher suite, group or signature that this server has; it is old, \
         or a scanner";
    /// They have no application protocol in common.
    NoApplicationProtocol, "no_application_protocol",
        "the client speaks no version of HTTP that this server speaks";
    /// The client has no certificate, but must have one.
    CertificateRequired, "certificate_required",
        "the client has no certificate, but --tls-client-ca demands one";
    /// The certificate of the client is not valid, or came with too many others.
    ClientCertificate, "client_certificate",
        "the certificate of the client is not valid, not issued by one of --tls-client-ca, or has \
         more than three others with it";
    /// Something that has arrived is not TLS, or a message is too long.
    Malformed, "malformed", "what the client has sent is not TLS, or far longer than it may be";
    /// Something that has arrived cannot be decrypted.
    Decrypt, "decrypt_error", "what the client has sent cannot be decrypted";
    /// Anything else.
    Other, "other", "the library of TLS gives no further reason";
}

impl TlsFailure {
    /// The kind of an error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        use rustls::PeerIncompatible as Incompatible;
        match error {
            Error::AlertReceived(alert) => match alert {
                AlertDescription::UnknownCA => Self::UnknownCa,
                AlertDescription::CertificateExpired => Self::CertificateExpired,
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate => Self::BadCertificate,
                _ => Self::ClientAlert,
            },
            Error::PeerIncompatible(
                Incompatible::SupportedVersionsExtensionRequired
                | Incompatible::Tls12NotOffered
                | Incompatible::Tls12NotOfferedOrEnabled
                | Incompatible::Tls13RequiredForQuic
                | Incompatible::ServerDoesNotSupportTls12Or13,
            ) => Self::ProtocolVersion,
            Error::PeerIncompatible(_) => Self::HandshakeFailure,
            Error::NoApplicationProtocol => Self::NoApplicationProtocol,
            Error::NoCertificatesPresented => Self::CertificateRequired,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::ClientCertificate
            }
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord => Self::Malformed,
            Error::DecryptError => Self::Decrypt,
            _ => Self::Other,
        }
    }
}

impl TlsStats {
    pub(super) fn count_handshake(&self, is_resumed: bool) {
        if is_resumed { &self.resumed } else { &self.full }.add(1);
    }

    pub(super) fn count_timed_out(&self) {
        self.timed_out.add(1);
    }

    pub(super) fn count_abandoned(&self) {
        self.abandoned.add(1);
    }

    pub(super) fn count_not_tls(&self) {
        self.not_tls.add(1);
    }

    pub(super) fn count_failed(&self, error: &Error, is_open: bool) {
        match is_open {
            true => self.broken.add(1),
            false => self.failed[TlsFailure::of(error) as usize].add(1),
        }
    }

    /// The sum over these workers.
    #[must_use]
    pub fn sum(workers: &[Arc<Self>]) -> TlsCounts {
        let sum = |of: &dyn Fn(&Self) -> &Counter| workers.iter().map(|one| of(one).get()).sum();
        TlsCounts {
            full: sum(&|one| &one.full),
            resumed: sum(&|one| &one.resumed),
            timed_out: sum(&|one| &one.timed_out),
            not_tls: sum(&|one| &one.not_tls),
            abandoned: sum(&|one| &one.abandoned),
            failed: std::array::from_fn(|kind| sum(&|one| &one.failed[kind])),
            broken: sum(&|one| &one.broken),
        }
    }
}
