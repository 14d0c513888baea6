//! Rules for paths: redirects, and rewrites, which serve another file than the one at the path.
//!
//! A rule has a *pattern* of paths and a *destination*. A pattern consists of segments: a literal
//! one, a placeholder `:name`, which matches any one segment, and at the end `*`, which matches all
//! further segments, also none. A destination is a path or an `http` or `https` address. It may
//! contain `:name`, and `:splat` for what `*` has matched. There are no regular expressions: what a
//! rule costs does not depend on the request.
//!
//! Patterns are matched with resolved paths ([`Target::path`](super::target::Target::path)), so an
//! encoded letter, a repeated slash or a dot segment evades no rule. A slash at the end makes no
//! difference. Captures are decoded, and are encoded anew in the destination: they bring in no
//! segment `..`, no host, no line end and no backslash.
//!
//! A rule applies *before files*, whatever the root contains, or *after files*, if there is no file
//! at the path. Of the rules of each kind, the first one that matches applies. A rewritten path is
//! resolved like that of a request, and is not rewritten again.
//!
//! | file | holds |
//! | --- | --- |
//! | `pattern.rs` | patterns and captures |
//! | `destination.rs` | destinations |
//! | `rule.rs` | one rule |
//! | `path_table.rs` | finds the patterns that match a path |
//! | `path_rules.rs` | the rules of a site |
//! | `limits.rs` | bounds and statuses |
//! | `error.rs` | why a rule is refused |

mod destination;
mod error;
#[cfg(any(test, feature = "simulation"))]
mod fuzz;
mod limits;
mod path_rules;
mod path_table;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

pub use error::PathRuleError;
#[cfg(any(test, feature = "simulation"))]
pub use fuzz::fuzz_rewrite;
pub use limits::{LITERALS_MAX, PATTERNS_MAX, REDIRECT_STATUSES, REWRITE_STATUSES};
pub use path_rules::{PathRules, RulePhase};
pub use path_table::PathTable;
pub use pattern::{Captures, PathPattern};
pub use rule::{PathRule, RuleAction, RuleUse};
