//! Requests that wait for a watcher. Their number is bounded, and each waits once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{REQUESTS_MAX, SiteId};
use crate::driver::File;

/// A request to a watcher.
#[derive(Debug)]
pub(crate) enum WatchRequest {
    /// Watch a directory, and those above it.
    Watch {
        /// The site of the directory.
        site: SiteId,
        /// The directory that the path is relative to.
        root: Arc<File>,
        /// The path.
        path: Box<[u8]>,
    },
    /// End all watches of a site.
    Forget {
        /// The site.
        site: SiteId,
    },
}

/// A queue of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// At most [`REQUESTS_MAX`] requests to watch, and one to forget for each site.
    waiting: VecDeque<WatchRequest>,
    watches: usize,
}

impl Requests {
    /// Adds a request to watch; returns whether there is room for it.
    pub(crate) fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool {
        let is_same = |request: &WatchRequest| match request {
            WatchRequest::Watch { site: other, path: same, .. } => {
                *other == site && **same == *path
            }
            WatchRequest::Forget { .. } => false,
        };
        if self.waiting.iter().any(is_same) {
            return true;
        }
        if self.watches >= REQUESTS_MAX {
            return false;
        }
        self.watches += 1;
        self.waiting.push_back(WatchRequest::Watch {
            site,
            root: Arc::clone(root),
            path: path.into(),
        });
        true
    }

    /// Adds a request to forget, which replaces all requests that wait for this site.
    pub(crate) fn forget(&mut self, site: SiteId) {
        self.waiting.retain(|request| match request {
            WatchRequest::Watch { site: other, .. } | WatchRequest::Forget { site: other } => {
                *other != site
            }
        });
        let is_watch = |request: &&WatchRequest| matches!(request, WatchRequest::Watch { .. });
        self.watches = self.waiting.iter().filter(is_watch).count();
        self.waiting.push_back(WatchRequest::Forget { site });
    }

    /// Takes the next request.
    pub(crate) fn next(&mut self) -> Option<WatchRequest> {
        let request = self.waiting.pop_front();
        self.watches -= usize::from(matches!(request, Some(WatchRequest::Watch { .. })));
        request
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Files;

    /// The queue as text; it is empty afterwards.
    fn drain(requests: &mut Requests) -> Vec<String> {
        let text = |request| match request {
            WatchRequest::Watch { site, path, .. } => format!("{}:{}", site.0, path.escape_ascii()),
            WatchRequest::Forget { site } => format!("{}!", site.0),
        };
        std::iter::from_fn(|| requests.next()).map(text).collect()
    }

    #[test]
    fn requests_are_bounded_and_none_waits_twice() {
        let root = Files::default().root();
        let mut requests = Requests::default();
        for number in 0..REQUESTS_MAX {
            assert!(requests.watch(SiteId(1), &root, number.to_string().as_bytes()));
        }
        assert!(!requests.watch(SiteId(1), &root, b"more"));
        assert!(!requests.watch(SiteId(2), &root, b"7"), "another site has other requests");
        assert!(requests.watch(SiteId(1), &root, b"7"), "it waits already");
        assert_eq!(drain(&mut requests).len(), REQUESTS_MAX);
        assert!(requests.is_empty() && requests.watch(SiteId(1), &root, b"more"));
    }

    #[test]
    fn forgetting_a_site_drops_its_earlier_requests() {
        let root = Files::default().root();
        let mut requests = Requests::default();
        requests.watch(SiteId(1), &root, b"old");
        requests.watch(SiteId(2), &root, b"other");
        requests.forget(SiteId(1));
        requests.watch(SiteId(1), &root, b"new");
        for _ in 0..1000 {
            requests.forget(SiteId(1));
        }
        requests.watch(SiteId(1), &root, b"newest");
        assert_eq!(drain(&mut requests), ["2:other", "1!", "1:newest"]);
        for number in 0..10 * REQUESTS_MAX {
            assert!(requests.watch(SiteId(3), &root, number.to_string().as_bytes()));
            requests.forget(SiteId(3));
        }
        assert_eq!(drain(&mut requests), ["3!"]);
    }
}
