//! Who may use a site, and how much of it: passwords, and the rate of requests.
//!
//! | file | content |
//! | --- | --- |
//! | `settings.rs` | settings of a site |
//! | `gate.rs` | the first thing that a request passes |
//! | `refusal.rs` | what is kept in mind of a request that was refused |
//! | `checks.rs` | the passwords that are being checked, and those that are remembered |

mod checks;
mod gate;
mod refusal;
mod settings;

pub(in crate::http::site) use checks::{CHECKS_RUNNING_MAX, PasswordChecks};
pub use checks::{PasswordCheck, PasswordTicket};
pub(in crate::http) use refusal::AccessRefusal;
pub use settings::{AccessSettings, PasswordSettings};
