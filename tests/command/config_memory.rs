//! Configuration files of the permitted length cost little memory, however wrong they are: a server
//! reads them again at each reload, and must not be killed for a mistake in one.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{End, end_of};

/// The permitted length of a file.
const FILE_BYTES_MAX: usize = 4 << 20;

/// The address space of the process beside the program itself: 64 MiB for the configuration, and
/// the libraries and stacks.
const ADDRESS_SPACE_KIB: u64 = 76 << 10;

/// How much address space the program takes when it is loaded, in KiB: the segments of its file
/// (`elf(5)`). A build without optimisation takes twice as much as a release.
fn loaded_kib() -> u64 {
    let file = fs::read(env!("CARGO_BIN_EXE_ringd")).unwrap();
    let number = |at: usize, bytes: usize| {
        let bytes = file[at..at + bytes].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (table, entry_bytes, entries) = (number(32, 8), number(54, 2), number(56, 2));
    let entries = (0..entries).map(|entry| (table + entry * entry_bytes) as usize);
    let is_loaded = |at: &usize| number(*at, 4) == 1;
    entries.filter(is_loaded).map(|at| number(at + 40, 8)).sum::<u64>() >> 10
}

/// Checks a file in a process with a bounded address space.
fn check(path: &Path) -> End {
    let mut command = Command::new("sh");
    let kib = ADDRESS_SPACE_KIB + loaded_kib();
    let script = format!("ulimit -v {kib} && exec \"$0\" check \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_ringd")]).arg(path);
    end_of(&mut command)
}

/// A beginning, what is repeated up to a length with another number each time, and an end. The
/// number stands for `@`.
fn filled([begin, part, end]: [&str; 3], length: usize) -> String {
    if !part.contains('@') {
        let count = (length - begin.len() - end.len()) / part.len();
        return [begin, &part.repeat(count), end].concat();
    }
    let mut text = begin.to_owned();
    for at in 0.. {
        let next = part.replace('@', &format!("{at:x}"));
        if text.len() + next.len() + end.len() > length {
            break;
        }
        text += &next;
    }
    text + end
}

#[test]
fn a_broken_file_costs_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringd.toml");
    for parts in [
        ["", "[", ""],
        ["", "=", ""],
        ["", "=\n", ""],
        ["", "a\n", ""],
        ["", "a=1\n", ""],
        ["", "\n", ""],
        ["a = [", "{},", "]"],
        ["a = [", "{a=1},", "]"],
        ["a = [", "1,", "]"],
        ["a = [", "\n[", "]"],
        ["a = \"", "\\q", "\""],
        ["a = \"\"\"", "\n", "\"\"\""],
        ["", "[[site]]\n", ""],
        ["[[site]]\nroot = \".\"\nhosts = [", "\"/\",", "]"],
        ["[[site]]\nroot = \".\"\nheader = [", "\"/\",", "]"],
        ["[[site]]\nroot = \".\"\nerror-page = {", "@=1,", "a=1}"],
        ["", "@=1\n", ""],
        ["[server]\n", "@=1\n", ""],
        ["", "[@]\n", ""],
        ["", "@.a=1\n", ""],
        ["", "server_name example.com;\n", ""],
        ["", "\0", ""],
    ] {
        let [begin, part, _] = parts;
        // The longest file that is parsed, or half of it, and one whose errors are all looked for.
        let mut is_parsed = false;
        for halvings in 0..7 {
            if is_parsed && halvings < 6 {
                continue;
            }
            fs::write(&path, filled(parts, FILE_BYTES_MAX >> halvings)).unwrap();
            let end = check(&path);
            let what = format!("{begin:?}, {part:?}, {halvings} halvings");
            assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{what}: {}", end.errors);
            end.assert_names(&["error: ", "ringd: the configuration has "]);
            is_parsed |= !end.errors.contains("too complex");
        }
    }
}

/// A file with as many sites as are allowed is read within the same bound.
#[test]
fn a_file_of_many_sites_costs_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringd.toml");
    let site = |at: usize| {
        format!(
            "[[site]]\nhosts = [\"h{at}.example\"]\nroot = \".\"\n\
         header = [{{ glob = \"**\", set = {{ X-A = \"b\" }} }}]\n"
        )
    };
    fs::write(&path, (0..10_000).map(site).collect::<String>()).unwrap();
    let end = check(&path);
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""));
}

/// What is left out is said.
#[test]
fn a_long_file_is_told_its_first_error_of_syntax() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringd.toml");
    let comment = format!("#{}\n", "x".repeat(99)).repeat(2000);
    fs::write(&path, format!("{comment}a\nb\n[[site]]\nroot = \".\"\nc\n")).unwrap();
    let end = check(&path);
    assert_eq!((end.code, end.output.as_str()), (Some(1), ""));
    end.assert_names(&["ringd.toml:2001:2", "1 problem", "there may be more after it"]);
    assert_eq!(end.errors.matches("error: ").count(), 1, "{}", end.errors);
}
