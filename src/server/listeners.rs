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
    pub(super) number: u32,
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
    next: u32,
    workers: usize,
    endpoints_max: usize,
    /// How many changes were applied.
    version: u64,
    /// Whether the server has ended, so that nothing may be added.
    ended: bool,
}

#[derive(Debug)]
struct OpenEndpoint {
    number: u32,
    spec: ListenSpec,
    endpoint: Endpoint,
    /// Removed on request only: if the handles of a server are dropped, it goes on.
    file: ManuallyDrop<Option<SocketFile>>,
}

/// The sockets of each worker, with the numbers of their listeners.
pub(super) type WorkerSockets = Vec<Vec<(u32, OwnedFd)>>;

/// The difference between what a server listens on and what it should listen on.
#[derive(Debug)]
pub(super) struct ListenChange {
    /// The number of the listener of each place.
    pub(super) numbers: Vec<u32>,
    /// Sockets that are bound, but not accepted from.
    added: Vec<Group>,
    pub(super) dropped: Vec<u32>,
    /// The version of [`Listening`] with which this was compared.
    pub(super) version: u64,
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
        Self { open: Vec::new(), next: 0, workers, endpoints_max, version: 0, ended: false }
    }

    /// Whether a place is listened on.
    pub(super) fn has(&self, spec: &ListenSpec) -> bool {
        self.open.iter().any(|open| open.spec == *spec)
    }

    /// Binds the places that are not listened on yet, at these endpoints. Nothing else changes
    /// before [`Listening::apply`].
    pub(super) fn prepare(
        &mut self,
        places: &[(&ListenSpec, Vec<Endpoint>)],
    ) -> Result<ListenChange, StartError> {
        let (mut numbers, mut added) = (Vec::new(), Vec::new());
        for (spec, endpoints) in places {
            let known = self.open.iter().find(|open| open.spec == **spec);
            if let Some(known) = known.filter(|known| !numbers.contains(&known.number)) {
                numbers.push(known.number);
                continue;
            }
            let number = self.new_number(&numbers);
            numbers.push(number);
            for endpoint in endpoints {
                let group = self.bind(number, spec, endpoint.clone(), &added)?;
                added.push(group);
            }
        }
        let is_left = |open: &&OpenEndpoint| !numbers.contains(&open.number);
        let mut dropped: Vec<u32> =
            self.open.iter().filter(is_left).map(|open| open.number).collect();
        dropped.dedup();
        let kept = self.open.iter().filter(|open| numbers.contains(&open.number)).count();
        let endpoints_max = LISTENERS_MAX.min(self.endpoints_max);
        if kept + added.len() > endpoints_max {
            return Err(StartError::TooManyAddresses(endpoints_max));
        }
        Ok(ListenChange { numbers, added, dropped, version: self.version })
    }

    /// A number that no listener has, nor one of `others`. Connections keep the number of their
    /// listener, but no connection lasts until all 32 bits have been counted through.
    fn new_number(&mut self, others: &[u32]) -> u32 {
        loop {
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            let is_used = self.open.iter().any(|open| open.number == number);
            if !is_used && !others.contains(&number) {
                return number;
            }
        }
    }

    /// Listens on one endpoint.
    fn bind(
        &self,
        number: u32,
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

    /// Whether nothing has changed since a change was prepared.
    pub(super) fn is_current(&self, change: &ListenChange) -> bool {
        change.version == self.version && !self.ended
    }

    /// Records that listeners are closed, because a worker could not take them.
    pub(super) fn forget(&mut self, numbers: &[u32]) {
        for open in self.open.extract_if(.., |open| numbers.contains(&open.number)) {
            drop(ManuallyDrop::into_inner(open.file));
        }
    }

    /// Records that the workers have taken a change. Removes the files of the sockets that they
    /// close. Returns the numbers of the new listeners.
    pub(super) fn apply(&mut self, change: ListenChange) -> Vec<u32> {
        self.version += 1;
        let new = change.added.iter().map(|group| group.number).collect();
        self.forget(&change.dropped);
        let added = change.added.into_iter().map(|group| {
            let Group { number, spec, endpoint, file, .. } = group;
            OpenEndpoint { number, spec, endpoint, file: ManuallyDrop::new(file) }
        });
        self.open.extend(added);
        new
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
        self.ended = true;
        for open in self.open.drain(..) {
            drop(ManuallyDrop::into_inner(open.file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a site would be reached from a listener that it does not name.
    #[test]
    fn numbers_of_listeners_are_not_shared() {
        let place: ListenSpec = "127.0.0.1:0".parse().unwrap();
        let other: ListenSpec = "127.0.0.2:0".parse().unwrap();
        let bind = |listening: &mut Listening, places: &[&ListenSpec]| {
            let places: Vec<_> =
                places.iter().map(|place| (*place, place.resolve().unwrap())).collect();
            let change = listening.prepare(&places).unwrap();
            let numbers = change.numbers.clone();
            listening.apply(change);
            numbers
        };
        let mut listening = Listening::new(1, 8);
        assert_eq!(bind(&mut listening, &[&place]), [0]);
        // All numbers but that one were used meanwhile.
        listening.next = u32::MAX;
        assert_eq!(bind(&mut listening, &[&place, &other, &other]), [0, u32::MAX, 1]);
        assert_eq!(listening.open.len(), 3);
        assert_eq!(bind(&mut listening, &[&other]), [u32::MAX]);
        assert_eq!(listening.open.len(), 1);
    }

    /// What was prepared before another change was applied may contradict it.
    #[test]
    fn an_outdated_change_is_noticed() {
        let places: Vec<ListenSpec> =
            ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).into();
        let mut listening = Listening::new(1, 8);
        let changes: Vec<_> = places
            .iter()
            .map(|place| listening.prepare(&[(place, place.resolve().unwrap())]).unwrap())
            .collect();
        assert!(changes.iter().all(|change| listening.is_current(change)));
        let [first, second] = changes.try_into().unwrap();
        listening.apply(first);
        assert!(!listening.is_current(&second));
    }
}
