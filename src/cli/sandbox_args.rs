//! The options of the user and the sandbox.

use clap::{Args, ValueEnum};

use crate::sandbox::SandboxMode;

/// The heading of these options in the help.
const SANDBOX: &str = "User and sandbox";

/// Options of what a server gives up before it serves.
#[derive(Clone, Default, Debug, Args)]
pub struct SandboxArgs {
    /// Become this user when addresses and logs are open
    ///
    /// A name of /etc/passwd, or a number. For servers that root starts. Sites are opened as this
    /// user, and so is all that a reload reads
    #[arg(long, value_name = "USER", hide_short_help = true, help_heading = SANDBOX)]
    pub user: Option<String>,

    /// Become this group [default: that of the user]
    ///
    /// A name of /etc/group, or a number. All other groups are given up
    #[arg(long, value_name = "GROUP", hide_short_help = true, help_heading = SANDBOX)]
    pub group: Option<String>,

    /// Give up what a server does not need: off, auto, require
    ///
    /// Files beside those of the configuration (landlock), system calls (seccomp), and ops of
    /// io_uring. `auto` takes what the kernel has, `require` does not start without all of it. The
    /// start line says what holds
    #[arg(
        long,
        value_name = "MODE",
        default_value = "off",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = SANDBOX
    )]
    pub sandbox: SandboxName,
}

/// The value of `--sandbox`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum SandboxName {
    /// As far as the kernel has it
    Auto,
    /// Not at all
    #[default]
    Off,
    /// Completely, or the server does not start
    Require,
}

impl From<SandboxName> for SandboxMode {
    fn from(name: SandboxName) -> Self {
        match name {
            SandboxName::Auto => Self::Auto,
            SandboxName::Off => Self::Off,
            SandboxName::Require => Self::Require,
        }
    }
}

impl SandboxArgs {
    /// Whether anything is given up.
    pub(super) fn is_on(&self) -> bool {
        self.user.is_some() || self.group.is_some() || self.sandbox != SandboxName::Off
    }
}
