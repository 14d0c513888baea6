//! Fields with no line, with one and with several.

use super::Field;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nRange: a, b\r\nX-Range: no\r\n\
    rANGE:\r\nRangeX: no\r\nRange:,c ,, d\t\r\nX: Range: no\r\n\r\n";

/// Collects a field from a head that httparse has parsed.
fn collect<'a>(head: &'a [u8], name: &'static str) -> Field<'a> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    assert!(request.parse(head).unwrap().is_complete());
    let lines = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    lines.fold(Field::ABSENT, |field, header| field.merge(name, header.value, head))
}

fn values<'a>(field: &Field<'a>) -> Vec<&'a [u8]> {
    field.values().collect()
}

#[test]
fn an_absent_field_has_no_value_and_an_empty_one_has_one() {
    assert!(Field::ABSENT.is_absent() && values(&Field::ABSENT).is_empty());
    assert_eq!(Field::ABSENT.single(), None);
    let empty = Field::one(b"");
    assert!(!empty.is_absent());
    assert_eq!((empty.single(), values(&empty)), (Some(&b""[..]), vec![&b""[..]]));
    assert_eq!(empty.members().count(), 0);
    assert!(collect(HEAD, "If-Range").is_absent());
}

#[test]
fn a_field_with_one_line_has_one_value() {
    let field = collect(HEAD, "host");
    assert_eq!((field.single(), values(&field)), (Some(&b"h"[..]), vec![&b"h"[..]]));
    assert_eq!(field.members().collect::<Vec<_>>(), [b"h"]);
}

#[test]
fn lines_of_one_name_form_one_list_in_order() {
    let field = collect(HEAD, "range");
    assert_eq!(values(&field), [&b"a, b"[..], b"", b",c ,, d"]);
    assert_eq!(field.members().collect::<Vec<_>>(), [b"a", b"b", b"c", b"d"]);
    assert_eq!(field.single(), None);
}

#[test]
fn empty_values_are_kept() {
    let head = b"GET / HTTP/1.1\r\nA:\r\nB: x\r\nA: \t\r\nA: y\r\na:\r\n\r\n";
    assert_eq!(values(&collect(head, "a")), [&b""[..], b"", b"y", b""]);
    assert_eq!(collect(head, "b").single(), Some(&b"x"[..]));
}

#[test]
fn any_head_yields_the_values_of_its_lines() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        let mut wanted: Vec<&[u8]> = Vec::new();
        for _ in 0..random.usize(..8) {
            let name = ["Etag", "eTAG", "Etagg", "E"][random.usize(..4)];
            let value = ["", "a", "b , c", "etag: d", "\"e\u{fc},\""][random.usize(..5)];
            let space = ["", " ", "\t "][random.usize(..3)];
            head.extend_from_slice(format!("{name}:{space}{value}{space}\r\n").as_bytes());
            if name.eq_ignore_ascii_case("etag") {
                wanted.push(value.as_bytes());
            }
        }
        head.extend_from_slice(b"\r\n");
        let field = collect(&head, "etag");
        assert_eq!(values(&field), wanted, "seed {seed}");
        assert_eq!(field.is_absent(), wanted.is_empty());
        assert_eq!(field.single(), (wanted.len() == 1).then(|| wanted[0]));
    }
}

#[test]
#[should_panic(expected = "in order")]
fn a_value_from_outside_the_head_panics() {
    let _ = collect(HEAD, "range").merge("range", b"elsewhere", HEAD);
}
