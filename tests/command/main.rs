//! The `ringd` command as a process: what it prints, how it serves, how it ends.

#[path = "../common/mod.rs"]
mod common;
mod configured;
mod jail;
mod process;

mod access_log;
mod admin;
mod administration;
mod bench;
mod causes;
mod cli;
mod config;
mod config_memory;
mod connect;
mod denied;
mod doctor;
mod error_log;
mod health;
mod https;
mod https_client;
mod https_handshake;
mod https_made;
mod https_reload;
mod https_renewal;
mod limits;
mod listeners;
mod listening;
mod observed;
mod reload;
mod sandbox;
mod scale;
mod scarce;
mod signals;
mod statistics;
mod stopping;
mod threadless;
mod trace;
mod tracer;
mod unread;
mod usage;
