//! `ringd connect`: its options.

use clap::Args;

use super::value;

/// The command line of `ringd connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
The end of standard input ends the output of the connection; what the peer still sends is
printed. The end of the peer ends the program.

Exit codes: 0 after an orderly end, 1 after an error, 2 for a wrong command line.")]
pub struct ConnectArgs {
    /// The server: an address or a name, and a port.
    #[arg(
        value_name = "ADDR:PORT",
        value_parser = value::peer,
        help = "The server, by address or name: 127.0.0.1:7891, [::1]:7891, localhost:7891"
    )]
    pub peer: String,
}
