//! Finds the addresses of a [`ListenSpec`].

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use socket2::{Domain, Socket, Type};

use super::endpoint::Endpoint;
use super::listen_spec::{ListenSpec, NAME_ADDRESSES_MAX, is_localhost};

/// Why a [`ListenSpec`] has no address: the cause, what was tried, and a remedy.
#[derive(Debug)]
pub struct ResolveError {
    /// As it was written.
    spec: String,
    cause: ResolveCause,
}

#[derive(Debug)]
enum ResolveCause {
    /// The resolver has failed.
    Resolver(io::Error),
    /// None of the addresses is one of this machine.
    NothingLocal(Vec<SocketAddr>, u16),
    /// The name has more local addresses than are listened on.
    TooMany(usize),
    /// There is no such interface.
    NoInterface(String),
    /// The interfaces cannot be asked for.
    Interfaces(io::Error),
    /// The program that has started the server passes no such socket.
    NotPassed,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.spec)?;
        match &self.cause {
            ResolveCause::Resolver(error) => write!(
                f,
                "the name has no address: {error}; add it to /etc/hosts, or use the address \
                 (`getent ahosts NAME` asks the same resolver)"
            ),
            ResolveCause::NothingLocal(addresses, port) => {
                f.write_str("the name stands for ")?;
                for (place, address) in addresses.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", address.ip())?;
                }
                write!(
                    f,
                    ", and this machine has no such address; use one that `ip address` lists, or \
                     :{port} for all of them"
                )
            }
            ResolveCause::TooMany(count) => write!(
                f,
                "the name stands for {count} addresses of this machine, and at most \
                 {NAME_ADDRESSES_MAX} are listened on; name those that are meant"
            ),
            ResolveCause::NoInterface(name) => {
                write!(f, "this machine has no interface {name}; `ip link` lists its interfaces")
            }
            ResolveCause::Interfaces(error) => write!(
                f,
                "the number of the interface cannot be found: {error}; write it in place of the \
                 name, as in [fe80::1%2]:8080 (`ip link` lists the numbers)"
            ),
            ResolveCause::NotPassed => f.write_str(
                "the program that started ringd has passed no listening socket of this name or \
                 number; start ringd by a socket unit with FileDescriptorName= \
                 (systemd.socket(5)), or name an address",
            ),
        }
    }
}

impl std::error::Error for ResolveError {}

impl ListenSpec {
    /// Finds the addresses, at least one and at most [`ListenSpec::endpoints_max`]. May wait for
    /// the resolver.
    ///
    /// # Errors
    ///
    /// When a name has no address, or none of this machine, or when an interface does not exist.
    pub fn resolve(&self) -> Result<Vec<Endpoint>, ResolveError> {
        let fail = |cause| ResolveError { spec: self.to_string(), cause };
        let endpoint = match self {
            Self::Tcp(address) => Endpoint::Tcp(*address),
            Self::Zone { address, interface, port } => {
                let index = index_of(interface).map_err(fail)?;
                Endpoint::Tcp(SocketAddrV6::new(*address, *port, 0, index).into())
            }
            Self::Port(port) if has_ipv6() => Endpoint::BothFamilies(*port),
            Self::Port(port) => Endpoint::Tcp((Ipv4Addr::UNSPECIFIED, *port).into()),
            Self::Name(name, port) => return of_name(name, *port).map_err(fail),
            Self::Unix(address, _) => Endpoint::Unix(address.clone()),
            Self::Passed(_) => return Err(fail(ResolveCause::NotPassed)),
        };
        Ok(vec![endpoint])
    }
}

impl ResolveError {
    /// There is no such socket among those that were passed.
    pub(super) fn not_passed(spec: &ListenSpec) -> Self {
        Self { spec: spec.to_string(), cause: ResolveCause::NotPassed }
    }
}

/// The local addresses of a name. Those of `localhost` are known; the resolver might have only one.
fn of_name(name: &str, port: u16) -> Result<Vec<Endpoint>, ResolveCause> {
    let all: Vec<SocketAddr> = if is_localhost(name) {
        vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    } else {
        (name, port).to_socket_addrs().map_err(ResolveCause::Resolver)?.collect()
    };
    choose(all, port, is_local)
}

/// Those of these addresses that are local, each once.
fn choose(
    all: Vec<SocketAddr>,
    port: u16,
    is_local: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<Endpoint>, ResolveCause> {
    let mut local: Vec<Endpoint> = Vec::new();
    for address in &all {
        let endpoint = Endpoint::Tcp(*address);
        if !local.contains(&endpoint) && is_local(*address) {
            local.push(endpoint);
        }
    }
    match local.len() {
        0 => Err(ResolveCause::NothingLocal(all, port)),
        count if count > NAME_ADDRESSES_MAX => Err(ResolveCause::TooMany(count)),
        _ => Ok(local),
    }
}

/// Whether this machine has an address: then a socket can be bound to it, with any port. If that
/// fails for another reason, listening will fail too, with an error that explains it.
fn is_local(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let bound = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .and_then(|socket| socket.bind(&address.into()));
    let code = bound.err().and_then(|error| error.raw_os_error());
    !matches!(code, Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

/// Whether sockets of IPv6 can be made.
fn has_ipv6() -> bool {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None);
    let code = socket.err().and_then(|error| error.raw_os_error());
    code != Some(libc::EAFNOSUPPORT)
}

/// The number of an interface (`netdevice(7)`, `SIOCGIFINDEX`).
fn index_of(interface: &str) -> Result<u32, ResolveCause> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).map_err(ResolveCause::Interfaces)?;
    match rustix::net::netdevice::name_to_index(&socket, interface) {
        Ok(index) => Ok(index),
        Err(rustix::io::Errno::NODEV) => Err(ResolveCause::NoInterface(interface.to_owned())),
        Err(error) => Err(ResolveCause::Interfaces(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Vec<String>, String> {
        let spec: ListenSpec = text.parse().unwrap();
        let found = spec.resolve().map_err(|error| error.to_string())?;
        assert!((1..=spec.endpoints_max()).contains(&found.len()), "{found:?}");
        Ok(found.iter().map(Endpoint::to_string).collect())
    }

    #[test]
    fn localhost_is_known() {
        let mut expected = vec!["127.0.0.1:80".to_owned()];
        expected.extend(is_local((Ipv6Addr::LOCALHOST, 0).into()).then(|| "[::1]:80".to_owned()));
        for name in ["localhost", "LocalHost", "localhost."] {
            assert_eq!(resolve(&format!("{name}:80")).unwrap(), expected);
        }
    }

    #[test]
    fn a_port_is_that_of_all_addresses() {
        let expected = if has_ipv6() { "[::]:80" } else { "0.0.0.0:80" };
        assert_eq!(resolve(":80").unwrap(), [expected]);
    }

    #[test]
    fn an_interface_has_a_number() {
        if !has_ipv6() {
            return println!("skipped: this machine has no IPv6");
        }
        assert_eq!(resolve("[fe80::1%lo]:80").unwrap(), ["[fe80::1%1]:80"]);
        let error = resolve("[fe80::1%missing0]:80").unwrap_err();
        assert!(error.contains("no interface missing0") && error.contains("ip link"), "{error}");
    }

    /// The top-level domain `invalid` has no names (RFC 6761, section 6.4).
    #[test]
    fn a_name_without_addresses_is_an_error() {
        let error = resolve("ringd.invalid:80").unwrap_err();
        for word in ["ringd.invalid:80", "no address", "getent"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn only_local_addresses_are_taken_each_once() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = ["192.0.2.1:80", "127.0.0.1:80", "127.0.0.1:80", "[::1]:80"].map(address);
        let found = choose(all.to_vec(), 80, |one| one.ip().is_loopback()).unwrap();
        assert_eq!(found, [Endpoint::Tcp(all[1]), Endpoint::Tcp(all[3])]);
        let cause = choose(all[..1].to_vec(), 80, |_| false).unwrap_err();
        let error = ResolveError { spec: "a.example:80".into(), cause }.to_string();
        for word in ["a.example:80", "192.0.2.1", "ip address", ":80"] {
            assert!(error.contains(word), "{error}");
        }
        let many = (0..=NAME_ADDRESSES_MAX as u8).map(|last| ([127, 0, 0, last], 80).into());
        assert!(matches!(choose(many.collect(), 80, |_| true), Err(ResolveCause::TooMany(17))));
    }

    #[test]
    fn addresses_of_other_machines_are_not_local() {
        assert!(is_local(([127, 0, 0, 1], 80).into()));
        // TEST-NET-1 (RFC 5737): no machine has it, unless binding is allowed for any address.
        let any = std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind");
        assert!(any.is_ok_and(|any| any.trim() == "1") || !is_local(([192, 0, 2, 1], 80).into()));
    }
}
