//! One rule: a redirect or a rewrite.

use super::super::target::{self, Target};
use super::destination::Destination;
use super::error::PathRuleError;
use super::limits::{REDIRECT_STATUSES, REWRITE_STATUSES};
use super::pattern::{Captures, PathPattern};
use crate::http::semantics::status::Status;

/// A rule; see [`super`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathRule {
    from: Box<str>,
    to: Box<str>,
    pattern: PathPattern,
    destination: Destination,
    action: RuleAction,
    force: bool,
    in_order: bool,
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleAction {
    /// Sends the client elsewhere.
    Redirect(Status),
    /// Serves another file of the site.
    Rewrite {
        /// The status of the response.
        status: Status,
        /// Whether only navigations get the file: requests that accept HTML, for a path whose last
        /// segment has no extension. Others get 404, so that a missing script is not a page.
        navigations: bool,
    },
}

/// What a rule makes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleUse {
    /// Sends the client to this address.
    Redirect {
        /// The status.
        status: Status,
        /// The value of `Location`.
        location: String,
    },
    /// Serves the file at another path.
    Rewrite {
        /// The status.
        status: Status,
        /// See [`RuleAction::Rewrite`].
        navigations: bool,
        /// The target in place of that of the request; encoded.
        target: String,
    },
}

impl PathRule {
    /// A redirect. The default status is 308. With `force`, the default, it applies before files.
    ///
    /// # Errors
    ///
    /// If a part is malformed, or if the redirect would apply to its own destination.
    pub fn redirect(
        from: &str,
        to: &str,
        status: Option<u16>,
        force: Option<bool>,
    ) -> Result<Self, PathRuleError> {
        let code = status.unwrap_or(Status::PermanentRedirect.code());
        let status = status_of(code, &REDIRECT_STATUSES);
        let status = status.ok_or(PathRuleError::RedirectStatus(code))?;
        let (action, force) = (RuleAction::Redirect(status), force.unwrap_or(true));
        let rule = Self::new(from, to, action, force)?;
        // After a redirect that applies after files, there may be a file.
        let leads_to_itself = match force {
            true => rule.destination.is_matched_by(&rule.pattern),
            false => rule.is_identity(),
        };
        if leads_to_itself { Err(PathRuleError::LeadsToItself) } else { Ok(rule) }
    }

    /// A rewrite. The default status is 200. With `force`, it applies before files; by default
    /// after files. `navigations` is by default whether the path ends with an asterisk and the
    /// destination does not depend on the request: one page for many paths.
    ///
    /// # Errors
    ///
    /// If a part is malformed, or if the destination is no other path.
    pub fn rewrite(
        from: &str,
        to: &str,
        status: Option<u16>,
        force: Option<bool>,
        navigations: Option<bool>,
    ) -> Result<Self, PathRuleError> {
        let code = status.unwrap_or(Status::Ok.code());
        let status = status_of(code, &REWRITE_STATUSES);
        let status = status.ok_or(PathRuleError::RewriteStatus(code))?;
        let action = RuleAction::Rewrite { status, navigations: false };
        let mut rule = Self::new(from, to, action, force.unwrap_or(false))?;
        let Self { pattern, destination, .. } = &rule;
        if !destination.is_local() {
            return Err(PathRuleError::Proxy);
        }
        if destination.has_fragment() {
            return Err(PathRuleError::Fragment);
        }
        if rule.is_identity() {
            return Err(PathRuleError::LeadsToItself);
        }
        let is_page_of_many = pattern.has_splat() && !destination.has_captures();
        let navigations = match (status, navigations) {
            (Status::Ok, chosen) => chosen.unwrap_or(is_page_of_many),
            (_, None) => false,
            (_, Some(_)) => return Err(PathRuleError::NavigationsOfError),
        };
        rule.action = RuleAction::Rewrite { status, navigations };
        Ok(rule)
    }

    fn new(from: &str, to: &str, action: RuleAction, force: bool) -> Result<Self, PathRuleError> {
        let pattern = PathPattern::parse(from)?;
        let destination = Destination::parse(to, &pattern)?;
        Ok(Self {
            from: from.into(),
            to: to.into(),
            pattern,
            destination,
            action,
            force,
            in_order: false,
        })
    }

    /// Whether the destination is the path of the request, whatever that is.
    fn is_identity(&self) -> bool {
        let example = self.from.replace('*', ":splat");
        let is_same = Destination::parse(&example, &self.pattern)
            .is_ok_and(|same| same.is_same_path(&self.destination));
        self.destination.is_local() && is_same
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The destination as it was written.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// What the rule does.
    #[must_use]
    pub const fn action(&self) -> RuleAction {
        self.action
    }

    /// Whether the rule applies before files.
    #[must_use]
    pub const fn force(&self) -> bool {
        self.force
    }

    /// The same rule, which applies before files only if no rule in front of it matches that is in
    /// order too and applies after files: so the first one decides, as in files of Netlify.
    #[must_use]
    pub fn in_order(self) -> Self {
        Self { in_order: true, ..self }
    }

    pub(super) const fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// Whether the pattern matches the path of the destination.
    #[must_use]
    pub fn matches_its_destination(&self) -> bool {
        self.destination.is_matched_by(&self.pattern)
    }

    pub(super) fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// What the rule makes of a target; `None` as for [`PathRule::path`].
    pub(super) fn use_for(&self, captures: &Captures<'_>, target: &Target<'_>) -> Option<RuleUse> {
        let path = self.path(captures, target)?;
        let address = self.destination.address(&path, captures, target.query())?;
        Some(match self.action {
            RuleAction::Redirect(status) => RuleUse::Redirect { status, location: address },
            RuleAction::Rewrite { status, navigations } => {
                RuleUse::Rewrite { status, navigations, target: address }
            }
        })
    }

    /// The path of the destination, encoded; `None` if the rule does not apply to this path: it
    /// would lead to itself, or to an address that is too long.
    fn path(&self, captures: &Captures<'_>, asked: &Target<'_>) -> Option<String> {
        let mut path = self.destination.path(captures, asked.directory())?;
        let is_rewrite = matches!(self.action, RuleAction::Rewrite { .. });
        // The asterisk of `/docs/*` has matched nothing in `/docs`, which has no slash either: what
        // is served is asked for without one, so the client gets a redirect to `/docs/`.
        if is_rewrite && !asked.directory() && self.destination.ends_without(captures) {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        if self.destination.is_local() {
            let target = target::resolve(path.as_bytes());
            if target.is_ok_and(|target| target.path() == asked.path()) {
                return None;
            }
        }
        Some(path)
    }
}

/// The status with a code, if it is one of those allowed.
fn status_of(code: u16, allowed: &[u16]) -> Option<Status> {
    let mut all = Status::ALL.into_iter();
    all.find(|status| status.code() == code && allowed.contains(&code))
}
