//! Fields that are put together from rules, one after the other.

use crate::http::semantics::fields::Fields;

/// Fields whose values add up over rules. Of any other, an answer has one at most.
const ADDITIVE: [&str; 3] = ["Link", "Set-Cookie", "Vary"];

/// Fields in the order in which they were set first.
#[derive(Debug, Default)]
pub(super) struct RuleFields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> RuleFields<'a> {
    /// Sets a field, or adds to one of [`ADDITIVE`]. An empty value takes the field away.
    pub(super) fn set(&mut self, name: &'a str, value: &'a str) {
        let is_name = |other: &str| other.eq_ignore_ascii_case(name);
        if value.is_empty() {
            self.0.retain(|(other, _)| !is_name(other));
            return;
        }
        let mut old = self.0.iter_mut();
        match old.find(|(other, _)| is_name(other)) {
            Some(field) if !ADDITIVE.iter().any(|additive| is_name(additive)) => {
                *field = (name, value);
            }
            _ => self.0.push((name, value)),
        }
    }

    /// As the fields of a response.
    pub(super) fn into_fields(self) -> Fields {
        let mut fields = Fields::new();
        self.0.into_iter().for_each(|(name, value)| fields.push(name, value));
        fields
    }
}

/// Bytes of a line with its end.
pub(super) const fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + ": ".len() + value.len() + "\r\n".len()
}
