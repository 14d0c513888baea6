//! Checks the places where a server and its administration listen: no two are the same, and the
//! files of Unix sockets can be made.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::draft::ListenerDraft;
use super::problem::{Problem, ProblemList, quoted};
use super::setting::{Origin, Sourced};
use super::tables::LISTENERS_MAX;
use crate::server::{ListenSpec, UnixAddress, check_unix};

/// Directories that are empty after a boot (`hier(7)`). What is beneath them is often made just
/// before the start, as by `RuntimeDirectory=` of a systemd unit.
const VOLATILE: [&str; 2] = ["/run", "/var/run"];

/// Whose a place is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Server,
    Administration,
}

/// A place to listen at, and where it is from.
struct Claim<'a> {
    owner: Owner,
    spec: ListenSpec,
    origin: &'a Origin,
}

/// What was found besides problems.
pub(super) type Notes = Vec<String>;

/// Checks all places. With `looks_at_files`, also the directories and files of the sockets: a
/// server leaves that out, because it finds out when it listens, and does not need the file of a
/// socket that it listens on already.
pub(super) fn check_places(
    listeners: &[ListenerDraft],
    admin: &[Sourced<String>],
    looks_at_files: bool,
    problems: &mut ProblemList,
) -> Notes {
    let addresses = listeners.iter().flat_map(|listener| &listener.addresses);
    // Too many addresses are another problem, and what is wrong with one was a problem when it was
    // read.
    let claims = addresses.take(LISTENERS_MAX).filter_map(|Sourced { value, origin }| {
        Some(Claim { owner: Owner::Server, spec: value.parse().ok()?, origin })
    });
    let admin = admin.iter().filter_map(|Sourced { value, origin }| {
        let spec = match value.parse().ok()? {
            ListenSpec::Unix(UnixAddress::Path(path), _) => {
                UnixAddress::Path(std::path::absolute(&path).unwrap_or(path)).into()
            }
            other => other,
        };
        Some(Claim { owner: Owner::Administration, spec, origin })
    });
    let mut notes = Notes::new();
    let mut known: Vec<(ListenSpec, Claim<'_>)> = Vec::new();
    for claim in claims.chain(admin) {
        if let ListenSpec::Unix(address, _) = &claim.spec {
            if let Err(reason) = check_unix(address) {
                let title = format!("a socket cannot be {}", quoted(&address.to_string()));
                let place = claim.origin.place();
                problems.push(Problem::new(place, title, reason.to_string()));
                continue;
            }
            if let Some(path) = address.as_path().filter(|_| looks_at_files) {
                check_file(path, claim.origin, problems, &mut notes);
            }
        }
        if let ListenSpec::Passed(name) = &claim.spec
            && looks_at_files
        {
            notes.push(format!(
                "`fd:{name}`: whether a socket of this name is passed to ringd, the start finds out"
            ));
        }
        let place = place_of(&claim.spec);
        match known.iter().find(|(other, _)| *other == place) {
            Some((_, first)) if !is_any_port(&place) => problems.push(twice(&claim, first)),
            _ => known.push((place, claim)),
        }
    }
    notes
}

fn twice(claim: &Claim<'_>, first: &Claim<'_>) -> Problem {
    let (title, remedy) = match claim.owner {
        Owner::Server => (
            format!("{} is listened on twice", quoted(&claim.spec.to_string())),
            "leave out one of the two",
        ),
        Owner::Administration => (
            format!("[admin] has {}, which is taken", quoted(&claim.spec.to_string())),
            "give it another place, as in unix:/run/ringd/admin.sock or 127.0.0.1:7899",
        ),
    };
    Problem::new(claim.origin.place(), title, remedy).and(first.origin.place(), "the first one")
}

/// A place without what does not matter to whether it is another one: rights, and how the directory
/// of a socket is written.
fn place_of(spec: &ListenSpec) -> ListenSpec {
    match spec {
        ListenSpec::Unix(UnixAddress::Path(path), _) => {
            let directory = path.parent().and_then(|directory| directory.canonicalize().ok());
            let real =
                directory.zip(path.file_name()).map(|(directory, name)| directory.join(name));
            UnixAddress::Path(real.unwrap_or_else(|| path.clone())).into()
        }
        ListenSpec::Unix(address, _) => address.clone().into(),
        other => other.clone(),
    }
}

/// Whether the kernel picks the port, each time another one.
fn is_any_port(spec: &ListenSpec) -> bool {
    spec.port() == Some(0)
}

/// Checks the directory of a socket, and the file that has its name. Rights are not checked,
/// because another user may start the server, and neither is whether a server listens there: mostly
/// it is the one whose file this is.
fn check_file(path: &Path, origin: &Origin, problems: &mut ProblemList, notes: &mut Notes) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let shown = directory.display();
    let (title, remedy) = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if VOLATILE.iter().any(|volatile| directory.starts_with(volatile)) {
                let remedy = "make it before ringd starts, as RuntimeDirectory= of a systemd unit \
                              does";
                let note = format!("there is no directory {shown} yet; {remedy}");
                if !notes.contains(&note) {
                    notes.push(note);
                }
                return;
            }
            (format!("there is no directory {shown}"), "create it, or correct the path")
        }
        Ok(found) if !found.is_dir() => {
            (format!("{shown} is not a directory"), "choose another path")
        }
        _ => match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                (format!("{} is a directory", path.display()), "add the name of the socket")
            }
            Ok(found) if !found.file_type().is_socket() => (
                format!("{} is not a socket", path.display()),
                "remove it, or choose another path; ringd replaces sockets only",
            ),
            _ => return,
        },
    };
    problems.push(Problem::new(origin.place(), title, remedy));
}
