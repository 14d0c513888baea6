//! The users of a file, in the form of htpasswd: `NAME:HASH` in each line.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::hash::PasswordHash;
use super::hash_error::HashError;

/// How long a file may be, in bytes.
pub const USERS_BYTES_MAX: u64 = 4 << 20;

/// How many users a file may have.
const USERS_MAX: usize = 10_000;

/// How long the name of a user may be, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The users of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Users {
    /// Of the text of the file.
    id: u128,
    hashes: HashMap<Box<[u8]>, Arc<PasswordHash>>,
    /// What is compared for a name that is not in the file: the hash that takes longest. Whether a
    /// name exists that takes as long as this one cannot be told.
    dummy: Arc<PasswordHash>,
}

/// What is wrong with a file of users, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsersError {
    /// The number of the line, from 1; `None` if it is about the file.
    pub line: Option<usize>,
    /// The user of the line, if it names one, and it has to set the password again.
    pub user: Option<String>,
    /// The cause.
    pub reason: String,
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for UsersError {}

/// Checks the name of a user.
///
/// # Errors
///
/// What a name must be.
pub fn check_name(name: &str) -> Result<(), String> {
    let reason = match name {
        "" => "the name of a user is empty",
        _ if name.len() > NAME_BYTES_MAX => "the name of a user has more than 255 bytes",
        // RFC 7617 section 2.
        _ if name.contains(':') => "the name of a user has a colon, which ends it",
        _ if name.chars().any(char::is_control) => "the name of a user has a control character",
        // It would not be a part of the name when the file is read.
        _ if name.starts_with(' ') => "the name of a user begins with a space; leave it out",
        _ if name.starts_with('#') => "the name of a user begins with #, as a comment does",
        _ => return Ok(()),
    };
    Err(reason.to_owned())
}

impl Users {
    /// Reads the text of a file. Blank lines, and lines that begin with `#`, are skipped.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut hashes = HashMap::new();
        let mut lines_of: HashMap<&str, usize> = HashMap::new();
        let mut dummy: Option<Arc<PasswordHash>> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| UsersError { line: Some(number), user: None, reason };
            let Some((name, rest)) = line.split_once(':') else {
                return Err(wrong("it is not of the form NAME:HASH".to_owned()));
            };
            check_name(name).map_err(wrong)?;
            // Some programs append a comment.
            let hash = rest.split(':').next().unwrap_or_default();
            let hash = PasswordHash::parse(hash).map_err(|error| of_hash(number, name, error))?;
            if let Some(first) = lines_of.insert(name, number) {
                let name = name.escape_debug();
                return Err(wrong(format!("line {first} has the user {name} too")));
            }
            if lines_of.len() > USERS_MAX {
                return Err(wrong(format!("a file has at most {USERS_MAX} users")));
            }
            let hash = Arc::new(hash);
            if dummy.as_ref().is_none_or(|dummy| dummy.cost() < hash.cost()) {
                dummy = Some(Arc::clone(&hash));
            }
            hashes.insert(name.as_bytes().into(), hash);
        }
        match dummy {
            Some(dummy) => Ok(Self { id: xxh3_128(text.as_bytes()), hashes, dummy }),
            None => {
                let reason = "it has no users, so nobody would get in".to_owned();
                Err(UsersError { line: None, user: None, reason })
            }
        }
    }

    /// Tells files apart: those with the same text have the same.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// The hash of a user's password; `None` if there is no such user.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<PasswordHash>> {
        self.hashes.get(name)
    }

    /// What is compared for a user that does not exist, so that the answer takes as long as for the
    /// user whose hash takes longest.
    #[must_use]
    pub fn dummy(&self) -> &Arc<PasswordHash> {
        &self.dummy
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none, which does not occur.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

fn of_hash(line: usize, name: &str, error: HashError) -> UsersError {
    let user = name.escape_debug().to_string();
    let reason = format!("the password of {user} {error}");
    UsersError { line: Some(line), user: Some(user), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy";

    #[test]
    fn users_have_a_line_each() {
        let text = format!("# staff\n\nanna:{HASH}\r\n  b\u{f6}rge:{HASH}:comment\n");
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.len(), 2);
        assert!(users.get("b\u{f6}rge".as_bytes()).is_some() && users.get(b"Anna").is_none());
    }

    #[test]
    fn a_missing_user_costs_as_much_as_the_costliest() {
        let costly = HASH.replacen("$04$", "$10$", 1);
        for text in [format!("a:{HASH}\nb:{costly}\n"), format!("a:{costly}\nb:{HASH}\n")] {
            assert_eq!(Users::parse(&text).unwrap().dummy().text(), costly);
        }
    }

    #[test]
    fn a_name_is_the_one_that_is_read_again() {
        for name in ["anna", "anna b", "anna ", "b\u{f6}rge"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
            let users = Users::parse(&format!("{name}:{HASH}\n")).unwrap();
            assert!(users.get(name.as_bytes()).is_some(), "{name:?}");
        }
        for name in [" anna", "", "#anna", "an:na", "\tanna"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (format!("a:{HASH}\nb\n"), "line 2: it is not of the form"),
            (format!("a:{HASH}\n:{HASH}\n"), "line 2: the name of a user is empty"),
            (format!("a:{HASH}\n\na:{HASH}\n"), "line 3: line 1 has the user a too"),
            ("a:b\n".to_owned(), "line 1: the password of a is not hashed"),
            ("a:$apr1$x$y\n".to_owned(), "line 1: the password of a is hashed with MD5"),
            ("a\u{1b}:x\n".to_owned(), "control character"),
            ("# nobody\n".to_owned(), "it has no users"),
        ] {
            let error = Users::parse(&text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("$x$y"), "the hash is not shown");
        }
    }
}
