//! The passwords that are being checked, and those that are remembered.
//!
//! A check takes tens of milliseconds, so it runs on the thread for jobs, two at a time at most:
//! one runs, and the next is ready. Others wait in line. Requests with the same name and password
//! share a check. A password that was right is remembered for a while, as a keyed hash from which
//! neither the name nor the password can be found out. One that was wrong is not remembered, but
//! costs the client: see [`FAILURES`].
//!
//! The hash covers the field as it was sent, and which file has the users. So a request whose
//! password is remembered costs one short hash, and a file that changes is asked anew.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::clients::ClientKey;
use crate::driver::Job;
use crate::http::semantics::basic::Credentials;
use crate::limits::{ClientLimits, Rate, RateLimit, Scope, TooMany};
use crate::passwords::{PasswordHash, Users};
use crate::service::{SessionId, Waiter};

/// How many checks are with the thread for jobs. Fewer than its queue holds, which listings use
/// too.
pub(in crate::http::site) const CHECKS_RUNNING_MAX: usize = 2;

/// How many more wait. Another one gets 503.
const WAITING_MAX: usize = 16;

/// How long a password that was right is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

/// How many are remembered.
const REMEMBERED_MAX: usize = 256;

/// The longest password that is compared, in bytes. A longer one is wrong.
const PASSWORD_BYTES_MAX: usize = 1024;

/// How many wrong passwords a client may send: ten, and then one every six seconds.
static FAILURES: LazyLock<RateLimit> = LazyLock::new(|| {
    let rate: Rate = "10/min".parse().expect("it is a rate");
    RateLimit::new(rate, 10).expect("the bucket fills in a minute")
});

/// What stands for a name and a password, as they were sent, and the file that has the users.
type Tag = u128;

/// Identifies a check for a session that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordTicket(u64);

/// What was found out about a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordCheck {
    /// The file may have changed since.
    tag: Tag,
    result: CheckResult,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CheckResult {
    Right,
    Wrong,
    /// It could not be checked.
    Failed,
}

/// What is known of the password of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PasswordState {
    Right,
    Wrong,
    /// Too many are being checked.
    Busy,
    /// The client has sent too many that were wrong.
    TooMany(TooMany),
    /// It is being checked.
    Wait(PasswordTicket),
    /// It would have to be checked, and the request has no turn for that.
    NoTurn,
}

/// A request with a name and a password.
pub(super) struct PasswordQuestion<'a> {
    /// Which [`Credentials`] are read from.
    pub(super) value: &'a [u8],
    pub(super) credentials: &'a Credentials,
    pub(super) users: &'a Users,
    /// What a check for this request has found out.
    pub(super) known: Option<PasswordCheck>,
    /// The session that is told; `None` if no check may begin.
    pub(super) waiter: Option<Waiter>,
    pub(super) limits: &'a ClientLimits,
    pub(super) now: Instant,
}

/// The checks of a worker; see the module documentation.
pub(in crate::http::site) struct PasswordChecks {
    /// Has a secret key, and has been given nothing.
    hasher: SipHasher24,
    /// When each is forgotten. Tags are keyed hashes already.
    remembered: HashMap<Tag, Instant, foldhash::fast::RandomState>,
    /// The oldest first.
    checks: Vec<Check>,
    next: u64,
    scope: Scope,
}

/// The tags and passwords are left out.
impl std::fmt::Debug for PasswordChecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordChecks({} of {})", self.checks.len(), self.remembered.len())
    }
}

struct Check {
    ticket: PasswordTicket,
    tag: Tag,
    client: ClientKey,
    /// Whether the user exists, and the password may be right. If not, the hash is compared for
    /// the time that it takes.
    is_user: bool,
    hash: Arc<PasswordHash>,
    /// `None` when it is with the thread.
    password: Option<Vec<u8>>,
    /// When it was paid for.
    asked: Instant,
    /// The number of its question when it is with the thread.
    slot: Option<usize>,
    waiters: Vec<Waiter>,
}

impl Default for PasswordChecks {
    fn default() -> Self {
        let mut key = [0; 16];
        if getrandom::fill(&mut key).is_err() {
            // The keys of the standard library are random too.
            for part in key.chunks_mut(8) {
                part.copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
            }
        }
        let (remembered, checks) = (HashMap::default(), Vec::new());
        let hasher = SipHasher24::new_with_key(&key);
        Self { hasher, remembered, checks, next: 0, scope: Scope::named("passwords") }
    }
}

impl PasswordChecks {
    fn tag(&self, users: &Users, value: &[u8]) -> Tag {
        let mut hasher = self.hasher;
        // It has a fixed length, so no two inputs are written in the same way.
        hasher.write(&users.id().to_ne_bytes());
        hasher.write(value);
        hasher.finish128().as_u128()
    }

    /// Whether the value of the field `Authorization` has a password that was right a while ago.
    #[inline]
    pub(super) fn remembers(&self, users: &Users, value: &[u8], now: Instant) -> bool {
        self.is_remembered(self.tag(users, value), now)
    }

    fn is_remembered(&self, tag: Tag, now: Instant) -> bool {
        self.remembered.get(&tag).is_some_and(|until| now < *until)
    }

    /// What is known of a password. `client` is called when that matters.
    pub(super) fn ask(
        &mut self,
        question: &PasswordQuestion<'_>,
        client: impl FnOnce() -> ClientKey,
    ) -> PasswordState {
        let PasswordQuestion { value, credentials, users, known, waiter, limits, now } = question;
        let tag = self.tag(users, value);
        if self.is_remembered(tag, *now) {
            return PasswordState::Right;
        }
        if let Some(known) = known.filter(|known| known.tag == tag) {
            return match known.result {
                CheckResult::Right => PasswordState::Right,
                CheckResult::Wrong => PasswordState::Wrong,
                CheckResult::Failed => PasswordState::Busy,
            };
        }
        let Some(waiter) = *waiter else { return PasswordState::NoTurn };
        if let Some(check) = self.checks.iter_mut().find(|check| check.tag == tag) {
            check.waiters.push(waiter);
            return PasswordState::Wait(check.ticket);
        }
        let client = client();
        if let Err(too_many) = limits.failures.take(self.scope, client, *FAILURES, *now) {
            return PasswordState::TooMany(too_many);
        }
        if self.checks.len() >= CHECKS_RUNNING_MAX + WAITING_MAX {
            limits.failures.put_back(self.scope, client, *FAILURES, *now);
            return PasswordState::Busy;
        }
        let ticket = PasswordTicket(self.next);
        self.next += 1;
        let found = users.get(credentials.user());
        let (is_user, hash) = (found.is_some(), found.unwrap_or_else(|| users.dummy()));
        let password = credentials.password();
        let is_short = password.len() <= PASSWORD_BYTES_MAX;
        self.checks.push(Check {
            ticket,
            tag,
            client,
            is_user: is_user && is_short,
            hash: Arc::clone(hash),
            password: Some(password[..password.len().min(PASSWORD_BYTES_MAX)].to_vec()),
            asked: *now,
            slot: None,
            waiters: vec![waiter],
        });
        PasswordState::Wait(ticket)
    }

    /// The next check for the thread, if it may have one: the number of its question, and its job.
    pub(in crate::http::site) fn next(&mut self) -> Option<(usize, Job)> {
        let used = |slot: &usize| self.checks.iter().any(|check| check.slot == Some(*slot));
        let slot = (0..CHECKS_RUNNING_MAX).find(|slot| !used(slot))?;
        let check = self.checks.iter_mut().find(|check| check.password.is_some())?;
        let (password, hash) = (check.password.take()?, Arc::clone(&check.hash));
        check.slot = Some(slot);
        Some((slot, Job::new(move || Ok(vec![u8::from(hash.fits(&password))]))))
    }

    /// The job with this question has ended: whether the hash fits; `None` if it was not compared.
    /// Returns the result, and the sessions that wait for it.
    pub(in crate::http::site) fn ended(
        &mut self,
        slot: usize,
        fits: Option<bool>,
        limits: &ClientLimits,
        now: Instant,
    ) -> (PasswordCheck, Vec<Waiter>) {
        let place = self.checks.iter().position(|check| check.slot == Some(slot));
        let check = self.checks.remove(place.expect("a question has one reply"));
        let result = match fits {
            Some(true) if check.is_user => CheckResult::Right,
            Some(_) => CheckResult::Wrong,
            None => CheckResult::Failed,
        };
        if result != CheckResult::Wrong {
            limits.failures.put_back(self.scope, check.client, *FAILURES, now);
        }
        if result == CheckResult::Right {
            self.remember(check.tag, now);
        }
        (PasswordCheck { tag: check.tag, result }, check.waiters)
    }

    fn remember(&mut self, tag: Tag, now: Instant) {
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.retain(|_, until| now < *until);
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            let oldest = self.remembered.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(tag, _)| *tag) {
                self.remembered.remove(&oldest);
            }
        }
        self.remembered.insert(tag, now + REMEMBERED_FOR);
    }

    /// A session does not wait any more. A check that nobody waits for is dropped, unless it is
    /// with the thread.
    pub(in crate::http::site) fn leave(
        &mut self,
        ticket: PasswordTicket,
        session: SessionId,
        limits: &ClientLimits,
    ) {
        let Some(place) = self.checks.iter().position(|check| check.ticket == ticket) else {
            return;
        };
        let check = &mut self.checks[place];
        check.waiters.retain(|waiter| waiter.session != session);
        if check.waiters.is_empty() && check.slot.is_none() {
            limits.failures.put_back(self.scope, check.client, *FAILURES, check.asked);
            self.checks.remove(place);
        }
    }
}

impl PasswordCheck {
    /// Whether the password was wrong.
    pub(in crate::http::site) fn is_wrong(self) -> bool {
        self.result == CheckResult::Wrong
    }
}

#[cfg(test)]
mod tests;
