//! One site of a worker: its settings, its root, and the lookups that wait for the root.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::lookups::{Lookups, Ticket};
use super::super::response::Response;
use super::super::root::Root;
use super::super::settings::SiteSettings;
use super::numbers::Numbers;
use crate::driver::Now;
use crate::driver::slot_map::Handle;
use crate::driver::watch::SiteId;
use crate::http::semantics::fields::Fields;

/// The field that asks browsers to use HTTPS only.
const HSTS: &str = "Strict-Transport-Security";

/// The fields of a site's responses over TLS. All statuses have them: browsers take the field from
/// any response (RFC 6797 section 8.1). 304 has it too: it is about the host, so the rule for
/// fields of the representation (RFC 9110 section 15.4.5) does not apply, and the time of browsers
/// that only revalidate would run out without it.
fn secure_fields(settings: &SiteSettings) -> Fields {
    let mut fields = Fields::new();
    if let Some(time) = settings.hsts {
        fields.push(HSTS, format_args!("max-age={}", time.as_secs()));
    }
    fields
}

/// A site; see the module documentation.
#[derive(Debug)]
pub(in crate::http::site) struct Site {
    /// The number with which the keys of its results begin. A site with other settings has another
    /// number, so it never gets results of this one.
    pub(in crate::http::site) id: SiteId,
    #[expect(
        clippy::redundant_allocation,
        reason = "clones of the outer pointer cost no atomic operation on memory of all workers"
    )]
    pub(in crate::http::site) settings: Rc<Arc<SiteSettings>>,
    /// The fields of its responses over TLS.
    secure: Fields,
    /// Its number in the metrics.
    pub(super) number_in_metrics: u16,
    pub(super) root: Root,
    /// Lookups that begin when the reply to the question for the root arrives.
    pub(super) wait_for_root: Vec<Handle<Ticket>>,
    /// Lookups for which that reply will be too old, so the root has to be asked for again.
    pub(super) need_newer_root: Vec<Handle<Ticket>>,
    /// The watcher's number for the present root. Reports with other numbers are about earlier
    /// roots.
    pub(super) watch_id: SiteId,
    /// Whether the watcher may have watches with this number: a watch was requested, and its end
    /// was not. Reports may cross requests, so an empty `watched` does not say that there are none.
    pub(super) may_be_watched: bool,
    /// Directories for which a watch was requested, and whose watches have not ended since.
    pub(super) watched: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
}

/// A site of an earlier table.
#[derive(Debug)]
pub(super) struct RetiredSite {
    pub(super) id: SiteId,
    /// Whether the cache may have entries of the site.
    pub(super) is_cached: bool,
}

impl Site {
    pub(super) fn new(
        settings: &Arc<SiteSettings>,
        revalidate_after: Duration,
        now: Now,
        numbers: &mut Numbers,
        place: usize,
    ) -> Self {
        let watch_id = numbers.add(place);
        Self {
            id: numbers.add(place),
            settings: Rc::new(Arc::clone(settings)),
            secure: secure_fields(settings),
            number_in_metrics: 0,
            root: Root::new(settings, revalidate_after, now.instant),
            wait_for_root: Vec::new(),
            need_newer_root: Vec::new(),
            watch_id,
            may_be_watched: false,
            watched: HashSet::default(),
        }
    }

    /// Takes new settings for which the present results are right, and lets go of the old ones.
    pub(super) fn renew(&mut self, settings: &Arc<SiteSettings>) {
        self.root.renew(settings);
        self.settings = Rc::new(Arc::clone(settings));
        self.secure = secure_fields(settings);
    }

    /// The fields that are added to a response over TLS. A rule of the site may say the same with
    /// other directives. It goes before, because browsers read only the first such field (RFC 6797
    /// section 8.1).
    pub(super) fn secure_fields(&self, response: &Response) -> &Fields {
        const NONE: &Fields = &Fields::new();
        let has_own = || response.fields.lines().iter().any(|own| own.get(HSTS).is_some());
        if self.secure.is_empty() || has_own() { NONE } else { &self.secure }
    }

    /// The directory that is served now.
    #[cfg(test)]
    pub(in crate::http::site) fn root(&self) -> &Arc<crate::driver::File> {
        self.root.get()
    }

    /// Removes lookups that have ended from the lists of those that wait for the root.
    pub(super) fn forget_ended(&mut self, lookups: &mut Lookups) {
        for waiting in [&mut self.wait_for_root, &mut self.need_newer_root] {
            waiting.retain(|handle| lookups.get_mut(*handle).is_some());
        }
    }
}
