//! The rules of a site, and which one applies to a request.

use std::sync::Arc;

use super::super::target::Target;
use super::error::PathRuleError;
use super::limits::{LITERALS_MAX, PATTERNS_MAX};
use super::path_table::PathTable;
use super::rule::{PathRule, RuleAction};
use crate::http::semantics::status::Status;

/// The rules of a site. Clones share them.
#[derive(Clone, Debug)]
pub struct PathRules {
    tables: Arc<PhaseTables>,
}

#[derive(Debug, Default)]
struct PhaseTables {
    rules: Vec<PathRule>,
    before_files: PathTable,
    after_files: PathTable,
}

/// When rules apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RulePhase {
    /// Before the file at the path is looked up.
    BeforeFiles,
    /// When there is no file at the path.
    AfterFiles,
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

/// Whether both have the same rules in the same order.
impl PartialEq for PathRules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tables, &other.tables) || self.tables.rules == other.tables.rules
    }
}

impl PathRules {
    /// Combines rules; of those of a phase, the first one that matches applies. `None` if there are
    /// no rules.
    ///
    /// # Errors
    ///
    /// If there are too many: the number of the first one that is too much.
    pub fn new(rules: Vec<PathRule>) -> Result<Option<Self>, (usize, PathRuleError)> {
        let mut tables = PhaseTables::default();
        let (mut literals, mut patterns) = (0, 0);
        for (number, rule) in rules.iter().enumerate() {
            let is_literal = rule.pattern().literal().is_some();
            let count = if is_literal { &mut literals } else { &mut patterns };
            *count += 1;
            if literals > LITERALS_MAX {
                return Err((number, PathRuleError::TooManyLiterals));
            }
            if patterns > PATTERNS_MAX {
                return Err((number, PathRuleError::TooManyPatterns));
            }
            let table = match rule.force() {
                true => &mut tables.before_files,
                false => &mut tables.after_files,
            };
            table.add(number as u32, rule.pattern()).map_err(|error| (number, error))?;
        }
        tables.rules = rules;
        Ok((!tables.rules.is_empty()).then(|| Self { tables: Arc::new(tables) }))
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[PathRule] {
        &self.tables.rules
    }

    /// What the first rule that matches makes of a target.
    #[must_use]
    pub fn find(&self, phase: RulePhase, target: &Target<'_>) -> Option<RuleUse> {
        let table = match phase {
            RulePhase::BeforeFiles => &self.tables.before_files,
            RulePhase::AfterFiles => &self.tables.after_files,
        };
        table.matches(target.path()).find_map(|(number, captures)| {
            let rule = &self.tables.rules[number as usize];
            let path = rule.path(&captures, target)?;
            let address = rule.destination().address(&path, &captures, target.query())?;
            Some(match rule.action() {
                RuleAction::Redirect(status) => RuleUse::Redirect { status, location: address },
                RuleAction::Rewrite { status, navigations } => {
                    RuleUse::Rewrite { status, navigations, target: address }
                }
            })
        })
    }
}
