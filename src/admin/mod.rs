//! The administration of a server: sockets beside those of the clients, where operators and
//! programs ask for its state. It has threads of its own, and reads only what workers have
//! published, so it answers although workers are busy, and costs them nothing.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | the status: a page for browsers, plain text for other clients |
//! | `GET /status.json` | the same for programs |
//! | `GET /metrics` | metrics for Prometheus, in the format that `Accept` asks for |
//! | `GET /healthz` | 200 if all workers respond within a second, else 503 and which do not |
//! | `GET /readyz` | 200; 503 from the signal to stop |
//! | `POST /reload` | 200 when all workers serve the new configuration, or 409, and a text |
//! | `POST /take-over` | 200, and the listening sockets of the server: `cli/take_over/` |
//!
//! A reload and a take-over are possible only by a Unix socket, whose rights say who may do this.
//!
//! | file | content |
//! | --- | --- |
//! | `sockets.rs`, `gate.rs` | the listening sockets; who accepts from them in a take-over |
//! | `listener.rs`, `request.rs` | the threads of clients; answers |
//! | `source.rs`, `process.rs` | what can be read of a server, and of its process |
//! | `tls.rs` | what can be read of its TLS |
//! | `metrics.rs` | metrics |
//! | `snapshot.rs`, `report.rs` | the status as numbers, and as figures for people |
//! | `page.rs`, `text.rs` | these figures in HTML, and as text |

mod gate;
mod listener;
mod metrics;
mod page;
mod process;
mod report;
mod request;
mod snapshot;
mod sockets;
mod source;
mod text;
mod tls;

use std::fmt;
use std::path::PathBuf;

use snapshot::LastLook;
use socket2::Socket;

pub(crate) use listener::CLIENTS_MAX;
pub(crate) use request::{Answer, CONFIG, HEALTHY, TAKE_OVER, UNHEALTHY_ENDS};
pub(crate) use sockets::{AdminSockets, PLACES_MAX};
pub(crate) use source::{ConfigState, LastReload, Source};
pub(crate) use tls::{CertificateFacts, CertificateList, TlsSource};

/// Reloads the configuration, and waits for the result. With a file, only a server of that file
/// reloads.
pub(crate) type Reload = Box<dyn Fn(Option<PathBuf>) -> Result<String, String> + Send + Sync>;

/// Answers a client that takes the listening sockets over, on the connection with it. Returns when
/// that is over.
pub(crate) type TakeOver = Box<dyn Fn(Socket) + Send + Sync>;

/// What clients may ask for.
pub(crate) struct Admin {
    source: Source,
    /// `None` without a configuration file.
    reload: Option<Reload>,
    /// `None` if the server cannot be replaced while it runs.
    take_over: Option<TakeOver>,
    last_look: LastLook,
}

impl Admin {
    /// The administration of a server.
    pub(crate) fn new(source: Source, reload: Option<Reload>, take_over: Option<TakeOver>) -> Self {
        let last_look = LastLook::new(source.started.0);
        Self { source, reload, take_over, last_look }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("source", &self.source).finish_non_exhaustive()
    }
}
