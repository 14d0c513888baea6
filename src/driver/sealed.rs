//! Keeps [`Driver`](super::Driver) closed: only this crate implements it.
//!
//! The code above a driver relies on every clause of the contract. Some clauses are about memory
//! that the kernel may still write to, so a driver that breaks them corrupts memory. The tests of
//! the contract are part of this crate, so the implementations are too.

/// Other crates cannot name this trait, and so cannot implement it.
pub trait Sealed {}
