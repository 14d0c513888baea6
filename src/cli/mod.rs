//! The command line: parses the arguments and turns them into validated settings.
//!
//! Each command has a file with its options and their conversion into a plan, which holds
//! everything that a run needs. [`server`] has the options that all servers share, [`value`] the
//! parsers of values, [`usage`] the errors of a wrong command line.

mod access;
mod access_args;
mod admin_client;
#[cfg(feature = "bench")]
mod bench;
mod check;
mod command_error;
mod compress_args;
mod config;
mod confinement;
mod connect;
mod connections;
mod console;
mod content;
mod controller;
mod echo;
mod foreign_flags;
mod health;
mod hidden_line;
mod notify;
mod observe_args;
mod passwd;
#[cfg(feature = "precompress")]
mod precompress;
mod reach;
mod reload;
mod reloader;
mod root;
mod run;
mod sandbox_args;
mod serve;
mod serve_args;
mod server;
mod show;
mod signals;
mod site_files;
mod start;
mod take_over;
mod tls;
mod tls_args;
mod tour;
mod usage;
mod value;

use clap::{Parser, Subcommand};

use crate::doctor;

pub use access_args::{AccessArgs, LimitArgs};
#[cfg(feature = "bench")]
pub use bench::{BenchArgs, BenchServerArgs};
pub use check::CheckArgs;
pub use command_error::CommandError;
pub use compress_args::{CompressArgs, CompressCodings, CompressLevelName};
#[cfg(any(test, feature = "simulation"))]
pub use config::fuzz_config;
pub use config::{
    Chosen, Config, ConfigError, FallbackOptions, Flags, ListenerOptions, ListenerProtocol, Place,
    Problems, ServerOptions, SiteOptions, needs_restart,
};
pub use connect::ConnectArgs;
pub use content::{ContentArgs, ContentError, LinksName, TagSourceName, ValidatorArgs};
pub use echo::{EchoArgs, EchoPlan};
pub use health::HealthArgs;
pub use observe_args::ObserveArgs;
pub use passwd::PasswdArgs;
#[cfg(feature = "precompress")]
pub use precompress::{CodingName, CompressionLevelName, PrecompressArgs};
pub use reach::ReachArgs;
pub use reload::ReloadArgs;
pub use run::run;
pub use sandbox_args::{SandboxArgs, SandboxName};
pub use serve::ServePlan;
pub use serve_args::{FileArgs, HttpArgs, ServeArgs};
pub use server::ServerArgs;
pub use show::ShowArgs;
pub use tls_args::{SiteTlsArgs, TlsArgs, TlsVersion};
pub use tour::TourArgs;
pub use value::{DriverName, SiteFilesName};

/// How to serve a directory that has the name of a command.
const NOT_A_COMMAND: &str = "\
The command comes before its options. To serve a directory that has the name of a command, write it
as a path: ringd ./echo";

/// The end of the short help of every server.
const NOTES_SHORT: &str = "\
--help says more about each option, and lists the rarer ones, signals and exit codes. Times are
written like 500ms, 10s or 2min, sizes like 8192, 16K or 1M.";

/// The end of the long help of every server.
const NOTES: &str = "\
Times are written like 500ms, 10s or 2min, sizes like 8192, 16K or 1M.

If io_uring is blocked (EPERM): most container runtimes deny it by default, and the sysctl
kernel.io_uring_disabled may (0 allows it, 1 only for privileged users, 2 for nobody). Allow
io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, or stay
with epoll, which serves the same content. `ringd doctor` shows the cause.

Signals: SIGINT, SIGTERM and SIGQUIT drain the server (--drain-timeout); a second one ends the
process at once. SIGXCPU and SIGPWR drain it too. SIGUSR1 opens the files of the logs again and
prints a line of statistics. SIGHUP opens them again too, and makes `ringd serve` read its
configuration file again. SIGUSR2 only prints the command that replaces a server while it serves
(--take-over). Other signals that can be caught are ignored, except those of a bug, such as SIGSEGV.
Exit codes: 0 after a drain, 1 if serving is not possible or a worker failed, 2 for a wrong command
line, 128 plus the signal's number after a second signal.";

/// Serve the files of a directory over HTTP (the default command)
#[derive(Debug, Parser)]
#[command(
    name = "ringd",
    version,
    after_help = NOTES_SHORT,
    after_long_help = format!("{NOT_A_COMMAND}\n\n{NOTES}"),
    args_conflicts_with_subcommands = true,
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeArgs,
}

/// The commands of `ringd`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the files of a directory over HTTP; the default command
    #[command(after_help = NOTES_SHORT, after_long_help = NOTES)]
    Serve(Box<ServeArgs>),

    /// Run a TCP echo server, the smallest server, to try out drivers
    #[command(after_help = NOTES_SHORT, after_long_help = NOTES)]
    Echo(EchoArgs),

    /// Show one exchange on all drivers, side by side: their system calls
    Tour(TourArgs),

    /// Test what works on this machine, and print how to fix what does not
    Doctor(doctor::Args),

    /// Check a configuration file: print all mistakes, or one line if there are none
    Check(CheckArgs),

    /// Let the server that runs with a configuration file read it again
    Reload(ReloadArgs),

    /// Ask the server that runs whether all its workers respond
    Health(HealthArgs),

    /// Print the configuration that a file and options mean, with the origin of each value
    Config(Box<ShowArgs>),

    /// Set the password of a user in a file for `users`
    Passwd(PasswdArgs),

    /// Write compressed files beside the files of a directory, and check them
    #[cfg(feature = "precompress")]
    Precompress(PrecompressArgs),

    /// Compare drivers on this machine, or ringd with another server: CPU time, latencies
    #[cfg(feature = "bench")]
    Bench(BenchArgs),

    /// Run a server under test; `ringd bench` starts it
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchServer(Box<BenchServerArgs>),

    /// Connect standard input and output to a TCP server
    Connect(ConnectArgs),
}

impl Cli {
    /// The command; [`Command::Serve`] if none was given.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Box::new(self.serve)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DriverKind;
    use crate::server::ServerSettings;
    use clap::CommandFactory;
    use std::path::Path;

    fn parse(arguments: &[&str]) -> Command {
        Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command()
    }

    #[test]
    fn the_list_of_commands_is_complete() {
        let cli = Cli::command();
        let names: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, root::COMMANDS);
    }

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_command_is_serve() {
        for arguments in [&[][..], &["serve"]] {
            let Command::Serve(args) = parse(arguments) else { panic!("{arguments:?}") };
            assert_eq!(args.root, Path::new("./html"));
            assert_eq!(args.server.listen, ["127.0.0.1:7890".parse().unwrap()]);
            assert_eq!(args.server.driver, DriverName(None));
            assert!(!args.server.trace);
        }
    }

    #[test]
    fn the_command_and_the_library_have_the_same_defaults() {
        let Command::Serve(args) = parse(&[]) else { panic!() };
        let library = ServerSettings::default();
        let command = args.server.settings(1024, args.http.header_timeout);
        assert_eq!(format!("{command:?}"), format!("{library:?}"));
    }

    #[test]
    fn echo_has_its_own_default_port() {
        let Command::Echo(args) = parse(&["echo", "--driver", "epoll"]) else { panic!() };
        assert_eq!(args.server.listen, ["127.0.0.1:7891".parse().unwrap()]);
        assert_eq!(args.server.driver, DriverName(Some(DriverKind::Epoll)));
    }

    #[test]
    fn a_directory_may_have_the_name_of_a_command() {
        let Command::Serve(args) = parse(&["./echo"]) else { panic!() };
        assert_eq!(args.root, Path::new("./echo"));
        let Command::Serve(args) = parse(&["serve", "echo"]) else { panic!() };
        assert_eq!(args.root, Path::new("echo"));
    }

    #[test]
    fn echo_refuses_options_of_serve() {
        let mixed = ["ringd", "echo", "--cache-bytes", "1"];
        assert!(Cli::try_parse_from(mixed).is_err());
    }
}
