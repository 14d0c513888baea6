//! Runs the command that the command line names.

use std::io::{self, Write};
use std::process::ExitCode;

use super::console::Console;
use super::{
    Command, CommandError, Config, Flags, ObserveArgs, check, health, passwd, reload, show,
    signals, start, usage,
};
use crate::{connect, doctor};

/// Parses the command line of this process and runs its command.
pub fn run() -> ExitCode {
    signals::survive_file_limit();
    let (command, flags) = match usage::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return error.print(),
    };
    match dispatch(&command, &flags) {
        Ok(code) => code,
        Err(error) => {
            // Not `eprintln`, which panics if standard error is closed.
            let _ = writeln!(io::stderr(), "ringd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command, flags: &Flags) -> Result<ExitCode, CommandError> {
    match command {
        Command::Serve(args) if args.file.test => {
            return Ok(check::run(args.file.config.as_deref(), flags));
        }
        Command::Serve(args) => {
            // Before a large file is read, since who sends SIGHUP may be early.
            signals::ignore_until_handled();
            let mut config = match &args.file.config {
                Some(path) => match check::load_or_explain(Some(path), flags) {
                    Ok(config) => config,
                    Err(code) => return Ok(code),
                },
                None => Config::from((**args).clone()),
            };
            config.drop_texts();
            let observe = config.options.observe.clone();
            let is_confined = config.options.sandbox.is_on();
            let wanted = (args.reach, args.file.take_over);
            let serve = |console: &Console| start::serve(config, flags, wanted, console);
            return with_console(&observe, is_confined, serve);
        }
        Command::Check(args) => return Ok(check::run(args.path(), &Flags::default())),
        Command::Reload(args) => return reload::run(args),
        Command::Health(args) => return health::run(args),
        Command::Passwd(args) => return passwd::run(args),
        Command::Config(args) => return show::run(args, flags),
        Command::Echo(args) => {
            return with_console(&ObserveArgs::default(), false, |console| {
                start::echo(args, console)
            });
        }
        Command::Tour(args) => super::tour::run(args)?,
        Command::Doctor(args) => return Ok(doctor::run(args, anstream::stdout())),
        #[cfg(feature = "precompress")]
        Command::Precompress(args) => return super::precompress::run(args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => super::bench::run(args)?,
        #[cfg(feature = "bench")]
        Command::BenchServer(args) => super::bench::serve(args)?,
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that serves. Unlike other commands, it does not wait for the readers of its
/// lines, because its clients would wait with it. If it `gives_up` privileges first, it starts the
/// threads of the console itself.
fn with_console(
    observe: &ObserveArgs,
    gives_up: bool,
    command: impl FnOnce(&Console) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    signals::ignore_until_handled();
    let console = Console::open(observe)?;
    console.report_panics();
    if !gives_up {
        console.start()?;
    }
    let result = command(&console);
    let code = match &result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.fail(error);
            ExitCode::FAILURE
        }
    };
    console.flush();
    Ok(code)
}
