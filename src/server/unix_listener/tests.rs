//! Rights, stale sockets, and what is in the way.

use super::*;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

fn address(path: &Path) -> UnixAddress {
    UnixAddress::Path(path.to_owned())
}

fn listen_on(path: &Path) -> Result<(OwnedFd, Option<SocketFile>), UnixListenError> {
    listen(&address(path), &UnixOptions::default())
}

/// The error, which must have all of these words. Nothing is left in the directory that was not
/// there.
#[track_caller]
fn assert_fails(path: &Path, options: &UnixOptions, words: &[&str]) {
    let names = || fs::read_dir(path.parent().unwrap()).map_or(0, Iterator::count);
    let before = names();
    let error = listen(&address(path), options).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(error.contains(&format!("cannot listen on unix:{}", path.display())), "{error}");
    assert_eq!(names(), before, "{error}");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn default() -> UnixOptions {
    UnixOptions::default()
}

#[test]
fn a_socket_has_its_rights_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    for (options, expected) in [
        (default(), 0o660),
        (UnixOptions { mode: 0o777, ..default() }, 0o777),
        (UnixOptions { mode: 0, ..default() }, 0),
    ] {
        let bound = listen(&address(&path), &options).unwrap();
        assert_eq!(mode(&path), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary name is left");
        drop(bound);
        assert!(!path.exists());
    }
}

#[test]
fn owner_and_group_are_numbers_or_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let missing = |kind: &str| format!("there is no {kind} no-such-account");
    let unknown = Some(Account::from("no-such-account"));
    let owner = UnixOptions { owner: unknown.clone(), ..default() };
    assert_fails(&path, &owner, &[&missing("user"), "getent"]);
    let group = UnixOptions { group: unknown, ..default() };
    assert_fails(&path, &group, &[&missing("group"), "getent"]);
    // For chown(2) it means that the owner stays.
    let none = UnixOptions { owner: Some(Account::Id(u32::MAX)), ..default() };
    assert_fails(&path, &none, &["there is no user 4294967295"]);
    if !nix::unistd::geteuid().is_root() {
        let root = UnixOptions { owner: Some(Account::Id(0)), ..default() };
        return assert_fails(&path, &root, &["chown(2)", "only root"]);
    }
    let options = UnixOptions {
        owner: Some(Account::from("12345")),
        group: Some(Account::from("root")),
        ..default()
    };
    let _bound = listen(&address(&path), &options).unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12_345, 0));
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    let _bound = listen_on(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_running_server_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let listener = UnixListener::bind(&path).unwrap();
    assert_fails(&path, &default(), &["another server accepts", "ss -xlp"]);
    listener.accept().unwrap();
    UnixStream::connect(&path).unwrap();
    // Its queue is full: a client that waits for room would wait for ever.
    SockRef::from(&listener).listen(0).unwrap();
    let clients: Vec<_> = (0..10).map_while(|_| try_connect(&path)).collect();
    assert!(clients.len() < 10);
    assert_fails(&path, &default(), &["another server accepts"]);
}

fn try_connect(path: &Path) -> Option<Socket> {
    let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
    client.connect(&SockAddr::unix(path).unwrap()).ok().map(|()| client)
}

#[test]
fn what_is_no_stream_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "content").unwrap();
    let words = ["not a socket", "left alone"];
    assert_fails(&path, &default(), &words);
    assert_eq!(fs::read(&path).unwrap(), b"content");
    let link = folder.path().join("link");
    symlink("/nowhere", &link).unwrap();
    assert_fails(&link, &default(), &words);
    fs::create_dir(folder.path().join("directory")).unwrap();
    assert_fails(&folder.path().join("directory"), &default(), &words);
    let datagrams = folder.path().join("datagrams");
    let _socket = UnixDatagram::bind(&datagrams).unwrap();
    assert_fails(&datagrams, &default(), &["another server"]);
}

#[test]
fn the_error_names_what_is_wrong_with_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let create = format!("create the directory {}", missing.display());
    assert_fails(&missing.join("site.sock"), &default(), &["bind(2)", &create]);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_fails(&file.join("site.sock"), &default(), &["is not a directory"]);
    let mode = UnixOptions { mode: 0o1777, ..default() };
    assert_fails(&folder.path().join("a"), &mode, &["0o1777", "0o777"]);
}

/// The whole path has 107 bytes: its temporary name must not be longer.
#[test]
fn the_longest_path_is_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    let room = |folder: &Path, bytes: usize| {
        let rest = bytes - folder.as_os_str().len() - 1;
        folder.join("x".repeat(rest))
    };
    let _bound = listen_on(&room(folder.path(), UNIX_NAME_MAX)).unwrap();
    let long = room(folder.path(), UNIX_NAME_MAX - 1 - EXTRA_BYTES);
    fs::create_dir(&long).unwrap();
    let _bound = listen_on(&long.join("s")).unwrap();
    let longer = room(folder.path(), UNIX_NAME_MAX - EXTRA_BYTES);
    fs::create_dir(&longer).unwrap();
    assert_fails(&longer.join("s"), &default(), &["the directory has 101 bytes", "at most 100"]);
    assert_fails(&room(folder.path(), UNIX_NAME_MAX + 1), &default(), &["at most 107"]);
}

/// A server that was started meanwhile keeps its socket.
#[test]
fn only_the_own_file_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let bound = listen_on(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _next = listen_on(&path).unwrap();
    drop(bound);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn one_server_listens_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let (_socket, file) = listen_on(&path).unwrap();
    let again = folder.path().join(".").join("site.sock");
    let error = UnixPlan::make(&address(&again), &default(), file.iter()).unwrap_err().to_string();
    assert!(error.contains("this server listens there already"), "{error}");
}

#[test]
fn an_abstract_name_is_that_of_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap().to_owned();
    let address = UnixAddress::Abstract(name.clone());
    let (socket, file) = listen(&address, &default()).unwrap();
    assert!(file.is_none());
    let error = listen(&address, &default()).unwrap_err().to_string();
    assert!(error.contains(&format!("unix:@{name}: another server")), "{error}");
    drop(socket);
    // A process that another test starts has a copy of the socket for a moment.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = listen(&address, &default()) {
        assert!(std::time::Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}

/// The file gets its name when it has its rights, and they are not changed afterwards: all that
/// happens to this name is a rename. The mode has bits that the usual umask clears.
#[test]
fn there_is_no_moment_with_wrong_rights() {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    drop(UnixListener::bind(&path).unwrap());
    let watch = match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
        Ok(watch) => watch,
        Err(error) => return println!("skipped: inotify_init1(2): {error}"),
    };
    let flags = WatchFlags::CREATE | WatchFlags::ATTRIB | WatchFlags::DELETE | WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, folder.path(), flags).unwrap();
    let options = UnixOptions {
        mode: 0o606,
        owner: Some(Account::Id(nix::unistd::geteuid().as_raw())),
        ..default()
    };
    let bound = listen(&address(&path), &options).unwrap();
    assert_eq!(mode(&path), 0o606);
    drop(bound);
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(&watch, &mut buffer);
    let mut events = Vec::new();
    while let Ok(event) = reader.next() {
        if event.file_name().is_some_and(|name| name == c"site.sock") {
            events.push(event.events());
        }
    }
    // The stale one, the new one, and its end.
    assert_eq!(events, [ReadFlags::DELETE, ReadFlags::MOVED_TO, ReadFlags::DELETE]);
}
