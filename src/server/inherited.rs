//! Listening sockets that the program which started the server has opened: socket activation
//! (`systemd.socket(5)`, `sd_listen_fds(3)`).
//!
//! That program keeps the sockets, so they are joint as long as the server runs, and all workers
//! share them.

use std::fmt;
use std::io;

use socket2::{Domain, SockRef, Type};

use super::endpoint::Endpoint;
use super::passed::PassedEndpoint;
use super::unix_address::UnixAddress;
use crate::driver;

/// Why a socket that was passed cannot be used.
#[derive(Debug)]
pub struct InheritedError {
    /// The number and the name; `None` if the variables are wrong.
    descriptor: Option<(u32, String)>,
    cause: String,
}

impl fmt::Display for InheritedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptor, cause } = self;
        match descriptor {
            Some((number, name)) => write!(
                f,
                "descriptor {number} ({name}), which was passed to ringd, cannot be served: {cause}"
            ),
            None => write!(
                f,
                "the descriptors that were passed to ringd cannot be used: {cause}; check \
                 LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3))"
            ),
        }
    }
}

impl std::error::Error for InheritedError {}

/// Takes the sockets, with their names. Returns none if there are none, and if they were taken.
///
/// # Errors
///
/// When a descriptor is no stream socket that listens.
pub fn take_inherited() -> Result<Vec<PassedEndpoint>, InheritedError> {
    let all = driver::take_inherited()
        .map_err(|error| InheritedError { descriptor: None, cause: error.to_string() })?;
    let each = all.into_iter().map(|(number, name, socket)| {
        let endpoint = endpoint_of(&SockRef::from(&socket))
            .map_err(|cause| InheritedError { descriptor: Some((number, name.clone())), cause })?;
        Ok(PassedEndpoint {
            endpoint,
            name: Some(name),
            number: Some(number),
            sockets: vec![socket],
            is_shared: true,
            file: None,
        })
    });
    each.collect()
}

/// The address of a listening stream socket; else what is wrong.
fn endpoint_of(socket: &SockRef<'_>) -> Result<Endpoint, String> {
    let remedy = "a socket unit needs ListenStream= and Accept=no (systemd.socket(5))";
    let failed = |error: io::Error| format!("it is no socket: {error}; {remedy}");
    if socket.r#type().map_err(failed)? != Type::STREAM {
        return Err(format!("it is no stream socket; {remedy}"));
    }
    if !socket.is_listener().map_err(failed)? {
        return Err(format!("it does not listen; {remedy}"));
    }
    let address = socket.local_addr().map_err(failed)?;
    if let Some(address) = address.as_socket() {
        let is_v6 = socket.domain().map_err(failed)? == Domain::IPV6;
        let is_both =
            is_v6 && address.ip().is_unspecified() && !socket.only_v6().map_err(failed)?;
        return Ok(match is_both {
            true => Endpoint::BothFamilies(address.port()),
            false => address.into(),
        });
    }
    let unix = UnixAddress::of(&address);
    unix.map(Endpoint::Unix).ok_or_else(|| format!("it is of another family; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_stream_sockets_that_listen_are_taken() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        assert_eq!(endpoint_of(&SockRef::from(&tcp)), Ok(Endpoint::Tcp(address)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        let endpoint = Endpoint::Unix(UnixAddress::Path(path));
        assert_eq!(endpoint_of(&SockRef::from(&unix)), Ok(endpoint));
        let client = std::net::TcpStream::connect(address).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = tempfile::tempfile().unwrap();
        for (wrong, words) in [
            (endpoint_of(&SockRef::from(&client)), "does not listen"),
            (endpoint_of(&SockRef::from(&udp)), "no stream socket"),
            (endpoint_of(&SockRef::from(&file)), "no socket"),
        ] {
            let error = wrong.unwrap_err();
            assert!(error.contains(words) && error.contains("ListenStream="), "{error}");
        }
    }
}
