//! Keeps [`Driver`](super::Driver) closed: only this crate implements it.
//!
//! What is above a driver relies on every clause of the contract, down to memory that the kernel
//! may still write to. The tests that hold an implementation to the contract are part of this
//! crate, so the implementations are too.

/// Cannot be named outside of this crate, and so not be implemented there.
pub trait Sealed {}
