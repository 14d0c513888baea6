//! Passwords: their hashes, and the files that hold them.
//!
//! A hash takes tens of milliseconds and 19 MiB of memory on purpose, so nothing here may run on
//! the thread of a worker, except [`Users::parse`] at a start of the program.
//!
//! | file | content |
//! | --- | --- |
//! | `hash.rs` | one hash: its forms, and whether a password fits |
//! | `hash_error.rs` | why a text is no hash |
//! | `schemes.rs` | bcrypt and Argon2id |
//! | `without.rs` | what stands for them in a build without the feature `passwords` |
//! | `users.rs` | the users of a file, in the form of htpasswd |

mod hash;
mod hash_error;
#[cfg(feature = "passwords")]
mod schemes;
#[cfg(not(feature = "passwords"))]
#[path = "without.rs"]
mod schemes;
mod users;

pub use hash::PasswordHash;
pub use hash_error::HashError;
pub use users::{USERS_BYTES_MAX, Users, UsersError, check_name};
