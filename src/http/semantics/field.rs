//! A field of a request, which may have several lines.
//!
//! Several lines of one name mean the same as one list, in the order of the lines (RFC 9110 section
//! 5.3). A [`Field`] has no table of its lines: it is the span of the head from the first value to
//! the last, and its iterators scan the lines in between. So a field is small, and a field with one
//! line needs no scan.

#[cfg(test)]
mod tests;

/// The values of one field of a request, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field<'a> {
    /// Finds the field's lines among others within the span. Unused if there is one value.
    name: &'static str,
    /// From the first byte of the first value to the last byte of the last one.
    span: Option<&'a [u8]>,
}

// Requests are copied, and have several fields.
const _: () = assert!(size_of::<Field<'_>>() <= 32);

impl<'a> Field<'a> {
    /// A field that the request does not have.
    pub const ABSENT: Self = Self { name: "", span: None };

    /// A field with one value, which contains no line end.
    #[must_use]
    pub const fn one(value: &'a [u8]) -> Self {
        Self::spanning("", value)
    }

    /// A field whose first value begins where `span` begins, and whose last value ends where `span`
    /// ends. The lines in between may belong to other fields.
    #[must_use]
    pub const fn spanning(name: &'static str, span: &'a [u8]) -> Self {
        Self { name, span: Some(span) }
    }

    /// Extends the field to one more value, `again`, which stands further down in `head`.
    ///
    /// The earlier values must be slices of `head` too.
    ///
    /// # Panics
    ///
    /// If the values are not slices of `head`, or not in its order.
    #[must_use]
    pub fn merge(self, name: &'static str, again: &'a [u8], head: &'a [u8]) -> Self {
        let Some(span) = self.span else { return Self::spanning(name, again) };
        let place = |part: &[u8]| (part.as_ptr() as usize).checked_sub(head.as_ptr() as usize);
        let start = place(span);
        let end = place(again).map(|again_start| again_start + again.len());
        let span = start.zip(end).and_then(|(start, end)| head.get(start..end));
        Self::spanning(name, span.expect("the values of a field are slices of the head, in order"))
    }

    /// Whether the request does not have the field. A field with an empty value is not absent.
    #[must_use]
    pub const fn is_absent(self) -> bool {
        self.span.is_none()
    }

    /// The value of a field that has exactly one.
    #[must_use]
    pub fn single(self) -> Option<&'a [u8]> {
        let span = self.span?;
        if memchr::memchr(b'\n', span).is_none() {
            return Some(span.trim_ascii());
        }
        let mut values = self.values();
        values.next().filter(|_| values.next().is_none())
    }

    /// The value of each line, without surrounding white space.
    pub fn values(self) -> impl Iterator<Item = &'a [u8]> {
        let name = self.name.as_bytes();
        let lines = self.span.into_iter().flat_map(|span| span.split(|&byte| byte == b'\n'));
        lines.enumerate().filter_map(move |(number, line)| {
            if number == 0 {
                return Some(line.trim_ascii());
            }
            let colon = line.iter().position(|&byte| byte == b':')?;
            line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
        })
    }

    /// The members of the comma-separated list of all lines, without surrounding white space and
    /// without empty members (RFC 9110 section 5.6.1).
    ///
    /// Splits at every comma, so it is wrong for members that may contain one, like entity tags.
    pub fn members(self) -> impl Iterator<Item = &'a [u8]> {
        let members = self.values().flat_map(|value| value.split(|&byte| byte == b','));
        members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }
}
