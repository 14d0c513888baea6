//! Answers on one connection, told apart as they arrive: a small reader that trusts nobody.
//!
//! It is the client's share of the work, so it does no more than that: the head is parsed, the
//! body is counted. Every answer must be the one that was asked for; a server that answers
//! quickly with something else would otherwise win.

use memchr::memmem;

/// Bytes of the longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields that an answer may have.
const FIELDS_MAX: usize = 64;

/// Reads the answers of one connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Answers {
    /// The beginning of a head whose end has not come yet.
    head: Vec<u8>,
    /// Bytes of the body that are still to come.
    left: u64,
    /// Bytes that every body must have.
    length: u64,
}

impl Answers {
    /// Expects bodies of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        Self { head: Vec::new(), left: 0, length }
    }

    /// Forgets a part of an answer: another connection begins.
    pub(super) fn restart(&mut self) {
        self.head.clear();
        self.left = 0;
    }

    /// Takes what has arrived; says how many answers it has completed.
    ///
    /// # Errors
    ///
    /// In words, when an answer is not the one that is expected.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<u32, String> {
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

    /// Takes bytes of a head. When it is complete, `left` is set and no part of it is kept.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, String> {
        if self.head.is_empty()
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            self.left = self.judge(&bytes[..end + 4])?;
            return Ok(end + 4);
        }
        // The end may lie across the border between two receives.
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(end) = memmem::find(&self.head[from..], b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(format!("the head of an answer is longer than {HEAD_BYTES_MAX} bytes"));
            }
            return Ok(bytes.len());
        };
        let end = from + end + 4;
        let head = std::mem::take(&mut self.head);
        self.left = self.judge(&head[..end])?;
        Ok(end - before)
    }

    /// The bytes of the body that follow a head.
    fn judge(&self, head: &[u8]) -> Result<u64, String> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        answer.parse(head).map_err(|error| format!("an answer is not HTTP: {error}"))?;
        let status = answer.code.unwrap_or_default();
        if status != 200 {
            let reason = answer.reason.unwrap_or_default();
            return Err(format!("an answer has the status {status} {reason}"));
        }
        let length = answer
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<u64>().ok());
        match length {
            Some(length) if length == self.length => Ok(length),
            Some(length) => {
                Err(format!("an answer has {length} bytes where {} were expected", self.length))
            }
            None => Err("an answer has no Content-Length".into()),
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
    fn answers_are_counted_however_they_arrive() {
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
    fn an_answer_that_was_not_asked_for_is_an_error() {
        for (wire, says) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "404 Not Found"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", "4 bytes where 5"),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "no Content-Length"),
            ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "not HTTP"),
        ] {
            let mut answers = Answers::new(5);
            let error = wire.bytes().find_map(|byte| answers.feed(&[byte]).err()).unwrap();
            assert!(error.contains(says), "{error}");
            assert_eq!(Answers::new(5).feed(wire.as_bytes()), Err(error));
        }
        let endless = "HTTP/1.1 200 OK\r\nA: ".to_owned() + &"b".repeat(HEAD_BYTES_MAX);
        assert!(Answers::new(5).feed(endless.as_bytes()).unwrap_err().contains("longer than"));
    }

    #[test]
    fn what_another_connection_has_begun_is_forgotten() {
        let wire = answer("hello");
        let mut answers = Answers::new(5);
        for cut in [10, wire.len() - 2] {
            assert_eq!(answers.feed(&wire.as_bytes()[..cut]), Ok(0));
            answers.restart();
            assert_eq!(answers.feed(wire.as_bytes()), Ok(1));
        }
    }
}
