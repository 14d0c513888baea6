//! Properties that hold for all conditions, for fuzzing.

use std::time::{Duration, UNIX_EPOCH};

use super::{Conditions, Verdict, is_any, judge};
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::{EntityTag, Modified, Validators};

/// The fields, each with the byte that stands for it in the input of [`fuzz_condition`].
const NAMES: [(u8, &str); 4] = [
    (b'M', "if-match"),
    (b'U', "if-unmodified-since"),
    (b'N', "if-none-match"),
    (b'S', "if-modified-since"),
];

/// Fuzz entry: properties of [`judge`]. The first byte of `data` selects the validators. The rest
/// is lines. The first byte of a line selects its field: `M`, `U`, `N` or `S`.
///
/// # Panics
///
/// If a property does not hold.
#[doc(hidden)]
pub fn fuzz_condition(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    let tag = [&b"\"a\""[..], b"W/\"a\"", b"\"a,b\"", b""][usize::from(choice % 4)];
    let modified = Modified { seconds: 784_111_777, is_strong: true };
    let validators =
        Validators { tag: EntityTag::parse(tag), modified: (choice & 4 == 0).then_some(modified) };
    let now = UNIX_EPOCH + Duration::from_secs(modified.seconds + 60);
    let verdict = |conditions: &Conditions<'_>| judge(conditions, &validators, now);

    // The same fields twice: as the lines of a head, and with all values of a field in one line.
    let mut head = Vec::new();
    let mut joined: [Option<Vec<u8>>; NAMES.len()] = Default::default();
    for line in text.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let Some((letter, value)) = line.split_first() else { continue };
        let number = NAMES.iter().position(|(known, _)| known == letter);
        let name = number.map_or("other", |number| NAMES[number].1);
        head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        if let Some(joined) = number.map(|number| &mut joined[number]) {
            let before = joined.take().map(|before| [&before[..], b", "].concat());
            *joined = Some([&before.unwrap_or_default()[..], value.trim_ascii()].concat());
        }
    }
    let conditions = of_head(&head);
    let whole = verdict(&conditions);

    let one = |number: usize| joined[number].as_deref().map_or(Field::ABSENT, Field::one);
    let in_one_line = Conditions {
        if_match: one(0),
        if_unmodified_since: one(1),
        if_none_match: one(2),
        if_modified_since: one(3),
    };
    let same = verdict(&in_one_line);
    assert_eq!(same, whole, "with all values of a field in one line: {conditions:?}");
    assert_precedence(&conditions, verdict);
    assert_tags_count(&in_one_line, tag, verdict);
}

/// Collects the conditions of a head line by line.
fn of_head(head: &[u8]) -> Conditions<'_> {
    let mut fields = [Field::ABSENT; NAMES.len()];
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        for (field, (_, name)) in fields.iter_mut().zip(NAMES) {
            if line[..colon] == *name.as_bytes() {
                *field = field.merge(name, line[colon + 1..].trim_ascii(), head);
            }
        }
    }
    let [if_match, if_unmodified_since, if_none_match, if_modified_since] = fields;
    Conditions { if_match, if_unmodified_since, if_none_match, if_modified_since }
}

/// Checks which verdicts each field can cause, and which fields take precedence over others.
fn assert_precedence(conditions: &Conditions<'_>, verdict: impl Fn(&Conditions<'_>) -> Verdict) {
    let whole = verdict(conditions);
    let Conditions { if_match, if_unmodified_since, if_none_match, if_modified_since } =
        *conditions;
    let wants = Conditions { if_match, if_unmodified_since, ..Conditions::default() };
    let has = Conditions { if_none_match, if_modified_since, ..Conditions::default() };
    assert_ne!(verdict(&wants), Verdict::NotModified, "{conditions:?}");
    assert_ne!(verdict(&has), Verdict::Failed, "{conditions:?}");
    let parts = if verdict(&wants) == Verdict::Failed { Verdict::Failed } else { verdict(&has) };
    assert_eq!(whole, parts, "{conditions:?}");
    let mut without = *conditions;
    if !if_match.is_absent() {
        without.if_unmodified_since = Field::ABSENT;
    }
    if !if_none_match.is_absent() {
        without.if_modified_since = Field::ABSENT;
    }
    assert_eq!(verdict(&without), whole, "{conditions:?}");
}

/// Checks that adding a tag to `If-None-Match` has an effect exactly if the tag matches.
fn assert_tags_count(
    conditions: &Conditions<'_>,
    tag: &[u8],
    verdict: impl Fn(&Conditions<'_>) -> Verdict,
) {
    let Some(value) = conditions.if_none_match.single() else { return };
    let whole = verdict(conditions);
    for (more, expected) in [(tag, Verdict::NotModified), (b"W/\"no, 2\"", whole)] {
        if more.is_empty() || whole == Verdict::Failed || is_any(conditions.if_none_match) {
            continue;
        }
        let more = [more, b" ,", value].concat();
        let longer = Conditions { if_none_match: Field::one(&more), ..*conditions };
        assert_eq!(verdict(&longer), expected, "{conditions:?}");
    }
}
