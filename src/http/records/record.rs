//! What is known of responses that are being sent: enough to write their lines later, when it is
//! known how much of them has left.

use std::time::Instant;

use super::log::format::{LogFormat, Text};
use crate::clients::Client;
use crate::http::semantics::basic::Credentials;
use crate::http::semantics::negotiate::Coding;
use crate::http::semantics::status::Status;
use crate::session::Protection;

/// How much of a text is kept beyond what a line may have of it.
const BESIDE_TARGET_MAX: usize = 64;

/// The most memory that is kept for later records.
const KEPT_BYTES_MAX: usize = 4096;

/// Where the file of a response was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum CacheUse {
    /// In the cache.
    Hit,
    /// It was looked up.
    Miss,
    /// The response needed no file.
    None,
}

/// A request, as far as it was understood.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::http) struct RequestNote<'a> {
    /// The request line without its end, or what has come of it.
    pub(in crate::http) line: &'a [u8],
    /// The whole head, or what has come of it.
    pub(in crate::http) head: &'a [u8],
    /// The host and the port.
    pub(in crate::http) host: Option<&'a [u8]>,
    /// `Referer`.
    pub(in crate::http) referer: Option<&'a [u8]>,
    /// `User-Agent`.
    pub(in crate::http) agent: Option<&'a [u8]>,
    /// `Authorization`, if the password was right.
    pub(in crate::http) authorization: Option<&'a [u8]>,
}

/// A response that has been written into a chain.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Written<'a> {
    /// The name of the site that has answered.
    pub(in crate::http) site: Option<&'a str>,
    /// Its number in the metrics.
    pub(in crate::http) site_number: u16,
    /// The status code.
    pub(in crate::http) status: Status,
    /// The content coding.
    pub(in crate::http) coding: Option<Coding>,
    /// Where its file was found.
    pub(in crate::http) cache: CacheUse,
    /// The client, if it is not that of the connection.
    pub(in crate::http) client: Option<Client>,
    /// Whether the client has used `https`, if a trusted proxy says it.
    pub(in crate::http) says_secure: Option<bool>,
    /// Whether it is logged.
    pub(in crate::http) is_logged: bool,
    /// How many bytes of the chain come before it, or before its last part.
    pub(in crate::http) start: u64,
    /// How many bytes of it have left with earlier chains.
    pub(in crate::http) before: u64,
    /// The length of its head.
    pub(in crate::http) head_bytes: u64,
    /// The length of its content, as it is framed.
    pub(in crate::http) body_bytes: u64,
}

/// What protects a connection, as far as lines of the log say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ProtectionNote {
    pub(super) version: &'static str,
    pub(super) cipher: &'static str,
    pub(super) is_resumed: bool,
}

impl ProtectionNote {
    pub(super) fn of(protection: &Protection) -> Self {
        let Protection { version, cipher, is_resumed, .. } = *protection;
        Self { version, cipher, is_resumed }
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) began: Instant,
    pub(super) status: Status,
    pub(super) coding: Option<Coding>,
    pub(super) cache: CacheUse,
    /// The client, if it is not that of the connection.
    pub(super) client: Option<Client>,
    /// Whether the client has used `https`, if a trusted proxy says it.
    pub(super) says_secure: Option<bool>,
    /// The number of the request on its connection, from 1.
    pub(super) request: u32,
    /// The number of the site in the metrics.
    pub(super) site: u16,
    /// Whether the log has a line of it.
    pub(super) is_logged: bool,
    /// Where its last part begins in the chain.
    start: u64,
    /// How many bytes of it come earlier in that chain, among the parts of others.
    earlier: u64,
    /// How many bytes of it have left with earlier chains.
    before: u64,
    /// How many bytes at its end are not written, because it was cut off.
    unwritten: u64,
    head_bytes: u64,
    body_bytes: u64,
}

impl Record {
    pub(super) fn new(began: Instant, request: u32, written: &Written<'_>) -> Self {
        let Written { site_number, status, coding, cache, client, is_logged, .. } = *written;
        let Written { says_secure, start, before, head_bytes, body_bytes, .. } = *written;
        let site = site_number;
        Self {
            began,
            status,
            coding,
            cache,
            client,
            says_secure,
            request,
            site,
            is_logged,
            start,
            earlier: 0,
            before,
            unwritten: 0,
            head_bytes,
            body_bytes,
        }
    }

    /// Its last part, of `bytes` bytes, begins in the chain behind `start` bytes, among which are
    /// `earlier` bytes of it.
    fn end_at(&mut self, start: u64, bytes: u64, earlier: u64) {
        (self.start, self.earlier) = (start, earlier);
        self.before = self.head_bytes + self.body_bytes - self.unwritten - bytes - earlier;
    }

    /// It ends as this cut says. What it has in the chain counts only when all of the chain up to
    /// the cut has left.
    fn cut_off(&mut self, cut: Cut) {
        let Cut { unwritten, in_chain, chain_end } = cut;
        self.unwritten = unwritten;
        let last = in_chain.min(1);
        self.end_at(chain_end.saturating_sub(last), last, in_chain - last);
    }

    /// How much of the head and of the content has left, if so many bytes of the chain have: at
    /// least, because earlier parts in the chain count only when the last one has begun to leave.
    pub(super) fn sent(&self, of_chain: u64) -> (u64, u64) {
        let of_part = match of_chain.checked_sub(self.start) {
            Some(bytes @ 1..) => bytes.saturating_add(self.earlier),
            _ => 0,
        };
        let written = self.head_bytes + self.body_bytes - self.unwritten;
        let sent = of_part.saturating_add(self.before).min(written);
        let head = sent.min(self.head_bytes);
        (head, sent - head)
    }

    /// Whether all of it has left.
    pub(super) fn is_whole(&self, of_chain: u64) -> bool {
        let (head, body) = self.sent(of_chain);
        head + body == self.head_bytes + self.body_bytes
    }
}

/// Where a response that is written in parts was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Cut {
    /// How many bytes at its end are not written.
    pub(in crate::http) unwritten: u64,
    /// How many bytes of it are in the chain that is written, which is not sent yet.
    pub(in crate::http) in_chain: u64,
    /// How many bytes that chain has.
    pub(in crate::http) chain_end: u64,
}

/// The record of a response that is written in parts, between which other responses are.
#[derive(Debug)]
pub(in crate::http) struct PendingRecord(pub(super) Box<Records>);

impl PendingRecord {
    /// Its memory, in bytes.
    pub(in crate::http) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    fn change(&mut self, change: impl FnMut(&mut Record)) {
        self.0.list.iter_mut().for_each(change);
    }

    /// Its last part, of `bytes` bytes, is written behind `start` bytes of the chain, among which
    /// are `earlier` bytes of it.
    pub(super) fn end_at(&mut self, start: u64, bytes: u64, earlier: u64) {
        self.change(|record| record.end_at(start, bytes, earlier));
    }

    /// It ends as this cut says.
    pub(super) fn cut_off(&mut self, cut: Cut) {
        self.change(|record| record.cut_off(cut));
    }
}

/// The records of the responses in a chain.
#[derive(Default, Debug)]
pub(super) struct Records {
    list: Vec<Record>,
    /// For each record in order, each text of the format in order: where its bytes are.
    spans: Vec<Option<(u32, u32)>>,
    bytes: Vec<u8>,
}

impl Records {
    /// Adds a record, and copies the texts that lines of the format need.
    pub(super) fn add(
        &mut self,
        record: Record,
        format: &LogFormat,
        asked: &RequestNote<'_>,
        site: Option<&str>,
    ) {
        self.list.push(record);
        let credentials = asked.authorization.and_then(Credentials::parse);
        for text in &format.texts {
            let found = match text {
                Text::Request => Some(asked.line).filter(|line| !line.is_empty()),
                Text::Host => asked.host,
                Text::Referer => asked.referer,
                Text::Agent => asked.agent,
                Text::Site => site.map(str::as_bytes),
                Text::User => credentials.as_ref().map(Credentials::user),
                // HTTP/2 has `:authority` instead of that field (RFC 9113 section 8.3.1).
                Text::Field(name) if name.eq_ignore_ascii_case("host") => {
                    field(asked.head, b"host").or(asked.host)
                }
                Text::Field(name) => field(asked.head, name.as_bytes()),
            };
            // A little more shows that the text is cut off, and leaves room for the method and the
            // protocol beside a target.
            let text_bytes_max = text.bytes_max();
            let span = found.map(|text| {
                let text = &text[..text.len().min(text_bytes_max + BESIDE_TARGET_MAX)];
                let start = self.bytes.len();
                self.bytes.extend_from_slice(text);
                // The texts of a chain are parts of an inbox, which is much shorter than 4 GiB.
                (start as u32, self.bytes.len() as u32)
            });
            self.spans.push(span);
        }
    }

    /// Adds a record of which no line will be written.
    pub(super) fn add_bare(&mut self, record: Record) {
        self.list.push(record);
    }

    /// Appends other records, made for the same format.
    pub(super) fn append(&mut self, others: &Self) {
        let by = self.bytes.len() as u32;
        self.list.extend_from_slice(&others.list);
        let moved = |span: &Option<(u32, u32)>| span.map(|(start, end)| (start + by, end + by));
        self.spans.extend(others.spans.iter().map(moved));
        self.bytes.extend_from_slice(&others.bytes);
    }

    /// Drops the memory that is not used.
    pub(super) fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// The records.
    pub(super) fn list(&self) -> &[Record] {
        &self.list
    }

    /// The records, each with its texts, of which there are so many per record.
    pub(super) fn iter(&self, count: usize) -> impl Iterator<Item = (&Record, Texts<'_>)> {
        self.list.iter().enumerate().map(move |(number, record)| {
            let spans = &self.spans[number * count..(number + 1) * count];
            (record, Texts { spans, bytes: &self.bytes })
        })
    }

    /// The memory of the records, in bytes.
    pub(super) fn capacity(&self) -> usize {
        size_of::<Self>()
            + self.list.capacity() * size_of::<Record>()
            + self.spans.capacity() * size_of::<Option<(u32, u32)>>()
            + self.bytes.capacity()
    }

    /// Removes all records, and most of the memory of long ones.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.spans.clear();
        self.bytes.clear();
        self.list.shrink_to(KEPT_BYTES_MAX / size_of::<Record>());
        self.spans.shrink_to(KEPT_BYTES_MAX / size_of::<Option<(u32, u32)>>());
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}

/// The texts of a record, by their numbers in the format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    spans: &'a [Option<(u32, u32)>],
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// A text; `None` if the request has none.
    pub(super) fn get(&self, number: usize) -> Option<&'a [u8]> {
        let (start, end) = self.spans[number]?;
        Some(&self.bytes[start as usize..end as usize])
    }
}

/// The value of the first field with a name, which is in lower case, in a head whose lines are well
/// formed up to where they are not.
pub(crate) fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.map_while(|line| line.strip_suffix(b"\r")).find_map(|line| {
        let (line_name, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        line_name.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Id:  1 \r\nx-id: 2\r\nX-Id-2: 3\r\nEmpty:\r\n";
        assert_eq!(field(head, b"x-id"), Some(&b"1"[..]));
        assert_eq!(field(head, b"x-id-2"), Some(&b"3"[..]));
        assert_eq!(field(head, b"empty"), Some(&b""[..]));
        assert_eq!(field(head, b"x-i"), None);
        assert_eq!(field(head, b"get / http/1.1"), None);
        assert_eq!(field(b"GET / HTTP/1.1\r\nX-Id: 1", b"x-id"), None, "the line has not ended");
    }

    #[test]
    fn what_has_left_of_a_response_follows_from_its_place_in_the_chain() {
        let written = Written {
            site: None,
            site_number: 0,
            status: Status::Ok,
            coding: None,
            cache: CacheUse::None,
            client: None,
            says_secure: None,
            is_logged: true,
            start: 100,
            before: 0,
            head_bytes: 20,
            body_bytes: 50,
        };
        let mut record = Record::new(Instant::now(), 1, &written);
        for (of_chain, sent, is_whole) in [
            (0, (0, 0), false),
            (100, (0, 0), false),
            (110, (10, 0), false),
            (120, (20, 0), false),
            (169, (20, 49), false),
            (170, (20, 50), true),
            (900, (20, 50), true),
        ] {
            assert_eq!((record.sent(of_chain), record.is_whole(of_chain)), (sent, is_whole));
        }
        // 10 bytes have left before; 40 others come earlier in the chain than its last 20.
        record.end_at(100, 20, 40);
        for (of_chain, sent, is_whole) in [
            (0, (10, 0), false),
            (100, (10, 0), false),
            (101, (20, 31), false),
            (119, (20, 49), false),
            (120, (20, 50), true),
            (u64::MAX, (20, 50), true),
        ] {
            assert_eq!((record.sent(of_chain), record.is_whole(of_chain)), (sent, is_whole));
        }
        // The last 5 bytes are not written; 40 are in the chain, which has 300 bytes.
        record.cut_off(Cut { unwritten: 5, in_chain: 40, chain_end: 300 });
        for (of_chain, sent) in [(0, (20, 5)), (299, (20, 5)), (300, (20, 45)), (900, (20, 45))] {
            assert_eq!((record.sent(of_chain), record.is_whole(of_chain)), (sent, false));
        }
        // The last 65 bytes are not written, and the others have left.
        record.cut_off(Cut { unwritten: 65, in_chain: 0, chain_end: 300 });
        assert_eq!((record.sent(u64::MAX), record.is_whole(u64::MAX)), ((5, 0), false));
        assert_eq!(record.sent(0), (5, 0));
    }

    #[test]
    fn records_keep_the_texts_that_the_format_needs() {
        let format = LogFormat::parse("{status} {agent} {>X} {request} {>Host}").unwrap();
        let mut records = Records::default();
        let written = Written {
            site: Some("a"),
            site_number: 1,
            status: Status::Ok,
            coding: None,
            cache: CacheUse::Hit,
            client: None,
            says_secure: None,
            is_logged: true,
            start: 0,
            before: 0,
            head_bytes: 1,
            body_bytes: 0,
        };
        let long = vec![b'a'; 2 * Text::Agent.bytes_max()];
        let requests = [
            RequestNote {
                line: b"GET /1 HTTP/1.1",
                head: b"\r\nX: y\r\n",
                ..RequestNote::default()
            },
            RequestNote { agent: Some(&long), host: Some(b"h"), ..RequestNote::default() },
            RequestNote { head: b"\r\nHost: a\r\n", host: Some(b"h"), ..RequestNote::default() },
        ];
        for (number, asked) in requests.iter().enumerate() {
            let record = Record::new(Instant::now(), number as u32, &written);
            records.add(record, &format, asked, written.site);
        }
        let texts: Vec<_> = records
            .iter(format.texts.len())
            .map(|(_, texts)| [0, 1, 2, 3].map(|number| texts.get(number)))
            .collect();
        assert_eq!(texts[0], [None, Some(&b"y"[..]), Some(b"GET /1 HTTP/1.1"), None]);
        let agent = &long[..Text::Agent.bytes_max() + BESIDE_TARGET_MAX];
        // HTTP/2 has no field of that name.
        assert_eq!(texts[1], [Some(agent), None, None, Some(&b"h"[..])]);
        assert_eq!(texts[2], [None, None, None, Some(&b"a"[..])]);
        records.clear();
        assert_eq!(records.list().len(), 0);
    }
}
