//! Who may use a site, and how much of it: passwords, and the rate of requests.
//!
//! | file | content |
//! | --- | --- |
//! | `settings.rs` | settings of a site |
//! | `gate.rs` | the first thing that a request passes |
//! | `checks.rs` | the passwords that are being checked, and those that are remembered |

mod checks;
mod gate;
mod settings;

pub(in crate::http::site) use checks::{CHECKS_RUNNING_MAX, PasswordChecks};
pub use checks::{PasswordCheck, PasswordTicket};
pub use settings::{AccessSettings, PasswordSettings};
