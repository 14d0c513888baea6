//! The steps that a take-over adds to the start of a server.

use std::mem::take;

use super::Taker;
use crate::admin::{AdminFiles, AdminListeners};
use crate::cli::console::Console;
use crate::cli::{CommandError, Config};
use crate::events::EventKind;
use crate::server::{PassedSockets, Server, ServerSettings, take_inherited};

/// Gets the sockets that another process has, and opens those of the administration.
pub(in crate::cli) fn open_places(
    config: &Config,
    takes_over: bool,
    server: &mut ServerSettings,
) -> Result<(Option<Taker>, AdminListeners), CommandError> {
    let mut taker = takes_over.then(|| take_over_from(config)).transpose()?;
    server.passed = passed_sockets(taker.as_ref())?;
    let places = config.options.observe.admin_places();
    let admin = match &mut taker {
        None => AdminListeners::bind(&places),
        Some(taker) => AdminListeners::take_over(&places, take(&mut taker.administration)),
    };
    Ok((taker, admin.map_err(CommandError)?))
}

/// The sockets that another process passes to this one: the server that is replaced, or the program
/// that has started this one.
fn passed_sockets(taker: Option<&Taker>) -> Result<PassedSockets, CommandError> {
    let inherited = take_inherited().map_err(|error| CommandError(error.to_string()))?;
    match taker {
        None => Ok(inherited.into()),
        Some(taker) if inherited.is_empty() => Ok(taker.passed.clone()),
        Some(_) => {
            let remedy = "a server of a socket unit gets its sockets from the unit: restart it \
                          without --take-over";
            Err(CommandError(format!("--take-over: {remedy}")))
        }
    }
}

/// Asks the server that runs with this configuration for its sockets.
fn take_over_from(config: &Config) -> Result<Taker, CommandError> {
    let socket = config.options.observe.admin_socket().ok_or_else(|| {
        let remedy = "the file has no Unix socket in [admin], by which the two servers find each \
                      other; add [admin] with listen = \"unix:/run/ringd/admin.sock\", and restart \
                      ringd once without --take-over";
        CommandError(format!("--take-over: {remedy}"))
    })?;
    Taker::ask(&socket)
}

/// Tells the old server that this one accepts, and takes the name of the administration from it. If
/// the old one goes on, what this one has accepted is answered, and this is an error.
pub(in crate::cli) fn confirm(
    taker: Option<Taker>,
    server: Server,
    files: Option<&mut AdminFiles>,
    console: &Console,
) -> Result<Server, CommandError> {
    let Some(taker) = taker else { return Ok(server) };
    if let Err(error) = taker.confirm(server.hand_over(), console) {
        // Its result is of no interest beside this.
        let _ = server.stop();
        return Err(error);
    }
    if let Some(Err(error)) = files.map(AdminFiles::publish) {
        let line = format!(
            "the socket of the administration cannot take the name of the old one: {error}; \
             restart ringd to have one"
        );
        console.tell(EventKind::Admin, line);
    }
    Ok(server)
}
