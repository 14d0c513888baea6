//! Messages from other threads to the sites of a worker.

use std::sync::Arc;

use super::super::site_table::SiteTable;
use crate::driver::watch::ChangeReport;

/// A message to the sites of a worker.
#[derive(Debug)]
pub enum SitesMessage {
    /// Reports of the watcher.
    Changes(Vec<ChangeReport>),
    /// A table that replaces the present one.
    Table(Arc<SiteTable>),
}

impl SitesMessage {
    /// Passes reports of a watcher on as messages.
    pub fn reports(
        mut post: impl FnMut(Self) -> Result<(), Self> + Send + 'static,
    ) -> impl FnMut(Vec<ChangeReport>) -> Result<(), Vec<ChangeReport>> + Send {
        move |reports| {
            post(Self::Changes(reports)).map_err(|message| match message {
                Self::Changes(reports) => reports,
                Self::Table(_) => unreachable!("reports were posted"),
            })
        }
    }
}
