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
    let (bytes, table) =
        VariantHead::of_file(about, &metadata, now, FileValidators::OF_STAT).into_buffer(0);
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

/// Two codings with the same date: the date does not say which of them a client has a part of (RFC
/// 9110 section 8.8.2.2).
#[test]
fn a_date_that_two_codings_share_is_weak() {
    let (shared, other) = ((784_111_777, 1), (784_111_778, 0));
    for (gzip, zstd, strong) in [
        (shared, other, [false, false, true]),
        // Clients see only whole seconds.
        ((shared.0, 999), other, [false, false, true]),
        (other, other, [true, false, false]),
        (other, (784_111_779, 0), [true, true, true]),
        (shared, shared, [false, false, false]),
    ] {
        let coded = |coding, modified| {
            (coding, variant(Description { coding: Some(coding), ..PLAIN }, modified))
        };
        let encoded = vec![coded(Coding::Gzip, gzip), coded(Coding::Zstd, zstd)];
        let page = Page::new(b"a", variant(PLAIN, shared), encoded);
        let codings = [None, Some(Coding::Gzip), Some(Coding::Zstd)];
        let is_strong = codings.map(|coding| {
            let validators = page.variant(coding).validators();
            assert!(!validators.tag.unwrap().is_weak(), "tags differ between codings");
            validators.modified.unwrap().is_strong
        });
        assert_eq!(is_strong, strong, "{gzip:?} {zstd:?}");
    }
    let alone = Page::new(b"a", variant(PLAIN, shared), Vec::new());
    assert!(alone.variant(None).validators().modified.unwrap().is_strong);
}

/// `Date` and `Last-Modified` have years of four digits, and none before 1970. Nothing that a clock
/// or a file says may end the worker.
#[test]
fn no_time_of_a_file_or_a_clock_is_too_far_away() {
    let ends = [i64::MIN, i64::MIN + 1, -62_135_596_801, -1, 0, 1, 2, 253_402_300_799]
        .into_iter()
        .chain([253_402_300_800, 1 << 40, 1 << 56, i64::MAX - 1, i64::MAX]);
    let clocks = [
        UNIX_EPOCH - Duration::from_secs(1 << 40),
        UNIX_EPOCH - Duration::from_nanos(1),
        UNIX_EPOCH,
        UNIX_EPOCH + NOW,
        UNIX_EPOCH + Duration::from_secs(253_402_300_799),
        UNIX_EPOCH + Duration::from_secs(253_402_300_800),
        UNIX_EPOCH + Duration::from_secs(1 << 60),
    ];
    for (number, now) in clocks.into_iter().enumerate() {
        let has_clock = (2..=4).contains(&number);
        for seconds in ends.clone() {
            let metadata = metadata((seconds, 999_999_999));
            let (bytes, table) =
                VariantHead::of_file(PLAIN, &metadata, now, FileValidators::OF_STAT).into_buffer(0);
            let variant = Variant::of_memory(&bytes, table, metadata, now);
            let head = run(&variant, FieldRun::All);
            let dated = has_clock && seconds > 1;
            assert_eq!(head.contains("Last-Modified"), dated, "{now:?} {seconds}: {head}");
            assert_eq!(variant.validators().modified.is_some(), dated, "{now:?} {seconds}");
            // The tag needs no clock: it is weak until the clock is past the time stamp.
            assert_eq!(variant.validators().tag.is_some(), seconds > 1, "{now:?} {seconds}");
            if let Some(Modified { seconds: sent, .. }) = variant.validators().modified {
                let at = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(sent));
                assert!(head.contains(&format!("Last-Modified: {at}\r\n")), "{head}");
            }
        }
    }
}

/// The cache weighs what a page keeps in memory and open, in all codings.
#[test]
fn the_weight_of_a_page_includes_its_codings() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "x").unwrap();
    let open = |coding| {
        let file = File::open_root(file.path(), crate::driver::Links::Beneath).unwrap();
        let (file, now) = (Arc::new(file), UNIX_EPOCH + NOW);
        let about = Description { coding, ..PLAIN };
        let (bytes, table) =
            VariantHead::of_file(about, file.metadata(), now, FileValidators::OF_STAT)
                .into_buffer(0);
        Variant::of_file(&bytes, table, file, now)
    };
    let in_memory = |coding, len: usize| {
        let (metadata, now) = (metadata((2, 0)), UNIX_EPOCH + NOW);
        let about = Description { coding, ..PLAIN };
        let (mut bytes, table) =
            VariantHead::of_file(about, &metadata, now, FileValidators::OF_STAT).into_buffer(len);
        bytes.resize(bytes.len() + len, b'x');
        Variant::of_memory(&bytes, table, metadata, now)
    };
    let weight = |plain, encoded| {
        Resource::Page(Page::new(b"path", plain, encoded)).weight(b"a key of 17 bytes")
    };
    let gzip = Some(Coding::Gzip);
    let alone = weight(in_memory(None, 1000), Vec::new());
    assert!(alone.bytes > 1000 + 4 + 17 && alone.files == 0, "{alone:?}");
    let two = weight(in_memory(None, 1000), vec![(Coding::Gzip, in_memory(gzip, 5000))]);
    assert!(two.bytes > alone.bytes + 5000 && two.files == 0, "{two:?}");
    let opened = weight(open(None), vec![(Coding::Gzip, open(gzip))]);
    assert_eq!(opened.files, 2);
    let mixed = weight(in_memory(None, 1000), vec![(Coding::Gzip, open(gzip))]);
    assert!(mixed.files == 1 && mixed.bytes > alone.bytes, "{mixed:?}");
    let moved = Resource::Moved("/x/".into()).weight(b"key");
    let listing = Resource::Listing.weight(b"key");
    assert_eq!((moved.bytes - listing.bytes, moved.files, listing.files), (3, 0, 0));
}

#[test]
fn generated_content_has_a_weak_tag_and_no_ranges() {
    let one = Variant::made(PLAIN, b"one", true);
    let other = Variant::made(PLAIN, b"other", true);
    assert_eq!(one.prepared().body(), b"one");
    assert!(one.validators().tag.unwrap().is_weak());
    assert_ne!(one.validators().tag.unwrap().opaque(), other.validators().tag.unwrap().opaque());
    assert!(!one.has_ranges() && !run(&one, FieldRun::All).contains("Accept-Ranges"));
}
