//! Dictionaries of structured fields (RFC 8941), as far as priorities need them.
//!
//! All of the syntax is checked, because a recipient ignores a field as a whole if a part of it
//! cannot be read (section 4.2). Of values, only integers and booleans are told apart.

use crate::http::semantics::grammar::is_token_byte;

/// The value of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Integer(i64),
    Boolean(bool),
    /// A value of another type, or a list.
    Other,
}

/// The text is not a dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoDictionary;

/// The most digits of an integer, and of a decimal before and behind its point (sections 3.3.1 and
/// 3.3.2).
const INTEGER_DIGITS_MAX: usize = 15;
const DECIMAL_DIGITS_MAX: usize = 12;
const FRACTION_DIGITS_MAX: usize = 3;

/// Passes each member of a dictionary to `visit`, by its key, in order. Of members with the same
/// key, the last one counts (section 3.2).
///
/// # Errors
///
/// If the text is not a dictionary. Some members may have been passed on.
pub(super) fn read_dictionary(
    text: &[u8],
    visit: &mut impl FnMut(&[u8], Value),
) -> Result<(), NoDictionary> {
    let mut rest = Rest(text);
    rest.skip(b" ");
    if rest.0.is_empty() {
        return Ok(());
    }
    loop {
        let key = rest.key()?;
        let value = match rest.takes(b'=') {
            true => rest.member()?,
            false => Value::Boolean(true),
        };
        rest.parameters()?;
        visit(key, value);
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return Ok(());
        }
        rest.expect(b',')?;
        // A member must follow, so the next key fails at the end of the text.
        rest.skip(b" \t");
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, is_it: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is_it(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// Takes this byte, if it is the next one.
    fn takes(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NoDictionary> {
        if self.takes(byte) { Ok(()) } else { Err(NoDictionary) }
    }

    fn key(&mut self) -> Result<&'a [u8], NoDictionary> {
        if !matches!(self.0, [b'a'..=b'z' | b'*', ..]) {
            return Err(NoDictionary);
        }
        let is_of_key =
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*');
        Ok(self.take_while(is_of_key))
    }

    /// An item or an inner list, without the parameters behind it (sections 4.2.1.1 and 4.2.1.2).
    fn member(&mut self) -> Result<Value, NoDictionary> {
        if !self.takes(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip(b" ");
            if self.takes(b')') {
                return Ok(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.0, [b' ' | b')', ..]) {
                return Err(NoDictionary);
            }
        }
    }

    fn parameters(&mut self) -> Result<(), NoDictionary> {
        while self.takes(b';') {
            self.skip(b" ");
            self.key()?;
            if self.takes(b'=') {
                self.bare_item()?;
            }
        }
        Ok(())
    }

    /// Section 4.2.3.1.
    fn bare_item(&mut self) -> Result<Value, NoDictionary> {
        match self.0 {
            [b'-' | b'0'..=b'9', ..] => return self.number(),
            [b'?', digit @ (b'0' | b'1'), rest @ ..] => {
                self.0 = rest;
                return Ok(Value::Boolean(*digit == b'1'));
            }
            [b'"', rest @ ..] => {
                self.0 = rest;
                self.end_of_string()?;
            }
            [b'*' | b'a'..=b'z' | b'A'..=b'Z', ..] => {
                self.take_while(|byte| is_token_byte(byte) || matches!(byte, b':' | b'/'));
            }
            [b':', rest @ ..] => {
                self.0 = rest;
                let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
                self.take_while(is_base64);
                self.expect(b':')?;
            }
            _ => return Err(NoDictionary),
        }
        Ok(Value::Other)
    }

    fn number(&mut self) -> Result<Value, NoDictionary> {
        let sign = if self.takes(b'-') { -1 } else { 1 };
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if self.takes(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let is_decimal = (1..=DECIMAL_DIGITS_MAX).contains(&digits.len())
                && (1..=FRACTION_DIGITS_MAX).contains(&fraction.len());
            return if is_decimal { Ok(Value::Other) } else { Err(NoDictionary) };
        }
        if !(1..=INTEGER_DIGITS_MAX).contains(&digits.len()) {
            return Err(NoDictionary);
        }
        let number = digits.iter().fold(0, |number, digit| 10 * number + i64::from(digit - b'0'));
        Ok(Value::Integer(sign * number))
    }

    /// The rest of a string, behind its first quote (section 4.2.5).
    fn end_of_string(&mut self) -> Result<(), NoDictionary> {
        loop {
            self.0 = match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Ok(());
                }
                [b'\\', b'"' | b'\\', rest @ ..] => rest,
                [b'\\', ..] => return Err(NoDictionary),
                [b' '..=b'~', rest @ ..] => rest,
                _ => return Err(NoDictionary),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value::{Boolean, Integer, Other};
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, Value)>> {
        let mut members = Vec::new();
        let mut visit = |key: &[u8], value| {
            members.push((String::from_utf8(key.to_vec()).unwrap(), value));
        };
        read_dictionary(text.as_bytes(), &mut visit).ok()?;
        Some(members)
    }

    #[test]
    fn dictionaries_have_members() {
        let rows: [(&str, &[(&str, Value)]); 12] = [
            ("", &[]),
            ("  ", &[]),
            ("a", &[("a", Boolean(true))]),
            (" a=1 ", &[("a", Integer(1))]),
            (
                "a=?0,b=?1\t, c",
                &[("a", Boolean(false)), ("b", Boolean(true)), ("c", Boolean(true))],
            ),
            ("a=1,a=2", &[("a", Integer(1)), ("a", Integer(2))]),
            ("*_-.9=-007", &[("*_-.9", Integer(-7))]),
            ("a=999999999999999", &[("a", Integer(999_999_999_999_999))]),
            ("a=123456789012.123", &[("a", Other)]),
            (r#"a="x, \"y\\", b=to:k/en"#, &[("a", Other), ("b", Other)]),
            ("a=:aGk=:;x;y=2; z=\"\"", &[("a", Other)]),
            ("a=(), b=( 1 \"x\";p  t );q", &[("a", Other), ("b", Other)]),
        ];
        for (text, members) in rows {
            let members = members.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            assert_eq!(read(text), Some(members), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_dictionaries() {
        for text in [
            ",",
            "a,",
            "a, ",
            "a,,b",
            "a b",
            "A",
            "1",
            "=1",
            "a=",
            "a= 1",
            "a =1",
            "\ta",
            "a=-",
            "a=1.",
            "a=.1",
            "a=1.2345",
            "a=1234567890123.1",
            "a=1234567890123456",
            "a=?2",
            "a=?",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{7f}\"",
            "a=:x",
            "a=:*:",
            "a=(1",
            "a=(1\"x\")",
            "a=(1,2)",
            "a;",
            "a;=1",
            "a;B",
            "a=1;x=",
            "\"a\"",
            "a=1, ???",
            "a=é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
