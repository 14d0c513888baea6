//! Responses: what a request is answered with, whatever framing carries it.
//!
//! A [`Response`] is a status, fields in order, and a body. It says nothing of the connection and
//! nothing of the server itself: `Server` and `Date` ([`CommonFields`]) stand in every response,
//! and the framing puts them first. What a response refers to is shared, so it can be kept until it
//! can be written, whatever happens to the cache meanwhile.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::resource::{FieldRun, Variant};
use crate::driver::File;
use crate::http::semantics::fields::{FieldLines, Fields, PreparedFields};
use crate::http::semantics::multipart::{Boundary, Multipart};
use crate::http::semantics::range::ContentRange;
use crate::http::semantics::status::Status;

/// What a request is answered with; see the module documentation.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: Status,
    /// The fields, in order. Where there is a body, or HEAD keeps it away, `Content-Length` is
    /// among them, unless the length is not known.
    pub fields: ResponseFields,
    /// What follows the fields.
    pub body: Body,
}

/// The fields of a response: its own, and behind them runs of those that were prepared before.
#[derive(Clone, Default, Debug)]
pub struct ResponseFields {
    own: Fields,
    prepared: Option<Rc<PreparedFields>>,
    /// Which of the prepared ones, by number.
    runs: [Range<u16>; 2],
}

// Responses are passed on by value.
const _: () = assert!(size_of::<Response>() <= 64);

/// The content of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// There is none, or it stays away because the request was HEAD.
    None,
    /// What lies behind the prepared fields, all of it.
    Prepared,
    /// A range of bytes in memory.
    Memory(Rc<[u8]>, Range<u32>),
    /// A range of a file.
    File(Arc<File>, Range<u64>),
    /// Several ranges, each with a head of its own (RFC 9110 section 14.6).
    Multipart(Box<MultipartBody>),
}

/// Several ranges of one representation.
#[derive(Clone, Debug)]
pub struct MultipartBody {
    variant: Variant,
    ranges: Box<[Range<u64>]>,
    boundary: Boundary,
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub enum BodyPiece {
    /// Bytes that were made for it.
    Bytes(Vec<u8>),
    /// A range of the content, as [`Body::Memory`] or [`Body::File`].
    Content(Body),
}

impl ResponseFields {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().into_iter().flat_map(FieldLines::iter)
    }

    /// The same in three runs, for a framing that can copy runs.
    pub fn lines(&self) -> [FieldLines<'_>; 3] {
        let [first, second] = &self.runs;
        let run = |run: &Range<u16>| match &self.prepared {
            Some(prepared) => prepared.some(run.start.into()..run.end.into()),
            None => FieldLines::NONE,
        };
        [self.own.all(), run(first), run(second)]
    }

    /// The prepared fields and what lies behind them, whether or not all of them are sent.
    pub fn prepared(&self) -> Option<&PreparedFields> {
        self.prepared.as_deref()
    }

    /// If all prepared fields are sent: this response's own fields, and the prepared ones.
    pub fn all_prepared(&self) -> Option<(&Fields, &PreparedFields)> {
        let prepared = self.prepared.as_deref()?;
        let all = self.runs[0] == (0..prepared.len() as u16) && self.runs[1].is_empty();
        all.then_some((&self.own, prepared))
    }
}

impl Response {
    /// A response of this status with these fields, and no body.
    pub(super) fn new(status: Status, own: Fields) -> Self {
        let fields = ResponseFields { own, prepared: None, runs: [0..0, 0..0] };
        Self { status, fields, body: Body::None }
    }

    /// A response with a run of a representation's fields behind its own.
    #[inline]
    fn about(status: Status, own: Fields, variant: &Variant, run: FieldRun) -> Self {
        let prepared = Some(Rc::clone(variant.prepared()));
        let fields = ResponseFields { own, prepared, runs: [variant.run(run), 0..0] };
        Self { status, fields, body: Body::None }
    }

    /// All of a representation.
    #[inline]
    pub(super) fn whole(own: Fields, variant: &Variant) -> Self {
        let body = match variant.file() {
            Some(file) => Body::File(Arc::clone(file), 0..variant.len()),
            None => Body::Prepared,
        };
        Self { body, ..Self::about(Status::Ok, own, variant, FieldRun::All) }
    }

    /// The client's copy is still good (RFC 9110 section 15.4.5).
    pub(super) fn not_modified(own: Fields, variant: &Variant) -> Self {
        Self::about(Status::NotModified, own, variant, FieldRun::FromTag)
    }

    /// One range of a representation.
    pub(super) fn range(mut own: Fields, variant: &Variant, range: Range<u64>) -> Self {
        own.push("Content-Range", ContentRange::Satisfied(range.clone(), variant.len()));
        own.push("Content-Length", range.end - range.start);
        let body = content(variant, range);
        Self { body, ..Self::about(Status::PartialContent, own, variant, FieldRun::FromType) }
    }

    /// Several ranges of a representation.
    pub(super) fn ranges(
        mut own: Fields,
        variant: &Variant,
        ranges: Box<[Range<u64>]>,
        boundary: Boundary,
    ) -> Self {
        let body = MultipartBody { variant: variant.clone(), ranges, boundary };
        own.push("Content-Length", body.parts().body_len());
        own.push("Content-Type", boundary.content_type());
        let body = Body::Multipart(Box::new(body));
        Self { body, ..Self::about(Status::PartialContent, own, variant, FieldRun::FromCoding) }
    }

    /// An error whose body is a page of the operator's.
    pub(super) fn error_page(status: Status, own: Fields, variant: &Variant) -> Self {
        let prepared = Some(Rc::clone(variant.prepared()));
        let runs = [variant.run(FieldRun::UpToCoding), variant.run(FieldRun::FromRest)];
        let body = content(variant, 0..variant.len());
        Self { status, fields: ResponseFields { own, prepared, runs }, body }
    }

    /// A response whose fields and body were made before.
    pub(super) fn prepared(status: Status, own: Fields, prepared: Rc<PreparedFields>) -> Self {
        let all = prepared.len() as u16;
        let fields = ResponseFields { own, prepared: Some(prepared), runs: [0..all, 0..0] };
        Self { status, fields, body: Body::Prepared }
    }
}

/// A range of what a variant has.
fn content(variant: &Variant, range: Range<u64>) -> Body {
    match variant.file() {
        Some(file) => Body::File(Arc::clone(file), range),
        None => {
            let start = variant.prepared().head_len();
            let range = start as u64 + range.start..start as u64 + range.end;
            // What is in memory is a MiB at most.
            Body::Memory(
                Rc::clone(variant.prepared().bytes()),
                range.start as u32..range.end as u32,
            )
        }
    }
}

impl MultipartBody {
    fn parts(&self) -> Multipart<'_> {
        Multipart {
            ranges: &self.ranges,
            len: self.variant.len(),
            content_type: self.variant.content_type(),
            boundary: self.boundary,
        }
    }

    /// The pieces of the body, in order.
    pub fn pieces(&self) -> impl Iterator<Item = BodyPiece> {
        let parts = self.parts();
        let ranges = self.ranges.iter().enumerate();
        let heads_and_parts = ranges.flat_map(move |(number, range)| {
            let mut head = Vec::new();
            parts.write_head(number, &mut head);
            [BodyPiece::Bytes(head), BodyPiece::Content(content(&self.variant, range.clone()))]
        });
        let mut end = Vec::new();
        parts.write_end(&mut end);
        heads_and_parts.chain([BodyPiece::Bytes(end)])
    }
}

/// `Server` and `Date`, which stand in every response (RFC 9110 section 6.6.1). They are made once
/// a second.
#[derive(Debug, Default)]
pub struct CommonFields {
    second: Option<u64>,
    fields: Fields,
}

impl CommonFields {
    /// The fields at this time.
    pub fn at(&mut self, now: SystemTime) -> &Fields {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second != Some(second) {
            self.second = Some(second);
            self.fields = Fields::new();
            self.fields.push("Server", "ringd");
            self.fields.push("Date", httpdate::fmt_http_date(now));
        }
        &self.fields
    }
}
