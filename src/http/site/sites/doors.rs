//! Which clients come in, by the doors of listeners and the rules of sites.

use super::super::response::Response;
use super::super::templates::DENIED;
use super::Sites;
use crate::clients::{Client, Door, ProxyFailure, ProxyHeaderError};
use crate::driver::SocketAddress;
use crate::events::{EventKind, EventMessage};
use crate::session::{Addresses, Admission};

impl Sites {
    /// What a listener knows of proxies, and whom it lets in; `None` for everybody.
    #[inline]
    pub(in crate::http) fn door(&self, listener: u32) -> Option<&Door> {
        self.settings.sites.door(listener)
    }

    /// Whether connections of a listener begin with a PROXY header.
    #[inline]
    pub(in crate::http) fn is_proxied(&self, listener: u32) -> bool {
        self.door(listener).is_some_and(|door| door.is_proxied)
    }

    /// What becomes of a connection, before anything is read of it.
    #[inline]
    pub(in crate::http) fn admit(&self, listener: u32, addresses: Addresses<'_>) -> Admission {
        match self.door(listener) {
            None => Admission::Client,
            // The address of the peer costs a system call.
            Some(door) if !door.is_proxied && door.access.is_open() => Admission::Client,
            Some(door) if !door.admits_peer(Client::of(addresses)) => Admission::Denied,
            Some(door) if door.is_proxied => Admission::Proxy,
            Some(_) => Admission::Client,
        }
    }

    /// Whether the client that a PROXY header names may come in by a listener.
    pub(in crate::http) fn admits_client(&self, listener: u32, client: Client) -> bool {
        self.door(listener).is_none_or(|door| door.access.admits(client))
    }

    /// The response to a client that a site does not admit; `None` for the others.
    #[inline]
    pub(in crate::http::site) fn refuse_client(
        &mut self,
        place: usize,
        addresses: Addresses<'_>,
    ) -> Option<Response> {
        let access = &self.site(place).settings.clients;
        if access.is_open() || access.admits(Client::of(addresses)) {
            return None;
        }
        Some(self.error(DENIED))
    }

    /// A connection behind a proxy is closed before it begins: tells the operator. A client that
    /// may not come in is only counted, as one without a proxy.
    pub(in crate::http) fn turned_away(&mut self, why: ProxyFailure, addresses: Addresses<'_>) {
        if let Some(recorder) = &self.recorder {
            recorder.turned_away(why);
        }
        let (name, what) = match why {
            ProxyFailure::Denied(_) => return,
            ProxyFailure::Incomplete => ("incomplete", "its PROXY header was not complete in time"),
            ProxyFailure::Header(error) => match error {
                ProxyHeaderError::Missing => (
                    "missing",
                    "it does not begin with a PROXY header; make the proxy send one, as with \
                     send-proxy-v2 of HAProxy, or set proxy-protocol to off",
                ),
                ProxyHeaderError::TooLong => ("too_long", "its PROXY header is too long"),
                ProxyHeaderError::Malformed => ("malformed", "its PROXY header is malformed"),
                ProxyHeaderError::Checksum => {
                    ("checksum", "the checksum of its PROXY header is wrong")
                }
            },
        };
        self.settings.events.tell(EventKind::ProxyFailed, || {
            let peer = match addresses.peer() {
                Ok(SocketAddress::Internet(address)) => address.to_string(),
                Ok(SocketAddress::Unix) => "a Unix socket".to_owned(),
                Err(_) => "a proxy that is gone".to_owned(),
            };
            let text = format!("a connection of the proxy {peer} was closed: {what}");
            EventMessage::new(text).with("client", peer).with("reason", name)
        });
    }
}
