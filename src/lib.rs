//! `ringd` serves static files over HTTP on Linux. It is a command and a library.
//!
//! ```no_run
//! use ringd::http::OwnReply;
//! use ringd::{Settings, StopSignals};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let signals = StopSignals::catch()?;
//! let server = Settings::new("html")
//!     .listen("127.0.0.1:8080")
//!     .answer("/health", |_| OwnReply::text("ok\n"))
//!     .start()?
//!     .server;
//! signals.stop(server.stopper())?;
//! println!("serving at {:?}", server.addresses());
//! server.join()?; // until Ctrl-C
//! # Ok(())
//! # }
//! ```
//!
//! [`Settings`] has what most programs need. [`serve`] takes all settings, and has an example with
//! a client and a drain.
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
//! | `cli` (default) | the commands of `ringd`, except `bench` and `precompress` |
//! | `bench` (default) | `ringd bench` |
//! | `compress` (default) | compression on the fly |
//! | `precompress` (default) | `ringd precompress` |
//! | `passwords` (default, part of `cli`) | users of sites, and their passwords |
//! | `tls` (default, part of `cli`) | HTTPS |
//! | `sandbox` (default) | `--sandbox` |
//! | `simulation` | the simulated driver, oracles and entry points for fuzzers; for tests only |

#[cfg(feature = "cli")]
mod admin;
pub mod ask;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clients;
#[cfg(feature = "cli")]
mod connect;
mod denial;
#[cfg(feature = "cli")]
mod descriptors;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
mod drawing;
pub mod driver;
pub mod echo;
mod embed;
pub mod events;
pub mod http;
mod late_thread;
pub mod limits;
mod line_log;
pub mod log_output;
pub mod metrics;
pub mod passwords;
#[cfg(feature = "precompress")]
pub mod precompress;
#[cfg(feature = "cli")]
pub mod sandbox;
pub mod secured;
pub mod serve;
pub mod server;
pub mod service;
pub mod session;
mod signal_mask;
#[cfg(feature = "tls")]
pub mod tls;

pub use embed::{EmbedError, Settings, StopSignals};
