//! Priorities of streams (RFC 9218).
//!
//! A client says how urgent an answer is, and whether a part of it is of use before the rest. The
//! tree of RFC 7540 is not supported; SETTINGS says so (RFC 9218 section 2.1).

use crate::http::semantics::grammar::split;

/// The urgency of an answer whose client says nothing of it (RFC 9218 section 4.1).
const URGENCY_DEFAULT: u8 = 3;

/// The lowest urgency.
const URGENCY_LOWEST: u8 = 7;

/// The priority of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Priority {
    /// From 0, the most urgent, to 7.
    pub(super) urgency: u8,
    /// Whether a part of the answer is of use. Such answers share the connection; others are sent
    /// one after the other.
    pub(super) incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: URGENCY_DEFAULT, incremental: false }
    }
}

impl Priority {
    /// Reads the value of the field `priority`, or of PRIORITY_UPDATE: a dictionary of structured
    /// fields (RFC 8941 section 3.2). What is unknown or out of range is ignored (RFC 9218
    /// section 4), so a value that is not a dictionary means the default.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in split(value, b',') {
            // Parameters of a member have no meaning here.
            let member =
                member.split(|byte| *byte == b';').next().unwrap_or(member).trim_ascii_end();
            match *member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                [b'i'] | [b'i', b'=', b'?', b'1'] => priority.incremental = true,
                [b'i', b'=', b'?', b'0'] => priority.incremental = false,
                _ => {}
            }
        }
        debug_assert!(priority.urgency <= URGENCY_LOWEST, "it has one digit below 8");
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_as_the_rfc_says() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i,u=2", 2, true),
            ("i=?0", 3, false),
            ("i=?1", 3, true),
            ("u=5;x=1, i;y", 5, true),
            // The last one counts (RFC 8941 section 3.2).
            ("u=1, u=4", 4, false),
            // Out of range, of another type, or unknown.
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=1.0", 3, false),
            ("u=?1, i=1", 3, false),
            ("u", 3, false),
            ("x=1, i", 3, true),
            ("u=2,,", 2, false),
            ("\"u=1\"", 3, false),
        ] {
            let priority = Priority { urgency, incremental };
            assert_eq!(Priority::parse(value.as_bytes()), priority, "{value}");
        }
    }
}
