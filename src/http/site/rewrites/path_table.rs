//! Finds the patterns that match a path, in their order.
//!
//! Patterns without placeholders are in a hash table, by their path. The others are in lists by
//! their first segment; those that begin with a placeholder are in one list for all paths.

use std::collections::HashMap;

use super::error::PathRuleError;
use super::limits::{LITERALS_MAX, PATTERNS_MAX};
use super::pattern::{Captures, PathPattern};

/// The numbers of patterns, in order.
type NumberLists = HashMap<Box<[u8]>, Vec<u32>, foldhash::fast::RandomState>;

/// Patterns by number; see the module documentation.
#[derive(Debug, Default)]
pub struct PathTable {
    literals: NumberLists,
    by_first: NumberLists,
    other: Vec<u32>,
    /// Those with placeholders, and their numbers in order.
    patterns: Vec<(u32, PathPattern)>,
    literal_count: usize,
}

impl PathTable {
    /// Adds a pattern, which must have a higher number than those before.
    ///
    /// # Errors
    ///
    /// If there are too many.
    pub fn add(&mut self, number: u32, pattern: &PathPattern) -> Result<(), PathRuleError> {
        match (pattern.literal(), pattern.first_literal()) {
            (Some(_), _) if self.literal_count == LITERALS_MAX => {
                return Err(PathRuleError::TooManyLiterals);
            }
            (Some(path), _) => {
                self.literal_count += 1;
                self.literals.entry(path.into()).or_default().push(number);
                return Ok(());
            }
            _ if self.patterns.len() == PATTERNS_MAX => return Err(PathRuleError::TooManyPatterns),
            (None, Some(first)) => self.by_first.entry(first.into()).or_default().push(number),
            (None, None) => self.other.push(number),
        }
        self.patterns.push((number, pattern.clone()));
        Ok(())
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.literal_count == 0 && self.patterns.is_empty()
    }

    /// The patterns that match a resolved path, in order, with what they capture.
    pub fn matches<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = (u32, Captures<'p>)> {
        let end = memchr::memchr(b'/', path).unwrap_or(path.len());
        let mut lists = [get(&self.literals, path), get(&self.by_first, &path[..end]), &self.other];
        std::iter::from_fn(move || {
            loop {
                let next =
                    lists.iter().enumerate().filter_map(|(at, list)| Some((*list.first()?, at)));
                let (number, at) = next.min()?;
                lists[at] = &lists[at][1..];
                if at == 0 {
                    return Some((number, Captures::default()));
                }
                if let Some(captures) = self.pattern(number).and_then(|it| it.captures(path)) {
                    return Some((number, captures));
                }
            }
        })
    }

    /// The pattern with placeholders of a number.
    fn pattern(&self, number: u32) -> Option<&PathPattern> {
        let at = self.patterns.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.patterns[at].1)
    }
}

/// The numbers of a key. An empty table is not searched, so its key is not hashed.
fn get<'t>(numbers: &'t NumberLists, key: &[u8]) -> &'t [u32] {
    if numbers.is_empty() { &[] } else { numbers.get(key).map_or(&[], Vec::as_slice) }
}
