//! The `ringd` command as a process: what it prints, how it serves, how it ends.

#[path = "../common/mod.rs"]
mod common;
mod configured;
mod jail;
mod process;

mod admin;
mod bench;
mod causes;
mod cli;
mod config;
mod config_memory;
mod connect;
mod denied;
mod doctor;
mod limits;
mod listeners;
mod listening;
mod reload;
mod sandbox;
mod scale;
mod scarce;
mod signals;
mod statistics;
mod stopping;
mod threadless;
mod trace;
mod unread;
mod usage;
