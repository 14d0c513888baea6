//! One request and its answer.
//!
//! The request stays at the front of the inbox until its answer is written. What has to be looked
//! up meanwhile is noted in [`Findings`], and when it is there, the request is read again and the
//! answer is decided anew, from the beginning. So nothing of a request has to be kept, and there
//! is one place where an answer is decided: here.

use std::rc::Rc;

use crate::driver::Chain;
use crate::files;
use crate::http::h1::head::{Method, Request};
use crate::http::semantics::condition::{self, Verdict};
use crate::http::semantics::negotiate::{accepts_html, choose, prefers_json};
use crate::http::semantics::range::{self, ContentRange, Selection};
use crate::http::semantics::status::Status;
use crate::http::site::listing::{Asked, Format};
use crate::http::site::listing_job;
use crate::http::site::lookup::{Found, Lookup, Name, Progress};
use crate::http::site::resource::{Page, Resource, Variant};
use crate::http::site::response::{Answer, Complaint, Manner};
use crate::http::site::rules::AnswerKind;
use crate::http::site::sites::{Settings, Site};
use crate::http::site::target::{self, Target};
use crate::session::{Now, Step};

/// What is said of the page that answers in the place of others. It must be asked for again,
/// because there may be a file tomorrow; and who asks for something else than a page gets 404.
const FALLBACK_FIELDS: &str = "Cache-Control: no-cache\r\nVary: Accept\r\n";

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

/// What was looked up for the request at the front of the inbox.
#[derive(Default, Debug)]
pub(in crate::http) struct Findings(Vec<(Purpose, Found)>);

impl Findings {
    pub(in crate::http) fn note(&mut self, purpose: Purpose, found: Found) {
        self.0.push((purpose, found));
    }

    fn get(&self, purpose: Purpose) -> Option<&Found> {
        self.0.iter().find(|(other, _)| *other == purpose).map(|(_, found)| found)
    }
}

/// A question that has to be answered first.
#[derive(Debug)]
pub(in crate::http) struct Waiting {
    pub(in crate::http) purpose: Purpose,
    pub(in crate::http) lookup: Box<Lookup>,
    pub(in crate::http) step: Step,
}

/// A request that is being answered.
pub(in crate::http) struct Exchange<'a, 'r> {
    pub(in crate::http) site: &'a mut Site,
    pub(in crate::http) now: Now,
    pub(in crate::http) out: &'a mut Chain,
    pub(in crate::http) request: &'a Request<'r>,
    pub(in crate::http) manner: Manner,
    pub(in crate::http) findings: Option<&'a Findings>,
}

/// Written, or not yet.
type Written = Result<(), Waiting>;

impl Exchange<'_, '_> {
    /// Writes the answer, or says what has to be known first; then nothing is written.
    pub(in crate::http) fn answer(&mut self) -> Written {
        match self.request.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                self.options();
                return Ok(());
            }
            Method::Connect | Method::Refused => {
                let reason = "This server serves files: it takes GET, HEAD and OPTIONS.";
                return self.refuse(Status::MethodNotAllowed, reason, "");
            }
            Method::Unknown => {
                return self.refuse(Status::NotImplemented, "This method is not known here.", "");
            }
        }
        let target = match target::resolve(self.request.target) {
            Ok(target) => target,
            Err(error) => return self.refuse_plainly(error.status()),
        };
        if target::has_hidden_segment(target.path()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let name = Name::Target { path: target.path(), directory: target.directory() };
        match self.find(Purpose::Target, name)? {
            Found::Trouble(status) => self.refuse_plainly(status),
            Found::Known(resource) => match &*resource {
                Resource::Page(page) => self.page(page, ""),
                Resource::Moved(location) => {
                    let fields = self.fields();
                    self.begin(&fields).moved(location, target.query());
                    Ok(())
                }
                Resource::Listing => self.entries(&target),
                Resource::Refused(Status::NotFound) => self.missing(&target),
                Resource::Refused(status) => self.refuse_plainly(*status),
            },
        }
    }

    fn options(&mut self) {
        let is_preflight = self.request.is_preflight;
        let kind = if is_preflight { AnswerKind::Preflight } else { AnswerKind::Other };
        let fields = self.fields_of(kind);
        self.begin(&fields).options();
    }

    /// A page, as far as the conditions and ranges of the request want it. `fields` are those
    /// that it does not bring itself.
    fn page(&mut self, page: &Page, fields: &str) -> Written {
        let variant = self.variant(page);
        let request = self.request;
        if request.conditions.are_absent() && request.range.is_absent() {
            self.begin(fields).page(variant);
            return Ok(());
        }
        let validators = variant.validators();
        match condition::judge(&request.conditions, &validators, self.now.system) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                self.begin(fields).not_modified(variant);
                return Ok(());
            }
            Verdict::Failed => {
                let reason = "The file is not the one that the request was made for.";
                return self.refuse(Status::PreconditionFailed, reason, "");
            }
        }
        // RFC 9110 section 14.2: the field has a meaning for GET alone.
        let selection = if self.manner.head_only || !variant.has_ranges() {
            Selection::Whole
        } else {
            range::select(request.range, request.if_range, &validators, variant.len())
        };
        match selection {
            Selection::Whole => self.begin(fields).page(variant),
            Selection::One(range) => self.begin(fields).range(variant, range),
            Selection::Many(ranges) => {
                let boundary = self.site.boundary();
                self.begin(fields).ranges(variant, &ranges, boundary);
            }
            Selection::Unsatisfiable => {
                let of = ContentRange::Unsatisfied(variant.len());
                let more = format!("Content-Range: {of}\r\n");
                let reason = "The file has none of the ranges that were asked for.";
                return self.refuse(Status::RangeNotSatisfiable, reason, &more);
            }
        }
        Ok(())
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
    fn entries(&mut self, target: &Target<'_>) -> Written {
        let json = prefers_json(self.request.accept.values());
        let format = if json { Format::Json } else { Format::Html };
        let asked = Asked::parse(format, target.query());
        // RFC 9110 section 13.1.2: conditions count for HEAD too, and need the tag.
        if self.manner.head_only && self.request.conditions.are_absent() {
            let fields = self.fields();
            self.begin(&fields).unmade(listing_job::content_type(asked), listing_job::FIELDS);
            return Ok(());
        }
        match self.find(Purpose::Entries, Name::Entries { path: target.path(), asked })? {
            Found::Known(resource) => match &*resource {
                Resource::Page(page) => {
                    let fields = self.fields();
                    self.page(page, &fields)
                }
                Resource::Refused(status) => self.refuse_plainly(*status),
                // It was a directory a moment ago.
                Resource::Moved(_) | Resource::Listing => self.refuse_plainly(Status::NotFound),
            },
            Found::Trouble(status) => self.refuse_plainly(status),
        }
    }

    /// Nothing is under the address: for a page of an application, that may be right.
    fn missing(&mut self, target: &Target<'_>) -> Written {
        let settings = Rc::clone(&self.site.settings);
        let Some(path) = fallback(&settings, target) else {
            return self.refuse_plainly(Status::NotFound);
        };
        if !accepts_html(self.request.accept.values()) {
            return self.refuse_plainly(Status::NotFound);
        }
        let resource = match self.find(Purpose::Fallback, Name::Substitute { path })? {
            Found::Known(resource) => resource,
            Found::Trouble(status) => return self.refuse_plainly(status),
        };
        let Resource::Page(page) = &*resource else {
            return self.refuse_plainly(Status::NotFound);
        };
        let fields = self.fields_of_substitute(path) + FALLBACK_FIELDS;
        self.page(page, &fields)
    }

    /// An error that its status explains.
    fn refuse_plainly(&mut self, status: Status) -> Written {
        self.refuse(status, explain(status), "")
    }

    /// An error, with the operator's page for it if there is one.
    fn refuse(&mut self, status: Status, reason: &'static str, more: &str) -> Written {
        let complaint = Complaint { status, reason, more };
        let settings = Rc::clone(&self.site.settings);
        if let Some(path) = settings.content.error_page(status.code())
            && let Found::Known(resource) =
                self.find(Purpose::ErrorPage(status.code()), Name::Substitute { path })?
            && let Resource::Page(page) = &*resource
        {
            let fields = self.fields_of_substitute(path);
            let variant = self.variant(page);
            self.begin(&fields).error_page(complaint, variant);
            return Ok(());
        }
        let fields = self.fields();
        let json = prefers_json(self.request.accept.values());
        self.begin(&fields).error(complaint, json);
        Ok(())
    }

    /// The fields by rule of an answer that is no file: by its address.
    fn fields(&self) -> String {
        self.fields_of(AnswerKind::Other)
    }

    /// The fields by rule of a file that answers in the place of others: by its own path, as if
    /// it had been asked for. A policy for `*.html` has to hold for it at every address.
    fn fields_of_substitute(&self, path: &[u8]) -> String {
        self.site.settings.content.rules.fields(&[b"/", path].concat(), AnswerKind::Other)
    }

    fn fields_of(&self, kind: AnswerKind<'_>) -> String {
        let rules = &self.site.settings.content.rules;
        if rules.is_empty() {
            return String::new();
        }
        let target = target::resolve(self.request.target);
        let path = target.as_ref().map_or(&[][..], Target::path);
        let slash = target.as_ref().is_ok_and(|target| target.directory() && !path.is_empty());
        let slash: &[u8] = if slash { b"/" } else { b"" };
        let path = [b"/", path, slash].concat();
        rules.fields(&path, kind)
    }

    fn begin<'s>(&'s mut self, fields: &'s str) -> Answer<'s> {
        Answer {
            out: self.out,
            texts: &mut self.site.texts,
            now: self.now.system,
            manner: self.manner,
            fields,
        }
    }

    /// What is known of a name, or how it is found out.
    fn find(&mut self, purpose: Purpose, name: Name<'_>) -> Result<Found, Waiting> {
        if let Some(found) = self.findings.and_then(|findings| findings.get(purpose)) {
            return Ok(found.clone());
        }
        let Site { cache, key, .. } = &mut *self.site;
        name.write_key(key);
        if let files::Lookup::Valid(resource) = cache.get(key, self.now.instant) {
            return Ok(Found::Known(Rc::clone(resource)));
        }
        match Lookup::begin(self.site, self.now, &name) {
            Progress::Found(found) => Ok(found),
            Progress::Ask(lookup, step) => Err(Waiting { purpose, lookup, step }),
        }
    }
}

/// The page that answers for an address of an application: one whose last segment has no
/// extension, because a file that is missing must not look like a page.
fn fallback<'s>(settings: &'s Settings, target: &Target<'_>) -> Option<&'s [u8]> {
    let name = target.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_page = target.directory() || memchr::memchr(b'.', name).is_none();
    settings.content.spa.as_deref().filter(|_| is_page)
}

/// A sentence for the body of an error.
pub(in crate::http) fn explain(status: Status) -> &'static str {
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
