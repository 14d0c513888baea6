//! Servers that give up what they do not need: their user, files, ports and system calls.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::eventually;
use crate::configured::{Folder, OTHER};
use crate::jail::{Jail, is_root};
use crate::process::{
    PAGE, Server, assert_serves, create_closed, drivers, end_of, get, public_copy, ringd, site,
    with,
};

/// The user and group of these tests; no account needs to have the numbers.
const USER: &str = "65533";

/// Whether the kernel has all that a sandbox takes; prints what the server says if not.
fn is_complete() -> bool {
    let site = site();
    let started = Server::try_start(with(&["--sandbox", "require"]).arg(site.path()));
    started.map_err(|end| println!("skipped: {}", end.errors)).is_ok()
}

/// The value of a field of the status of each thread (`proc(5)`).
fn of_each_thread(server: &Server, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let status = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let value = |status: String| {
        let found = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        found.expect("a field of the status").trim().to_owned()
    };
    status.map(value).collect()
}

/// A configuration with a log, an administration and a site, `html`, in a sandbox.
fn confined(driver: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\ndriver = \"{driver}\"\n\
         sandbox = \"require\"\n[admin]\nlisten = \"unix:admin.sock\"\n\
         [log]\naccess = \"access.log\"\n[[site]]\nhosts = \"a.example\"\ndefault = true\n\
         root = \"html\"\n"
    )
}

#[test]
fn every_thread_is_confined_and_the_start_line_says_so() {
    if !is_complete() {
        return;
    }
    for driver in drivers() {
        let folder = Folder::new(&confined(driver));
        let server = Server::start(&mut folder.bare_command());
        assert!(server.line.contains("; sandbox: landlock "), "{}", server.line);
        assert!(server.line.contains(" system calls"), "{}", server.line);
        assert_eq!(server.line.contains("restricted rings"), driver == "uring", "{}", server.line);
        assert_serves(&server);
        for (field, value) in [("Seccomp", "2"), ("Seccomp_filters", "3"), ("NoNewPrivs", "1")] {
            let values = of_each_thread(&server, field);
            assert!(values.len() > 4, "{driver}: {values:?}");
            assert!(values.iter().all(|it| it == value), "{driver}: {field}: {values:?}");
        }
        let folder_of_file = fs::metadata(folder.path("access.log")).unwrap();
        assert!(folder_of_file.is_file());
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        assert!(!folder.path("admin.sock").exists(), "{driver}: the socket stays");
    }
}

#[test]
fn a_link_may_turn_and_a_reload_finds_what_is_beside() {
    if !is_complete() {
        return;
    }
    for driver in drivers() {
        let base = confined(driver);
        let folder = Folder::new(&base.replace("root = \"html\"", "root = \"current\""));
        symlink("html", folder.path("current")).unwrap();
        let server = Server::start(&mut folder.bare_command());
        assert_eq!(get(server.address(), "/").1, PAGE, "{driver}");
        symlink("other", folder.path("next")).unwrap();
        fs::rename(folder.path("next"), folder.path("current")).unwrap();
        eventually("the root has turned", || get(server.address(), "/").1 == OTHER);
        drop(server);
        // A link above the root.
        let releases = site();
        for (name, page) in [("1", PAGE), ("2", OTHER)] {
            fs::create_dir_all(releases.path().join(name).join("public")).unwrap();
            fs::write(releases.path().join(name).join("public/index.html"), page).unwrap();
        }
        symlink(releases.path().join("1"), folder.path("above")).unwrap();
        folder.write(&base.replace("root = \"html\"", "root = \"above/public\""));
        let server = Server::start(&mut folder.bare_command());
        assert_eq!(get(server.address(), "/").1, PAGE, "{driver}");
        symlink(releases.path().join("2"), folder.path("next")).unwrap();
        fs::rename(folder.path("next"), folder.path("above")).unwrap();
        eventually("a link above the root has turned", || get(server.address(), "/").1 == OTHER);
        // A root that is made now, beside the others.
        fs::create_dir(folder.path("third")).unwrap();
        fs::write(folder.path("third/index.html"), "third").unwrap();
        folder.write(&base.replace("root = \"html\"", "root = \"third\""));
        let end = folder.reload();
        assert_eq!(end.code, Some(0), "{driver}: {end:?}");
        assert_eq!(get(server.address(), "/").1, b"third", "{driver}");
        // The logs are made anew.
        fs::rename(folder.path("access.log"), folder.path("access.log.1")).unwrap();
        server.signal(libc::SIGUSR1);
        eventually("there is a new log", || folder.path("access.log").exists());
    }
}

#[test]
fn a_reload_that_needs_more_says_restart() {
    if !is_complete() {
        return;
    }
    let base = confined("auto");
    let (folder, elsewhere) = (Folder::new(&base), site());
    let deep = elsewhere.path().join("deep/site");
    fs::create_dir_all(&deep).unwrap();
    let server = Server::start(&mut folder.bare_command());
    let root = format!("root = \"{}\"", deep.display());
    for (changed, word) in [
        (base.replace("root = \"html\"", &root), "does not allow reading"),
        (base.replace("127.0.0.1:0", "127.0.0.1:1"), "does not allow listening on port 1"),
        (base.replace("127.0.0.1:0", "example.com:0"), "does not allow to look up example.com"),
        (base.replace("\"require\"", "\"off\""), "cannot change `sandbox`"),
    ] {
        folder.write(&changed);
        let end = folder.reload();
        assert_eq!(end.code, Some(1), "{word}: {end:?}");
        assert!(end.errors.contains(word) && end.errors.contains("restart ringd"), "{end:?}");
        assert_serves(&server);
    }
}

/// A device has a rule of its own, and no directory stands for it.
#[test]
fn a_reload_keeps_a_log_that_is_a_device() {
    if !is_complete() {
        return;
    }
    let folder = Folder::new(&confined("auto").replace("[log]", "[log]\nerror = \"/dev/null\""));
    let server = Server::start(&mut folder.bare_command());
    let end = folder.reload();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_serves(&server);
}

/// A kernel without a part of it, or a container that denies it: `auto` says so, `require` does not
/// start.
#[test]
fn what_is_missing_is_told() {
    if !is_complete() {
        return;
    }
    let site = site();
    for (call, code, words) in [
        (
            libc::SYS_landlock_create_ruleset,
            libc::ENOSYS,
            ["no landlock: the kernel has none", "5.13"],
        ),
        (libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP, ["no landlock: ", "lsm="]),
        (libc::SYS_seccomp, libc::EPERM, ["no seccomp filter", "not permitted"]),
    ] {
        let jail = Jail { denied: Some((call, code)), ..Jail::default() };
        let mut auto = with(&["--sandbox", "auto"]);
        let server = Server::start(jail.hold(auto.arg(site.path())));
        for word in words {
            assert!(server.line.contains(word), "no {word:?} in: {}", server.line);
        }
        assert_serves(&server);
        let mut require = with(&["--sandbox", "require"]);
        let end = end_of(jail.hold(require.arg(site.path())));
        end.assert_failed(1, &["--sandbox require: ", words[0], words[1], "--sandbox auto"]);
    }
}

#[test]
fn a_server_becomes_its_user_for_good() {
    if !is_root() {
        return println!("skipped: only root may become somebody else");
    }
    let folder = Folder::new("");
    let closed = folder.path("html/closed.txt");
    fs::write(&closed, "x").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    for driver in drivers() {
        let mut command = with(&["--user", USER, "--group", USER, "--driver", driver]);
        let server = Server::start(command.arg(folder.path("html")));
        assert_serves(&server);
        assert!(get(server.address(), "/closed.txt").0.starts_with("HTTP/1.1 403 "));
        let all = format!("{USER}\t{USER}\t{USER}\t{USER}");
        for (field, value) in
            [("Uid", &*all), ("Gid", &*all), ("Groups", ""), ("CapPrm", "0000000000000000")]
        {
            let values = of_each_thread(&server, field);
            assert!(values.iter().all(|it| it == value), "{driver}: {field}: {values:?}");
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().code, Some(0));
    }
}

/// What was opened as root stays open; what cannot be opened again is told.
#[test]
fn a_user_and_a_sandbox_go_together() {
    if !is_root() || !is_complete() {
        return;
    }
    let base = confined("auto")
        .replace("[server]", &format!("[server]\nuser = \"{USER}\"\ngroup = \"{USER}\""));
    let folder = Folder::new(&base);
    let server = Server::start(&mut folder.bare_command());
    assert!(server.line.contains("; sandbox: landlock "), "{}", server.line);
    assert_serves(&server);
    let note = server.error_line();
    for word in ["the user 65533 may not make ", "access.log", "rotation"] {
        assert!(note.contains(word), "no {word:?} in: {note}");
    }
    fs::set_permissions(folder.path("ringd.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let end = folder.reload();
    assert_eq!(end.code, Some(1), "{end:?}");
}

#[test]
fn a_user_that_cannot_be_is_an_error_with_a_remedy() {
    let site = site();
    let start = |arguments: &[&str]| {
        let mut command = with(arguments);
        end_of(command.arg(site.path()))
    };
    start(&["--user", "no-such-user"]).assert_failed(1, &["--user no-such-user", "/etc/passwd"]);
    start(&["--user", USER]).assert_failed(1, &["its group is not known", "--group"]);
    start(&["--group", USER]).assert_failed(1, &["without --user"]);
    if !is_root() {
        return;
    }
    let (_copy, binary) = public_copy();
    let mut command = Command::new(binary);
    command.arg(site.path()).args(["--listen", "127.0.0.1:0", "--user", "1", "--group", "1"]);
    let jail = Jail { unprivileged: true, ..Jail::default() };
    end_of(jail.hold(&mut command)).assert_failed(1, &["cannot become 1", "only root", "--user"]);
    // A site that this user cannot read.
    let closed = site.path().join("closed");
    create_closed(&closed);
    let mut command = ringd();
    command.arg(&closed).args(["--listen", "127.0.0.1:0", "--user", USER, "--group", USER]);
    end_of(&mut command).assert_failed(1, &["as the user 65533", "permission denied"]);
    assert!(Path::new(&closed).exists());
    // The same for a second root, unless it is missing.
    let folder = Folder::new("");
    create_closed(&folder.path("closed"));
    for (fallback, is_served) in [("closed", false), ("missing", true)] {
        folder.write(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nuser = \"{USER}\"\ngroup = \"{USER}\"\n\
             [[site]]\nname = \"a\"\ndefault = true\nroot = \"html\"\n\
             fallback-root = {{ path = \"{fallback}\", only = \"*.js\" }}\n"
        ));
        if is_served {
            assert_serves(&Server::start(&mut folder.bare_command()));
        } else {
            let words = ["as the user 65533", "closed", "permission denied"];
            end_of(&mut folder.bare_command()).assert_failed(1, &words);
        }
    }
}
