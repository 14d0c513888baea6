//! Wrong command lines: one line names the mistake and what to write instead.

use crate::process::{Server, end_of, get, ringd, site};

/// Asserts that a wrong command line gets exactly this line.
#[track_caller]
fn assert_answered(arguments: &[&str], line: &str) {
    let end = end_of(ringd().args(arguments));
    assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
    assert_eq!(end.errors, format!("ringd: {line}\n"), "{arguments:?}");
}

#[test]
fn an_unknown_option_is_named_with_its_command() {
    for (arguments, line) in [
        (&["--xyzzy"][..], "--xyzzy is not an option of ringd serve; see `ringd serve --help`"),
        (&["serve", "-x"], "-x is not an option of ringd serve; see `ringd serve --help`"),
        (
            &["--drivr", "epoll"],
            "--drivr is not an option of ringd serve; a similar one is --driver; see `ringd serve \
             --help`",
        ),
        // What only looks alike is not named.
        (&["--accme"], "--accme is not an option of ringd serve; see `ringd serve --help`"),
        (
            &["--users-file"],
            "--users-file is not an option of ringd serve; see `ringd serve --help`",
        ),
        (
            &["echo", "--cache-bytes", "1"],
            "--cache-bytes is not an option of ringd echo; see `ringd echo --help`",
        ),
        (
            &["doctor", "--jason"],
            "--jason is not an option of ringd doctor; a similar one is \
          --json; see `ringd doctor --help`",
        ),
        (
            &["connect", "-x", "localhost:80"],
            "-x is not an option of ringd connect; see `ringd connect --help`",
        ),
    ] {
        assert_answered(arguments, line);
    }
}

/// The spellings that people bring from other servers. None of them is taken for something else.
#[test]
fn options_of_other_servers_are_explained() {
    for (arguments, remedy) in [
        (&["--bind", "0.0.0.0"][..], "use --listen 0.0.0.0:7890, an address with a port"),
        (&["-b", "0.0.0.0"], "use --listen 0.0.0.0:7890, an address with a port"),
        (&["--host=::"], "use --listen [::]:7890, an address with a port"),
        (&["--bind", "0.0.0.0:8080"], "use --listen 0.0.0.0:8080"),
        (&["--address", "0.0.0.0", "--port", "80"], "use --listen 0.0.0.0:80 in place of both"),
        (&["--directory", "public"], "the directory stands alone: ringd public"),
        (&["--root", "public"], "the directory stands alone: ringd public"),
        (&["--threads", "4"], "use --workers 4"),
        (&["--autoindex"], "use --listing"),
        (&["--browse"], "use --listing"),
        (&["--tls"], "use --tls-cert FILE with --tls-key FILE, or --tls-self-signed to try it out"),
        (&["--cert", "a.pem"], "use --tls-cert a.pem"),
        (&["-K", "a.key"], "use --tls-key a.key"),
        (&["-o"], "use --open, which opens the site in a browser"),
        (&["--access-log", "a.log"], "use --log a.log, with --log-format for its form"),
        (
            &["-u", "www-data"],
            "use --user and --group, with names or numbers, if root starts ringd",
        ),
        (
            &["--daemon"],
            "ringd stays in the foreground; a supervisor such as systemd starts and stops it",
        ),
        (&["--single"], "use --spa, which sends /index.html for pages without a file"),
        (&["--page404", "a.html"], "use --error-page 404=/404.html"),
        (&["--proxy", "http://a/"], "ringd serves files and is no proxy; put one before it"),
        (&["--upload"], "ringd only reads files and takes no uploads"),
        (&["-s", "reload"], "use `ringd reload`, or kill(1)"),
        (&["--health", "public"], "use --health-path /healthz"),
        (&["--username", "me"], "use --users FILE, which `ringd passwd` writes"),
        (
            &["-g", "daemon off;"],
            "ringd stays in the foreground; for fewer messages, use --error-log-level warn",
        ),
        (
            &["-s", "dist"],
            "use --spa for a single-page application; for fewer messages, use --error-log-level \
             warn",
        ),
    ] {
        let option = arguments[0].split('=').next().unwrap();
        let line =
            format!("{option} is not an option of ringd serve; {remedy}; see `ringd serve --help`");
        assert_answered(arguments, &line);
        assert_answered(&[&["serve"], arguments].concat(), &line);
    }
}

/// A port alone is one of this machine, and other servers call the option so.
#[test]
fn a_port_may_stand_alone() {
    let site = site();
    for arguments in [["--port", "0"], ["-p", "0"], ["--listen", "0"]] {
        let mut server = ringd();
        server.args(["--driver", "epoll", "--workers", "1"]).args(arguments).arg(site.path());
        let server = Server::start(&mut server);
        assert!(server.address().ip().is_loopback(), "{arguments:?}: {}", server.address());
    }
}

/// Without ROOT, `html` is served if it exists, else the current directory. The start line says
/// which.
#[test]
fn the_root_may_be_left_out() {
    let site = site();
    std::fs::write(site.path().join("here.txt"), "here").unwrap();
    let start = || {
        let mut server = ringd();
        server.args(["--driver", "epoll", "--workers", "1", "-p", "0"]).current_dir(&site);
        Server::start(&mut server)
    };
    let server = start();
    assert_eq!(get(server.address(), "/here.txt").1, b"here");
    drop(server);
    std::fs::create_dir(site.path().join("html")).unwrap();
    std::fs::write(site.path().join("html/there.txt"), "there").unwrap();
    let server = start();
    assert_eq!(get(server.address(), "/there.txt").1, b"there");
}

#[test]
fn a_second_root_is_named() {
    let help = "see `ringd serve --help`";
    for arguments in [&["one", "two"][..], &["serve", "one", "two"], &["one", "--cors", "two"]] {
        assert_answered(
            arguments,
            &format!(
                "there is one ROOT, and 'two' is a second one; for several directories, write \
                 several sites into a configuration file; {help}"
            ),
        );
    }
    for arguments in [&["site", "--", "--port", "80"][..], &["--", "--port", "80"]] {
        let wrong = if arguments[0] == "site" { "--port" } else { "80" };
        assert_answered(
            arguments,
            &format!(
                "there is one ROOT, and '{wrong}' is a second one; after `--`, nothing is an \
                 option; leave the `--` out; {help}"
            ),
        );
    }
    for (word, listen) in [("8080", "127.0.0.1:8080"), (":8080", ":8080"), ("*:80", ":80")] {
        assert_answered(
            &["site", word],
            &format!(
                "there is one ROOT, and '{word}' is a second one; to listen there, write --listen \
                 {listen}; {help}"
            ),
        );
    }
    assert_answered(
        &["site", "--spa", "index.html"],
        &format!(
            "there is one ROOT, and 'index.html' is a second one; a value of --spa is written \
             --spa=/index.html; {help}"
        ),
    );
    assert_answered(
        &["--spa", "/app.html", "site"],
        &format!(
            "there is one ROOT, and 'site' is a second one; a value of --spa is written \
             --spa=/app.html; {help}"
        ),
    );
}

#[test]
fn a_value_that_other_servers_have_is_explained() {
    assert_answered(
        &["--workers", "auto"],
        "--workers is a number; without it, each CPU has a worker; see `ringd serve --help`",
    );
    let end = end_of(ringd().args(["--compress", "gzip"]));
    let hint = "no such directory; a value of --compress is written --compress=gzip";
    end.assert_failed(1, &["cannot serve gzip: ", hint]);
    assert_answered(
        &["--cors", "*", "site"],
        "there is one ROOT, and 'site' is a second one; --cors takes no value, and allows all \
         origins; see `ringd serve --help`",
    );
    let end = end_of(ringd().args(["--workers", "many"]));
    assert_eq!(end.code, Some(2), "{end:?}");
    end.assert_names(&["invalid value", "--workers"]);
}

/// Other servers name the directory with `-d`.
#[test]
fn a_directory_in_place_of_a_driver_is_explained() {
    for arguments in [&["-d", "public"][..], &["-dpublic"], &["serve", "-d", "public"]] {
        assert_answered(
            arguments,
            "-d names a driver, and 'public' is none; the directory stands alone: ringd public; \
             see `ringd serve --help`",
        );
    }
    for arguments in [&["--driver", "public"][..], &["-d", "epol"], &["echo", "-d", "public"]] {
        let end = end_of(ringd().args(arguments));
        assert_eq!(end.code, Some(2), "{end:?}");
        end.assert_names(&["invalid value", "--driver", "epoll"]);
    }
}

/// Without another ROOT, the page is taken for it.
#[test]
fn a_page_in_place_of_a_root_is_explained() {
    let site = site();
    for page in ["index.html", "app.html"] {
        let end = end_of(ringd().args(["--spa", page]).current_dir(&site));
        let hint = format!("; a value of --spa is written --spa=/{page}");
        end.assert_failed(1, &[&format!("cannot serve {page}: "), &hint]);
    }
}

#[test]
fn an_argument_that_no_command_takes_is_named() {
    for (arguments, line) in [
        (&["echo", "a"][..], "'a' is not an argument of ringd echo; see `ringd echo --help`"),
        (&["doctor", "a"], "'a' is not an argument of ringd doctor; see `ringd doctor --help`"),
        (&["bench", "a"], "'a' is not an argument of ringd bench; see `ringd bench --help`"),
        (
            &["connect", "a:1", "b"],
            "'b' is not an argument of ringd connect; see `ringd connect --help`",
        ),
    ] {
        assert_answered(arguments, line);
    }
}

#[test]
fn a_negative_number_gets_the_range() {
    for (arguments, range) in [
        (&["--workers", "-1"][..], "-1 is not in 1..=1024"),
        (&["echo", "--workers", "-1"], "-1 is not in 1..=1024"),
        (&["--max-connections", "-1"], "-1 is not in 1..="),
        (&["--cache-entries", "-1"], "-1 is not in 0..=1000000"),
        (&["bench", "--rounds", "-1"], "-1 is not in 1..=1000"),
        (&["bench", "--connections", "-1"], "-1 is not in 1..=100000"),
        (&["--memory-file-max", "-1"], "a size is written like"),
    ] {
        let end = end_of(ringd().args(arguments));
        assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
        end.assert_names(&[range]);
    }
}

/// A command that is mistyped is taken for the root.
#[test]
fn a_mistyped_command_is_recognized() {
    for (typed, meant) in [("sreve", "serve"), ("conect", "connect"), ("docter", "doctor")] {
        let hint = format!("; if you meant the command: ringd {meant}");
        end_of(ringd().arg(typed)).assert_failed(1, &["no such directory", &hint]);
    }
    assert_answered(
        &["conect", "127.0.0.1:80"],
        "there is one ROOT, and '127.0.0.1:80' is a second one; if you meant the command: ringd \
         connect; see `ringd serve --help`",
    );
    assert_answered(
        &["bnech", "--against", "1"],
        "--against is not an option of ringd serve; if you meant the command: ringd bench; see \
         `ringd serve --help`",
    );
    let site = site();
    let unlike = site.path().join("missing");
    let end = end_of(ringd().arg(unlike));
    assert!(!end.errors.contains("the command"), "{}", end.errors);
}

/// The options of the servers under test are checked before the first trial.
#[test]
fn a_wrong_option_of_the_servers_ends_a_bench_before_it_begins() {
    let help = "see `ringd serve --help`";
    for (option, line) in [
        (&["--foo"][..], format!("--foo is not an option of ringd serve; {help}")),
        (
            &["--corr", "0"],
            format!("--corr is not an option of ringd serve; a similar one is --cors; {help}"),
        ),
        (&["--driver", "poll"], set_by_bench("--driver")),
        (&["-w2"], set_by_bench("--workers")),
        (&["--listen", "127.0.0.1:0"], set_by_bench("--listen")),
        (&["--drain-timeout", "1s"], set_by_bench("--drain-timeout")),
        (&["--listen-plain", "127.0.0.1:0"], set_by_bench("--listen-plain")),
        (
            &["--tls-self-signed"],
            "ringd bench makes the certificate of its servers; use --tls before `--` instead of \
             --tls-self-signed"
                .to_owned(),
        ),
        (&["site"], set_by_bench("ROOT")),
        (&["-c", "ringd.toml"], set_by_bench("--config")),
    ] {
        assert_answered(&[&["bench", "--"], option].concat(), &line);
    }
    let end = end_of(ringd().args(["bench", "--", "--cache-bytes", "lots"]));
    assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{end:?}");
    end.assert_names(&["lots", "--cache-bytes"]);
    assert!(!end.errors.contains("doctor"), "{}", end.errors);
}

fn set_by_bench(option: &str) -> String {
    format!("ringd bench sets {option} of its servers; leave it out after `--`")
}

#[test]
fn an_invalid_value_gets_the_forms_that_are_useful() {
    let listen = ["localhost:8080", "unix:/run/site.sock", "65535"];
    let time = ["a time is written like 500ms, 10s or 2min"];
    for (option, value, words) in [
        ("--listen", "localhost:http", &listen[..]),
        ("--listen", "127.0.0.1:65536", &listen),
        ("--idle-timeout", "5x", &time),
        ("--idle-timeout", "soon", &time),
        ("--drain-timeout", "5", &time),
    ] {
        let end = end_of(ringd().args([option, value]));
        assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{end:?}");
        end.assert_names(&[option, value]);
        end.assert_names(words);
        for rare in ["weeks", "variations", "µs"] {
            assert!(!end.errors.contains(rare), "{}", end.errors);
        }
    }
}
