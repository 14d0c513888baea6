//! Which file answers a request, and how.
//!
//! | file | holds |
//! | --- | --- |
//! | `sites.rs` | what the sessions of a worker share; finding out what a name is |
//! | `answer.rs` | one request and its response: the place where an answer is decided |
//! | `response.rs`, `templates.rs` | responses; those that the server makes itself |
//! | `target.rs` | from a request target to a path |
//! | `lookup.rs`, `page_loader.rs` | from a name to a resource; the files of a page |
//! | `lookups.rs` | one lookup for each name, and who waits for it |
//! | `resource.rs` | what a name is, with its fields made |
//! | `cache.rs`, `cache_stats.rs` | what is known of names; figures |
//! | `cache_key.rs` | the keys of names, and which a change invalidates |
//! | `root.rs` | the directory that is served |
//! | `rules.rs`, `content.rs`, `settings.rs` | the choices of the site's owner |
//! | `listing/`, `listing_job.rs` | what is in a directory, as a page; the job that makes it |

pub(in crate::http) mod answer;
mod cache;
mod cache_key;
mod cache_stats;
mod content;
pub mod listing;
mod listing_job;
mod lookup;
mod lookups;
mod page_loader;
mod resource;
pub mod response;
mod root;
pub mod rules;
mod settings;
mod sites;
pub mod target;
pub(in crate::http) mod templates;

pub use cache_stats::{CacheStats, PublishedCacheStats};
pub use content::{Content, FallbackUse};
pub use lookup::OPENS_MAX;
pub use lookups::Ticket;
pub use settings::{RootPath, SiteSettings};
pub use sites::{Resolved, Sites};
