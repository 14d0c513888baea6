//! One field of a request head, which may stand there more than once.
//!
//! A recipient reads several lines of one name as one list, in the order of the lines (RFC 9110
//! section 5.3). A [`Field`] keeps no table of them: it is the part of the head from the first
//! value to the last, and the lines between are walked again by whoever wants the values. So it is
//! small, and costs nothing for the requests that have each field once.

#[cfg(test)]
mod tests;

/// The values of one field of a request, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field<'a> {
    /// Tells the field's lines from those between them. Not needed for a single value.
    name: &'static str,
    /// From the first byte of the first value to the last byte of the last one.
    span: Option<&'a [u8]>,
}

// A request has several of them, and is copied around.
const _: () = assert!(size_of::<Field<'_>>() <= 32);

impl<'a> Field<'a> {
    /// A field that does not stand in the request.
    pub const ABSENT: Self = Self { name: "", span: None };

    /// A field of one value, which has no line end in it.
    #[must_use]
    pub const fn one(value: &'a [u8]) -> Self {
        Self::spanning("", value)
    }

    /// The field `name`, whose first value begins where `span` begins and whose last value ends
    /// where it ends; between them are whole lines of a request head, of this field and of others.
    #[must_use]
    pub const fn spanning(name: &'static str, span: &'a [u8]) -> Self {
        Self { name, span: Some(span) }
    }

    /// The field with one more value, for a parser that meets it `again` further down in `head`.
    ///
    /// A field that is absent becomes one of a single value; the others must have been made with
    /// [`Self::spanning`], of a value that lies in `head` too.
    ///
    /// # Panics
    ///
    /// If the values are not parts of `head`, or not in its order.
    #[must_use]
    pub fn merge(self, name: &'static str, again: &'a [u8], head: &'a [u8]) -> Self {
        let Some(span) = self.span else { return Self::spanning(name, again) };
        let place = |part: &[u8]| (part.as_ptr() as usize).checked_sub(head.as_ptr() as usize);
        let start = place(span);
        let end = place(again).map(|again_start| again_start + again.len());
        let span = start.zip(end).and_then(|(start, end)| head.get(start..end));
        Self::spanning(name, span.expect("the values of a field stand in the head, in order"))
    }

    /// Whether the field does not stand in the request. One with an empty value does.
    #[must_use]
    pub const fn is_absent(self) -> bool {
        self.span.is_none()
    }

    /// The value of a field that stands there exactly once.
    #[must_use]
    pub fn single(self) -> Option<&'a [u8]> {
        let mut values = self.values();
        values.next().filter(|_| values.next().is_none())
    }

    /// The values, one a line, without the white space around them.
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

    /// The members of a comma-separated list over all lines, without the white space around them;
    /// empty ones do not count (RFC 9110 section 5.6.1).
    ///
    /// Only for members that cannot have a comma in them. Entity tags can.
    pub fn members(self) -> impl Iterator<Item = &'a [u8]> {
        let members = self.values().flat_map(|value| value.split(|&byte| byte == b','));
        members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }
}
