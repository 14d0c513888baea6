//! The listeners of a server: all addresses that the settings name, or an error and none of them.

use std::os::fd::OwnedFd;

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listener;
use super::settings::LISTENERS_MAX;
use super::start_error::StartError;
use super::unix_address::UnixOptions;
use super::unix_listener::{self, SocketFile};

/// The sockets of one endpoint, one for each worker. Those of TCP are bound to the same port; those
/// of a Unix socket are duplicates of one, because `SO_REUSEPORT` means nothing there.
#[derive(Debug)]
pub(super) struct Group {
    /// The endpoint. If port 0 was requested, this has the port that the kernel picked.
    pub(super) endpoint: Endpoint,
    pub(super) sockets: Vec<OwnedFd>,
    /// The file of a Unix socket with a path.
    pub(super) file: Option<SocketFile>,
}

/// Finds the endpoints of all specs, and listens on them, in order.
pub(super) fn bind_all(specs: &[ListenSpec], workers: usize) -> Result<Vec<Group>, StartError> {
    let mut groups: Vec<Group> = Vec::new();
    for spec in specs {
        let options = match spec {
            ListenSpec::Unix(_, options) => options.clone(),
            _ => UnixOptions::default(),
        };
        for endpoint in spec.resolve().map_err(StartError::Resolve)? {
            if groups.len() == LISTENERS_MAX {
                return Err(StartError::Settings("a server listens on at most 256 addresses"));
            }
            let group = bind(endpoint, &options, workers, &groups)?;
            groups.push(group);
        }
    }
    Ok(groups)
}

/// Listens on one endpoint, for a server that listens on `own` already.
fn bind(
    endpoint: Endpoint,
    options: &UnixOptions,
    workers: usize,
    own: &[Group],
) -> Result<Group, StartError> {
    let Endpoint::Unix(address) = &endpoint else {
        let bound = listener::bind(&endpoint, workers)
            .map_err(|error| error.among(own.iter().map(|group| &group.endpoint)))?;
        return Ok(Group { endpoint: bound.0, sockets: bound.1, file: None });
    };
    let files = own.iter().filter_map(|group| group.file.as_ref());
    let (socket, file) =
        unix_listener::listen(address, options, files).map_err(StartError::UnixSocket)?;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(socket.try_clone().map_err(StartError::Descriptors)?);
    }
    sockets.push(socket);
    Ok(Group { endpoint, sockets, file })
}
