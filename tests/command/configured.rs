//! A server with a configuration file, and what an operator does with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{End, PAGE, Server, end_of, get, in_sandbox, open_to_all, ringd};

/// A server on a free port, with an administration and one site, `html`.
pub(crate) const BASE: &str = "\
[server]
listen = [\"127.0.0.1:0\"]
workers = 2
[admin]
listen = \"unix:admin.sock\"
[[site]]
hosts = [\"a.example\"]
default = true
root = \"html\"
";

/// The page of the site `other`.
pub(crate) const OTHER: &[u8] = b"another page\n";

/// A directory with `ringd.toml`, and the sites `html` with [`PAGE`] and `other` with [`OTHER`].
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        open_to_all(folder.0.path());
        for (site, page) in [("html", PAGE), ("other", OTHER)] {
            fs::create_dir(folder.path(site)).unwrap();
            fs::write(folder.path(site).join("index.html"), page).unwrap();
        }
        folder.write(text);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces the configuration file. A reload never sees half of it.
    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path("next.toml"), text).unwrap();
        fs::rename(self.path("next.toml"), self.path("ringd.toml")).unwrap();
    }

    /// The command that serves.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare_command();
        in_sandbox(&mut command);
        command
    }

    /// The same for a test that decides itself about a sandbox.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = ringd();
        command.arg("-c").arg(self.path("ringd.toml"));
        command
    }

    /// Runs `ringd reload`.
    pub(crate) fn reload(&self) -> End {
        end_of(ringd().args(["reload", "-c"]).arg(self.path("ringd.toml")))
    }

    /// Runs `ringd reload`, which must succeed and say all of `words`.
    #[track_caller]
    pub(crate) fn assert_reloads(&self, words: &[&str]) {
        let end = self.reload();
        assert_eq!((end.code, end.errors.as_str()), (Some(0), ""), "{end:?}");
        assert!(end.output.starts_with("ringd: reloaded "), "{end:?}");
        for word in words {
            assert!(end.output.contains(word), "no {word:?} in: {}", end.output);
        }
    }

    /// Runs `ringd reload`, which must be refused for a reason with all of `words`.
    #[track_caller]
    pub(crate) fn assert_refuses(&self, words: &[&str]) {
        let end = self.reload();
        assert_eq!((end.code, end.output.as_str()), (Some(1), ""), "{words:?}: {end:?}");
        end.assert_names(words);
    }
}

/// Sends SIGHUP, and waits for a line with all of `words`.
#[track_caller]
pub(crate) fn assert_hangup_says(server: &Server, words: &[&str]) {
    server.signal(libc::SIGHUP);
    let mut text = String::new();
    while !words.iter().all(|word| text.contains(word)) {
        text += &server.error_line();
        text.push('\n');
        assert!(text.lines().count() < 100, "no {words:?} in:\n{text}");
    }
}

/// Asserts that a server returns this page at all of its addresses.
#[track_caller]
pub(crate) fn assert_serves_page(server: &Server, page: &[u8]) {
    for address in server.addresses() {
        let (head, body) = get(address, "/");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(page));
    }
}
