//! Fields that the file `_headers` of a site adds to responses.
//!
//! A block applies to the paths that its pattern matches: the path of the request, or the one that
//! a rewrite has put in its place. All blocks that match apply, in their order. Values of the same
//! field are joined with a comma, and a block can remove what blocks before it have set.

use super::fields::{RuleFields, line_bytes};
use crate::http::site::rewrites::{PathPattern, PathRuleError, PathTable};

/// The field of which a response has several lines, since its values cannot be joined (RFC 6265
/// section 3).
const SET_COOKIE: &str = "Set-Cookie";

/// A path and the fields of its responses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderBlock {
    /// The number of its line in the file.
    pub line: usize,
    /// The pattern as it was written.
    pub path: String,
    /// The paths.
    pub pattern: PathPattern,
    /// Names and values; a field without a value is removed.
    pub fields: Vec<(String, Option<String>)>,
}

/// The blocks of a file.
#[derive(Debug)]
pub struct SiteHeaders {
    blocks: Vec<HeaderBlock>,
    table: PathTable,
    /// The most bytes of field lines that they can add to a response.
    bytes_max: usize,
}

/// Whether both have the same blocks in the same order.
impl PartialEq for SiteHeaders {
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks
    }
}

impl SiteHeaders {
    /// Combines blocks.
    ///
    /// # Errors
    ///
    /// If there are too many: the line of the first one that is too much.
    pub fn new(blocks: Vec<HeaderBlock>) -> Result<Self, (usize, PathRuleError)> {
        let mut table = PathTable::default();
        for (number, block) in (0..).zip(&blocks) {
            table.add(number, &block.pattern).map_err(|error| (block.line, error))?;
        }
        let bytes = |block: &HeaderBlock| -> usize {
            let lines = block.fields.iter();
            lines.map(|(name, value)| line_bytes(name, value.as_deref().unwrap_or(""))).sum()
        };
        // A path has one literal block, or several with the same pattern.
        let (mut literals, mut others) = (std::collections::HashMap::new(), 0);
        for block in &blocks {
            match block.pattern.is_literal() {
                true => *literals.entry(&block.pattern).or_insert(0) += bytes(block),
                false => others += bytes(block),
            }
        }
        let bytes_max = others + literals.values().copied().max().unwrap_or(0);
        Ok(Self { blocks, table, bytes_max })
    }

    /// The most bytes of field lines that they can add to a response.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Adds the fields for a path, which begins with a slash. `Cache-Control` is about pages only.
    pub(super) fn add_to(&self, path: &[u8], is_page: bool, fields: &mut RuleFields<'_>) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let mut own: Vec<(&str, String)> = Vec::new();
        for (number, _) in self.table.matches(path) {
            for (name, value) in &self.blocks[number as usize].fields {
                let is_name = |(other, _): &&mut (&str, String)| other.eq_ignore_ascii_case(name);
                let known = own.iter_mut().find(is_name);
                match (value, known) {
                    (None, _) => {
                        own.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                        // A default is removed too.
                        own.push((name, String::new()));
                    }
                    (Some(value), Some((_, known))) if known.is_empty() => {
                        known.push_str(value);
                    }
                    (Some(value), Some((_, known))) if !name.eq_ignore_ascii_case(SET_COOKIE) => {
                        known.push_str(", ");
                        known.push_str(value);
                    }
                    (Some(value), _) => own.push((name, value.clone())),
                }
            }
        }
        for (name, value) in own {
            if is_page || !name.eq_ignore_ascii_case("Cache-Control") {
                fields.set_owned(name, value);
            }
        }
    }
}
