//! From drafts to a configuration: merges defaults, files and flags, and checks the whole.

use std::path::{Path, PathBuf};

use super::certificates::{check_certificates, check_client_ca, check_protocols, check_users};
use super::check::check_roots;
use super::claims;
use super::draft::{Draft, ListenerDraft, SiteDraft};
use super::flags::Flags;
use super::keys::{KEYS, Key, of_flag};
use super::options::{
    Config, FallbackOptions, ListenerOptions, ServerOptions, SiteOptions, Written,
};
use super::parse::Parsers;
use super::places::check_places;
use super::problem::{Problem, ProblemList};
use super::protocol::ListenerProtocol;
use super::reader::Reader;
use super::setting::{Origin, Settings, Sourced, Value};
use super::source::Place;
use super::tables::{HOSTS_MAX, LISTENERS_MAX, SITES_MAX};
use crate::admin::PLACES_MAX;
use crate::cli::content::{ContentError, KnownRules};
use crate::cli::serve_args::default_root;
use crate::http::site::rewrites::{PathRule, PathRules};
use crate::server::ListenSpec;

/// Merges and checks. Every mistake is added to the problems of the reader; with a mistake, there
/// is no configuration.
pub(super) fn build(
    reader: &mut Reader<'_>,
    mut draft: Draft,
    path: Option<&Path>,
    flags: &Flags,
) -> Option<Config> {
    apply_root(&mut draft, path, flags, reader);
    let mut server = defaults(|key| !key.is_of_site);
    let listeners = listeners(&mut draft, &server, flags, &mut reader.problems);
    check_bounds(&draft, &listeners, &mut reader.problems);
    let sets = claims::listeners_of(&draft.sites, &listeners, &mut reader.problems);
    let names = claims::names(&draft.sites, &sets, &mut reader.problems);
    claims::check_hosts(&draft.sites, &sets, &mut reader.problems);
    claims::check_defaults(&draft.sites, &sets, &mut reader.problems);
    server.overlay(&draft.server);
    server.overlay(&flags.server);
    let around = [&draft.defaults, &flags.site];
    check_protocols(&listeners, &draft.sites, around, &mut reader.problems);
    if reader.opens_roots {
        check_roots(&draft.sites, around, &mut reader.problems);
        check_certificates(&draft.sites, around, &mut reader.problems);
        check_client_ca(&server, &mut reader.problems);
        check_users(&draft.sites, around, &mut reader.problems);
    }
    LISTEN_FLAGS.iter().for_each(|(flag, _)| server.set(of_flag(flag), Vec::new()));
    let admin = texts(&server, of_flag("admin"));
    if let Some(place) = admin.get(PLACES_MAX) {
        let title = format!("[admin] has {} places", admin.len());
        let remedy = format!("at most {PLACES_MAX} are allowed");
        reader.problems.push(Problem::new(place.origin.place(), title, remedy));
    }
    let notes = check_places(&listeners, &admin, reader.looks_at_sockets, &mut reader.problems);
    draft.notes.extend(notes);
    let options = server_options(reader, &server, &listeners, flags);
    let (sites, written) =
        sites(reader, draft.sites, names, (&draft.defaults, &draft.default_rules), flags);
    let options = options.filter(|_| reader.problems.is_empty())?;
    let mut specs = options.server.listen.clone().into_iter();
    Some(Config {
        path: path.map(Path::to_owned),
        options,
        listeners: listeners
            .iter()
            .map(|listener| ListenerOptions {
                name: listener.name.as_ref().map(|name| name.value.clone()),
                addresses: specs.by_ref().take(listener.addresses.len()).collect(),
                protocol: listener.protocol.as_ref().map(|it| it.value).unwrap_or_default(),
                door: listener.door.door(),
            })
            .collect(),
        sites,
        notes: draft.notes,
        written: Written { sources: reader.sources.clone(), server, listeners, sites: written },
    })
}

/// The defaults of the flags.
fn defaults(is_wanted: impl Fn(&Key) -> bool) -> Settings {
    let mut settings = Settings::default();
    for key in KEYS.iter().filter(|key| is_wanted(key)) {
        if let Some(text) = &key.default {
            let value = Value::Text(text.clone());
            settings.set(key, vec![Sourced { value, origin: Origin::Default }]);
        }
    }
    settings
}

/// Gives ROOT to the only site, or makes a site of it.
fn apply_root(draft: &mut Draft, path: Option<&Path>, flags: &Flags, reader: &mut Reader<'_>) {
    let flag = flags
        .root
        .as_ref()
        .map(|root| Sourced { value: root.clone(), origin: Origin::Flag("ROOT".to_owned()) });
    let default = || Sourced { value: PathBuf::from(default_root()), origin: Origin::Default };
    let root = flag.or_else(|| path.is_none().then(default));
    match (&mut draft.sites[..], root) {
        ([], Some(root)) => {
            draft.sites.push(SiteDraft { root: Some(root), ..SiteDraft::default() });
        }
        ([], None) if reader.problems.is_empty() => {
            let title = format!("{} has no [[site]]", path.unwrap_or(Path::new("")).display());
            let remedy =
                "add one with a `root`, or name the directory to serve on the command line";
            reader.problems.push(Problem::new(None, title, remedy));
        }
        ([site], Some(root)) => site.root = Some(root),
        _ => {}
    }
    for site in draft.sites.iter().filter(|site| site.root.is_none() && !site.has_root) {
        let remedy = "add `root`, as in root = \"/srv/site\"";
        let problem = Problem::new(site.place.as_ref(), "a site has no root", remedy);
        reader.problems.push(problem);
    }
}

/// The listeners of the command line, of the file, or the default.
fn listeners(
    draft: &mut Draft,
    defaults: &Settings,
    flags: &Flags,
    problems: &mut ProblemList,
) -> Vec<ListenerDraft> {
    let listener = |settings: &Settings| unnamed(settings, LISTEN_FLAGS[0]);
    // Those of other protocols are always additional.
    let others = LISTEN_FLAGS[1..].iter().flat_map(|flag| {
        [&flags.server, &draft.server].into_iter().find_map(|settings| unnamed(settings, *flag))
    });
    let others: Vec<_> = others.collect();
    let with_others = |listeners: Vec<ListenerDraft>| listeners.into_iter().chain(others).collect();
    let unnamed = listener(&draft.server);
    if let (Some(unnamed), [first, ..]) = (&unnamed, &draft.listeners[..]) {
        let title = "`listen` in [server] beside a [[listen]]";
        let place = unnamed.addresses.first().and_then(|address| address.origin.place());
        let first = first.addresses.first().and_then(|address| address.origin.place());
        let problem = Problem::new(place, title, "move the addresses into a [[listen]]");
        problems.push(problem.and(first, "the first [[listen]]"));
    }
    let file = std::mem::take(&mut draft.listeners);
    if let Some(flag) = listener(&flags.server) {
        return with_others(vec![flag]);
    }
    if !file.is_empty() {
        return with_others(file);
    }
    with_others(unnamed.or_else(|| listener(defaults)).into_iter().collect())
}

/// The flags of addresses, and what is spoken there.
pub(super) const LISTEN_FLAGS: [(&str, ListenerProtocol); 3] = [
    ("listen", ListenerProtocol::Usual),
    ("listen-plain", ListenerProtocol::Http),
    ("listen-redirect", ListenerProtocol::Redirect),
];

/// The listener of a flag, without a name.
fn unnamed(settings: &Settings, (flag, value): (&str, ListenerProtocol)) -> Option<ListenerDraft> {
    let addresses = texts(settings, of_flag(flag));
    let origin = addresses.first()?.origin.clone();
    let is_usual = value == ListenerProtocol::Usual;
    let protocol = (!is_usual).then_some(Sourced { value, origin });
    Some(ListenerDraft { addresses, protocol, ..ListenerDraft::default() })
}

/// The texts of a key.
fn texts(settings: &Settings, key: &Key) -> Vec<Sourced<String>> {
    let text = |Sourced { value, origin }: &Sourced<Value>| match value {
        Value::Text(text) => Some(Sourced { value: text.clone(), origin: origin.clone() }),
        _ => None,
    };
    settings.get(key).iter().filter_map(text).collect()
}

fn check_bounds(draft: &Draft, listeners: &[ListenerDraft], problems: &mut ProblemList) {
    let mut complain = |what: &str, count: usize, max: usize, place: Option<&Place>| {
        if count > max {
            let title = format!("the configuration has {count} {what}");
            problems.push(Problem::new(place, title, format!("at most {max} are allowed")));
        }
    };
    let site = draft.sites.get(SITES_MAX).and_then(|site| site.place.as_ref());
    complain("sites", draft.sites.len(), SITES_MAX, site);
    let hosts = draft.sites.iter().flat_map(|site| &site.hosts);
    let host = hosts.clone().nth(HOSTS_MAX).and_then(|host| host.origin.place());
    complain("hosts", hosts.count(), HOSTS_MAX, host);
    let addresses = listeners.iter().flat_map(|listener| &listener.addresses);
    let address = addresses.clone().nth(LISTENERS_MAX);
    let address = address.and_then(|address| address.origin.place());
    complain("addresses to listen on", addresses.count(), LISTENERS_MAX, address);
}

/// The options of the process; `None` after a problem.
fn server_options(
    reader: &mut Reader<'_>,
    settings: &Settings,
    listeners: &[ListenerDraft],
    flags: &Flags,
) -> Option<ServerOptions> {
    match reader.parsers().server(settings) {
        Ok((mut server, tls, http, observe, sandbox)) => {
            server.listen = listeners.iter().flat_map(places).collect();
            server.trace = flags.trace;
            Some(ServerOptions { server, tls, http, observe, sandbox })
        }
        Err(error) => {
            reader.problems.push(Problem::new(None, error, "correct the options"));
            None
        }
    }
}

/// Where a listener listens, with the rights of its Unix sockets. What is wrong with an address was
/// a problem when it was read.
fn places(listener: &ListenerDraft) -> impl Iterator<Item = ListenSpec> {
    let places = listener.addresses.iter().filter_map(|text| text.value.parse().ok());
    places.filter_map(|place| listener.rights.apply(place).ok())
}

/// The options of all sites, and the same as they are written. Adds what is wrong with them to the
/// problems.
fn sites(
    reader: &mut Reader<'_>,
    drafts: Vec<SiteDraft>,
    names: Vec<String>,
    (of_all, rules_of_all): (&Settings, &[Sourced<PathRule>]),
    flags: &Flags,
) -> (Vec<SiteOptions>, Vec<SiteDraft>) {
    let mut common = defaults(|key| key.is_of_site);
    common.overlay_site(of_all);
    let mut rules = KnownRules::default();
    let (mut sites, mut written) = (Vec::new(), Vec::new());
    for (mut draft, name) in drafts.into_iter().zip(names) {
        let mut settings = common.clone();
        settings.overlay_site(&draft.settings);
        settings.overlay_site(&flags.site);
        draft.settings = settings;
        // The first rule that matches applies, so those of the site go before those of all sites.
        draft.path_rules.extend_from_slice(rules_of_all);
        match options(reader.parsers(), &mut rules, &draft, name) {
            Ok(options) => sites.push(options),
            Err(problem) => reader.problems.push(problem),
        }
        written.push(draft);
    }
    (sites, written)
}

fn options(
    parsers: &mut Parsers,
    rules: &mut KnownRules,
    draft: &SiteDraft,
    name: String,
) -> Result<SiteOptions, Problem> {
    let place = draft.place.as_ref();
    let content = parsers.content(&draft.settings);
    let content = content.map_err(|error| Problem::new(place, error, "correct the options"))?;
    // The values add up, so each of them may be valid while all together are too many.
    content.content_with(rules).map_err(|ContentError { option, reason }| {
        let values = draft.settings.get(of_flag(option)).iter().rev();
        let last = values.filter_map(|value| value.origin.place()).next();
        Problem::new(last.or(place), format!("the values of `{option}` are refused"), reason)
    })?;
    Ok(SiteOptions {
        path_rules: path_rules(&draft.path_rules)?,
        name,
        hosts: draft.hosts.iter().map(|host| host.value.clone()).collect(),
        is_default: draft.is_default.as_ref().is_some_and(|is_default| is_default.value),
        listen: draft.listen.iter().flatten().map(|name| name.value.clone()).collect(),
        root: draft.root.as_ref().map(|root| root.value.clone()).unwrap_or_default(),
        fallback_root: draft.fallback_root.as_ref().map(|fallback| FallbackOptions {
            path: fallback.path.value.clone(),
            only: fallback.only.iter().map(|glob| glob.value.clone()).collect(),
        }),
        content,
        place: draft.place.clone(),
    })
}

/// The redirects and rewrites of a site. A site may have too many, although each is right.
fn path_rules(rules: &[Sourced<PathRule>]) -> Result<Option<PathRules>, Problem> {
    let all = rules.iter().map(|rule| rule.value.clone()).collect();
    PathRules::new(all).map_err(|(number, error)| {
        let place = rules[number].origin.place();
        Problem::new(place, "a site has too many rules", error.to_string())
    })
}
