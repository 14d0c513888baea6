//! How a worker calls its driver: directly or through a pointer.
//!
//! With [`Direct`], the worker and its sessions are compiled once for each driver, and calls of the
//! driver are inlined. That saves CPU time per request and costs eight copies of the code, which
//! take long to compile. With [`Indirect`], one copy serves all drivers.

use std::io;
use std::sync::Arc;

use super::mailbox::{Mailbox, MessageOf};
use super::published::Published;
use super::worker::{Worker, WorkerSettings};
use crate::driver::{Driver, Sock};
use crate::session::Session;

/// What a worker has besides its driver.
pub(super) struct WorkerParts<S: Session> {
    pub(super) listeners: Vec<(u32, Sock)>,
    pub(super) shared: S::Shared,
    pub(super) settings: WorkerSettings,
    pub(super) mailbox: Arc<Mailbox<MessageOf<S>>>,
    pub(super) published: Arc<Published>,
}

/// Runs a worker; see the module documentation.
pub(super) trait Dispatch: Send + 'static {
    /// Serves until the server has drained.
    fn run<D: Driver, S: Session>(driver: D, parts: WorkerParts<S>) -> io::Result<()>;
}

/// One worker type for each driver.
pub(super) struct Direct;

/// One worker type for all drivers.
pub(super) struct Indirect;

impl Dispatch for Direct {
    fn run<D: Driver, S: Session>(driver: D, parts: WorkerParts<S>) -> io::Result<()> {
        let WorkerParts { listeners, shared, settings, mailbox, published } = parts;
        Worker::<D, S>::new(driver, listeners, shared, settings, mailbox, published).run()
    }
}

impl Dispatch for Indirect {
    fn run<D: Driver, S: Session>(driver: D, parts: WorkerParts<S>) -> io::Result<()> {
        Direct::run::<Box<dyn Driver>, S>(Box::new(driver), parts)
    }
}
