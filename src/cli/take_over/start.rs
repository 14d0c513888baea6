//! The steps that a take-over adds to the start of a server.

use super::Taker;
use crate::admin::AdminSockets;
use crate::cli::console::Console;
use crate::cli::{CommandError, Config};
use crate::events::EventKind;
use crate::server::{PassedSockets, Server, ServerSettings, take_inherited};

/// Gets the sockets that another process has, and opens those of the administration.
pub(in crate::cli) fn open_places(
    config: &Config,
    takes_over: bool,
    server: &mut ServerSettings,
) -> Result<(Option<Taker>, Option<AdminSockets>), CommandError> {
    let mut taker = takes_over.then(|| take_over_from(config)).transpose()?;
    server.passed = passed_sockets(taker.as_ref())?;
    let places = config.options.observe.admin_places();
    let mut nothing = Vec::new();
    let passed = taker.as_mut().map_or(&mut nothing, |taker| &mut taker.administration);
    let bind = || AdminSockets::bind(&places, passed).map_err(CommandError);
    let admin = (!places.is_empty()).then(bind).transpose()?;
    Ok((taker, admin))
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

/// Tells the old server that this one accepts, if there is one, and then accepts clients of the
/// administration.
///
/// # Errors
///
/// If the old server goes on.
pub(in crate::cli) fn confirm(
    taker: Option<Taker>,
    server: &Server,
    admin: Option<&AdminSockets>,
    console: &Console,
) -> Result<(), CommandError> {
    let confirmed = taker.map(|taker| taker.confirm(server.hand_over(), console)).transpose()?;
    let of_admin = admin.map(AdminSockets::begin);
    for endpoint in [confirmed, of_admin].into_iter().flatten().flatten() {
        let line = format!(
            "{endpoint} has lost its file, because the old server has ended too early; restart \
             ringd, so that clients can connect there"
        );
        console.tell(EventKind::Note, line);
    }
    Ok(())
}
