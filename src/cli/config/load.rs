//! Loads a configuration: from files and flags to options, or to all mistakes at once.

use std::path::Path;

use super::build::build;
use super::draft::Draft;
use super::flags::Flags;
use super::keys::of_flag;
use super::options::Config;
use super::problem::Problems;
use super::reader::Reader;
use super::variables::of_process;

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// A flag cannot be combined with the file: what to do instead, in one line.
    Usage(String),
    /// There are mistakes in the files.
    Problems(Box<Problems>),
}

/// Loads the configuration of a file, if there is one, and of the flags.
///
/// # Errors
///
/// All mistakes of all files, or a flag that cannot be combined with the file.
pub(in crate::cli) fn load(path: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
    load_with(Reader::new(&of_process), path, flags)
}

/// Loads a configuration, opens the roots of its sites, and looks at the files of Unix sockets, to
/// find what would end a start. Binds nothing and resolves no name.
///
/// # Errors
///
/// As of [`load`]; a root that cannot be served and a socket that cannot be made are mistakes too.
pub(in crate::cli) fn check(path: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(&of_process);
    (reader.opens_roots, reader.looks_at_sockets) = (true, true);
    load_with(reader, path, flags)
}

/// Loads a configuration for a server that runs, and opens the roots of its sites. New sockets are
/// bound before anything changes, so they need no check.
///
/// # Errors
///
/// As of [`load`]; a root that cannot be served is a mistake too.
pub(in crate::cli) fn load_again(path: &Path, flags: &Flags) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(&of_process);
    reader.opens_roots = true;
    load_with(reader, Some(path), flags)
}

fn load_with(
    mut reader: Reader<'_>,
    path: Option<&Path>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    let draft = path.map(|path| reader.read(path)).unwrap_or_default();
    if let Some(path) = path {
        check_flags(path, &draft, flags)?;
    }
    finish(reader, draft, path, flags)
}

/// Merges and checks what was read.
pub(super) fn finish(
    mut reader: Reader<'_>,
    draft: Draft,
    path: Option<&Path>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    match build(&mut reader, draft, path, flags) {
        Some(config) => Ok(config),
        None => {
            let problems = Problems::new(reader.sources, reader.problems);
            Err(ConfigError::Problems(Box::new(problems)))
        }
    }
}

/// Refuses flags about one site beside a file with several.
fn check_flags(path: &Path, draft: &Draft, flags: &Flags) -> Result<(), ConfigError> {
    let path = path.display();
    let sites = draft.sites.len();
    if let Some(flag) = flags.about_content()
        && sites > 1
    {
        let remedy = match flags.root {
            Some(_) => "write `root` into each [[site]], and leave ROOT out",
            None => "write it into a [[site]], or into [site-defaults]",
        };
        return Err(ConfigError::Usage(format!(
            "{flag} is about one site, and {path} has {sites}; {remedy}"
        )));
    }
    let chooses = |site: &super::draft::SiteDraft| site.listen.is_some();
    if !flags.server.get(of_flag("listen")).is_empty() && draft.sites.iter().any(chooses) {
        return Err(ConfigError::Usage(format!(
            "--listen replaces the listeners of {path}, but its sites choose among them by \
             `listen`; change the addresses in the file"
        )));
    }
    Ok(())
}
