//! Entity tags, alone and in lists.

use super::Member::{Any, Malformed, Tag};
use super::{EntityTag, Member, list};
use crate::http::semantics::field::Field;

fn tag(text: &str) -> EntityTag<'_> {
    EntityTag::parse(text.as_bytes()).unwrap()
}

fn members(value: &str) -> Vec<Member<'_>> {
    list(Field::one(value.as_bytes())).collect()
}

#[test]
fn tags_are_parsed_by_the_grammar() {
    for (text, opaque, is_weak) in [
        ("\"\"", "", false),
        ("\"xyzzy\"", "xyzzy", false),
        ("W/\"xyzzy\"", "xyzzy", true),
        ("\"a,b;c*W/\\\"", "a,b;c*W/\\", false),
        ("\"\u{fc}\"", "\u{fc}", false),
    ] {
        let tag = tag(text);
        assert_eq!((tag.opaque(), tag.is_weak()), (opaque.as_bytes(), is_weak), "{text}");
        assert_eq!(tag.to_string(), text);
    }
    for text in [
        "",
        "xyzzy",
        "\"",
        "W/",
        "W/xyzzy",
        "w/\"xyzzy\"",
        "W\"xyzzy\"",
        "\"a b\"",
        "\"a\tb\"",
        "\"a\u{7f}\"",
        "\"a",
        "a\"",
        "\"a\"b",
        "\"a\" ",
        " \"a\"",
        "W/ \"a\"",
        "'a'",
        "*",
    ] {
        assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text}");
    }
}

/// The table of RFC 9110 section 8.8.3.2.
#[test]
fn tags_compare_as_the_rfc_says() {
    for (one, other, strongly, weakly) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
    ] {
        for (one, other) in [(tag(one), tag(other)), (tag(other), tag(one))] {
            assert_eq!(one.matches_strongly(&other), strongly, "{one} {other}");
            assert_eq!(one.matches_weakly(&other), weakly, "{one} {other}");
        }
    }
}

#[test]
fn lists_are_split_between_tags_and_not_within_them() {
    assert_eq!(members("\"a\""), [Tag(tag("\"a\""))]);
    assert_eq!(
        members("\"a,b\",W/\"c\"\t, \"\""),
        ["\"a,b\"", "W/\"c\"", "\"\""].map(|text| Tag(tag(text)))
    );
    assert_eq!(members("*"), [Any]);
    assert_eq!(members(", ,\"a\",, "), [Tag(tag("\"a\""))]);
    assert_eq!(members(""), []);
    assert_eq!(members(" , "), []);
    let head = b"X: y\r\nE: \"a\"\r\ne: \"b\", \"c\"\r\n\r\n";
    let field = Field::spanning("e", &head[9..head.len() - 4]);
    assert_eq!(
        list(field).collect::<Vec<_>>(),
        ["\"a\"", "\"b\"", "\"c\""].map(|text| Tag(tag(text)))
    );
}

#[test]
fn a_malformed_member_ends_at_a_comma() {
    let b = Tag(tag("\"b\""));
    for text in [
        "a, \"b\"",
        "\"a, \"b\"",
        "\"a\"x, \"b\"",
        "\"a\" \"x\",\"b\"",
        "w/\"a\",\"b\"",
        "**, \"b\"",
    ] {
        assert_eq!(members(text), [Malformed, b], "{text}");
    }
    assert_eq!(members("\"a,b"), [Malformed, Malformed]);
    assert_eq!(members("\"a,b\"x,\"b\""), [Malformed, b]);
    assert_eq!(members("*, \"b\""), [Any, b]);
}
