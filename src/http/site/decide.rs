//! Who answers a request, and with what.
//!
//! This is where sessions of all versions of HTTP get their responses: that of the server itself to
//! a load balancer, that of a site ([`Exchange`]), or that of a listener that redirects.

use std::cell::Cell;
use std::net::SocketAddr;
use std::num::NonZero;

use super::answer::{Exchange, ResolvedNames, ResponseResult, Undecided};
use super::origin::Origin;
use super::response::Response;
use super::templates::Problem;
use super::{Choice, Sites};
use crate::ask::AskId;
use crate::clients::{Client, ForwardedRequest};
use crate::driver::SocketAddress;
use crate::http::records::CacheUse;
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;
use crate::session::{Context, Protection};

/// Why a request is misdirected (RFC 9110 section 15.5.20).
const NO_SITE: &str = "This server has no site for the host of the request.";
const OTHER_SITE: &str = "The TLS connection is for another host than the request. Connect again \
                          for this one.";

/// The connection of a request, and what the request says besides its meaning.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Asker<'a> {
    /// Its listener, which decides with the host which site answers.
    pub(in crate::http) listener: u32,
    /// What protects it.
    pub(in crate::http) protection: Option<&'a Protection>,
    /// Whether the server is about to stop.
    pub(in crate::http) draining: bool,
    /// Its pace, as it was set: the most bytes per second.
    pub(in crate::http) pace: &'a Cell<Option<NonZero<u64>>>,
    /// The lines of the head of the request.
    pub(in crate::http) head: &'a [u8],
    /// The id of a lookup for this request; `None` if none may begin.
    pub(in crate::http) lookup: Option<AskId>,
}

/// The response to a request. `origin` becomes where it is from.
pub(in crate::http) fn decide(
    cx: &mut Context<'_, Sites>,
    asker: &Asker<'_>,
    request: &Request<'_>,
    resolved_names: Option<&ResolvedNames>,
    origin: &mut Origin,
) -> ResponseResult {
    if let Some(answer) = cx.shared.health(request, asker.draining) {
        *origin = Origin::PROBE;
        return Ok(answer.to(request.method));
    }
    if let Some(answer) = cx.shared.own_answer(request, asker.draining) {
        *origin = Origin::SERVER;
        return Ok(answer.to(request.method));
    }
    let named = match forwarded(cx, asker) {
        None => None,
        Some(forwarded) => {
            origin.says_secure = forwarded.is_secure;
            other_client(cx, forwarded.client)
        }
    };
    origin.client = named.map(Client::from);
    let is_secure = origin.is_secure(asker.protection.is_some());
    let place = match cx.shared.choose(asker.listener, asker.protection, is_secure, request) {
        Choice::Site(place) => place,
        Choice::NoSite => return Err(Undecided::Misdirected(NO_SITE)),
        Choice::OtherSite => return Err(Undecided::Misdirected(OTHER_SITE)),
        Choice::Redirect(port) => return Ok(cx.shared.redirect(request, port)),
    };
    let waiter = asker.lookup.map(|id| cx.waiter(id));
    let (now, addresses) = (cx.now, cx.addresses.with_client(named.as_ref()));
    if let Some(refusal) = cx.shared.refuse_client(place, addresses) {
        origin.place = Some(place);
        return Ok(refusal.to(request.method));
    }
    answer_from_site(
        Exchange {
            sites: cx.shared,
            place,
            now,
            request,
            resolved_names,
            waiter,
            addresses,
            cache: CacheUse::None,
            is_authenticated: false,
            refusal: None,
        },
        asker,
        origin,
    )
}

/// The response of a site. It is not moved once it is made: the moves would take longer than that.
#[inline]
fn answer_from_site(
    mut exchange: Exchange<'_, '_>,
    asker: &Asker<'_>,
    origin: &mut Origin,
) -> ResponseResult {
    let mut result = exchange.answer();
    origin.refusal = exchange.refusal;
    if let Ok(answer) = &mut result {
        answer.adapt_to(exchange.request.method);
        (origin.place, origin.cache) = (Some(exchange.place), exchange.cache);
        origin.is_authenticated = exchange.is_authenticated;
        let access = exchange.site().settings.access.as_ref();
        let pace = access.and_then(|access| access.send_rate);
        if asker.pace.get() != pace {
            asker.pace.set(pace);
            // Without it, the answer is sent as fast as others.
            if let Err(error) = exchange.addresses.set_pace(pace) {
                exchange.sites.tell_pace(exchange.place, &error);
            }
        }
    }
    result
}

/// What trusted proxies say of a request in its fields, if the listener has them.
#[inline]
fn forwarded(cx: &Context<'_, Sites>, asker: &Asker<'_>) -> Option<ForwardedRequest> {
    let door = cx.shared.door(asker.listener)?;
    Some(door.forwarded?.read(Client::of(cx.addresses), &door.trusted, asker.head))
}

/// The address of a client that is not that of the connection.
fn other_client(cx: &Context<'_, Sites>, client: Client) -> Option<SocketAddress> {
    let address = client.address().filter(|_| client != Client::of(cx.addresses))?;
    Some(SocketAddr::new(address, 0).into())
}

/// The response to a request for a host that is not served here.
pub(in crate::http) fn misdirected(
    sites: &mut Sites,
    method: Method,
    detail: &'static str,
) -> Response {
    sites.error(Problem { status: Status::MisdirectedRequest, detail }).to(method)
}
