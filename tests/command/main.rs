//! The `ringd` command as a process: what it prints, how it serves, how it ends.

mod jail;
mod process;

mod bench;
mod cli;
mod connect;
mod denied;
mod doctor;
mod limits;
mod sandbox;
mod scale;
mod statistics;
mod stopping;
mod threadless;
mod trace;
