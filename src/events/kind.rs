//! The kinds of events, and their levels.

/// How serious an event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventLevel {
    /// The server does not do what it was asked for.
    Error,
    /// Somebody should look into it.
    Warn,
    /// The normal course of things.
    Info,
}

impl EventLevel {
    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

impl EventKind {
    /// Whether only so many lines of the kind are written: those that clients may cause, as often
    /// as they like.
    pub(super) fn is_limited(self) -> bool {
        matches!(
            self,
            Self::ConnectionsFull
                | Self::DrainCutOff
                | Self::FileDenied
                | Self::FileShrank
                | Self::FileFailed
                | Self::DescriptorsShort
                | Self::AccessLog
                | Self::Admin
                | Self::TlsFailed
                | Self::ProxyFailed
                | Self::PaceFailed
        )
    }
}

/// Declares the kinds, so that their list is complete.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $name:literal, $level:ident;)*) => {
        /// What has happened. Kinds are limited and counted separately.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// All kinds, in the order of their numbers.
            pub const ALL: [Self; [$(Self::$kind),*].len()] = [$(Self::$kind),*];

            /// The name in logs and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// How serious it is.
            #[must_use]
            pub fn level(self) -> EventLevel {
                match self {
                    $(Self::$kind => EventLevel::$level,)*
                }
            }
        }
    };
}

kinds! {
    /// The server accepts connections.
    Started, "started", Info;
    /// A setting is valid, but may be a mistake.
    Note, "note", Warn;
    /// A signal has come that stops the server.
    Stopping, "stopping", Info;
    /// A signal has come that stops nothing.
    Signal, "signal", Info;
    /// The configuration was reloaded.
    Reloaded, "reloaded", Info;
    /// Renewed certificates are used.
    CertificatesRenewed, "certificates_renewed", Info;
    /// The files of certificates have changed, and cannot be used.
    CertificatesRefused, "certificates_refused", Error;
    /// Another process has taken the listening sockets over.
    TakenOver, "taken_over", Info;
    /// Another process has begun to take over, and failed.
    TakeOverFailed, "take_over_failed", Error;
    /// The configuration was not reloaded.
    ReloadFailed, "reload_failed", Error;
    /// A thread has panicked, which is a bug.
    Panic, "panic", Error;
    /// The server has ended because of an error.
    Failed, "failed", Error;
    /// A worker has as many connections as it may have.
    ConnectionsFull, "connections_full", Warn;
    /// A drain has closed connections with a request in progress.
    DrainCutOff, "drain_cut_off", Warn;
    /// A file exists, but may not be served.
    FileDenied, "file_denied", Warn;
    /// A file became shorter while it was sent.
    FileShrank, "file_shrank", Error;
    /// A file cannot be opened or read.
    FileFailed, "file_failed", Error;
    /// There are not enough descriptors, or there is not enough memory, to open a file.
    DescriptorsShort, "descriptors_short", Error;
    /// A connection does not get the pace of its site.
    PaceFailed, "pace_failed", Error;
    /// The access log cannot be written.
    AccessLog, "access_log", Error;
    /// The error log cannot be written. Nobody can be told, so this is only counted.
    ErrorLog, "error_log", Error;
    /// The administration cannot serve a client.
    Admin, "admin", Warn;
    /// A handshake has failed. Scanners cause such events at all times.
    TlsFailed, "tls_failed", Info;
    /// A connection behind a proxy was closed before it began.
    ProxyFailed, "proxy_failed", Warn;
}
