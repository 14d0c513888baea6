//! Where to listen, as an operator writes it.
//!
//! | form | meaning |
//! | --- | --- |
//! | `127.0.0.1:8080`, `[::1]:8080` | an address |
//! | `8080` | a port of 127.0.0.1 |
//! | `[fe80::1%eth0]:8080` | a link-local address, with its interface by name or by number |
//! | `:8080`, `*:8080` | all addresses of both families, on one socket |
//! | `localhost:8080`, `www.example:8080` | the addresses of a name that this machine has |
//! | `unix:/run/site.sock` | a Unix socket |
//! | `unix:@site` | a Unix socket with an abstract name (`unix(7)`) |
//! | `fd:web`, `fd:3` | sockets of the program which starts the server (`sd_listen_fds(3)`) |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use super::listen_spec_error::ListenSpecError;
use super::unix_address::{UnixAddress, UnixOptions};

/// The most addresses of a name that are listened on.
pub(super) const NAME_ADDRESSES_MAX: usize = 16;

/// The longest name (RFC 1035, section 2.3.4, without the last dot).
const NAME_MAX: usize = 253;

/// The longest name of a descriptor (`systemd.socket(5)`).
const PASSED_NAME_MAX: usize = 255;

/// Where to listen; see the module documentation. [`ListenSpec::resolve`] finds the addresses.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenSpec {
    /// An address and a port. With port 0, the kernel picks a free one.
    Tcp(SocketAddr),
    /// An IPv6 address, its port, and the interface that it belongs to.
    Zone {
        /// The address, usually a link-local one.
        address: Ipv6Addr,
        /// The name of the interface.
        interface: String,
        /// The port.
        port: u16,
    },
    /// A port of all addresses, IPv6 and IPv4.
    Port(u16),
    /// The addresses of a host name, and their port.
    Name(String, u16),
    /// A Unix socket, and who may connect to it.
    Unix(UnixAddress, UnixOptions),
    /// The sockets of this name that the program which starts the server has opened, or the one
    /// with this number.
    Passed(String),
}

impl ListenSpec {
    /// The port; `None` of a Unix socket. With 0, the kernel picks one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Zone { port, .. } | Self::Port(port) | Self::Name(_, port) => Some(*port),
            Self::Unix(..) | Self::Passed(_) => None,
        }
    }

    /// The same socket with other rights, as a configuration file sets them.
    ///
    /// # Errors
    ///
    /// When this is no Unix socket, or one with an abstract name, which has no rights.
    pub fn with_options(self, options: UnixOptions) -> Result<Self, ListenSpecError> {
        match self {
            Self::Unix(address @ UnixAddress::Path(_), _) => Ok(Self::Unix(address, options)),
            other => Err(ListenSpecError::no_rights(&other)),
        }
    }

    /// The most addresses that [`ListenSpec::resolve`] returns.
    #[must_use]
    pub fn endpoints_max(&self) -> usize {
        match self {
            Self::Name(name, _) if is_localhost(name) => 2,
            Self::Name(..) | Self::Passed(_) => NAME_ADDRESSES_MAX,
            Self::Tcp(_) | Self::Zone { .. } | Self::Port(_) | Self::Unix(..) => 1,
        }
    }
}

/// Whether a name is that of this machine (RFC 6761, section 6.3).
pub(super) fn is_localhost(name: &str) -> bool {
    name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

impl From<SocketAddr> for ListenSpec {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<UnixAddress> for ListenSpec {
    /// With the default rights.
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address, UnixOptions::default())
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Zone { address, interface, port } => write!(f, "[{address}%{interface}]:{port}"),
            Self::Port(port) => write!(f, ":{port}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(address, _) => address.fmt(f),
            Self::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

impl FromStr for ListenSpec {
    type Err = ListenSpecError;

    fn from_str(text: &str) -> Result<Self, ListenSpecError> {
        if text.starts_with("unix:") {
            return text.parse::<UnixAddress>().map(Self::from);
        }
        if let Some(name) = text.strip_prefix("fd:") {
            return passed(name);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) =
                rest.split_once("]:").ok_or_else(|| ListenSpecError::no_port(text))?;
            return of_ipv6(host, port_of(text, port)?);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            // Not all addresses: who does not name one may not know that others can connect.
            return match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
                true => Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port_of(text, text)?).into())),
                false => Err(ListenSpecError::no_port(text)),
            };
        };
        if host.contains(['/', '@']) || text.contains("://") || host.contains(':') {
            return Err(ListenSpecError::no_port(text));
        }
        let port = port_of(text, port)?;
        if matches!(host, "" | "*") {
            return Ok(Self::Port(port));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(address), port)));
        }
        if !is_name(host) {
            return Err(ListenSpecError::no_host(host));
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

/// The name of a descriptor, as `FileDescriptorName=` may have it (`systemd.socket(5)`), or its
/// number.
fn passed(name: &str) -> Result<ListenSpec, ListenSpecError> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    match (1..=PASSED_NAME_MAX).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(ListenSpec::Passed(name.to_owned())),
        false => Err(ListenSpecError::no_passed_name(name)),
    }
}

fn port_of(text: &str, port: &str) -> Result<u16, ListenSpecError> {
    // `parse` takes a sign as well.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| digits);
    number.ok_or_else(|| ListenSpecError::wrong_port(text, port))
}

/// An address in brackets, which may have a zone (RFC 4007, section 11).
fn of_ipv6(host: &str, port: u16) -> Result<ListenSpec, ListenSpecError> {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    let Ok(address) = address.parse::<Ipv6Addr>() else {
        return Err(ListenSpecError::no_ipv6(host, port));
    };
    let Some(zone) = zone else { return Ok(SocketAddr::new(address.into(), port).into()) };
    if let Ok(index) = zone.parse() {
        return Ok(SocketAddr::V6(SocketAddrV6::new(address, port, 0, index)).into());
    }
    // Longer names do not exist (`IFNAMSIZ`, `netdevice(7)`).
    let fits = (1..libc::IFNAMSIZ).contains(&zone.len());
    if !fits || zone.contains(|letter: char| letter.is_whitespace() || letter == '/') {
        return Err(ListenSpecError::no_interface(zone));
    }
    Ok(ListenSpec::Zone { address, interface: zone.to_owned(), port })
}

/// Whether the text may be a host name. What consists of digits and dots is a wrong IPv4 address;
/// the resolver would take some of these for addresses (`inet_aton(3)`).
fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.len() <= NAME_MAX
        && text.bytes().all(is_letter)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ListenSpec, String> {
        text.parse().map_err(|error: ListenSpecError| error.to_string())
    }

    #[test]
    fn every_form_is_parsed_and_written_as_it_was() {
        let unix = |text: &str| ListenSpec::from(text.parse::<UnixAddress>().unwrap());
        let link_local = "fe80::1".parse::<Ipv6Addr>().unwrap();
        for (text, spec) in [
            ("127.0.0.1:80", ListenSpec::Tcp(([127, 0, 0, 1], 80).into())),
            ("0.0.0.0:0", ListenSpec::Tcp(([0, 0, 0, 0], 0).into())),
            ("[::1]:65535", ListenSpec::Tcp((Ipv6Addr::LOCALHOST, 65_535).into())),
            ("[fe80::1%2]:80", ListenSpec::Tcp(SocketAddrV6::new(link_local, 80, 0, 2).into())),
            (
                "[fe80::1%eth0.7]:80",
                ListenSpec::Zone { address: link_local, interface: "eth0.7".into(), port: 80 },
            ),
            (":8080", ListenSpec::Port(8080)),
            ("localhost:80", ListenSpec::Name("localhost".into(), 80)),
            ("a-b.example.:80", ListenSpec::Name("a-b.example.".into(), 80)),
            ("unix:/run/a b.sock", unix("unix:/run/a b.sock")),
            ("unix:@site", unix("unix:@site")),
            ("fd:web", ListenSpec::Passed("web".into())),
            ("fd:3", ListenSpec::Passed("3".into())),
        ] {
            assert_eq!(parse(text), Ok(spec.clone()), "{text}");
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        assert_eq!(parse("8080"), parse("127.0.0.1:8080"));
        assert_eq!(parse("*:8080"), parse(":8080"));
    }

    /// The error of a near miss has the right form.
    #[test]
    fn near_misses_get_the_right_form() {
        for (text, words) in [
            ("65536", &["65535"][..]),
            ("127.0.0.1", &["`127.0.0.1:8080`"]),
            ("::1", &["`[::1]:8080`"]),
            ("[::1]", &["`[::1]:8080`"]),
            ("::1:8080", &["`[::1]:8080`"]),
            ("fe80::1%eth0:80", &["`[fe80::1%eth0]:80`"]),
            ("localhost", &["`localhost:8080`"]),
            ("127.0.0.1:65536", &["65535"]),
            ("127.0.0.1:http", &["http", "65535"]),
            ("127.0.0.1:+1", &["+1", "65535"]),
            ("127.0.0.1:", &["port", "65535"]),
            ("127.0.0.256:80", &["127.0.0.256", "IPv4"]),
            ("127.1:80", &["127.1", "IPv4"]),
            ("[127.0.0.1]:80", &["`127.0.0.1:80`"]),
            ("[localhost]:80", &["`localhost:80`"]),
            ("[::1]80", &["`[::1]:8080`"]),
            ("[::1", &["`[::1]:8080`"]),
            ("[fe80::1%]:80", &["interface", "ip link"]),
            ("[fe80::1%a name]:80", &["interface", "ip link"]),
            ("http://127.0.0.1:80", &["`127.0.0.1:80`"]),
            ("http://localhost:80/", &["`localhost:80`"]),
            ("/run/site.sock", &["`unix:/run/site.sock`"]),
            ("@site", &["`unix:@site`"]),
            ("unix:run/site.sock", &["absolute"]),
            ("unix:", &["unix:/run/site.sock"]),
            ("unix://run/site.sock", &["`unix:/run/site.sock`"]),
            ("unix:@", &["name"]),
            ("fd:", &["fd:web", "FileDescriptorName"]),
            ("fd:a:b", &["fd:web"]),
            ("a b:80", &["a b"]),
            ("-a:80", &["-a"]),
            ("", &["`:8080`"]),
        ] {
            let error = parse(text).unwrap_err();
            for word in words {
                assert!(error.contains(word), "no {word:?} for {text:?}: {error}");
            }
        }
    }

    #[test]
    fn only_a_unix_socket_with_a_path_has_rights() {
        let options = UnixOptions { mode: 0o600, ..UnixOptions::default() };
        let with = |text: &str| text.parse::<ListenSpec>().unwrap().with_options(options.clone());
        assert!(matches!(with("unix:/run/a"), Ok(ListenSpec::Unix(_, own)) if own == options));
        for text in ["unix:@a", ":80", "localhost:80"] {
            let error = with(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("mode"), "{error}");
        }
    }
}
