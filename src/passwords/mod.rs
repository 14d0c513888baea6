//! Passwords: their hashes, and the files that hold them.
//!
//! A hash takes tens of milliseconds and 19 MiB of memory on purpose, so nothing here may run on
//! the thread of a worker, except [`Users::parse`] at a start of the program.
//!
//! | file | content |
//! | --- | --- |
//! | `hash.rs` | one hash: its forms, and whether a password fits |
//! | `users.rs` | the users of a file, in the form of htpasswd |

mod hash;
mod users;

pub use hash::{HashError, PasswordHash};
pub use users::{USERS_BYTES_MAX, Users, UsersError, check_name};
