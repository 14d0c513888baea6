//! `ringd` serves static files over HTTP on modern Linux.

pub mod driver;
pub mod server;
pub mod session;
