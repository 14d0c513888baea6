//! The head of a request: from the fields of a header block to a [`Request`] (RFC 9113 section 8).
//!
//! The fields are kept as one text, laid out as HTTP/1.1 would write them, because a [`Request`]
//! borrows its fields from such a text, and the access log names requests by their request lines.
//! The text is never parsed: where each name and value is, is noted when it is written.

use std::ops::Range;

use crate::http::semantics::authority;
use crate::http::semantics::grammar::{is_text, is_token, is_token_byte};
use crate::http::semantics::request::{
    Method, Refusal, Request, RequestLimits, UNKNOWN_EXPECTATION, bad_request,
    check_connect_target, check_no_fragment, is_path_or_asterisk,
};
use crate::http::semantics::request_fields::{RequestFields, decimal};
use crate::http::semantics::status::Status;

#[cfg(test)]
mod tests;

/// What the log calls the protocol, as nginx does.
const VERSION: &[u8] = b" HTTP/2.0";

/// Between the name and the value of a field.
const SEPARATOR: &[u8] = b": ";

/// Memory for a text that a session keeps between requests, in bytes.
const KEPT_BYTES: usize = 1024;

/// The stream is malformed (section 8.1.1): no response is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// The head of a request; see the module documentation.
#[derive(Default, Debug)]
pub(super) struct RequestHead {
    text: Vec<u8>,
    lines: Vec<FieldLine>,
    method: Range<u32>,
    target: Range<u32>,
    /// `:authority`, if there is one.
    authority: Option<Range<u32>>,
    scheme_is_http: bool,
    /// The request line. The text begins with the pseudo-header fields that it is made of.
    line: Range<u32>,
}

/// Where a field is in the text.
#[derive(Clone, Copy, Debug)]
struct FieldLine {
    name: u32,
    value: u32,
    end: u32,
}

/// A request head that was understood.
#[derive(Debug)]
pub(super) struct Understood<'a> {
    pub(super) request: Request<'a>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

/// What a head says of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BodyNote {
    /// The value of `content-length`.
    pub(super) length: Option<u64>,
    /// Whether the client waits for 100 or a final status before it sends the body.
    pub(super) expects_continue: bool,
}

impl BodyNote {
    /// Nothing is known.
    pub(super) const NONE: Self = Self { length: None, expects_continue: false };
}

/// Reads the fields of a header block into a [`RequestHead`].
#[derive(Debug)]
pub(super) struct HeadReader<'h> {
    head: &'h mut RequestHead,
    has: PseudoFields,
    in_fields: bool,
    is_malformed: bool,
    note: BodyNote,
    host: Option<FieldLine>,
}

/// Which pseudo-header fields have come (section 8.3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct PseudoFields {
    method: bool,
    scheme: bool,
    path: bool,
    authority: bool,
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl RequestHead {
    /// Begins a head, in the memory of an earlier one.
    pub(super) fn read(&mut self) -> HeadReader<'_> {
        self.text.clear();
        self.lines.clear();
        (self.authority, self.scheme_is_http) = (None, false);
        (self.method, self.target, self.line) = (0..0, 0..0, 0..0);
        HeadReader {
            head: self,
            has: PseudoFields::default(),
            in_fields: false,
            is_malformed: false,
            note: BodyNote::NONE,
            host: None,
        }
    }

    /// The request line, as HTTP/1.1 would write it.
    pub(super) fn line(&self) -> &[u8] {
        &self.text[range(&self.line)]
    }

    /// The request line and the fields.
    pub(super) fn text(&self) -> &[u8] {
        &self.text[self.line.start as usize..]
    }

    /// The values of the fields with a name, which is in lower case.
    pub(super) fn fields(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let is_it = move |line: &&FieldLine| {
            &self.text[line.name as usize..line.value as usize - SEPARATOR.len()] == name
        };
        let lines = self.lines.iter().filter(is_it);
        lines.map(|line| &self.text[line.value as usize..line.end as usize])
    }

    /// The method; [`Method::Unknown`] of a head that is not complete.
    pub(super) fn method(&self) -> Method {
        let method = str::from_utf8(&self.text[range(&self.method)]);
        method.map_or(Method::Unknown, Method::from_token)
    }

    /// Memory of the head, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.lines.capacity() * size_of::<FieldLine>()
    }

    /// Drops the memory that the head does not need.
    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.lines.shrink_to_fit();
    }

    /// Drops most of the memory of a long head.
    pub(super) fn shrink(&mut self) {
        if self.memory() > 2 * KEPT_BYTES {
            *self = Self::default();
        }
    }

    /// The request, or the response that refuses it: with the status that HTTP/1.1 would give.
    pub(super) fn understand(&self, limits: &RequestLimits) -> Result<Understood<'_>, Refusal> {
        let text = self.text();
        let start = self.line.start as usize;
        let lines = self.lines.iter().map(|line| {
            let (name, value) = (line.name as usize - start, line.value as usize - start);
            (&text[name..value - SEPARATOR.len()], &text[value..line.end as usize - start])
        });
        let (mut request, mut fields) = (Request::EMPTY, RequestFields::default());
        fields.collect(&mut request, lines, text)?;
        let method = self.method();
        let target = &self.text[range(&self.target)];
        if target.len().max(self.method.len()) > limits.target_bytes_max {
            return Err(Refusal {
                status: Status::UriTooLong,
                reason: "The request target is longer than this server accepts.",
            });
        }
        let authority = self.authority.as_ref().map(|at| &self.text[range(at)]);
        if method == Method::Connect {
            check_connect_target(target)?;
        }
        let host = match authority.or(fields.host) {
            Some(host) if authority::is_valid(host) => host,
            Some(_) => {
                return Err(bad_request("The request does not name a valid host and port."));
            }
            None => return Err(bad_request("The request must name a host.")),
        };
        if method != Method::Connect {
            self.check_target(method, target)?;
        }
        if fields.expects_unknown {
            return Err(UNKNOWN_EXPECTATION);
        }
        fields.complete(&mut request, method, target, host);
        Ok(Understood { request, referer: fields.referer, user_agent: fields.user_agent })
    }

    fn check_target(&self, method: Method, target: &[u8]) -> Result<(), Refusal> {
        check_no_fragment(target)?;
        match is_path_or_asterisk(method, target) {
            _ if !self.scheme_is_http => {
                Err(bad_request("The scheme of the request is neither http nor https."))
            }
            true => Ok(()),
            false => Err(bad_request("The path of the request does not begin with a slash.")),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        // A head has at most 32 KiB.
        start as u32..self.text.len() as u32
    }

    /// Appends the request line, once its parts are known.
    fn append_line(&mut self) {
        let start = self.text.len() as u32;
        self.text.extend_from_within(range(&self.method));
        self.text.push(b' ');
        self.text.extend_from_within(range(&self.target));
        self.text.extend_from_slice(VERSION);
        self.line = start..self.text.len() as u32;
        self.text.extend_from_slice(b"\r\n");
    }

    fn append_field(&mut self, name: &[u8], value: &[u8]) -> FieldLine {
        let name = self.append(name);
        self.append(SEPARATOR);
        let value = self.append(value);
        self.append(b"\r\n");
        let line = FieldLine { name: name.start, value: value.start, end: value.end };
        self.lines.push(line);
        line
    }
}

impl HeadReader<'_> {
    /// Takes the next field.
    pub(super) fn visit(&mut self, name: &[u8], value: &[u8]) {
        self.is_malformed |= match name {
            [b':', pseudo @ ..] => self.take_pseudo(pseudo, value).is_err(),
            _ => self.take(name, value).is_err(),
        };
    }

    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        // They come before all others, and once (section 8.3).
        if self.in_fields {
            return Err(Malformed);
        }
        let (has, is_valid) = match name {
            b"method" => (&mut self.has.method, is_token(value)),
            b"path" => (&mut self.has.path, !value.is_empty() && value.iter().all(is_in_target)),
            b"authority" => (&mut self.has.authority, value.iter().all(is_in_target)),
            b"scheme" => {
                (&mut self.has.scheme, !value.is_empty() && value.iter().all(is_in_target))
            }
            _ => return Err(Malformed),
        };
        if std::mem::replace(has, true) || !is_valid {
            return Err(Malformed);
        }
        let head = &mut *self.head;
        match name {
            b"method" => head.method = head.append(value),
            b"path" => head.target = head.append(value),
            b"authority" => head.authority = Some(head.append(value)),
            _ => {
                head.scheme_is_http =
                    value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https");
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        check_field(name, value)?;
        if !std::mem::replace(&mut self.in_fields, true) {
            self.end_pseudo();
        }
        match name {
            b"content-length" => {
                let length = decimal(value).ok_or(Malformed)?;
                if self.note.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Malformed);
                }
            }
            b"expect" => self.note.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        let line = self.head.append_field(name, value);
        if name == b"host" {
            self.host = Some(line);
        }
        Ok(())
    }

    /// All pseudo-header fields have come.
    fn end_pseudo(&mut self) {
        if self.head.method() == Method::Connect
            && let Some(authority) = self.head.authority.clone()
        {
            // Its target is the authority (section 8.5).
            self.head.target = authority;
        }
        self.head.append_line();
    }

    /// The block has ended.
    ///
    /// # Errors
    ///
    /// If the request is malformed.
    pub(super) fn finish(mut self) -> Result<BodyNote, Malformed> {
        if !self.in_fields {
            self.end_pseudo();
        }
        let PseudoFields { method, scheme, path, authority } = self.has;
        let is_complete = match self.head.method() {
            // Section 8.5.
            Method::Connect => authority && !scheme && !path,
            _ => method && scheme && path,
        };
        let is_consistent = match (&self.head.authority, self.host) {
            (Some(authority), Some(host)) => {
                let text = &self.head.text;
                let host = &text[host.value as usize..host.end as usize];
                text[range(authority)].eq_ignore_ascii_case(host)
            }
            _ => true,
        };
        if self.is_malformed || !is_complete || !is_consistent {
            return Err(Malformed);
        }
        Ok(self.note)
    }
}

/// Whether a path or an authority may contain this byte. Bytes above ASCII are not in the grammar,
/// but names of files have them.
fn is_in_target(byte: &u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0x80..)
}

/// Checks the name and the value of a field (sections 8.2.1 and 8.2.2). It is no pseudo-header
/// field.
pub(super) fn check_field(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let is_name = |byte: &u8| is_token_byte(*byte) && !byte.is_ascii_uppercase();
    if name.is_empty() || !name.iter().all(is_name) {
        return Err(Malformed);
    }
    if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
        || !value.iter().all(|byte| is_text(*byte))
    {
        return Err(Malformed);
    }
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed)
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed),
        _ => Ok(()),
    }
}
