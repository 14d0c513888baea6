//! Gives up what a server does not need: the order of its steps, and what a configuration needs.
//!
//! It happens when addresses, logs, certificates and passwords are open, and before any thread
//! starts. See [`crate::sandbox`] for the steps.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::root::{is_missing, open_root};
use super::{CommandError, Config, ServePlan};
use crate::driver::DriverSelection;
use crate::log_output::LogTarget;
use crate::sandbox::{self, Identity, Sandbox, SandboxMode, SandboxNeeds};
use crate::server::{ListenSpec, UnixAddress};

/// What a server is to give up.
#[derive(Debug)]
pub(super) struct Confinement {
    identity: Option<Identity>,
    mode: SandboxMode,
}

/// What a server has given up.
struct Confined {
    sandbox: Sandbox,
    /// The driver, tested as it will run.
    selection: DriverSelection,
    /// For the operator.
    notes: Vec<String>,
}

impl Confinement {
    /// Looks up the user and the group.
    ///
    /// # Errors
    ///
    /// When they are not found.
    pub(super) fn of(config: &Config) -> Result<Self, CommandError> {
        let args = &config.options.sandbox;
        let identity = Identity::find(args.user.as_deref(), args.group.as_deref());
        let identity = identity.map_err(|error| CommandError(error.to_string()))?;
        Ok(Self { identity, mode: args.sandbox.into() })
    }

    /// Gives it up, tests the driver, and completes the plan with what was left open for that.
    ///
    /// # Errors
    ///
    /// As for [`Confinement::enter`], and when the trace cannot be started.
    pub(super) fn apply(
        &self,
        mut plan: ServePlan,
        config: &Config,
    ) -> Result<(ServePlan, Sandbox), CommandError> {
        if !config.options.sandbox.is_on() {
            return Ok((plan, Sandbox::off()));
        }
        let Confined { sandbox, selection, notes } = self.enter(config)?;
        plan.notes.extend(notes);
        plan.selection = selection;
        plan.server.limits.restricted = self.mode != SandboxMode::Off;
        plan.server.trace = config.options.server.tracer()?;
        Ok((plan, sandbox))
    }

    /// Gives it up, and tests the driver. No other thread may run.
    ///
    /// # Errors
    ///
    /// When the process may not become the user, a site cannot be served as this user, something is
    /// missing that is required, or the driver does not work within the sandbox.
    fn enter(&self, config: &Config) -> Result<Confined, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError(error.to_string());
        let mut notes = Vec::new();
        if let Some(identity) = &self.identity {
            identity.assume().map_err(|error| failed(&error))?;
            sandbox::harden();
            notes.extend(check_files(config, identity)?);
        }
        let needs = needs(config);
        let mut sandbox = Sandbox::begin(self.mode, &needs).map_err(|error| failed(&error))?;
        let is_confined = self.mode != SandboxMode::Off;
        let selection = config.options.server.selection_for(is_confined)?;
        notes.extend_from_slice(&selection.notes);
        sandbox.enter_files().map_err(|error| failed(&error))?;
        Ok(Confined { sandbox, selection, notes })
    }
}

/// What a server with this configuration opens after its start.
pub(super) fn needs(config: &Config) -> SandboxNeeds {
    let places = config.options.observe.admin_places();
    let listen = config.options.server.listen.iter().chain(&places);
    let sockets = listen.clone().filter_map(|place| match place {
        ListenSpec::Unix(UnixAddress::Path(path), _) => Some(path.clone()),
        _ => None,
    });
    let ports = listen.clone().filter_map(ListenSpec::port);
    let has_unix = listen.clone().any(|place| matches!(place, ListenSpec::Unix(..)));
    SandboxNeeds {
        reads: roots(config).chain(files(config)).collect(),
        logs: logs(config).collect(),
        sockets: sockets.collect(),
        ports: ports.collect(),
        has_unix,
    }
}

fn roots(config: &Config) -> impl Iterator<Item = PathBuf> {
    let fallback = |site: &super::SiteOptions| Some(site.fallback_root.as_ref()?.path.clone());
    config.sites.iter().flat_map(move |site| [Some(site.root.clone()), fallback(site)]).flatten()
}

/// The files that a reload reads.
fn files(config: &Config) -> impl Iterator<Item = PathBuf> {
    let of_site = config.sites.iter().flat_map(|site| {
        let content = &site.content;
        let certificates = content.tls.tls_cert.iter().chain(&content.tls.tls_key);
        certificates.chain(&content.access.users).cloned().collect::<Vec<_>>()
    });
    let authority = config.options.tls.tls_client_ca.clone();
    config.files().map(Path::to_owned).chain(of_site).chain(authority)
}

/// The files of logs.
fn logs(config: &Config) -> impl Iterator<Item = PathBuf> {
    let observe = &config.options.observe;
    let targets = observe.log.0.iter().chain([&observe.error_log]);
    let paths = targets.filter_map(|target| match target {
        LogTarget::File(path) => Some(path.clone()),
        LogTarget::Stdout | LogTarget::Stderr => None,
    });
    let paths: Vec<PathBuf> = paths.chain(config.options.tls.tls_key_log.clone()).collect();
    paths.into_iter()
}

/// Whether sites can be served as the user that the process is now: an error if not. Notes what it
/// cannot open again, though the process has it open.
fn check_files(config: &Config, user: &Identity) -> Result<Vec<String>, CommandError> {
    for site in &config.sites {
        let fallback = site.fallback_root.iter().map(|fallback| &fallback.path);
        // It may be made later.
        let fallback = fallback.filter(|path| !is_missing(path));
        for root in fallback.chain([&site.root]) {
            open_root(root, site.content.symlinks.into()).map_err(|CommandError(error)| {
                CommandError(format!("as the user {user}: {error}"))
            })?;
        }
    }
    let may = |path: &Path, how| access(path, how).is_ok();
    let unreadable = files(config).filter(|path| !may(path, Access::READ_OK)).map(|path| {
        format!(
            "the user {user} may not read {}, so a reload or a renewal would fail: allow it, or \
             restart ringd after each change",
            path.display()
        )
    });
    let may_rotate = |path: &Path| path.parent().is_none_or(|parent| may(parent, Access::WRITE_OK));
    let is_fixed = |path: &PathBuf| !may(path, Access::WRITE_OK) || !may_rotate(path);
    let fixed = logs(config).filter(is_fixed).map(|path| {
        format!(
            "the user {user} may not make {} anew, so it is written on after a rotation: let this \
             user write to the file and to its directory",
            path.display()
        )
    });
    let mut notes: Vec<String> = unreadable.chain(fixed).collect();
    notes.sort_unstable();
    notes.dedup();
    Ok(notes)
}

/// Checks that a sandbox allows what another configuration needs.
///
/// # Errors
///
/// What it does not allow, and the remedy.
pub(super) fn check(sandbox: &Sandbox, old: &Config, new: &Config) -> Result<(), String> {
    sandbox.check(&needs(new))?;
    let known = &old.options.server.listen;
    let is_name = |place: &&ListenSpec| {
        let is_looked_up = matches!(place, ListenSpec::Name(..) | ListenSpec::Zone { .. });
        is_looked_up && !known.contains(place)
    };
    match new.options.server.listen.iter().find(is_name) {
        Some(place) if sandbox.has_filter() => Err(format!(
            "the sandbox of this process does not allow to look up {place}; give its address, or \
             restart ringd"
        )),
        _ => Ok(()),
    }
}
