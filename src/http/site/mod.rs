//! Decides which file a request gets, and makes the response.
//!
//! | file | holds |
//! | --- | --- |
//! | `sites.rs` | what the sessions of a worker share: cache, lookups, watches |
//! | `decide.rs` | who answers a request, and with what |
//! | `answer.rs` | decides the response of a site to a request |
//! | `response.rs`, `templates.rs` | responses; those whose body the server generates |
//! | `target.rs` | maps request targets to paths |
//! | `lookup.rs`, `page_loader.rs` | maps a name to a resource; loads the files of a page |
//! | `told.rs` | tells the operator why a file is not served |
//! | `lookups.rs` | the table of lookups: one for each name, and the sessions that wait for it |
//! | `resource.rs` | resources with prepared fields |
//! | `compressed_page.rs`, `demand.rs` | pages that are compressed on the fly; when to do it |
//! | `cache.rs`, `cache_stats.rs` | the cache of resources; its counters |
//! | `cache_key.rs` | the keys of names, and which of them a change invalidates |
//! | `site_table.rs`, `hosts.rs` | the sites, and which one answers a request |
//! | `redirect.rs` | redirects to HTTPS |
//! | `own_answer.rs` | answers that the program that embeds the server gives |
//! | `origin.rs` | where a response is from |
//! | `tags.rs` | what the entity tags of files are made of |
//! | `rewrites/` | rules for paths: redirects and rewrites of a site |
//! | `root.rs` | the directory that is served |
//! | `site_files/` | the files of hosting services: `_redirects` and `_headers` |
//! | `rules.rs`, `file_globs.rs`, `content.rs`, `settings.rs` | settings of a site |
//! | `http_settings.rs` | the sites, and the settings of the cache that they share |
//! | `wait_ticket.rs` | what a request waits for |
//! | `access/` | who may use a site, and how much of it |
//! | `listing/`, `listing_job.rs` | directory listings; the job that makes one |
//! | `listing_line.rs` | the line where listings wait, in turn for each client |

pub mod access;
pub(in crate::http) mod answer;
mod cache;
mod cache_key;
mod cache_stats;
mod compressed_page;
mod content;
pub(in crate::http) mod decide;
mod demand;
mod file_globs;
pub mod hosts;
mod http_settings;
pub mod listing;
mod listing_job;
mod listing_line;
mod lookup;
mod lookups;
pub(in crate::http) mod origin;
mod own_answer;
mod page_loader;
mod redirect;
mod resource;
pub mod response;
pub mod rewrites;
mod root;
pub mod rules;
mod settings;
pub mod site_files;
mod site_table;
mod sites;
mod tags;
pub mod target;
pub(in crate::http) mod templates;
mod told;
mod wait_ticket;

pub use cache_stats::{CacheStats, PublishedCacheStats};
pub use content::{Content, FallbackUse, SITE_FILES};
pub use file_globs::FileGlobs;
pub use http_settings::HttpSettings;
pub use lookup::OPENS_MAX;
pub use lookups::Ticket;
pub use own_answer::{OwnAnswers, OwnReply, OwnRequest};
pub use settings::{FallbackRoot, RootDirectory, RootPath, SiteSettings};
pub(in crate::http) use site_table::Choice;
pub use site_table::{
    HOSTS_MAX, ListenerRole, ListenerRoles, SITES_MAX, SiteTable, SiteTableError,
};
pub use sites::{Resolved, Sites, SitesMessage};
pub use tags::TagSource;
