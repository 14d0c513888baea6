//! The session of a connection that speaks HTTP, in whatever version.
//!
//! With a security layer, the handshake has agreed on the version. Without one it is HTTP/1.1, or,
//! if the settings allow it, HTTP/2 for clients that begin with its preface: they have to know
//! beforehand that the server speaks it (RFC 9113 section 3.3).

use std::time::Instant;

use super::h1::Http;
use super::h2::Http2;
use super::h2::frame::PREFACE;
use super::site::{Resolved, Sites};
use crate::ask::{AskId, Reply};
use crate::driver::Chain;
use crate::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer};

/// HTTP/2 in the handshake of a security layer (RFC 9113 section 3.1).
const H2: &str = "h2";

/// A connection that speaks HTTP; see the module documentation.
#[derive(Debug)]
pub enum Web {
    /// HTTP/1.1.
    Http1(Http),
    /// HTTP/2. It is boxed, so that connections of HTTP/1.1 stay small.
    Http2(Box<Http2>),
    /// The first bytes will tell.
    Undecided(FirstBytes),
}

/// What is known of a connection before its first bytes.
#[derive(Clone, Copy, Debug)]
pub struct FirstBytes {
    listener: u32,
    draining: bool,
}

impl FirstBytes {
    /// The session that these bytes are for; `None` if more of them have to come.
    fn decide(self, cx: &mut Context<'_, Sites>, inbox: &Inbox<'_>) -> Option<Web> {
        let bytes = inbox.bytes();
        let length = bytes.len().min(PREFACE.len());
        let is_preface = bytes[..length] == PREFACE[..length];
        if is_preface && length < PREFACE.len() && !inbox.ended() {
            return None;
        }
        let info = ConnectionInfo::new(self.listener, cx.now, cx.addresses);
        let mut web = match is_preface && length == PREFACE.len() {
            true => Web::Http2(Box::new(Http2::new(cx.shared, &info))),
            false => Web::Http1(Http::new(cx.shared, &info)),
        };
        if self.draining {
            web.drain();
        }
        Some(web)
    }
}

impl Session for Web {
    type Shared = Sites;

    #[inline]
    fn new(sites: &mut Sites, info: &ConnectionInfo<'_>) -> Self {
        match info.protection {
            Some(protection) if protection.protocol == Some(H2) => {
                Self::Http2(Box::new(Http2::new(sites, info)))
            }
            None if sites.settings.h2c => {
                Self::Undecided(FirstBytes { listener: info.listener, draining: false })
            }
            _ => Self::Http1(Http::new(sites, info)),
        }
    }

    #[inline]
    fn advance(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        loop {
            match self {
                Self::Http1(http) => return http.advance(cx, inbox, out),
                Self::Http2(http) => return http.advance(cx, inbox, out),
                Self::Undecided(first) => match first.decide(cx, inbox) {
                    Some(decided) => *self = decided,
                    None => return Step::Receive(ReceiveTimeout::Header),
                },
            }
        }
    }

    fn resume(&mut self, cx: &mut Context<'_, Sites>, id: AskId, reply: Reply) {
        match self {
            Self::Http1(http) => http.resume(cx, id, reply),
            Self::Http2(http) => http.resume(cx, id, reply),
            Self::Undecided(_) => unreachable!("{reply:?} for {id:?}, but nothing was asked"),
        }
    }

    #[inline]
    fn answered(&mut self, cx: &mut Context<'_, Sites>, id: AskId, found: Resolved) {
        match self {
            Self::Http1(http) => http.answered(cx, id, found),
            Self::Http2(http) => http.answered(cx, id, found),
            Self::Undecided(_) => unreachable!("{found:?} for {id:?}, but nothing was asked"),
        }
    }

    #[inline]
    fn expire(&mut self, cx: &mut Context<'_, Sites>, timer: Timer, out: &mut Chain) -> Step {
        match self {
            Self::Http1(http) => http.expire(cx, timer, out),
            Self::Http2(http) => http.expire(cx, timer, out),
            Self::Undecided(_) => Step::Finish { linger: false },
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Http1(http) => http.drain(),
            Self::Http2(http) => http.drain(),
            Self::Undecided(first) => first.draining = true,
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Http2(http) => http.deadline(),
            Self::Http1(_) | Self::Undecided(_) => None,
        }
    }

    #[inline]
    fn sent(&mut self, cx: &mut Context<'_, Sites>, sent: Sent) {
        match self {
            Self::Http1(http) => http.sent(cx, sent),
            Self::Http2(http) => http.sent(cx, sent),
            Self::Undecided(_) => {}
        }
    }

    #[inline]
    fn closed(&mut self, cx: &mut Context<'_, Sites>) {
        match self {
            Self::Http1(http) => http.closed(cx),
            Self::Http2(http) => http.closed(cx),
            Self::Undecided(_) => {}
        }
    }
}
