//! The first thing that a request passes: the rate of its client, and its password.

use std::rc::Rc;

use super::checks::{PasswordQuestion, PasswordState};
use super::refusal::{AccessRefusal, ExceededLimit};
use super::settings::{AccessSettings, PasswordSettings};
use crate::clients::{Client, ClientKey};
use crate::http::semantics::basic::Credentials;
use crate::http::semantics::fields::Fields;
use crate::http::semantics::request::Method;
use crate::http::semantics::status::Status;
use crate::http::site::answer::{
    Exchange, PendingLookup, Purpose, RENEWED, ResponseResult, Undecided,
};
use crate::http::site::cache_key::ResourceName;
use crate::http::site::redirect::is_challenge;
use crate::http::site::resource::Resource;
use crate::http::site::response::Response;
use crate::http::site::sites::Resolved;
use crate::http::site::wait_ticket::WaitTicket;
use crate::limits::{Scope, TooMany};

const TOO_MANY: &str = "There were too many requests from this address. Wait a moment.";
const TOO_MANY_FAILURES: &str = "There were too many wrong passwords from this address. Wait a \
                                 moment.";
const NO_PASSWORD: &str = "This address needs a name and a password.";
const BUSY: &str = "Too many passwords are being checked. Try again in a moment.";

impl Exchange<'_, '_> {
    /// The response to a request that may not pass; `None` to one that may.
    #[inline]
    pub(in crate::http::site) fn gate(&mut self) -> Result<Option<Response>, Undecided> {
        match self.site().settings.access.is_some() {
            true => self.pass_gate(),
            false => Ok(None),
        }
    }

    #[inline(never)]
    fn pass_gate(&mut self) -> Result<Option<Response>, Undecided> {
        let settings = Rc::clone(&self.site().settings);
        let Some(access) = settings.access.as_deref() else { return Ok(None) };
        // A request that has waited is decided again. It counts once, and stays refused.
        let exceeded = match self.resolved_names {
            None => self.exceeds_rate(access).map(ExceededLimit::Rate),
            Some(names) => names.refusal().and_then(|refusal| refusal.of(access.scope)),
        };
        if let Some(exceeded) = exceeded {
            return self.refuse_for(access.scope, exceeded).map(Some);
        }
        match &access.passwords {
            // Browsers send no password with a preflight request (Fetch standard, section 4.8).
            Some(passwords) if !self.request.is_preflight => {
                self.check_password(access.scope, passwords)
            }
            _ => Ok(None),
        }
    }

    fn client(&self) -> ClientKey {
        ClientKey::of(Client::of(self.addresses), self.sites.settings.client_limits.prefix)
    }

    fn exceeds_rate(&mut self, access: &AccessSettings) -> Option<TooMany> {
        let limit = access.rate?;
        let table = &self.sites.settings.client_limits.requests;
        let taken = table.take(access.scope, self.client(), limit, self.now.instant);
        let too_many = taken.err()?;
        self.sites.count_limit(|counts| &counts.rate);
        Some(too_many)
    }

    /// The response to a request without a password: to a certificate authority, which has none,
    /// the token that it asks for; to all others that they need one. What rules, or a page of
    /// `--spa`, would make of the name of a token is not for everybody.
    fn without_password(&mut self, passwords: &PasswordSettings) -> ResponseResult {
        let target = self.request.target;
        if !is_challenge(target) || !matches!(self.request.method, Method::Get | Method::Head) {
            return self.challenge(passwords);
        }
        // A path of a root has no slash in front.
        let path = target.strip_prefix(b"/").unwrap_or(target);
        let name = ResourceName::Target { path, directory: false };
        match self.find(Purpose::Target, &name)? {
            Resolved::Resource(resource) => match &*resource {
                Resource::Page(page) if page.is_at(path) => self.page(page, Fields::new()),
                _ => self.challenge(passwords),
            },
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        }
    }

    fn check_password(
        &mut self,
        scope: Scope,
        passwords: &PasswordSettings,
    ) -> Result<Option<Response>, Undecided> {
        let value = self.request.authorization.single();
        let checks = self.sites.passwords.get_or_insert_default();
        if value.is_some_and(|value| checks.remembers(&passwords.users, value, self.now.instant)) {
            self.is_authenticated = true;
            return Ok(None);
        }
        let Some((value, credentials)) = value.zip(value.and_then(Credentials::parse)) else {
            return self.without_password(passwords).map(Some);
        };
        let site = self.site().id;
        let known = self.resolved_names.and_then(|names| names.password(site));
        let limits = std::sync::Arc::clone(&self.sites.settings.client_limits);
        let question = PasswordQuestion {
            value,
            credentials: &credentials,
            users: &passwords.users,
            known,
            waiter: self.waiter,
            limits: &limits,
            now: self.now.instant,
        };
        let (addresses, prefix) = (self.addresses, limits.prefix);
        let client = || ClientKey::of(Client::of(addresses), prefix);
        match self.sites.passwords.get_or_insert_default().ask(&question, client) {
            PasswordState::Right => {
                self.is_authenticated = true;
                Ok(None)
            }
            PasswordState::Wrong => self.challenge(passwords).map(Some),
            PasswordState::Busy => {
                self.sites.count_limit(|counts| &counts.password_busy);
                self.refuse_for(scope, ExceededLimit::PasswordChecks).map(Some)
            }
            PasswordState::TooMany(too_many) => {
                self.sites.count_limit(|counts| &counts.password_refused);
                self.refuse_for(scope, ExceededLimit::WrongPasswords(too_many)).map(Some)
            }
            PasswordState::Wait(ticket) => {
                self.sites.begin_checks();
                let ticket = WaitTicket::Password(ticket);
                let purpose = Purpose::Password;
                Err(Undecided::Lookup(PendingLookup { purpose, site, ticket }))
            }
            PasswordState::NoTurn => Err(Undecided::NoTurn),
        }
    }

    /// Asks for a name and a password (RFC 9110 section 15.5.2).
    fn challenge(&mut self, passwords: &PasswordSettings) -> ResponseResult {
        let mut extra = no_store();
        let realm = &passwords.realm;
        extra.push("WWW-Authenticate", format_args!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        self.refuse(Status::Unauthorized, NO_PASSWORD, &extra)
    }

    /// The response to a request that exceeds a limit. It keeps the limit in mind, because the
    /// response may need the page of the error first.
    fn refuse_for(&mut self, scope: Scope, exceeded: ExceededLimit) -> ResponseResult {
        self.refusal = Some(AccessRefusal { scope, exceeded });
        match exceeded {
            ExceededLimit::Rate(too_many) => self.too_many(TOO_MANY, too_many),
            ExceededLimit::WrongPasswords(too_many) => self.too_many(TOO_MANY_FAILURES, too_many),
            ExceededLimit::PasswordChecks => {
                self.refuse(Status::ServiceUnavailable, BUSY, &no_store())
            }
        }
    }

    /// The client has to wait (RFC 6585 section 4).
    fn too_many(&mut self, detail: &'static str, too_many: TooMany) -> ResponseResult {
        let mut extra = no_store();
        extra.push("Retry-After", too_many.seconds());
        self.refuse(Status::TooManyRequests, detail, &extra)
    }
}

/// Caches must not keep what is about one client.
fn no_store() -> Fields {
    let mut fields = Fields::new();
    fields.push("Cache-Control", "no-store");
    fields
}
