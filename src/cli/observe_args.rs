//! The options of the logs and of the administration: what operators see of a server.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::CommandError;
use super::value::{LogName, admin_place, log_format, log_target};
use crate::admin::CLIENTS_MAX;
use crate::events::{EventFormat, EventLevel, EventSettings};
use crate::http::records::log::LogFormat;
use crate::log_output::LogTarget;
use crate::server::{ListenSpec, UnixAddress};

/// The heading of these options in the help.
const OBSERVE: &str = "Logs, metrics and status";

/// Options of the logs and of the administration.
#[derive(Clone, Debug, Args)]
pub struct ObserveArgs {
    /// Log each answer: stdout, stderr, a path, or off
    ///
    /// The file is opened again on SIGHUP and SIGUSR1, and when its path leads elsewhere, so it can
    /// be rotated by renaming it. With stdout, the other lines of ringd go to stderr
    #[arg(long, value_name = "TARGET", default_value = "off", help_heading = OBSERVE)]
    pub log: LogName,

    /// Format: combined, common, json, or template
    ///
    /// `combined` is that of nginx. A template has values in braces, as in '{client} {request}
    /// {status}': client, user, time, time_iso, msec, request, method, target, path, query,
    /// protocol, host, referer, agent, status, body_bytes, sent, duration, duration_us, site,
    /// listener, coding, cache, scheme, tls, tls_cipher, tls_resumed, connection,
    /// connection_requests, aborted. {>Name} is a field of the request, and {{ is a brace
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "combined",
        value_parser = log_format,
        help_heading = OBSERVE
    )]
    pub log_format: LogFormat,

    /// Write messages to stderr, stdout, or a path
    #[arg(
        long,
        value_name = "TARGET",
        default_value = "stderr",
        value_parser = log_target,
        help_heading = OBSERVE
    )]
    pub error_log: LogTarget,

    /// Format of messages: text or json
    ///
    /// A line of text is a sentence, in a file with time and level before it. A line of JSON is an
    /// object with ts, level, event and message
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = OBSERVE
    )]
    pub error_log_format: ErrorLogFormat,

    /// Least serious messages: error, warn or info
    ///
    /// error: the server does not do what it was asked for; warn: somebody should look into it;
    /// info: the normal course of things
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        hide_possible_values = true,
        help_heading = OBSERVE
    )]
    pub error_log_level: LevelName,

    /// Show status, metrics and health here; may be repeated
    ///
    /// An address as of --listen, such as 127.0.0.1:7899 or unix:/run/ringd/admin.sock. It has /,
    /// /status.json, /metrics, /healthz and /readyz. Whoever can connect can read them, so use an
    /// address that others cannot reach. Only a Unix socket, which is for the user of the server
    /// and for root, also takes `ringd reload`
    #[arg(long, value_name = "ADDRESS", value_parser = admin_place, help_heading = OBSERVE)]
    pub admin: Vec<ListenSpec>,
}

/// The value of `--error-log-format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ErrorLogFormat {
    /// Sentences; in a file with time and level
    Text,
    /// An object per line: ts, level, event, message
    Json,
}

/// The value of `--error-log-level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LevelName {
    /// Something was not done that should have been
    Error,
    /// Somebody should look into it
    Warn,
    /// The normal course of things
    Info,
}

impl Default for ObserveArgs {
    /// The defaults of the options.
    fn default() -> Self {
        Self {
            log: LogName(None),
            log_format: LogFormat::combined(),
            error_log: LogTarget::Stderr,
            error_log_format: ErrorLogFormat::Text,
            error_log_level: LevelName::Info,
            admin: Vec::new(),
        }
    }
}

impl ObserveArgs {
    /// The error log.
    pub(super) fn events(&self) -> EventSettings {
        EventSettings {
            target: self.error_log.clone(),
            format: match self.error_log_format {
                ErrorLogFormat::Text => EventFormat::Text,
                ErrorLogFormat::Json => EventFormat::Json,
            },
            level: match self.error_log_level {
                LevelName::Error => EventLevel::Error,
                LevelName::Warn => EventLevel::Warn,
                LevelName::Info => EventLevel::Info,
            },
        }
    }

    /// Whether standard output belongs to a log, so that no other lines may be there.
    pub(super) fn takes_stdout(&self) -> bool {
        self.log.0 == Some(LogTarget::Stdout) || self.error_log == LogTarget::Stdout
    }

    /// How many descriptors the administration may have: for each place, for clients, and for what
    /// their answers read of the process.
    pub(super) fn admin_descriptors(&self) -> u64 {
        let places = self.admin.len() as u64;
        if places == 0 { 0 } else { 1 + 2 * places + 4 * CLIENTS_MAX as u64 }
    }

    /// Where the administration listens, with absolute paths.
    pub(super) fn admin_places(&self) -> Vec<ListenSpec> {
        let place = |spec: &ListenSpec| match spec {
            ListenSpec::Unix(UnixAddress::Path(path), options) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                ListenSpec::Unix(UnixAddress::Path(path), options.clone())
            }
            other => other.clone(),
        };
        self.admin.iter().map(place).collect()
    }

    /// The first Unix socket of the administration.
    pub(super) fn admin_socket(&self) -> Option<PathBuf> {
        self.admin_places().into_iter().find_map(|place| match place {
            ListenSpec::Unix(UnixAddress::Path(path), _) => Some(path),
            _ => None,
        })
    }
}

/// Why a log cannot be opened.
pub(super) fn cannot_open(option: &str, target: &LogTarget, error: &io::Error) -> CommandError {
    let LogTarget::File(path) = target else {
        return CommandError::no_thread("a log", error);
    };
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => format!("create the directory {}", directory.display()),
        io::ErrorKind::PermissionDenied => {
            format!("let the user of the server write to {}", path.display())
        }
        io::ErrorKind::IsADirectory => "name a file in it".to_owned(),
        io::ErrorKind::NotConnected => "start its reader first".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "choose a path on a disk that can be written".to_owned()
        }
        _ => "check the path".to_owned(),
    };
    CommandError(format!("{option} {}: {error}; {remedy}", path.display()))
}
