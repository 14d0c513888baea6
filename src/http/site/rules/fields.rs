//! Combines the fields of several rules.

use std::borrow::Cow;

use crate::http::semantics::fields::Fields;

/// Fields of which a response may have several lines. Other fields occur once.
const ADDITIVE: [&str; 3] = ["Link", "Set-Cookie", "Vary"];

/// Fields, in the order in which they were first set.
#[derive(Debug, Default)]
pub(super) struct RuleFields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> RuleFields<'a> {
    /// Sets a field, or adds a line to one of [`ADDITIVE`]. An empty value removes the field.
    pub(super) fn set(&mut self, name: &'a str, value: &'a str) {
        self.put(name.into(), value.into());
    }

    /// The same for texts that do not live as long.
    pub(super) fn set_owned(&mut self, name: &str, value: String) {
        self.put(name.to_owned().into(), value.into());
    }

    fn put(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        let is_name = |other: &str| other.eq_ignore_ascii_case(&name);
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

    /// Converts to the fields of a response.
    pub(super) fn into_fields(self) -> Fields {
        let mut fields = Fields::new();
        self.0.into_iter().for_each(|(name, value)| fields.push(&name, value));
        fields
    }
}

/// The length of a field line, including its end.
pub(super) const fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + ": ".len() + value.len() + "\r\n".len()
}
