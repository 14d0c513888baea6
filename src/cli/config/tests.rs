//! What files and flags mean together, and that keys and flags are the same.

use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::foreign::FOREIGN;
use super::keys::{FILE_KEYS, FLAGS_ONLY, KEYS, Table, of_flag};
use super::restart::RESTART;
use super::{
    Chosen, Config, ConfigError, Flags, fuzz_config, load, needs_restart, reloadable, schema,
};
use crate::cli::{Cli, Command, TlsArgs};
use crate::driver::DriverKind;

/// Loads a file with the arguments of a command line.
fn loaded(text: &str, arguments: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringd.toml");
    fs::write(&path, text).unwrap();
    let words = std::iter::once(&"ringd").chain(arguments);
    let flags = Flags::of(&Cli::command().get_matches_from(words));
    load(Some(&path), &flags)
}

fn config(text: &str, arguments: &[&str]) -> Config {
    loaded(text, arguments).unwrap_or_else(|error| match error {
        ConfigError::Usage(line) => panic!("{line}"),
        ConfigError::Problems(problems) => panic!("{}", problems.render(false)),
    })
}

/// The configuration of a command line without a file.
fn without_file(arguments: &[&str]) -> Config {
    use clap::Parser;
    let command = Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command();
    let Command::Serve(args) = command else { panic!("{arguments:?}") };
    Config::from(*args)
}

/// What a server has chosen.
const CHOSEN: Chosen = Chosen { driver: Some(DriverKind::Poll), connections: 5, cache_entries: 7 };

const SITE: &str = "[[site]]\nname = \"default\"\nroot = \"/srv\"\ndefault = true\n";

#[test]
fn every_flag_is_a_key_and_every_key_a_flag() {
    let cli = Cli::command();
    let long = cli.get_arguments().filter_map(clap::Arg::get_long);
    let flags: Vec<&str> = long.filter(|flag| !["help", "version"].contains(flag)).collect();
    for flag in &flags {
        let key = KEYS.iter().find(|key| key.flag == *flag);
        let reason = FLAGS_ONLY.iter().find(|(name, _)| name == flag);
        assert!(key.is_some() != reason.is_some(), "--{flag} is a key, or has a reason not to be");
    }
    for key in KEYS.iter() {
        assert!(flags.contains(&&*key.flag), "--{} does not exist", key.flag);
        assert!(!key.help.is_empty(), "--{} has no help", key.flag);
    }
    for (flag, reason) in FLAGS_ONLY {
        assert!(flags.contains(&flag) && !reason.is_empty(), "--{flag} does not exist");
    }
}

/// The names of other servers are not ours, and what their explanations name exists.
#[test]
fn names_of_other_servers_lead_to_keys() {
    let is_key = |name: &str| Table::ALL.iter().any(|table| table.names().any(|it| it == name));
    for (name, remedy) in FOREIGN {
        assert!(!is_key(name), "{name} is a key");
        assert!(name.len() < 64 && !name.contains('_'), "{name}");
        for quoted in remedy.split('`').skip(1).step_by(2) {
            let key = quoted.split_once(" = ").map_or(quoted, |(key, _)| key);
            assert!(is_key(key), "{name}: {key} is no key");
        }
        for heading in remedy.split(' ').filter(|word| word.starts_with('[')) {
            assert!(Table::ALL.iter().any(|table| table.heading() == heading), "{name}: {heading}");
        }
    }
    assert!(FOREIGN.is_sorted(), "each is there once, and easy to find");
}

#[test]
fn no_table_has_a_key_twice() {
    for table in Table::ALL {
        let mut names: Vec<_> = table.names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{table:?}");
    }
    assert!(FILE_KEYS.iter().all(|key| !key.help.is_empty()));
}

#[test]
fn options_of_the_process_that_need_a_restart_are_keys() {
    for (flag, _) in RESTART {
        assert!(!of_flag(flag).is_of_site, "{flag}");
    }
}

#[test]
fn a_file_without_options_means_what_a_bare_command_line_means() {
    let from_file = config(SITE, &[]);
    let bare = without_file(&["/srv"]);
    assert_eq!(from_file.meaning(), bare.meaning());
}

/// Flags, and what says the same in `[server]` and in a `[[site]]`.
const IN_BOTH_PLACES: &[(&[&str], &str, &str)] = &[
    (&["--workers", "3"], "workers = 3", ""),
    (&["--driver=poll"], "driver = \"poll\"", ""),
    (&["--listen=127.0.0.1:1", "--listen=[::1]:2"], "listen = ['127.0.0.1:1', '[::1]:2']", ""),
    (&["--idle-timeout", "1min 2s"], "idle-timeout = \"1min 2s\"", ""),
    (&["--cache-bytes", "1048576"], "cache-bytes = 0x10_0000", ""),
    (&["--cache-bytes", "1M"], "cache-bytes = \"1M\"", ""),
    (&["--no-watch"], "watch = false", ""),
    (&[], "watch = true", "cors = false"),
    (&["--no-precompressed", "--cors"], "", "precompressed = false\ncors = true"),
    (&["--compress"], "", "compress = true"),
    (&[], "", "compress = false"),
    (
        &["--compress=br,gzip", "--compress-level=best", "--compress-min=2K"],
        "",
        "compress = \"br,gzip\"\ncompress-level = \"best\"\ncompress-min = 2048",
    ),
    (&["--compress-max=1M"], "compress-cache-bytes = \"64M\"", "compress-max = \"1M\""),
    (&["--spa"], "", "spa = true"),
    (&[], "", "spa = false"),
    (&["--spa=/a.html"], "", "spa = \"/a.html\""),
    (&["--index", "a", "--index", "b"], "", "index = [\"a\", \"b\"]"),
    (&["--symlinks", "follow"], "", "symlinks = \"follow\""),
    (
        &["--mime", "gltf=model/gltf+json", "--mime", "a=text/x"],
        "",
        "mime = [\"gltf=model/gltf+json\", { a = \"text/x\" }]",
    ),
    (&["--encoded", "*.js.gz=gzip"], "", "encoded = { \"*.js.gz\" = \"gzip\" }"),
    (&["--mime", "LICENSE*=text/plain"], "", "mime = { \"LICENSE*\" = \"text/plain\" }"),
    (&["--etag", "content"], "", "etag = \"content\""),
    (&["--last-modified"], "", "last-modified = true"),
    (&["--error-page", "403=/f.html"], "", "error-page = { 403 = \"/f.html\" }"),
    (&["--tls-cert", "/c", "--tls-key", "/k"], "", "tls-cert = \"/c\"\ntls-key = \"/k\""),
    (&["--tls-self-signed"], "", "tls-self-signed = true"),
    (&["--tls-self-signed=a,b"], "", "tls-self-signed = \"a,b\""),
    (&["--hsts", "5min"], "", "hsts = \"5min\""),
    (
        &["--users", "/u", "--realm", "a b", "--rate", "5/min", "--burst", "3"],
        "",
        "users = \"/u\"\nrealm = \"a b\"\nrate = \"5/min\"\nburst = 3",
    ),
    (&["--send-rate", "1M"], "", "send-rate = \"1M\""),
    (
        &["--connections-per-client", "5", "--client-prefix-v6", "48"],
        "connections-per-client = 5\nclient-prefix-v6 = 48",
        "",
    ),
    (&["--listen-plain=:1"], "listen-plain = \":1\"", ""),
    (
        &["--listen-redirect=:1", "--tls-self-signed"],
        "listen-redirect = \":1\"",
        "tls-self-signed = true",
    ),
    (
        &["--tls-min", "1.3", "--tls-client-ca", "/ca", "--tls-key-log", "/keys"],
        "tls-min = \"1.3\"\ntls-client-ca = \"/ca\"\ntls-key-log = \"/keys\"",
        "",
    ),
    (
        &["--cache-control", "*.js=no-cache"],
        "",
        "cache-control = [{ glob = \"*.js\", value = \"no-cache\" }]",
    ),
    (
        &["--header", "**=B: 2", "--header", "**=A: 1"],
        "",
        // In the order of the file, not of the names.
        "header = { glob = \"**\", set = { B = \"2\", A = \"1\" } }",
    ),
];

/// Every option says the same on a command line and in a file.
#[test]
fn an_option_means_the_same_in_both_places() {
    for (arguments, server, site) in IN_BOTH_PLACES {
        let file = config(&format!("[server]\n{server}\n{SITE}{site}\n"), &[]);
        let flags = without_file(&[&["/srv"], *arguments].concat());
        assert_eq!(file.meaning(), flags.meaning(), "{arguments:?}");
        let both = config(SITE, arguments);
        assert_eq!(both.meaning(), flags.meaning(), "{arguments:?} beside a file");
    }
}

#[test]
fn the_more_specific_value_wins_and_lists_are_continued() {
    let text = "[server]\nworkers = 2\nidle-timeout = \"1s\"\n\
                [site-defaults]\nspa = \"/d.html\"\ncors = true\nindex = \"d\"\n\
                mime = \"a=text/d\"\n\
                [[site]]\nroot = \"a\"\nspa = \"/s.html\"\ncors = false\nindex = \"s\"\n\
                mime = \"a=text/s\"\n";
    let plain = config(text, &[]);
    let flags = config(text, &["--workers", "3", "--spa=/f.html", "--cors", "--index", "f"]);
    let content = |config: &Config| {
        let content = &config.sites[0].content;
        (content.spa.clone(), content.cors, content.index.join(" "), content.mime.len())
    };
    assert_eq!(content(&plain), (Some("s.html".into()), false, "d s".into(), 2));
    assert_eq!(content(&flags), (Some("f.html".into()), true, "d s f".into(), 2));
    let server = |config: &Config| {
        (config.options.server.workers, config.options.server.idle_timeout.as_secs())
    };
    assert_eq!((server(&plain), server(&flags)), ((Some(2), 1), (Some(3), 1)));
    assert!(!plain.options.server.trace);
    assert!(config(text, &["--trace"]).options.server.trace);
}

#[test]
fn sites_have_what_the_server_needs_to_know() {
    let text = "[[listen]]\nname = \"web\"\naddress = [\":80\", \"127.0.0.1:1\"]\n\
                [[listen]]\nname = \"local\"\naddress = \"unix:/a\"\n\
                [admin]\nlisten = \"unix:run/admin.sock\"\n\
                [[site]]\nhosts = [\"A.example.\", \"*.b.example\"]\nroot = \"one\"\n\
                [[site]]\nname = \"two\"\ndefault = true\nlisten = \"web\"\nroot = \"/two\"\n";
    let config = config(text, &[]);
    let names: Vec<_> = config.listeners.iter().map(|it| it.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["web", "local"]);
    let addresses = [":80", "127.0.0.1:1", "unix:/a"].map(|text| text.parse().unwrap());
    assert_eq!(config.listeners[0].addresses, addresses[..2]);
    assert_eq!(config.listeners[1].addresses, addresses[2..]);
    assert_eq!(config.options.server.listen, addresses);
    let [one, two] = &config.sites[..] else { panic!() };
    assert_eq!((&*one.name, one.is_default, one.listen.len()), ("a.example", false, 0));
    assert_eq!(one.hosts[1].to_string(), "*.b.example");
    assert!(one.root.is_absolute() && one.root.ends_with("one"));
    assert_eq!((&*two.name, two.is_default, &*two.listen[0]), ("two", true, "web"));
    assert_eq!(two.root, Path::new("/two"));
    assert!(config.options.observe.admin_socket().unwrap().ends_with("run/admin.sock"));
    let place = config.place_name(two.place.as_ref().unwrap());
    assert!(place.ends_with("ringd.toml:12"), "{place}");
}

#[test]
fn what_differs_and_needs_a_restart_is_named() {
    let base = format!("[server]\nworkers = 2\ncache-bytes = \"1M\"\n{SITE}");
    let old = config(&base, &[]);
    for (text, keys) in [
        // Written otherwise, but the same.
        (base.replace("\"1M\"", "1048576"), &[][..]),
        (base.replace("workers = 2", "workers = 3\ndriver = \"epoll\""), &["driver", "workers"]),
        (base.replace("workers = 2", "workers = 2\nheader-timeout = \"1s\""), &[]),
        (format!("{base}cors = true\n[admin]\nlisten = \"unix:/a\"\n"), &["[admin] listen"]),
        (
            base.replace("[server]", "[server]\nwatch = false\nrevalidate = \"2s\""),
            &["revalidate", "watch"],
        ),
    ] {
        assert_eq!(needs_restart(&old, &config(&text, &[]), CHOSEN), keys, "{text}");
    }
}

/// What is not set means what the server has chosen, so writing that down is no change.
#[test]
fn a_default_that_is_written_needs_no_restart() {
    let written = |lines: &str| config(&format!("[server]\n{lines}\n{SITE}"), &[]);
    let (plain, same) = (written(""), "cache-entries = 7\nmax-connections = 5\ndriver = \"poll\"");
    let other = "cache-entries = 8\nmax-connections = 6\ndriver = \"epoll\"";
    let keys = ["driver", "max-connections", "cache-entries"];
    for (old, new, expected) in [
        (&plain, &written(same), &[][..]),
        (&written(same), &plain, &[]),
        (&plain, &written(other), &keys),
        (&written(other), &plain, &keys),
        (&written(other), &written(other), &[]),
    ] {
        assert_eq!(needs_restart(old, new, CHOSEN), expected);
    }
    // Only a start finds out what `auto` would be.
    let named = Chosen { driver: None, ..CHOSEN };
    assert_eq!(needs_restart(&written(same), &plain, named), ["driver"]);
    // All other defaults, written down one by one.
    for key in KEYS.iter().filter(|key| key.is_in(Table::Server)) {
        let Some(default) = &key.default else { continue };
        let new = written(&format!("{} = {default:?}", key.name));
        assert_eq!(needs_restart(&plain, &new, CHOSEN), [""; 0], "{}", key.name);
        assert_eq!(reloadable(&plain.options), reloadable(&new.options), "{}", key.name);
    }
    for line in
        [format!("workers = {}", plain.options.server.worker_count()), "watch = true".into()]
    {
        assert_eq!(needs_restart(&plain, &written(&line), CHOSEN), [""; 0], "{line}");
    }
    let admin = |path: &str| config(&format!("{SITE}[admin]\nlisten = \"unix:{path}\"\n"), &[]);
    assert_eq!(needs_restart(&admin("/a/b"), &admin("/a/./b"), CHOSEN), [""; 0]);
    assert_eq!(needs_restart(&admin("/a/b"), &admin("/a/c"), CHOSEN), ["[admin] listen"]);
}

/// Every key of the process either takes effect by a reload, or is refused by it: none is accepted
/// and then ignored. The values differ from the defaults.
#[test]
fn a_reload_changes_a_key_or_refuses_it() {
    const VALUES: [(&str, &str); 37] = [
        ("connections-per-client", "7"),
        ("client-prefix-v6", "48"),
        ("limit-table", "2048"),
        ("listen", "\"127.0.0.1:1\""),
        ("listen-plain", "\"127.0.0.1:1\""),
        ("listen-redirect", "\"127.0.0.1:1\""),
        ("tls-min", "\"1.3\""),
        ("no-http2", "false"),
        ("tls-client-ca", "\"/ca\""),
        ("handshake-timeout", "\"1s\""),
        ("tls-key-log", "\"/tmp/keys\""),
        ("driver", "\"epoll\""),
        ("workers", "3"),
        ("max-connections", "100"),
        ("idle-timeout", "\"1s\""),
        ("send-timeout", "\"1s\""),
        ("drain-delay", "\"1s\""),
        ("drain-timeout", "\"1s\""),
        ("header-timeout", "\"1s\""),
        ("h2c", "true"),
        ("health-path", "\"/h\""),
        ("cache-entries", "100"),
        ("cache-idle", "\"1s\""),
        ("cache-bytes", "\"1M\""),
        ("compress-cache-bytes", "\"1M\""),
        ("memory-file-max", "0"),
        ("revalidate", "\"2s\""),
        ("no-watch", "false"),
        ("admin", "\"unix:/run/a\""),
        ("log", "\"stdout\""),
        ("log-format", "\"json\""),
        ("error-log", "\"/tmp/error.log\""),
        ("error-log-format", "\"json\""),
        ("error-log-level", "\"warn\""),
        ("user", "\"www\""),
        ("group", "\"33\""),
        ("sandbox", "\"auto\""),
    ];
    let site = format!("{SITE}tls-self-signed = true\n");
    let old = config(&site, &[]);
    for key in KEYS.iter().filter(|key| !key.is_of_site) {
        let value = VALUES.iter().find(|(flag, _)| *flag == key.flag);
        let (_, value) = value.unwrap_or_else(|| panic!("add a value of `{}`", key.flag));
        let table = Table::ALL.into_iter().find(|table| key.is_in(*table)).unwrap().heading();
        let new = config(&format!("{table}\n{} = {value}\n{site}", key.name), &[]);
        assert_ne!(old.meaning(), new.meaning(), "{}: the value is not the default", key.name);
        let refused = needs_restart(&old, &new, CHOSEN);
        let is_refused = refused == [key.full_name()];
        assert!(is_refused || refused.is_empty(), "{}: {refused:?}", key.name);
        let clients = |config: &Config| config.options.http.limits.connections_per_client;
        let is_changed =
            reloadable(&old.options) != reloadable(&new.options) || clients(&old) != clients(&new);
        // A reload makes a new configuration of TLS whenever these differ.
        let tls = |config: &Config| {
            let TlsArgs { tls_min, no_http2, tls_client_ca, handshake_timeout, .. } =
                &config.options.tls;
            format!("{tls_min:?} {no_http2} {tls_client_ca:?} {handshake_timeout:?}")
        };
        let is_changed = is_changed || tls(&old) != tls(&new);
        assert!(is_refused != is_changed, "{}: refused {is_refused}", key.name);
    }
    VALUES.iter().for_each(|(flag, _)| assert_eq!(of_flag(flag).flag, *flag));
}

/// The same for the tables beside `[server]`.
#[test]
fn a_reload_changes_a_table_or_refuses_it() {
    let old = config(SITE, &[]);
    for key in FILE_KEYS.iter().filter(|key| key.table == Table::Top) {
        let why = match key.name {
            "server" | "admin" | "log" => "its keys are looked at one by one",
            "listen" => "its addresses are those of the server",
            "site-defaults" | "site" | "include" => "sites are made anew",
            _ => "",
        };
        assert!(!why.is_empty(), "{}", key.name);
    }
    let listen = format!("[[listen]]\naddress = \"unix:/a\"\nmode = \"0600\"\n{SITE}");
    let new = config(&listen, &[]);
    assert_eq!(needs_restart(&old, &new, CHOSEN), [""; 0]);
    assert_ne!(reloadable(&old.options), reloadable(&new.options));
    // Rights are a part of the place, so a reload notices that they differ.
    let other = config(&listen.replace("0600", "0660"), &[]);
    assert_ne!(reloadable(&new.options), reloadable(&other.options));
}

#[test]
fn bounds_are_named() {
    let problem = |text: &str| match loaded(text, &[]) {
        Err(ConfigError::Problems(problems)) => problems.render(false),
        other => panic!("{other:?}"),
    };
    let site = |at: usize| format!("[[site]]\nhosts = \"h{at}\"\nroot = \".\"\n");
    let many: String = (0..10_001).map(site).collect();
    let text = problem(&many);
    assert!(text.contains("10001 sites") && text.contains("at most 10000"), "{text}");
    let hosts: Vec<String> = (0..50_001).map(|at| format!("\"h{at}\"")).collect();
    let text = problem(&format!("[[site]]\nroot = \".\"\nhosts = [\n{}\n]\n", hosts.join(",\n")));
    assert!(text.contains("50001 hosts") && text.contains("at most 50000"), "{text}");
    let text = problem(&format!("{SITE}#{}", " ".repeat(4 << 20)));
    assert!(text.contains("is too long") && text.contains("4 MiB"), "{text}");
    let text = problem(&"a = 1\n".repeat(3000));
    assert!(text.contains("the first 1000 are shown"), "{}", &text[text.len() - 200..]);
}

#[test]
fn included_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..1001 {
        fs::write(folder.path().join(format!("{at}.toml")), "").unwrap();
    }
    let main = folder.path().join("main.conf");
    fs::write(&main, format!("include = \"*.toml\"\n{SITE}")).unwrap();
    let Err(ConfigError::Problems(problems)) = load(Some(&main), &Flags::default()) else {
        panic!()
    };
    let text = problems.render(false);
    assert!(text.contains("too many files") && text.contains("at most 1000"), "{text}");
}

#[test]
fn the_schema_names_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let properties = |pointer: &str| {
        let object = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        object["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    for (table, pointer) in [
        (Table::Top, ""),
        (Table::Server, "/properties/server"),
        (Table::Listen, "/properties/listen/items"),
        (Table::Admin, "/properties/admin"),
        (Table::Log, "/properties/log"),
        (Table::Defaults, "/properties/site-defaults"),
        (Table::Site, "/properties/site/items"),
        (Table::FallbackRoot, "/properties/site/items/properties/fallback-root"),
    ] {
        let mut names: Vec<_> = table.names().collect();
        names.sort_unstable();
        assert_eq!(properties(pointer), names, "{table:?}");
    }
}

/// Files of the corpus, and what is left of them when bytes are changed or cut off.
#[test]
fn no_bytes_break_the_reader() {
    let mut random = fastrand::Rng::with_seed(15);
    let entries = fs::read_dir("tests/config").unwrap().map(|entry| entry.unwrap().path());
    let is_file = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "toml");
    for path in entries.filter(is_file) {
        let bytes = fs::read(&path).unwrap();
        fuzz_config(&bytes);
        for _ in 0..20 {
            let mut changed = bytes.clone();
            changed.truncate(random.usize(..=bytes.len()));
            for _ in 0..random.usize(..4).min(changed.len()) {
                let at = random.usize(..changed.len());
                changed[at] = *random.choice(b"\"'[]{}=.#\n\\$,_- 0a\xc3\xbc\x00").unwrap();
            }
            fuzz_config(&changed);
        }
    }
}

/// What is long in a file is not long in a message, and costs no more than its length.
#[test]
fn long_texts_are_cut() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("{long} = 1\n{SITE}"),
        format!("{SITE}symlinks = \"{long}\"\n"),
        format!("{SITE}spa = \"{long}\"\n"),
        format!("{SITE}hosts = [\"{long}\", \"${{{long}}}\"]\n"),
        format!("{SITE}header = [\"{long}\", {{ glob = \"*\", set = {{ {long} = \"ü\" }} }}]\n"),
        format!("[[listen]]\naddress = \"{long}\"\n[server]\ndriver = \"{long}\"\n{SITE}"),
    ] {
        let Err(ConfigError::Problems(problems)) = loaded(&text, &[]) else { panic!() };
        let length = problems.render(false).len();
        assert!(length < 300_000 * problems.count(), "{length} bytes");
        assert!(problems.list.iter().all(|problem| problem.title.len() < 400));
    }
}
