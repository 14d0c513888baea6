//! Renewal of certificates: the ways in which tools replace files. The new certificate is served
//! without a reload; if it cannot be used, the old one goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use rustls::pki_types::CertificateDer;

use crate::common::eventually;
use crate::https::{Place, few_drivers};
use crate::https_client::Client;
use crate::https_made::{Pair, write};
use crate::process::Server;

/// Waits until a server shows this certificate, and prints how long that takes. It tells nothing
/// but that.
#[track_caller]
fn assert_shows(server: &Server, client: &Client, expected: &CertificateDer<'_>) {
    wait_for(server, client, expected);
    assert_renewed(&server.error_line());
}

/// The same after a change of two files, one after the other. If this process stands still in
/// between, the server rightly tells that it cannot use them, once.
#[track_caller]
fn assert_shows_both(server: &Server, client: &Client, expected: &CertificateDer<'_>) {
    wait_for(server, client, expected);
    let line = server.error_line();
    if line.contains("the certificates stay as they are: ") {
        println!("this process stood still between two files");
        assert_renewed(&server.error_line());
    } else {
        assert_renewed(&line);
    }
}

#[track_caller]
fn wait_for(server: &Server, client: &Client, expected: &CertificateDer<'_>) {
    let begin = Instant::now();
    eventually("the new certificate is served", || {
        client.get(server.address(), "a.example").leaf == *expected
    });
    println!("served {} ms after the change", begin.elapsed().as_millis());
}

#[track_caller]
fn assert_renewed(line: &str) {
    let beginning = "ringd: renewed the certificate for a.example, valid until";
    assert!(line.starts_with(beginning), "{line}");
}

/// Writes a file beside its place, and renames it over what is there.
fn rename_over(path: &Path, content: &str) {
    let new = path.with_extension("new");
    write(&new, content);
    fs::rename(new, path).unwrap();
}

/// Turns a link, as `ln -sfn` does.
fn turn(link: &Path, target: &str) {
    let new = link.with_file_name("turned");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn files_that_are_renamed_are_served() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver]);
        let client = Client::trusting(&place.authority);
        let folder = place.files.path();
        for _ in 0..2 {
            let Pair { certificate, key, der } = place.authority.issue(&["a.example"]);
            rename_over(&folder.join("a.pem"), &certificate);
            rename_over(&folder.join("a.key"), &key);
            assert_shows_both(&server, &client, &der);
        }
    }
}

#[test]
fn a_file_with_both_that_is_written_in_place_is_served() {
    let place = Place::new();
    let both = place.files.path().join("both.pem");
    write(&both, &place.authority.issue(&["a.example"]).both());
    let server = Server::start(&mut place.command(&["--tls-cert", "both.pem"]));
    let pair = place.authority.issue(&["a.example"]);
    write(&both, &pair.both());
    assert_shows(&server, &Client::trusting(&place.authority), &pair.der);
}

/// The folders of certbot: `live/NAME/` has links to numbered files in `archive/NAME/`.
#[test]
fn links_that_turn_as_those_of_certbot_are_served() {
    let place = Place::new();
    let folder = place.files.path();
    let (live, archive) = (folder.join("live/a.example"), folder.join("archive/a.example"));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&archive).unwrap();
    let issue = |number: u32| {
        let pair = place.authority.issue(&["a.example"]);
        write(&archive.join(format!("fullchain{number}.pem")), &pair.certificate);
        write(&archive.join(format!("privkey{number}.pem")), &pair.key);
        for name in ["fullchain", "privkey"] {
            let target = format!("../../archive/a.example/{name}{number}.pem");
            turn(&live.join(format!("{name}.pem")), &target);
        }
        pair.der
    };
    issue(1);
    let files = ["live/a.example/fullchain.pem", "live/a.example/privkey.pem"];
    let options = ["--tls-cert", files[0], "--tls-key", files[1]];
    let server = Server::start(&mut place.command(&options));
    for number in 2..4 {
        let der = issue(number);
        assert_shows_both(&server, &Client::trusting(&place.authority), &der);
    }
}

/// The folders of a Kubernetes secret: files are links through `..data`, which turns.
#[test]
fn a_secret_whose_data_turns_is_served() {
    let place = Place::new();
    let folder = place.files.path();
    let issue = |number: u32| {
        let pair = place.authority.issue(&["a.example"]);
        let data = format!("..data_{number}");
        fs::create_dir(folder.join(&data)).unwrap();
        write(&folder.join(&data).join("tls.crt"), &pair.certificate);
        write(&folder.join(&data).join("tls.key"), &pair.key);
        turn(&folder.join("..data"), &data);
        if number > 1 {
            fs::remove_dir_all(folder.join(format!("..data_{}", number - 1))).unwrap();
        }
        pair.der
    };
    issue(1);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    let options = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];
    let server = Server::start(&mut place.command(&options));
    for number in 2..4 {
        let der = issue(number);
        assert_shows(&server, &Client::trusting(&place.authority), &der);
    }
}

#[test]
fn a_pair_that_does_not_match_is_refused_once() {
    for driver in few_drivers() {
        let place = Place::new();
        let server = place.serve(&["--driver", driver]);
        let client = Client::trusting(&place.authority);
        let before = client.get(server.address(), "a.example").leaf;
        let Pair { certificate, key, der } = place.authority.issue(&["a.example"]);
        rename_over(&place.files.path().join("a.pem"), &certificate);
        let line = server.error_line();
        assert!(line.contains("the certificates stay as they are: "), "{line}");
        assert!(line.contains("a.key does not belong to the certificate in a.pem"), "{line}");
        assert_eq!(client.get(server.address(), "a.example").leaf, before, "{driver}");
        // The next line is that of the renewal, so the refusal is told once.
        rename_over(&place.files.path().join("a.key"), &key);
        assert_shows(&server, &client, &der);
    }
}

#[test]
fn files_that_are_gone_for_a_while_do_no_harm() {
    let place = Place::new();
    let server = place.serve(&[]);
    let client = Client::trusting(&place.authority);
    fs::remove_file(place.files.path().join("a.pem")).unwrap();
    let line = server.error_line();
    assert!(line.contains("stay as they are: cannot read a.pem"), "{line}");
    client.get(server.address(), "a.example");
    let pair = place.authority.issue(&["a.example"]);
    pair.write(place.files.path(), "a");
    assert_shows_both(&server, &client, &pair.der);
}

/// An issuer that was missing in the file is new, though the certificate is the same.
#[test]
fn a_chain_that_is_completed_is_served() {
    let place = Place::new();
    let pair = place.authority.issue(&["a.example"]);
    pair.write(place.files.path(), "a");
    let options = ["--tls-cert", "a.pem", "--tls-key", "a.key"];
    let server = Server::start(&mut place.command(&options));
    let chain = pair.certificate.clone() + &place.authority.pem;
    rename_over(&place.files.path().join("a.pem"), &chain);
    assert_shows(&server, &Client::trusting(&place.authority), &pair.der);
}
