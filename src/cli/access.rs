//! Who may use a site: reads the users of its file, and tells what may be a mistake.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::{CommandError, Config, ListenerOptions, SiteOptions};
use crate::cli::ListenerProtocol;
use crate::http::site::access::{AccessSettings, PasswordSettings};
use crate::passwords::{USERS_BYTES_MAX, Users};
use crate::server::ListenSpec;

/// Reads a file of users.
///
/// # Errors
///
/// What is wrong, and, after a semicolon, what would be right.
pub(super) fn read_users(path: &Path) -> Result<Users, String> {
    let name = path.display();
    let failed = |error: &std::io::Error| {
        format!("cannot read {name}: {error}; let the user of ringd read it, or correct the path")
    };
    // Opening a FIFO would wait for a writer.
    if path.metadata().map_err(|error| failed(&error))?.is_file() {
        let mut text = String::new();
        let file = File::open(path).map_err(|error| failed(&error))?;
        let read = file.take(USERS_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| failed(&error))?;
        if text.len() as u64 > USERS_BYTES_MAX {
            return Err(format!("{name} has more than 4 MiB; it cannot be a file of users"));
        }
        return Users::parse(&text).map_err(|error| {
            let remedy = match &error.user {
                Some(user) => format!("set it again with `ringd passwd {user} --file {name}`"),
                None if error.line.is_none() => {
                    format!("add one with `ringd passwd NAME --file {name}`")
                }
                None => "correct the line".to_owned(),
            };
            let place = error.line.map_or(String::new(), |line| format!(":{line}"));
            format!("{name}{place}: {}; {remedy}", error.reason)
        });
    }
    Err(format!("{name} is not a file; name a file of users, as `ringd passwd` writes it"))
}

/// The settings of a site; `None` if it has no limits.
///
/// # Errors
///
/// When the file of its users cannot be used.
pub(super) fn settings(site: &SiteOptions) -> Result<Option<Arc<AccessSettings>>, CommandError> {
    let args = &site.content.access;
    let mut settings = AccessSettings::of_site(&site.name);
    settings.rate = args.rate_limit().map_err(CommandError)?;
    settings.send_rate = args.pace();
    if let Some(path) = &args.users {
        let users = read_users(path).map_err(|error| CommandError(format!("--users: {error}")))?;
        let realm = args.realm().to_owned();
        settings.passwords = Some(PasswordSettings { users: Arc::new(users), realm });
    }
    Ok(settings.if_any())
}

/// Notes about passwords that can be read on the way, and about options without an effect.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let has_tls = config.has_tls();
    for site in &config.sites {
        let access = &site.content.access;
        if access.realm.is_some() && !access.has_passwords() {
            notes.push(format!("site {}: --realm has no effect without --users", site.name));
        }
        if !access.has_passwords() {
            continue;
        }
        let reaches = |listener: &&ListenerOptions| {
            let name = listener.name.as_ref();
            site.listen.is_empty() || name.is_some_and(|name| site.listen.contains(name))
        };
        let listeners = config.listeners.iter().filter(reaches);
        let plain = listeners.filter(|listener| is_plain(listener.protocol, has_tls));
        if let Some(address) = plain.flat_map(|it| &it.addresses).find(|it| is_open(it)) {
            notes.push(format!(
                "site {}: its passwords are sent without TLS to {address}, so they can be read on \
                 the way; add --tls-cert, or listen on 127.0.0.1 behind a proxy with TLS",
                site.name
            ));
        }
    }
    notes
}

fn is_plain(protocol: ListenerProtocol, has_tls: bool) -> bool {
    match protocol {
        ListenerProtocol::Usual => !has_tls,
        ListenerProtocol::Http => true,
        ListenerProtocol::Https | ListenerProtocol::Redirect => false,
    }
}

/// Whether other machines reach an address, as far as its text says.
fn is_open(address: &ListenSpec) -> bool {
    match address {
        ListenSpec::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        // What was passed is not known here.
        ListenSpec::Zone { .. } | ListenSpec::Port(_) | ListenSpec::Passed(_) => true,
        ListenSpec::Name(name, _) => name != "localhost" && !name.ends_with(".localhost"),
        ListenSpec::Unix(..) => false,
    }
}
