//! Protected sessions: a security layer, such as TLS, around any session.
//!
//! ```text
//!             records                 plaintext
//!  wire  <--------------->  Layer  <--------------->  inner session
//!                    \____________ Secured ____________/
//! ```
//!
//! [`Secured`] is itself a [`Session`](crate::session::Session): the connection, the worker and the
//! drivers do not know that there is a layer, and the inner session does not either. A [`Layer`] is
//! a state machine without I/O. The inner session begins when the handshake is complete.
//!
//! The kernel cannot send files through a layer, because their bytes have to be protected first.
//! Therefore `Secured` reads the file ranges of the inner session's chains into buffers
//! (`output.rs`), one piece ahead of what is being sent.
//!
//! | file | content |
//! | --- | --- |
//! | `layer.rs` | the contract of a security layer |
//! | `session.rs` | the session |
//! | `failed.rs` | the event of a handshake that has failed |
//! | `output.rs` | from the chains of the inner session to records |
//! | `service.rs` | what protected sessions share; how many handshakes a turn has |
//! | `fuzz.rs` | the fuzz entry of layers |
//! | `toy.rs` | a layer without cryptography, for tests |

mod failed;
#[cfg(any(test, feature = "simulation"))]
mod fuzz;
mod layer;
mod output;
mod service;
mod session;
#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub mod toy;

#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub use fuzz::{fuzz_layer, fuzz_toy};
pub use layer::{HandshakeFailure, Layer, LayerError, NoLayer};
pub use service::{SecuredAnswer, SecuredMessage, SecuredService};
pub use session::Secured;
