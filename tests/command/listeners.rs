//! Reloads that add, keep and remove places to listen.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common::ports::free_address;
use crate::configured::{BASE, Folder, assert_hangup_says};
use crate::process::{PAGE, Server, assert_serves, drivers, end_of, is_bound_to_ports};
use crate::stopping::{assert_let_go, assert_refuses};
use crate::unread::assert_serves_at;

/// The configuration with these places.
fn listening(places: &[&str]) -> String {
    let list: Vec<_> = places.iter().map(|place| format!("\"{place}\"")).collect();
    BASE.replace("[\"127.0.0.1:0\"]", &format!("[{}]", list.join(", ")))
}

fn place(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Asserts that a connection gets the page, and may be used again.
#[track_caller]
fn assert_answers(stream: &mut (impl Read + Write)) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(PAGE) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", answer.escape_ascii());
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
}

/// New places are listened on, others no longer, and no connection is closed for it.
#[test]
fn places_come_and_go_and_connections_stay() {
    if is_bound_to_ports() {
        return;
    }
    for driver in drivers() {
        let (kept, new) = (free_address(), free_address());
        let folder = Folder::new(BASE);
        let (old_path, new_path) = (folder.path("old.sock"), folder.path("new.sock"));
        folder.write(&listening(&[&kept.to_string(), &place(&old_path)]));
        let server = Server::start(folder.command().args(["--driver", driver]));
        let mut of_kept = std::net::TcpStream::connect(kept).unwrap();
        let mut of_old = UnixStream::connect(&old_path).unwrap();
        assert_answers(&mut of_kept);
        assert_answers(&mut of_old);

        folder.write(&listening(&[&new.to_string(), &place(&new_path), &kept.to_string()]));
        folder.assert_reloads(&[
            "1 site (a.example), 0 changed, ",
            &format!("now at {new} {}, no longer at {}, ", place(&new_path), place(&old_path)),
        ]);
        assert_serves_at(kept);
        assert_serves_at(new);
        assert_answers(&mut UnixStream::connect(&new_path).unwrap());
        assert!(!old_path.exists(), "{driver}: a socket that is no longer listened on is removed");
        assert_answers(&mut of_kept);
        assert_answers(&mut of_old);

        folder.write(&listening(&[&new.to_string()]));
        folder.assert_reloads(&["(generation 3)"]);
        assert_refuses(kept);
        assert!(!new_path.exists(), "{driver}");
        assert_serves_at(new);
        assert_answers(&mut of_kept);
        assert_answers(&mut of_old);

        // Back again, at the same places.
        folder.write(&listening(&[&kept.to_string(), &place(&old_path)]));
        folder.assert_reloads(&["(generation 4)"]);
        assert_serves_at(kept);
        assert_answers(&mut UnixStream::connect(&old_path).unwrap());
        assert_refuses(new);
        server.signal(libc::SIGTERM);
        drop((of_kept, of_old));
        assert_eq!(server.end().code, Some(0), "{driver}");
        assert!(!old_path.exists(), "{driver}");
    }
}

/// `--listen` replaces the places of the file, at a reload as at the start.
#[test]
fn places_of_the_command_line_stay() {
    let folder = Folder::new(BASE);
    let server = Server::start(folder.command().args(["--listen", "127.0.0.1:0"]));
    let other = free_address();
    folder.write(&listening(&[&other.to_string()]));
    folder.assert_reloads(&["1 site"]);
    assert_serves(&server);
    assert!(std::net::TcpStream::connect(other).is_err());
}

#[test]
fn rights_of_sockets_are_those_of_the_file() {
    let folder = Folder::new(BASE);
    let path = folder.path("site.sock");
    let text = |rights: &str| {
        let places = format!("[[listen]]\naddress = \"{}\"\n{rights}\n[admin]", place(&path));
        BASE.replace("listen = [\"127.0.0.1:0\"]\n", "").replace("[admin]", &places)
    };
    let group = rustix::process::getegid().as_raw();
    folder.write(&text(&format!("mode = \"0606\"\ngroup = \"{group}\"")));
    let server = Server::start(&mut folder.command());
    let mode = || fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(), 0o606);
    // The same, written otherwise.
    folder.write(&text(&format!("mode = \"606\"\ngroup = \"{group}\"")));
    folder.assert_reloads(&["0 changed"]);
    // A worker accepts from the socket, so another one cannot take its place.
    folder.write(&text("mode = \"0600\""));
    folder.assert_refuses(&["not reloaded", "cannot change mode, owner or group", "restart ringd"]);
    assert_eq!(mode(), 0o606);
    assert_answers(&mut UnixStream::connect(&path).unwrap());
    drop(server);
    assert_let_go(&path);
    folder.write(&text("owner = \"no-such-account\""));
    end_of(&mut folder.command()).assert_failed(1, &["there is no user no-such-account"]);
    folder.write(&text("group = \"no-such-account\""));
    end_of(&mut folder.command()).assert_failed(1, &["there is no group no-such-account"]);
}

/// A place may take over from one that it includes, or that includes it. Both at once are refused.
#[test]
fn a_place_may_replace_one_that_overlaps_it() {
    let port = free_address().port();
    let [narrow, wide] = ["127.0.0.1", "0.0.0.0"].map(|address| format!("{address}:{port}"));
    let folder = Folder::new(&listening(&[&narrow]));
    let server = Server::start(&mut folder.command());
    folder.write(&listening(&[&wide]));
    folder.assert_reloads(&["0 changed"]);
    assert_serves(&server);
    folder.write(&listening(&[&wide, &narrow]));
    let cause =
        format!("cannot listen on {narrow}: bind(2): this server listens on {wide} as well");
    folder.assert_refuses(&["not reloaded", &cause, "leave out one of them"]);
    assert_serves(&server);
    folder.write(&listening(&[&narrow]));
    folder.assert_reloads(&["0 changed"]);
    assert_serves(&server);
    folder.write(BASE);
    assert_hangup_says(&server, &["ringd: reloaded "]);
}

/// Connections have the number of the listener that accepted them, and the site chooses listeners
/// by name. The address of that name changes, but not what it stands for.
#[test]
fn connections_of_an_address_that_changes_reach_their_site() {
    if is_bound_to_ports() {
        return;
    }
    let text = |address: &str| {
        format!(
            "[admin]\nlisten = \"unix:admin.sock\"\n\
             [[listen]]\nname = \"web\"\naddress = \"{address}\"\n\
             [[site]]\nhosts = [\"a\"]\ndefault = true\nlisten = [\"web\"]\nroot = \"html\"\n\
             [[site]]\nhosts = [\"b\"]\nroot = \"other\"\n"
        )
    };
    for driver in drivers() {
        let addresses = [free_address(), free_address(), free_address()];
        let folder = Folder::new(&text(&addresses[0].to_string()));
        let server = Server::start(folder.command().args(["--driver", driver]));
        let mut streams = Vec::new();
        for address in &addresses {
            folder.write(&text(&address.to_string()));
            folder.assert_reloads(&["2 sites"]);
            streams.push(std::net::TcpStream::connect(address).unwrap());
            streams.iter_mut().for_each(assert_answers);
        }
        drop(streams);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0), "{driver}");
    }
}
