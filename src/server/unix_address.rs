//! The address of a Unix socket (`unix(7)`), and who may connect to it.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::SockAddr;

use super::listen_spec_error::ListenSpecError;

/// The longest path or abstract name, in bytes: `sun_path` has 108, and a path ends with a zero.
pub(super) const UNIX_NAME_MAX: usize = 107;

/// The address of a Unix socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum UnixAddress {
    /// A file, by its absolute path.
    Path(PathBuf),
    /// A name that is no file. Any process of the same network namespace may connect.
    Abstract(String),
}

impl UnixAddress {
    /// The address of a socket; `None` if it has no name, or is not a Unix socket.
    pub(super) fn of(address: &SockAddr) -> Option<Self> {
        match address.as_pathname() {
            Some(path) => Some(Self::Path(path.to_owned())),
            None => {
                let name = String::from_utf8_lossy(address.as_abstract_namespace()?).into_owned();
                Some(Self::Abstract(name))
            }
        }
    }

    /// Checks what `unix(7)` demands of the path or name.
    ///
    /// # Errors
    ///
    /// If it is empty or too long, has a zero byte, or if a path is relative or names no file.
    pub fn check(&self) -> Result<(), ListenSpecError> {
        let (what, bytes) = match self {
            Self::Path(path) => ("path", path.as_os_str().as_bytes()),
            Self::Abstract(name) => ("name", name.as_bytes()),
        };
        let fail = |reason: String| Err(ListenSpecError::unix(reason));
        if bytes.is_empty() {
            return fail(format!(
                "the {what} of the Unix socket is missing, as in unix:/run/site.sock or unix:@site"
            ));
        }
        if bytes.contains(&0) {
            return fail(format!("the {what} of a Unix socket has no zero byte"));
        }
        if bytes.len() > UNIX_NAME_MAX {
            return fail(format!(
                "the {what} has {} bytes, and that of a Unix socket has at most {UNIX_NAME_MAX} \
                 (unix(7)); use a shorter one",
                bytes.len()
            ));
        }
        match self {
            Self::Path(path) if path.is_relative() => fail(format!(
                "the path of a Unix socket is absolute, as in unix:/run/{}",
                path.display()
            )),
            Self::Path(path) if bytes.ends_with(b"/") || path.file_name().is_none() => {
                fail(format!("{} is a directory; add the name of the socket", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The path; `None` for an abstract name.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) => None,
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

impl FromStr for UnixAddress {
    type Err = ListenSpecError;

    /// Parses `unix:/path` or `unix:@name`.
    fn from_str(text: &str) -> Result<Self, ListenSpecError> {
        let rest = text.strip_prefix("unix:").unwrap_or(text);
        if let Some(path) = rest.strip_prefix("//") {
            let path = path.trim_start_matches('/');
            let reason = format!("a Unix socket is not a URL; write `unix:/{path}`");
            return Err(ListenSpecError::unix(reason));
        }
        let address = match rest.strip_prefix('@') {
            Some(name) => Self::Abstract(name.to_owned()),
            None => Self::Path(rest.into()),
        };
        address.check().map(|()| address)
    }
}

/// Who may connect to a Unix socket with a path: connecting needs the right to write to the file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UnixOptions {
    /// The mode of the file, whatever the umask is. The default, `0o660`, lets its owner and its
    /// group connect.
    pub mode: u32,
    /// The owner; `None` for the user of the process.
    pub owner: Option<Account>,
    /// The group; `None` for the group of the process, or that of a directory with the bit for it
    /// (`inode(7)`, `S_ISGID`).
    pub group: Option<Account>,
}

impl Default for UnixOptions {
    fn default() -> Self {
        Self { mode: 0o660, owner: None, group: None }
    }
}

/// A user or a group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Account {
    /// By its number.
    Id(u32),
    /// By its name, which is looked up when the socket is made.
    Name(String),
}

impl From<&str> for Account {
    /// A text of digits is a number, as for `chown(1)`.
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(id) if !text.starts_with('+') => Self::Id(id),
            _ => Self::Name(text.to_owned()),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_107_bytes() {
        let name = |count: usize| format!("unix:/{}", "x".repeat(count - 1));
        assert!(name(UNIX_NAME_MAX).parse::<UnixAddress>().is_ok());
        let error = name(UNIX_NAME_MAX + 1).parse::<UnixAddress>().unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("at most 107"), "{error}");
        let longest = format!("unix:@{}", "x".repeat(UNIX_NAME_MAX));
        assert!(longest.parse::<UnixAddress>().is_ok());
        assert!(format!("{longest}x").parse::<UnixAddress>().is_err());
    }

    #[test]
    fn a_socket_needs_a_name() {
        for text in ["unix:", "unix:@", "unix:/", "unix:/run/", "unix:/run/..", "unix:/a\0b"] {
            assert!(text.parse::<UnixAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn digits_are_the_number_of_an_account() {
        assert_eq!(Account::from("33"), Account::Id(33));
        for name in ["www-data", "+3", "4294967296"] {
            assert_eq!(Account::from(name), Account::Name(name.to_owned()));
        }
    }
}
