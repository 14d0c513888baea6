//! Another server to compare with, whose CPU time is read from `/proc`.
//!
//! Its processes are those that hold the listening socket (`proc(5)`: `net/tcp`, `PID/fd`), and
//! `schedstat` has their CPU time in nanoseconds. The CPU time is not known if the server runs on
//! another machine, or if its processes may not be inspected.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::child::ServerUsage;
use super::plan::{BenchProtocol, Cell};

/// A URL for error messages.
const EXAMPLE: &str = "http://127.0.0.1:8080/";

/// The state `TCP_LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// How the client speaks with another server. `h2c` is HTTP/2 without TLS, by prior knowledge
/// (RFC 9113 section 3.3): servers such as nginx have ports of their own for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OtherScheme {
    Http,
    H2c,
    Https,
}

impl OtherScheme {
    const ALL: [(&str, Self, u16); 3] =
        [("http://", Self::Http, 80), ("h2c://", Self::H2c, 80), ("https://", Self::Https, 443)];

    /// Whether such a server is measured in a cell.
    pub(super) fn is_measured_in(self, cell: Cell) -> bool {
        match (cell.tls, cell.protocol) {
            (Some(_), _) => self == Self::Https,
            (None, BenchProtocol::Http1) => self == Self::Http,
            (None, BenchProtocol::Http2 { .. }) => self == Self::H2c,
        }
    }

    /// The options that add cells for such a server.
    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Http => "--shape",
            Self::H2c => "--h2, without --tls",
            Self::Https => "--tls",
        }
    }
}

/// A server that is already running.
#[derive(Clone, Debug)]
pub(super) struct OtherServer {
    /// The URL, as given on the command line.
    pub(super) url: String,
    pub(super) scheme: OtherScheme,
    /// The value of `Host`, or of `:authority`.
    pub(super) authority: String,
    pub(super) address: SocketAddr,
    /// The path before the name of a file; ends with a slash.
    pub(super) prefix: String,
    /// The directories of its processes in `/proc`.
    processes: Vec<PathBuf>,
}

/// Why the URL of another server cannot be used.
#[derive(Debug)]
pub struct UrlError {
    url: String,
    /// The error of the lookup of the host; `None` if the URL has another scheme.
    lookup: Option<io::Error>,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, lookup } = self;
        match lookup {
            Some(error) => write!(
                f,
                "{url}: the host has no address: {error}; check the name, or use an address, as in \
                 {EXAMPLE}"
            ),
            None => write!(
                f,
                "{url}: the URL must begin with http://, h2c:// or https://, as in {EXAMPLE}"
            ),
        }
    }
}

impl OtherServer {
    /// The server at a URL such as `http://127.0.0.1:8080/files/`.
    ///
    /// # Errors
    ///
    /// When the URL has another form, or its host has no address.
    pub(super) fn find(url: &str) -> Result<Self, UrlError> {
        let failed = |lookup| UrlError { url: url.to_owned(), lookup };
        let begins = |(prefix, scheme, port)| Some((url.strip_prefix(prefix)?, scheme, port));
        let found = OtherScheme::ALL.into_iter().find_map(begins);
        let (rest, scheme, port) = found.ok_or_else(|| failed(None))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:{port}"),
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| failed(Some(error)))?
            .next()
            .ok_or_else(|| failed(Some(io::ErrorKind::NotFound.into())))?;
        Ok(Self {
            url: url.to_owned(),
            scheme,
            authority: authority.to_owned(),
            address,
            prefix: format!("{}/", path.trim_end_matches('/')),
            processes: processes_listening(address),
        })
    }

    /// What the server has used since it started; `None` if it cannot be read.
    pub(super) fn usage(&self) -> Option<ServerUsage> {
        if self.processes.is_empty() {
            return None;
        }
        let times = self.processes.iter().map(|process| cpu_nanoseconds(process));
        let cpu_nanoseconds = times.sum::<Option<u64>>()?;
        Some(ServerUsage { cpu_nanoseconds, ..ServerUsage::default() })
    }
}

/// The CPU time of all threads of a process.
fn cpu_nanoseconds(process: &std::path::Path) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(process.join("task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat"));
        // Skip a thread that has just ended; its time is lost.
        let Ok(text) = text else { continue };
        sum += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// The processes with a socket that listens at an address, as directories of `/proc`.
fn processes_listening(address: SocketAddr) -> Vec<PathBuf> {
    if !is_local(address.ip()) {
        return Vec::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let found: Vec<(Nearness, String)> =
        tables.flat_map(|table| listening(&table, address)).collect();
    let nearest = found.iter().map(|(nearness, _)| *nearness).min();
    let sockets: Vec<&String> =
        found.iter().filter(|it| Some(it.0) == nearest).map(|(_, socket)| socket).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let holds = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    };
    // Only numeric names: `self` and `thread-self` are further names of this process.
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let processes = processes.flatten().map(|process| process.path());
    processes.filter(is_process).filter(holds).collect()
}

/// How near a socket that listens is to an address: the kernel gives connections to the nearest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Nearness {
    Same,
    AllOfFamily,
    /// `[::]` takes IPv4 too, if it may.
    AllOfBoth,
}

impl Nearness {
    /// `None` if a socket at `listens` does not take connections to `ip`.
    fn of(listens: IpAddr, ip: IpAddr) -> Option<Self> {
        if listens.to_canonical() == ip.to_canonical() {
            return Some(Self::Same);
        }
        if !listens.is_unspecified() {
            return None;
        }
        match (listens, ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                Some(Self::AllOfFamily)
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => Some(Self::AllOfBoth),
            (IpAddr::V4(_), IpAddr::V6(_)) => None,
        }
    }
}

/// The sockets in a table such as `/proc/net/tcp` that listen at an address, named as in
/// `/proc/PID/fd`.
fn listening(table: &str, address: SocketAddr) -> Vec<(Nearness, String)> {
    let lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let socket = |columns: Vec<&str>| {
        if columns.len() <= 9 || columns[3] != LISTEN {
            return None;
        }
        let (ip, port) = columns[1].split_once(':')?;
        let is_port = u16::from_str_radix(port, 16) == Ok(address.port());
        let nearness = Nearness::of(parse_ip(ip)?, address.ip()).filter(|_| is_port)?;
        Some((nearness, format!("socket:[{}]", columns[9])))
    };
    lines.filter_map(socket).collect()
}

/// An address of the table: words of 32 bits in hexadecimal, each in the order of this machine.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(8 * at..8 * at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => word(0).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes))),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// Whether this machine has the address, which means that a socket can be bound to it.
fn is_local(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_processes_of_a_server_on_this_machine_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = OtherServer::find(&format!("http://{address}/a/b")).unwrap();
        assert_eq!((server.address, &*server.prefix), (address, "/a/b/"));
        assert_eq!(server.authority, address.to_string());
        let own = std::process::id().to_string();
        assert!(server.processes.iter().any(|process| process.ends_with(&own)), "{server:?}");
        let before = server.usage().unwrap().cpu_nanoseconds;
        while server.usage().unwrap().cpu_nanoseconds == before {}
    }

    #[test]
    fn the_error_of_an_invalid_url_begins_with_the_url() {
        for bad in ["ftp://127.0.0.1/", "127.0.0.1:80", "http://", "http://no such host/"] {
            let error = OtherServer::find(bad).unwrap_err().to_string();
            assert!(error.starts_with(bad), "{error}");
        }
        for (url, scheme, port) in [
            ("http://127.0.0.1", OtherScheme::Http, 80),
            ("h2c://127.0.0.1", OtherScheme::H2c, 80),
            ("https://127.0.0.1", OtherScheme::Https, 443),
        ] {
            let server = OtherServer::find(url).unwrap();
            assert_eq!((server.scheme, server.address.port()), (scheme, port));
            assert_eq!(server.prefix, "/");
        }
    }

    #[test]
    fn only_listening_sockets_are_taken_from_the_table() {
        let table = "  sl  local_address rem_address   st\n   \
            0: 0100007F:1ED2 00000000:0000 0A 00000000:00000000 00:00000000 0000000 0 0 4711 1\n   \
            1: 0100007F:1ED2 0100007F:A0A0 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n";
        let at = |address: &str| listening(table, address.parse().unwrap());
        assert_eq!(at("127.0.0.1:7890"), [(Nearness::Same, "socket:[4711]".to_owned())]);
        assert!(at("127.0.0.1:80").is_empty());
        assert!(at("127.0.0.2:7890").is_empty());
    }

    /// Another server may listen at the same port of another address.
    #[test]
    fn a_socket_at_another_address_is_not_that_of_the_server() {
        let line = |ip: &str, inode| {
            let zero = "0".repeat(ip.len());
            format!("0: {ip}:0050 {zero}:0000 0A 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let (any, mapped) = ("0".repeat(32), "0000000000000000FFFF00000200007F");
        let table = [line("0100007F", 1), line("00000000", 2), line(&any, 3), line(mapped, 4)];
        let table = table.concat();
        let nearest = |address: &str| {
            let found = listening(&table, address.parse().unwrap()).into_iter().min();
            found.map(|(_, socket)| socket)
        };
        for (address, inode) in
            [("127.0.0.1:80", 1), ("127.0.0.2:80", 4), ("127.0.0.3:80", 2), ("[::1]:80", 3)]
        {
            assert_eq!(nearest(address), Some(format!("socket:[{inode}]")), "{address}");
        }
    }
}
