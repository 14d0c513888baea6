//! The checks of HTTPS: what the processor and the library of TLS offer.

use rustls::{ProtocolVersion, SupportedCipherSuite};

use super::report::{Area, Check, CheckStatus};
use crate::tls::provider;

/// What matters to the speed and the reach of HTTPS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TlsFacts {
    /// Whether the processor has instructions for AES; `None` if that is unknown for its kind.
    pub(super) has_aes: Option<bool>,
    /// Versions of TLS, the newest first.
    pub(super) versions: Vec<&'static str>,
    /// Groups of the key exchange, the preferred one first.
    pub(super) groups: Vec<String>,
}

impl TlsFacts {
    pub(super) fn gather() -> Self {
        let suites = &provider().cipher_suites;
        let offers = |version: ProtocolVersion| {
            let is_of = |suite: &SupportedCipherSuite| suite.version().version == version;
            suites.iter().any(is_of)
        };
        let versions = [(ProtocolVersion::TLSv1_3, "1.3"), (ProtocolVersion::TLSv1_2, "1.2")];
        let offered = versions.into_iter().filter(|(version, _)| offers(*version));
        let groups = provider().kx_groups.iter().map(|group| format!("{:?}", group.name()));
        Self {
            has_aes: has_aes(),
            versions: offered.map(|(_, name)| name).collect(),
            groups: groups.collect(),
        }
    }
}

/// Whether the processor has instructions for AES.
fn has_aes() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    return Some(std::arch::is_x86_feature_detected!("aes"));
    #[cfg(target_arch = "aarch64")]
    return Some(std::arch::is_aarch64_feature_detected!("aes"));
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// All checks of HTTPS.
pub(super) fn checks(facts: &TlsFacts) -> Vec<Check> {
    let check =
        |id: &str, title, found: String| Check::ok(Area::Tls, format!("tls.{id}"), title, found);
    let aes = |found: &str| check("aes", "AES instructions", found.to_owned());
    vec![
        check("versions", "versions", facts.versions.join(", ")),
        check("groups", "key exchange", facts.groups.join(", ")),
        match facts.has_aes {
            Some(true) => aes("yes"),
            Some(false) => {
                let cause = "HTTPS takes several times as much CPU time for each byte that is \
                             sent, unless the client prefers ChaCha20";
                aes("none").but(CheckStatus::Note, cause.into(), Vec::new())
            }
            None => {
                let cause = "it is unknown for this kind of processor";
                aes("unknown").but(CheckStatus::Note, cause.into(), Vec::new())
            }
        },
    ]
}
