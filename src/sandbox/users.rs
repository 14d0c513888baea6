//! The user and the group that a server becomes.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` by this module: the C library would load
//! modules for other sources, which a static program cannot. Accounts of other sources have
//! numbers.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{
    Gid, Uid, getgroups, getresgid, getresuid, setegid, seteuid, setgroups, setresgid, setresuid,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The most bytes of such a file that are read: some hundred thousand accounts.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Whom a server becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    user: u32,
    group: u32,
    /// The user as it was named, for messages.
    name: String,
}

/// Why a server cannot become somebody: the cause and the remedy.
#[derive(Debug)]
pub enum IdentityError {
    /// There is no such account.
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file that was read.
        file: &'static str,
    },
    /// A file of accounts cannot be read.
    Unreadable(&'static str, io::Error),
    /// The user has no entry, so nothing says what its group is.
    NoGroup(String),
    /// A group is named, but no user.
    NoUser,
    /// The user is root, who keeps all privileges.
    Root(String),
    /// A call has failed.
    Call(&'static str, String, Errno),
    /// The process could become root again.
    Reversible(String),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { kind, name, file } => write!(
                f,
                "--{kind} {name}: {file} has no such {kind}; create it, or give the number \
                 (at most 4294967294) if the account comes from elsewhere, such as LDAP"
            ),
            Self::Unreadable(file, error) => write!(
                f,
                "{file} cannot be read to look up a name: {error}; give --user and --group as \
                 numbers"
            ),
            Self::NoGroup(user) => write!(
                f,
                "--user {user}: {PASSWD} has no such user, so its group is not known; give --group \
                 too"
            ),
            Self::Root(user) => {
                write!(f, "--user {user} is root, who gives nothing up; name another user")
            }
            Self::NoUser => {
                f.write_str("--group without --user would keep the user; give --user too")
            }
            Self::Call(call, name, Errno::EPERM) => write!(
                f,
                "cannot become {name}: {call}: permission denied; only root may become somebody \
                 else: start ringd as root, or leave out --user and --group"
            ),
            Self::Call(call, name, Errno::EINVAL) => write!(
                f,
                "cannot become {name}: {call}: the user namespace of this process has no such \
                 number; map it (user_namespaces(7)), or choose another one"
            ),
            Self::Call(call, name, error) => {
                write!(f, "cannot become {name}: {call}: {}; choose another user", error.desc())
            }
            Self::Reversible(name) => write!(
                f,
                "the process has become {name}, but could become root again, so it ends; look for \
                 settings of its supervisor that keep capabilities (securebits)"
            ),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Looks up a user and a group, each a name or a number. Without a group, it is that of the
    /// user's entry. `None` if neither is given.
    ///
    /// # Errors
    ///
    /// If a name is unknown, a file cannot be read, or the group is not known.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, IdentityError> {
        Self::find_in(user, group, Path::new(PASSWD), Path::new(GROUP))
    }

    fn find_in(
        user: Option<&str>,
        group: Option<&str>,
        passwd: &Path,
        groups: &Path,
    ) -> Result<Option<Self>, IdentityError> {
        let Some(name) = user else {
            return if group.is_some() { Err(IdentityError::NoUser) } else { Ok(None) };
        };
        let group = group.map(|group| group_id(group, groups)).transpose()?;
        let (user, group) = match (number(name), group) {
            (Some(user), Some(group)) => (user, group),
            (number, group) => {
                let text = read(PASSWD, passwd)?;
                let mut entries = text.lines().filter_map(user_entry);
                let is_it = |(its, id, _): &(&str, u32, u32)| {
                    number.map_or(*its == name, |number| *id == number)
                };
                match (entries.find(is_it), number) {
                    (Some((_, user, its_group)), _) => (user, group.unwrap_or(its_group)),
                    (None, Some(_)) => return Err(IdentityError::NoGroup(name.to_owned())),
                    (None, None) => {
                        let (kind, name) = ("user", name.to_owned());
                        return Err(IdentityError::Unknown { kind, name, file: PASSWD });
                    }
                }
            }
        };
        if user == 0 {
            return Err(IdentityError::Root(name.to_owned()));
        }
        Ok(Some(Self { user, group, name: name.to_owned() }))
    }

    /// Makes all threads of the process this user for good: without other groups, without
    /// capabilities, and without a way back.
    ///
    /// # Errors
    ///
    /// If the process may not, or if there is a way back. It must end then.
    pub fn assume(&self) -> Result<(), IdentityError> {
        if self.check().is_err() {
            let failed = |call| move |error| IdentityError::Call(call, self.name.clone(), error);
            let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
            // In this order: whoever is not root any more may not change groups.
            setgroups(&[]).map_err(failed("setgroups(2)"))?;
            setresgid(group, group, group).map_err(failed("setresgid(2)"))?;
            setresuid(user, user, user).map_err(failed("setresuid(2)"))?;
            self.check().map_err(failed("getresuid(2)"))?;
        }
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        // The kernel has taken them away, unless something has told it not to, or a supervisor has
        // started this process as the user and has given it some (`AmbientCapabilities=`).
        let _ = set_capabilities(None, none);
        let kept = capabilities(None).is_ok_and(|sets| !sets.permitted.is_empty());
        let back = seteuid(Uid::from_raw(0)).is_ok()
            || self.group != 0 && setegid(Gid::from_raw(0)).is_ok();
        if kept || back { Err(IdentityError::Reversible(self.name.clone())) } else { Ok(()) }
    }

    /// Whether all numbers of the process are those of this user and group.
    fn check(&self) -> Result<(), Errno> {
        let (users, groups) = (getresuid()?, getresgid()?);
        let users = [users.real, users.effective, users.saved].map(Uid::as_raw);
        let own = [groups.real, groups.effective, groups.saved].map(Gid::as_raw);
        let only = getgroups()?.iter().all(|group| group.as_raw() == self.group);
        let is_it = users == [self.user; 3] && own == [self.group; 3] && only;
        if is_it { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A number that names an account. The greatest one means "leave it" to the kernel.
fn number(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|number| *number != u32::MAX && text.bytes().all(|it| it.is_ascii_digit()))
}

fn group_id(name: &str, path: &Path) -> Result<u32, IdentityError> {
    if let Some(number) = number(name) {
        return Ok(number);
    }
    let text = read(GROUP, path)?;
    let found = text.lines().filter_map(group_entry).find(|(its, _)| *its == name);
    let unknown = || IdentityError::Unknown { kind: "group", name: name.to_owned(), file: GROUP };
    found.map(|(_, id)| id).ok_or_else(unknown)
}

/// The name, the number and the group of a line of `passwd(5)`.
fn user_entry(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let (name, _, user, group) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some((name, number(user)?, number(group)?))
}

/// The name and the number of a line of `group(5)`.
fn group_entry(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let (name, _, group) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, number(group)?))
}

/// The lines of a file of accounts; names may have any bytes.
fn read(name: &'static str, path: &Path) -> Result<String, IdentityError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| IdentityError::Unreadable(name, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n+nis\nbroken:x:one:1\nmax:x:4294967295:1\n\
                         www:x:33:34:,,:/var/www:/usr/sbin/nologin\n1000:x:7:8::/:\n";
    const GROUPS: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:www,root\nempty::\n";

    fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<(u32, u32)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let (passwd, groups) = (folder.path().join("passwd"), folder.path().join("group"));
        std::fs::write(&passwd, USERS).unwrap();
        std::fs::write(&groups, GROUPS).unwrap();
        match Identity::find_in(user, group, &passwd, &groups) {
            Ok(found) => Ok(found.map(|it| (it.user, it.group))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn names_and_numbers_are_found() {
        for (user, group, found) in [
            ("www", None, (33, 34)),
            ("www", Some("logs"), (33, 4)),
            ("www", Some("5"), (33, 5)),
            ("33", None, (33, 34)),
            ("99", Some("98"), (99, 98)),
            // A number is never a name.
            ("1000", Some("1"), (1000, 1)),
        ] {
            assert_eq!(find(Some(user), group), Ok(Some(found)), "{user} {group:?}");
        }
        assert_eq!(find(None, None), Ok(None));
    }

    #[test]
    fn what_is_not_found_is_an_error_with_a_remedy() {
        for (user, group, words) in [
            (Some("nobody"), None, ["--user nobody: /etc/passwd", "create it"]),
            (Some("broken"), None, ["has no such user", "number"]),
            (Some("max"), None, ["has no such user", "number"]),
            (Some("+nis"), None, ["has no such user", "LDAP"]),
            (Some("root"), None, ["root", "name another user"]),
            (Some("0"), Some("www"), ["root", "name another user"]),
            (Some("99"), None, ["its group is not known", "give --group"]),
            (Some("4294967295"), None, ["has no such user", "create it"]),
            (Some("www"), Some("none"), ["--group none: /etc/group", "create it"]),
            (Some("www"), Some("empty"), ["has no such group", "create it"]),
            (None, Some("www"), ["without --user", "give --user"]),
        ] {
            let error = find(user, group).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{user:?} {group:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let missing = Path::new("/no/such/file");
        let error = Identity::find_in(Some("www"), None, missing, missing).unwrap_err().to_string();
        assert!(
            error.contains("/etc/passwd cannot be read") && error.contains("numbers"),
            "{error}"
        );
        // Numbers need no file.
        assert!(Identity::find_in(Some("1"), Some("2"), missing, missing).is_ok());
    }
}
