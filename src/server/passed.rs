//! Listening sockets that another process has opened: the server that this one replaces, or the
//! program that has started this one (`systemd.socket(5)`).
//!
//! They are kept here until a place to listen claims them.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::start_error::StartError;

/// The listening sockets of one address.
#[derive(Debug)]
pub struct PassedEndpoint {
    /// The address.
    pub endpoint: Endpoint,
    /// The name that the program which started the server has given it. The program keeps the
    /// socket; without a name, the other process closes it soon.
    pub name: Option<String>,
    /// The number of the descriptor, if that program has passed it to this process.
    pub number: Option<u32>,
    /// One, which all workers share, or one for each worker of the other server.
    pub sockets: Vec<OwnedFd>,
    /// Whether all workers share the socket.
    pub is_shared: bool,
    /// Device and inode of the file that the other server has made for a Unix socket.
    pub file: Option<(u64, u64)>,
}

impl PassedEndpoint {
    /// Whether this is what a place with one of its addresses means: by name, or by address.
    fn is_meant(&self, spec: &ListenSpec, endpoint: &Endpoint) -> bool {
        let by_name = match spec {
            ListenSpec::Passed(name) => self.is_named(name),
            _ => true,
        };
        by_name && self.endpoint == *endpoint
    }

    /// Whether this is its name, or its number.
    fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
            || self.number.is_some_and(|number| number.to_string() == name)
    }
}

/// Listening sockets that nobody has claimed yet. Clones are the same ones.
#[derive(Clone, Default, Debug)]
pub struct PassedSockets(Arc<Mutex<Vec<PassedEndpoint>>>);

impl From<Vec<PassedEndpoint>> for PassedSockets {
    fn from(endpoints: Vec<PassedEndpoint>) -> Self {
        Self(Arc::new(Mutex::new(endpoints)))
    }
}

impl PassedSockets {
    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<PassedEndpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a socket for an address of a place.
    pub(super) fn has(&self, spec: &ListenSpec, endpoint: &Endpoint) -> bool {
        self.lock().iter().any(|passed| passed.is_meant(spec, endpoint))
    }

    /// Claims the socket for an address of a place.
    pub(super) fn take(&self, spec: &ListenSpec, endpoint: &Endpoint) -> Option<PassedEndpoint> {
        let mut passed = self.lock();
        let place = passed.iter().position(|passed| passed.is_meant(spec, endpoint))?;
        Some(passed.remove(place))
    }

    /// The addresses of the sockets with a name.
    pub(super) fn endpoints(&self, name: &str) -> Vec<Endpoint> {
        let passed = self.lock();
        let named = passed.iter().filter(|passed| passed.is_named(name));
        named.map(|passed| passed.endpoint.clone()).collect()
    }

    /// The addresses that nobody has claimed, with their names.
    #[must_use]
    pub fn left(&self) -> Vec<(Endpoint, Option<String>)> {
        let passed = self.lock();
        passed.iter().map(|passed| (passed.endpoint.clone(), passed.name.clone())).collect()
    }

    /// Checks that every socket that was passed to this process has been claimed: clients wait in
    /// its queue.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let text = |passed: &PassedEndpoint| {
            let (number, name) = (passed.number?, passed.name.as_deref().unwrap_or_default());
            Some(format!("{number} ({name}, at {})", passed.endpoint))
        };
        let left: Vec<String> = self.lock().iter().filter_map(text).collect();
        if left.is_empty() { Ok(()) } else { Err(StartError::Unclaimed(left.join(", "))) }
    }

    /// Closes what nobody has claimed.
    pub fn close_left(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(address: &str, name: Option<&str>, number: Option<u32>) -> PassedEndpoint {
        let (endpoint, sockets) = (Endpoint::Tcp(address.parse().unwrap()), Vec::new());
        let name = name.map(str::to_owned);
        PassedEndpoint { endpoint, name, number, sockets, is_shared: true, file: None }
    }

    #[test]
    fn sockets_are_claimed_once_by_name_number_or_address() {
        let all = PassedSockets::from(vec![
            passed("127.0.0.1:1", Some("web"), Some(3)),
            passed("127.0.0.1:2", Some("web"), Some(4)),
            passed("127.0.0.1:3", Some("admin"), Some(5)),
            passed("127.0.0.1:4", Some("left"), Some(6)),
        ]);
        let address = |port: u16| Endpoint::Tcp(([127, 0, 0, 1], port).into());
        let spec = |text: &str| text.parse::<ListenSpec>().unwrap();
        assert_eq!(all.endpoints("web"), [address(1), address(2)]);
        assert_eq!(all.endpoints("4"), [address(2)]);
        assert!(!all.has(&spec("fd:admin"), &address(1)));
        assert!(all.take(&spec("fd:web"), &address(1)).is_some());
        assert!(all.take(&spec("fd:web"), &address(1)).is_none());
        assert!(all.take(&spec("fd:4"), &address(2)).is_some());
        assert!(all.take(&spec("127.0.0.1:3"), &address(3)).is_some());
        let error = all.check().unwrap_err().to_string();
        assert!(error.contains("6 (left, at 127.0.0.1:4)") && !error.contains("web"), "{error}");
        all.close_left();
        assert!(all.check().is_ok());
    }

    /// A server that is replaced may have addresses that the new one does not want.
    #[test]
    fn sockets_of_another_server_may_be_left() {
        let all = PassedSockets::from(vec![passed("127.0.0.1:1", None, None)]);
        assert!(all.check().is_ok());
        assert_eq!(all.left().len(), 1);
    }
}
