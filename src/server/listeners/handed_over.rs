//! Sockets that come from another process, and those that another process gets.

use std::mem::ManuallyDrop;

use super::{Bound, Listening, OpenEndpoint};
use crate::server::endpoint::Endpoint;
use crate::server::listener;
use crate::server::passed::{PassedEndpoint, PassedSockets};
use crate::server::start_error::StartError;
use crate::server::unix_listener::SocketFile;

impl Listening {
    /// Adds sockets to those of another process until each worker has one: duplicates of a shared
    /// one, or others that join the group. That works without a look whether the address is free,
    /// because it is not.
    pub(super) fn bind_passed(&self, mut passed: PassedEndpoint) -> Result<Bound, StartError> {
        let lacking = self.workers.saturating_sub(passed.sockets.len());
        if lacking == 0 || passed.sockets.is_empty() {
            return Ok(Bound::Passed(passed, None));
        }
        if !passed.is_shared {
            let more = listener::join(&passed.endpoint, lacking)?;
            return Ok(Bound::Passed(passed, Some(more)));
        }
        for _ in 0..lacking {
            let duplicate = passed.sockets[0].try_clone().map_err(StartError::Descriptors)?;
            passed.sockets.push(duplicate);
        }
        Ok(Bound::Passed(passed, None))
    }

    /// The sockets that nobody has claimed.
    pub(in crate::server) fn passed(&self) -> PassedSockets {
        self.passed.clone()
    }

    /// Another server has the sockets too.
    pub(in crate::server) fn begin_joint(&mut self, is_handed_over: bool) {
        self.joint_with += 1;
        self.is_handed_over |= is_handed_over;
    }

    /// One of the other servers does not have them any more. Returns the numbers of the listeners
    /// that are this server's alone from now on.
    pub(in crate::server) fn end_joint(&mut self, is_handed_over: bool) -> Vec<u32> {
        self.joint_with = self.joint_with.saturating_sub(1);
        self.is_handed_over &= !is_handed_over;
        let is_own = |open: &&OpenEndpoint| self.joint_with == 0 && open.origin.name.is_none();
        self.open.iter().filter(is_own).map(|open| open.number).collect()
    }

    /// What another process needs to know of each endpoint, with the number of its listener, and
    /// without its sockets.
    pub(in crate::server) fn handed_over(&self) -> Vec<(u32, PassedEndpoint)> {
        let describe = |open: &OpenEndpoint| {
            let file = open.file.as_ref().map(SocketFile::id).or(open.origin.file);
            let passed = PassedEndpoint {
                endpoint: open.endpoint.clone(),
                name: open.origin.name.clone(),
                number: open.origin.number,
                sockets: Vec::new(),
                is_shared: open.origin.shared,
                file,
            };
            (open.number, passed)
        };
        self.open.iter().map(describe).collect()
    }

    /// Takes over the files of sockets that another server has passed. Returns the addresses whose
    /// files are gone.
    pub(in crate::server) fn own_passed_files(&mut self) -> Vec<Endpoint> {
        let mut gone = Vec::new();
        for open in &mut self.open {
            let (Endpoint::Unix(address), Some(id)) = (&open.endpoint, open.origin.file.take())
            else {
                continue;
            };
            let file = address.as_path().and_then(|path| SocketFile::at(path, id));
            if file.is_none() {
                gone.push(open.endpoint.clone());
            }
            open.file = ManuallyDrop::new(file);
        }
        gone
    }

    /// Leaves the files of sockets to another process, except those of the addresses in `left`.
    /// Returns the numbers of the listeners all of whose addresses are left.
    pub(in crate::server) fn give_up_files(&mut self, left: &[Endpoint]) -> Vec<u32> {
        for open in self.open.iter_mut().filter(|open| !left.contains(&open.endpoint)) {
            // The file is not removed, because it is not dropped.
            open.file = ManuallyDrop::new(None);
        }
        let is_left = |number: u32| {
            self.open.iter().filter(|it| it.number == number).all(|it| left.contains(&it.endpoint))
        };
        let mut own: Vec<u32> = self.numbers();
        own.retain(|number| is_left(*number));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::ListenSpec;
    use super::*;

    fn bind(listening: &mut Listening, place: &ListenSpec) -> super::super::BoundListeners {
        let plan = listening.plan(&[(place, place.resolve().unwrap())]).unwrap();
        listening.bind(&plan).unwrap()
    }

    /// The clients of a socket that listens would be reset by a start that fails later.
    #[test]
    fn sockets_that_join_others_listen_at_last() {
        let mut old = Listening::new(1, 8, PassedSockets::default());
        let mut of_old = bind(&mut old, &"127.0.0.1:0".parse().unwrap());
        let endpoint = of_old.0[0].endpoint.clone();
        let address = endpoint.socket_addr().unwrap();
        let listener = TcpListener::from(of_old.0[0].sockets.pop().unwrap());
        listener.set_nonblocking(true).unwrap();
        let arrivals = || {
            let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
            let count = std::iter::from_fn(|| listener.accept().ok()).count();
            drop(clients);
            count
        };
        let passed = PassedEndpoint {
            endpoint,
            name: None,
            number: None,
            sockets: vec![listener.try_clone().unwrap().into()],
            is_shared: false,
            file: None,
        };
        let mut new = Listening::new(3, 8, vec![passed].into());
        let mut of_new = bind(&mut new, &address.into());
        // The workers open their drivers for so many sockets meanwhile.
        assert_eq!(of_new.counts(3), [1, 1, 1]);
        assert_eq!(arrivals(), 64);
        let sockets = of_new.sockets(3).unwrap();
        let joint: Vec<bool> = sockets.iter().map(|of_worker| of_worker[0].joint).collect();
        assert_eq!(joint, [true, false, false]);
        assert!(arrivals() < 64);
    }
}
