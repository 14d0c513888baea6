//! Field lines that are put together from rules, one after the other.

/// Fields whose values add up over rules. Of any other, an answer has one at most.
const ADDITIVE: [&str; 3] = ["Link", "Set-Cookie", "Vary"];

/// Fields in the order in which they were set first.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
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

    /// As they stand in a head.
    pub(super) fn into_lines(self) -> String {
        let bytes = self.0.iter().map(|(name, value)| line_bytes(name, value)).sum();
        let mut lines = String::with_capacity(bytes);
        for (name, value) in self.0 {
            lines.extend([name, ": ", value, "\r\n"]);
        }
        lines
    }
}

/// Bytes of a line with its end.
pub(super) const fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + ": ".len() + value.len() + "\r\n".len()
}
