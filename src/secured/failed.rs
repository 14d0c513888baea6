//! The event of a handshake that has failed.

use super::layer::HandshakeFailure;
use crate::driver::SocketAddress;
use crate::events::{EventKind, EventMessage, Events};
use crate::session::Addresses;

/// Tells the operator. The address is read, and the message written, only if a line is due.
pub(super) fn tell(events: &Events, failure: HandshakeFailure, addresses: Addresses<'_>) {
    events.tell(EventKind::TlsFailed, || {
        let client = match addresses.peer() {
            Ok(SocketAddress::Internet(address)) => address.to_string(),
            Ok(SocketAddress::Unix) => "a Unix socket".to_owned(),
            Err(_) => "a client that is gone".to_owned(),
        };
        let HandshakeFailure { name, explanation } = failure;
        let text = format!("the TLS handshake with {client} has failed ({name}): {explanation}");
        EventMessage::new(text).with("client", client).with("reason", name)
    });
}
