//! Priorities of streams (RFC 9218).
//!
//! A client says how urgent an answer is, and whether a part of it is of use before the rest. The
//! tree of RFC 7540 is not supported; SETTINGS says so (RFC 9218 section 2.1).

use super::dictionary::{Value, read_dictionary};

/// The urgency of an answer whose client says nothing of it (RFC 9218 section 4.1).
const URGENCY_DEFAULT: u8 = 3;

/// How many urgencies there are.
pub(super) const URGENCIES: usize = 8;

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
    /// fields (RFC 8941 section 3.2). A value that is not a dictionary is ignored (section 4.2). So
    /// is a member that is unknown, or whose value has another type or is out of range (RFC 9218
    /// section 4).
    pub(super) fn parse(value: &[u8]) -> Self {
        let default = Self::default();
        let mut priority = default;
        let read = read_dictionary(value, &mut |key, value| match (key, value) {
            (b"u", Value::Integer(urgency)) if (0..URGENCIES as i64).contains(&urgency) => {
                priority.urgency = urgency as u8;
            }
            (b"u", _) => priority.urgency = default.urgency,
            (b"i", Value::Boolean(incremental)) => priority.incremental = incremental,
            (b"i", _) => priority.incremental = default.incremental,
            _ => {}
        });
        if read.is_ok() { priority } else { default }
    }

    /// The same for the lines of the field, which are one list together (RFC 9110 section 5.3).
    /// `None` without any.
    pub(super) fn of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut lines = lines.peekable();
        let first = lines.next()?;
        if lines.peek().is_none() {
            return Some(Self::parse(first));
        }
        let mut all = first.to_vec();
        for line in lines {
            all.extend_from_slice(b", ");
            all.extend_from_slice(line);
        }
        Some(Self::parse(&all))
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
            ("u=1, u=9, i, i=1", 3, false),
            // Out of range, of another type, or unknown.
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=1.0", 3, false),
            ("u=?1, i=1", 3, false),
            ("u", 3, false),
            ("x=1, i", 3, true),
            // No dictionary: all of it is ignored (RFC 8941 section 4.2).
            ("u=2,,", 3, false),
            ("u=1, ???", 3, false),
            ("i, u=1 u=2", 3, false),
            ("\"u=1\"", 3, false),
        ] {
            let priority = Priority { urgency, incremental };
            assert_eq!(Priority::parse(value.as_bytes()), priority, "{value}");
        }
    }

    #[test]
    fn lines_of_the_field_are_one_list() {
        let of = |lines: &[&str]| Priority::of_lines(lines.iter().map(|line| line.as_bytes()));
        let priority = |urgency, incremental| Some(Priority { urgency, incremental });
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["u=1"]), priority(1, false));
        assert_eq!(of(&["u=1", "i"]), priority(1, true));
        assert_eq!(of(&["u=1, i", "x", "u=5"]), priority(5, true));
        assert_eq!(of(&["u=1", "?"]), priority(3, false));
    }
}
