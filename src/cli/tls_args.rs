//! The options of HTTPS: those of sites, and those of the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::value::{positive_time, self_signed_names, time};
use crate::server::ListenSpec;

/// The heading of these options in the help.
const HTTPS: &str = "HTTPS";

/// Options of HTTPS that each site may have for itself.
#[derive(Clone, Default, Debug, Args)]
pub struct SiteTlsArgs {
    /// Certificate (PEM): every --listen then speaks HTTPS
    ///
    /// The certificate first, then those of its issuers. May be given several times, each with a
    /// --tls-key: the name that a client asks for decides. The files are watched, and a renewed
    /// certificate is used at once, without a reload
    #[arg(long, value_name = "FILE", help_heading = HTTPS)]
    pub tls_cert: Vec<PathBuf>,

    /// Private key of the certificate (PEM)
    ///
    /// In the order of the --tls-cert. It may be left out if the file of the certificate has the
    /// key too
    #[arg(long, value_name = "FILE", help_heading = HTTPS)]
    pub tls_key: Vec<PathBuf>,

    /// HTTPS with a new self-signed certificate, to try it out
    ///
    /// For these names, separated by commas, or for the hosts of the site [without a value:
    /// localhost,127.0.0.1,::1]. The key is only in memory, and the certificate is valid for 14
    /// days
    #[arg(
        long,
        value_name = "NAMES",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = self_signed_names,
        conflicts_with_all = ["tls_cert", "tls_key"],
        help_heading = HTTPS
    )]
    pub tls_self_signed: Option<String>,

    /// Let browsers use HTTPS only, for this long (HSTS)
    ///
    /// Answers over HTTPS get Strict-Transport-Security: max-age=TIME. A browser that has seen it
    /// refuses http:// addresses and certificates that are not valid for so long, and nobody can
    /// take that back: begin with 5min
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = HTTPS)]
    pub hsts: Option<Duration>,
}

/// Options of HTTPS that all sites share.
#[derive(Clone, Debug, Args)]
pub struct TlsArgs {
    /// Where to listen for HTTP without TLS; may be repeated
    ///
    /// An address as of --listen
    #[arg(long, value_name = "ADDRESS", help_heading = HTTPS)]
    pub listen_plain: Vec<ListenSpec>,

    /// Where to redirect http:// to https://; may be repeated
    ///
    /// An address as of --listen, such as :80. The port of the first HTTPS address is used.
    /// Challenges in /.well-known/acme-challenge/ are served, not redirected
    #[arg(long, value_name = "ADDRESS", help_heading = HTTPS)]
    pub listen_redirect: Vec<ListenSpec>,

    /// Oldest version of TLS
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "1.2",
        hide_possible_values = true,
        help_heading = HTTPS
    )]
    pub tls_min: TlsVersion,

    /// Speak only HTTP/1.1 over TLS, not HTTP/2
    #[arg(long, help_heading = HTTPS)]
    pub no_http2: bool,

    /// Accept only clients with a certificate of these issuers (PEM)
    #[arg(long, value_name = "FILE", help_heading = HTTPS)]
    pub tls_client_ca: Option<PathBuf>,

    /// How long a TLS handshake may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = positive_time,
        hide_short_help = true,
        help_heading = HTTPS
    )]
    pub handshake_timeout: Duration,

    /// Append the secrets of all connections to this file
    ///
    /// In the format of SSLKEYLOGFILE, for Wireshark. Whoever reads the file can decrypt everything
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = HTTPS)]
    pub tls_key_log: Option<PathBuf>,
}

/// The value of `--tls-min`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3
    #[value(name = "1.2")]
    Tls12,
    /// Only TLS 1.3
    #[value(name = "1.3")]
    Tls13,
}

impl SiteTlsArgs {
    /// Whether the site has certificates.
    pub(super) fn is_on(&self) -> bool {
        !self.tls_cert.is_empty() || !self.tls_key.is_empty() || self.tls_self_signed.is_some()
    }

    /// A name for the certificates: sites with the same one have the same certificates.
    pub(super) fn group(&self) -> Option<Arc<str>> {
        let Self { tls_cert, tls_key, tls_self_signed, hsts: _ } = self;
        self.is_on().then(|| format!("{tls_cert:?} {tls_key:?} {tls_self_signed:?}").into())
    }

    /// The files of each certificate: its own, and that of its key.
    ///
    /// # Errors
    ///
    /// When the keys do not fit to the certificates: what would be right.
    pub(super) fn pairs(&self) -> Result<Vec<(PathBuf, PathBuf)>, String> {
        let Self { tls_cert, tls_key, .. } = self;
        match (tls_cert.len(), tls_key.len()) {
            (_, 0) => Ok(tls_cert.iter().map(|file| (file.clone(), file.clone())).collect()),
            (certificates, keys) if certificates == keys => {
                Ok(tls_cert.iter().cloned().zip(tls_key.iter().cloned()).collect())
            }
            (0, _) => Err("--tls-key without --tls-cert; add the certificate".to_owned()),
            (certificates, keys) => {
                let count = |count: usize, what| match count {
                    1 => format!("1 {what}"),
                    count => format!("{count} {what}s"),
                };
                Err(format!(
                    "{} and {}; give each certificate its key, in the same order",
                    count(certificates, "certificate"),
                    count(keys, "key")
                ))
            }
        }
    }
}
