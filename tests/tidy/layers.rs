//! Which part of the source may import which, and that no files import each other in a cycle.
//!
//! `src/http/mod.rs` and `docs/architecture.md` show the layers. A part that is missing in the
//! table is a violation, so a new folder must be entered with its allowed imports. The `KNOWN_`
//! lists hold violations that are still in the source; an entry without its violation fails.

use std::collections::BTreeSet;
use std::path::Path;

use super::complain;
use super::cycles::{Cycle, cycles};
use super::imports::{Crate, Foreign, Need};

/// The session contract, and the parts that it refers to.
const CONTRACT: [&str; 4] = ["driver", "session", "service", "ask"];

/// Stands for all parts except the binary.
const EVERYTHING: &str = "*";

/// Each part of the source, by its module, and the parts that it may import besides itself. The
/// longest prefix that matches a file decides.
const LAYERS: [(&str, &[&str]); 42] = [
    ("denial", &[]),
    ("passwords", &[]),
    ("limits", &["clients"]),
    ("metrics", &[]),
    ("signal_mask", &[]),
    ("late_thread", &[]),
    ("sandbox", &["driver"]),
    ("log_output", &[]),
    ("events", &["log_output", "signal_mask", "late_thread"]),
    ("line_log", &["signal_mask", "late_thread"]),
    ("secured", &["driver", "session", "service", "ask", "events"]),
    ("tls", &["secured", "session", "metrics", "signal_mask"]),
    ("driver", &["line_log"]),
    ("descriptors", &["driver"]),
    ("session", &CONTRACT),
    ("service", &CONTRACT),
    ("ask", &CONTRACT),
    ("echo", &CONTRACT),
    ("clients", &CONTRACT),
    (
        "server",
        &[
            "driver",
            "session",
            "service",
            "ask",
            "clients",
            "denial",
            "events",
            "limits",
            "metrics",
            "signal_mask",
        ],
    ),
    // Only re-exports from the modules below it.
    ("http", &[]),
    ("http::semantics", &[]),
    (
        "http::records",
        &[
            "http::semantics",
            "metrics",
            "clients",
            "driver",
            "session",
            "log_output",
            "signal_mask",
            "late_thread",
        ],
    ),
    ("http::compress", &["http::semantics", "driver", "signal_mask"]),
    (
        "http::site",
        &[
            "http::compress",
            "http::records",
            "http::semantics",
            "clients",
            "limits",
            "passwords",
            "metrics",
            "driver",
            "session",
            "service",
            "ask",
            "events",
        ],
    ),
    (
        "http::h1",
        &["http::site", "http::records", "http::semantics", "driver", "session", "service", "ask"],
    ),
    (
        "http::h2",
        &["http::site", "http::records", "http::semantics", "driver", "session", "service", "ask"],
    ),
    ("http::web", &["http::h1", "http::h2", "http::site", "driver", "session", "service", "ask"]),
    // For tests only; see `HARNESS`.
    ("http::harness", &["http", "http::web", "http::site", "driver", "session", "service", "ask"]),
    ("http::stack", &["http::web", "http::site", "secured", "driver", "session", "service", "ask"]),
    (
        "http::front",
        &["http::stack", "http::site", "clients", "secured", "driver", "session", "service", "ask"],
    ),
    (
        "serve",
        &[
            "server",
            "http",
            "http::compress",
            "http::front",
            "http::h1",
            "http::site",
            "secured",
            "tls",
            "echo",
            "driver",
        ],
    ),
    ("embed", &["serve", "server", "http", "http::site", "driver"]),
    (
        "admin",
        &[
            "serve",
            "tls",
            "server",
            "http",
            "http::compress",
            "http::h1",
            "http::site",
            "http::records",
            "http::semantics",
            "driver",
            "events",
            "limits",
            "metrics",
            "signal_mask",
        ],
    ),
    ("connect", &["denial"]),
    ("drawing", &[]),
    ("doctor", &["descriptors", "driver", "tls", "sandbox"]),
    ("bench", &["serve", "server", "http", "http::h2", "http::site", "tls", "driver", "drawing"]),
    ("precompress", &["http::semantics"]),
    ("cli", &[EVERYTHING]),
    ("main", &[EVERYTHING]),
    // `lib.rs` only declares modules, and offers the short way to embed a server.
    ("", &["embed"]),
];

/// Parts in the table that do not exist yet.
const PLANNED: [&str; 0] = [];

/// Imports that the table forbids and that still exist, from file to file.
const KNOWN_IMPORTS: [(&str, &str); 0] = [];

/// Cycles of files that still exist, each with the reason.
const KNOWN_CYCLES: [(&[&str], &str); 0] = [];

/// Parts that decide and perform no I/O, and the crates and modules that they must not use.
const PURE: [&str; 4] = ["src/http/semantics/", "src/http/h1/", "src/http/h2/", "src/http/site/"];
const KERNEL: [&str; 11] = [
    "io_uring",
    "libc",
    "rustix",
    "socket2",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::process",
];

/// The harness stands in for the server: it opens and reads files itself. Tests and fuzzers
/// outside the crate call it, so it cannot be behind `cfg(test)`; no part of the program may use
/// it.
const HARNESS: &str = "src/http/harness.rs";

/// Files of pure parts that still use the kernel, and the crate that they use.
const KNOWN_KERNEL: [(&str, &str); 0] = [];

/// The part that a file belongs to.
pub(crate) fn layer_of(file: &str) -> Option<&'static str> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path).replace('/', "::");
    let path = if path == "lib" { "" } else { &path };
    let fits = |layer: &&str| match path.strip_prefix(layer) {
        Some(rest) => rest.is_empty() || (!layer.is_empty() && rest.starts_with("::")),
        None => false,
    };
    LAYERS.iter().map(|(layer, _)| *layer).filter(fits).max_by_key(|layer| layer.len())
}

fn may_import(from: &str, to: &str) -> bool {
    let listed = LAYERS.iter().find(|(layer, _)| *layer == from);
    let listed = listed.map_or(&[][..], |(_, listed)| listed);
    from == to || listed.contains(&to) || (listed.contains(&EVERYTHING) && to != "main")
}

/// Imports that the table does not allow.
pub(crate) fn forbidden(source: &Crate) -> Vec<Need> {
    let forbidden = |need: &Need| match (layer_of(&need.from), layer_of(&need.to)) {
        (Some(from), Some(to)) => !may_import(from, to),
        // Files without a part are reported by another test.
        _ => false,
    };
    let mut all: Vec<Need> = source.needs().into_iter().filter(forbidden).collect();
    // One line is enough for each pair of files.
    all.dedup_by(|need, before| (&need.from, &need.to) == (&before.from, &before.to));
    all
}

/// Uses of the kernel in pure parts, each with the crate or module.
pub(crate) fn kernel_paths(source: &Crate) -> Vec<(Foreign, &'static str)> {
    let way = |path: &str| {
        let leads = |way: &&str| match path.strip_suffix("::*") {
            Some(stem) => format!("{way}::").starts_with(&format!("{stem}::")),
            None => path == *way,
        };
        let within = |way: &&str| path.starts_with(&format!("{way}::"));
        KERNEL.into_iter().find(|way| leads(way) || within(way))
    };
    let pure = |path: &Foreign| PURE.iter().any(|folder| path.file.starts_with(folder));
    let found = source.foreign().into_iter().filter(pure);
    found.filter_map(|path| way(&path.path).map(|way| (path, way))).collect()
}

fn told(need: &Need) -> String {
    let Need { from, to, line, path } = need;
    let (layer, other) = (layer_of(from).unwrap_or("?"), layer_of(to).unwrap_or("?"));
    format!("{from}:{line}: {path} is in {to}: `{layer}` must not import `{other}`")
}

/// The source of this crate.
fn source() -> Crate {
    let files = super::sources(&["src"]);
    let files = files.iter().map(|(path, text)| (path.to_str().unwrap(), text.as_str()));
    Crate::read(files)
}

#[test]
fn parts_import_what_the_table_allows() {
    let source = source();
    let forbidden = forbidden(&source);
    let known = |need: &Need| KNOWN_IMPORTS.contains(&(&need.from, &need.to));
    let mut breaches: Vec<String> =
        forbidden.iter().filter(|need| !known(need)).map(told).collect();
    for (from, to) in KNOWN_IMPORTS {
        if !forbidden.iter().any(|need| need.from == from && need.to == to) {
            breaches.push(format!("{from} does not import {to}: KNOWN_IMPORTS must not list it"));
        }
    }
    complain(&breaches);
}

#[test]
fn every_file_has_a_part_and_every_part_has_files() {
    let source = source();
    let files = source.files();
    let mut breaches: Vec<String> = files
        .iter()
        .filter(|file| layer_of(file).is_none())
        .map(|file| format!("{file}: LAYERS does not say what it may import"))
        .collect();
    let written: BTreeSet<&str> = files.iter().filter_map(|file| layer_of(file)).collect();
    for (layer, imported) in LAYERS {
        match (written.contains(layer), PLANNED.contains(&layer)) {
            (false, false) => breaches.push(format!("LAYERS: `{layer}` does not exist")),
            (true, true) => {
                breaches.push(format!("`{layer}` exists: PLANNED must not list it"));
            }
            _ => {}
        }
        for other in imported {
            if *other != EVERYTHING && !LAYERS.iter().any(|(layer, _)| layer == other) {
                breaches.push(format!(
                    "LAYERS: `{layer}` may import `{other}`, which is not in the table"
                ));
            }
        }
    }
    complain(&breaches);
}

#[test]
fn no_files_need_each_other() {
    let cycles = cycles(&source().needs());
    let is_within = |cycle: &Cycle, known: &[&str]| {
        cycle.files.iter().all(|file| known.contains(&file.as_str()))
    };
    let is_new = |cycle: &&Cycle| !KNOWN_CYCLES.iter().any(|(all, _)| is_within(cycle, all));
    let mut breaches: Vec<String> = cycles.iter().filter(is_new).map(ToString::to_string).collect();
    for file in KNOWN_CYCLES.iter().flat_map(|(files, _)| *files) {
        if !cycles.iter().any(|cycle| cycle.files.contains(*file)) {
            breaches.push(format!("{file} is in no cycle: KNOWN_CYCLES must not list it"));
        }
    }
    complain(&breaches);
}

#[test]
fn pure_parts_do_not_use_the_kernel() {
    let source = source();
    let found = kernel_paths(&source);
    let known = |file: &str, way: &str| file == HARNESS || KNOWN_KERNEL.contains(&(file, way));
    let new = found.iter().filter(|(path, way)| !known(&path.file, way));
    let told = |(path, way): &(Foreign, &str)| {
        let Foreign { file, line, path } = path;
        format!("{file}:{line}: {path}: {way} is for drivers")
    };
    let mut breaches: Vec<String> = new.map(told).collect();
    for known in KNOWN_KERNEL {
        if !found.iter().any(|(path, way)| (path.file.as_str(), *way) == known) {
            let (file, way) = known;
            breaches.push(format!("{file} does not name {way}: KNOWN_KERNEL must not list it"));
        }
    }
    let uses = source.needs().into_iter().filter(|need| need.to == HARNESS);
    breaches
        .extend(uses.map(|need| format!("{}:{}: {HARNESS} is for tests", need.from, need.line)));
    complain(&breaches);
}

#[test]
fn lists_name_files_that_exist() {
    let cycles = KNOWN_CYCLES.iter().flat_map(|(files, _)| files.iter().copied());
    let imports = KNOWN_IMPORTS.iter().flat_map(|(from, to)| [*from, *to]);
    let kernel = KNOWN_KERNEL.iter().map(|(file, _)| *file);
    let all = cycles.chain(imports).chain(kernel).chain(PURE).chain([HARNESS]);
    let all = all.chain(super::UNSAFE_FILES).chain(super::TEST_FOLDERS).chain([super::CASES]);
    let missing = all.filter(|file| !Path::new(file).exists());
    complain(
        &missing.map(|file| format!("{file} is listed and does not exist")).collect::<Vec<_>>(),
    );
}
