//! How much memory the parser of TOML takes for a text, before it takes any.
//!
//! The parser keeps 48 bytes for each token of the text and a node of 1 KiB for each table, so a
//! text of 4 MiB may take 1 GiB. Reading the tokens one by one takes none.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// How much memory the parser may take for one file, in bytes.
pub(super) const PARSE_BYTES_MAX: usize = 64 << 20;

/// The parser lists the tokens, and then what they mean.
const TOKEN_BYTES: usize = 48;

/// A value in a list: a string, a number, or a list.
const VALUE_BYTES: usize = 56;

/// The first node of a table, and the entries that it has room for.
const NODE_BYTES: usize = 1100;
const NODE_ENTRIES: usize = 11;

/// Each further entry of a table: nodes that are split are half full.
const ENTRY_BYTES: usize = 180;

/// Estimates the memory in bytes that the parser takes for a text.
pub(super) fn parse_cost(text: &str) -> usize {
    let mut cost = 0_usize;
    let mut is_line_begin = true;
    // How many entries the node of the table has room for.
    let mut room = NODE_ENTRIES;
    for token in Source::new(text).lex() {
        let kind = token.kind();
        cost += TOKEN_BYTES;
        match kind {
            // A heading. The second bracket of two is not at the beginning.
            TokenKind::LeftSquareBracket if is_line_begin => {
                cost += NODE_BYTES + ENTRY_BYTES;
                room = NODE_ENTRIES;
            }
            TokenKind::LeftCurlyBracket => {
                cost += NODE_BYTES;
                room = NODE_ENTRIES;
            }
            // The room in the table around the one that ends is not known.
            TokenKind::RightCurlyBracket => room = 0,
            // A key with a dot makes a table.
            TokenKind::Dot => cost += NODE_BYTES,
            TokenKind::LeftSquareBracket | TokenKind::Comma => cost += VALUE_BYTES,
            TokenKind::Equals if room > 0 => room -= 1,
            TokenKind::Equals => cost += ENTRY_BYTES,
            _ => {}
        }
        is_line_begin = match kind {
            TokenKind::Whitespace => is_line_begin,
            kind => kind == TokenKind::Newline,
        };
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_cost_more_than_values_and_values_more_than_texts() {
        let cost = |text: &str| parse_cost(text);
        assert!(cost("") <= 2 * TOKEN_BYTES);
        assert!(cost("a = \"{}{}{}{}{}{}{}{}{}\" # [][][][][]") < 1000);
        assert!(cost("a = [1, 2, 3]") < 1500);
        assert!(cost("a = [{}, {}, {}]") > 3 * NODE_BYTES);
        for table in ["[a]\n", "[[a]]\n", " [a]\n", "a.b = 1\n", "a = { b = 1 }\n"] {
            let one = cost(table);
            assert!((NODE_BYTES..2 * NODE_BYTES).contains(&one), "{table}: {one}");
            assert!(cost(&table.repeat(9)) > 8 * one);
        }
    }
}
