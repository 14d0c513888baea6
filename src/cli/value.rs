//! Parsers for the values of options.
//!
//! The error of a parser is a `String`, here and in the other files of the command line: clap only
//! prints it, after the option and the value.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::driver::DriverKind;
use crate::http::records::log::{FormatError, LogFormat};
use crate::http::site::site_files::HostingService;
use crate::log_output::LogTarget;
use crate::server::ListenSpec;

/// The longest time that is accepted, so that sums of times cannot overflow.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The value of `--driver`: the name of one of [`DriverKind::ALL`], or `auto`, which is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DriverName(pub Option<DriverKind>);

impl DriverName {
    const ALL: [Self; DriverKind::ALL.len() + 1] = {
        let mut all = [Self(None); DriverKind::ALL.len() + 1];
        let mut at = 0;
        while at < DriverKind::ALL.len() {
            all[at + 1] = Self(Some(DriverKind::ALL[at]));
            at += 1;
        }
        all
    };

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.0.map_or("auto", DriverKind::name)
    }
}

impl ValueEnum for DriverName {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let summary = self.0.map_or("uring if it works, otherwise epoll", DriverKind::summary);
        Some(PossibleValue::new(self.name()).help(summary))
    }
}

/// The value of `--log`; `None` for no log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogName(pub Option<LogTarget>);

impl LogName {
    /// The values that are no paths.
    pub(super) const WORDS: [&str; 3] = ["off", "stdout", "stderr"];
}

impl FromStr for LogName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "off" => None,
            other => Some(log_target(other)?),
        }))
    }
}

/// Parses `--error-log`. A path may be relative, and becomes absolute.
pub(super) fn log_target(text: &str) -> Result<LogTarget, String> {
    match text {
        // The paths are what images of containers often have.
        "stdout" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Ok(LogTarget::Stdout),
        "stderr" | "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Ok(LogTarget::Stderr),
        text if text.starts_with("syslog:") => {
            Err("there is no syslog; systemd takes stdout and stderr to the journal".into())
        }
        "off" => Err("errors are always told; the path /dev/null discards them".into()),
        "" | "-" => Err("it must be stdout, stderr, or the path of a file".into()),
        path if path.ends_with('/') => Err("it must be a file, not a directory".into()),
        // Two texts that name one file are equal, as a reload compares them.
        path => Ok(LogTarget::File(std::path::absolute(path).unwrap_or_else(|_| path.into()))),
    }
}

/// Parses `--tls-self-signed`.
pub(super) fn self_signed_names(text: &str) -> Result<String, String> {
    // `true` in a file has the value of the flag without a value.
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:*".contains(&byte);
        !name.is_empty() && name.len() <= 253 && name.bytes().all(fits)
    };
    match text.is_empty() || text.split(',').all(|name| is_name(name.trim())) {
        true => Ok(text.to_owned()),
        false => Err("it must be names and IP addresses with commas between them, as in \
                      localhost,127.0.0.1"
            .into()),
    }
}

/// Parses `--admin`: an address as of `--listen`. A path may be relative here.
pub(super) fn admin_place(text: &str) -> Result<ListenSpec, String> {
    let path = text.strip_prefix("unix:").filter(|path| !path.starts_with('/'));
    let absolute = match path {
        None if text.starts_with("fd:") => {
            return Err("the administration opens its own sockets; write an address".into());
        }
        None => text.to_owned(),
        // Everybody may connect to an abstract name, and reload the server.
        Some(path) if path.starts_with('@') => {
            return Err("it must be a path, whose rights say who may connect".into());
        }
        Some(path) if path.is_empty() || path.ends_with('/') => {
            return Err("it must be the path of a socket, as in unix:/run/ringd/admin.sock".into());
        }
        Some(path) => {
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            format!("unix:{}", path.to_str().ok_or("the current directory is not UTF-8")?)
        }
    };
    absolute.parse::<ListenSpec>().map_err(|error| error.to_string())
}

/// Parses `--log-format`.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::parse(text).map_err(|error| {
        let FormatError::Unknown(name) = &error else { return error.to_string() };
        let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
        let near = LogFormat::names().min_by_key(distance);
        match near.filter(|near| name.len() < 32 && distance(near) <= 1 + near.len() / 3) {
            Some(near) => format!("{error}; a similar one is {{{near}}}"),
            None => {
                format!("{error}; there are {}", LogFormat::names().collect::<Vec<_>>().join(", "))
            }
        }
    })
}

/// Checks the server of `ringd connect`: an address and a port, or a host name and a port.
pub(super) fn peer(text: &str) -> Result<String, String> {
    let is_name = |host: &str| !host.is_empty() && !host.contains([':', '[', ']', ' ']);
    let named = match text.rsplit_once(':') {
        Some((host, port)) => is_name(host) && port.parse::<u16>().is_ok(),
        None => false,
    };
    if named || text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let forms = "127.0.0.1:7891, [::1]:7891 or localhost:7891";
    Err(format!("it must be an address or a host name, and a port, as in {forms}"))
}

/// The largest size that is accepted.
const SIZE_MAX: u64 = 16 << 30;

/// Parses a number of bytes, with or without a unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 0,
    };
    let number = digits.parse::<u64>().ok().filter(|_| unit > 0);
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes <= SIZE_MAX)
        .ok_or_else(|| "a size is written like 0, 512, 16K or 1M, and is at most 16G".into())
}

/// Parses a time, which may be zero.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= TIME_MAX => Ok(time),
        // The library's error lists units that no timeout needs.
        _ => Err("a time is written like 500ms, 10s or 2min, and is at most 365 days".into()),
    }
}

/// Parses a time longer than zero.
pub(super) fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be longer than 0s".into()),
        time => Ok(time),
    }
}

/// The value of `--site-files`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SiteFilesName {
    /// They are files like others.
    #[default]
    Off,
    /// As Netlify reads them.
    Netlify,
    /// As Cloudflare reads them.
    Cloudflare,
}

impl ValueEnum for SiteFilesName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Off, Self::Netlify, Self::Cloudflare]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Off => PossibleValue::new("off").help("files like others"),
            Self::Netlify => PossibleValue::new("netlify").help("as Netlify reads them"),
            Self::Cloudflare => PossibleValue::new("cloudflare").help("as Cloudflare reads them"),
        })
    }
}

impl SiteFilesName {
    /// The service whose files are read.
    pub(super) fn service(self) -> Option<HostingService> {
        match self {
            Self::Off => None,
            Self::Netlify => Some(HostingService::Netlify),
            Self::Cloudflare => Some(HostingService::Cloudflare),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_can_be_named() {
        let names: Vec<_> = DriverName::value_variants().iter().map(|name| name.name()).collect();
        assert_eq!(names[0], "auto");
        assert_eq!(names[1..], DriverKind::ALL.map(DriverKind::name));
        for name in names {
            assert_eq!(DriverName::from_str(name, false).unwrap().name(), name);
        }
    }

    #[test]
    fn a_peer_without_a_port_is_refused() {
        for good in ["127.0.0.1:1", "[::1]:80", "localhost:7891", "a.example.:65535"] {
            assert_eq!(peer(good).as_deref(), Ok(good));
        }
        for bad in ["", "localhost", ":80", "host:", "host:65536", "host:http", "::1:80", "a b:1"] {
            assert!(peer(bad).unwrap_err().contains("localhost:7891"), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_parsed_with_and_without_a_unit() {
        for (text, bytes) in [("0", 0), ("512", 512), ("16K", 16 << 10), ("3M", 3 << 20)] {
            assert_eq!(size(text), Ok(bytes));
        }
        assert_eq!(size("16G"), Ok(SIZE_MAX));
        for bad in ["", "K", "1KM", "1k", "-1", "1.5M", "17G", "99999999999999999999", "9999999G"] {
            assert!(size(bad).unwrap_err().contains("16K"), "{bad}");
        }
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        assert!(positive_time("0s").is_err());
        assert!(time("1000000years").is_err());
    }
}
