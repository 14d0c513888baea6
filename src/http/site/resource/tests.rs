//! The fields of files and of generated content.

use super::*;
use crate::driver::FileKind;

const NOW: Duration = Duration::from_secs(1_000_000_000);

fn metadata(modified: (i64, u32)) -> Metadata {
    Metadata { kind: FileKind::Regular, len: 255, modified, changed: modified, inode: 1, device: 1 }
}

static NO_FIELDS: Fields = Fields::new();

const PLAIN: Description<'_> = Description {
    content_type: "text/plain; charset=utf-8",
    coding: None,
    vary: "",
    fields: &NO_FIELDS,
};

fn variant(about: Description<'_>, modified: (i64, u32)) -> Variant {
    let (metadata, now) = (metadata(modified), UNIX_EPOCH + NOW);
    let (bytes, table) = VariantHead::of_file(about, &metadata, now).into_buffer(0);
    Variant::of_memory(&bytes, table, metadata, now)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The fields of a run, as HTTP/1.1 writes them.
fn run(variant: &Variant, run: FieldRun) -> String {
    let range = variant.run(run);
    let lines = variant.prepared().some(range.start.into()..range.end.into());
    text(lines.as_h1()).to_owned()
}

fn head(modified: (i64, u32)) -> String {
    run(&variant(PLAIN, modified), FieldRun::All)
}

#[test]
fn a_file_has_type_length_date_and_tag() {
    assert_eq!(
        head((784_111_777, 1)),
        "Content-Length: 255\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Accept-Ranges: bytes\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         ETag: \"ae1b981bc490a01-ff\"\r\nX-Content-Type-Options: nosniff\r\n"
    );
}

#[test]
fn each_run_has_its_fields() {
    let mut fields = Fields::new();
    fields.push("A", "b");
    let about = Description {
        coding: Some(Coding::Zstd),
        vary: "Accept-Encoding",
        fields: &fields,
        ..PLAIN
    };
    let variant = variant(about, (784_111_777, 1));
    let rest = "Vary: Accept-Encoding\r\nA: b\r\nX-Content-Type-Options: nosniff\r\n";
    let tag = format!("ETag: \"ae1b981bc490a01-ff-zstd\"\r\n{rest}");
    let ranges =
        format!("Accept-Ranges: bytes\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n{tag}");
    let coding = format!("Content-Encoding: zstd\r\n{ranges}");
    let kind = format!("Content-Type: text/plain; charset=utf-8\r\n{coding}");
    assert_eq!(run(&variant, FieldRun::FromRest), rest);
    assert_eq!(run(&variant, FieldRun::FromTag), tag);
    assert_eq!(run(&variant, FieldRun::FromCoding), coding);
    assert_eq!(run(&variant, FieldRun::FromType), kind);
    assert_eq!(run(&variant, FieldRun::All), format!("Content-Length: 255\r\n{kind}"));
    assert_eq!(variant.content_type(), b"text/plain; charset=utf-8");
    assert_eq!(
        run(&variant, FieldRun::UpToCoding),
        "Content-Length: 255\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Encoding: zstd\r\n"
    );
    let validators = variant.validators();
    assert_eq!(validators.tag.map(|tag| tag.opaque()), Some(&b"ae1b981bc490a01-ff-zstd"[..]));
    assert_eq!(validators.modified, Some(Modified { seconds: 784_111_777, is_strong: true }));
}

#[test]
fn a_time_stamp_at_the_epoch_gives_no_validators() {
    for seconds in [0, 1, -5] {
        let head = head((seconds, 0));
        assert!(!head.contains("Last-Modified") && !head.contains("ETag"), "{head}");
        let variant = variant(PLAIN, (seconds, 0));
        assert!(variant.validators().tag.is_none() && variant.validators().modified.is_none());
    }
}

#[test]
fn a_time_stamp_in_the_future_is_sent_as_now() {
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
fn generated_content_has_a_weak_tag_and_no_ranges() {
    let one = Variant::made(PLAIN, b"one");
    let other = Variant::made(PLAIN, b"other");
    assert_eq!(one.prepared().body(), b"one");
    assert!(one.validators().tag.unwrap().is_weak());
    assert_ne!(one.validators().tag.unwrap().opaque(), other.validators().tag.unwrap().opaque());
    assert!(!one.has_ranges() && !run(&one, FieldRun::All).contains("Accept-Ranges"));
}
