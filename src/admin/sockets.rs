//! The listening sockets of the administration: bound, or taken over from another server, and
//! passed on to the next one.
//!
//! Both servers of a take-over have the same sockets, so their names stay as they are, and no
//! client is refused. A server accepts from [`AdminSockets::begin`] until
//! [`AdminSockets::give_up`].

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Socket, Type};

use super::Admin;
use super::gate::Gate;
use super::listener::{Places, accept_from};
use crate::server::{Endpoint, ListenSpec, PassedEndpoint, SocketFile, UnixOptions, listen_unix};

/// The mode of a Unix socket: only the user of the server, and root.
const MODE: u32 = 0o600;

/// How many places the administration may have.
pub(crate) const PLACES_MAX: usize = 8;

/// How many clients wait in the backlog.
const BACKLOG: i32 = 128;

/// Sockets that are listened on. Dropping this removes the files of those that are not given up.
#[derive(Debug)]
pub(crate) struct AdminSockets {
    all: Mutex<Vec<AdminSocket>>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct AdminSocket {
    endpoint: Endpoint,
    socket: Arc<Socket>,
    file: Option<SocketFile>,
    /// The file that another server has made, and may still own.
    passed_file: Option<(u64, u64)>,
}

impl AdminSocket {
    fn bound(endpoint: Endpoint, socket: OwnedFd, file: Option<SocketFile>) -> Self {
        Self { endpoint, socket: Arc::new(socket.into()), file, passed_file: None }
    }
}

impl AdminSockets {
    /// Listens at these places. What `passed` has for one of them is taken out of it, instead of
    /// being bound.
    ///
    /// # Errors
    ///
    /// When a place cannot be listened on: the cause and the remedy.
    pub(crate) fn bind(
        places: &[ListenSpec],
        passed: &mut Vec<PassedEndpoint>,
    ) -> Result<Self, String> {
        if places.len() > PLACES_MAX {
            let count = places.len();
            return Err(format!("--admin: there are {count} places; give at most {PLACES_MAX}"));
        }
        let gate = Gate::new().map_err(|error| {
            format!("--admin: {error}; raise the limit of descriptors with `ulimit -n`")
        })?;
        let mut all = Vec::new();
        for place in places {
            let failed = |error: &dyn std::fmt::Display| format!("--admin {place}: {error}");
            for endpoint in place.resolve().map_err(|error| failed(&error))? {
                let socket = match take(passed, &endpoint) {
                    Some(socket) => socket,
                    None => bind(endpoint).map_err(|error| failed(&error))?,
                };
                all.push(socket);
            }
        }
        Ok(Self { all: Mutex::new(all), gate: Arc::new(gate) })
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<AdminSocket>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is listened, with the ports that the kernel has picked.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.lock().iter().map(|socket| socket.endpoint.clone()).collect()
    }

    /// Starts the threads that serve clients. They run as long as the process does, or until
    /// [`AdminSockets::give_up`].
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn serve(&self, admin: Admin) -> io::Result<()> {
        let (admin, places) = (Arc::new(admin), Arc::new(Places::default()));
        for AdminSocket { endpoint, socket, .. } in self.lock().iter() {
            socket.set_nonblocking(true)?;
            let is_local = matches!(endpoint, Endpoint::Unix(_));
            accept_from(socket, is_local, &admin, (&self.gate, &places))?;
        }
        Ok(())
    }

    /// Accepts clients, and owns the files of sockets that another server has passed. Returns those
    /// whose files are gone.
    pub(crate) fn begin(&self) -> Vec<Endpoint> {
        let mut gone = Vec::new();
        for AdminSocket { endpoint, file, passed_file, .. } in self.lock().iter_mut() {
            if let (Endpoint::Unix(address), Some(id)) = (&*endpoint, passed_file.take()) {
                *file = address.as_path().and_then(|path| SocketFile::at(path, id));
                if file.is_none() {
                    gone.push(endpoint.clone());
                }
            }
        }
        self.gate.open();
        gone
    }

    /// Duplicates of the sockets, for a server that replaces this one.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<PassedEndpoint>> {
        let duplicate = |socket: &AdminSocket| {
            Ok(PassedEndpoint {
                endpoint: socket.endpoint.clone(),
                name: None,
                number: None,
                sockets: vec![socket.socket.try_clone()?.into()],
                is_shared: true,
                file: socket.file.as_ref().map(SocketFile::id),
            })
        };
        self.lock().iter().map(duplicate).collect()
    }

    /// Accepts no more clients, because another server does. It owns the files from now on, except
    /// for the addresses in `left`, from which nobody accepts: they refuse clients when this
    /// returns.
    pub(crate) fn give_up(&self, left: &[Endpoint]) {
        self.gate.close();
        for AdminSocket { endpoint, socket, file, .. } in self.lock().drain(..) {
            if left.contains(&endpoint) {
                // A thread that waits for a place still has the socket. This call would end one of
                // the new server too, so those that it accepts from stay as they are.
                let _ = socket.shutdown(Shutdown::Both);
            } else {
                file.into_iter().for_each(SocketFile::give_up);
            }
        }
    }
}

/// What another server has passed for an address.
fn take(passed: &mut Vec<PassedEndpoint>, endpoint: &Endpoint) -> Option<AdminSocket> {
    let place = passed.iter().position(|passed| passed.endpoint == *endpoint)?;
    let PassedEndpoint { endpoint, mut sockets, file, .. } = passed.swap_remove(place);
    let socket = sockets.pop()?;
    Some(AdminSocket { passed_file: file, ..AdminSocket::bound(endpoint, socket, None) })
}

/// Binds an address. What is wrong is a text.
fn bind(endpoint: Endpoint) -> Result<AdminSocket, String> {
    if let Endpoint::Unix(address) = &endpoint {
        let options = UnixOptions { mode: MODE, ..UnixOptions::default() };
        let (socket, file) = listen_unix(address, &options).map_err(|error| error.to_string())?;
        return Ok(AdminSocket::bound(endpoint, socket, file));
    }
    let is_both = matches!(endpoint, Endpoint::BothFamilies(_));
    let Some(address) = endpoint.socket_addr() else {
        return Err("this is no address of a socket".to_owned());
    };
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "choose another port; `ss -ltnp` shows who listens",
            io::ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => "check the address",
        };
        format!("cannot listen on {address}: {error}; {remedy}")
    };
    let socket = listen(address, is_both).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?.as_socket();
    let endpoint = bound.map_or(endpoint.clone(), |bound| endpoint.with_port(bound.port()));
    Ok(AdminSocket::bound(endpoint, socket.into(), None))
}

/// Listens at an address, and for IPv6 also at those of IPv4 only if both are meant, whatever the
/// default of the system is.
fn listen(address: SocketAddr, is_both: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!is_both)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Threads of the old server may have the sockets for some time: they wait for a place.
    #[test]
    fn only_what_nobody_accepts_from_is_closed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("left.sock");
        let places = ["127.0.0.1:0", "127.0.0.1:0", &format!("unix:{}", path.display())];
        let places = places.map(|place| place.parse().unwrap());
        let sockets = AdminSockets::bind(&places, &mut Vec::new()).unwrap();
        // The file goes with the server.
        let link = folder.path().join("link.sock");
        fs::hard_link(&path, &link).unwrap();
        let threads: Vec<Arc<Socket>> =
            sockets.lock().iter().map(|it| Arc::clone(&it.socket)).collect();
        let of_new_server = sockets.duplicates().unwrap().swap_remove(0);
        let endpoints = sockets.endpoints();
        sockets.give_up(&endpoints[1..]);
        let connect = |endpoint: &Endpoint| TcpStream::connect(endpoint.socket_addr().unwrap());
        let _waits = connect(&endpoints[0]).unwrap();
        connect(&endpoints[1]).unwrap_err();
        UnixStream::connect(&link).unwrap_err();
        Socket::from(of_new_server.sockets.into_iter().next().unwrap()).accept().unwrap();
        drop(threads);
    }
}
