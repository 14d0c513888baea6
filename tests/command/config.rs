//! Configuration files: what is wrong with them, what they mean, and what they serve.
//!
//! `tests/config/` holds files, and beside each what `ringd check` prints. If a message changes on
//! purpose, `RINGD_TEST_RENEW=1 cargo test --test command config::` writes the new ones.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{End, PAGE, Server, assert_serves, drivers, end_of, get, ringd, site, with};

/// The files of the corpus, with variables of the environment.
const CORPUS: &str = "tests/config";

/// The end of `ringd` with these arguments in the corpus.
fn run(arguments: &[&str]) -> End {
    let variables = [("RINGD_TEST_SET", "set"), ("RINGD_TEST_EMPTY", ""), ("NO_COLOR", "1")];
    end_of(ringd().args(arguments).current_dir(CORPUS).envs(variables))
}

/// The names of the files to check, without those that are included.
fn names() -> Vec<String> {
    let entries = fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path());
    let is_file = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = entries.filter(is_file).map(name).collect();
    names.sort();
    names
}

#[test]
fn every_file_of_the_corpus_gets_the_expected_answer() {
    let renew = std::env::var_os("RINGD_TEST_RENEW").is_some();
    let (mut broken, mut valid, mut wrong) = (0, 0, Vec::new());
    for name in names() {
        let end = run(&["check", &name]);
        match end.code {
            Some(0) => valid += 1,
            Some(1) => broken += 1,
            _ => panic!("{name}: {end:?}"),
        }
        let answer = end.output + &end.errors;
        let path = Path::new(CORPUS).join(&name).with_extension("expected");
        if renew {
            fs::write(&path, &answer).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if answer != expected {
            wrong.push(format!("== {name}\n{answer}\n== expected\n{expected}"));
        }
    }
    assert!(broken >= 60 && valid >= 5, "{broken} broken files and {valid} valid ones");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_file_is_not_served() {
    let end = run(&["-c", "five-mistakes.toml"]);
    let expected = fs::read_to_string(format!("{CORPUS}/five-mistakes.expected")).unwrap();
    assert_eq!((end.code, end.output.as_str()), (Some(1), ""));
    assert_eq!(end.errors, expected);
}

#[test]
fn check_needs_a_file_and_finds_it_in_either_form() {
    let end = run(&["check"]);
    assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{end:?}");
    end.assert_names(&["FILE"]);
    let line = "ringd: valid-smallest.toml is valid: 1 site (default) at 127.0.0.1:7890\n";
    for arguments in [
        &["check", "valid-smallest.toml"][..],
        &["check", "-c", "valid-smallest.toml"],
        &["-t", "-c", "valid-smallest.toml"],
        &["serve", "-t", "--config=valid-smallest.toml"],
    ] {
        let end = run(arguments);
        assert_eq!((end.code, end.output.as_str()), (Some(0), line), "{arguments:?}: {end:?}");
    }
    let end = run(&["-t"]);
    assert_eq!(end.code, Some(2), "{end:?}");
    end.assert_names(&["--config"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for (name, cause) in [("none.toml", "No such file"), ("site", "Is a directory")] {
        let end = run(&["check", name]);
        assert_eq!(end.code, Some(1));
        end.assert_names(&[name, cause, "name a file"]);
    }
}

#[test]
fn no_file_is_read_unasked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ringd.toml"), "not a configuration").unwrap();
    fs::create_dir(folder.path().join("html")).unwrap();
    fs::write(folder.path().join("html/index.html"), PAGE).unwrap();
    let server = Server::start(with(&[]).current_dir(&folder));
    assert_serves(&server);
}

#[test]
fn the_site_of_a_file_is_served_with_flags_on_top() {
    let site = site();
    let file = site.path().join("ringd.toml");
    fs::write(
        &file,
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n\n[[site]]\nhosts = [\"a.example\"]\n\
         root = \".\"\nheader = [{ glob = \"**\", set = { X-A = \"file\", X-B = \"file\" } }]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    for driver in drivers() {
        let mut command = ringd();
        command.args(["-c", file, "--driver", driver, "--workers", "2"]);
        // The root begins at the directory of the file, wherever the server starts.
        command.args(["--header", "**=X-A: flag"]).current_dir("/");
        let server = Server::start(&mut command);
        let told = format!("driver: {driver} (as asked); workers: 2");
        assert!(server.line.contains(&told), "{}", server.line);
        let (head, body) = get(server.address(), "/index.html");
        assert!(head.contains("X-A: flag\r\n") && head.contains("X-B: file\r\n"), "{head}");
        assert_eq!(body, PAGE);
    }
}

/// What a relative root stands beneath is the directory of the path as it is given.
#[test]
fn a_linked_file_has_the_directory_of_the_link() {
    let site = site();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("real.toml");
    fs::write(&file, "[[site]]\nroot = \".\"\nname = \"one\"\n").unwrap();
    let link = site.path().join("link.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let end = end_of(ringd().args(["config", "-c"]).arg(&link));
    let root = format!("root = {:?} #", site.path());
    assert!(end.output.contains(&root), "{root} is not in {}", end.output);
}

#[test]
fn a_flag_about_one_site_is_refused_beside_several() {
    let two = "two.toml";
    let folder = tempfile::tempdir().unwrap();
    let one = "[[site]]\nroot = \".\"\nhosts = \"a\"\n";
    fs::write(folder.path().join(two), format!("{one}{}", one.replace("\"a\"", "\"b\""))).unwrap();
    fs::write(
        folder.path().join("chosen.toml"),
        format!("[[listen]]\nname = \"x\"\naddress = \":1\"\n{one}listen = \"x\"\n"),
    )
    .unwrap();
    for (arguments, line) in [
        (
            &["-c", two, "--cors"][..],
            "--cors is about one site, and two.toml has 2; write it into a [[site]], or into \
             [site-defaults]",
        ),
        (
            &["-t", "-c", two, "elsewhere"],
            "ROOT is about one site, and two.toml has 2; write `root` into each [[site]], and \
             leave ROOT out",
        ),
        (
            &["config", "-c", "chosen.toml", "--listen", "127.0.0.1:0"],
            "--listen replaces the listeners of chosen.toml, but its sites choose among them by \
             `listen`; change the addresses in the file",
        ),
    ] {
        let end = end_of(ringd().args(arguments).current_dir(&folder));
        assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
        assert_eq!(end.errors, format!("ringd: {line}\n"));
    }
    // Options of the process are no matter of a site.
    let end = end_of(ringd().args(["-t", "-c", two, "--workers", "3"]).current_dir(&folder));
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn root_makes_a_site_of_a_file_without_any() {
    let site = site();
    let file = site.path().join("ringd.toml");
    fs::write(&file, "[server]\nlisten = \"127.0.0.1:0\"\n[site-defaults]\ncors = true\n").unwrap();
    let (file, root) = (file.to_str().unwrap(), site.path().to_str().unwrap());
    let end = end_of(ringd().args(["-c", file]));
    assert_eq!(end.code, Some(1), "{end:?}");
    end.assert_names(&["has no [[site]]", "`root`"]);
    let server = Server::start(ringd().args(["-c", file, root]));
    let (head, _) = get(server.address(), "/index.html");
    assert!(head.contains("Access-Control-Allow-Origin: *"), "{head}");
}

#[test]
fn the_effective_configuration_has_origins_and_means_the_same() {
    for name in names().iter().filter(|name| name.starts_with("valid-")) {
        let printed = run(&["config", "-c", name]);
        assert_eq!((printed.code, printed.errors.as_str()), (Some(0), ""), "{name}");
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.toml");
        fs::write(&copy, &printed.output).unwrap();
        let again = run(&["config", "-c", copy.to_str().unwrap()]);
        assert_eq!((again.code, again.errors.as_str()), (Some(0), ""), "{name}");
        let values = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.rsplit_once(" # ").map_or(line, |it| it.0).into())
                .collect()
        };
        assert_eq!(values(&again.output), values(&printed.output), "{name}");
    }
    let text = run(&["config", "-c", "valid-variables.toml", "--workers", "7"]).output;
    for line in [
        "workers = 7 # --workers",
        "idle-timeout = \"75s\" # default",
        "name = \"set\" # valid-variables.toml:6, env RINGD_TEST_SET",
        "header = [{ glob = \"**\", set = { X-Price = \"5 $$, $${NAME}\" } }] \
         # valid-variables.toml:8",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_command_line_becomes_a_file() {
    let site = site();
    let root = site.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringd.toml");
    let end = end_of(&mut with(&["config", root, "--no-watch", "--mime", "a=text/x", "--spa"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    for line in ["watch = false # --no-watch", "mime = [\"a=text/x\"] # --mime"] {
        assert!(end.output.contains(line), "{line} is not in {}", end.output);
    }
    fs::write(&file, &end.output).unwrap();
    assert_serves(&Server::start(ringd().arg("-c").arg(&file)));
}

#[test]
fn the_schema_in_the_documentation_is_the_current_one() {
    let path = "docs/ringd.schema.json";
    let end = run(&["config", "--schema"]);
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""));
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == end.output,
        "{path} is outdated; renew it with `cargo run -- config --schema > {path}`"
    );
    serde_json::from_str::<serde_json::Value>(&written).unwrap();
}

#[test]
fn colours_are_for_terminals() {
    let end = end_of(ringd().args(["check", "five-mistakes.toml"]).current_dir(CORPUS));
    assert!(!end.errors.contains('\u{1b}'), "{:?}", end.errors);
}
