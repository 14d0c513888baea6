//! Heads as a file decides them, and what failing to open one means.

use super::*;
use crate::driver::FileKind;

const NOW: Duration = Duration::from_secs(1_000_000_000);

fn metadata(modified: (i64, u32)) -> Metadata {
    Metadata { kind: FileKind::Regular, len: 255, modified, changed: modified, inode: 1, device: 1 }
}

const PLAIN: Description<'_> =
    Description { content_type: "text/plain; charset=utf-8", coding: None, vary: "", fields: "" };

fn variant(about: Description<'_>, modified: (i64, u32)) -> Variant {
    let (metadata, now) = (metadata(modified), UNIX_EPOCH + NOW);
    let (wire, marks) = Head::of_file(about, &metadata, now).into_buffer(0);
    Variant::of_memory(&wire, marks, metadata, now)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn head(modified: (i64, u32)) -> String {
    text(variant(PLAIN, modified).head()).to_owned()
}

#[test]
fn a_page_has_type_length_date_and_tag() {
    assert_eq!(
        head((784_111_777, 1)),
        "Content-Length: 255\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Accept-Ranges: bytes\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         ETag: \"ae1b981bc490a01-ff\"\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    );
}

#[test]
fn every_kind_of_answer_finds_its_fields() {
    let about = Description {
        coding: Some(Coding::Zstd),
        vary: "Accept-Encoding",
        fields: "A: b\r\n",
        ..PLAIN
    };
    let variant = variant(about, (784_111_777, 1));
    let rest = "Vary: Accept-Encoding\r\nA: b\r\nX-Content-Type-Options: nosniff\r\n\r\n";
    let tag = format!("ETag: \"ae1b981bc490a01-ff-zstd\"\r\n{rest}");
    let ranges =
        format!("Accept-Ranges: bytes\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n{tag}");
    let coding = format!("Content-Encoding: zstd\r\n{ranges}");
    let kind = format!("Content-Type: text/plain; charset=utf-8\r\n{coding}");
    assert_eq!(text(variant.head_from_rest()), rest);
    assert_eq!(text(variant.head_from_tag()), tag);
    assert_eq!(text(variant.head_from_coding()), coding);
    assert_eq!(text(variant.head_from_type()), kind);
    assert_eq!(text(variant.head()), format!("Content-Length: 255\r\n{kind}"));
    assert_eq!(variant.content_type(), b"text/plain; charset=utf-8");
    assert_eq!(
        text(variant.length_type_and_coding()),
        "Content-Length: 255\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Encoding: zstd\r\n"
    );
    let validators = variant.validators();
    assert_eq!(validators.tag.map(|tag| tag.opaque()), Some(&b"ae1b981bc490a01-ff-zstd"[..]));
    assert_eq!(validators.modified, Some(Modified { seconds: 784_111_777, is_strong: true }));
}

#[test]
fn times_at_the_epoch_are_no_times() {
    for seconds in [0, 1, -5] {
        let head = head((seconds, 0));
        assert!(!head.contains("Last-Modified") && !head.contains("ETag"), "{head}");
        let variant = variant(PLAIN, (seconds, 0));
        assert!(variant.validators().tag.is_none() && variant.validators().modified.is_none());
    }
}

#[test]
fn a_time_in_the_future_is_given_as_now() {
    let now = httpdate::fmt_http_date(UNIX_EPOCH + NOW);
    assert!(head((2_000_000_000, 0)).contains(&format!("Last-Modified: {now}\r\n")));
}

#[test]
fn the_tag_of_a_file_that_just_changed_is_weak() {
    assert!(head((1_000_000_000 - 1, 0)).contains("ETag: W/\""));
    assert!(head((1_000_000_000 - 3, 0)).contains("ETag: \""));
    let young = variant(PLAIN, (1_000_000_000 - 1, 0));
    assert!(
        young.validators().tag.unwrap().is_weak()
            && !young.validators().modified.unwrap().is_strong
    );
    let old = variant(PLAIN, (1_000_000_000 - 3, 0));
    assert!(
        !old.validators().tag.unwrap().is_weak() && old.validators().modified.unwrap().is_strong
    );
    assert_eq!(young.validators().tag.unwrap().opaque()[..4], *b"de0b");
}

#[test]
fn what_is_made_has_a_tag_of_its_content() {
    let one = Variant::made(PLAIN, b"one");
    let other = Variant::made(PLAIN, b"other");
    assert_eq!(one.body(), b"one");
    assert!(one.validators().tag.unwrap().is_weak());
    assert_ne!(one.validators().tag.unwrap().opaque(), other.validators().tag.unwrap().opaque());
    assert!(!one.has_ranges() && !text(one.head()).contains("Accept-Ranges"));
}

#[test]
fn errors_of_opening_become_statuses() {
    let cases = [
        (libc::ENOENT, Ok(Status::NotFound)),
        (libc::ENOTDIR, Ok(Status::NotFound)),
        (libc::ENAMETOOLONG, Ok(Status::NotFound)),
        (libc::ENXIO, Ok(Status::NotFound)),
        (libc::EACCES, Ok(Status::Forbidden)),
        (libc::EXDEV, Ok(Status::Forbidden)),
        (libc::ELOOP, Ok(Status::Forbidden)),
        (libc::EMFILE, Err(Status::ServiceUnavailable)),
        (libc::EIO, Err(Status::InternalServerError)),
    ];
    for (code, status) in cases {
        assert_eq!(status_of(&io::Error::from_raw_os_error(code)), status, "{code}");
    }
}
