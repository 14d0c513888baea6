//! Hashes of passwords: bcrypt, and Argon2id (RFC 9106).

use std::fmt;
use std::io;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// The parameters of new hashes: memory in KiB, passes, lanes. OWASP's password storage cheat
/// sheet recommends them for Argon2id.
const NEW: (u32, u32, u32) = (19 * 1024, 2, 1);

/// The most that a hash of a file may take: memory in KiB, passes, lanes. The memory is what one
/// guess of a stranger costs each worker.
const ARGON2_MAX: (u32, u32, u32) = (256 * 1024, 32, 16);

/// The most rounds of bcrypt, as a power of two: about four seconds.
const BCRYPT_COST_MAX: u32 = 16;

/// Bytes of the salt of a new hash (RFC 9106 section 3.1).
const SALT_BYTES: usize = 16;

/// How long a round of bcrypt takes, in passes of Argon2id over a KiB: about 60 µs and 0.8 µs.
const BCRYPT_ROUND: u64 = 80;

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

/// Why a text is not the hash of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashError {
    /// It is a hash of another kind, with this name, or the password itself.
    Unsupported(&'static str),
    /// It begins as a hash, and is malformed.
    Malformed,
    /// It would take more time or memory than a server can give away.
    TooCostly,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(kind) => {
                write!(f, "is {kind}; only bcrypt ($2b$, $2y$) and Argon2id are safe enough")
            }
            Self::Malformed => f.write_str("is a malformed hash"),
            Self::TooCostly => f.write_str(
                "takes too much time or memory; at most 256 MiB, 32 passes and 16 lanes, or 16 as \
                 the cost of bcrypt, are allowed",
            ),
        }
    }
}

impl std::error::Error for HashError {}

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
                (Scheme::Bcrypt, cost_of_bcrypt(text)?)
            }
            _ if text.starts_with("$argon2id$") => (Scheme::Argon2id, cost_of_argon2(text)?),
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
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
        let (memory, passes, lanes) = NEW;
        let failed = |error: &dyn fmt::Display| io::Error::other(error.to_string());
        let params = Params::new(memory, passes, lanes, None).map_err(|error| failed(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password_with_salt(password, &salt);
        let text = hash.map_err(|error| failed(&error))?.to_string();
        let cost = u64::from(memory) * u64::from(passes);
        Ok(Self { text: text.into(), scheme: Scheme::Argon2id, cost })
    }

    /// Whether a password fits. It takes as long as the hash says.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        match self.scheme {
            Scheme::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Scheme::Argon2id => match phc::PasswordHash::new(&self.text) {
                Ok(hash) => Argon2::default().verify_password(password, &hash).is_ok(),
                Err(_) => false,
            },
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

fn cost_of_bcrypt(text: &str) -> Result<u64, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed)?;
    match parts.get_cost() {
        cost @ 4..=BCRYPT_COST_MAX => Ok(BCRYPT_ROUND << cost),
        0..4 => Err(HashError::Malformed),
        _ => Err(HashError::TooCostly),
    }
}

fn cost_of_argon2(text: &str) -> Result<u64, HashError> {
    let hash = phc::PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() || hash.version.is_some_and(|it| it != 19) {
        return Err(HashError::Malformed);
    }
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    let (memory, passes, lanes) = ARGON2_MAX;
    let fits = params.m_cost() <= memory && params.t_cost() <= passes && params.p_cost() <= lanes;
    // Lanes share the memory, and are filled one after the other.
    let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if fits { Ok(cost) } else { Err(HashError::TooCostly) }
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
