//! Files, as far as a server remembers them.
//!
//! A worker keeps what it knows of a name (an open file, a prepared answer, or that there is
//! nothing) in a [`Cache`], and asks the file system again when an entry is older than the
//! revalidation time, or when the kernel tells of a change ([`Changes`]). Opening is not done here:
//! it is an op, because it may wait for a disk.

mod cache;
mod changes;
mod figures;

pub use cache::{Cache, Lookup, Weight};
pub use changes::{Change, Changes};
pub use figures::Figures;
