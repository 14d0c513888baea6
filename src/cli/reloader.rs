//! Reloads the configuration of a server that runs: reads the file again, checks it as a start
//! would, and gives the workers the new sites, listeners and timeouts. If anything is wrong,
//! nothing changes.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::access;
use super::config::{self, ConfigError, needs_restart, reloadable};
use super::confinement;
use super::root::open_root;
use super::serve::{ListenerNumbers, PlannedSites};
use super::site_files::KnownSiteFiles;
use super::tls::{self, TlsPlan};
use super::{Chosen, CommandError, Config, Flags, SiteOptions};
use crate::admin::{CertificateList, ConfigState, LastReload};
use crate::driver::File;
use crate::http::SiteSettings;
use crate::limits::ClientConnections;
use crate::sandbox::{self, Sandbox};
use crate::serve::{HttpUpdate, HttpUpdateError, HttpUpdater};
use crate::server::{Endpoint, UpdateError};

/// How long it takes at least between two looks at the files of hosting services.
const SITE_FILES_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What a reload needs; see the module documentation.
pub(super) struct Reloader {
    /// The configuration file; without one, a reload loads the certificates again.
    pub(super) path: Option<PathBuf>,
    /// The options of the command line, which hold again at each reload.
    pub(super) flags: Flags,
    /// What is served now.
    pub(super) config: Config,
    pub(super) sites: Vec<Arc<SiteSettings>>,
    /// The files of hosting services in their roots.
    pub(super) site_files: KnownSiteFiles,
    /// The certificates, if a site has any.
    pub(super) tls: Option<TlsPlan>,
    /// Where the administration reads of them.
    pub(super) certificates: CertificateList,
    pub(super) numbers: ListenerNumbers,
    /// How many sites there are descriptors for.
    pub(super) sites_max: usize,
    pub(super) updater: HttpUpdater,
    /// What the server has given up.
    pub(super) sandbox: Sandbox,
    /// How many connections each client has.
    pub(super) clients: ClientConnections,
    /// What the server has chosen at its start.
    pub(super) chosen: Chosen,
    /// Whether the server is stopping. Then nothing is reloaded, since a new address would be
    /// listened on for a moment only.
    pub(super) is_stopping: Arc<AtomicBool>,
    /// What the administration says of reloads.
    pub(super) state: Arc<ConfigState>,
}

/// Why a reload failed.
#[derive(Debug)]
pub(super) struct ReloadError {
    /// The causes and the remedies: a line, or a line feed and several.
    reason: String,
    /// Whether some of the changes apply.
    is_partial: bool,
}

impl ReloadError {
    /// The same, followed by other news.
    fn with(mut self, news: Option<String>) -> Self {
        self.reason.extend(news.iter().flat_map(|news| ["\n", news]));
        self
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, is_partial } = self;
        match is_partial {
            true => write!(f, "reloaded, but: {reason}"),
            false => write!(f, "not reloaded, nothing has changed: {reason}"),
        }
    }
}

impl ReloadError {
    /// The error as one of a renewal of certificates.
    pub(super) fn of_renewal(&self) -> String {
        let Self { reason, is_partial } = self;
        match is_partial {
            true => format!("the certificates are renewed, but: {reason}"),
            false => format!("the certificates stay as they are: {reason}"),
        }
    }
}

impl ReloadError {
    /// The error with what a sandbox has to do with it, since its rules look like permissions.
    fn within_sandbox(mut self) -> Self {
        let is_denied =
            ["ermission denied", "not permitted"].iter().any(|it| self.reason.contains(it));
        if is_denied && sandbox::confines_files() {
            self.reason = format!(
                "{}; the sandbox of this process allows only what is beside the files of its \
                 start: if the permissions are right, restart ringd",
                self.reason.trim_end()
            );
        }
        self
    }

    /// The error as one of the files of hosting services.
    pub(super) fn of_site_files(&self) -> String {
        format!("the new rules in the files of a root do not apply everywhere: {}", self.reason)
    }
}

impl From<CommandError> for ReloadError {
    fn from(CommandError(reason): CommandError) -> Self {
        Self { reason, is_partial: false }
    }
}

impl From<ConfigError> for ReloadError {
    fn from(error: ConfigError) -> Self {
        let reason = match error {
            ConfigError::Usage(line) => line,
            ConfigError::Problems(problems) => {
                format!("{problems}\n\n{}", problems.render_all(false).trim_end())
            }
        };
        Self { reason, is_partial: false }
    }
}

impl From<HttpUpdateError> for ReloadError {
    fn from(error: HttpUpdateError) -> Self {
        let is_partial = matches!(
            error,
            HttpUpdateError::Server(
                UpdateError::Late(_) | UpdateError::Worker(..) | UpdateError::Ended(_)
            )
        );
        Self { reason: error.to_string(), is_partial }
    }
}

impl Reloader {
    /// Refuses a reload of another file than the one of the start.
    pub(super) fn check_file(&self, config: &Path) -> Result<(), ReloadError> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some(path) = &self.path else {
            let reason = "the server runs without a configuration file".to_owned();
            return Err(ReloadError { reason, is_partial: false });
        };
        if real(config) == real(path) {
            return Ok(());
        }
        let own = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let reason = format!(
            "the server runs with {}, not with {}; change that file, or restart ringd with this \
             one",
            own.display(),
            config.display()
        );
        Err(ReloadError { reason, is_partial: false })
    }

    /// Reloads. Returns a line that says what has changed.
    pub(super) fn reload(&mut self) -> Result<String, ReloadError> {
        self.check_stopping()?;
        let Some(path) = self.path.clone() else {
            let renewed = self.renew_certificates()?;
            let unchanged = match self.tls {
                Some(_) => "the certificates have not changed",
                None => "without a configuration file and certificates, there is nothing to reload",
            };
            return Ok(renewed.unwrap_or_else(|| unchanged.to_owned()));
        };
        let result = self.load_and_apply(&path).map_err(ReloadError::within_sandbox);
        let last = match &result {
            Ok(_) => LastReload::Applied,
            Err(error) if error.is_partial => LastReload::InPart,
            Err(_) => LastReload::Refused,
        };
        self.state.set(self.updater.generation(), last);
        result
    }

    fn load_and_apply(&mut self, path: &Path) -> Result<String, ReloadError> {
        let begun = Instant::now();
        let mut config = config::load_again(path, &self.flags)?;
        self.check_restart(&config)?;
        let allowed = confinement::check(&self.sandbox, &self.config, &config);
        allowed.map_err(|reason| ReloadError { reason, is_partial: false })?;
        let (places, timeouts) = reloadable(&config.options);
        let listeners = self.updater.prepare(places)?;
        let numbers = self.numbers.with(&config, listeners.numbers());
        let PlannedSites { sites, mut notes, site_files } =
            PlannedSites::open(&config, &numbers, &self.site_files)?;
        let roles = tls::roles(&config, listeners.numbers(), self.updater.roles())?;
        let tls = TlsPlan::open(&config, self.tls.as_ref())?;
        notes.extend(tls.iter().flat_map(TlsPlan::notes));
        notes.extend(tls::notes_without_tls(&config));
        notes.extend(access::notes(&config));
        let difference = self.difference(&sites);
        // The files may have taken long to read.
        self.check_stopping()?;
        let update = HttpUpdate {
            sites: sites.clone(),
            roles: Some(roles),
            tls: tls.as_ref().map(|tls| tls.config.clone()),
        };
        let addresses = self.updater.addresses();
        let applied = match self.updater.apply(listeners, timeouts, update) {
            Err(error) => match ReloadError::from(error) {
                error if error.is_partial => Err(error),
                error => return Err(error),
            },
            Ok(generation) => Ok(generation),
        };
        self.clients.set_max(config.options.http.limits.connections_per_client);
        let moves = moves(&addresses, &self.updater.addresses());
        let (path, summary) = (path.display(), config.sites_summary());
        let notes: String =
            config.notes.iter().chain(&notes).map(|note| format!("\n{note}")).collect();
        let time = begun.elapsed().as_millis();
        let line = |generation| {
            format!(
                "reloaded {path} (generation {generation}): {summary}, {difference}, \
                 {moves}{time} ms{notes}"
            )
        };
        let line = applied.map(line);
        config.drop_texts();
        (self.config, self.sites, self.tls, self.numbers) = (config, sites, tls, numbers);
        self.site_files = site_files;
        self.show_certificates();
        line
    }

    /// How often to look whether files of hosting services have changed; `None` if no site has any.
    pub(super) fn site_files_interval(&self) -> Option<Duration> {
        let interval = self.config.options.http.revalidate.max(SITE_FILES_INTERVAL_MIN);
        self.config.reads_site_files().then_some(interval)
    }

    /// Reads the files of hosting services again if one of them, or a root, has changed. Returns
    /// lines for the operator; `None` if there is nothing new.
    pub(super) fn renew_site_files(&mut self) -> Result<Option<String>, ReloadError> {
        let has_changed = |site: &SiteOptions| {
            let is_read = site.content.site_files.service().is_some();
            // A root that cannot be opened at the moment is still served, from its descriptor.
            let root = || open_root(&site.root, site.content.symlinks.into()).ok();
            let changed = |root: Arc<File>| self.site_files.has_changed(&site.name, &root);
            is_read && root().is_some_and(changed)
        };
        if self.check_stopping().is_err() || !self.config.sites.iter().any(has_changed) {
            return Ok(None);
        }
        // All roots are opened again, since a worker takes over the root of the settings.
        let PlannedSites { sites, site_files, .. } =
            PlannedSites::open(&self.config, &self.numbers, &self.site_files)?;
        let changed: Vec<&str> = sites
            .iter()
            .zip(&self.sites)
            .filter(|(new, old)| new.content != old.content)
            .map(|(new, _)| &*new.name)
            .collect();
        let line = match (&changed[..], self.config.sites.len()) {
            ([], _) => None,
            (_, 1) => Some("the files of the root have new rules".to_owned()),
            (names, _) => Some(format!("the files of roots have new rules: {}", names.join(", "))),
        };
        let mut replaced = Ok(());
        if line.is_some() {
            replaced = self.updater.replace_sites(sites.clone()).map_err(ReloadError::from);
            if replaced.as_ref().is_err_and(|error| !error.is_partial) {
                return replaced.map(|()| None);
            }
            self.sites = sites;
        }
        let mut lines: Vec<String> = line.into_iter().collect();
        for site in &self.config.sites {
            let news = site_files.news(&self.site_files, &site.name).iter();
            lines.extend(news.map(|problem| match self.config.sites.len() {
                1 => problem.clone(),
                _ => format!("site {}: {problem}", site.name),
            }));
        }
        self.site_files = site_files;
        let text = (!lines.is_empty()).then(|| lines.join("\n"));
        match replaced {
            Ok(()) => Ok(text),
            // What else there is to say is said once, so it goes with the error.
            Err(error) => Err(error.with(text)),
        }
    }

    /// Shows the administration the present certificates.
    pub(super) fn show_certificates(&self) {
        self.certificates.set(self.tls.as_ref().map(TlsPlan::facts).unwrap_or_default());
    }

    /// The files to watch, because they are renewed without a reload.
    pub(super) fn certificate_files(&self) -> Vec<PathBuf> {
        self.tls.as_ref().map(TlsPlan::files).unwrap_or_default()
    }

    /// Loads the certificates again, and uses them for new connections. Returns a line that says
    /// what is new; `None` if nothing is. If a file cannot be used, the present certificates stay.
    pub(super) fn renew_certificates(&mut self) -> Result<Option<String>, ReloadError> {
        let Some(present) = &self.tls else { return Ok(None) };
        let Some(tls) = TlsPlan::open(&self.config, Some(present))? else { return Ok(None) };
        let fresh = tls.fresh(present);
        if fresh.is_empty() {
            return Ok(None);
        }
        let renewed = self.updater.renew(&tls.config).map_err(ReloadError::from);
        if renewed.as_ref().is_err_and(|error| !error.is_partial) {
            return renewed.map(|()| None);
        }
        let known = present.notes();
        let notes = tls.notes().into_iter().filter(|note| !known.contains(note));
        let notes = notes.map(|note| format!("\n{note}"));
        let line = format!("renewed {}{}", fresh.join(", "), notes.collect::<String>());
        self.tls = Some(tls);
        self.show_certificates();
        renewed.map(|()| Some(line))
    }

    fn check_stopping(&self) -> Result<(), ReloadError> {
        if !self.is_stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reason = "the server is stopping, and reloads nothing".to_owned();
        Err(ReloadError { reason, is_partial: false })
    }

    /// Refuses what only a restart can change: half of a configuration helps nobody.
    fn check_restart(&self, config: &Config) -> Result<(), ReloadError> {
        let keys = needs_restart(&self.config, config, self.chosen);
        let reason = match &keys[..] {
            [] if config.sites.len() <= self.sites_max => return Ok(()),
            [] => format!(
                "there are {} sites, and at its start the server has kept descriptors for {}; \
                 restart ringd",
                config.sites.len(),
                self.sites_max
            ),
            keys => format!(
                "a server that runs cannot change `{}`; restart ringd, or undo the change",
                keys.join("`, `")
            ),
        };
        Err(ReloadError { reason, is_partial: false })
    }

    /// How many sites differ from those that are served.
    fn difference(&self, sites: &[Arc<SiteSettings>]) -> String {
        let old: HashMap<&str, _> = self.sites.iter().map(|site| (&*site.name, site)).collect();
        let is_same =
            |site: &&Arc<SiteSettings>| old.get(&*site.name).is_some_and(|old| *old == *site);
        let is_known = |site: &&Arc<SiteSettings>| old.contains_key(&*site.name);
        let changed = sites.len() - sites.iter().filter(is_same).count();
        let removed = self.sites.len() - sites.iter().filter(is_known).count();
        match removed {
            0 => format!("{changed} changed"),
            _ => format!("{changed} changed, {removed} removed"),
        }
    }
}

/// What is listened on since a reload, and what no longer, each with a comma behind it.
fn moves(before: &[Endpoint], after: &[Endpoint]) -> String {
    let besides = |these: &[Endpoint], others: &[Endpoint]| {
        let new = these.iter().filter(|endpoint| !others.contains(endpoint));
        new.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let (opened, closed) = (besides(after, before), besides(before, after));
    let part = |word: &str, list: String| match list.is_empty() {
        true => String::new(),
        false => format!("{word} {list}, "),
    };
    part("now at", opened) + &part("no longer at", closed)
}
