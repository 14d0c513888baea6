//! A layer without cryptography, for tests and simulated worlds. It has every problem of TLS:
//! records that arrive in parts, a handshake, an end of output, input that breaks the protocol.
//!
//! A record is its length in two bytes, in network order, and its content, of which each byte is
//! combined with its position in the stream of its direction. The first record of each side is its
//! greeting. An empty record is the end of output. A server answers input that is wrong with
//! [`COMPLAINT`], in plain.

use std::convert::Infallible;
use std::time::Duration;

use super::layer::{Layer, LayerError};
use crate::session::{Inbox, Protection};

/// What a client says first.
pub const HELLO: &[u8] = b"hello";

/// What a client says first that has HTTP/2 in mind. The handshake agrees on it.
pub const HELLO_H2: &[u8] = b"hello h2";

/// What a server answers.
pub const WELCOME: &[u8] = b"welcome";

/// What a server says if the input is wrong.
pub const COMPLAINT: &[u8] = b"?";

/// The longest content of a record.
pub const CONTENT_MAX: usize = 16 * 1024;

/// One side of a conversation.
#[derive(Debug)]
pub struct Toy {
    reader: Reader,
    writer: Writer,
    greeted: bool,
    /// The protocol that the client's greeting has named.
    protocol: Option<&'static str>,
    ended: bool,
}

/// What all conversations of a server share: how long a handshake may take.
#[derive(Clone, Copy, Debug)]
pub struct ToySettings(pub Duration);

/// Takes records apart.
#[derive(Debug, Default)]
pub struct Reader {
    rest: Vec<u8>,
    position: u8,
}

/// Makes records.
#[derive(Debug, Default)]
pub struct Writer {
    position: u8,
}

impl Reader {
    /// Appends bytes of the wire.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The content of the next record, if it is complete.
    ///
    /// # Errors
    ///
    /// If it is too long.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, LayerError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<2>() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*head));
        if len > CONTENT_MAX {
            return Err(LayerError);
        }
        let Some(content) = rest.get(..len) else { return Ok(None) };
        let content = scramble(content, &mut self.position);
        self.rest.drain(..2 + len);
        Ok(Some(content))
    }
}

impl Writer {
    /// Appends a record with this content.
    pub fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        assert!(content.len() <= CONTENT_MAX, "a record has at most {CONTENT_MAX} bytes");
        out.extend_from_slice(&(content.len() as u16).to_be_bytes());
        out.extend(scramble(content, &mut self.position));
    }
}

fn scramble(bytes: &[u8], position: &mut u8) -> Vec<u8> {
    let mask = |byte: &u8| {
        *position = position.wrapping_add(1);
        byte ^ *position
    };
    bytes.iter().map(mask).collect()
}

impl Layer for Toy {
    type Shared = ToySettings;
    type Message = Infallible;

    fn new(_: &mut ToySettings) -> Self {
        let (reader, writer) = (Reader::default(), Writer::default());
        Self { reader, writer, greeted: false, protocol: None, ended: false }
    }

    fn handshake_timeout(ToySettings(timeout): &ToySettings) -> Duration {
        *timeout
    }

    fn receive(_: &mut ToySettings, message: Infallible) {
        match message {}
    }

    fn is_costly(&self, wire: &[u8]) -> bool {
        !self.greeted && self.reader.rest.len() + wire.len() >= 2 + HELLO.len()
    }

    fn open(
        &mut self,
        _: &mut ToySettings,
        wire: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let bytes = wire.bytes();
        wire.take(bytes.len());
        if !self.ended {
            self.reader.push(bytes);
        }
        let result = self.read(plain, out);
        if result.is_err() {
            out.extend_from_slice(COMPLAINT);
        }
        result
    }

    fn protection(&self) -> Option<Protection> {
        let (version, cipher, protocol) = ("toy", "xor", self.protocol);
        let protection =
            Protection { version, cipher, is_resumed: false, protocol, server_name: None };
        self.greeted.then_some(protection)
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn seal(
        &mut self,
        plain: &[u8],
        record_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        assert!(self.greeted, "nothing is protected before the handshake is complete");
        plain.chunks(record_bytes).for_each(|piece| self.writer.write(piece, out));
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.writer.write(b"", out);
    }

    fn abandoned(&mut self, _: &mut ToySettings) {}

    fn timed_out(&mut self, _: &mut ToySettings) {
        assert!(!self.greeted, "a handshake that is complete has no timeout");
    }
}

impl Toy {
    fn read(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), LayerError> {
        while !self.ended {
            let Some(content) = self.reader.take()? else { break };
            if !self.greeted {
                self.protocol = match &*content {
                    HELLO => None,
                    HELLO_H2 => Some("h2"),
                    _ => return Err(LayerError),
                };
                self.greeted = true;
                self.writer.write(WELCOME, out);
            } else if content.is_empty() {
                self.ended = true;
                self.reader.rest = Vec::new();
            } else {
                plain.extend(content);
            }
        }
        Ok(())
    }
}
