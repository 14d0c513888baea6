//! Which file answers a request, and how.

pub mod answer;
pub(in crate::http) mod content;
pub mod invalidation;
pub mod listing;
pub(in crate::http) mod listing_job;
pub(in crate::http) mod lookup;
pub(in crate::http) mod page_loader;
pub(in crate::http) mod resource;
pub(in crate::http) mod response;
pub mod rules;
pub(in crate::http) mod sites;
pub mod target;

pub use content::Content;
pub use sites::{RootPath, Settings, Site};
