//! Which coding is selected and which type is preferred, including the examples of RFC 9110.

use super::Coding::{Brotli, Gzip, Zstd};
use super::*;

fn all() -> Codings {
    Coding::ALL.into_iter().collect()
}

#[track_caller]
fn assert_chosen(lines: &[&str], available: Codings, expected: Option<Coding>) {
    let choice = choose(lines.iter().map(|line| line.as_bytes()), available);
    assert_eq!(choice, expected, "{lines:?}");
    let bits = Coding::ALL.iter().filter(|coding| available.contains(**coding));
    let mut data = vec![bits.map(|coding| 1 << *coding as u8).sum()];
    data.extend_from_slice(lines.join("\n").as_bytes());
    fuzz_accept_encoding(&data);
}

#[test]
fn a_set_contains_the_codings_that_were_inserted() {
    assert_eq!(all().iter().collect::<Vec<_>>(), [Brotli, Zstd, Gzip]);
    let one: Codings = [Gzip].into_iter().collect();
    assert!(one.contains(Gzip) && !one.contains(Brotli) && !one.contains(Zstd));
    assert!(Codings::NONE.is_empty() && !one.is_empty());
    assert_eq!(Coding::ALL.map(Coding::name), ["br", "zstd", "gzip"]);
    assert_eq!(Coding::ALL.map(Coding::suffix), [".br", ".zst", ".gz"]);
}

#[test]
fn weights_decide_between_all_codings() {
    let cases: [(&str, Option<Coding>); 40] = [
        // Typical lists.
        ("gzip, deflate", Some(Gzip)),
        ("gzip, deflate, br", Some(Brotli)),
        ("gzip, deflate, br, zstd", Some(Brotli)),
        ("zstd, gzip", Some(Zstd)),
        ("identity", None),
        ("*", Some(Brotli)),
        ("deflate", None),
        // The examples of section 12.5.3.
        ("compress, gzip", Some(Gzip)),
        ("", None),
        ("compress;q=0.5, gzip;q=1.0", Some(Gzip)),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", Some(Gzip)),
        // Weights.
        ("br;q=0.5, gzip", Some(Gzip)),
        ("br;q=0.998, gzip;q=0.999", Some(Gzip)),
        ("br;q=0.999,gzip;q=1", Some(Gzip)),
        ("gzip;q=1.000, br;q=1.", Some(Brotli)),
        ("br;q=0, *", Some(Zstd)),
        ("br;q=0.000, zstd;q=0., *;q=0.001", Some(Gzip)),
        ("*;q=0", None),
        ("*;q=0, gzip", Some(Gzip)),
        ("*;q=0.1, gzip;q=0.2", Some(Gzip)),
        ("br;q=0", None),
        // The plain form.
        ("identity, br", Some(Brotli)),
        ("identity;q=1, br;q=0.5", None),
        ("identity;q=0.5, *;q=0.1", None),
        ("identity;q=0.5, br;q=0.5", Some(Brotli)),
        ("identity;q=0", None),
        ("identity;q=0, *;q=0", None),
        ("identity;q=0, br;q=0.1", Some(Brotli)),
        ("IDENTITY, br;q=0.9", None),
        // Spelling.
        ("BR", Some(Brotli)),
        ("x-gzip", Some(Gzip)),
        ("X-GZip;Q=0.3, identity;q=0.2", Some(Gzip)),
        (" ,\t, br \t;\t q=0.5 ,,", Some(Brotli)),
        // A coding that occurs twice has the higher weight.
        ("gzip;q=0, x-gzip, br;q=0.5", Some(Gzip)),
        // Malformed members are ignored.
        ("br;q=2, gzip", Some(Gzip)),
        ("br;q=1.001, zstd;q=0.0001, gzip", Some(Gzip)),
        ("br;q=.5, zstd;q=-1, gzip", Some(Gzip)),
        ("br;q = 0.5, zstd;q=0.5;q=0.5, gzip", Some(Gzip)),
        ("br;level=5, zstd;, gzip zstd, gzip", Some(Gzip)),
        ("br;q=0.5x, \"zstd\", b\u{fc}r, gzip", Some(Gzip)),
    ];
    for (line, expected) in cases {
        assert_chosen(&[line], all(), expected);
    }
}

#[test]
fn only_available_codings_are_selected() {
    let only = |codings: &[Coding]| codings.iter().copied().collect();
    assert_chosen(&["gzip, br"], only(&[Gzip]), Some(Gzip));
    assert_chosen(&["gzip, br"], only(&[Zstd]), None);
    assert_chosen(&["br, gzip;q=0.5"], only(&[Zstd, Gzip]), Some(Gzip));
    assert_chosen(&["br, gzip;q=0.5, identity;q=0.8"], only(&[Zstd, Gzip]), None);
    assert_chosen(&["identity;q=0, br"], only(&[Gzip]), None);
    assert_chosen(&["*"], only(&[Zstd, Gzip]), Some(Zstd));
    assert_chosen(&["*"], Codings::NONE, None);
}

#[test]
fn an_absent_field_selects_the_plain_form() {
    assert_eq!(choose([], all()), None);
}

#[test]
fn a_list_may_have_several_lines() {
    assert_chosen(&["gzip", "br;q=0.5"], all(), Some(Gzip));
    assert_chosen(&["identity", "", "br"], all(), Some(Brotli));
    assert_chosen(&["br;q=", "0.5, gzip"], all(), Some(Gzip));
}

#[test]
fn members_beyond_the_limit_are_ignored() {
    let front = |count| "a,".repeat(count) + "br";
    assert_chosen(&[&front(MEMBERS_MAX - 1)], all(), Some(Brotli));
    assert_chosen(&[&front(MEMBERS_MAX)], all(), None);
    let empty = ",".repeat(MEMBERS_MAX) + "br";
    assert_chosen(&[&empty], all(), None);
    let json = "a/b,".repeat(MEMBERS_MAX) + "application/json";
    assert!(!prefers_json([json.as_bytes()]));
    assert!(prefers_json([&json.as_bytes()[4..]]));
}

#[test]
fn weights_are_parsed_to_the_thousandth() {
    for thousandths in 0..=1000_u16 {
        let full = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        let short = full.trim_end_matches('0');
        for text in [&full[..], short] {
            assert_eq!(weight_value(text.as_bytes()), Some(thousandths), "{text}");
        }
    }
    assert_eq!(weight_value(b"0"), Some(0));
    assert_eq!(weight_value(b"1"), Some(1000));
    for bad in ["", ".", "2", "01", "1.001", "0.0000", "1.0000", "+1", "0,5", "0.5 ", "1e0", "0.x"]
    {
        assert_eq!(weight_value(bad.as_bytes()), None, "{bad}");
    }
}

fn lists(lines: &[&'static str]) -> Vec<&'static [u8]> {
    fuzz_accept(lines.join("\n").as_bytes());
    lines.iter().map(|line| line.as_bytes()).collect()
}

#[test]
fn json_is_preferred_only_if_it_outranks_html() {
    let cases = [
        ("application/json", true),
        ("Application/JSON;q=0.1", true),
        ("application/*", true),
        ("application/json, text/plain, */*", true),
        ("application/json, */*;q=0.5", true),
        ("application/json;q=0.9, text/html;q=0.8", true),
        ("application/json, text/html", true),
        ("text/*, application/json", true),
        ("text/html;q=0, */*", true),
        ("application/json; charset=utf-8, text/*", true),
        ("application/json;v=\"a,b;c\\\"\", text/html;q=0.5", true),
        ("text/html, application/json", false),
        ("text/html;q=0.8, application/json;q=0.8", false),
        ("application/json;q=0.8, text/html", false),
        ("application/json;q=0", false),
        ("application/json;q=0, text/html;q=0", false),
        ("application/*, text/html", false),
        ("*/*", false),
        ("text/html", false),
        ("image/png", false),
        ("", false),
        // The most specific range decides, at any position.
        ("application/json;q=0.1, application/*, text/html;q=0.5", false),
        ("application/*;q=0.1, application/json, text/html;q=0.5", true),
        ("application/json;v=1, application/json;q=0.1, text/html;q=0.5", false),
        // Malformed members are ignored.
        ("application/json;q=2", false),
        ("application/json;q", false),
        ("application/json;v=a b", false),
        ("application/json;;v=1;", true),
        ("application / json", false),
        ("*/json", false),
        ("json", false),
        ("application/json text/html", false),
        ("text/html;q=1.1, application/json;q=0.1", true),
        ("text/plain;x=\"a, application/json", false),
    ];
    for (line, expected) in cases {
        assert_eq!(prefers_json(lists(&[line])), expected, "{line}");
    }
    assert!(!prefers_json([]));
    assert!(prefers_json(lists(&["text/html;q=0.5", "application/json"])));
}

/// The example of section 12.5.1.
#[test]
fn the_example_of_the_rfc_has_its_weights() {
    let line = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, \
                text/plain;format=fixed;q=0.4, */*;q=0.5";
    let types = [("text", "html"), ("image", "jpeg")];
    let weights = opinions([line.as_bytes()], types).map(|opinion| opinion.map(|o| o.weight));
    assert_eq!(weights, [Some(300), Some(500)]);
    let types = [("text", "plain"), ("text", "plain")];
    assert_eq!(opinions([line.as_bytes()], types)[0].map(|o| o.weight), Some(700));
}

#[test]
fn a_request_that_lists_html_is_a_navigation() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                   image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
    let cases = [
        (browser, true),
        ("text/html", true),
        ("TEXT/HTML;q=0.1", true),
        ("text/html;charset=utf-8", true),
        ("application/xhtml+xml", true),
        ("text/html;q=0, application/xhtml+xml", true),
        ("text/html;q=0", false),
        ("text/*", false),
        ("*/*", false),
        ("image/avif,image/webp,*/*;q=0.8", false),
        ("text/css,*/*;q=0.1", false),
        ("application/json, text/plain, */*", false),
        ("text/htmlx", false),
        ("", false),
    ];
    for (line, expected) in cases {
        assert_eq!(accepts_html(lists(&[line])), expected, "{line}");
    }
    assert!(!accepts_html([]));
    assert!(accepts_html(lists(&["image/png", "text/html"])));
}
