//! `ringd serve`, the default command: from its options to a plan.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access;
use super::config::FallbackOptions;
use super::connections::shares;
use super::content::KnownRules;
use super::observe_args::cannot_open;
use super::root::{is_missing, open_root};
use super::site_files::{self, KnownSiteFiles};
use super::tls::{self, TlsPlan};
use super::{
    Chosen, CommandError, Config, HttpArgs, ObserveArgs, ServerArgs, ServerOptions, SiteOptions,
};
use crate::clients::Access;
use crate::descriptors::{Descriptors, Reserved};
use crate::driver::{DriverSelection, File, FileKind, Links};
use crate::events::{EventKind, Events};
use crate::http::compress::CompressBounds;
use crate::http::records::log::{AccessLog, LogFormat, LogTrouble};
use crate::http::records::metrics::HttpMetrics;
use crate::http::site::{FallbackUse, SiteTable};
use crate::http::{
    FallbackRoot, FileGlobs, HttpSettings, ListenerRoles, RootDirectory, RootPath, SiteSettings,
};
use crate::{http, server};

/// Everything that a run of `ringd serve` needs.
#[derive(Debug)]
pub struct ServePlan {
    /// The settings of the server.
    pub server: server::ServerSettings,
    /// The settings of the sites.
    pub http: HttpSettings,
    /// Certificates, if a site has any.
    pub(super) tls: Option<TlsPlan>,
    /// The files of hosting services in the roots.
    pub(super) site_files: KnownSiteFiles,
    /// The driver.
    pub selection: DriverSelection,
    /// What is chosen for options that are not set.
    pub chosen: Chosen,
    /// What is served, for the start line.
    pub content: String,
    /// Notes for the operator, printed before the server starts.
    pub notes: Vec<String>,
}

/// How many addresses a reload may add.
const SPARE_LISTENERS: u32 = 64;

/// How many sites a reload may add at least; a quarter of those at the start if that is more.
const SPARE_SITES: usize = 16;

impl ServePlan {
    /// Turns options into a plan. Opens the roots and the access log, and raises the soft limit of
    /// descriptors to the hard limit. Tests the driver and starts the trace, unless the server
    /// first gives up privileges.
    ///
    /// # Errors
    ///
    /// When a root cannot be served, descriptors do not suffice, or the driver does not work.
    pub fn make(config: &Config, events: &Events) -> Result<Self, CommandError> {
        let ServerOptions { server: args, http, observe, .. } = &config.options;
        let descriptors = Descriptors::raise_limit(args.worker_count());
        let numbers: Vec<u32> = (0..).take(args.listen.len()).collect();
        let listeners = ListenerNumbers::default().with(config, &numbers);
        let PlannedSites { sites, mut notes, site_files } =
            PlannedSites::open(config, &listeners, &KnownSiteFiles::default())?;
        let table = SiteTable::new(1, sites).map_err(|error| CommandError(error.to_string()))?;
        let table = table.with_roles(tls::roles(config, &numbers, &ListenerRoles::default())?);
        let tls = TlsPlan::open(config, None)?;
        notes.extend(notes_about_options(config, tls.as_ref()));
        let selection = selection(config)?;
        notes.extend_from_slice(&selection.notes);
        let cache_entries = descriptors.cache_entries(http.cache_entries, selection.kind);
        let files = descriptors.files_min(cache_entries);
        let spare = if config.path.is_some() { SPARE_LISTENERS } else { 0 };
        let compressed_files = descriptors.compressed_files(config.may_compress());
        let reserved = Reserved {
            addresses: args.listeners_max() as u64 + u64::from(spare),
            more_sites: config.roots_max() as u64 - 1,
            administration: observe.admin_descriptors(),
            compressed_files,
        };
        let shares_of = |args| shares(descriptors, args, selection.kind, files, reserved);
        let shares = shares_of(args)?;
        let by_default = shares_of(&ServerArgs { max_connections: None, ..args.clone() });
        let chosen = Chosen {
            driver: args.driver.0.is_none().then_some(selection.kind),
            connections: by_default.map_or(shares.connections, |shares| shares.connections),
            cache_entries: descriptors.cache_entries(None, selection.kind) as u32,
        };
        let mut server = args.settings(shares.connections, http.header_timeout);
        server.trace = if config.options.sandbox.is_on() { None } else { args.tracer()? };
        server.spare_listeners = spare;
        let stall_timeout = server.timeouts.send;
        server.events = events.clone();
        server.clients = http.limits.clients();
        let access_log = access_log(observe, server.workers, events)?;
        let metrics = HttpMetrics::new(server.workers);
        let metrics = (!observe.admin.is_empty()).then(|| Arc::new(metrics));
        Ok(Self {
            server,
            http: HttpSettings {
                memory_file_max: http.memory_file_max,
                cache_entries: cache_entries as usize,
                files_max: shares.files as usize,
                cache_idle: http.cache_idle,
                cache_bytes: http.cache_bytes,
                revalidate_after: http.revalidate,
                watch: !http.no_watch,
                compress: compress_bounds(http, compressed_files),
                lookups_max: (descriptors.opening() as u32 / http::site::OPENS_MAX as u32).max(1),
                health_path: http.health_path.as_deref().map(Arc::from),
                access_log,
                metrics,
                events: events.clone(),
                client_limits: http.limits.client_limits(),
                h2c: http.h2c,
                stall_timeout,
                ..HttpSettings::new(Arc::new(table))
            },
            tls,
            site_files,
            selection,
            chosen,
            content: config.served(),
            notes,
        })
    }
}

/// The driver, tested unless the server gives up privileges first.
fn selection(config: &Config) -> Result<DriverSelection, CommandError> {
    match config.options.sandbox.is_on() {
        true => Ok(DriverSelection::untested(config.options.server.driver.0)),
        false => config.options.server.selection(),
    }
}

/// Notes about options that are valid but may be a mistake.
fn notes_about_options(config: &Config, tls: Option<&TlsPlan>) -> Vec<String> {
    let mut notes: Vec<String> = tls.iter().flat_map(|tls| tls.notes()).collect();
    notes.extend(tls::notes_without_tls(config));
    notes.extend(access::notes(config));
    let observe = &config.options.observe;
    if observe.log.0.is_none() && observe.log_format != LogFormat::combined() {
        notes.push("--log-format has no effect without --log".to_owned());
    }
    notes
}

/// The bounds of what is compressed on the fly.
fn compress_bounds(http: &HttpArgs, files: u64) -> CompressBounds {
    let (bytes, memory_file_max) = (http.compress_cache_bytes, http.memory_file_max);
    CompressBounds { bytes, files: files as usize, memory_file_max }
}

/// Opens the access log, if there is one. Its thread starts later.
fn access_log(
    observe: &ObserveArgs,
    workers: usize,
    events: &Events,
) -> Result<Option<Arc<AccessLog>>, CommandError> {
    let Some(target) = &observe.log.0 else { return Ok(None) };
    let events = events.clone();
    let tell = move |trouble: LogTrouble| {
        events.tell(EventKind::AccessLog, || trouble.to_string());
    };
    let log = AccessLog::open_waiting(target.clone(), observe.log_format.clone(), workers, tell);
    log.map(|log| Some(Arc::new(log))).map_err(|error| cannot_open("--log", target, &error))
}

/// The settings of all sites, with their roots open, and notes about them.
#[derive(Debug)]
pub(super) struct PlannedSites {
    pub(super) sites: Vec<Arc<SiteSettings>>,
    pub(super) notes: Vec<String>,
    /// The files of hosting services in the roots.
    pub(super) site_files: KnownSiteFiles,
}

impl PlannedSites {
    /// Opens the roots of all sites. Files of hosting services that are broken keep the rules that
    /// they had `before`.
    pub(super) fn open(
        config: &Config,
        numbers: &ListenerNumbers,
        before: &KnownSiteFiles,
    ) -> Result<Self, CommandError> {
        let (mut sites, mut notes) = (Vec::new(), Vec::new());
        let mut site_files = KnownSiteFiles::default();
        let (mut bases, mut rules) = (Bases::default(), KnownRules::default());
        for site in &config.sites {
            let links = site.content.symlinks.into();
            let root =
                open_root(&site.root, links).map_err(|error| with_page_of_spa(error, site))?;
            let content = site.content.content_with(&mut rules)?;
            let content = http::Content { path_rules: site.path_rules.clone(), ..content };
            let mut own = self::notes(&root, links, &content);
            let content = match site.content.site_files.service() {
                None => {
                    own.extend(unread(&root));
                    content
                }
                Some(service) => {
                    let place = (&*site.name, &*root);
                    let (content, problems) = site_files.add(before, place, service, content);
                    own.extend(problems);
                    content
                }
            };
            let name = (config.sites.len() > 1).then_some(&*site.name);
            notes.extend(own.into_iter().map(|note| match name {
                Some(name) => format!("site {name}: {note}"),
                None => note,
            }));
            sites.push(Arc::new(SiteSettings {
                name: site.name.clone(),
                hosts: site.hosts.clone(),
                is_default: site.is_default,
                listeners: numbers.of(site),
                root_path: Some(bases.root_path(&site.root)?),
                fallback_root: match &site.fallback_root {
                    Some(fallback) => Some(bases.fallback_root(fallback, links)?),
                    None => None,
                },
                certificates: site.content.tls.group(),
                hsts: site.content.tls.hsts,
                access: access::settings(site)?,
                clients: Access::new(
                    site.content.allow.iter().copied(),
                    site.content.deny.iter().copied(),
                ),
                content,
                ..SiteSettings::new(root)
            }));
        }
        Ok(Self { sites, notes, site_files })
    }
}

/// The numbers of the listeners of each `[[listen]]`, by its name: those of its addresses, and of
/// addresses that it had before, since connections keep the number of the listener that accepted
/// them. So a site stays reachable by them when an address changes.
#[derive(Clone, Default, Debug)]
pub(super) struct ListenerNumbers(HashMap<String, Vec<u32>>);

/// How many numbers a `[[listen]]` keeps.
const NUMBERS_MAX: usize = 256;

impl ListenerNumbers {
    /// Those of a server that has just started: listeners are counted from 0.
    pub(super) fn at_start(config: &Config) -> Self {
        let numbers: Vec<u32> = (0..).take(config.options.server.listen.len()).collect();
        Self::default().with(config, &numbers)
    }

    /// Those of a configuration whose addresses have these numbers now, in their order.
    pub(super) fn with(&self, config: &Config, numbers: &[u32]) -> Self {
        let mut left = numbers.iter();
        let of_each = config.listeners.iter().map(|listener| {
            let name = listener.name.clone().unwrap_or_default();
            let own = left.by_ref().take(listener.addresses.len());
            let before = self.0.get(&name).into_iter().flatten();
            // An address may have got another name.
            let before = before.filter(|number| !numbers.contains(number));
            (name, own.chain(before).take(NUMBERS_MAX).copied().collect())
        });
        Self(of_each.collect())
    }

    /// Those of the listeners that a site names; `None` if it has all.
    fn of(&self, site: &SiteOptions) -> Option<Vec<u32>> {
        let numbers = site.listen.iter().filter_map(|name| self.0.get(name));
        (!site.listen.is_empty()).then(|| numbers.flatten().copied().collect())
    }
}

impl Config {
    /// How many sites the server may have after a reload: it keeps descriptors for them.
    pub(super) fn sites_max(&self) -> usize {
        match self.path {
            Some(_) => self.sites.len() + (self.sites.len() / 4).max(SPARE_SITES),
            None => 1,
        }
    }

    /// Whether sites compress on the fly; `None` if not, but a reload may change that.
    fn may_compress(&self) -> Option<bool> {
        let is_on = self.sites.iter().any(|site| site.content.compress.compress.is_some());
        (is_on || self.path.is_none()).then_some(is_on)
    }

    /// The same for roots: a site may have two.
    fn roots_max(&self) -> usize {
        self.sites_max() + self.sites.iter().filter(|site| site.fallback_root.is_some()).count()
    }

    /// What is served, for the start line.
    fn served(&self) -> String {
        match (&self.path, &self.sites[..]) {
            (None, [site]) => display_root(&site.root),
            (Some(path), [site]) => {
                format!("{} by {}", display_root(&site.root), path.display())
            }
            (path, _) => {
                let path = path.as_deref().unwrap_or(Path::new("")).display();
                format!("{} of {path}", self.sites_summary())
            }
        }
    }
}

/// Adds to the error of a root that it may be meant as the value of `--spa`.
fn with_page_of_spa(CommandError(error): CommandError, site: &SiteOptions) -> CommandError {
    let page = site.root.display();
    let is_page = site.root.is_relative() && site.root.extension().is_some();
    CommandError(match site.content.spa {
        Some(_) if is_page => format!("{error}; a value of --spa is written --spa=/{page}"),
        _ => error,
    })
}

/// The absolute path of the root; if it contains a symbolic link, also the current target.
fn display_root(root: &Path) -> String {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    // Collecting the components removes `.`, which would make the two paths differ without a link.
    let absolute = absolute.components().collect::<PathBuf>();
    match root.canonicalize() {
        Ok(real) if real != absolute => format!("{} (now {})", absolute.display(), real.display()),
        _ => absolute.display().to_string(),
    }
}

/// Notes about settings that are valid but may be a mistake.
fn notes(root: &File, links: Links, content: &http::Content) -> Vec<String> {
    let mut notes = Vec::new();
    if links == Links::Follow {
        let note = "--symlinks follow: links that leave the root are followed too, so their \
                    targets are public";
        notes.push(note.to_owned());
    }
    for (its_use, path) in content.fallbacks() {
        let option = match its_use {
            FallbackUse::Application => "--spa",
            FallbackUse::Error => "--error-page",
        };
        let file = CString::new(path).map(|path| File::open_beneath(root, &path));
        let is_file = |file: &File| file.metadata().kind == FileKind::Regular;
        if !matches!(file, Ok(Ok(file)) if is_file(&file)) {
            let path = String::from_utf8_lossy(path);
            notes.push(format!(
                "{option}: there is no file /{path} in the root yet; create it, or check the path"
            ));
        }
    }
    notes
}

/// A note about files of hosting services that are not read.
fn unread(root: &File) -> Option<String> {
    let files = site_files::present(root);
    let are_there = !files.is_empty();
    are_there.then(|| {
        format!(
            "there is {} in the root, served like any other file; to apply it, use --site-files \
             netlify or --site-files cloudflare",
            files.join(" and ")
        )
    })
}

/// The directories where the paths of roots begin, each opened once.
#[derive(Default)]
struct Bases {
    top: Option<Arc<File>>,
    current: Option<Arc<File>>,
}

impl Bases {
    /// The second directory of a site. It may not exist yet.
    fn fallback_root(
        &mut self,
        FallbackOptions { path, only }: &FallbackOptions,
        links: Links,
    ) -> Result<FallbackRoot, CommandError> {
        let root =
            if is_missing(path) { None } else { Some(RootDirectory(open_root(path, links)?)) };
        let only = FileGlobs::new(only).map_err(|error| CommandError(error.to_string()))?;
        Ok(FallbackRoot { root, root_path: Some(self.root_path(path)?), only })
    }

    /// The path of a root and where it begins. A worker opens it again from time to time, because a
    /// deployment may replace a symbolic link in it.
    fn root_path(&mut self, path: &Path) -> Result<RootPath, CommandError> {
        let failed = |error: io::Error| {
            let path = path.display();
            CommandError(format!(
                "cannot open the directory that {path} is relative to: {error}; start ringd in a \
                 directory that it may enter, or name the root by its absolute path"
            ))
        };
        // For an absolute path the current directory is not needed, and it may be unreadable.
        let (base, known) = match path.is_absolute() {
            true => ("/", &mut self.top),
            false => (".", &mut self.current),
        };
        let base = match known {
            Some(base) => Arc::clone(base),
            None => {
                let base = File::open_base(Path::new(base)).map_err(failed)?;
                Arc::clone(known.insert(Arc::new(base)))
            }
        };
        let path =
            CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        Ok(RootPath { base, path })
    }
}
