//! Decides which file a request gets, and makes the response.
//!
//! | file | holds |
//! | --- | --- |
//! | `sites.rs` | what the sessions of a worker share: cache, lookups, watches |
//! | `answer.rs` | decides the response to a request |
//! | `response.rs`, `templates.rs` | responses; those whose body the server generates |
//! | `target.rs` | maps request targets to paths |
//! | `lookup.rs`, `page_loader.rs` | maps a name to a resource; loads the files of a page |
//! | `told.rs` | tells the operator why a file is not served |
//! | `lookups.rs` | the table of lookups: one for each name, and the sessions that wait for it |
//! | `resource.rs` | resources with prepared fields |
//! | `cache.rs`, `cache_stats.rs` | the cache of resources; its counters |
//! | `cache_key.rs` | the keys of names, and which of them a change invalidates |
//! | `site_table.rs`, `hosts.rs` | the sites, and which one answers a request |
//! | `redirect.rs` | redirects to HTTPS |
//! | `root.rs` | the directory that is served |
//! | `rules.rs`, `content.rs`, `settings.rs` | settings of a site |
//! | `http_settings.rs` | the sites, and the settings of the cache that they share |
//! | `listing/`, `listing_job.rs` | directory listings; the job that makes one |
//! | `listing_line.rs` | the line where listings wait, in turn for each client |

pub(in crate::http) mod answer;
mod cache;
mod cache_key;
mod cache_stats;
mod content;
pub mod hosts;
mod http_settings;
pub mod listing;
mod listing_job;
mod listing_line;
mod lookup;
mod lookups;
mod page_loader;
mod redirect;
mod resource;
pub mod response;
mod root;
pub mod rules;
mod settings;
mod site_table;
mod sites;
pub mod target;
pub(in crate::http) mod templates;
mod told;

pub use cache_stats::{CacheStats, PublishedCacheStats};
pub use content::{Content, FallbackUse};
pub use http_settings::HttpSettings;
pub use lookup::OPENS_MAX;
pub use lookups::Ticket;
pub use settings::{RootDirectory, RootPath, SiteSettings};
pub(in crate::http) use site_table::Choice;
pub use site_table::{
    HOSTS_MAX, ListenerRole, ListenerRoles, SITES_MAX, SiteTable, SiteTableError,
};
pub use sites::{Resolved, Sites, SitesMessage};
