//! The fields of a response: names and values, in order (RFC 9110 section 6.3).
//!
//! All fields are in one buffer, laid out as the field lines of HTTP/1.1 (RFC 9112 section 5), with
//! a table of the position of each name and value. HTTP/1 can therefore copy any run of fields as
//! it is, and that copy is most of the cost of a cache hit. Other framings use
//! [`FieldLines::iter`], which yields names and values.

use std::fmt::{Display, Write};
use std::ops::Range;
use std::rc::Rc;

/// The position of a field in its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    /// Start of the name, which is the start of the line.
    name: u32,
    /// Start of the value.
    value: u32,
    /// End of the value.
    end: u32,
}

impl Span {
    /// Between a name and its value.
    const SEPARATOR: &'static str = ": ";
    /// After a value.
    const LINE_END: &'static str = "\r\n";

    fn line_end(self) -> usize {
        self.end as usize + Self::LINE_END.len()
    }
}

/// A list of fields to which more can be added. An empty list allocates nothing, because most
/// responses add no fields to prepared ones.
#[derive(Clone, Default, Debug)]
pub struct Fields {
    list: Option<Box<List>>,
}

#[derive(Clone, Debug)]
struct List {
    text: String,
    spans: Vec<Span>,
}

impl Default for List {
    /// With room for what most responses have of their own, so that it does not grow in steps.
    fn default() -> Self {
        Self { text: String::with_capacity(96), spans: Vec::with_capacity(3) }
    }
}

impl Fields {
    /// An empty list.
    pub const fn new() -> Self {
        Self { list: None }
    }

    /// Appends a field.
    ///
    /// # Panics
    ///
    /// If the value contains a line end. Callers validate text from outside first.
    pub fn push(&mut self, name: &str, value: impl Display) {
        let List { text, spans } = &mut **self.list.get_or_insert_default();
        let start = text.len();
        text.push_str(name);
        text.push_str(Span::SEPARATOR);
        let value_start = text.len();
        // Writing to a string does not fail.
        let _ = write!(text, "{value}");
        let end = text.len();
        let clean = memchr::memchr2(b'\r', b'\n', &text.as_bytes()[start..]).is_none();
        assert!(clean, "a header field contains CR or LF");
        text.push_str(Span::LINE_END);
        spans.push(Span { name: start as u32, value: value_start as u32, end: end as u32 });
    }

    /// Appends the fields of another list.
    pub fn append(&mut self, other: &Self) {
        let Some(other) = &other.list else { return };
        let List { text, spans } = &mut **self.list.get_or_insert_default();
        let by = text.len() as u32;
        text.push_str(&other.text);
        let moved =
            |span: &Span| Span { name: span.name + by, value: span.value + by, end: span.end + by };
        spans.extend(other.spans.iter().map(moved));
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.spans.len())
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// All fields.
    pub fn all(&self) -> FieldLines<'_> {
        match &self.list {
            None => FieldLines::NONE,
            Some(list) => FieldLines { text: list.text.as_bytes(), spans: &list.spans },
        }
    }

    /// A buffer of the field lines and the empty line after them, with room for a body of `room`
    /// bytes.
    pub fn into_buffer(self, room: usize) -> (Vec<u8>, FieldTable) {
        let List { text, spans } = self.list.map_or_else(List::default, |list| *list);
        let mut bytes = text.into_bytes();
        let text_len = bytes.len() as u32;
        bytes.reserve_exact(Span::LINE_END.len() + room);
        bytes.extend_from_slice(Span::LINE_END.as_bytes());
        (bytes, FieldTable { spans: spans.into(), text_len })
    }
}

/// The positions of the fields in a buffer. They are kept apart from the buffer, because the read
/// of a body owns the buffer until it completes.
#[derive(Clone, Debug)]
pub struct FieldTable {
    spans: Rc<[Span]>,
    text_len: u32,
}

impl FieldTable {
    /// Bytes before the body.
    pub fn head_len(&self) -> usize {
        self.text_len as usize + Span::LINE_END.len()
    }
}

/// Fields that no longer change. The same buffer also holds the empty line that ends an HTTP/1.1
/// head, and the body, if the body is in memory. Clones share the buffer.
#[derive(Clone, Debug)]
pub struct PreparedFields {
    bytes: Rc<[u8]>,
    table: FieldTable,
}

impl PreparedFields {
    /// Makes prepared fields of a buffer of [`Fields::into_buffer`], to which a body may have been
    /// appended.
    pub fn new(bytes: &[u8], table: FieldTable) -> Self {
        assert!(bytes.len() >= table.head_len(), "the buffer is shorter than its fields");
        Self { bytes: bytes.into(), table }
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.table.spans.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.table.spans.is_empty()
    }

    /// The fields of a range of numbers.
    pub fn some(&self, range: Range<usize>) -> FieldLines<'_> {
        FieldLines { text: &self.bytes, spans: &self.table.spans[range] }
    }

    /// Bytes before the body.
    pub fn head_len(&self) -> usize {
        self.table.head_len()
    }

    /// The whole buffer: field lines, empty line and body.
    pub fn bytes(&self) -> &Rc<[u8]> {
        &self.bytes
    }

    /// The body, if it is in memory.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head_len()..]
    }

    /// Bytes of memory, without those of this struct.
    pub fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.table.spans)
    }
}

/// A run of fields.
#[derive(Clone, Copy, Debug)]
pub struct FieldLines<'a> {
    text: &'a [u8],
    spans: &'a [Span],
}

impl<'a> FieldLines<'a> {
    /// No fields.
    pub const NONE: Self = Self { text: &[], spans: &[] };

    /// Names and values.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.spans.iter().map(move |span| {
            let name_end = span.value as usize - Span::SEPARATOR.len();
            let name = &self.text[span.name as usize..name_end];
            (name, &self.text[span.value as usize..span.end as usize])
        })
    }

    /// The value of the first field of this name, without regard to case.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.iter();
        fields
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The field lines of HTTP/1.1, including the end of the last one.
    pub fn as_h1(self) -> &'a [u8] {
        match self.spans {
            [] => &[],
            [first, .., last] | [first @ last] => &self.text[first.name as usize..last.line_end()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(lines: FieldLines<'_>) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        lines.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn three() -> Fields {
        let mut fields = Fields::new();
        fields.push("Content-Length", 5);
        fields.push("X-Empty", "");
        fields.push("ETag", "\"a: b\"");
        fields
    }

    #[test]
    fn fields_are_kept_in_order() {
        let fields = three();
        let all = [pair("Content-Length", "5"), pair("X-Empty", ""), pair("ETag", "\"a: b\"")];
        assert_eq!(pairs(fields.all()), all);
        assert_eq!(fields.all().get("etag"), Some(&b"\"a: b\""[..]));
        assert_eq!(fields.all().get("Etag2"), None);
        assert_eq!(fields.all().as_h1(), b"Content-Length: 5\r\nX-Empty: \r\nETag: \"a: b\"\r\n");
        assert_eq!(Fields::new().all().as_h1(), b"");
    }

    #[test]
    fn a_list_can_be_appended_to_another() {
        let mut fields = three();
        fields.append(&three());
        fields.append(&Fields::new());
        assert_eq!(fields.len(), 6);
        assert_eq!(pairs(fields.all())[3..], pairs(three().all()));
    }

    #[test]
    fn prepared_fields_can_be_read_in_runs() {
        let (mut bytes, table) = three().into_buffer(5);
        bytes.extend_from_slice(b"hello");
        let prepared = PreparedFields::new(&bytes, table);
        assert_eq!(prepared.body(), b"hello");
        assert_eq!(prepared.some(1..1).as_h1(), b"");
        assert_eq!(prepared.some(1..3).as_h1(), b"X-Empty: \r\nETag: \"a: b\"\r\n");
        assert_eq!(pairs(prepared.some(2..3)), [pair("ETag", "\"a: b\"")]);
        assert!(bytes[..prepared.head_len()].ends_with(b"\"\r\n\r\n"));
    }

    #[test]
    #[should_panic(expected = "contains CR or LF")]
    fn a_value_with_a_line_end_panics() {
        Fields::new().push("X", "a\r\nSet-Cookie: b");
    }
}
