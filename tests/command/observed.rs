//! A server that is observed: by its administration and by its logs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{WAIT_MAX, eventually};
use crate::process::{Server, end_of, ringd, with};

/// The options of a server with one worker, a free port, and an administration at another one.
pub(crate) const ADMIN: [&str; 4] = ["--workers", "1", "--admin", "127.0.0.1:0"];

/// A server of a directory with [`ADMIN`], on a driver, and with further options.
pub(crate) fn observed(root: &Path, driver: &str, options: &[&str]) -> Command {
    let root = root.to_str().unwrap();
    let mut command = with(&[root, "--driver", driver]);
    command.args(ADMIN).args(options);
    command
}

/// Where the administration of a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What the administration has answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Place {
    /// The places in the start line of a server.
    pub(crate) fn all(server: &Server) -> Vec<Self> {
        let (_, places) = server.line.split_once("; admin: ").expect("there is an administration");
        let places = places.split(';').next().unwrap_or_default();
        let place = |text: &str| match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => {
                let address = text.trim_start_matches("http://").trim_end_matches('/');
                Self::Tcp(address.parse().unwrap())
            }
        };
        places.split(' ').map(place).collect()
    }

    /// The first place.
    pub(crate) fn of(server: &Server) -> Self {
        Self::all(server).remove(0)
    }

    /// The text that `--admin` and `ringd health` take.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Sends bytes, and returns the answer, after which the connection ends without an error.
    pub(crate) fn send(&self, request: &[u8]) -> Reply {
        fn exchange(mut stream: impl Read + Write, request: &[u8]) -> String {
            stream.write_all(request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }
        let answer = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
                exchange(stream, request)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
                exchange(stream, request)
            }
        };
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split("\r\n").next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        Reply { status: status.to_owned(), head: format!("{head}\r\n"), body: body.to_owned() }
    }

    /// Sends a request without a body, with fields that each end with a line end.
    pub(crate) fn ask(&self, line: &str, fields: &str) -> Reply {
        self.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes())
    }

    /// The answer to GET, which must be 200.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        let reply = self.ask(&format!("GET {path}"), "");
        assert_eq!(reply.status, "200 OK", "{path}: {}", reply.body);
        reply
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics").body)
    }

    /// The status as JSON.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/status.json").body).unwrap()
    }

    /// Reads the metrics until `holds`.
    #[track_caller]
    pub(crate) fn metrics_until(
        &self,
        what: &str,
        mut holds: impl FnMut(&Metrics) -> bool,
    ) -> Metrics {
        let mut metrics = self.metrics();
        eventually(what, || {
            metrics = self.metrics();
            holds(&metrics)
        });
        metrics
    }
}

/// Metrics: values by their names with labels, as they are written.
#[derive(Debug)]
pub(crate) struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// Parses either format.
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        };
        Self(samples.map(sample).collect())
    }

    /// The value with this name and these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// The samples whose name begins like this.
    pub(crate) fn of(&self, name: &str) -> Vec<(&str, f64)> {
        let samples = self.0.iter().map(|(name, value)| (&**name, *value));
        samples.filter(|(other, _)| other.starts_with(name)).collect()
    }

    /// The sum of the samples with this name and, among others, this label.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let samples = self.of(&format!("{name}{{")).into_iter();
        samples.filter(|(name, _)| name.contains(label)).map(|(_, value)| value).sum()
    }

    /// How many lines of the access log were written, and how many dropped.
    #[track_caller]
    pub(crate) fn lines(&self) -> (f64, f64) {
        let value = |result| self.value(&format!("ringd_log_lines_total{{result=\"{result}\"}}"));
        (value("written"), value("dropped"))
    }
}

/// A connection on which requests follow each other.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::connect_to(server.address())
    }

    pub(crate) fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request, and reads the head and the body of its answer. Returns the status.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, fields: &str) -> u16 {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let count = self.0.read_line(&mut head);
            assert!(count.is_ok_and(|count| count > 0), "{line:.99}: the head ends with {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let has_body = !line.starts_with("HEAD ") && !head.starts_with("HTTP/1.1 304");
        let length = length.filter(|_| has_body).map_or(0, |length| length.parse().unwrap());
        self.0.read_exact(&mut vec![0; length]).unwrap();
        head[9..12].parse().unwrap()
    }

    /// Requests the index of the site, with a query as a mark.
    #[track_caller]
    pub(crate) fn get(&mut self, mark: impl std::fmt::Display) {
        assert_eq!(self.ask(&format!("GET /?{mark}"), ""), 200);
    }
}

/// Makes a named pipe.
pub(crate) fn named_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Asserts that a start of a server fails with exit code 1, and one line with all of `words`.
#[track_caller]
pub(crate) fn assert_no_start(command: &mut Command, words: &[&str]) {
    end_of(command).assert_failed(1, words);
}

/// Asserts that a command line is refused for a reason with all of `words`.
#[track_caller]
pub(crate) fn assert_refused(arguments: &[&str], words: &[&str]) {
    let end = end_of(ringd().args(arguments));
    assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
    end.assert_names(words);
}
