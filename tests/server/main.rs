//! The server and its sessions, on every driver: the session contract, echo, clients that vanish,
//! workers that fail. The server runs in this process, so the tests can see what it holds.

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
#[path = "../common/drivers.rs"]
mod drivers;
#[path = "../common/sessions.rs"]
mod sessions;

mod contract;
mod echo;
mod monitor;
mod panics;
mod replies;
mod settings;
mod unix_sockets;
mod vanished;
