//! Parses the command line, and explains the mistakes that clap explains badly: its tips for
//! options that do not exist, and for a second root, mislead. All other errors are printed as clap
//! words them.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::root::{COMMANDS, foreign_word, similar_command};
use super::{Cli, Command, Flags, foreign_flags};

/// The exit code after a wrong command line.
const WRONG: u8 = 2;

/// The options of its servers that `ringd bench` sets itself: their ids, and how they are written.
#[cfg(feature = "bench")]
const SET_BY_BENCH: [(&str, &str); 8] = [
    ("root", "ROOT"),
    ("config", "--config"),
    ("listen", "--listen"),
    ("driver", "--driver"),
    ("workers", "--workers"),
    ("drain_timeout", "--drain-timeout"),
    ("listen_plain", "--listen-plain"),
    ("listen_redirect", "--listen-redirect"),
];

/// The options that give a server certificates: rows without TLS would have it too.
#[cfg(feature = "bench")]
const CERTIFICATES: [(&str, &str); 3] = [
    ("tls_cert", "--tls-cert"),
    ("tls_key", "--tls-key"),
    ("tls_self_signed", "--tls-self-signed"),
];

/// Why there is no command to run.
#[derive(Debug)]
pub(super) enum UsageError {
    /// An error of clap, or a request for help or the version.
    Clap(Box<clap::Error>),
    /// A mistake that is explained here, in one line.
    Explained(String),
}

impl UsageError {
    /// Prints the error, or the help that was requested; returns the exit code.
    pub(super) fn print(&self) -> ExitCode {
        // Neither panics if its stream is closed.
        match self {
            Self::Clap(error) => {
                let _ = error.print();
                if error.use_stderr() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS }
            }
            Self::Explained(line) => {
                let _ = writeln!(io::stderr(), "ringd: {line}");
                ExitCode::from(WRONG)
            }
        }
    }
}

/// Parses a command line, whose first argument is the name of the program. For `ringd bench`, also
/// parses the options of its servers, so that a mistake in them ends the run before it begins. The
/// flags are the options that were given, as opposed to defaults.
pub(super) fn parse(
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Command, Flags), UsageError> {
    let (matches, command) = parse_once(&arguments.collect::<Vec<_>>())?;
    let of_command = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let flags = Flags::of(of_command);
    #[cfg(feature = "bench")]
    if let Command::Bench(args) = &command {
        check_server_options(&args.server_options)?;
    }
    Ok((command, flags))
}

#[cfg(feature = "bench")]
fn check_server_options(options: &[OsString]) -> Result<(), UsageError> {
    let words = ["ringd", "serve"].map(OsString::from);
    let (matches, _) = parse_once(&[&words, options].concat())?;
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let is_given =
        |id: &str| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    if let Some((_, option)) = CERTIFICATES.iter().find(|(id, _)| is_given(id)) {
        return Err(UsageError::Explained(format!(
            "ringd bench makes the certificate of its servers; use --tls before `--` instead of \
             {option}"
        )));
    }
    match SET_BY_BENCH.iter().find(|(id, _)| is_given(id)) {
        Some((_, option)) => Err(UsageError::Explained(format!(
            "ringd bench sets {option} of its servers; leave it out after `--`"
        ))),
        None => Ok(()),
    }
}

fn parse_once(arguments: &[OsString]) -> Result<(ArgMatches, Command), UsageError> {
    // A negative number is a value, so that its error names the range.
    let with_numbers = |arg: clap::Arg| {
        let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
        if is_option { arg.allow_negative_numbers(true) } else { arg }
    };
    let cli = Cli::command().mut_args(with_numbers);
    let mut cli = cli.mut_subcommands(|command| command.mut_args(with_numbers));
    let parsed = cli.try_get_matches_from_mut(arguments).and_then(|matches| {
        let command = Cli::from_arg_matches(&matches)?.into_command();
        Ok((matches, command))
    });
    parsed.map_err(|error| match explain(&error, arguments) {
        Some(line) => UsageError::Explained(line),
        None => UsageError::Clap(Box::new(error.format(&mut cli))),
    })
}

/// One line for an argument that no option or command takes; `None` for all other errors.
fn explain(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or("")).collect();
    let first = words.get(1).copied().unwrap_or("");
    let command = if COMMANDS.contains(&first) { first } else { "serve" };
    let context = |kind| context_of(error, kind);
    let wrong = match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if command == "serve" => {
            return foreign_value(error, &words);
        }
        ErrorKind::UnknownArgument => context(ContextKind::InvalidArg)?,
        // Clap takes any second positional argument for a command.
        ErrorKind::ArgumentConflict => context(ContextKind::InvalidSubcommand)?,
        _ => return None,
    };
    let is_argument = !wrong.starts_with('-') || (command == "serve" && is_after_end(&words));
    let (mistake, remedy) = if !is_argument {
        let similar = context(ContextKind::SuggestedArg).filter(|it| is_typo(wrong, it));
        let foreign = (command == "serve").then(|| foreign_flags::explain(wrong, &words)).flatten();
        let remedy = foreign.or_else(|| similar.map(|it| format!("a similar one is {it}")));
        (format!("{wrong} is not an option of ringd {command}"), remedy)
    } else if command == "serve" {
        (format!("there is one ROOT, and '{wrong}' is a second one"), second_root(wrong, &words))
    } else {
        (format!("'{wrong}' is not an argument of ringd {command}"), None)
    };
    let meant =
        similar_command(first).map(|name| format!("if you meant the command: ringd {name}"));
    // Another command has other options and arguments.
    let remedy = remedy.filter(|_| meant.is_none());
    let help = format!("see `ringd {command} --help`");
    let parts = [Some(mistake), remedy, meant, Some(help)];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn context_of(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    }
}

/// Whether an option is a mistyped form of another one: at most one letter in three is wrong.
/// Options that only look alike mean something else.
fn is_typo(wrong: &str, option: &str) -> bool {
    let [wrong, option] = [wrong, option].map(|option| option.trim_start_matches('-'));
    let most = (wrong.len().min(option.len()) / 3).max(1);
    strsim::osa_distance(wrong, option) <= most
}

/// What to do about a second directory.
fn second_root(wrong: &str, words: &[&str]) -> Option<String> {
    let several = || "for several directories, write several sites into a configuration file";
    let end = || "after `--`, nothing is an option; leave the `--` out".to_owned();
    let is_flag = |pair: &&[&str]| matches!(pair[0], "--cors" | "--compress");
    let of_flag = || words.windows(2).find(is_flag).and_then(|pair| foreign_word(pair[1]));
    let meant = is_after_end(words).then(end).or_else(|| spa_with_value(words)).or_else(of_flag);
    let meant = meant.or_else(|| foreign_word(wrong));
    Some(meant.unwrap_or_else(|| several().to_owned()))
}

/// Whether options have come to an end before the last word.
fn is_after_end(words: &[&str]) -> bool {
    words.iter().rev().skip(1).any(|word| *word == "--")
}

/// A value that another server has for an option of this name: `auto` workers, and a directory for
/// the letter of `--driver`.
fn foreign_value(error: &clap::Error, words: &[&str]) -> Option<String> {
    let option = context_of(error, ContextKind::InvalidArg)?;
    if option.starts_with("--workers ") && context_of(error, ContextKind::InvalidValue)? == "auto" {
        return Some(
            "--workers is a number; without it, each CPU has a worker; see `ringd serve --help`"
                .to_owned(),
        );
    }
    let is_of_driver = option.starts_with("--driver ");
    let is_short = words.iter().any(|word| word.starts_with("-d"));
    // A driver that is mistyped has a suggestion.
    let is_near = context_of(error, ContextKind::SuggestedValue).is_some();
    let value = context_of(error, ContextKind::InvalidValue)?;
    (is_of_driver && is_short && !is_near && !value.is_empty()).then(|| {
        format!(
            "-d names a driver, and '{value}' is none; the directory stands alone: ringd {value}; \
             see `ringd serve --help`"
        )
    })
}

/// How a value of `--spa` is written, if the word after the option looks like one.
fn spa_with_value(words: &[&str]) -> Option<String> {
    let at = words.iter().position(|word| *word == "--spa")?;
    let value = words.get(at + 1).filter(|value| !value.starts_with('-'))?;
    let page = value.trim_start_matches('/');
    Some(format!("a value of --spa is written --spa=/{page}"))
}
