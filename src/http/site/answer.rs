//! Decides the response to a request.
//!
//! If a name has to be looked up first, the request stays at the front of the session's inbox. When
//! the lookup is done, its result is in [`ResolvedNames`], and the request is parsed again and its
//! response decided again from the start. So the state of a waiting request is just the names that
//! were resolved.

mod compressed;
mod finding;
mod rewriting;

use std::rc::Rc;

use super::access::{AccessRefusal, PasswordCheck};
use super::cache_key::ResourceName;
use super::listing::{Asked, Format};
use super::listing_job;
use super::resource::{Page, Resource, Variant};
use super::response::Response;
use super::rewrites::RulePhase;
use super::rules::AnswerKind;
use super::settings::SiteSettings;
use super::sites::{Resolved, Site, Sites};
use super::target::{self, Target};
use super::templates::{self, Problem, push_required};
use super::wait_ticket::WaitTicket;
use crate::driver::Now;
use crate::driver::watch::SiteId;
use crate::http::records::CacheUse;
use crate::http::semantics::condition::{self, Verdict};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::negotiate::{CodingWeights, accepts_html, choose, prefers_json};
use crate::http::semantics::range::{self, ContentRange, Selection};
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;
use crate::service::Waiter;
use crate::session::Addresses;

/// What a lookup is for. A request needs each of these at most once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Purpose {
    /// The target of the request.
    Target,
    /// The entries of the directory that is the target.
    Entries,
    /// The fallback page, because the target does not exist.
    Fallback,
    /// The path that a rule has put in place of the target.
    Rewritten,
    /// The same as a directory.
    RewrittenDirectory,
    /// The same as exactly one file.
    RewrittenFile,
    /// The file that a rule has made the body of an error.
    RewrittenError,
    /// The password of the request: it is checked, and no name is looked up.
    Password,
    /// The error page of this status code. The status may be another one when the lookup is done.
    ErrorPage(u16),
}

/// How often a request is decided anew because its site was replaced. After that it gets 503.
const RENEWALS_MAX: u32 = 8;

/// The results of lookups for a request.
#[derive(Default, Debug)]
pub(in crate::http) struct ResolvedNames {
    names: Vec<(Purpose, SiteId, Resolved)>,
    /// What was found out about the password.
    password: Option<(SiteId, PasswordCheck)>,
    /// The limit that has refused the request, if one has.
    refusal: Option<AccessRefusal>,
    /// How often the site was replaced during a lookup.
    renewals: u32,
}

impl ResolvedNames {
    /// Whether there are any.
    pub(in crate::http) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Drops them, and what they keep in use.
    pub(in crate::http) fn forget(&mut self) {
        self.names.clear();
    }

    /// Adds the result of a lookup.
    pub(in crate::http) fn note(&mut self, lookup: PendingLookup, found: Resolved) {
        match found {
            Resolved::Renewed => {
                self.names.clear();
                self.renewals += 1;
            }
            Resolved::Checked(check) => self.password = Some((lookup.site, check)),
            found => self.names.push((lookup.purpose, lookup.site, found)),
        }
    }

    /// Keeps in mind that the request was refused, if it was.
    pub(in crate::http) fn keep_refusal(&mut self, refusal: Option<AccessRefusal>) {
        self.refusal = refusal.or(self.refusal);
    }

    /// The limit that has refused the request, if one has.
    pub(super) fn refusal(&self) -> Option<AccessRefusal> {
        self.refusal
    }

    /// What was found out about the password, for this site.
    pub(super) fn password(&self, site: SiteId) -> Option<PasswordCheck> {
        self.password.filter(|(of, _)| *of == site).map(|(_, check)| check)
    }

    /// The result for a purpose, unless a reload has given the request to another site since.
    fn get(&self, purpose: Purpose, site: SiteId) -> Option<&Resolved> {
        let is_it =
            |(other, of, _): &&(Purpose, SiteId, Resolved)| (*other, *of) == (purpose, site);
        self.names.iter().find(is_it).map(|(_, _, found)| found)
    }
}

/// A lookup that a response waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct PendingLookup {
    /// What the lookup is for.
    pub(super) purpose: Purpose,
    /// The site of the name.
    pub(super) site: SiteId,
    /// Stops waiting for it, by [`Sites::leave`].
    pub(in crate::http) ticket: WaitTicket,
}

/// A request whose response is being decided.
pub(in crate::http) struct Exchange<'a, 'r> {
    /// What the sessions of the worker share.
    pub(in crate::http) sites: &'a mut Sites,
    /// The place of the site that answers the request.
    pub(in crate::http) place: usize,
    /// The time of the response.
    pub(in crate::http) now: Now,
    /// The request.
    pub(in crate::http) request: &'a Request<'r>,
    /// The results of earlier lookups for the request.
    pub(in crate::http) resolved_names: Option<&'a ResolvedNames>,
    /// The session that is told when a lookup is done; `None` if none may begin.
    pub(in crate::http) waiter: Option<Waiter>,
    /// The addresses of its connection, which are needed only to make a listing.
    pub(in crate::http) addresses: Addresses<'a>,
    /// Where its file was found.
    pub(in crate::http) cache: CacheUse,
    /// Whether the password of a user was right.
    pub(in crate::http) is_authenticated: bool,
    /// The limit that has refused the request, if one has.
    pub(in crate::http) refusal: Option<AccessRefusal>,
}

/// Why these results do not occur: [`ResolvedNames::note`] does not keep them as names.
pub(super) const RENEWED: &str = "a session that is told of a new site decides anew";

/// Why there is no response yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Undecided {
    /// A name is being looked up, or a password is being checked.
    Lookup(PendingLookup),
    /// A name would have to be looked up, and this request may not begin that now.
    NoTurn,
    /// Nobody answers such a request on this connection, for this reason.
    Misdirected(&'static str),
}

/// The response, or why there is none yet.
pub(in crate::http) type ResponseResult = Result<Response, Undecided>;

impl Exchange<'_, '_> {
    /// The response to the request, or what it needs first.
    pub(in crate::http) fn answer(&mut self) -> ResponseResult {
        match self.gate()? {
            Some(refusal) => Ok(refusal),
            None => self.respond(),
        }
    }

    fn respond(&mut self) -> ResponseResult {
        if self.resolved_names.is_some_and(|names| names.renewals > RENEWALS_MAX) {
            let detail = "The settings of the site change too often.";
            let problem = Problem { status: Status::ServiceUnavailable, detail };
            return Ok(self.sites.error(problem));
        }
        match self.request.method {
            Method::Get | Method::Head => {}
            Method::Options => return Ok(self.options()),
            Method::Connect | Method::Refused => {
                let detail = "This server supports only GET, HEAD and OPTIONS.";
                return self.refuse(Status::MethodNotAllowed, detail, &Fields::new());
            }
            Method::Unknown => {
                let detail = "This server does not know the method of the request.";
                return self.refuse(Status::NotImplemented, detail, &Fields::new());
            }
        }
        let resolved = target::resolve(self.request.target);
        let target = match &resolved {
            Ok(target) => target,
            Err(error) => return self.refuse_plainly(error.status()),
        };
        if let Some(response) = self.by_rule(RulePhase::BeforeFiles, target) {
            return response;
        }
        if target.is_hidden() || self.is_hidden(target.path()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let name = ResourceName::Target { path: target.path(), directory: target.directory() };
        match self.find(Purpose::Target, &name)? {
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
            Resolved::Resource(resource) => match &*resource {
                Resource::Page(page) => self.page(page, Fields::new()),
                Resource::Moved(path) => {
                    let location = target::reference(self.request.target, path);
                    Ok(templates::moved(self.fields(), &location, target.query()))
                }
                Resource::Listing => self.entries(target),
                Resource::Refused(Status::NotFound) => self.missing(target),
                Resource::Refused(status) => self.refuse_plainly(*status),
            },
        }
    }

    fn options(&self) -> Response {
        let is_preflight = self.request.is_preflight;
        let kind = if is_preflight { AnswerKind::Preflight } else { AnswerKind::Other };
        templates::options(self.fields_of(kind))
    }

    /// The response for a page, by the conditions and ranges of the request. `own` are fields that
    /// the page itself does not have.
    pub(super) fn page(&mut self, page: &Page, own: Fields) -> ResponseResult {
        let request = self.request;
        let variant = self.variant(page);
        if request.conditions.are_absent() && request.range.is_absent() {
            return Ok(Response::whole(own, variant));
        }
        let validators = variant.validators();
        match condition::judge(&request.conditions, &validators, self.now.system) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(Response::not_modified(own, variant)),
            Verdict::Failed => {
                let detail = "The file is not in the state that the request requires.";
                return self.refuse(Status::PreconditionFailed, detail, &Fields::new());
            }
        }
        // Range is defined only for GET (RFC 9110 section 14.2).
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
                let detail = "The file has none of the requested ranges.";
                self.refuse(Status::RangeNotSatisfiable, detail, &extra)
            }
        }
    }

    /// The variant of a page that the client prefers. Among those that it accepts, one that it has
    /// already comes first (RFC 9110 section 12.1 allows any field to decide): otherwise a client
    /// would get the content again because it is there in a further coding.
    fn variant<'p>(&self, page: &'p Page) -> &'p Variant {
        let codings = page.codings();
        if codings.is_empty() {
            return page.variant(None);
        }
        let weights = CodingWeights::parse(self.request.accept_encoding.values());
        let preferred = page.variant(weights.choose(codings));
        let if_none_match = self.request.conditions.if_none_match;
        let variant = if if_none_match.is_absent() {
            preferred
        } else {
            let accepted = codings.iter().map(Some).chain([None]);
            let accepted = accepted.filter(|coding| weights.accept(*coding));
            let is_known =
                |variant: &&Variant| condition::is_listed(if_none_match, variant.validators().tag);
            let accepted = accepted.map(|coding| page.variant(coding));
            std::iter::once(preferred).chain(accepted).find(is_known).unwrap_or(preferred)
        };
        variant.note_use();
        variant
    }

    /// The variant of an error page that the client prefers. Conditions do not apply to it. If the
    /// page was compressed on the fly for another response, that form is not used.
    fn variant_for_error<'p>(&self, page: &'p Page) -> &'p Variant {
        page.variant(choose(self.request.accept_encoding.values(), page.codings_of_files()))
    }

    /// The response with the entries of a directory.
    fn entries(&mut self, target: &Target<'_>) -> ResponseResult {
        let json = prefers_json(self.request.accept.values());
        let format = if json { Format::Json } else { Format::Html };
        let asked = Asked::parse(format, target.query());
        // Conditions apply to HEAD too (RFC 9110 section 13.1.2), and need the tag of the page.
        // Without conditions, HEAD does not need the page.
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
                // The directory has been replaced since.
                Resource::Moved(_) | Resource::Listing => self.refuse_plainly(Status::NotFound),
            },
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        }
    }

    /// The response for a target that does not exist: the fallback page for navigations of a
    /// single-page application, else 404.
    fn missing(&mut self, target: &Target<'_>) -> ResponseResult {
        if let Some(response) = self.by_rule(RulePhase::AfterFiles, target) {
            return response;
        }
        let settings = Rc::clone(&self.site().settings);
        let Some(path) = fallback(&settings, target) else {
            return self.refuse_plainly(Status::NotFound);
        };
        if !accepts_html(self.request.accept.values()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let resource = match self.find(Purpose::Fallback, &ResourceName::Fallback { path })? {
            Resolved::Resource(resource) => resource,
            Resolved::TransientError(status) => return self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        };
        let Resource::Page(page) = &*resource else {
            return self.refuse_plainly(Status::NotFound);
        };
        // Caches must revalidate, because a file may be added at this path, and the response
        // depends on Accept.
        let mut fields = self.fields_of_file(path);
        fields.push("Cache-Control", "no-cache");
        fields.push("Vary", "Accept");
        self.page(page, fields)
    }

    /// An error response with the usual explanation of its status.
    pub(super) fn refuse_plainly(&mut self, status: Status) -> ResponseResult {
        self.refuse(status, explain(status), &Fields::new())
    }

    /// An error response, with the site's error page if it has one for the status.
    pub(super) fn refuse(
        &mut self,
        status: Status,
        detail: &'static str,
        extra: &Fields,
    ) -> ResponseResult {
        let settings = Rc::clone(&self.site().settings);
        if let Some(path) = settings.content.error_page(status.code())
            && let Resolved::Resource(resource) =
                self.find(Purpose::ErrorPage(status.code()), &ResourceName::Fallback { path })?
            && let Resource::Page(page) = &*resource
        {
            let mut fields = self.fields_of_file(path);
            push_required(&mut fields, status);
            fields.append(extra);
            return Ok(Response::error_page(status, fields, self.variant_for_error(page)));
        }
        let fields = self.fields();
        let json = prefers_json(self.request.accept.values());
        Ok(self.sites.templates.error(fields, Problem { status, detail }, extra, json))
    }

    /// The fields that rules add to a response that is not a file, by the path of the request.
    fn fields(&self) -> Fields {
        self.fields_of(AnswerKind::Other)
    }

    /// The fields that rules add to a fallback or an error page, by the path of the file rather
    /// than of the request: a rule for `*.html` has to apply wherever such a page is sent.
    fn fields_of_file(&self, path: &[u8]) -> Fields {
        self.site().settings.content.rules.fields(&[b"/", path].concat(), AnswerKind::Other)
    }

    fn fields_of(&self, kind: AnswerKind<'_>) -> Fields {
        let rules = &self.site().settings.content.rules;
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

    pub(super) fn site(&self) -> &Site {
        self.sites.site(self.place)
    }
}

/// The fallback page for a target, if its last segment has no extension: a missing script or image
/// must get 404 rather than a page.
fn fallback<'s>(settings: &'s SiteSettings, target: &Target<'_>) -> Option<&'s [u8]> {
    settings.content.spa.as_deref().filter(|_| is_page(target))
}

/// Whether the last segment of a target has no extension, as the addresses of pages.
fn is_page(target: &Target<'_>) -> bool {
    let name = target.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    target.directory() || memchr::memchr(b'.', name).is_none()
}

/// A sentence for the body of an error response.
fn explain(status: Status) -> &'static str {
    match status {
        Status::BadRequest => "The address of this request is malformed.",
        Status::Forbidden => {
            "The server may not read this file, or the path has a symbolic link that the server \
             does not follow."
        }
        Status::NotFound => "There is nothing at this address.",
        Status::ServiceUnavailable => "The server is overloaded. Try again in a moment.",
        Status::Gone => "This is no longer available.",
        Status::UnavailableForLegalReasons => "This may not be served for legal reasons.",
        _ => "The server could not read this file.",
    }
}
