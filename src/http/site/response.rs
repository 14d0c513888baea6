//! Responses, independent of framing.
//!
//! A [`Response`] is a status, fields in order, and a body. It has no fields about the connection,
//! and neither `Server` nor `Date` ([`CommonFields`]), which the framing adds to every response. A
//! response shares ownership of its content, so it stays valid if the cache evicts the content.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use super::resource::{FieldRun, Variant};
use crate::driver::File;
use crate::http::semantics::date::{clock_seconds, format_date};
use crate::http::semantics::fields::{FieldLines, Fields, PreparedFields};
use crate::http::semantics::multipart::{Boundary, Multipart};
use crate::http::semantics::negotiate::Coding;
use crate::http::semantics::range::ContentRange;
use crate::http::semantics::request::Method;
use crate::http::semantics::status::Status;

/// A response; see the module documentation.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: Status,
    /// The fields, in order. They include `Content-Length` if there is content whose length is
    /// known, also in the response to HEAD.
    pub fields: ResponseFields,
    /// The content.
    pub body: Body,
}

/// The fields of a response: its own fields, followed by runs of prepared fields.
#[derive(Clone, Default, Debug)]
pub struct ResponseFields {
    own: Fields,
    prepared: Option<Rc<PreparedFields>>,
    /// The numbers of the prepared fields that are used.
    runs: [Range<u16>; 2],
}

// Responses are moved often.
const _: () = assert!(size_of::<Response>() <= 64);

/// The content of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// No content, as in every response to HEAD.
    None,
    /// The whole body that follows the prepared fields in their buffer.
    Prepared,
    /// A range of bytes in memory.
    Memory(Rc<[u8]>, Range<u32>),
    /// A range of a file.
    File(Arc<File>, Range<u64>),
    /// Several ranges, as `multipart/byteranges` (RFC 9110 section 14.6).
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
    /// Text around the ranges.
    Bytes(Vec<u8>),
    /// A range, as [`Body::Memory`] or [`Body::File`].
    Content(Body),
}

impl ResponseFields {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().into_iter().flat_map(FieldLines::iter)
    }

    /// All fields as three runs, for a framing that copies runs.
    pub fn lines(&self) -> [FieldLines<'_>; 3] {
        let [first, second] = &self.runs;
        let run = |run: &Range<u16>| match &self.prepared {
            Some(prepared) => prepared.some(run.start.into()..run.end.into()),
            None => FieldLines::NONE,
        };
        [self.own.all(), run(first), run(second)]
    }

    /// All prepared fields and their body, whether or not they are used.
    pub fn prepared(&self) -> Option<&PreparedFields> {
        self.prepared.as_deref()
    }

    /// The response's own fields and the prepared ones, if all prepared fields are used.
    pub fn all_prepared(&self) -> Option<(&Fields, &PreparedFields)> {
        let prepared = self.prepared.as_deref()?;
        let all = self.runs[0] == (0..prepared.len() as u16) && self.runs[1].is_empty();
        all.then_some((&self.own, prepared))
    }
}

impl Response {
    /// The response to a request with this method: one to HEAD has no content (RFC 9110 section
    /// 9.3.2).
    #[must_use]
    pub(in crate::http) fn to(mut self, method: Method) -> Self {
        self.adapt_to(method);
        self
    }

    /// Makes it the response to a request with this method.
    pub(super) fn adapt_to(&mut self, method: Method) {
        if method == Method::Head {
            self.body = Body::None;
        }
    }

    /// The length of the content in bytes; zero in a response to HEAD.
    pub(in crate::http) fn body_len(&self) -> u64 {
        match &self.body {
            Body::None => 0,
            Body::Prepared => self.fields.prepared().map_or(0, |all| all.body().len() as u64),
            Body::Memory(_, range) => (range.end - range.start).into(),
            Body::File(_, range) => range.end - range.start,
            Body::Multipart(parts) => parts.parts().body_len(),
        }
    }

    /// The content coding.
    pub(in crate::http) fn coding(&self) -> Option<Coding> {
        let lines = self.fields.lines();
        let value = lines.iter().find_map(|lines| lines.get("Content-Encoding"));
        value.and_then(Coding::named)
    }

    /// A response without a body.
    pub(super) fn new(status: Status, own: Fields) -> Self {
        let fields = ResponseFields { own, prepared: None, runs: [0..0, 0..0] };
        Self { status, fields, body: Body::None }
    }

    /// A response with its own fields, a run of a variant's fields, and a body.
    #[inline]
    fn about(status: Status, own: Fields, variant: &Variant, run: FieldRun, body: Body) -> Self {
        let prepared = Some(Rc::clone(variant.prepared()));
        let fields = ResponseFields { own, prepared, runs: [variant.run(run), 0..0] };
        Self { status, fields, body }
    }

    /// A response with a whole variant.
    #[inline]
    pub(super) fn whole(own: Fields, variant: &Variant) -> Self {
        let body = match variant.file() {
            Some(file) => Body::File(Arc::clone(file), 0..variant.len()),
            None => Body::Prepared,
        };
        Self::about(Status::Ok, own, variant, FieldRun::All, body)
    }

    /// A response with 304 (RFC 9110 section 15.4.5).
    pub(super) fn not_modified(own: Fields, variant: &Variant) -> Self {
        Self::about(Status::NotModified, own, variant, FieldRun::FromTag, Body::None)
    }

    /// A response with one range of a variant.
    pub(super) fn range(mut own: Fields, variant: &Variant, range: Range<u64>) -> Self {
        own.push("Content-Range", ContentRange::Satisfied(range.clone(), variant.len()));
        own.push("Content-Length", range.end - range.start);
        let body = content(variant, range);
        Self::about(Status::PartialContent, own, variant, FieldRun::FromType, body)
    }

    /// A response with several ranges of a variant.
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
        Self::about(Status::PartialContent, own, variant, FieldRun::FromCoding, body)
    }

    /// An error whose body is an error page of the site.
    pub(super) fn error_page(status: Status, own: Fields, variant: &Variant) -> Self {
        let prepared = Some(Rc::clone(variant.prepared()));
        let runs = [variant.run(FieldRun::UpToCoding), variant.run(FieldRun::FromRest)];
        let body = content(variant, 0..variant.len());
        Self { status, fields: ResponseFields { own, prepared, runs }, body }
    }

    /// A response with prepared fields and their body.
    pub(super) fn prepared(status: Status, own: Fields, prepared: Rc<PreparedFields>) -> Self {
        let all = prepared.len() as u16;
        let fields = ResponseFields { own, prepared: Some(prepared), runs: [0..all, 0..0] };
        Self { status, fields, body: Body::Prepared }
    }
}

/// A range of a variant.
fn content(variant: &Variant, range: Range<u64>) -> Body {
    match variant.file() {
        Some(file) => Body::File(Arc::clone(file), range),
        None => {
            let start = variant.prepared().head_len();
            let range = start as u64 + range.start..start as u64 + range.end;
            // Offsets fit into 32 bits, because files in memory have at most a MiB.
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

/// `Server` and `Date`, which every response has. They are formatted once per second. If the clock
/// is outside of the years 1970 to 9999, there is no `Date` (RFC 9110 section 6.6.1).
#[derive(Debug, Default)]
pub struct CommonFields {
    /// What the clock said when the fields were made. `None` if they were not.
    made_at: Option<Option<u64>>,
    /// The time that was asked for last: all requests of a turn have the same.
    last: Option<SystemTime>,
    fields: Fields,
}

impl CommonFields {
    /// The fields at this time.
    #[inline]
    pub fn at(&mut self, now: SystemTime) -> &Fields {
        if self.last != Some(now) {
            self.last = Some(now);
            self.make(clock_seconds(now));
        }
        &self.fields
    }

    fn make(&mut self, seconds: Option<u64>) {
        if self.made_at == Some(seconds) {
            return;
        }
        self.made_at = Some(seconds);
        self.fields = Fields::new();
        self.fields.push("Server", "ringd");
        if let Some(date) = seconds.and_then(format_date) {
            self.fields.push("Date", date);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn value(fields: &Fields, name: &str) -> Option<String> {
        let mut lines = fields.all().iter();
        let found = lines.find(|(other, _)| *other == name.as_bytes());
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
    }

    /// The text is kept for a second and not longer, also if the clock is set back.
    #[test]
    fn the_date_is_made_again_in_each_second() {
        let mut common = CommonFields::default();
        for (milliseconds, date) in [
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (784_111_838_000, "Sun, 06 Nov 1994 08:50:38 GMT"),
            (784_111_777_500, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            let fields = common.at(UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(value(fields, "Date").as_deref(), Some(date), "{milliseconds}");
            assert_eq!(value(fields, "Server").as_deref(), Some("ringd"));
        }
    }

    /// A clock outside of the years 1970 to 9999 is none (RFC 9110 section 6.6.1).
    #[test]
    fn a_clock_that_is_out_of_range_gives_no_date() {
        let after = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut common = CommonFields::default();
        for (now, has_date) in [
            (UNIX_EPOCH - Duration::from_nanos(1), false),
            (UNIX_EPOCH, true),
            (UNIX_EPOCH - Duration::from_secs(1 << 40), false),
            (after(253_402_300_799), true),
            (after(253_402_300_800), false),
            (after(1 << 60), false),
            (after(784_111_777), true),
        ] {
            let fields = common.at(now);
            assert_eq!(value(fields, "Date").is_some(), has_date, "{now:?}");
            assert_eq!(value(fields, "Server").as_deref(), Some("ringd"), "{now:?}");
        }
        // Also if it is the first time of all.
        let mut common = CommonFields::default();
        let fields = common.at(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(fields.len(), 1);
    }
}
