//! Hashes of passwords.

use std::fmt;
use std::io;

use super::hash_error::HashError;
use super::schemes;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Box<str>,
    scheme: Scheme,
    cost: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Bcrypt,
    Argon2id,
}

/// Nothing of the hash: it must not get into a log.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?})", self.scheme)
    }
}

/// The beginnings of hashes that are refused, and what they are.
const UNSUPPORTED: [(&str, &str); 12] = [
    ("$apr1$", "hashed with MD5 ($apr1$)"),
    ("$1$", "hashed with MD5 ($1$)"),
    ("{SHA}", "hashed with SHA-1 ({SHA})"),
    ("{SSHA}", "hashed with SHA-1 ({SSHA})"),
    ("$5$", "hashed with SHA-256 crypt ($5$)"),
    ("$6$", "hashed with SHA-512 crypt ($6$)"),
    ("$2a$", "hashed with an old form of bcrypt ($2a$)"),
    ("$2x$", "hashed with a broken form of bcrypt ($2x$)"),
    ("$argon2i$", "hashed with Argon2i"),
    ("$argon2d$", "hashed with Argon2d"),
    ("$7$", "hashed with scrypt ($7$)"),
    ("$y$", "hashed with yescrypt ($y$)"),
];

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    ///
    /// When it is none of bcrypt or Argon2id, or takes too long.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let (scheme, cost) = match text {
            _ if text.starts_with("$2b$") || text.starts_with("$2y$") => {
                (Scheme::Bcrypt, schemes::cost_of_bcrypt(text)?)
            }
            _ if text.starts_with("$argon2id$") => {
                (Scheme::Argon2id, schemes::cost_of_argon2(text)?)
            }
            _ => {
                let known = UNSUPPORTED.iter().find(|(start, _)| text.starts_with(start));
                let kind = known.map_or("not hashed, or with crypt(3)", |(_, kind)| kind);
                return Err(HashError::Unsupported(kind));
            }
        };
        Ok(Self { text: text.into(), scheme, cost })
    }

    /// Hashes a password with Argon2id. It takes tens of milliseconds.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes for the salt.
    pub fn make(password: &[u8]) -> io::Result<Self> {
        let (text, cost) = schemes::make(password)?;
        Ok(Self { text: text.into(), scheme: Scheme::Argon2id, cost })
    }

    /// Whether a password fits. It takes as long as the hash says.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        match self.scheme {
            Scheme::Bcrypt => schemes::fits_bcrypt(password, &self.text),
            Scheme::Argon2id => schemes::fits_argon2(password, &self.text),
        }
    }

    /// About how long it takes to compare a password, in an arbitrary unit.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// The hash as a file has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, made by `htpasswd -B` of Apache.
    const BCRYPT: &str = "$2y$04$lC.OOZBMh.JdlQnXZkc3v.DwqbnS1UfYXl8jCmlxMxrBcNRl98sb6";

    #[test]
    fn new_hashes_fit_their_password_only() {
        let hash = PasswordHash::make("gehe\u{fc}m".as_bytes()).unwrap();
        assert!(hash.text().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.text());
        let read = PasswordHash::parse(hash.text()).unwrap();
        assert!(read.fits("gehe\u{fc}m".as_bytes()));
        assert!(!read.fits(b"gehem") && !read.fits(b""));
        let other = PasswordHash::make("gehe\u{fc}m".as_bytes()).unwrap();
        assert_ne!(hash.text(), other.text(), "each has its own salt");
        assert!(!format!("{hash:?}").contains('$'), "a log shows nothing of it");
    }

    #[test]
    fn bcrypt_is_read_in_both_forms() {
        let text = bcrypt::hash(b"secret", 4).unwrap();
        assert!(text.starts_with("$2b$"));
        let other = text.replacen("$2b$", "$2y$", 1);
        for text in [&text, &other] {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.fits(b"secret") && !hash.fits(b"Secret"), "{text}");
        }
        assert!(PasswordHash::parse(BCRYPT).unwrap().fits(b"secret"));
    }

    #[test]
    fn the_cost_tells_which_hash_takes_longer() {
        let argon2 = |memory: u32, passes: u32| {
            let salt_and_hash = "AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
            format!("$argon2id$v=19$m={memory},t={passes},p=1${salt_and_hash}")
        };
        let bcrypt = |cost: &str| BCRYPT.replacen("$04$", &format!("${cost}$"), 1);
        let by_cost = [bcrypt("04"), argon2(1024, 2), argon2(19 * 1024, 2), bcrypt("10")];
        let costs = by_cost.map(|text| PasswordHash::parse(&text).unwrap().cost());
        assert!(costs.is_sorted_by(|one, next| one < next), "{costs:?}");
        assert_eq!(PasswordHash::make(b"secret").unwrap().cost(), costs[2]);
    }

    #[test]
    fn other_hashes_are_refused_by_name() {
        for (text, reason) in [
            ("$apr1$zHdWzbQR$1dTbmzxF9J4Y2Sx4u0kAI/", "MD5"),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "SHA-1"),
            ("$6$rounds=5000$x$y", "SHA-512"),
            ("$2a$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy", "old form"),
            ("$argon2i$v=19$m=16,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "Argon2i"),
            ("secret", "not hashed"),
            ("rqXexS6ZhobKA", "crypt(3)"),
            ("", "not hashed"),
            ("$2y$04$short", "malformed"),
            ("$argon2id$v=19$m=16,t=2,p=1$AAAAAAAAAAA", "malformed"),
            ("$argon2id$v=16$m=16,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "malformed"),
            ("$argon2id$v=19$m=999999,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "256 MiB"),
            ("$2y$17$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy", "cost of bcrypt"),
        ] {
            let error = PasswordHash::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
