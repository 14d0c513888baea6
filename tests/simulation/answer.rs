//! Parses answers, as a client of a simulated world reads them.

/// An answer, as a client reads it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) length: usize,
    pub(crate) body: Vec<u8>,
}

/// The result of parsing.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A whole answer, and its bytes on the wire.
    Whole(Answer, usize),
    /// The beginning of one: if its head is complete, that and the part of the body that has
    /// arrived.
    Part(Option<Answer>),
}

impl Answer {
    /// An answer of HTTP/2, as far as it has come.
    pub(crate) fn new(status: u16, fields: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let mut answer = Self { status, fields, length: 0, body };
        let length = answer.field("content-length").map(|length| length.parse().unwrap());
        assert!(length.is_some() || matches!(status, 204 | 304), "{answer:?}");
        answer.length = length.unwrap_or(0);
        answer
    }

    /// The value of a field, which may occur at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let value = values.next().map(|field| &field.1[..]);
        assert!(values.next().is_none(), "two fields {name}: {:?}", self.fields);
        value
    }

    /// Whether it has a file, or a part of one.
    pub(crate) fn has_content(&self) -> bool {
        matches!(self.status, 200 | 206)
    }

    /// Whether the whole body has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.body.len() == self.length
    }

    /// Whether it is this range of the bytes, as far as it has arrived.
    pub(crate) fn is_part(&self, bytes: &[u8], (first, last): (usize, usize)) -> bool {
        let last = last.min(bytes.len().saturating_sub(1));
        let of = format!("bytes {first}-{last}/{}", bytes.len());
        self.field("content-range") == Some(&*of)
            && self.length == last - first + 1
            && bytes[first..=last].starts_with(&self.body)
    }
}

/// Parses the first answer of a stream strictly.
pub(crate) fn take_answer(bytes: &[u8], head_only: bool) -> Taken {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Taken::Part(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or("");
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let fields = lines.map(field).collect();
    let mut answer = Answer { status, fields, length: 0, body: Vec::new() };
    let length = answer.field("content-length").map(|length| length.parse().expect("a number"));
    assert!(length.is_some() || matches!(status, 204 | 304), "{answer:?}");
    answer.length = length.unwrap_or(0);
    let body = &bytes[end + 4..];
    // A server that answers 408 may not have read the method.
    let is_head = head_only && (status != 408 || body.is_empty());
    let expected = if is_head { 0 } else { answer.length };
    answer.body = body[..body.len().min(expected)].to_vec();
    match answer.body.len() {
        len if len == expected => Taken::Whole(answer, end + 4 + expected),
        _ => Taken::Part(Some(answer)),
    }
}
