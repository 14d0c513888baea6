//! `ringd precompress` as a process: what it prints, what a server then sends, what it does where
//! the kernel refuses, and what is left when it is killed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::jail::{Jail, is_root};
use crate::process::{Server, drivers, end_of, open_to_all, public_copy, ringd, with};

const LINE: &str = "A line that is repeated, so that it compresses well.\n";

const SUFFIXES: [&str; 3] = [".br", ".zst", ".gz"];

/// A site with `a.html` and `in/b.js`.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    open_to_all(site.path());
    fs::create_dir(site.path().join("in")).unwrap();
    fs::write(site.path().join("a.html"), LINE.repeat(100)).unwrap();
    fs::write(site.path().join("in/b.js"), LINE.repeat(50)).unwrap();
    site
}

fn precompress(site: &Path, arguments: &[&str]) -> Command {
    let mut command = ringd();
    command.arg("precompress").arg(site).args(arguments);
    command
}

fn report(command: &mut Command, code: i32) -> Value {
    let end = end_of(command.arg("--json"));
    assert_eq!((end.code, end.errors.as_str()), (Some(code), ""), "{command:?}");
    serde_json::from_str(&end.output).unwrap()
}

/// The sum of a field over the codings.
fn sum(report: &Value, field: &str) -> u64 {
    let codings = report["codings"].as_array().unwrap();
    codings.iter().map(|totals| totals[field].as_u64().unwrap()).sum()
}

/// All names beneath a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(self::names(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names.sort();
    names
}

/// Asserts that each compressed file decodes to its plain file; returns how many there are.
#[track_caller]
fn assert_all_decode(directory: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += assert_all_decode(&path);
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(suffix) = SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)) else {
            continue;
        };
        let file = File::open(&path).unwrap();
        let mut decoder: Box<dyn Read> = match suffix {
            ".br" => Box::new(brotli::Decompressor::new(file, 4096)),
            ".zst" => Box::new(zstd::stream::read::Decoder::new(file).unwrap()),
            _ => Box::new(flate2::read::GzDecoder::new(file)),
        };
        let mut decoded = Vec::new();
        decoder.read_to_end(&mut decoded).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let plain = path.with_file_name(name.strip_suffix(suffix).unwrap());
        assert!(decoded == fs::read(plain).unwrap(), "{path:?} decodes to something else");
        count += 1;
    }
    count
}

/// The coding and the length of an answer.
fn sent(address: SocketAddr, path: &str, accepted: &str) -> (String, usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let fields = format!("Host: a\r\nAccept-Encoding: {accepted}\r\nConnection: close");
    write!(stream, "GET {path} HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let coding = head.lines().find_map(|line| line.strip_prefix("Content-Encoding: "));
    (coding.unwrap_or("").to_owned(), answer.len() - end - 4)
}

#[test]
fn a_server_sends_what_was_written() {
    let site = site();
    assert_eq!(sum(&report(&mut precompress(site.path(), &[]), 0), "written"), 6);
    for driver in drivers() {
        let root = site.path().to_str().unwrap();
        let server = Server::start(&mut with(&[root, "--driver", driver]));
        for (coding, suffix) in ["br", "zstd", "gzip"].into_iter().zip(SUFFIXES) {
            for path in ["/a.html", "/in/b.js"] {
                let file = format!("{root}{path}{suffix}");
                let length = fs::metadata(file).unwrap().len() as usize;
                let answer = sent(server.address(), path, coding);
                assert_eq!(answer, (coding.to_owned(), length), "{driver} {path}");
            }
        }
    }
}

#[test]
fn a_report_counts_what_is_there() {
    let site = site();
    let first = report(&mut precompress(site.path(), &["--codings", "gzip,br"]), 0);
    assert_eq!((first["mode"].as_str(), first["files"].as_u64()), (Some("write"), Some(2)));
    assert_eq!(first["bytes"].as_u64(), Some(150 * LINE.len() as u64));
    // In the server's order, not in that of the option.
    assert_eq!(first["codings"][0]["coding"], "br");
    assert_eq!((sum(&first, "written"), sum(&first, "current")), (4, 0));
    assert_eq!(sum(&first, "plain_bytes"), 2 * 150 * LINE.len() as u64);
    let second = report(&mut precompress(site.path(), &[]), 0);
    assert_eq!((sum(&second, "written"), sum(&second, "current")), (2, 4));
    let coded: u64 = SUFFIXES
        .into_iter()
        .map(|suffix| {
            let length = |name: &str| {
                fs::metadata(site.path().join(format!("{name}{suffix}"))).unwrap().len()
            };
            length("a.html") + length("in/b.js")
        })
        .sum();
    assert_eq!(sum(&second, "coded_bytes"), coded);
    let end = end_of(&mut precompress(site.path(), &[]));
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""));
    assert!(end.output.contains("\nzstd           0         2 "), "{}", end.output);
    assert!(end.output.contains("\n2 files of 7.76 KiB in "), "{}", end.output);
}

#[test]
fn a_check_fails_until_everything_is_right() {
    let site = site();
    let end = end_of(&mut precompress(site.path(), &["--check"]));
    assert_eq!(end.code, Some(1));
    assert_eq!(end.errors.lines().count(), 6, "{}", end.errors);
    end.assert_names(&["ringd: in/b.js.zst: it is missing; run ringd precompress\n"]);
    assert_eq!(names(site.path()), ["a.html", "b.js"]);
    report(&mut precompress(site.path(), &[]), 0);
    let valid = report(&mut precompress(site.path(), &["--check"]), 0);
    assert_eq!((sum(&valid, "current"), valid["failures"].as_u64()), (6, Some(0)));
    let wrong = site.path().join("a.html.gz");
    fs::copy(site.path().join("in/b.js.gz"), &wrong).unwrap();
    let checked = report(&mut precompress(site.path(), &["--check"]), 1);
    let problem = &checked["problems"][0];
    assert_eq!((&problem["path"], &problem["fault"]), (&"a.html.gz".into(), &"different".into()));
    // It looks current only if it has the time as well.
    report(&mut precompress(site.path(), &[]), 0);
    report(&mut precompress(site.path(), &["--check"]), 0);
}

#[test]
fn a_dry_run_lists_what_it_would_do() {
    let site = site();
    fs::write(site.path().join("gone.css.br"), "\u{b}1").unwrap();
    let end = end_of(&mut precompress(site.path(), &["--dry-run", "--prune", "--codings", "br"]));
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""));
    let lines: Vec<&str> = end.output.lines().collect();
    let expected = [
        "would write a.html.br",
        "would write in/b.js.br",
        "would remove gone.css.br",
        "2 files: 2 to write, 1 to remove",
    ];
    assert_eq!(lines, expected);
    assert_eq!(names(site.path()), ["a.html", "b.js", "gone.css.br"]);
}

#[test]
fn wrong_command_lines_name_the_remedy() {
    let site = site();
    end_of(&mut precompress(Path::new("/no/such/site"), &[]))
        .assert_failed(1, &["/no/such/site", "name the directory"]);
    end_of(&mut precompress(&site.path().join("a.html"), &[]))
        .assert_failed(1, &["the directory that the file is in"]);
    end_of(&mut precompress(site.path(), &["--include", "{a"]))
        .assert_failed(1, &["{a is malformed"]);
    for (arguments, word) in [
        (&["--codings", "deflate"][..], "zstd"),
        (&["--min-saving", "100%"], "99%"),
        (&["--jobs", "0"], "1..=256"),
        (&["--check", "--prune"], "--prune"),
        (&["--prun"], "a similar one is --prune"),
    ] {
        let end = end_of(&mut precompress(site.path(), arguments));
        assert_eq!(end.code, Some(2), "{end:?}");
        end.assert_names(&[word]);
    }
    assert_eq!(end_of(ringd().arg("precompress")).code, Some(2));
}

/// Nothing is installed before it is on the disk.
#[test]
fn a_full_disk_ends_the_run() {
    for (code, word) in [(libc::ENOSPC, "No space left"), (libc::EDQUOT, "quota")] {
        let site = site();
        let jail = Jail { denied: Some((libc::SYS_fsync, code)), ..Jail::default() };
        let end = end_of(jail.hold(&mut precompress(site.path(), &[])));
        end.assert_failed(1, &["cannot write beside", "run it again"]);
        assert!(end.errors.to_lowercase().contains(&word.to_lowercase()), "{}", end.errors);
        assert_eq!(names(site.path()), ["a.html", "b.js"]);
    }
}

#[test]
fn calls_that_a_sandbox_denies_are_named_or_not_needed() {
    let site = site();
    let without = |call, code| Jail { denied: Some((call, code)), ..Jail::default() };
    let end =
        end_of(without(libc::SYS_openat2, libc::ENOSYS).hold(&mut precompress(site.path(), &[])));
    end.assert_failed(1, &["openat2", "5.6"]);
    // Not every file system has locks, and a thread may not start.
    for (call, code) in [(libc::SYS_flock, libc::ENOLCK), (libc::SYS_clone3, libc::EAGAIN)] {
        let jail = Jail { also_denied: Some((libc::SYS_clone, code)), ..without(call, code) };
        let mut command = precompress(site.path(), &["--force"]);
        assert_eq!(sum(&report(jail.hold(&mut command), 0), "written"), 6);
        assert_eq!(names(site.path()).len(), 8);
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    if !is_root() {
        return println!("skipped: only root can become another user");
    }
    let (_folder, binary) = public_copy();
    let site = site();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.arg("precompress").arg(site.path()).args(arguments);
        end_of(Jail { unprivileged: true, ..Jail::default() }.hold(&mut command))
    };
    fs::set_permissions(site.path().join("in"), PermissionsExt::from_mode(0o777)).unwrap();
    let secret = site.path().join("in/secret.js");
    fs::write(&secret, LINE.repeat(50)).unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let end = run(&["--codings", "br"]);
    assert_eq!(end.code, Some(1));
    end.assert_names(&["ringd: a.html.br: it cannot be written", "ringd: in/secret.js: it cannot"]);
    assert_eq!(end.errors.lines().count(), 2, "{}", end.errors);
    assert_eq!(names(site.path()), ["a.html", "b.js", "b.js.br", "secret.js"]);
    assert_eq!(run(&["--check", "--codings", "br"]).code, Some(1));
}

#[test]
fn owner_and_mode_are_kept_where_that_is_allowed() {
    if !is_root() {
        return println!("skipped: only root can give files away");
    }
    let site = site();
    let (a, b) = (site.path().join("a.html"), site.path().join("in/b.js"));
    chown(&a, Some(4321), Some(1234)).unwrap();
    fs::set_permissions(&a, PermissionsExt::from_mode(0o640)).unwrap();
    report(&mut precompress(site.path(), &[]), 0);
    let metadata = fs::metadata(site.path().join("a.html.br")).unwrap();
    let rights = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    assert_eq!(rights, (4321, 1234, 0o640));
    // Another user may read the file, but not give it to the group. So the group of that user may
    // read no more than everybody.
    let (_folder, binary) = public_copy();
    for (mode, expected) in [(0o664, 0o644), (0o775, 0o755), (0o606, 0o606), (0o604, 0o604)] {
        fs::set_permissions(site.path().join("in"), PermissionsExt::from_mode(0o777)).unwrap();
        fs::set_permissions(&b, PermissionsExt::from_mode(mode)).unwrap();
        let mut command = Command::new(&binary);
        command.arg("precompress").arg(site.path().join("in")).arg("--force");
        end_of(Jail { unprivileged: true, ..Jail::default() }.hold(&mut command));
        let coded = fs::metadata(site.path().join("in/b.js.br")).unwrap();
        assert_eq!((coded.uid(), coded.mode() & 0o7777), (65534, expected), "{mode:o}");
    }
}

/// A site that takes some time: each file takes some milliseconds in each coding.
fn large_site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for number in 0..24 {
        let words = std::iter::repeat_with(|| random.u16(..500).to_string());
        let text = words.take(2000).collect::<Vec<_>>().join(" ");
        fs::write(site.path().join(format!("{number}.txt")), text).unwrap();
    }
    site
}

fn has_temporary(site: &Path) -> bool {
    names(site).iter().any(|name| name.starts_with('.'))
}

/// Whenever it is killed, each compressed file is right, and the next run does the rest.
#[test]
fn a_run_that_is_killed_leaves_no_wrong_file() {
    let site = large_site();
    let mut left_over = 0;
    let mut counts = Vec::new();
    for attempt in 0..40 {
        let mut command = precompress(site.path(), &["--jobs", "3"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(3 + attempt * 7 % 50));
        child.kill().unwrap();
        child.wait().unwrap();
        left_over += usize::from(has_temporary(site.path()));
        let plain_bytes = assert_all_decode(site.path());
        counts.push(plain_bytes);
        // Begin again, so that each run has work.
        if plain_bytes > 60 {
            for name in names(site.path()).iter().filter(|name| !name.ends_with(".txt")) {
                fs::remove_file(site.path().join(name)).unwrap();
            }
        }
    }
    println!("compressed files after each kill: {counts:?}; temporary files: {left_over}");
    let last = report(&mut precompress(site.path(), &[]), 0);
    assert_eq!(sum(&last, "written") + sum(&last, "current"), 72);
    assert_eq!((assert_all_decode(site.path()), has_temporary(site.path())), (72, false));
    report(&mut precompress(site.path(), &["--check"]), 0);
}

#[test]
fn a_signal_ends_the_run_without_traces() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let site = large_site();
        let mut command = precompress(site.path(), &["--level", "best", "--jobs", "2"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        while !has_temporary(site.path()) {
            assert_eq!(child.try_wait().unwrap(), None, "the run goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::jail::kill(child.id(), signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, "ringd: interrupted; what is done is kept: run it again to go on\n");
        assert!(!has_temporary(site.path()) && assert_all_decode(site.path()) < 72);
    }
}

/// Two runs at a time do not disturb each other.
#[test]
fn runs_may_overlap() {
    let site = large_site();
    let start = || {
        let mut command = precompress(site.path(), &["--jobs", "2"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(), start(), start()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!((assert_all_decode(site.path()), has_temporary(site.path())), (72, false));
}

/// The tasks of files that are current are never made.
#[test]
fn unchanged_files_are_not_read() {
    let site = site();
    report(&mut precompress(site.path(), &[]), 0);
    // What is read would not be found; only the time says that it is current.
    let plain = site.path().join("a.html");
    let time = fs::metadata(&plain).unwrap().modified().unwrap();
    fs::write(&plain, LINE.repeat(200)).unwrap();
    File::options().write(true).open(&plain).unwrap().set_modified(time).unwrap();
    assert_eq!(sum(&report(&mut precompress(site.path(), &[]), 0), "written"), 0);
    report(&mut precompress(site.path(), &["--check"]), 1);
    File::open(&plain).unwrap().set_modified(SystemTime::now()).unwrap();
    assert_eq!(sum(&report(&mut precompress(site.path(), &[]), 0), "written"), 3);
}
