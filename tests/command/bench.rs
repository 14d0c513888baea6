//! `ringd bench` from its command line to its results, on every driver. The values are not
//! checked, only that the server answered.

use std::process::{Command, Stdio};

use crate::https_made::Authority;
use crate::process::{Server, end_of, kinds, ringd};
use ringd::driver::DriverKind;
use serde_json::Value;

const SHAPES: [&str; 3] = ["keep-alive", "pipelined", "close"];

/// A bench that takes little time.
pub(crate) fn quick(arguments: &[&str]) -> Command {
    let mut command = ringd();
    command.args(["bench", "--rounds", "1", "--connections", "3"]).args(arguments);
    command
}

pub(crate) fn report(command: &mut Command) -> Value {
    let end = end_of(command.arg("--json"));
    assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{command:?}");
    serde_json::from_str(&end.output).unwrap()
}

pub(crate) fn figure(result: &Value, name: &str) -> f64 {
    result["figures"]["typical"][name].as_f64().unwrap_or_else(|| panic!("{name} in {result:#}"))
}

#[test]
fn every_driver_is_measured() {
    let drivers: Vec<&str> = kinds().map(DriverKind::name).collect();
    let list = drivers.join(",");
    let report = report(&mut quick(&["--driver", &list, "--size", "0,20K", "--time", "12s"]));
    assert_eq!(report["servers"], serde_json::json!(drivers));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * SHAPES.len());
    for (row, shape) in rows.iter().zip(SHAPES.iter().flat_map(|shape| [shape; 2])) {
        assert_eq!(row["cell"]["shape"], *shape);
        assert_eq!(row["cell"]["connections"], 3);
        let results = row["results"].as_array().unwrap();
        for (result, driver) in results.iter().zip(&drivers) {
            assert_eq!(result["server"], *driver);
            assert_eq!(result["comparison"].is_null(), *driver == drivers[0]);
            for name in ["requests_per_second", "cpu_microseconds", "server_busy", "client_busy"] {
                assert!(figure(result, name) > 0.0, "{name} in {result:#}");
            }
            let p50 = figure(result, "p50_microseconds");
            assert!(p50 > 0.0 && figure(result, "p999_microseconds") >= p50, "{result:#}");
            assert!(figure(result, "system_calls") > 0.0 || shape == &"pipelined", "{result:#}");
            // An answer with a file is sent by a system call, and receives are armed once.
            let submits = *driver == "uring" && row["cell"]["bytes"] == 0;
            assert!(figure(result, "submissions") > 0.0 || !submits, "{result:#}");
            assert!(figure(result, "submissions") == 0.0 || *driver == "uring", "{result:#}");
        }
    }
}

#[test]
fn every_driver_is_measured_with_tls() {
    let drivers: Vec<&str> = kinds().map(DriverKind::name).collect();
    let list = drivers.join(",");
    let mut command = quick(&["--driver", &list, "--size", "0,20K", "--shape", "close"]);
    let report = report(command.args(["--tls", "--time", "16s"]));
    let rows = report["rows"].as_array().unwrap();
    let cells = rows.iter().map(|row| {
        let cell = &row["cell"];
        (cell["tls"].as_str(), cell["shape"].as_str().unwrap(), cell["bytes"].as_u64().unwrap())
    });
    let wanted = [
        (None, "close", 0),
        (None, "close", 20 * 1024),
        (Some("full"), "close", 1024),
        (Some("resumed"), "close", 1024),
        (Some("full"), "keep-alive", 1024),
        (Some("full"), "keep-alive", 20 * 1024),
    ];
    assert_eq!(cells.collect::<Vec<_>>(), wanted);
    for row in rows {
        let results = row["results"].as_array().unwrap();
        assert_eq!(results.len(), drivers.len(), "{row:#}");
        for (result, driver) in results.iter().zip(&drivers) {
            assert_eq!(result["server"], *driver);
            for name in ["requests_per_second", "cpu_microseconds", "p50_microseconds"] {
                assert!(figure(result, name) > 0.0, "{name} in {result:#}");
            }
        }
    }
    let tls = &report["tls"];
    assert!(tls["libraries"].as_str().unwrap().starts_with("rustls "), "{tls:#}");
    assert_eq!(tls["agreed"].as_array().unwrap().len(), 1, "all drivers agree: {tls:#}");
    assert_eq!(tls["agreed"][0]["version"], "1.3");
    assert!(tls["agreed"][0]["cipher_suite"].as_str().unwrap().starts_with("TLS_"), "{tls:#}");
}

#[test]
fn a_table_names_the_library_of_tls_and_the_cipher_suite() {
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "close", "--tls"]);
    let end = end_of(command.args(["--time", "2s"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    for words in [
        "1 KiB, 3 connections, close\n",
        "1 KiB, 3 connections, close, TLS full\n",
        "1 KiB, 3 connections, close, TLS resumed\n",
        "1 KiB, 3 connections, keep-alive, TLS\n",
        "rustls 0.",
        ": TLS 1.3, TLS_",
        "certificate: self-signed",
    ] {
        assert!(end.output.contains(words), "{words} is not in:\n{}", end.output);
    }
}

/// Clients of TLS must have a certificate here, and that of the bench has none.
#[test]
fn a_server_that_refuses_the_handshake_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, file) = (Authority::new("the issuer of clients"), folder.path().join("ca.pem"));
    std::fs::write(&file, &authority.pem).unwrap();
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "close", "--tls"]);
    let command = command.args(["--time", "2s", "--", "--tls-client-ca"]).arg(&file);
    let end = end_of(command);
    assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{end:?}");
    end.assert_names(&["epoll, 1 KiB, 3 connections, close, TLS full", "alert", "after `--`"]);
}

#[test]
fn a_client_can_run_on_any_driver() {
    for kind in kinds() {
        let client = ["--client-driver", kind.name(), "--driver", "epoll", "--time", "600ms"];
        let report = report(quick(&client).args(["--size", "1K", "--shape", "keep-alive"]));
        assert_eq!(report["client"], kind.name());
        assert!(figure(&report["rows"][0]["results"][0], "requests_per_second") > 0.0);
    }
}

#[test]
fn another_server_is_compared_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let server = Server::start(ringd().arg(&files).args(["--listen", "127.0.0.1:0"]));
    let url = format!("http://{}/", server.address());
    let picture = folder.path().join("plot.svg");
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--tls", "--time", "4s"]);
    command.arg("--files").arg(&files).args(["--against", &url]).arg("--svg").arg(&picture);
    let report = report(&mut command);
    assert_eq!(report["servers"], serde_json::json!(["epoll", url]));
    let other = &report["rows"][0]["results"][1];
    assert!(figure(other, "cpu_microseconds") > 0.0, "the process is found by its socket");
    assert!(
        other["figures"]["typical"]["system_calls"].is_null(),
        "another server reports no system calls"
    );
    for row in report["rows"].as_array().unwrap() {
        let servers = if row["cell"]["tls"].is_null() { 2 } else { 1 };
        assert_eq!(row["results"].as_array().unwrap().len(), servers, "{row:#}");
    }
    let drawn = std::fs::read_to_string(picture).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains(&url), "{drawn}");
    assert!(drawn.contains("TLS resumed"), "{drawn}");
    let mut tags = 0;
    for event in svg::read(&drawn).unwrap() {
        assert!(!matches!(event, svg::parser::Event::Error(_)), "{event:?}");
        tags += 1;
    }
    assert!(tags > 30);
}

/// The report of all drivers has rows of every kind, and its page needs no other file.
#[test]
fn all_drivers_are_compared_on_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (page, picture) = (folder.path().join("report.html"), folder.path().join("plot.svg"));
    let mut command = quick(&["--driver", "all", "--size", "1K", "--shape", "keep-alive"]);
    command.args(["--idle", "1,50", "--time", "24s"]);
    let report = report(command.arg("--html").arg(&page).arg("--svg").arg(&picture));
    let drivers: Vec<&str> = kinds().map(DriverKind::name).collect();
    assert_eq!(report["servers"], serde_json::json!(drivers));
    let holds = report["holds"].as_array().unwrap();
    assert!(holds.iter().all(|holds| holds.as_u64().unwrap() > 50), "{holds:?}");
    let rows = report["rows"].as_array().unwrap();
    let count = |has: fn(&Value) -> bool| rows.iter().filter(|row| has(&row["cell"])).count();
    assert_eq!(count(|cell| cell["tls"].is_string()), 6, "three of each version of HTTP");
    assert_eq!(count(|cell| cell["protocol"] == "HTTP/2"), 3);
    assert_eq!(count(|cell| cell["idle"].as_u64().unwrap() > 0), 2);
    for result in rows.iter().flat_map(|row| row["results"].as_array().unwrap()) {
        let (server, client) = (figure(result, "cpu_microseconds"), "client_cpu_microseconds");
        let both = figure(result, "both_cpu_microseconds");
        assert!((server + figure(result, client) - both).abs() < 1e-6, "{result:#}");
    }
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (page, picture) = (read(&page), read(&picture));
    for driver in drivers {
        assert!(page.contains(driver) && picture.contains(driver), "{driver}");
    }
    for words in ["<!doctype html>", "beside idle connections", "HTTP/2, TLS", "In short"] {
        assert!(page.contains(words), "{words} is not in:\n{page}");
    }
    for outside in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside} is in:\n{page}");
    }
}

/// A ratio is the quotient of the numbers beside it, also in the table as it is printed.
#[test]
fn a_printed_ratio_follows_from_the_printed_numbers() {
    let mut command = ringd();
    command.args(["bench", "--rounds", "6", "--driver", "epoll,poll", "--connections", "2"]);
    let end = end_of(command.args(["--size", "1K,20K", "--shape", "keep-alive", "--time", "6s"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    let lines: Vec<Vec<&str>> =
        end.output.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |server| lines.iter().filter(move |words| words.first() == Some(&server));
    let mut rows = 0;
    for (first, own) in of("epoll").zip(of("poll")) {
        let cpu = |words: &[&str]| words[2].parse::<f64>().unwrap();
        let bracket = own.iter().position(|word| word.starts_with('[')).unwrap();
        let printed: f64 = own[bracket - 1].parse().unwrap();
        assert!((cpu(own) / cpu(first) - printed).abs() < 0.0062, "{first:?} {own:?}");
        rows += 1;
    }
    assert_eq!(rows, 2, "{}", end.output);
}

#[test]
fn clients_that_wait_in_two_ways_are_compared() {
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "keep-alive"]);
    command.args(["--client-wait", "awake,asleep", "--time", "2s"]);
    let report = report(&mut command);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, client) in rows.iter().zip(["awake", "asleep"]) {
        assert_eq!(row["cell"]["client"], client);
    }
    let wakes = report["wakes"].as_array().unwrap();
    assert_eq!(wakes.len(), 1);
    assert!(wakes[0]["asleep_microseconds"].as_f64().unwrap() > 0.0, "{wakes:?}");
}

/// The build that this one is compared with is the same one, under another name.
#[test]
fn another_build_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("other");
    std::fs::copy(ringd().get_program(), &program).unwrap();
    let name = program.to_str().unwrap();
    let short = ["--driver", "epoll", "--size", "1K", "--shape", "close", "--time", "2s"];
    let report = report(quick(&short).args(["--program", name]));
    assert_eq!(report["servers"], serde_json::json!(["epoll", format!("epoll ({name})")]));
    let other = &report["rows"][0]["results"][1];
    assert!(figure(other, "cpu_microseconds") > 0.0);
    assert!(other["comparison"]["cpu"]["ratio"].as_f64().unwrap() > 0.0);
    let end = end_of(quick(&short).args(["--program", "/nowhere/ringd"]));
    assert_eq!(end.code, Some(1), "{end:?}");
    end.assert_names(&["cannot run /nowhere/ringd"]);
}

/// One goes on, whatever happens to its input.
#[test]
fn a_program_that_is_not_ringd_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    // Another process writes it: a child of another test may inherit a file that is open here for
    // writing, and executing it would then fail with ETXTBSY.
    let write = "printf '#!/bin/sh\\necho hello\\nexec sleep 600\\n' >\"$0\" && chmod 700 \"$0\"";
    assert!(Command::new("sh").args(["-c", write]).arg(&script).status().unwrap().success());
    for (program, words) in [
        (script.to_str().unwrap(), ["is not that of a server", "name a program of ringd"]),
        ("echo", ["the first line of echo", "name a program of ringd"]),
        ("false", ["did not start", "exit status: 1"]),
    ] {
        let end = end_of(quick(&["--driver", "epoll"]).args(["--program", program]));
        assert_eq!(end.code, Some(1), "{end:?}");
        end.assert_names(&words);
    }
}

#[test]
fn a_table_names_cells_servers_and_the_machine() {
    let end = end_of(&mut quick(&["--driver", "poll,spin", "--size", "1K", "--time", "2s"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    for words in [
        "1 KiB, 3 connections, keep-alive",
        "ratio of CPU",
        "both µs",
        "poll",
        "spin",
        "CPU µs",
        "Linux",
        "1 round",
    ] {
        assert!(end.output.contains(words), "{words} is not in:\n{}", end.output);
    }
    assert!(!end.output.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn incomparable_servers_are_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let server = Server::start(ringd().arg(empty.path()).args(["--listen", "127.0.0.1:0"]));
    let url = format!("http://{}/", server.address());
    let down = format!("http://{}/", crate::common::ports::free_address());
    let files = folder.path().to_str().unwrap();
    let short = ["--size", "1K", "--shape", "close", "--time", "3s", "--driver", "epoll"];
    for (arguments, says) in [
        (&["--against", &url][..], "--files"),
        (&["--against", &url, "--files", files], "404 Not Found; does it serve"),
        (
            &["--against", &down, "--files", files],
            "the connection is refused; start the other server, or check the port",
        ),
        (&["--against", "ftp://127.0.0.1/", "--files", files], "http://127.0.0.1:8080/"),
        (&["--rounds", "1000"], "too short"),
        (&["--idle", "100", "--", "--max-connections", "20"], "holds so many connections"),
    ] {
        let arguments = [&short[..], arguments].concat();
        let mut command = ringd();
        let end = end_of(command.arg("bench").args(&arguments));
        assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{arguments:?}: {end:?}");
        assert!(end.errors.contains(says), "{arguments:?}: {}", end.errors);
    }
}

/// A terminal sends SIGINT to all processes of a command, also to the server under test.
#[test]
fn an_interrupt_ends_a_run_after_its_trial() {
    use std::os::unix::process::CommandExt;
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--time", "9s"]);
    let child = command.process_group(0);
    let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let group = i32::try_from(child.id()).unwrap();
    let group = rustix::process::Pid::from_raw(group).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    let end = child.wait_with_output().unwrap();
    let errors = String::from_utf8(end.stderr).unwrap();
    assert_eq!(end.status.code(), Some(1), "{errors}");
    assert!(errors.contains("interrupted") && errors.lines().count() == 1, "{errors}");
}
