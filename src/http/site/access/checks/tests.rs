//! Tests of the checks of passwords, with jobs that the tests run, and simulated time.

use super::*;
use crate::ask::AskId;

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// Checks of a worker, and what sessions are told.
struct Rig {
    checks: PasswordChecks,
    users: Users,
    limits: ClientLimits,
    now: Instant,
    sessions: u32,
}

impl Rig {
    fn new() -> Self {
        let users = format!("anna:{}\nbert:{}\n", hash("one"), hash("two"));
        Self {
            checks: PasswordChecks::default(),
            users: Users::parse(&users).unwrap(),
            limits: ClientLimits::default(),
            now: Instant::now(),
            sessions: 0,
        }
    }

    fn ask_from(
        &mut self,
        client: u8,
        text: &str,
        known: Option<PasswordCheck>,
        may_wait: bool,
    ) -> PasswordState {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        let value = format!("Basic {encoded}");
        let credentials = Credentials::parse(value.as_bytes()).unwrap();
        self.sessions += 1;
        let session = SessionId::detached(self.sessions);
        let waiter = may_wait.then_some(Waiter { session, id: AskId(self.sessions) });
        let question = PasswordQuestion {
            value: value.as_bytes(),
            credentials: &credentials,
            users: &self.users,
            known,
            waiter,
            limits: &self.limits,
            now: self.now,
        };
        self.checks.ask(&question, || ClientKey::V4([10, 0, 0, client]))
    }

    fn ask(&mut self, text: &str) -> PasswordState {
        self.ask_from(1, text, None, true)
    }

    /// Runs the next job. Returns what the sessions are told, and how many are.
    fn run(&mut self) -> (PasswordCheck, usize) {
        let (slot, job) = self.checks.next().expect("a check may run");
        let fits = job.perform().unwrap() == [1];
        let (check, waiters) = self.checks.ended(slot, Some(fits), &self.limits, self.now);
        (check, waiters.len())
    }
}

fn waits(state: PasswordState) -> PasswordTicket {
    match state {
        PasswordState::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_that_was_right_is_remembered_for_five_minutes() {
    let mut rig = Rig::new();
    waits(rig.ask("anna:one"));
    let (check, told) = rig.run();
    assert!(!check.is_wrong() && told == 1);
    for _ in 0..100 {
        assert_eq!(rig.ask("anna:one"), PasswordState::Right);
    }
    waits(rig.ask("anna:on"));
    assert!(rig.run().0.is_wrong());
    waits(rig.ask("bert:one"));
    assert!(rig.run().0.is_wrong(), "it is the password of another user");
    rig.now += REMEMBERED_FOR - Duration::from_millis(1);
    assert_eq!(rig.ask("anna:one"), PasswordState::Right);
    rig.now += Duration::from_millis(1);
    waits(rig.ask("anna:one"));
}

/// The request that has waited is decided again, and then the result is known.
#[test]
fn the_result_of_a_check_counts_for_its_password_only() {
    let mut rig = Rig::new();
    waits(rig.ask("anna:wrong"));
    let (check, _) = rig.run();
    assert_eq!(rig.ask_from(1, "anna:wrong", Some(check), true), PasswordState::Wrong);
    waits(rig.ask_from(1, "anna:other", Some(check), true));
    waits(rig.ask("bert:two"));
    rig.run();
    let (check, _) = rig.run();
    assert!(!check.is_wrong());
    // A reload has changed the password meanwhile: neither the result nor the memory counts.
    rig.users = Users::parse(&format!("bert:{}\n", hash("three"))).unwrap();
    waits(rig.ask_from(1, "bert:two", Some(check), true));
    rig.users = Users::parse(&format!("carl:{}\n", hash("two"))).unwrap();
    waits(rig.ask_from(1, "bert:two", Some(check), true));
    // Also if what is compared for a user who is gone is the hash that the user had.
    let text = hash("one");
    rig.users = Users::parse(&format!("anna:{text}\n")).unwrap();
    let before = waits(rig.ask("anna:one"));
    rig.users = Users::parse(&format!("bert:{text}\n")).unwrap();
    assert_ne!(waits(rig.ask("anna:one")), before);
}

#[test]
fn a_user_who_does_not_exist_costs_a_hash_and_is_refused() {
    let mut rig = Rig::new();
    // The hash that is compared is that of anna.
    for text in ["carl:one", "carl:", ":one", "Anna:one"] {
        waits(rig.ask(text));
        assert!(rig.run().0.is_wrong(), "{text}");
    }
    let long = format!("anna:{}", "x".repeat(PASSWORD_BYTES_MAX + 1));
    waits(rig.ask(&long));
    assert!(rig.run().0.is_wrong());
}

#[test]
fn requests_with_the_same_password_share_a_check() {
    let mut rig = Rig::new();
    let ticket = waits(rig.ask("anna:one"));
    assert_eq!(waits(rig.ask("anna:one")), ticket);
    assert_ne!(waits(rig.ask("bert:two")), ticket);
    assert_eq!(rig.run().1, 2);
    assert_eq!(rig.run().1, 1);
    assert!(rig.checks.next().is_none());
}

#[test]
fn ten_failures_a_minute_are_all_that_a_client_has() {
    let mut rig = Rig::new();
    for number in 0..10 {
        waits(rig.ask(&format!("anna:{number}")));
        assert!(rig.run().0.is_wrong());
    }
    assert!(matches!(rig.ask("anna:11"), PasswordState::TooMany(wait) if wait.seconds() == 6));
    assert!(matches!(rig.ask("anna:one"), PasswordState::TooMany(_)), "also the right one");
    waits(rig.ask_from(2, "anna:one", None, true));
    rig.run();
    assert_eq!(rig.ask("anna:one"), PasswordState::Right, "what is remembered costs nothing");
    rig.now += Duration::from_secs(6);
    waits(rig.ask("anna:12"));
    rig.run();
    assert!(matches!(rig.ask("anna:13"), PasswordState::TooMany(_)));
}

/// Successes cost nothing, however many there are, and neither does what was not compared.
#[test]
fn only_failures_cost() {
    let mut rig = Rig::new();
    for _ in 0..30 {
        waits(rig.ask("anna:one"));
        rig.run();
        rig.now += REMEMBERED_FOR;
        waits(rig.ask("bert:two"));
        let (slot, _) = rig.checks.next().unwrap();
        let (check, _) = rig.checks.ended(slot, None, &rig.limits, rig.now);
        assert_eq!(rig.ask_from(1, "bert:two", Some(check), true), PasswordState::Busy);
        let ticket = waits(rig.ask("bert:2"));
        let session = SessionId::detached(rig.sessions);
        rig.checks.leave(ticket, session, &rig.limits);
    }
    assert!(rig.checks.checks.is_empty());
}

#[test]
fn the_line_is_bounded() {
    let mut rig = Rig::new();
    for number in 0..(CHECKS_RUNNING_MAX + WAITING_MAX) as u8 {
        waits(rig.ask_from(number, &format!("anna:{number}"), None, true));
    }
    assert_eq!(rig.ask_from(99, "anna:one", None, true), PasswordState::Busy);
    let running: Vec<_> = std::iter::from_fn(|| rig.checks.next()).collect();
    assert_eq!(running.len(), CHECKS_RUNNING_MAX);
    assert_eq!(rig.ask_from(99, "anna:one", None, true), PasswordState::Busy);
    assert_eq!(rig.ask_from(99, "anna:one", None, false), PasswordState::NoTurn);
    let (slot, _) = running[0];
    rig.checks.ended(slot, Some(false), &rig.limits, rig.now);
    waits(rig.ask_from(99, "anna:one", None, true));
    assert_eq!(rig.checks.next().map(|(next, _)| next), Some(slot));
}

/// A check that has begun goes on, since its result is of use; one that waits does not.
#[test]
fn a_check_that_nobody_waits_for_is_dropped() {
    let mut rig = Rig::new();
    let [first, second] = ["anna:one", "bert:two"].map(|text| {
        let ticket = waits(rig.ask(text));
        (ticket, SessionId::detached(rig.sessions))
    });
    let (slot, _) = rig.checks.next().unwrap();
    rig.checks.leave(first.0, first.1, &rig.limits);
    rig.checks.leave(second.0, SessionId::detached(77), &rig.limits);
    assert_eq!(rig.checks.checks.len(), 2);
    rig.checks.leave(second.0, second.1, &rig.limits);
    assert_eq!(rig.checks.checks.len(), 1);
    let (_, waiters) = rig.checks.ended(slot, Some(true), &rig.limits, rig.now);
    assert!(waiters.is_empty());
    assert_eq!(rig.ask("anna:one"), PasswordState::Right);
}

#[test]
fn the_memory_is_bounded() {
    let mut rig = Rig::new();
    for number in 0..2 * REMEMBERED_MAX as u64 {
        rig.checks.remember(u128::from(number), rig.now + Duration::from_millis(number));
        assert!(rig.checks.remembered.len() <= REMEMBERED_MAX);
    }
    let oldest = rig.checks.remembered.values().min();
    let expected = REMEMBERED_MAX as u64;
    assert_eq!(oldest, Some(&(rig.now + REMEMBERED_FOR + Duration::from_millis(expected))));
}

#[test]
fn a_debug_text_shows_no_password() {
    let mut rig = Rig::new();
    waits(rig.ask("anna:one"));
    assert_eq!(format!("{:?}", rig.checks), "PasswordChecks(1 of 0)");
}
