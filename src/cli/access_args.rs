//! The options about who may use a site, and how much of it.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, value_parser};

use super::value::size;
use crate::clients::ClientPrefix;
use crate::http::site::rules::{CacheRule, HeaderRule};
use crate::limits::{
    ClientConnections, ClientLimits, Rate, RateLimit, SLOTS_DEFAULT, SLOTS_MAX, SLOTS_MIN,
};

/// The heading of these options in the help.
const ACCESS: &str = "Access and limits";

/// What browsers say when they ask for a password, if nothing else is said.
const REALM: &str = "restricted";

/// The lowest rate of a connection, in bytes per second. A lower one could be taken for a client
/// that does not read.
const SEND_RATE_MIN: u64 = 16 * 1024;

/// The fields of a site with passwords: no cache of others may keep its answers.
const CACHE_CONTROL: (&str, &str) = ("**", "private, no-cache");
const VARY: (&str, &str, &str) = ("**", "Vary", "Authorization");

/// Options of a site about who may use it, and how much of it.
#[derive(Clone, Default, Debug, Args)]
pub struct AccessArgs {
    /// Serve only the users of this file (basic authentication)
    ///
    /// A file of htpasswd with bcrypt ($2b$, $2y$) or Argon2id; `ringd passwd` writes one. A reload
    /// reads it again. Answers get `Cache-Control: private, no-cache` unless --cache-control says
    /// otherwise. Without TLS, passwords can be read on the way
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = ACCESS)]
    pub users: Option<PathBuf>,

    /// What browsers show when they ask for a password [default: restricted]
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = realm,
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub realm: Option<String>,

    /// How many requests of each client to answer, as in 50/s
    ///
    /// Per s, min or h. More get 429. A client is an IPv4 address, or a network of IPv6
    /// (--client-prefix-v6)
    #[arg(long, value_name = "RATE", hide_short_help = true, help_heading = ACCESS)]
    pub rate: Option<Rate>,

    /// How many of them may come at once [default: those of two seconds, at least 10]
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(1..),
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub burst: Option<u32>,

    /// How many bytes per second each connection gets at most
    ///
    /// At least 16K. The kernel keeps the pace; Unix sockets have none
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = send_rate,
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub send_rate: Option<u64>,
}

/// Options about limits that all sites share.
#[derive(Clone, Debug, Args)]
pub struct LimitArgs {
    /// How many connections each client may have
    ///
    /// More are closed at once. Clients of Unix sockets are not counted
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(1..),
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub connections_per_client: Option<u32>,

    /// How many bits of an IPv6 address are one client
    #[arg(
        long,
        value_name = "BITS",
        default_value = "64",
        value_parser = value_parser!(u16).range(16..=128),
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub client_prefix_v6: u16,

    /// For how many clients the rate of requests is known
    ///
    /// More share the limits of those that have sent least
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = SLOTS_DEFAULT,
        value_parser = value_parser!(u32).range(i64::from(SLOTS_MIN)..=i64::from(SLOTS_MAX)),
        hide_short_help = true,
        help_heading = ACCESS
    )]
    pub limit_table: u32,
}

impl LimitArgs {
    /// Who is a client.
    pub(super) fn prefix(&self) -> ClientPrefix {
        let bits = u8::try_from(self.client_prefix_v6).ok();
        bits.and_then(|bits| ClientPrefix::new(bits).ok()).unwrap_or_default()
    }

    /// The connections of each client.
    pub(super) fn clients(&self) -> ClientConnections {
        ClientConnections::new(self.connections_per_client, self.prefix())
    }

    /// The tables that all workers share.
    pub(super) fn client_limits(&self) -> Arc<ClientLimits> {
        Arc::new(ClientLimits::new(self.limit_table, self.prefix()))
    }
}

impl AccessArgs {
    /// The limit of requests, if there is one.
    ///
    /// # Errors
    ///
    /// When `--burst` does not fit to `--rate`.
    pub(super) fn rate_limit(&self) -> Result<Option<RateLimit>, String> {
        let Some(rate) = self.rate else {
            return match self.burst {
                None => Ok(None),
                Some(_) => Err("there is no --rate; add one".to_owned()),
            };
        };
        let burst = self.burst.unwrap_or_else(|| rate.usual_burst());
        RateLimit::new(rate, burst).map(Some)
    }

    /// The most bytes per second of a connection.
    pub(super) fn pace(&self) -> Option<NonZero<u64>> {
        self.send_rate.and_then(NonZero::new)
    }

    /// What browsers show.
    pub(super) fn realm(&self) -> &str {
        self.realm.as_deref().unwrap_or(REALM)
    }

    /// Whether the site has passwords.
    pub(super) fn has_passwords(&self) -> bool {
        self.users.is_some()
    }

    /// The rules of a site with passwords, before its own ones, which win.
    pub(super) fn with_own_rules(
        &self,
        cache: &[CacheRule],
        headers: &[HeaderRule],
    ) -> (Vec<CacheRule>, Vec<HeaderRule>) {
        let (mut all_cache, mut all_headers) = (Vec::new(), Vec::new());
        if self.has_passwords() {
            let (glob, value) = CACHE_CONTROL;
            all_cache.extend(CacheRule::new(glob, value));
            let (glob, name, value) = VARY;
            all_headers.extend(HeaderRule::new(glob, name, value));
        }
        all_cache.extend_from_slice(cache);
        all_headers.extend_from_slice(headers);
        (all_cache, all_headers)
    }
}

/// Parses `--realm`.
fn realm(text: &str) -> Result<String, String> {
    let fits = |char: char| (char.is_ascii_graphic() || char == ' ') && !"\"\\".contains(char);
    match text.len() {
        1..=128 if text.chars().all(fits) => Ok(text.to_owned()),
        1..=128 => Err("it must be printable ASCII without quotation marks and \\".into()),
        _ => Err("it has from 1 to 128 bytes".into()),
    }
}

/// Parses `--send-rate`.
fn send_rate(text: &str) -> Result<u64, String> {
    match size(text)? {
        rate if rate < SEND_RATE_MIN => Err("it must be at least 16K".into()),
        // What the kernel takes for no limit.
        rate if rate >= u64::from(u32::MAX) => Err("it must be less than 4G".into()),
        rate => Ok(rate),
    }
}
