//! The listeners of a server. Each place of the settings is a listener with a number, and has one
//! endpoint or several; all of them are listened on, or there is an error.

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listener;
use super::settings::LISTENERS_MAX;
use super::start_error::StartError;
use super::unix_address::UnixOptions;
use super::unix_listener::{self, SocketFile, UnixListenError};

/// The sockets of one endpoint, one for each worker. Those of TCP are bound to the same port; those
/// of a Unix socket are duplicates of one, because `SO_REUSEPORT` means nothing there.
#[derive(Debug)]
pub(super) struct Group {
    /// The number of the listener.
    pub(super) number: u16,
    spec: ListenSpec,
    /// The endpoint. If port 0 was requested, this has the port that the kernel picked.
    pub(super) endpoint: Endpoint,
    sockets: Vec<OwnedFd>,
    /// The file of a Unix socket with a path.
    file: Option<SocketFile>,
}

/// What a server listens on.
#[derive(Debug)]
pub(super) struct Listening {
    open: Vec<OpenEndpoint>,
    /// The number of the next listener.
    next: u16,
    workers: usize,
    endpoints_max: usize,
}

#[derive(Debug)]
struct OpenEndpoint {
    number: u16,
    spec: ListenSpec,
    endpoint: Endpoint,
    /// Removed on request only: if the handles of a server are dropped, it goes on.
    file: ManuallyDrop<Option<SocketFile>>,
}

/// The sockets of each worker, with the numbers of their listeners.
pub(super) type WorkerSockets = Vec<Vec<(u16, OwnedFd)>>;

/// The difference between what a server listens on and what it should listen on.
#[derive(Debug)]
pub(super) struct ListenChange {
    /// The number of the listener of each place.
    pub(super) numbers: Vec<u16>,
    /// Sockets that are bound, but not accepted from.
    added: Vec<Group>,
    pub(super) dropped: Vec<u16>,
}

impl ListenChange {
    /// Takes the sockets out, for each worker.
    pub(super) fn sockets(&mut self, workers: usize) -> WorkerSockets {
        let mut take = || {
            let groups = self.added.iter_mut();
            groups.filter_map(|group| Some((group.number, group.sockets.pop()?))).collect()
        };
        (0..workers).map(|_| take()).collect()
    }
}

impl Listening {
    /// Nothing, for a server that may have `endpoints_max` endpoints.
    pub(super) fn new(workers: usize, endpoints_max: usize) -> Self {
        Self { open: Vec::new(), next: 0, workers, endpoints_max }
    }

    /// Binds the places that are not listened on yet. Nothing else changes before
    /// [`Listening::apply`].
    pub(super) fn prepare(&mut self, specs: &[ListenSpec]) -> Result<ListenChange, StartError> {
        let (mut numbers, mut added) = (Vec::new(), Vec::new());
        for spec in specs {
            let known = self.open.iter().find(|open| open.spec == *spec);
            if let Some(known) = known.filter(|known| !numbers.contains(&known.number)) {
                numbers.push(known.number);
                continue;
            }
            let number = self.next;
            // Repeats after so many reloads that the connections of the first listener are gone.
            self.next = self.next.wrapping_add(1);
            numbers.push(number);
            self.bind_spec(number, spec, &mut added)?;
        }
        let is_left = |open: &&OpenEndpoint| !numbers.contains(&open.number);
        let mut dropped: Vec<u16> =
            self.open.iter().filter(is_left).map(|open| open.number).collect();
        dropped.dedup();
        Ok(ListenChange { numbers, added, dropped })
    }

    /// Finds the endpoints of a place, and listens on them.
    fn bind_spec(
        &self,
        number: u16,
        spec: &ListenSpec,
        added: &mut Vec<Group>,
    ) -> Result<(), StartError> {
        for endpoint in spec.resolve().map_err(StartError::Resolve)? {
            if self.open.len() + added.len() >= LISTENERS_MAX.min(self.endpoints_max) {
                return Err(StartError::Settings(
                    "a server listens on at most 256 addresses; while it runs, 64 can be added",
                ));
            }
            let group = self.bind(number, spec, endpoint, added)?;
            added.push(group);
        }
        Ok(())
    }

    /// Listens on one endpoint.
    fn bind(
        &self,
        number: u16,
        spec: &ListenSpec,
        endpoint: Endpoint,
        added: &[Group],
    ) -> Result<Group, StartError> {
        let spec = spec.clone();
        let Endpoint::Unix(address) = &endpoint else {
            let own = self.open.iter().map(|open| &open.endpoint);
            let own = own.chain(added.iter().map(|group| &group.endpoint));
            let (endpoint, sockets) =
                listener::bind(&endpoint, self.workers).map_err(|error| error.among(own))?;
            return Ok(Group { number, spec, endpoint, sockets, file: None });
        };
        let options = match &spec {
            ListenSpec::Unix(_, options) => options.clone(),
            _ => UnixOptions::default(),
        };
        if self.open.iter().any(|open| open.endpoint == endpoint && open.spec != spec) {
            return Err(StartError::UnixSocket(UnixListenError::other_rights(address)));
        }
        let files = self.open.iter().filter_map(|open| open.file.as_ref());
        let files = files.chain(added.iter().filter_map(|group| group.file.as_ref()));
        let (socket, file) =
            unix_listener::listen(address, &options, files).map_err(StartError::UnixSocket)?;
        let mut sockets = Vec::with_capacity(self.workers);
        for _ in 1..self.workers {
            sockets.push(socket.try_clone().map_err(StartError::Descriptors)?);
        }
        sockets.push(socket);
        Ok(Group { number, spec, endpoint, sockets, file })
    }

    /// Records that the workers have taken a change. Removes the files of the sockets that they
    /// close.
    pub(super) fn apply(&mut self, change: ListenChange) {
        for open in self.open.extract_if(.., |open| change.dropped.contains(&open.number)) {
            drop(ManuallyDrop::into_inner(open.file));
        }
        let added = change.added.into_iter().map(|group| {
            let Group { number, spec, endpoint, file, .. } = group;
            OpenEndpoint { number, spec, endpoint, file: ManuallyDrop::new(file) }
        });
        self.open.extend(added);
    }

    /// Lets so many more endpoints be added.
    pub(super) fn allow_more(&mut self, spare: usize) {
        self.endpoints_max = self.open.len() + spare;
    }

    /// The endpoints, in the order in which they were opened.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.open.iter().map(|open| open.endpoint.clone()).collect()
    }

    /// Removes the files of Unix sockets, because the server has ended.
    pub(super) fn remove_files(&mut self) {
        for open in self.open.drain(..) {
            drop(ManuallyDrop::into_inner(open.file));
        }
    }
}
