//! The options of `ringd connect`.

use clap::Args;

use super::value;

/// The command line of `ringd connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
At the end of standard input the connection is half-closed, and what the server still sends is
printed. The program ends when the server closes the connection.

Exit codes: 0 if the server closed the connection, 1 if the connection failed, 2 for a wrong command
line.")]
pub struct ConnectArgs {
    /// The server: an address or a host name, and a port.
    #[arg(
        value_name = "ADDR:PORT",
        value_parser = value::peer,
        help = "Address or host name, and port: 127.0.0.1:7891, [::1]:7891 or localhost:7891"
    )]
    pub peer: String,
}
