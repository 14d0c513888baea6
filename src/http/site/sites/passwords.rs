//! The questions of checks of passwords, and what their results mean to sessions.

use super::super::access::PasswordTicket;
use super::numbers::ask_password;
use super::{Resolved, Sites};
use crate::ask::{Ask, Reply};
use crate::driver::Now;
use crate::service::{SessionId, Task};

impl Sites {
    /// Begins as many checks as may run.
    pub(in crate::http::site) fn begin_checks(&mut self) {
        while let Some((slot, job)) = self.passwords.as_mut().and_then(|checks| checks.next()) {
            self.tasks.push_back(Task::Ask(ask_password(slot), Ask::Run { job }));
        }
    }

    /// Takes the result of a check, and tells it to the sessions that wait.
    pub(super) fn password_checked(&mut self, now: Now, slot: usize, reply: Reply) {
        let Reply::Ran(ran) = reply else { unreachable!("a check is a job, but: {reply:?}") };
        let fits = ran.ok().and_then(|result| result.first().copied()).map(|it| it == 1);
        let checks = self.passwords.as_mut().expect("a check has begun");
        let (check, waiters) = checks.ended(slot, fits, &self.settings.client_limits, now.instant);
        match (fits.is_some(), check.is_wrong()) {
            (true, true) => self.count_limit(|counts| &counts.passwords_wrong),
            (true, false) => self.count_limit(|counts| &counts.passwords_right),
            (false, _) => {}
        }
        let answer = |waiter| Task::Answer(waiter, Resolved::Checked(check));
        self.tasks.extend(waiters.into_iter().map(answer));
        self.begin_checks();
    }

    /// A session does not wait for a check any more.
    pub(super) fn leave_check(&mut self, ticket: PasswordTicket, session: SessionId) {
        let limits = &self.settings.client_limits;
        if let Some(checks) = &mut self.passwords {
            checks.leave(ticket, session, limits);
        }
    }
}
