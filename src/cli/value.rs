//! The values of options: how they are written, and what is said of those that are not.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::driver::DriverKind;

/// No timeout is longer, so that no sum of times overflows.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The value of `--driver`: one of [`DriverKind::ALL`] by its name, or none, which is `auto`.
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

    /// As it is typed.
    pub fn name(self) -> &'static str {
        self.0.map_or("auto", DriverKind::name)
    }
}

impl ValueEnum for DriverName {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let summary = self.0.map_or("uring where it works, else epoll", DriverKind::summary);
        Some(PossibleValue::new(self.name()).help(summary))
    }
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an IP address and a port, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
            .to_owned()
    })
}

/// A server to connect to: an address and a port, or a name and a port.
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
    Err(format!("it must be an address or a name, and a port, as in {forms}"))
}

/// No size is larger.
const SIZE_MAX: u64 = 16 << 30;

/// A number of bytes, with a unit or without.
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

/// A time, which may be nothing.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time > TIME_MAX => Err("it must be at most 365 days".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; a time is written like 500ms, 10s or 2min")),
    }
}

/// A time that something may take.
pub(super) fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be longer than nothing".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_a_value() {
        let names: Vec<_> = DriverName::value_variants().iter().map(|name| name.name()).collect();
        assert_eq!(names[0], "auto");
        assert_eq!(names[1..], DriverKind::ALL.map(DriverKind::name));
        for name in names {
            assert_eq!(DriverName::from_str(name, false).unwrap().name(), name);
        }
    }

    #[test]
    fn a_peer_has_a_port() {
        for good in ["127.0.0.1:1", "[::1]:80", "localhost:7891", "a.example.:65535"] {
            assert_eq!(peer(good).as_deref(), Ok(good));
        }
        for bad in ["", "localhost", ":80", "host:", "host:65536", "host:http", "::1:80", "a b:1"] {
            assert!(peer(bad).unwrap_err().contains("localhost:7891"), "{bad:?}");
        }
    }

    #[test]
    fn a_size_has_a_unit_or_none() {
        for (text, bytes) in [("0", 0), ("512", 512), ("16K", 16 << 10), ("3M", 3 << 20)] {
            assert_eq!(size(text), Ok(bytes));
        }
        assert_eq!(size("16G"), Ok(SIZE_MAX));
        for bad in ["", "K", "1KM", "1k", "-1", "1.5M", "17G", "99999999999999999999", "9999999G"] {
            assert!(size(bad).unwrap_err().contains("16K"), "{bad}");
        }
    }

    #[test]
    fn no_time_overflows() {
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        assert!(positive_time("0s").is_err());
        assert!(time("1000000years").is_err());
    }
}
