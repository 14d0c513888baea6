//! Writes a line of the log.

use std::io::Write;
use std::time::{Duration, Instant};

use super::super::record::{CacheUse, ProtectionNote, Record, Texts};
use super::clock::LogClock;
use super::escape::{push_json, push_text};
use super::format::{Layout, LogFormat, Piece, REQUEST_BYTES_MAX, TEXT_BYTES_MAX, Text, Value};

/// The number of the user among the texts of the formats with a name.
const USER: usize = 1;

/// Room for the address of a client: IPv6 has up to 39 characters, and 45 with IPv4 within.
const CLIENT_BYTES_MAX: usize = 48;

/// What stands for a value that there is not, as in Apache and nginx.
const ABSENT: &[u8] = b"-";

/// The most bytes of a line, with its end. One of a template is cut there; one of JSON is shorter
/// because its texts are.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of a line while it is written: a value may be added to a line that is nearly
/// full.
pub(super) const LINE_ROOM: usize = LINE_BYTES_MAX + REQUEST_BYTES_MAX + TEXT_BYTES_MAX;

/// What a line of the log is about.
pub(in super::super) struct LogLine<'a> {
    pub(in super::super) record: &'a Record,
    pub(in super::super) texts: Texts<'a>,
    /// The address of the client, unless the record has another one.
    pub(in super::super) client: &'a str,
    /// The number of the connection.
    pub(in super::super) connection: u64,
    /// The number of its listener.
    pub(in super::super) listener: u32,
    /// What protects the connection; `None` if nothing does.
    pub(in super::super) protection: Option<&'a ProtectionNote>,
    /// How many bytes of the chain with the response have left. The maximum stands for all.
    pub(in super::super) of_chain: u64,
    /// When they have.
    pub(in super::super) now: Instant,
}

impl LogLine<'_> {
    /// Appends the line and its end.
    pub(super) fn write(&self, format: &LogFormat, clock: &LogClock, line: &mut Vec<u8>) {
        Writing { line: self, format, clock }.write(line);
    }
}

/// A line that is being written.
struct Writing<'a> {
    line: &'a LogLine<'a>,
    format: &'a LogFormat,
    clock: &'a LogClock,
}

impl Writing<'_> {
    fn write(&self, line: &mut Vec<u8>) {
        let start = line.len();
        match &self.format.layout {
            Layout::Json => self.write_json(line),
            Layout::Common => self.write_common(line),
            Layout::Combined => {
                self.write_common(line);
                self.write_origin(line);
            }
            Layout::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => line.extend_from_slice(literal),
                        Piece::Value(value) => self.write_value(*value, line),
                    }
                    if line.len() - start >= LINE_BYTES_MAX {
                        let mut end = start + LINE_BYTES_MAX - 1 - "…".len();
                        // Not within a character of a literal.
                        while line[end] & 0xc0 == 0x80 {
                            end -= 1;
                        }
                        line.truncate(end);
                        line.extend_from_slice("…".as_bytes());
                        break;
                    }
                }
            }
        }
        line.push(b'\n');
    }

    /// The same as the template, in as few steps as possible: this is the format that is used most.
    #[inline]
    fn write_common(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.client(&mut [0; CLIENT_BYTES_MAX]));
        match self.line.texts.get(USER) {
            None => line.extend_from_slice(self.clock.before_request().as_bytes()),
            Some(user) => {
                line.extend_from_slice(b" - ");
                push_text(line, user, TEXT_BYTES_MAX);
                let unknown = " - -".len();
                line.extend_from_slice(&self.clock.before_request().as_bytes()[unknown..]);
            }
        }
        self.write_some(self.line.texts.get(0), REQUEST_BYTES_MAX, line);
        let [hundreds, tens, ones] = self.line.record.status.digits();
        line.extend_from_slice(&[b'"', b' ', hundreds, tens, ones, b' ']);
        push_number(line, self.sent().1);
    }

    /// What the combined format has besides the common one.
    #[inline]
    fn write_origin(&self, line: &mut Vec<u8>) {
        match (self.line.texts.get(2), self.line.texts.get(3)) {
            (None, None) => line.extend_from_slice(br#" "-" "-""#),
            (referer, agent) => {
                line.extend_from_slice(br#" ""#);
                self.write_some(referer, TEXT_BYTES_MAX, line);
                line.extend_from_slice(br#"" ""#);
                self.write_some(agent, TEXT_BYTES_MAX, line);
                line.push(b'"');
            }
        }
    }

    /// The address of the client. There is `room` for one that is not that of the connection.
    #[inline]
    fn client<'b>(&'b self, room: &'b mut [u8; CLIENT_BYTES_MAX]) -> &'b [u8] {
        let Some(client) = self.line.record.client else { return self.line.client.as_bytes() };
        let mut rest = &mut room[..];
        // Any address has room.
        let _ = write!(rest, "{client}");
        let left = rest.len();
        &room[..CLIENT_BYTES_MAX - left]
    }

    /// Since the head of the request was complete.
    fn duration(&self) -> Duration {
        self.line.now.saturating_duration_since(self.line.record.began)
    }

    fn write_value(&self, value: Value, line: &mut Vec<u8>) {
        match value {
            Value::Client => line.extend_from_slice(self.client(&mut [0; CLIENT_BYTES_MAX])),
            Value::Time => line.extend_from_slice(self.clock.local().as_bytes()),
            Value::TimeIso => line.extend_from_slice(self.clock.iso().as_bytes()),
            Value::Msec => self.write_seconds(self.clock.milliseconds(), line),
            Value::Duration => self.write_seconds(self.duration().as_millis() as u64, line),
            Value::DurationUs => push_number(line, self.duration().as_micros() as u64),
            Value::Status => line.extend_from_slice(&self.line.record.status.digits()),
            Value::BodyBytes => push_number(line, self.sent().1),
            Value::Sent => push_number(line, self.sent().0 + self.sent().1),
            Value::Listener => push_number(line, self.line.listener.into()),
            Value::Connection => push_number(line, self.line.connection),
            Value::ConnectionRequests => push_number(line, self.line.record.request.into()),
            Value::Coding => self.write_some(self.coding(), TEXT_BYTES_MAX, line),
            Value::Cache => self.write_some(self.cache(), TEXT_BYTES_MAX, line),
            Value::Scheme => line.extend_from_slice(self.scheme().as_bytes()),
            Value::Tls => {
                let version = self.line.protection.map(|protection| protection.version.as_bytes());
                self.write_some(version, TEXT_BYTES_MAX, line);
            }
            Value::TlsCipher => {
                let cipher = self.line.protection.map(|protection| protection.cipher.as_bytes());
                self.write_some(cipher, TEXT_BYTES_MAX, line);
            }
            Value::TlsResumed => {
                let is_resumed = self.line.protection.is_some_and(|it| it.is_resumed);
                self.write_some(is_resumed.then_some(&b"resumed"[..]), 16, line);
            }
            Value::Aborted => {
                self.write_some(self.is_aborted().then_some(&b"aborted"[..]), 16, line);
            }
            Value::Text(number) => {
                self.write_some(self.line.texts.get(number), TEXT_BYTES_MAX, line);
            }
            Value::Request => self.write_some(self.request(), REQUEST_BYTES_MAX, line),
            Value::Method => self.write_some(self.parts()[0], TEXT_BYTES_MAX, line),
            Value::Target => self.write_some(self.parts()[1], REQUEST_BYTES_MAX, line),
            Value::Protocol => self.write_some(self.parts()[2], TEXT_BYTES_MAX, line),
            Value::Path => {
                let path = self.parts()[1].map(|target| split_query(target).0);
                self.write_some(path, REQUEST_BYTES_MAX, line);
            }
            Value::Query => {
                let query = self.parts()[1].and_then(|target| split_query(target).1);
                self.write_some(query, REQUEST_BYTES_MAX, line);
            }
        }
    }

    fn write_some(&self, text: Option<&[u8]>, bytes_max: usize, line: &mut Vec<u8>) {
        match text {
            Some(text) => push_text(line, text, bytes_max),
            None => line.extend_from_slice(ABSENT),
        }
    }

    /// Seconds with three decimal places, as in nginx.
    fn write_seconds(&self, milliseconds: u64, line: &mut Vec<u8>) {
        push_number(line, milliseconds / 1000);
        let rest = milliseconds % 1000;
        let digit = |number: u64| b'0' + (number % 10) as u8;
        line.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }

    /// An object. Values that there are not are left out.
    fn write_json(&self, line: &mut Vec<u8>) {
        let record = self.line.record;
        line.extend_from_slice(br#"{"ts":""#);
        line.extend_from_slice(self.clock.utc().as_bytes());
        let rest = self.clock.milliseconds() % 1000;
        let digit = |number: u64| b'0' + (number % 10) as u8;
        let digits = [digit(rest / 100), digit(rest / 10), digit(rest)];
        line.extend_from_slice(&[b'.', digits[0], digits[1], digits[2], b'Z', b'"']);
        self.push_text(line, "client", Some(self.client(&mut [0; CLIENT_BYTES_MAX])));
        let text = |text: &Text| {
            let number = self.format.texts.iter().position(|known| known == text);
            number.and_then(|number| self.line.texts.get(number))
        };
        self.push_text(line, "user", text(&Text::User));
        self.push_text(line, "host", text(&Text::Host));
        self.push_text(line, "site", text(&Text::Site));
        let [method, target, protocol] = self.parts();
        self.push_text(line, "method", method);
        self.push_long_text(line, "target", target, REQUEST_BYTES_MAX);
        self.push_text(line, "protocol", protocol);
        line.extend_from_slice(br#","status":"#);
        line.extend_from_slice(&record.status.digits());
        let (head, body) = self.sent();
        for (name, number) in [
            ("body_bytes", body),
            ("sent", head + body),
            ("duration_us", self.duration().as_micros() as u64),
        ] {
            push_name(line, name);
            push_number(line, number);
        }
        self.push_text(line, "referer", text(&Text::Referer));
        self.push_text(line, "agent", text(&Text::Agent));
        self.push_text(line, "coding", self.coding());
        self.push_text(line, "cache", self.cache());
        let version = self.line.protection.map(|protection| protection.version.as_bytes());
        self.push_text(line, "tls", version);
        for (name, number) in [
            ("listener", self.line.listener.into()),
            ("connection", self.line.connection),
            ("connection_requests", record.request.into()),
        ] {
            push_name(line, name);
            push_number(line, number);
        }
        if self.is_aborted() {
            line.extend_from_slice(br#","aborted":true"#);
        }
        line.push(b'}');
    }

    fn push_text(&self, line: &mut Vec<u8>, name: &str, text: Option<&[u8]>) {
        self.push_long_text(line, name, text, TEXT_BYTES_MAX);
    }

    fn push_long_text(&self, line: &mut Vec<u8>, name: &str, text: Option<&[u8]>, max: usize) {
        if let Some(text) = text {
            push_name(line, name);
            line.push(b'"');
            push_json(line, text, max);
            line.push(b'"');
        }
    }

    fn sent(&self) -> (u64, u64) {
        self.line.record.sent(self.line.of_chain)
    }

    fn is_aborted(&self) -> bool {
        !self.line.record.is_whole(self.line.of_chain)
    }

    fn request(&self) -> Option<&[u8]> {
        let number = self.format.texts.iter().position(|text| *text == Text::Request);
        number.and_then(|number| self.line.texts.get(number))
    }

    /// The method, the target and the protocol of the request line. A line without a space is taken
    /// for a target.
    fn parts(&self) -> [Option<&[u8]>; 3] {
        let Some(request) = self.request() else { return [None; 3] };
        let is_space = |byte: &u8| *byte == b' ';
        let mut each = request.splitn(3, is_space);
        match (each.next(), each.next(), each.next()) {
            (method, Some(target), protocol) => [method, Some(target), protocol],
            _ => [None, Some(request), None],
        }
    }

    /// Of the address that the client has used, perhaps at a proxy.
    fn scheme(&self) -> &'static str {
        let is_protected = self.line.protection.is_some();
        if self.line.record.says_secure.unwrap_or(is_protected) { "https" } else { "http" }
    }

    fn coding(&self) -> Option<&[u8]> {
        self.line.record.coding.map(|coding| coding.name().as_bytes())
    }

    fn cache(&self) -> Option<&[u8]> {
        match self.line.record.cache {
            CacheUse::Hit => Some(b"hit"),
            CacheUse::Miss => Some(b"miss"),
            CacheUse::None => None,
        }
    }
}

fn push_name(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

fn push_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The path of a target, and the query after it.
fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{COMBINED, COMMON};
    use super::*;
    use crate::driver::Now;
    use crate::http::records::record::{Records, RequestNote, Written};
    use crate::http::semantics::status::Status;

    /// A line about a response of 70 bytes, 50 of which are content.
    fn line(format: &LogFormat, now: Now, asked: &RequestNote<'_>, of_chain: u64) -> Vec<u8> {
        let written = Written {
            site: None,
            site_number: 0,
            status: Status::NotFound,
            coding: None,
            cache: CacheUse::None,
            client: None,
            says_secure: None,
            is_logged: true,
            start: 0,
            before: 0,
            head_bytes: 20,
            body_bytes: 50,
        };
        let mut records = Records::default();
        records.add(Record::new(now.instant, 1, &written), format, asked, None);
        let (record, texts) = records.iter(format.texts.len()).next().unwrap();
        let (client, now_instant) = ("192.0.2.1", now.instant);
        let line = LogLine {
            record,
            texts,
            client,
            connection: 1,
            listener: 0,
            protection: None,
            of_chain,
            now: now_instant,
        };
        let (mut clock, mut written) = (LogClock::new(), Vec::new());
        clock.set(now);
        line.write(format, &clock, &mut written);
        written
    }

    #[test]
    fn the_formats_of_nginx_are_what_their_templates_mean() {
        let mut random = fastrand::Rng::with_seed(16);
        for _ in 0..500 {
            let [request, referer, agent] = [(); 3].map(|()| -> Option<Vec<u8>> {
                let longest = if random.u8(..9) == 0 { 20_000 } else { 40 };
                let length = random.usize(..longest);
                let text = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
                random.bool().then_some(text)
            });
            let line_of_request = request.as_deref().unwrap_or_default();
            let authorization = (random.u8(..2) == 0).then_some(&b"Basic YcO8Ogo="[..]);
            let asked = RequestNote {
                line: line_of_request,
                authorization,
                referer: referer.as_deref(),
                agent: agent.as_deref(),
                ..RequestNote::default()
            };
            let of_chain = random.u64(..100);
            for (name, template) in [("common", COMMON), ("combined", COMBINED)] {
                // At the same second.
                let now = Now::read();
                let [own, general] = [name, template]
                    .map(|text| line(&LogFormat::parse(text).unwrap(), now, &asked, of_chain));
                assert_eq!(own.escape_ascii().to_string(), general.escape_ascii().to_string());
            }
        }
    }
}
