//! `ringd` serves static files over HTTP on modern Linux.

pub mod http;
