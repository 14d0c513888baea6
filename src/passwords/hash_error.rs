//! Why a text is not the hash of a password.

use std::fmt;

/// Why a text is not the hash of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashError {
    /// It is a hash of another kind, with this name, or the password itself.
    Unsupported(&'static str),
    /// It begins as a hash, and is malformed.
    Malformed,
    /// It would take more time or memory than a server can give away.
    TooCostly,
    /// The build has no hashes: it lacks the feature `passwords`.
    NotBuilt,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(kind) => {
                write!(f, "is {kind}; only bcrypt ($2b$, $2y$) and Argon2id are safe enough")
            }
            Self::Malformed => f.write_str("is a malformed hash"),
            Self::TooCostly => f.write_str(
                "takes too much time or memory; at most 256 MiB, 32 passes and 16 lanes, or 16 as \
                 the cost of bcrypt, are allowed",
            ),
            Self::NotBuilt => f.write_str(
                "cannot be used, because this build has no passwords; build ringd with the feature \
                 `passwords`",
            ),
        }
    }
}

impl std::error::Error for HashError {}
