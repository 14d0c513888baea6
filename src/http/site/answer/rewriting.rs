//! Responses by rules for paths: redirects, and files in place of others.

use std::rc::Rc;

use super::super::cache_key::ResourceName;
use super::super::resource::Resource;
use super::super::response::Response;
use super::super::rewrites::{RulePhase, RuleUse};
use super::super::sites::Resolved;
use super::super::target::{self, Target, encode_path};
use super::super::templates::{self, push_required};
use super::{Exchange, Purpose, RENEWED, ResponseResult, is_page};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::negotiate::accepts_html;
use crate::http::semantics::status::Status;

impl Exchange<'_, '_> {
    /// The response by the first rule of a phase that matches; `None` if no rule does.
    #[inline]
    pub(super) fn by_rule(
        &mut self,
        phase: RulePhase,
        target: &Target<'_>,
    ) -> Option<ResponseResult> {
        match &self.site().settings.content.path_rules {
            None => None,
            Some(_) => self.by_one_of_rules(phase, target),
        }
    }

    /// Whether a path is never served.
    #[inline]
    pub(super) fn is_hidden(&self, path: &[u8]) -> bool {
        self.site().settings.content.hides(path)
    }

    #[inline(never)]
    fn by_one_of_rules(&mut self, phase: RulePhase, target: &Target<'_>) -> Option<ResponseResult> {
        let rules = self.site().settings.content.path_rules.as_ref()?;
        Some(match rules.find(phase, target)? {
            RuleUse::Redirect { status, location } => {
                // Where passwords are asked for, a browser must not keep what needs one.
                let access = self.site().settings.access.as_deref();
                let has_passwords = access.is_some_and(|access| access.passwords.is_some());
                let may_be_kept = phase == RulePhase::BeforeFiles && !has_passwords;
                Ok(templates::redirect(self.fields(), status, &location, may_be_kept))
            }
            RuleUse::Rewrite { status, navigations, target: new } => {
                self.rewritten(target, (status, navigations), &new)
            }
        })
    }

    /// The response with the file at another path, which no rule rewrites again.
    fn rewritten(
        &mut self,
        asked: &Target<'_>,
        (status, navigations): (Status, bool),
        new: &str,
    ) -> ResponseResult {
        if navigations && !(is_page(asked) && accepts_html(self.request.accept.values())) {
            return self.refuse_plainly(Status::NotFound);
        }
        let new = match target::resolve(new.as_bytes()) {
            Ok(new) => new,
            Err(error) => return self.refuse_plainly(error.status()),
        };
        if new.is_hidden() || self.is_hidden(new.path()) {
            return self.refuse_plainly(Status::NotFound);
        }
        if status != Status::Ok {
            return self.rewritten_error(status, &new);
        }
        let mut own = Fields::new();
        if navigations {
            // The response depends on it.
            own.push("Vary", "Accept");
        }
        let name = ResourceName::Target { path: new.path(), directory: new.directory() };
        let resource = match self.find(Purpose::Rewritten, &name)? {
            Resolved::Resource(resource) => resource,
            Resolved::TransientError(status) => return self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        };
        let Resource::Moved(address) = &*resource else {
            return self.rewritten_resource(&new, &resource, own);
        };
        // A directory without its slash, or a page with a clean URL. The client must not see either
        // address, since it has asked for another one.
        let directory = format!("{}/", encode_path(new.path()));
        match **address == *directory {
            true => self.rewritten_directory(asked, &new, own),
            false => self.rewritten_page(&new, own),
        }
    }

    /// The response with what is at a rewritten path.
    fn rewritten_resource(
        &mut self,
        new: &Target<'_>,
        resource: &Resource,
        own: Fields,
    ) -> ResponseResult {
        match resource {
            Resource::Page(page) => self.page(page, own),
            Resource::Listing => self.entries(new),
            Resource::Refused(status) => self.refuse_plainly(*status),
            // It was replaced since.
            Resource::Moved(_) => self.refuse_plainly(Status::NotFound),
        }
    }

    /// The response for a rewritten path that is a directory without a slash. Relative links of its
    /// page need the slash in the client's address.
    fn rewritten_directory(
        &mut self,
        asked: &Target<'_>,
        new: &Target<'_>,
        own: Fields,
    ) -> ResponseResult {
        if !asked.directory() {
            let address = format!("{}/", encode_path(asked.path()));
            let location = target::reference(self.request.target, &address);
            return Ok(templates::moved(self.fields(), &location, asked.query()));
        }
        let name = ResourceName::Target { path: new.path(), directory: true };
        match self.find(Purpose::RewrittenDirectory, &name)? {
            Resolved::Resource(resource) => self.rewritten_resource(new, &resource, own),
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        }
    }

    /// The response for a rewritten path that is a page with a clean URL: that page.
    fn rewritten_page(&mut self, new: &Target<'_>, own: Fields) -> ResponseResult {
        let name = ResourceName::Fallback { path: new.path() };
        match self.find(Purpose::RewrittenFile, &name)? {
            Resolved::Resource(resource) => match &*resource {
                Resource::Page(page) => {
                    // Like a fallback page, it has no fields by rules yet.
                    let mut fields = self.fields_of_file(new.path());
                    fields.push("Cache-Control", "no-cache");
                    fields.append(&own);
                    self.page(page, fields)
                }
                _ => self.refuse_plainly(Status::NotFound),
            },
            Resolved::TransientError(status) => self.refuse_plainly(status),
            Resolved::Renewed | Resolved::Checked(_) => unreachable!("{RENEWED}"),
        }
    }

    /// The response with a file as the body of an error. Without that file, it is the usual one.
    fn rewritten_error(&mut self, status: Status, new: &Target<'_>) -> ResponseResult {
        let settings = Rc::clone(&self.site().settings);
        let index = settings.content.index.first().filter(|_| new.directory());
        let path = match index {
            Some(index) if new.path().is_empty() => index.clone(),
            Some(index) => [new.path(), b"/", index].concat(),
            None => new.path().to_vec(),
        };
        let name = ResourceName::Fallback { path: &path };
        if let Resolved::Resource(resource) = self.find(Purpose::RewrittenError, &name)?
            && let Resource::Page(page) = &*resource
        {
            let mut fields = self.fields_of_file(&path);
            push_required(&mut fields, status);
            return Ok(Response::error_page(status, fields, self.variant_for_error(page)));
        }
        self.refuse_plainly(status)
    }
}
