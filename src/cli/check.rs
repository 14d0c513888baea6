//! `ringd check` and `ringd -t`: whether a configuration can be served.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::config::{self, Config, ConfigError, Flags, Problems};
use super::root::open_root;
use super::site_files::KnownSiteFiles;
use super::tls;
use crate::http::Content;

const AFTER_HELP: &str = "\
All mistakes of the file, and of the files that it includes, are printed at once. The roots of the
sites are opened, and certificates are loaded: a line shows each. Nothing is bound, and no name is
resolved. To check a file together with options, use `ringd -t -c FILE [OPTIONS]`.

Exit codes: 0 if there are no mistakes, 1 if there are, 2 for a wrong command line.";

/// The exit code after a wrong command line.
const WRONG: u8 = 2;

/// The command line of `ringd check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub file: Option<PathBuf>,

    /// The same as FILE
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl CheckArgs {
    /// The file; clap sees to it that there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }
}

/// Checks a file together with flags, and says what is wrong or what would be served.
pub(super) fn run(path: Option<&Path>, flags: &Flags) -> ExitCode {
    let config = match explained(config::check(path, flags)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let (certificates, notes) = match tls::described(&config) {
        Ok(described) => described,
        // They were readable a moment ago.
        Err(error) => {
            let _ = writeln!(io::stderr(), "ringd: {error}");
            return ExitCode::FAILURE;
        }
    };
    for note in config.notes.iter().chain(&notes) {
        let _ = writeln!(io::stderr(), "ringd: {note}");
    }
    let problems = site_files_problems(&config);
    if !problems.is_empty() {
        for problem in problems {
            let _ = writeln!(io::stderr(), "ringd: {problem}");
        }
        return ExitCode::FAILURE;
    }
    let name = config.path.as_deref().unwrap_or(Path::new("")).display();
    let _ = writeln!(io::stdout(), "ringd: {name} is valid: {}", config.summary());
    for line in certificates {
        let _ = writeln!(io::stdout(), "ringd: {line}");
    }
    ExitCode::SUCCESS
}

/// What is wrong in the files of hosting services. The roots were opened a moment ago.
fn site_files_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for site in &config.sites {
        let Some(service) = site.content.site_files.service() else { continue };
        let root = open_root(&site.root, site.content.symlinks.into());
        let (Ok(root), Ok(content)) = (root, site.content.content()) else { continue };
        let content = Content { path_rules: site.path_rules.clone(), ..content };
        let (mut known, before) = (KnownSiteFiles::default(), KnownSiteFiles::default());
        let (_, found) = known.add(&before, (&site.name, &root), service, content);
        let root = site.root.display();
        problems.extend(found.into_iter().map(|problem| format!("{root}/{problem}")));
    }
    problems
}

/// Loads a configuration, or prints what is wrong and returns the exit code.
pub(super) fn load_or_explain(path: Option<&Path>, flags: &Flags) -> Result<Config, ExitCode> {
    explained(config::load(path, flags))
}

fn explained(loaded: Result<Config, ConfigError>) -> Result<Config, ExitCode> {
    loaded.map_err(|error| match error {
        ConfigError::Problems(problems) => explain(&problems),
        ConfigError::Usage(line) => {
            let _ = writeln!(io::stderr(), "ringd: {line}");
            ExitCode::from(WRONG)
        }
    })
}

/// Prints problems. `anstream` removes the colours unless standard error is a terminal that shows
/// them, and where NO_COLOR is set.
fn explain(problems: &Problems) -> ExitCode {
    let _ = anstream::stderr().write_all(problems.render(true).as_bytes());
    ExitCode::FAILURE
}
