//! Messages from other threads to the sites of a worker.

use std::sync::Arc;
use std::time::Duration;

use super::super::site_table::SiteTable;
use crate::driver::watch::ChangeReport;
use crate::http::compress::EvictedBodies;

/// A message to the sites of a worker.
#[derive(Debug)]
pub enum SitesMessage {
    /// Reports of the watcher.
    Changes(Vec<ChangeReport>),
    /// A table that replaces the present one, and how long a stream may make no progress.
    Table(Arc<SiteTable>, Duration),
    /// Compressed forms of files that were evicted.
    Evicted(EvictedBodies),
}

impl SitesMessage {
    /// Passes reports of a watcher on as messages.
    pub fn reports(
        mut post: impl FnMut(Self) -> Result<(), Self> + Send + 'static,
    ) -> impl FnMut(Vec<ChangeReport>) -> Result<(), Vec<ChangeReport>> + Send {
        move |reports| {
            post(Self::Changes(reports)).map_err(|message| match message {
                Self::Changes(reports) => reports,
                Self::Table(..) | Self::Evicted(_) => unreachable!("reports were posted"),
            })
        }
    }

    /// Passes evictions of a compressor on as messages.
    pub fn evictions(
        mut post: impl FnMut(Self) -> Result<(), Self> + Send + 'static,
    ) -> impl FnMut(EvictedBodies) -> Result<(), EvictedBodies> + Send {
        move |evicted| {
            post(Self::Evicted(evicted)).map_err(|message| match message {
                Self::Evicted(evicted) => evicted,
                Self::Table(..) | Self::Changes(_) => unreachable!("evictions were posted"),
            })
        }
    }
}
