//! Each condition, their precedence, and differences in spelling that must have no effect.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Verdict::{Failed, NotModified, Proceed};
use super::{Conditions, Verdict, fuzz_condition, judge};
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::{EntityTag, Modified, Validators};

const MODIFIED: u64 = 784_111_777;
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
/// An hour after the modification.
const AFTER_NOW: &str = "Sun, 06 Nov 1994 09:49:38 GMT";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(MODIFIED + 3600)
}

fn known(tag: &'static str) -> Validators<'static> {
    let modified = Some(Modified { seconds: MODIFIED, is_strong: true });
    Validators { tag: EntityTag::parse(tag.as_bytes()), modified }
}

/// The verdict for these fields of a request.
fn verdict(validators: &Validators<'_>, fields: &[(&str, &str)]) -> Verdict {
    let mut conditions = Conditions::default();
    for (name, value) in fields {
        let place = match *name {
            "If-Match" => &mut conditions.if_match,
            "If-Unmodified-Since" => &mut conditions.if_unmodified_since,
            "If-None-Match" => &mut conditions.if_none_match,
            "If-Modified-Since" => &mut conditions.if_modified_since,
            _ => unreachable!("{name} is not a condition"),
        };
        *place = Field::one(value.as_bytes());
    }
    judge(&conditions, validators, now())
}

#[track_caller]
fn assert_one(name: &str, tag: &'static str, cases: &[(&str, Verdict)]) {
    for (value, expected) in cases {
        assert_eq!(verdict(&known(tag), &[(name, value)]), *expected, "{name}: {value}");
    }
}

#[test]
fn a_request_without_conditions_proceeds() {
    assert_eq!(verdict(&known("\"a\""), &[]), Proceed);
    assert_eq!(verdict(&Validators::default(), &[]), Proceed);
}

#[test]
fn if_none_match_compares_weakly() {
    let cases = [
        ("\"a\"", NotModified),
        ("W/\"a\"", NotModified),
        ("\"b\"", Proceed),
        ("\"A\"", Proceed),
        ("\"b\", W/\"a\"", NotModified),
        ("\"b\",\"c\"", Proceed),
        ("*", NotModified),
        ("", Proceed),
        // A comma within a tag does not separate members.
        ("\"x,\"a\"", Proceed),
        ("\"b,\", \"a\"", NotModified),
        // Malformed members are ignored.
        ("a", Proceed),
        ("junk, \"a\"", NotModified),
        ("\"a\"junk", Proceed),
        ("\"a\" \"b\"", Proceed),
        ("w/\"a\", \"a", Proceed),
        ("*, \"b\"", Proceed),
        ("*, \"a\"", NotModified),
    ];
    assert_one("If-None-Match", "\"a\"", &cases);
    assert_one("If-None-Match", "W/\"a\"", &cases);
    assert_one("If-None-Match", "\"a,b\"", &[("\"a,b\"", NotModified), ("\"a\"", Proceed)]);
}

#[test]
fn if_match_compares_strongly() {
    let cases = [
        ("\"a\"", Proceed),
        ("W/\"a\"", Failed),
        ("\"b\"", Failed),
        ("\"b\", \"a\"", Proceed),
        ("\"b\", W/\"a\"", Failed),
        ("*", Proceed),
        ("", Failed),
        ("a", Failed),
        ("\"a\", junk", Failed),
        ("junk, \"a\"", Failed),
        ("*, \"a\"", Failed),
    ];
    assert_one("If-Match", "\"a\"", &cases);
    assert_one("If-Match", "W/\"a\"", &[("\"a\"", Failed), ("W/\"a\"", Failed), ("*", Proceed)]);
}

#[test]
fn a_star_matches_a_representation_without_a_tag() {
    let none = Validators::default();
    assert_eq!(verdict(&none, &[("If-None-Match", "*")]), NotModified);
    assert_eq!(verdict(&none, &[("If-Match", "*")]), Proceed);
    assert_eq!(verdict(&none, &[("If-None-Match", "\"\"")]), Proceed);
    assert_eq!(verdict(&none, &[("If-Match", "\"\"")]), Failed);
}

#[test]
fn dates_are_compared_by_the_second() {
    let since = [
        (SAME, NotModified),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
        ("Sun Nov  6 08:49:37 1994", NotModified),
        (LATER, NotModified),
        ("Sun, 06 Nov 1994 09:49:37 GMT", NotModified),
        (EARLIER, Proceed),
        ("Mon, 01 Jan 1900 00:00:00 GMT", Proceed),
        // A date in the future is a date (section 13.1.3).
        (AFTER_NOW, NotModified),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NotModified),
        ("", Proceed),
        ("0", Proceed),
        ("yesterday", Proceed),
        ("Sun, 06 Nov 1994 08:49:37 GMT; length=5", Proceed),
    ];
    assert_one("If-Modified-Since", "\"a\"", &since);
    let unmodified = [
        (SAME, Proceed),
        (LATER, Proceed),
        (AFTER_NOW, Proceed),
        (EARLIER, Failed),
        ("Mon, 01 Jan 1900 00:00:00 GMT", Failed),
        ("", Proceed),
        ("yesterday", Proceed),
    ];
    assert_one("If-Unmodified-Since", "\"a\"", &unmodified);
}

#[test]
fn conditions_with_dates_are_ignored_if_the_modification_date_is_unknown() {
    let undated = Validators { modified: None, ..known("\"a\"") };
    assert_eq!(verdict(&undated, &[("If-Modified-Since", SAME)]), Proceed);
    assert_eq!(verdict(&undated, &[("If-Unmodified-Since", EARLIER)]), Proceed);
}

#[test]
fn a_condition_with_two_dates_is_ignored() {
    let twice = format!("{SAME}\r\nName: {SAME}");
    let if_modified_since = Field::spanning("name", twice.as_bytes());
    assert_eq!(if_modified_since.values().count(), 2);
    let conditions = Conditions { if_modified_since, ..Conditions::default() };
    assert_eq!(judge(&conditions, &known("\"a\""), now()), Proceed);
    let twice = format!("{EARLIER}\r\nName: {EARLIER}");
    let if_unmodified_since = Field::spanning("name", twice.as_bytes());
    let conditions = Conditions { if_unmodified_since, ..Conditions::default() };
    assert_eq!(judge(&conditions, &known("\"a\""), now()), Proceed);
}

#[test]
fn several_lines_of_tags_form_one_list() {
    let lines = b"\"b\"\r\nHost: h\r\nif-NONE-match: \"c\", \"a\"";
    let if_none_match = Field::spanning("if-none-match", lines);
    let conditions = Conditions { if_none_match, ..Conditions::default() };
    assert_eq!(judge(&conditions, &known("\"a\""), now()), NotModified);
    assert_eq!(judge(&conditions, &known("\"h\""), now()), Proceed);
}

/// RFC 9110 section 13.2.2.
#[test]
fn tags_take_precedence_over_dates_and_412_over_304() {
    let all = |if_match, unmodified, if_none_match, modified| {
        let fields = [
            ("If-Match", if_match),
            ("If-Unmodified-Since", unmodified),
            ("If-None-Match", if_none_match),
            ("If-Modified-Since", modified),
        ];
        let is_present = |field: &(&str, &str)| field.1 != "-";
        let fields: Vec<_> = fields.into_iter().filter(is_present).collect();
        verdict(&known("\"a\""), &fields)
    };
    assert_eq!(all("\"a\"", EARLIER, "-", "-"), Proceed);
    assert_eq!(all("\"b\"", SAME, "-", "-"), Failed);
    assert_eq!(all("-", "-", "\"b\"", SAME), Proceed);
    assert_eq!(all("-", "-", "junk", SAME), Proceed);
    assert_eq!(all("-", "-", "", SAME), Proceed);
    assert_eq!(all("-", "-", "\"a\"", EARLIER), NotModified);
    assert_eq!(all("\"b\"", "-", "\"a\"", SAME), Failed);
    assert_eq!(all("-", EARLIER, "\"a\"", SAME), Failed);
    assert_eq!(all("\"a\"", "-", "\"a\"", "-"), NotModified);
    assert_eq!(all("\"a\"", EARLIER, "\"b\"", SAME), Proceed);
    assert_eq!(all("-", SAME, "-", SAME), NotModified);
    assert_eq!(all("*", EARLIER, "*", EARLIER), NotModified);
}

#[test]
fn a_clock_before_the_epoch_counts_as_the_epoch() {
    let early = UNIX_EPOCH - Duration::from_secs(5);
    for (date, expected) in [
        (SAME, NotModified),
        (EARLIER, Proceed),
        // The century is that of the epoch: 1994, and 1920, which had another Friday.
        ("Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
        ("Friday, 06-Nov-20 08:49:37 GMT", Proceed),
    ] {
        let if_modified_since = Field::one(date.as_bytes());
        let conditions = Conditions { if_modified_since, ..Conditions::default() };
        assert_eq!(judge(&conditions, &known("\"a\""), early), expected, "{date}");
    }
}

#[test]
fn a_list_matches_exactly_if_one_of_its_members_does() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut matches = [0; 2];
    for _ in 0..5000 {
        let text = |random: &mut fastrand::Rng| {
            let inner: String = (0..random.usize(..3))
                .map(|_| random.choice(b"a,*/").copied().unwrap())
                .map(char::from)
                .collect();
            format!("{}\"{inner}\"", if random.bool() { "W/" } else { "" })
        };
        let own = text(&mut random);
        let tags: Vec<String> = (0..random.usize(1..5)).map(|_| text(&mut random)).collect();
        let mut list = String::new();
        for tag in &tags {
            list += [",", " , ", ", ,\t"][random.usize(..3)];
            list += tag;
        }
        let opaque = |tag: &str| tag.trim_start_matches("W/").to_string();
        let weakly = tags.iter().any(|tag| opaque(tag) == opaque(&own));
        let strongly = tags.iter().any(|tag| *tag == own && !tag.starts_with('W'));
        let validators = Validators { tag: EntityTag::parse(own.as_bytes()), modified: None };
        let none_match = verdict(&validators, &[("If-None-Match", &list)]);
        assert_eq!(none_match, if weakly { NotModified } else { Proceed }, "{own} in {list}");
        let all_match = verdict(&validators, &[("If-Match", &list)]);
        assert_eq!(all_match, if strongly { Proceed } else { Failed }, "{own} in {list}");
        matches[usize::from(strongly)] += 1;
    }
    assert!(matches.iter().all(|count| *count > 100), "{matches:?}");
}

#[test]
fn the_fuzz_entry_accepts_several_lines() {
    fuzz_condition(b"\x00N\"b\"\nxother\nN \"a\"\nM*\nSSun, 06 Nov 1994 08:49:37 GMT");
}
