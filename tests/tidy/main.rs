//! House rules that a machine can check.

mod cycles;
mod imports;
mod layers;
mod made_up;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The maximum lengths of a source file and of a function, in lines.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may contain `unsafe`: those that call the kernel or hand out raw memory.
const UNSAFE_FILES: [&str; 11] = [
    "src/driver/abort.rs",
    "src/driver/inherited.rs",
    "src/driver/pool.rs",
    "src/driver/ready/signal.rs",
    "src/driver/sys.rs",
    "src/driver/uring/buffers.rs",
    "src/driver/uring/complete.rs",
    "src/driver/uring/files.rs",
    "src/driver/uring/ring.rs",
    "src/driver/uring/submit.rs",
    "src/signal_mask.rs",
];

/// Marks of unfinished work. They are split so that this file passes.
const BANNED: [&str; 5] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    "FIXM\u{45}",
    "XX\u{58}",
];

fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The output of a build of the fuzz targets.
                if !path.ends_with("fuzz/target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 20, "the tests do not run in the package's folder");
    files
}

fn everything() -> Vec<(PathBuf, String)> {
    sources(&["src", "tests", "benches"])
}

fn complain(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// A unit without comments, and without the lines in which a take-over differs.
fn settings(unit: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new("docs/operations/systemd").join(unit)).unwrap();
    let differs =
        ["Description=", "ExecStart=", "Restart=", "RestartSec=", "[Install]", "WantedBy="];
    let is_common = |line: &&str| {
        !line.is_empty() && !line.starts_with('#') && !differs.iter().any(|it| line.starts_with(it))
    };
    text.lines().filter(is_common).map(str::to_owned).collect()
}

/// A server that takes over has the rights of the one before.
#[test]
fn the_units_differ_only_in_their_start() {
    let unit = settings("ringd.service");
    assert!(unit.len() > 40, "{unit:?}");
    assert_eq!(unit, settings("ringd@.service"));
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long = |(path, text): &(PathBuf, String)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    };
    complain(&everything().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short_enough_to_be_understood() {
    let mut breaches = Vec::new();
    for (path, text) in sources(&["src"]) {
        let mut begun: Option<(usize, usize, &str)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.contains("fn ") && !line.trim_start().starts_with("//");
            match begun {
                None if is_function && !line.ends_with(';') && !line.ends_with('}') => {
                    begun = Some((number, indent, line));
                }
                Some((start, depth, name)) if indent == depth && line.trim() == "}" => {
                    let lines = number - start + 1;
                    if lines > FUNCTION_LINES_MAX {
                        let path = path.display();
                        breaches.push(format!("{path}:{}: {lines} lines: {name}", start + 1));
                    }
                    begun = None;
                }
                Some((_, depth, _)) if indent == depth && line.ends_with(';') => begun = None,
                _ => {}
            }
        }
    }
    complain(&breaches);
}

#[test]
fn lines_fit_the_width() {
    let mut breaches = Vec::new();
    for (path, text) in everything() {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > 100 {
                breaches.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    complain(&breaches);
}

/// One word means one thing: the name of a public type identifies it.
#[test]
fn public_types_have_unique_names() {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut breaches = Vec::new();
    for (path, text) in sources(&["src"]) {
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split([' ', '<', '(', '{', ';', ':']).collect();
            let ["pub", "struct" | "enum" | "trait" | "type", name, ..] = words[..] else {
                continue;
            };
            let place = format!("{}:{}", path.display(), number + 1);
            if let Some(other) = seen.insert(name.to_owned(), place.clone()) {
                breaches.push(format!("{place}: `{name}` is the name of another type, in {other}"));
            }
        }
    }
    assert!(seen.len() > 100, "{} public types were found", seen.len());
    complain(&breaches);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut breaches = Vec::new();
    for (path, text) in everything() {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = BANNED.iter().find(|word| line.contains(*word)) {
                breaches.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    complain(&breaches);
}

#[test]
fn every_module_opens_with_its_contract() {
    let bare = |(path, text): &(PathBuf, String)| {
        (!text.starts_with("//!")).then(|| path.display().to_string())
    };
    complain(&everything().iter().filter_map(bare).collect::<Vec<_>>());
}

#[test]
fn unsafe_code_stays_in_its_files_and_is_justified() {
    let (mut breaches, mut unused) = (Vec::new(), Vec::from(UNSAFE_FILES));
    for (path, text) in sources(&["src"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !code.contains("unsafe {") && !code.contains("unsafe fn") {
                continue;
            }
            unused.retain(|listed| path != Path::new(listed));
            if !UNSAFE_FILES.iter().any(|allowed| path == Path::new(allowed)) {
                breaches.push(format!(
                    "{}:{}: unsafe code is not allowed in this file",
                    path.display(),
                    number + 1
                ));
            }
            let justified = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
            let before = &lines[number.saturating_sub(8)..number];
            if !before.iter().any(justified) {
                breaches.push(format!("{}:{}: no SAFETY comment", path.display(), number + 1));
            }
        }
    }
    breaches.extend(unused.iter().map(|file| format!("{file} is listed and has no unsafe code")));
    complain(&breaches);
}

/// The page whose tables name the tests for each case, and the head of that column.
const CASES: &str = "docs/http.md";
const TESTS_COLUMN: &str = "covered by";

/// The folders that references to tests are relative to.
const TEST_FOLDERS: [&str; 5] =
    ["src/http/semantics", "src/http/h1", "src/http/site", "src", "tests"];

/// The cells of a row of a table, trimmed.
fn cells(line: &str) -> Vec<String> {
    let row = line.trim().trim_start_matches('|').trim_end_matches('|');
    row.replace("\\|", "\0").split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// Whether `folder/file::name` is a test: in `tests/`, or beside the code in `src/`.
fn is_test(reference: &str) -> bool {
    let Some((file, name)) = reference.split_once("::") else { return false };
    TEST_FOLDERS.iter().any(|folder| {
        let text = fs::read_to_string(format!("{folder}/{file}.rs")).unwrap_or_default();
        // Tests for all drivers are functions that a macro calls for each driver.
        let (alone, shared) = (format!("#[test]\nfn {name}("), format!("\npub(crate) fn {name}"));
        let unindented = text.replace("\n    ", "\n");
        unindented.contains(&alone)
            || ["(", "<"].iter().any(|end| text.contains(&(shared.clone() + end)))
    })
}

#[test]
fn every_case_names_the_tests_that_hold_it() {
    let page = fs::read_to_string(CASES).unwrap();
    let (mut breaches, mut references, mut inside) = (Vec::new(), 0, false);
    for (number, line) in page.lines().enumerate() {
        let cells = cells(line);
        let Some(last) = cells.last().filter(|_| line.starts_with('|')) else {
            inside = false;
            continue;
        };
        if last == TESTS_COLUMN {
            inside = true;
        } else if inside && last != "---" && !last.starts_with("not held") {
            let tests: Vec<&str> = last.split(", ").map(|test| test.trim_matches('`')).collect();
            references += tests.len();
            let wrong = tests.into_iter().filter(|test| !is_test(test));
            breaches.extend(wrong.map(|test| format!("{CASES}:{}: no test: {test}", number + 1)));
        }
    }
    complain(&breaches);
    assert!(references > 100, "{references} tests are named: the tables were not found");
}
