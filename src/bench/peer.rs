//! Another server to compare with: what it spends is read from outside, where that is possible.
//!
//! Its processes are those that hold the listening socket (`proc(5)`: `net/tcp`, `PID/fd`).
//! `schedstat` counts their time in nanoseconds. Who may not look at them, or has them on
//! another machine, gets no figure for CPU time.

use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::child::Spent;

/// `TCP_LISTEN` in the table of the kernel.
const LISTEN: &str = "0A";

/// A server that somebody else has started.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// As it was given.
    pub(super) url: String,
    /// What goes into `Host`.
    pub(super) authority: String,
    pub(super) address: SocketAddr,
    /// What stands before the name of a file; ends with a slash.
    pub(super) prefix: String,
    processes: Vec<PathBuf>,
}

impl Peer {
    /// The server at an address such as `http://127.0.0.1:8080/files/`.
    ///
    /// # Errors
    ///
    /// In words, when it is no such address, or nobody has the name.
    pub(super) fn find(url: &str) -> Result<Self, String> {
        let form = "it is written like http://127.0.0.1:8080/";
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url}: {form}"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{url}: {authority} has no address: {error}; {form}"))?
            .next()
            .ok_or_else(|| format!("{url}: {authority} has no address"))?;
        Ok(Self {
            url: url.to_owned(),
            authority: authority.to_owned(),
            address,
            prefix: format!("{}/", path.trim_end_matches('/')),
            processes: processes_listening(address),
        })
    }

    /// What it has spent since it began, if that can be seen.
    pub(super) fn spent(&self) -> Option<Spent> {
        if self.processes.is_empty() {
            return None;
        }
        let times = self.processes.iter().map(|process| cpu_nanoseconds(process));
        let cpu_nanoseconds = times.sum::<Option<u64>>()?;
        Some(Spent { cpu_nanoseconds, ..Spent::default() })
    }
}

/// The time of all threads of a process.
fn cpu_nanoseconds(process: &std::path::Path) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(process.join("task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat"));
        // A thread that has ended meanwhile has taken its time with it.
        let Ok(text) = text else { continue };
        sum += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// The processes that hold a socket which listens at an address, as folders of `/proc`.
fn processes_listening(address: SocketAddr) -> Vec<PathBuf> {
    if !is_local(address.ip()) {
        return Vec::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let sockets: Vec<String> =
        tables.flat_map(|table| inodes_listening(&table, address.port())).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let holds = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    };
    // Only numbers: `self` and `thread-self` are there once more.
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let processes = processes.flatten().map(|process| process.path());
    processes.filter(is_process).filter(holds).collect()
}

/// The sockets of a table that listen on a port, as `/proc/PID/fd` names them.
fn inodes_listening(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines
        .filter(|columns| columns.len() > 9 && columns[1].ends_with(&port) && columns[3] == LISTEN)
        .map(|columns| format!("socket:[{}]", columns[9]))
        .collect()
}

/// Whether an address is one of this machine: only that can be bound.
fn is_local(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_of_this_machine_is_found_by_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Peer::find(&format!("http://{address}/a/b")).unwrap();
        assert_eq!((peer.address, &*peer.prefix), (address, "/a/b/"));
        assert_eq!(peer.authority, address.to_string());
        let own = std::process::id().to_string();
        assert!(peer.processes.iter().any(|process| process.ends_with(&own)), "{peer:?}");
        let before = peer.spent().unwrap().cpu_nanoseconds;
        while peer.spent().unwrap().cpu_nanoseconds == before {}
    }

    #[test]
    fn what_is_no_address_is_told_with_the_form() {
        for bad in ["https://127.0.0.1/", "127.0.0.1:80", "http://", "http://no such host/"] {
            let error = Peer::find(bad).unwrap_err();
            assert!(error.starts_with(bad), "{error}");
        }
        assert_eq!(Peer::find("http://127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Peer::find("http://127.0.0.1").unwrap().prefix, "/");
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let table = "  sl  local_address rem_address   st\n   \
            0: 0100007F:1ED2 00000000:0000 0A 00000000:00000000 00:00000000 0000000 0 0 4711 1\n   \
            1: 0100007F:1ED2 0100007F:A0A0 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n";
        assert_eq!(inodes_listening(table, 0x1ed2), ["socket:[4711]"]);
        assert!(inodes_listening(table, 80).is_empty());
    }
}
