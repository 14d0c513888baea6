//! TLS as a security layer (RFC 8446, RFC 5246), over the unbuffered connection of rustls.
//!
//! This is the only file that drives a rustls connection. What it does, in the order in which
//! rustls wants it: a flight is encoded before anything else; after an error, what rustls still has
//! to say is the alert; undiscarded input is kept as it is, and later input appended, because
//! records are decrypted in place.
//!
//! Between two records a connection keeps no buffer.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CipherSuite, Error, HandshakeKind, InvalidMessage, ProtocolVersion};

use super::config::OFFERED;
use super::config::{Chosen, TlsConfig, TlsShared};
use super::stats::TlsFailure;
use crate::secured::{HandshakeFailure, Layer, LayerError};
use crate::session::{Inbox, Protection};

/// The head of a record: type, version and length (RFC 8446 section 5.1).
const RECORD_HEAD: usize = 5;

/// The types of records with handshake messages, and of those that are encrypted in TLS 1.3.
const HANDSHAKE: u8 = 22;
const ENCRYPTED: u8 = 23;

/// How much input of a connection may wait for more: a part of a record, of at most 18 KiB (RFC
/// 5246 section 6.2.3), or the records of a part of a handshake message, which may have been filled
/// up (RFC 8446 section 5.4). The messages of clients have 2 KiB, but for a chain of certificates.
const WAITING_BYTES_MAX: usize = 20 * 1024;
const WAITING_BYTES_MAX_OF_CHAINS: usize = 32 * 1024;

/// How much longer records are than 64 KiB of plaintext in them may be, and a first guess for
/// flights.
const SLACK_BYTES: usize = 512;

/// The answer to a request without TLS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 93\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks HTTPS, and the request came without TLS. Use an address with https:// here.\n";

/// Why such a request fails.
const NOT_TLS_FAILURE: HandshakeFailure = HandshakeFailure {
    name: "not_tls",
    explanation: "the client has sent a request without TLS; its address has to begin with \
                  https://",
};

/// The server's side of a TLS connection.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// What chooses its certificate. A renewal does not concern a handshake that has begun.
    chosen: Arc<Chosen>,
    /// Input that is a part of a record, or of a handshake message.
    pending: Vec<u8>,
    state: State,
    /// Whether the client needs a certificate.
    verifies_client: bool,
    /// The name that the client has asked for.
    server_name: Option<Box<str>>,
    /// Why the handshake has failed, if it has.
    failure: Option<HandshakeFailure>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing has arrived.
    New,
    Handshake,
    Open,
    /// The peer has ended its output.
    Ended,
    /// The handshake has failed, and that was counted.
    Failed,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Layer for Tls {
    type Shared = TlsShared;
    type Message = TlsConfig;

    fn new(shared: &mut TlsShared) -> Self {
        let (connection, chosen) = shared.connection();
        let verifies_client = shared.verifies_clients();
        let (pending, state, server_name, failure) = (Vec::new(), State::New, None, None);
        Self { connection, chosen, pending, state, verifies_client, server_name, failure }
    }

    fn handshake_timeout(shared: &TlsShared) -> Duration {
        shared.handshake_timeout()
    }

    fn receive(shared: &mut TlsShared, config: TlsConfig) {
        shared.replace(&config);
    }

    fn is_costly(&self, wire: &[u8]) -> bool {
        let is_handshake = matches!(self.state, State::New | State::Handshake);
        is_handshake && has_handshake_record(&self.pending, wire, self.verifies_client)
    }

    fn open(
        &mut self,
        shared: &mut TlsShared,
        wire: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let bytes = wire.bytes();
        wire.take(bytes.len());
        if self.state == State::New && bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            shared.stats.count_not_tls();
            self.failure = Some(NOT_TLS_FAILURE);
            out.extend_from_slice(NOT_TLS);
            return Err(LayerError);
        }
        if self.state == State::Ended {
            return Ok(());
        }
        let mut input = match self.pending.is_empty() {
            true => shared.take_scratch(),
            false => mem::take(&mut self.pending),
        };
        input.extend_from_slice(bytes);
        let result = self.process(shared, &mut input, plain, out);
        if let Err(error) = &result {
            self.tell_alert(out);
            shared.stats.count_failed(error, self.is_open());
            if !self.is_open() {
                self.failure = Some(TlsFailure::of(error).told());
                self.state = State::Failed;
            }
        }
        // What follows the end of the peer's output is ignored.
        if input.is_empty() || self.state == State::Ended || result.is_err() {
            shared.put_scratch(input);
        } else if input.capacity() > 2 * input.len() {
            // A connection keeps what it needs; the scratch buffer is larger.
            self.pending = input.clone();
            shared.put_scratch(input);
        } else {
            self.pending = input;
        }
        result.map_err(|_| LayerError)
    }

    fn protection(&self) -> Option<Protection> {
        if !self.is_open() {
            return None;
        }
        let suite = self.connection.negotiated_cipher_suite();
        Some(Protection {
            version: version_name(self.connection.protocol_version()),
            cipher: suite.map_or("unknown", |suite| cipher_name(suite.suite())),
            is_resumed: self.is_resumed(),
            protocol: protocol_name(self.connection.alpn_protocol()),
            server_name: self.server_name.clone(),
        })
    }

    fn failure(&self) -> Option<HandshakeFailure> {
        self.failure
    }

    fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn seal(
        &mut self,
        plain: &[u8],
        record_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        plain.chunks(record_bytes).try_for_each(|piece| self.encrypt(piece, out))
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let end = |traffic: &mut Traffic<'_>, room: &mut [u8]| traffic.queue_close_notify(room);
        let _ = self.write(out, SLACK_BYTES, end);
    }

    fn timed_out(&mut self, shared: &mut TlsShared) {
        shared.stats.count_timed_out();
        self.state = State::Failed;
    }

    fn abandoned(&mut self, shared: &mut TlsShared) {
        // A connection on which nothing has come is one that a browser has opened in advance.
        if self.state == State::Handshake {
            shared.stats.count_abandoned();
        }
    }
}

impl Tls {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Ended)
    }

    /// Takes input, and removes what was used.
    fn process(
        &mut self,
        shared: &mut TlsShared,
        input: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if self.state == State::New {
            self.state = State::Handshake;
        }
        let was_handshaking = self.state == State::Handshake;
        let mut used = 0;
        let result = self.take_records(input, &mut used, plain, out);
        input.drain(..used);
        result?;
        if was_handshaking {
            // The end of the peer's output may have come with the end of the handshake.
            if !self.connection.is_handshaking() {
                if self.state == State::Handshake {
                    self.state = State::Open;
                }
                shared.stats.count_handshake(self.is_resumed());
            }
        }
        let max = match self.verifies_client {
            true => WAITING_BYTES_MAX_OF_CHAINS,
            false => WAITING_BYTES_MAX,
        };
        if input.len() > max {
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        Ok(())
    }

    /// Passes input to rustls until it wants more, and counts in `used` what is to be removed.
    fn take_records(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        loop {
            let UnbufferedStatus { discard, state, .. } =
                self.connection.process_tls_records(&mut input[*used..]);
            *used += discard;
            // If a certificate was chosen, it was in this call. After a HelloRetryRequest it is
            // chosen again.
            if self.state == State::Handshake
                && let Some(name) = self.chosen.take_name()
            {
                self.server_name = Some(name);
            }
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        *used += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut flight) => encode(&mut flight, out)?,
                ConnectionState::TransmitTlsData(flight) => flight.done(),
                ConnectionState::PeerClosed => self.state = State::Ended,
                ConnectionState::Closed => {
                    self.state = State::Ended;
                    return Ok(());
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
                    return Ok(());
                }
                // Early data is not accepted, so rustls skips it.
                _ => return Err(Error::General("an unexpected state of the connection".into())),
            }
        }
    }

    /// After an error: what rustls has to tell the peer. There may be a flight in front of it.
    ///
    /// Without anything to say, rustls would look at the input again: at positions that an empty
    /// buffer does not have, or at the same fault, for which it has an alert already. Both panic.
    fn tell_alert(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
            if encode(&mut data, out).is_err() {
                return;
            }
        }
    }

    fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), LayerError> {
        self.write(out, plain.len() + SLACK_BYTES, |traffic, room| traffic.encrypt(plain, room))
    }

    /// Appends what `act` writes, which gets this much room, or more if it needs more.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        mut act: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), LayerError> {
        loop {
            // Nothing of the input is complete, so nothing of it is used.
            let UnbufferedStatus { state, .. } =
                self.connection.process_tls_records(&mut self.pending);
            let written = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.state = State::Ended;
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let written = append(out, room, |room| match act(&mut traffic, room) {
                        Ok(len) => Written::All(len),
                        Err(EncryptError::InsufficientSize(size)) => {
                            Written::Needs(size.required_size)
                        }
                        Err(EncryptError::EncryptExhausted) => Written::Never,
                    });
                    return written.map_err(|_| LayerError);
                }
                Ok(_) | Err(_) => return Err(LayerError),
            };
            written.map_err(|_| LayerError)?;
        }
    }
}

/// Whether there is a complete record of the handshake: only such a record leads to a signature or
/// a key exchange of the server. Others may come before it, such as a warning. If the client is
/// verified, encrypted records count too, since its certificate is in one of them (TLS 1.3).
fn has_handshake_record(pending: &[u8], wire: &[u8], verifies_client: bool) -> bool {
    let len = pending.len() + wire.len();
    let byte = |at: usize| match pending.get(at) {
        Some(byte) => usize::from(*byte),
        None => usize::from(wire[at - pending.len()]),
    };
    let mut start = 0;
    while start + RECORD_HEAD <= len {
        let end = start + RECORD_HEAD + (byte(start + 3) << 8 | byte(start + 4));
        let is_costly = byte(start) == usize::from(HANDSHAKE)
            || verifies_client && byte(start) == usize::from(ENCRYPTED);
        if end <= len && is_costly {
            return true;
        }
        start = end;
    }
    false
}

/// Appends a flight of the handshake, or an alert.
fn encode(data: &mut Data<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    append(out, SLACK_BYTES, |room| match data.encode(room) {
        Ok(len) => Written::All(len),
        Err(EncodeError::InsufficientSize(size)) => Written::Needs(size.required_size),
        Err(EncodeError::AlreadyEncoded) => Written::All(0),
    })
}

type Data<'a> = EncodeTlsData<'a, ServerConnectionData>;
type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;

/// The result of writing into some room.
enum Written {
    /// So many bytes were written.
    All(usize),
    /// Nothing was, because so many bytes are needed.
    Needs(usize),
    /// Nothing can be.
    Never,
}

/// Appends what `act` writes to `out`. It gets as many bytes as it needs, in the second try.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut act: impl FnMut(&mut [u8]) -> Written,
) -> Result<(), Error> {
    let start = out.len();
    let mut room = room;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match act(&mut out[start..]) {
            Written::All(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Written::Needs(size) => room = size,
            Written::Never => break,
        }
    }
    out.truncate(start);
    Err(Error::EncryptError)
}

/// The version of TLS, as nginx and OpenSSL write it.
fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

/// The registered name of a cipher suite; rustls writes `TLS13_` for those of TLS 1.3.
#[must_use]
pub fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// The name of a protocol in ALPN, of those that the server offers.
fn protocol_name(protocol: Option<&[u8]>) -> Option<&'static str> {
    let protocol = protocol?;
    OFFERED.into_iter().find(|offered| offered.as_bytes() == protocol)
}
