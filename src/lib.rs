//! `ringd` serves static files over HTTP on Linux. It is a command and a library.
//!
//! ```no_run
//! use ringd::driver::{DriverSelection, File, Links};
//! use ringd::http::{HttpSettings, SiteSettings};
//! use ringd::serve;
//! use ringd::server::ServerSettings;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = File::open_root("html".as_ref(), Links::Beneath)?;
//! let sites = HttpSettings::new(SiteSettings::new(root.into()));
//! let driver = DriverSelection::make(None)?;
//! let server = serve::http(&ServerSettings::default(), sites, driver)?.server;
//! println!("serving at {:?}", server.addresses());
//! server.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`serve`] has a longer example, with a port that the kernel picks, a client, and a drain.
//!
//! # Structure
//!
//! ```text
//!             bytes, answers, time                    ops: buffers, files
//!  Session  <----------------------   Connection   ----------------------->  Driver
//!  sans-IO  ---------------------->   (one slot)   <-----------------------  uring | ready<P>
//!             steps, questions                        completions              threads | sim
//! ```
//!
//! A [`driver`] performs ops and returns completions; the code above it does not know which driver
//! runs. A [`session`] is one conversation, written as a function of its input: [`echo`] is the
//! smallest one, [`http`] serves files. A [`service`] is what the sessions of a worker share, such
//! as a cache. Sessions and services [`ask`] for files and jobs. The [`server`] joins them to a
//! driver: it has the workers, the connections and their deadlines.
//!
//! `docs/architecture.md` follows a request through the code; `docs/drivers.md` compares the
//! drivers.
//!
//! # Features
//!
//! | feature | content |
//! | --- | --- |
//! | `cli` (default) | the commands of `ringd`, except `bench` |
//! | `bench` (default) | `ringd bench` |
//! | `tls` (default, part of `cli`) | HTTPS |
//! | `simulation` | the simulated driver, oracles and entry points for fuzzers; for tests only |

#[cfg(feature = "cli")]
mod admin;
pub mod ask;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod connect;
mod denial;
#[cfg(feature = "cli")]
mod descriptors;
#[cfg(feature = "cli")]
pub mod doctor;
pub mod driver;
pub mod echo;
pub mod events;
pub mod http;
mod line_log;
pub mod log_output;
pub mod metrics;
pub mod secured;
pub mod serve;
pub mod server;
pub mod service;
pub mod session;
mod signal_mask;
#[cfg(feature = "tls")]
pub mod tls;
