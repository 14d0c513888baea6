//! The command line: help, errors, the start line.

use std::net::{SocketAddr, TcpListener};

use crate::jail::{Jail, is_root};
use crate::process::{
    Server, assert_serves, create_closed, drivers, end_of, get, ringd, site, uring_works, with,
};
use clap::CommandFactory;
use ringd::cli::Cli;
use ringd::driver::DriverKind;

mod help_and_usage {
    use super::*;

    /// The output for these arguments, which are no error.
    fn help(arguments: &[&str]) -> String {
        let end = end_of(ringd().args(arguments));
        assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{arguments:?}");
        let widest = end.output.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "a line of {widest:?} columns in:\n{}", end.output);
        end.output
    }

    #[test]
    fn help_explains_every_option() {
        for flag in ["--help", "-h"] {
            let text = help(&[flag]);
            let cli = Cli::command();
            let is_here =
                |option: &&clap::Arg| flag == "--help" || !option.is_hide_short_help_set();
            let options = cli.get_arguments().filter(is_here);
            for option in options.filter_map(|option| option.get_long()) {
                let line = text.lines().find(|line| line.contains(&format!("--{option}")));
                assert!(line.is_some(), "--{option} is not in:\n{text}");
            }
            for word in ["[ROOT]", "127.0.0.1:7890", "8192, 16K or 1M"] {
                assert!(text.contains(word), "{word} is not in:\n{text}");
            }
        }
        let text = help(&["--help"]);
        for word in ["io_uring", "SIGTERM", "seccomp", "./echo", "Exit codes"] {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
    }

    /// `-h` has one line for each option, and another one only for its possible values.
    #[test]
    fn short_help_is_short() {
        for command in [&["-h"][..], &["serve", "-h"], &["echo", "-h"]] {
            let text = help(command);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() <= 90, "{} lines:\n{text}", lines.len());
            assert!(text.contains("--help says more"), "{text}");
            for pair in lines.windows(2).filter(|pair| pair[1].starts_with("            ")) {
                let is_list = pair[0].contains("[possible values:") && pair[1].ends_with(']');
                assert!(is_list, "{command:?} has a second line: {}", pair[1]);
            }
        }
    }

    /// What belongs to the end of a server is not among the bounds of connections.
    #[test]
    fn options_of_the_drain_have_a_heading() {
        let stop = "Stopping and load balancers:";
        for (command, options) in [
            (&["--help"][..], &["--drain-delay", "--drain-timeout", "--health-path"][..]),
            (&["-h"], &["--drain-delay", "--drain-timeout", "--health-path"]),
            (&["echo", "-h"], &["--drain-delay", "--drain-timeout"]),
        ] {
            let text = help(command);
            for option in options {
                let is_it = |line: &&str| line.trim_start().starts_with(option);
                let before = text.lines().take_while(|line| !is_it(line));
                let heading = before.filter(|line| line.starts_with(char::is_alphabetic)).last();
                assert_eq!(heading, Some(stop), "{command:?}, {option}");
            }
        }
    }

    #[test]
    fn every_command_has_its_help() {
        let overview = help(&["--help"]);
        let cli = Cli::command();
        // Hidden commands are for the program itself.
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(overview.contains(&format!("\n  {name} ")), "{name} is not in:\n{overview}");
            let text = help(&[name, "--help"]);
            for argument in command.get_arguments() {
                let spelled = match argument.get_long() {
                    Some(long) => format!("--{long}"),
                    None => argument.get_value_names().unwrap()[0].to_string(),
                };
                assert!(text.contains(&spelled), "{spelled} is not in:\n{text}");
            }
        }
        assert!(help(&["echo", "-h"]).contains("127.0.0.1:7891"));
    }

    #[test]
    fn every_driver_is_explained() {
        for command in [&["--help"][..], &["serve", "--help"], &["echo", "--help"]] {
            let text = help(command);
            for kind in DriverKind::ALL {
                let explained = text.lines().any(|line| {
                    line.contains(&format!("- {kind}:")) && line.contains(kind.summary())
                });
                assert!(explained, "{kind} is not in:\n{text}");
            }
        }
    }

    /// Who refuses hidden names may not expect that a link serves them.
    #[test]
    fn links_to_hidden_names_are_mentioned() {
        let text = help(&["--help"]);
        assert!(text.contains("stay beneath the root, also to hidden names"), "{text}");
    }

    #[test]
    fn version_is_that_of_the_package() {
        let end = end_of(&mut with(&["--version"]));
        assert_eq!(end.code, Some(0));
        assert_eq!(end.output.trim_end(), concat!("ringd ", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_wrong_command_line_gets_a_precise_error() {
        let cases: [(&[&str], &[&str]); 15] = [
            (&["echo", "--cache-bytes", "1"], &["--cache-bytes"]),
            (&["echo", "somewhere"], &["somewhere"]),
            (&["--color"], &["--color"]),
            (&["-x"], &["-x"]),
            (&["one", "two"], &["two"]),
            (&["--driver", "kqueue"], &["kqueue", "uring", "epoll-lt"]),
            (&["--listen", "localhost"], &["localhost", "--listen"]),
            (&["--listen", "127.0.0.1"], &["127.0.0.1", "--listen"]),
            (&["--listen", "127.0.0.1:65536"], &["127.0.0.1:65536", "--listen"]),
            (&["--idle-timeout", "soon"], &["soon", "--idle-timeout"]),
            (&["--send-timeout", "0s"], &["0s", "--send-timeout", "longer than 0s"]),
            (&["--workers", "0"], &["0", "--workers"]),
            (&["--max-connections", "0"], &["0", "--max-connections"]),
            (&["--cache-bytes", "lots"], &["lots", "--cache-bytes"]),
            (&["--memory-file-max", "1048577"], &["1048577", "--memory-file-max"]),
        ];
        for (arguments, words) in cases {
            let end = end_of(&mut with(arguments));
            assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
            end.assert_names(words);
            end.assert_names(&["--help"]);
        }
    }
}

mod what_cannot_be_served {
    use super::*;

    #[test]
    fn a_root_that_is_missing() {
        let site = site();
        let missing = site.path().join("missing");
        let missing = missing.to_str().unwrap();
        end_of(&mut with(&[missing])).assert_failed(1, &[missing, "no such directory", "name the"]);
    }

    #[test]
    fn a_root_that_is_a_file() {
        let site = site();
        let file = site.path().join("index.html");
        let file = file.to_str().unwrap();
        end_of(&mut with(&[file])).assert_failed(1, &[file, "not a directory", "name the"]);
    }

    #[test]
    fn a_root_that_may_not_be_read() {
        if !is_root() {
            println!("skipped: only root can become another user");
            return;
        }
        let site = site();
        let closed = site.path().join("closed");
        create_closed(&closed);
        let jail = Jail { unprivileged: true, ..Jail::default() };
        let mut command = with(&[closed.to_str().unwrap()]);
        end_of(jail.hold(&mut command)).assert_failed(1, &["permission denied", "readable"]);
    }

    #[test]
    fn a_port_that_another_program_uses() {
        let site = site();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        let mut command = with(&[site.path().to_str().unwrap(), "--listen", &address]);
        let find = format!("`ss -ltnp sport = :{}` shows it", other.local_addr().unwrap().port());
        let other_port = "`--listen 127.0.0.1:8080` (port 0: any free one)";
        let words = [&*address, "the port is in use", &find, other_port];
        end_of(&mut command).assert_failed(1, &words);
    }

    #[test]
    fn a_port_that_another_ringd_uses() {
        let site = site();
        let root = site.path().to_str().unwrap();
        let first = Server::start(&mut with(&[root]));
        let address = first.address().to_string();
        for driver in drivers() {
            let mut command = with(&[root, "--listen", &address, "--driver", driver]);
            end_of(&mut command).assert_failed(1, &[&address, "the port is in use"]);
        }
        assert_serves(&first);
    }

    #[test]
    fn a_privileged_port_without_privileges() {
        let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let first: u32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        if first < 2 {
            println!("skipped: {path} makes every port an ordinary one");
            return;
        }
        let site = site();
        let mut command = with(&[site.path().to_str().unwrap(), "--listen", "127.0.0.1:1"]);
        let jail = Jail { unprivileged: is_root(), ..Jail::default() };
        let words = ["127.0.0.1:1", "CAP_NET_BIND_SERVICE", "--listen 127.0.0.1:8080"];
        end_of(jail.hold(&mut command)).assert_failed(1, &words);
    }

    #[test]
    fn an_address_that_the_machine_does_not_have() {
        // Reserved for documentation (RFC 5737).
        let listen = "192.0.2.1:0";
        let site = site();
        let mut command = with(&[site.path().to_str().unwrap(), "--listen", listen]);
        end_of(&mut command).assert_failed(1, &[listen, "no such address", "ip address"]);
    }

    #[test]
    fn more_connections_than_descriptors() {
        let site = site();
        let jail = Jail { nofile: Some(256), ..Jail::default() };
        let mut command = with(&[site.path().to_str().unwrap(), "--max-connections", "1000"]);
        let words = ["--max-connections 1000", "the limit is 256", "ulimit -n"];
        end_of(jail.hold(&mut command)).assert_failed(1, &words);
    }

    #[test]
    fn more_echoes_than_descriptors() {
        let jail = Jail { nofile: Some(256), ..Jail::default() };
        let mut command = with(&["echo", "--max-connections", "1000"]);
        let end = end_of(jail.hold(&mut command));
        end.assert_failed(1, &["--max-connections 1000", "the limit is 256", "ulimit -n"]);
        assert!(!end.errors.contains("--cache-entries"), "{}", end.errors);
    }

    #[test]
    fn a_command_behind_its_options() {
        let end = end_of(ringd().args(["--driver", "epoll", "echo"]));
        end.assert_failed(1, &["cannot serve echo", "a command comes before its options"]);
    }

    #[test]
    fn anything_with_64_descriptors() {
        let site = site();
        let jail = Jail { nofile: Some(64), ..Jail::default() };
        let mut command = with(&[site.path().to_str().unwrap(), "--workers", "1"]);
        let words = ["the limit of 64 descriptors", "ulimit -n", "--workers"];
        end_of(jail.hold(&mut command)).assert_failed(1, &words);
    }
}

mod what_is_served {
    use super::*;

    #[test]
    fn the_start_line_has_address_root_and_driver() {
        let site = site();
        let root = site.path().canonicalize().unwrap();
        for driver in drivers() {
            let arguments = [root.to_str().unwrap(), "--driver", driver, "--workers", "2"];
            let server = Server::start(&mut with(&arguments));
            let address = server.address();
            assert_ne!(address.port(), 0, "{}", server.line);
            assert_eq!(
                server.line,
                format!(
                    "ringd: serving {} at http://{address}/; driver: {driver} (as asked); \
                     workers: 2",
                    root.display()
                )
            );
            assert_serves(&server);
        }
    }

    /// An operator who deploys by replacing a link needs to see the link and its target.
    #[test]
    fn the_start_line_shows_a_link_and_its_target() {
        let site = site();
        let folder = tempfile::tempdir().unwrap();
        let real = site.path().canonicalize().unwrap();
        let link = folder.path().canonicalize().unwrap().join("current");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let server = Server::start(&mut with(&[link.to_str().unwrap()]));
        let told = format!("ringd: serving {} (now {}) at http://", link.display(), real.display());
        assert!(server.line.starts_with(&told), "{}", server.line);
        assert_serves(&server);
    }

    /// The pages may be created later, so this is no error.
    #[test]
    fn missing_pages_are_reported() {
        let site = site();
        std::fs::create_dir(site.path().join("folder")).unwrap();
        for (options, notes) in [
            (&["--spa", "--error-page", "404=/index.html"][..], vec![]),
            (&["--spa=/a.html"], vec!["--spa: there is no file /a.html"]),
            (
                &["--error-page", "404=/folder", "--error-page", "403=/b.html"],
                vec!["--error-page: there is no file /folder", "there is no file /b.html"],
            ),
        ] {
            let server = Server::start(with(options).arg(site.path()));
            assert_serves(&server);
            server.signal(libc::SIGTERM);
            let end = server.end();
            for note in &notes {
                assert!(end.errors.contains(note), "{note} is not in {}", end.errors);
            }
            let told = end.errors.lines().filter(|line| line.contains("there is no file"));
            assert_eq!(told.count(), notes.len(), "{}", end.errors);
        }
    }

    #[test]
    fn serving_may_be_spelled_out() {
        let site = site();
        assert_serves(&Server::start(&mut with(&["serve", site.path().to_str().unwrap()])));
    }

    #[test]
    fn a_directory_named_like_a_command() {
        let site = site();
        let parent = tempfile::tempdir().unwrap();
        std::fs::rename(site.path(), parent.path().join("echo")).unwrap();
        for arguments in [&["./echo"][..], &["serve", "echo"]] {
            let server = Server::start(with(arguments).current_dir(&parent));
            assert!(server.line.starts_with("ringd: serving "), "{}", server.line);
            assert_serves(&server);
        }
        let echo = Server::start(with(&["echo"]).current_dir(&parent));
        assert!(echo.line.starts_with("ringd: echoing at 127.0.0.1:"), "{}", echo.line);
    }

    #[test]
    fn the_start_line_of_echo_has_address_and_driver() {
        for driver in drivers() {
            let mut command = with(&["echo", "--driver", driver, "--workers", "2"]);
            let server = Server::start(&mut command);
            let address = server.address();
            let line =
                format!("ringd: echoing at {address}; driver: {driver} (as asked); workers: 2");
            assert_eq!(server.line, line);
            server.signal(libc::SIGTERM);
            assert_eq!(server.end().code, Some(0));
        }
    }

    #[test]
    fn auto_reports_why_it_chose_its_driver() {
        let site = site();
        let server = Server::start(&mut with(&[site.path().to_str().unwrap()]));
        let says =
            if uring_works() { "driver: uring (io_uring passed" } else { "driver: epoll (io_" };
        assert!(server.line.contains(says), "{}", server.line);
        assert_serves(&server);
    }

    #[test]
    fn several_addresses_at_once() {
        let site = site();
        let mut listen = vec!["127.0.0.1:0", "127.0.0.2:0"];
        match TcpListener::bind("[::1]:0") {
            Ok(_) => listen.push("[::1]:0"),
            Err(error) => println!("[::1] is not available: {error}"),
        }
        for driver in drivers() {
            let mut command = ringd();
            command.arg(site.path()).args(["--driver", driver]);
            for address in &listen {
                command.args(["--listen", address]);
            }
            let server = Server::start(&mut command);
            let hosts = server.addresses().iter().map(SocketAddr::ip).collect::<Vec<_>>();
            let expected = listen.iter().map(|address| address.parse::<SocketAddr>().unwrap().ip());
            assert_eq!(hosts, expected.collect::<Vec<_>>(), "{}", server.line);
            assert_serves(&server);
        }
    }

    #[test]
    fn a_little_with_128_descriptors() {
        let site = site();
        let root = site.path().to_str().unwrap();
        for name in 0..100 {
            std::fs::write(site.path().join(name.to_string()), vec![b'x'; 20_000]).unwrap();
        }
        for driver in drivers() {
            let jail = Jail { nofile: Some(128), ..Jail::default() };
            let mut command = with(&[root, "--workers", "1", "--driver", driver]);
            let server = Server::start(jail.hold(&mut command));
            // More files than descriptors: the cache has to close some.
            for name in 0..100 {
                let (head, body) = get(server.address(), &format!("/{name}"));
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{driver}, file {name}: {head}");
                assert_eq!(body.len(), 20_000);
            }
        }
    }
}
