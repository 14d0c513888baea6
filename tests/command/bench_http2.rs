//! `ringd bench --h2`: like the tests of the other rows, without a look at the values.

use serde_json::{Value, json};

use crate::bench::{figure, quick, report};
use crate::process::{Server, end_of, kinds, ringd};
use ringd::driver::DriverKind;

/// The protocols, connections, streams and sizes of the rows.
fn cells(report: &Value) -> Vec<Value> {
    let cell = |row: &Value| {
        let cell = &row["cell"];
        json!([cell["protocol"], cell["connections"], cell["streams"], cell["bytes"], cell["tls"]])
    };
    report["rows"].as_array().unwrap().iter().map(cell).collect()
}

#[test]
fn every_driver_is_measured_with_http2() {
    let drivers: Vec<&str> = kinds().map(DriverKind::name).collect();
    let list = drivers.join(",");
    let mut command = quick(&["--driver", &list, "--size", "20K", "--shape", "close"]);
    let report = report(command.args(["--h2", "--streams", "9", "--time", "10s"]));
    let wanted = [
        json!(["HTTP/1.1", 3, null, 20 * 1024, null]),
        json!(["HTTP/2", 3, 1, 1024, null]),
        json!(["HTTP/2", 3, 1, 20 * 1024, null]),
        json!(["HTTP/2", 1, 9, 1024, null]),
        json!(["HTTP/2", 1, 8, 20 * 1024, null]),
    ];
    assert_eq!(cells(&report), wanted);
    for row in report["rows"].as_array().unwrap() {
        let results = row["results"].as_array().unwrap();
        assert_eq!(results.len(), drivers.len(), "{row:#}");
        for (result, driver) in results.iter().zip(&drivers) {
            assert_eq!(result["server"], *driver);
            for name in ["requests_per_second", "cpu_microseconds", "p50_microseconds"] {
                assert!(figure(result, name) > 0.0, "{name} in {result:#}");
            }
        }
    }
}

#[test]
fn a_table_and_a_plot_name_protocol_streams_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("plot.svg");
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "close"]);
    command.args(["--h2", "--tls", "--time", "3s"]).arg("--svg").arg(&picture);
    let end = end_of(&mut command);
    assert_eq!(end.code, Some(0), "{end:?}");
    let drawn = std::fs::read_to_string(picture).unwrap();
    for row in ["1 KiB, 3 × 1 stream, HTTP/2, TLS", "1 KiB, 1 × 32 streams, HTTP/2, TLS"] {
        assert!(end.output.contains(&format!("{row}\n")), "{row} is not in:\n{}", end.output);
        assert!(drawn.contains(row), "{drawn}");
    }
    assert!(end.output.contains("HTTP/2: 8 × 32 streams are"), "{}", end.output);
    assert!(!end.output.contains("stream, HTTP/2\n"), "only over TLS:\n{}", end.output);
}

/// Others are measured in the rows that are for their URL.
#[test]
fn other_servers_with_http2_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().to_str().unwrap();
    let start = |option| Server::start(ringd().args([files, "--listen", "127.0.0.1:0", option]));
    let (clear, secure) = (start("--h2c"), start("--tls-self-signed"));
    let plain = format!("http://{}/", clear.address());
    for (url, options, is_measured) in [
        (format!("h2c://{}/", clear.address()), &["--h2"][..], [false, true, true]),
        (plain, &["--h2"], [true, false, false]),
    ] {
        let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "close"]);
        command.args(["--files", files, "--against", &url, "--time", "2s"]).args(options);
        let report = report(&mut command);
        assert_eq!(report["servers"], json!(["epoll", url]));
        for (row, is_measured) in report["rows"].as_array().unwrap().iter().zip(is_measured) {
            let results = row["results"].as_array().unwrap();
            assert_eq!(results.len(), 1 + usize::from(is_measured), "{row:#}");
            let last = &results[results.len() - 1];
            assert_eq!(last["comparison"].is_null(), !is_measured, "{row:#}");
        }
    }
    let url = format!("https://{}/", secure.address());
    let mut command = quick(&["--driver", "epoll", "--size", "1K", "--shape", "close"]);
    command.args(["--files", files, "--against", &url, "--time", "4s", "--h2", "--tls"]);
    let report = report(&mut command);
    for row in report["rows"].as_array().unwrap() {
        let servers = if row["cell"]["tls"].is_null() { 1 } else { 2 };
        assert_eq!(row["results"].as_array().unwrap().len(), servers, "{row:#}");
    }
}

#[test]
fn a_server_that_answers_in_http1_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().to_str().unwrap();
    let server = Server::start(ringd().args([files, "--listen", "127.0.0.1:0"]));
    let url = format!("h2c://{}/", server.address());
    let secure = url.replace("h2c", "https");
    let short = ["--driver", "epoll", "--size", "1K", "--shape", "close", "--time", "3s", "--h2"];
    for (arguments, says) in [
        (&["--files", files, "--against", &url][..], "does not answer in HTTP/2, but this row"),
        (&["--tls", "--", "--no-http2"], "the server chose http/1.1 in the handshake"),
        (&["--tls", "--files", files, "--against", &url], "add rows with --h2, without --tls"),
        (&["--files", files, "--against", &secure], "add rows with --tls"),
    ] {
        let end = end_of(quick(&short).args(arguments));
        assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{arguments:?}: {end:?}");
        assert!(end.errors.contains(says), "{arguments:?}: {}", end.errors);
    }
    for (arguments, says) in [
        (&["--streams", "8"][..], "--h2"),
        (&["--h2", "--streams", "101"], "1..=100"),
        (&["--h2", "--streams", "0"], "1..=100"),
    ] {
        let end = end_of(ringd().arg("bench").args(arguments));
        assert_eq!(end.code, Some(2), "{arguments:?}: {end:?}");
        assert!(end.errors.contains(says), "{arguments:?}: {}", end.errors);
    }
}
