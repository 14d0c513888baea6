//! Writes what packages install beside the program, from the definition of the command line and
//! the schema of the configuration file:
//!
//! ```text
//! cargo run --example manual -- DIR
//! DIR/man1/ringd.1, DIR/man1/ringd-check.1, ...   a page for each command
//! DIR/man5/ringd.toml.5                           the keys of the configuration file
//! DIR/completions/                                for bash, zsh and fish
//! ```
//!
//! The program itself writes none of this: who runs a server needs no generator in it.

mod keys;

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use ringd::cli::Cli;

const MANUAL: &str = "ringd";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("write `cargo run --example manual -- DIR`")?;
    let folder = Path::new(&folder);
    for part in ["man1", "man5", "completions"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let mut command = Cli::command();
    command.build();
    pages(&command, &folder.join("man1"))?;
    keys::write(&folder.join("man5/ringd.toml.5"))?;
    completions(&folder.join("completions"))
}

/// Writes the completions of each shell.
fn completions(folder: &Path) -> Result<(), Box<dyn Error>> {
    for shell in [Shell::Bash, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Cli::command(), MANUAL, folder)?;
    }
    let mut text = Vec::new();
    clap_complete::generate(Shell::Fish, &mut Cli::command(), MANUAL, &mut text);
    let text = with_values(&String::from_utf8(text)?)?;
    Ok(fs::write(folder.join("ringd.fish"), text)?)
}

/// The completions for fish, which then complete `ringd --driver ` too. The function that looks for a
/// command reads the line with `argparse`, which fails while the last option has no value. There is no
/// command yet then, and the function has to say so.
fn with_values(text: &str) -> Result<String, &'static str> {
    let (before, after) = text
        .split_once("-- $cmd 2>/dev/null\n    or return\n")
        .ok_or("clap_complete writes other completions for fish; adapt `with_values`")?;
    Ok(format!("{before}-- $cmd 2>/dev/null\n    or return 0\n{after}"))
}

/// Writes the page of a command, and those of its commands.
fn pages(command: &Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(command.clone()).title(&name).date(date()).manual(MANUAL).render(&mut text)?;
    let mut text = without_double_breaks(&String::from_utf8(text)?).into_bytes();
    keys::see_also(&mut text, &name)?;
    fs::write(folder.join(format!("{name}.1")), text)?;
    let shown = |it: &&Command| !it.is_hide_set() && it.get_name() != "help";
    command.get_subcommands().filter(shown).try_for_each(|it| pages(it, folder))
}

/// The page without `.br` beside an empty line, which breaks the line itself: `mandoc` warns of it.
fn without_double_breaks(page: &str) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let is_empty = |at: usize| lines.get(at).is_some_and(|line| line.is_empty());
    let is_double = |at: usize| is_empty(at + 1) || is_empty(at.wrapping_sub(1));
    let kept = (0..lines.len()).filter(|at| lines[*at] != ".br" || !is_double(*at));
    kept.map(|at| format!("{}\n", lines[at])).collect()
}

/// The date of the last change that the changelog names; the same for each build of a release.
fn date() -> String {
    let changelog = include_str!("../../../CHANGELOG.md");
    let dated =
        |line: &str| line.strip_prefix("## [")?.split_once("] - ").map(|it| it.1.to_owned());
    changelog.lines().find_map(dated).unwrap_or_else(|| "2026-11-30".to_owned())
}
