//! The command line: what a person types, turned into settings that cannot be wrong.
//!
//! Each command has a file: its options, and how they become a plan that a run needs. What they
//! share is in [`server`], the form of values in [`value`].

#[cfg(feature = "bench")]
mod bench;
mod connect;
mod connections;
mod content;
mod echo;
mod failure;
mod run;
mod serve;
mod server;
mod signals;
mod tell;
mod value;

use clap::{Parser, Subcommand};

use crate::doctor;

#[cfg(feature = "bench")]
pub use bench::{BenchArgs, BenchServerArgs};
pub use connect::ConnectArgs;
pub use content::{ContentArgs, LinksName};
pub use echo::{EchoArgs, EchoPlan};
pub use failure::Failure;
pub use run::run;
pub use serve::{ServeArgs, ServePlan};
pub use server::ServerArgs;
pub use value::DriverName;

/// Where the name of a command also could be the name of a directory.
const NOT_A_COMMAND: &str = "\
The commands come before their options. A directory that is called like one of them is served
with its path: ringd ./echo";

/// What every server's help ends with.
const NOTES: &str = "\
Times are written like 500ms, 10s, 2min.

When io_uring is blocked (EPERM): containers deny it by default, and so can the sysctl
kernel.io_uring_disabled (0 allows it, 1 only for privileged users, 2 for nobody). Allow the
calls io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile,
or stay with epoll, which serves the same.

Signals: SIGINT and SIGTERM let connections finish (--drain-timeout); a second one ends at once.
SIGUSR1 prints a line of figures on standard error.
Exit codes: 0 after a drain, 1 when serving is not possible, 2 for a wrong command line, 128 plus
the signal's number after a second signal.";

/// Serves the files of a directory over HTTP. Without a command, that is what it does
#[derive(Debug, Parser)]
#[command(
    name = "ringd",
    version,
    after_help = format!("{NOT_A_COMMAND}\n\n{NOTES}"),
    args_conflicts_with_subcommands = true,
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeArgs,
}

/// What `ringd` is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the files of a directory over HTTP: what ringd does without a command
    #[command(after_help = NOTES)]
    Serve(Box<ServeArgs>),

    /// Send back what comes in, over TCP: the smallest server, for trying drivers out
    #[command(after_help = NOTES)]
    Echo(EchoArgs),

    /// Tell whether and how ringd can serve on this machine, and what would mend the rest
    Doctor(doctor::Args),

    /// Compare drivers on this machine, or ringd with another server: CPU time, rates, latencies
    #[cfg(feature = "bench")]
    Bench(BenchArgs),

    /// The server of a bench
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchServer(Box<BenchServerArgs>),

    /// Connect to a TCP server: standard input goes there, its answers to standard output
    Connect(ConnectArgs),
}

impl Cli {
    /// The command, spelled out or not.
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
    fn serve_knows_all_commands() {
        let cli = Cli::command();
        let names: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, serve::COMMANDS);
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
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
        let command = args.server.settings(1024, args.header_timeout).unwrap();
        assert_eq!(format!("{command:?}"), format!("{library:?}"));
    }

    #[test]
    fn echo_has_a_port_of_its_own() {
        let Command::Echo(args) = parse(&["echo", "--driver", "epoll"]) else { panic!() };
        assert_eq!(args.server.listen, ["127.0.0.1:7891".parse().unwrap()]);
        assert_eq!(args.server.driver, DriverName(Some(DriverKind::Epoll)));
    }

    #[test]
    fn a_directory_may_be_called_like_a_command() {
        let Command::Serve(args) = parse(&["./echo"]) else { panic!() };
        assert_eq!(args.root, Path::new("./echo"));
        let Command::Serve(args) = parse(&["serve", "echo"]) else { panic!() };
        assert_eq!(args.root, Path::new("echo"));
    }

    #[test]
    fn options_of_serving_do_not_go_with_a_command() {
        let mixed = ["ringd", "echo", "--cache-bytes", "1"];
        assert!(Cli::try_parse_from(mixed).is_err());
    }
}
