//! The options of `ringd serve` about validators: `ETag` and `Last-Modified`.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::http::TagSource;

/// The heading of these options in the help.
const HEADING: &str = "Content";

/// Options of `ringd serve` about validators.
#[derive(Clone, Copy, Debug, Args)]
pub struct ValidatorArgs {
    /// What entity tags are made of: stat, content, off
    ///
    /// stat: the modification time and the length of the file.
    /// content: a hash of its bytes, so that servers with the same files have the same tags. Each
    /// worker reads a file once for that; a file of more than 64 MiB gets no tag. Last-Modified is
    /// sent only without a tag, since the times of copies differ.
    /// off: there are none [default: stat]
    #[arg(
        long,
        value_name = "SOURCE",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = HEADING
    )]
    pub etag: Option<TagSourceName>,

    /// Send Last-Modified with --etag=content, too
    ///
    /// For servers that have the same files with the same times
    #[arg(long, hide_short_help = true, help_heading = HEADING)]
    pub last_modified: bool,
}

/// The value of `--etag`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagSourceName {
    /// Modification time and length.
    Stat,
    /// The bytes.
    Content,
    /// No tags.
    Off,
}

impl ValueEnum for TagSourceName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Stat, Self::Content, Self::Off]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Stat => ("stat", "the modification time and the length of the file"),
            Self::Content => ("content", "a hash of its bytes"),
            Self::Off => ("off", "there are none"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl From<TagSourceName> for TagSource {
    fn from(name: TagSourceName) -> Self {
        match name {
            TagSourceName::Stat => Self::Stat,
            TagSourceName::Content => Self::Content,
            TagSourceName::Off => Self::Off,
        }
    }
}
