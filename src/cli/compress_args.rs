//! The options of `ringd serve` about compression on the fly.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::server::CONTENT;
use super::value::size;
use crate::http::compress::{CompressLevel, CompressSettings, IS_BUILT};
use crate::http::semantics::negotiate::{Coding, Codings};

/// The largest file that may be compressed: a job holds the result in memory, and one thread makes
/// all of them.
const COMPRESS_MAX: u64 = 64 << 20;

/// Options about compression that each site may have for itself.
#[derive(Clone, Debug, Args)]
pub struct CompressArgs {
    /// Compress files on the fly, in these codings
    ///
    /// Of types that compress well, and only if there is no compressed file beside the plain one.
    /// The second request for a file has it compressed, by a thread aside, and later ones get the
    /// result from memory: nobody waits. Names are separated by commas [without a value:
    /// br,zstd,gzip]
    #[arg(
        long,
        value_name = "CODINGS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "br,zstd,gzip",
        value_parser = codings,
        help_heading = CONTENT
    )]
    pub compress: Option<CompressCodings>,

    /// How hard to compress: fast, default, best
    ///
    /// br, zstd and gzip have the levels 1, 1 and 1; 5, 6 and 6; or 9, 15 and 9
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "default",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = CONTENT
    )]
    pub compress_level: CompressLevelName,

    /// Smallest file to compress
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1K",
        value_parser = size,
        hide_short_help = true,
        help_heading = CONTENT
    )]
    pub compress_min: u64,

    /// Largest file to compress
    ///
    /// At most 64M
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "8M",
        value_parser = compress_max,
        hide_short_help = true,
        help_heading = CONTENT
    )]
    pub compress_max: u64,
}

impl CompressArgs {
    /// The settings of a site.
    pub(super) fn settings(&self) -> CompressSettings {
        CompressSettings {
            codings: self.compress.map_or(Codings::NONE, |CompressCodings(codings)| codings),
            bytes_min: self.compress_min,
            bytes_max: self.compress_max,
            level: self.compress_level.0,
        }
    }
}

/// The value of `--compress`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressCodings(pub Codings);

/// The value of `--compress-level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressLevelName(pub CompressLevel);

impl ValueEnum for CompressLevelName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(CompressLevel::Fast), Self(CompressLevel::Default), Self(CompressLevel::Best)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self.0 {
            CompressLevel::Fast => "fast",
            CompressLevel::Default => "default",
            CompressLevel::Best => "best",
        }))
    }
}

/// Parses `--compress`.
fn codings(text: &str) -> Result<CompressCodings, String> {
    if !IS_BUILT {
        return Err(
            "this build cannot compress: build ringd with the feature `compress`, or make \
                    compressed files with `ringd precompress`"
                .into(),
        );
    }
    let named = |name: &str| Coding::ALL.into_iter().find(|coding| coding.name() == name.trim());
    let codings: Option<Codings> = text.split(',').map(named).collect();
    let codings = codings.ok_or("it must be br, zstd or gzip, or several of them with commas")?;
    Ok(CompressCodings(codings))
}

/// Parses `--compress-max`.
fn compress_max(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes > COMPRESS_MAX => {
            Err("it must be at most 64M; compress larger files with `ringd precompress`".into())
        }
        bytes => Ok(bytes),
    }
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use super::*;

    #[test]
    fn codings_are_named() {
        let parsed = |text| codings(text).map(|CompressCodings(codings)| codings);
        assert_eq!(parsed("br,zstd,gzip").unwrap(), Coding::ALL.into_iter().collect());
        assert_eq!(
            parsed("gzip, br").unwrap(),
            [Coding::Brotli, Coding::Gzip].into_iter().collect()
        );
        for bad in ["", "br,", "deflate", "on", "BR"] {
            assert!(parsed(bad).unwrap_err().contains("zstd"), "{bad}");
        }
        assert!(compress_max("65M").unwrap_err().contains("precompress"));
    }
}
