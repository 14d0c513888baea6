//! Reads the answers of HTTP/1.1 on one connection: parses heads and counts the bytes of bodies.
//!
//! It does no more than that, because it is CPU time of the client. But it checks the status and
//! length of every answer: otherwise a server that quickly sends errors would win.

use std::fmt;

use memchr::memmem;

use super::http2_client::Http2ClientError;

/// Maximum size of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Maximum number of header fields of an answer.
const FIELDS_MAX: usize = 64;

/// Reads the answers of one connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Answers {
    /// The part of a head that has arrived so far.
    head: Vec<u8>,
    /// Bytes of the body that have not arrived yet.
    left: u64,
    /// The expected length of every body.
    length: u64,
}

/// Why an answer is not the expected one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerError {
    /// The head is longer than 16 KiB.
    LongHead,
    /// The head is not HTTP.
    NotHttp(httparse::Error),
    /// The status is not 200.
    Status(u16, String),
    /// The body has another length.
    Length {
        /// The length of the body.
        found: u64,
        /// The length of the file.
        expected: u64,
    },
    /// There is no valid `Content-Length`.
    NoLength,
    /// A conversation in HTTP/2 fails.
    Http2(Http2ClientError),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongHead => {
                write!(f, "the head of an answer is longer than {HEAD_BYTES_MAX} bytes")
            }
            Self::NotHttp(error) => write!(f, "an answer is not HTTP: {error}"),
            Self::Status(code, reason) => write!(f, "an answer has the status {code} {reason}"),
            Self::Length { found, expected } => {
                write!(f, "an answer has {found} bytes instead of {expected}")
            }
            Self::NoLength => f.write_str("an answer has no Content-Length"),
            Self::Http2(error) => error.fmt(f),
        }
    }
}

impl Answers {
    /// Expects bodies of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        Self { head: Vec::new(), left: 0, length }
    }

    /// Discards an incomplete answer, because a new connection begins.
    pub(super) fn restart(&mut self) {
        self.head.clear();
        self.left = 0;
    }

    /// Takes bytes that have arrived, and returns how many answers they complete.
    ///
    /// # Errors
    ///
    /// When an answer is not the expected one.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<u32, AnswerError> {
        let mut complete = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let used = self.head(bytes)?;
                bytes = &bytes[used..];
                if !self.head.is_empty() {
                    return Ok(complete);
                }
            }
            let body = self.left.min(bytes.len() as u64);
            self.left -= body;
            bytes = &bytes[body as usize..];
            complete += u32::from(self.left == 0);
        }
        Ok(complete)
    }

    /// Takes bytes of a head, and returns how many belong to it. When the head is complete, sets
    /// `left` and empties `self.head`.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, AnswerError> {
        if self.head.is_empty()
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            self.left = self.body_length(&bytes[..end + 4])?;
            return Ok(end + 4);
        }
        // The empty line that ends the head may be split between two receives.
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(end) = memmem::find(&self.head[from..], b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(AnswerError::LongHead);
            }
            return Ok(bytes.len());
        };
        let end = from + end + 4;
        let head = std::mem::take(&mut self.head);
        self.left = self.body_length(&head[..end])?;
        Ok(end - before)
    }

    /// Checks a head, and returns the length of the body that follows.
    fn body_length(&self, head: &[u8]) -> Result<u64, AnswerError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        answer.parse(head).map_err(AnswerError::NotHttp)?;
        let status = answer.code.unwrap_or_default();
        if status != 200 {
            let reason = answer.reason.unwrap_or_default();
            return Err(AnswerError::Status(status, reason.to_owned()));
        }
        let length = answer
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<u64>().ok());
        match length {
            Some(length) if length == self.length => Ok(length),
            Some(found) => Err(AnswerError::Length { found, expected: self.length }),
            None => Err(AnswerError::NoLength),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[test]
    fn answers_are_counted_however_they_are_split() {
        for body in ["", "x", "hello\r\n\r\nhello"] {
            let wire = answer(body).repeat(3);
            for piece in 1..=wire.len() {
                let mut answers = Answers::new(body.len() as u64);
                let counted = wire.as_bytes().chunks(piece).map(|part| answers.feed(part).unwrap());
                assert_eq!(counted.sum::<u32>(), 3, "pieces of {piece}");
            }
        }
    }

    #[test]
    fn an_unexpected_answer_is_an_error() {
        for (wire, says) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "404 Not Found"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", "4 bytes instead of 5"),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "no Content-Length"),
            ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "not HTTP"),
        ] {
            let mut answers = Answers::new(5);
            let error = wire.bytes().find_map(|byte| answers.feed(&[byte]).err()).unwrap();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(Answers::new(5).feed(wire.as_bytes()), Err(error));
        }
        let endless = "HTTP/1.1 200 OK\r\nA: ".to_owned() + &"b".repeat(HEAD_BYTES_MAX);
        assert_eq!(Answers::new(5).feed(endless.as_bytes()), Err(AnswerError::LongHead));
    }

    #[test]
    fn a_new_connection_discards_an_incomplete_answer() {
        let wire = answer("hello");
        let mut answers = Answers::new(5);
        for cut in [10, wire.len() - 2] {
            assert_eq!(answers.feed(&wire.as_bytes()[..cut]), Ok(0));
            answers.restart();
            assert_eq!(answers.feed(wire.as_bytes()), Ok(1));
        }
    }
}
