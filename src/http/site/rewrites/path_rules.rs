//! The rules of a site, and which one applies to a request.

use std::sync::Arc;

use super::super::target::Target;
use super::error::PathRuleError;
use super::limits::{LITERALS_MAX, PATTERNS_MAX};
use super::path_table::PathTable;
use super::rule::{PathRule, RuleUse};

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

/// Whether both have the same rules in the same order.
impl PartialEq for PathRules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tables, &other.tables) || self.tables.rules == other.tables.rules
    }
}

impl PathRules {
    /// Combines rules; of those of a phase, the first one that matches applies, but see
    /// [`PathRule::in_order`]. `None` if there are no rules.
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
        let mut matching = table.matches(target.path());
        let (number, found) = matching.find_map(|(number, captures)| {
            Some((number, self.rule(number).use_for(&captures, target)?))
        })?;
        let is_before = phase == RulePhase::BeforeFiles && self.rule(number).is_in_order();
        if is_before && self.has_earlier(number, target) { None } else { Some(found) }
    }

    fn rule(&self, number: u32) -> &PathRule {
        &self.tables.rules[number as usize]
    }

    /// Whether an earlier rule in order matches that applies after files.
    fn has_earlier(&self, number: u32, target: &Target<'_>) -> bool {
        let matching = self.tables.after_files.matches(target.path());
        matching.take_while(|(other, _)| *other < number).any(|(other, captures)| {
            let rule = self.rule(other);
            rule.is_in_order() && rule.use_for(&captures, target).is_some()
        })
    }
}
