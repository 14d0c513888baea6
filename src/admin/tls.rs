//! What the administration reads of TLS: counters of handshakes, and facts of certificates, which
//! the command line provides.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

#[cfg(feature = "tls")]
use crate::serve::TlsMonitor;
#[cfg(feature = "tls")]
use crate::tls::{TlsCounts, TlsFailure};

/// A certificate that expires within this time needs attention, or within a third of its life if
/// that is shorter: certificates of six days are renewed when two are left.
const EXPIRES_SOON: Duration = Duration::from_secs(10 * 24 * 60 * 60);
const LIFE_PARTS: u32 = 3;

/// The most certificates with a series of their own: those that expire first.
pub(super) const CERTIFICATES_MAX: usize = 200;

/// What is shown of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CertificateFacts {
    /// The names that it is valid for. The first one identifies it.
    pub(crate) names: Vec<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// The SHA-256 fingerprint.
    pub(crate) fingerprint: String,
    /// Its file; `None` if it was made in memory.
    pub(crate) path: Option<PathBuf>,
}

/// The certificates that apply. Its clones share the list.
#[derive(Clone, Default, Debug)]
pub(crate) struct CertificateList(Arc<Mutex<Vec<CertificateFacts>>>);

/// The TLS of a server.
#[derive(Debug)]
pub(crate) struct TlsSource {
    #[cfg(feature = "tls")]
    monitor: TlsMonitor,
    certificates: CertificateList,
}

/// What has become of handshakes and of the connections after them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct HandshakeCounts {
    pub(super) full: u64,
    pub(super) resumed: u64,
    /// By reason; all reasons.
    pub(super) failures: Vec<(&'static str, u64)>,
    pub(super) broken: u64,
}

impl CertificateFacts {
    /// The name that identifies it.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// How much time is left; `None` if it has expired.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }

    /// Whether it expires soon, or has expired.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.left(now).is_none_or(|left| left < EXPIRES_SOON.min(life / LIFE_PARTS))
    }
}

impl CertificateList {
    /// These certificates apply from now on.
    pub(crate) fn set(&self, certificates: Vec<CertificateFacts>) {
        *self.lock() = certificates;
    }

    /// The certificates, the one that expires first before the others.
    pub(super) fn by_expiry(&self) -> Vec<CertificateFacts> {
        let mut all = self.lock().clone();
        all.sort_by_key(|certificate| certificate.not_after);
        all
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<CertificateFacts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TlsSource {
    /// The TLS of a server with these certificates.
    #[cfg(feature = "tls")]
    pub(crate) fn new(monitor: TlsMonitor, certificates: CertificateList) -> Self {
        Self { monitor, certificates }
    }

    /// Whether the server has certificates; a reload may add the first one.
    pub(super) fn is_on(&self) -> bool {
        !self.certificates.lock().is_empty()
    }

    /// The certificates, the one that expires first before the others.
    pub(super) fn certificates(&self) -> Vec<CertificateFacts> {
        self.certificates.by_expiry()
    }

    /// One certificate of each name, the one that expires first: a site may have several, for
    /// several kinds of keys.
    pub(super) fn certificates_by_name(&self) -> Vec<CertificateFacts> {
        let mut seen = std::collections::HashSet::new();
        let mut all = self.certificates();
        all.retain(|certificate| seen.insert(certificate.name().to_owned()));
        all.truncate(CERTIFICATES_MAX);
        all
    }

    /// What has been counted.
    pub(super) fn counts(&self) -> HandshakeCounts {
        #[cfg(feature = "tls")]
        return self.monitor.counts().into();
        #[cfg(not(feature = "tls"))]
        HandshakeCounts::default()
    }
}

#[cfg(feature = "tls")]
impl From<TlsCounts> for HandshakeCounts {
    fn from(counts: TlsCounts) -> Self {
        let TlsCounts { full, resumed, timed_out, not_tls, abandoned, failed, broken } = counts;
        let failed = TlsFailure::ALL.into_iter().zip(failed);
        let failed = failed.map(|(failure, count)| (failure.name(), count));
        let failures = failed
            .chain([("timed_out", timed_out), ("not_tls", not_tls), ("abandoned", abandoned)])
            .collect();
        Self { full, resumed, failures, broken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A certificate for so many days, of which so many are left at the time.
    fn facts(name: &str, now: SystemTime, life: u32, left: u32) -> CertificateFacts {
        let not_after = now + DAY * left;
        CertificateFacts {
            names: vec![name.to_owned()],
            not_before: not_after - DAY * life,
            not_after,
            fingerprint: String::new(),
            path: None,
        }
    }

    #[test]
    fn a_certificate_is_due_when_its_renewal_has_failed() {
        let now = SystemTime::now();
        for (life, left, is_due) in
            [(90, 30, false), (90, 11, false), (90, 9, true), (6, 3, false), (6, 1, true)]
        {
            assert_eq!(facts("a", now, life, left).is_due(now), is_due, "{left} of {life}");
        }
        assert!(facts("a", now, 90, 0).is_due(now + DAY), "it has expired");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_name_has_one_series_by_its_first_expiry() {
        let now = SystemTime::now();
        let list = CertificateList::default();
        let source = TlsSource::new(TlsMonitor::default(), list.clone());
        list.set(vec![facts("a", now, 90, 60), facts("b", now, 90, 50), facts("a", now, 90, 40)]);
        let found = source.certificates_by_name();
        let left: Vec<_> = found.iter().map(|it| (it.name(), it.left(now).unwrap())).collect();
        assert_eq!(left, [("a", DAY * 40), ("b", DAY * 50)]);
        let many = |number: usize| facts(&number.to_string(), now, 90, 60);
        list.set((0..2 * CERTIFICATES_MAX).map(many).collect());
        assert_eq!(source.certificates_by_name().len(), CERTIFICATES_MAX);
    }
}
