//! `ringd` serves static files over HTTP on modern Linux: as a command, and as this library.
//!
//! ```no_run
//! use ringd::driver::{DriverSelection, File, Links};
//! use ringd::http::SiteSettings;
//! use ringd::serve;
//! use ringd::server::ServerSettings;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = File::open_root("html".as_ref(), Links::Beneath)?;
//! let site = SiteSettings::new(root.into());
//! let driver = DriverSelection::make(None)?;
//! let server = serve::http(&ServerSettings::default(), site, driver)?.server;
//! println!("serving at {:?}", server.addresses());
//! server.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`serve`] has more of this: a free port, a client, an orderly end.
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
//! A [`driver`] performs ops and returns completions; nothing above it knows which one runs. A
//! [`session`] is one conversation, as a function of its input: [`echo`] is the smallest one,
//! [`http`] another. What the sessions of a thread share, such as a cache, is a [`service`]. Both
//! [`ask`] for files and jobs. The [`server`] joins them to a driver: connections, workers,
//! deadlines.
//!
//! `docs/architecture.md` follows a request through the code; `docs/drivers.md` compares the
//! drivers.
//!
//! # Features
//!
//! | feature | holds |
//! | --- | --- |
//! | `cli` (default) | the `ringd` command, with what it parses, prints and explains |
//! | `bench` (default) | `ringd bench` |
//! | `simulation` | the simulated driver, oracles and entries for fuzzers: for tests only |

pub mod ask;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod connect;
#[cfg(feature = "cli")]
mod descriptors;
#[cfg(feature = "cli")]
pub mod doctor;
pub mod driver;
pub mod echo;
pub mod http;
pub mod serve;
pub mod server;
pub mod service;
pub mod session;
