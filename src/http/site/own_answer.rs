//! Answers that a program gives itself, in front of the files.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::response::Response;
use super::templates;
use crate::http::semantics::fields::Fields;
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;

/// What a program answers itself, by path; empty by default, and then it is not in the way of a
/// request. The same for all hosts and workers.
///
/// ```
/// use ringd::http::{OwnAnswers, OwnReply};
///
/// let answers = OwnAnswers::default().with("/health", |request| match request.draining {
///     false => OwnReply::text("ok\n"),
///     true => OwnReply::text("the server is stopping\n").unavailable(),
/// });
/// assert!(!answers.is_empty());
/// ```
#[derive(Clone, Default)]
pub struct OwnAnswers(Option<Arc<[OwnAnswer]>>);

#[derive(Clone)]
struct OwnAnswer {
    path: Arc<str>,
    reply: Arc<dyn Fn(OwnRequest<'_>) -> OwnReply + Send + Sync>,
}

/// A request that the program answers itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnRequest<'a> {
    /// What follows the question mark of the target, as it was sent.
    pub query: Option<&'a [u8]>,
    /// Whether the server is about to stop.
    pub draining: bool,
}

/// The answer to a request: 200, or 503 with `Retry-After`. Caches may not keep it.
#[derive(Clone, Debug)]
pub struct OwnReply {
    content_type: &'static str,
    body: Vec<u8>,
    is_available: bool,
}

impl OwnReply {
    /// Plain text in UTF-8.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", body)
    }

    /// JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::new("application/json", body)
    }

    /// A page in UTF-8. What comes from elsewhere must be escaped.
    pub fn html(body: impl Into<String>) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    fn new(content_type: &'static str, body: impl Into<String>) -> Self {
        Self { content_type, body: body.into().into_bytes(), is_available: true }
    }

    /// The same with status 503: load balancers choose another server.
    #[must_use]
    pub fn unavailable(self) -> Self {
        Self { is_available: false, ..self }
    }
}

impl OwnAnswers {
    /// Adds an answer to GET and HEAD at a path, as a request has it: it begins with a slash, and
    /// what is not ASCII is encoded. Of several answers at a path, the last one is given.
    ///
    /// `reply` runs in a worker while other connections wait. It must return at once, without I/O.
    /// If it panics, the worker fails, and with it the server.
    #[must_use]
    pub fn with(
        self,
        path: &str,
        reply: impl Fn(OwnRequest<'_>) -> OwnReply + Send + Sync + 'static,
    ) -> Self {
        let mut answers = self.0.map_or_else(Vec::new, |answers| answers.to_vec());
        answers.retain(|answer| *answer.path != *path);
        answers.push(OwnAnswer { path: path.into(), reply: Arc::new(reply) });
        Self(Some(answers.into()))
    }

    /// Whether there are no answers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The answer to a request, if the program gives it.
    #[inline]
    pub(super) fn to(&self, request: &Request<'_>, draining: bool) -> Option<Response> {
        self.0.as_deref().and_then(|answers| find(answers, request, draining))
    }
}

#[cold]
fn find(answers: &[OwnAnswer], request: &Request<'_>, draining: bool) -> Option<Response> {
    let mut parts = request.target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next()?, parts.next());
    let answer = answers.iter().find(|answer| answer.path.as_bytes() == path)?;
    if !matches!(request.method, Method::Get | Method::Head) {
        return None;
    }
    let OwnReply { content_type, body, is_available } =
        (answer.reply)(OwnRequest { query, draining });
    let status = if is_available { Status::Ok } else { Status::ServiceUnavailable };
    let mut fields = Fields::new();
    templates::push_required(&mut fields, status);
    fields.push("Cache-Control", "no-store");
    let prepared = Rc::new(templates::with_body(fields, content_type, &body));
    Some(Response::prepared(status, Fields::new(), prepared))
}

impl fmt::Debug for OwnAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.0.iter().flat_map(|answers| answers.iter()).map(|answer| &answer.path);
        f.debug_list().entries(paths).finish()
    }
}
