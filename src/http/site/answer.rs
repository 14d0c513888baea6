//! One request and its response.
//!
//! The request stays at the front of the inbox until it is answered. What has to be looked up
//! meanwhile is noted in [`ResolvedNames`], and when it is there, the request is read again and the
//! response is decided anew, from the beginning. So nothing of a request has to be kept, and there
//! is one place where a response is decided: here.

use std::rc::Rc;

use super::cache_key::ResourceName;
use super::listing::{Asked, Format};
use super::listing_job;
use super::lookups::Ticket;
use super::resource::{Page, Resource, Variant};
use super::response::{Body, Response};
use super::rules::AnswerKind;
use super::settings::SiteSettings;
use super::sites::{Resolved, Sites};
use super::target::{self, Target};
use super::templates::{self, Problem, push_required};
use crate::driver::Now;
use crate::http::semantics::condition::{self, Verdict};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::negotiate::{accepts_html, choose, prefers_json};
use crate::http::semantics::range::{self, ContentRange, Selection};
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;
use crate::service::Waiter;

/// What a lookup is for. A request asks for each at most once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Purpose {
    /// What the address names.
    Target,
    /// The entries of the directory that it names.
    Entries,
    /// The page that answers in the place of what does not exist.
    Fallback,
    /// The body of an error, by its code. It may change while a lookup waits.
    ErrorPage(u16),
}

/// What was looked up for a request.
#[derive(Default, Debug)]
pub(in crate::http) struct ResolvedNames(Vec<(Purpose, Resolved)>);

impl ResolvedNames {
    /// Notes what a lookup has led to.
    pub(in crate::http) fn note(&mut self, purpose: Purpose, found: Resolved) {
        self.0.push((purpose, found));
    }

    fn get(&self, purpose: Purpose) -> Option<&Resolved> {
        self.0.iter().find(|(other, _)| *other == purpose).map(|(_, found)| found)
    }
}

/// A lookup that has to be over before there is a response.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct PendingLookup {
    /// What it is for.
    pub(in crate::http) purpose: Purpose,
    /// Takes it back, by [`Sites::leave`].
    pub(in crate::http) ticket: Ticket,
}

/// A request that is being answered.
pub(in crate::http) struct Exchange<'a, 'r> {
    /// What the sessions of the worker share.
    pub(in crate::http) sites: &'a mut Sites,
    /// The time of the response.
    pub(in crate::http) now: Now,
    /// The request.
    pub(in crate::http) request: &'a Request<'r>,
    /// What was looked up for it so far.
    pub(in crate::http) resolved_names: Option<&'a ResolvedNames>,
    /// Who is told when a lookup is over.
    pub(in crate::http) waiter: Waiter,
}

/// The response, or what it needs first.
type ResponseResult = Result<Response, PendingLookup>;

impl Exchange<'_, '_> {
    /// The response to the request, or what has to be looked up first.
    pub(in crate::http) fn answer(&mut self) -> ResponseResult {
        let mut response = self.respond()?;
        if self.request.method == Method::Head {
            // The body stays away (RFC 9110 section 9.3.2).
            response.body = Body::None;
        }
        Ok(response)
    }

    fn respond(&mut self) -> ResponseResult {
        match self.request.method {
            Method::Get | Method::Head => {}
            Method::Options => return Ok(self.options()),
            Method::Connect | Method::Refused => {
                let detail = "This server serves files: it takes GET, HEAD and OPTIONS.";
                return self.refuse(Status::MethodNotAllowed, detail, &Fields::new());
            }
            Method::Unknown => {
                let detail = "This method is not known here.";
                return self.refuse(Status::NotImplemented, detail, &Fields::new());
            }
        }
        let target = match target::resolve(self.request.target) {
            Ok(target) => target,
            Err(error) => return self.refuse_plainly(error.status()),
        };
        if target::has_hidden_segment(target.path()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let name = ResourceName::Target { path: target.path(), directory: target.directory() };
        match self.find(Purpose::Target, &name)? {
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Resource(resource) => match &*resource {
                Resource::Page(page) => self.page(page, Fields::new()),
                Resource::Moved(location) => {
                    Ok(templates::moved(self.fields(), location, target.query()))
                }
                Resource::Listing => self.entries(&target),
                Resource::Refused(Status::NotFound) => self.missing(&target),
                Resource::Refused(status) => self.refuse_plainly(*status),
            },
        }
    }

    fn options(&self) -> Response {
        let is_preflight = self.request.is_preflight;
        let kind = if is_preflight { AnswerKind::Preflight } else { AnswerKind::Other };
        templates::options(self.fields_of(kind))
    }

    /// A page, as far as the conditions and ranges of the request want it. `own` are fields that
    /// it does not bring itself.
    fn page(&mut self, page: &Page, own: Fields) -> ResponseResult {
        let variant = self.variant(page);
        let request = self.request;
        if request.conditions.are_absent() && request.range.is_absent() {
            return Ok(Response::whole(own, variant));
        }
        let validators = variant.validators();
        match condition::judge(&request.conditions, &validators, self.now.system) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(Response::not_modified(own, variant)),
            Verdict::Failed => {
                let detail = "The file is not the one that the request was made for.";
                return self.refuse(Status::PreconditionFailed, detail, &Fields::new());
            }
        }
        // RFC 9110 section 14.2: the field has a meaning for GET alone.
        let selection = if request.method == Method::Head || !variant.has_ranges() {
            Selection::Whole
        } else {
            range::select(request.range, request.if_range, &validators, variant.len())
        };
        match selection {
            Selection::Whole => Ok(Response::whole(own, variant)),
            Selection::One(range) => Ok(Response::range(own, variant, range)),
            Selection::Many(ranges) => {
                let boundary = self.sites.boundary();
                Ok(Response::ranges(own, variant, ranges, boundary))
            }
            Selection::Unsatisfiable => {
                let mut extra = Fields::new();
                extra.push("Content-Range", ContentRange::Unsatisfied(variant.len()));
                let detail = "The file has none of the ranges that were asked for.";
                self.refuse(Status::RangeNotSatisfiable, detail, &extra)
            }
        }
    }

    /// The form of a page that the client likes best.
    fn variant<'p>(&self, page: &'p Page) -> &'p Variant {
        let codings = page.codings();
        if codings.is_empty() {
            return page.variant(None);
        }
        page.variant(choose(self.request.accept_encoding.values(), codings))
    }

    /// The entries of a directory.
    fn entries(&mut self, target: &Target<'_>) -> ResponseResult {
        let json = prefers_json(self.request.accept.values());
        let format = if json { Format::Json } else { Format::Html };
        let asked = Asked::parse(format, target.query());
        // RFC 9110 section 13.1.2: conditions count for HEAD too, and need the tag.
        if self.request.method == Method::Head && self.request.conditions.are_absent() {
            let content_type = listing_job::content_type(asked);
            return Ok(templates::unmade(self.fields(), content_type, listing_job::push_fields));
        }
        match self.find(Purpose::Entries, &ResourceName::Entries { path: target.path(), asked })? {
            Resolved::Resource(resource) => match &*resource {
                Resource::Page(page) => {
                    let fields = self.fields();
                    self.page(page, fields)
                }
                Resource::Refused(status) => self.refuse_plainly(*status),
                // It was a directory a moment ago.
                Resource::Moved(_) | Resource::Listing => self.refuse_plainly(Status::NotFound),
            },
            Resolved::TransientError(status) => self.refuse_plainly(status),
        }
    }

    /// Nothing is under the address: for a page of an application, that may be right.
    fn missing(&mut self, target: &Target<'_>) -> ResponseResult {
        let settings = Rc::clone(&self.sites.settings);
        let Some(path) = fallback(&settings, target) else {
            return self.refuse_plainly(Status::NotFound);
        };
        if !accepts_html(self.request.accept.values()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let resource = match self.find(Purpose::Fallback, &ResourceName::Fallback { path })? {
            Resolved::Resource(resource) => resource,
            Resolved::TransientError(status) => return self.refuse_plainly(status),
        };
        let Resource::Page(page) = &*resource else {
            return self.refuse_plainly(Status::NotFound);
        };
        // It must be asked for again, because there may be a file tomorrow; and who asks for
        // something else than a page gets 404.
        let mut fields = self.fields_of_file(path);
        fields.push("Cache-Control", "no-cache");
        fields.push("Vary", "Accept");
        self.page(page, fields)
    }

    /// An error that its status explains.
    fn refuse_plainly(&mut self, status: Status) -> ResponseResult {
        self.refuse(status, explain(status), &Fields::new())
    }

    /// An error, with the operator's page for it if there is one.
    fn refuse(&mut self, status: Status, detail: &'static str, extra: &Fields) -> ResponseResult {
        let settings = Rc::clone(&self.sites.settings);
        if let Some(path) = settings.content.error_page(status.code())
            && let Resolved::Resource(resource) =
                self.find(Purpose::ErrorPage(status.code()), &ResourceName::Fallback { path })?
            && let Resource::Page(page) = &*resource
        {
            let mut fields = self.fields_of_file(path);
            push_required(&mut fields, status);
            fields.append(extra);
            return Ok(Response::error_page(status, fields, self.variant(page)));
        }
        let fields = self.fields();
        let json = prefers_json(self.request.accept.values());
        Ok(self.sites.templates.error(fields, Problem { status, detail }, extra, json))
    }

    /// The fields by rule of an answer that is no file: by its address.
    fn fields(&self) -> Fields {
        self.fields_of(AnswerKind::Other)
    }

    /// The fields by rule of a file that answers in the place of others: by its own path, as if
    /// it had been asked for. A policy for `*.html` has to hold for it at every address.
    fn fields_of_file(&self, path: &[u8]) -> Fields {
        self.sites.settings.content.rules.fields(&[b"/", path].concat(), AnswerKind::Other)
    }

    fn fields_of(&self, kind: AnswerKind<'_>) -> Fields {
        let rules = &self.sites.settings.content.rules;
        if rules.is_empty() {
            return Fields::new();
        }
        let target = target::resolve(self.request.target);
        let path = target.as_ref().map_or(&[][..], Target::path);
        let slash = target.as_ref().is_ok_and(|target| target.directory() && !path.is_empty());
        let slash: &[u8] = if slash { b"/" } else { b"" };
        let path = [b"/", path, slash].concat();
        rules.fields(&path, kind)
    }

    /// What a name is, if that is known.
    fn find(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, PendingLookup> {
        if let Some(found) =
            self.resolved_names.and_then(|resolved_names| resolved_names.get(purpose))
        {
            return Ok(found.clone());
        }
        let found = self.sites.find(self.now, name, self.waiter);
        found.map_err(|ticket| PendingLookup { purpose, ticket })
    }
}

/// The page that answers for an address of an application: one whose last segment has no
/// extension, because a file that is missing must not look like a page.
fn fallback<'s>(settings: &'s SiteSettings, target: &Target<'_>) -> Option<&'s [u8]> {
    let name = target.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_page = target.directory() || memchr::memchr(b'.', name).is_none();
    settings.content.spa.as_deref().filter(|_| is_page)
}

/// A sentence for the body of an error.
fn explain(status: Status) -> &'static str {
    match status {
        Status::BadRequest => "The address of this request cannot be read.",
        Status::Forbidden => {
            "The server may not show this: it is not permitted to read it, or a symbolic link \
             leads where links are not followed."
        }
        Status::NotFound => "There is nothing under this address.",
        Status::ServiceUnavailable => "The server is short of something. Try again in a moment.",
        _ => "The server could not read this file.",
    }
}
