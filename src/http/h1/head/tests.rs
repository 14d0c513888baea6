//! Heads of each kind, and the chunking law.

use super::{FIELDS_MAX, Head, Refusal, RequestBody, Version, fuzz_head, parse};
use crate::http::semantics::condition::Conditions;
use crate::http::semantics::field::Field;
use crate::http::semantics::request::{Method, Request, RequestLimits};

/// Parses a complete head with the default limits.
fn answer(head: &[u8]) -> Result<(Head<'_>, usize), Refusal> {
    fuzz_head(head);
    let answer = parse(head, &RequestLimits::default());
    answer.transpose().unwrap_or_else(|| panic!("incomplete: {}", head.escape_ascii()))
}

fn accepted(head: &[u8]) -> Head<'_> {
    let answer = answer(head);
    answer.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", head.escape_ascii())).0
}

/// The status code of the refusal, or 200 if the head is accepted.
fn code(head: &[u8]) -> u16 {
    answer(head).map_or_else(|refusal| refusal.status.code(), |_| 200)
}

/// A head of a request line, a host and these field lines.
fn with_fields(line: &str, fields: &[&str]) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line}\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

#[track_caller]
fn assert_codes(cases: &[(&[u8], u16)]) {
    for &(head, expected) in cases {
        assert_eq!(code(head), expected, "{}", head.escape_ascii());
    }
}

#[test]
fn a_plain_get_is_accepted_with_its_length() {
    let head = b"GET /a?b HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\
        Referer: /from\r\nUser-Agent: tool/1\r\nuser-agent: other\r\n\r\n";
    let mut input = head.to_vec();
    input.extend(b"GET /next HTTP/1.1\n");
    let request = Request {
        method: Method::Get,
        target: b"/a?b",
        host: b"example.com:80",
        accept: Field::spanning("accept", b"*/*"),
        accept_encoding: Field::ABSENT,
        authorization: Field::default(),
        conditions: Conditions::default(),
        range: Field::ABSENT,
        if_range: Field::ABSENT,
        is_preflight: false,
    };
    let (body, version) = (RequestBody::None, Version::Http11);
    let expected = Head {
        request,
        body,
        version,
        keep_alive: true,
        expects_continue: false,
        referer: Some(b"/from"),
        user_agent: Some(b"tool/1"),
    };
    assert_eq!(answer(&input), Ok((expected, head.len())));
}

#[test]
fn blank_lines_before_the_head_are_skipped_and_counted() {
    let head = b"\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    assert_eq!(answer(head).map(|(_, used)| used), Ok(head.len()));
    assert_eq!(parse(b"", &RequestLimits::default()), Ok(None));
    assert_eq!(parse(b"\r\n\r\n\r", &RequestLimits::default()), Ok(None));
}

#[test]
fn every_line_must_end_with_cr_lf() {
    assert_codes(&[
        (b"\nGET / HTTP/1.0\r\n\r\n", 400),
        (b"\r\n\nGET / HTTP/1.0\r\n\r\n", 400),
        (b"\rGET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.0\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nA: b\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nA: b\r\n\n", 400),
        (b"GET / HTTP/1.0\r\nA: b\r\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nA:\n\r\n", 400),
        (b"GET / HTTP/1.7\n\r\n", 400),
        (b"GET / HTTP/1.7\r\nA: b\n\r\n", 400),
    ]);
    let bare = answer(b"GET / HTTP/1.1\n\n").unwrap_err();
    assert_eq!(bare.reason, "A line of the request head ends with LF instead of CR LF.");
}

#[test]
fn the_request_line_has_three_words_and_two_spaces() {
    assert_codes(&[
        (b"GET  / HTTP/1.0\r\n\r\n", 400),
        (b"GET /  HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.0 \r\n\r\n", 400),
        (b" GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET\t/ HTTP/1.0\r\n\r\n", 400),
        (b"GET /a b HTTP/1.0\r\n\r\n", 400),
        (b"GET /\x7f HTTP/1.0\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.0\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.0\r\n\r\n", 400),
        (b"G(T / HTTP/1.0\r\n\r\n", 400),
        (b"GET /\r\n", 400),
        (b"GET\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
    ]);
    assert!(answer(b"\x16").unwrap_err().reason.contains("TLS"));
    assert!(!answer(b"\r\n\x16").unwrap_err().reason.contains("TLS"));
}

/// Clients send names in the encoding of their users. Whether they are UTF-8 makes no difference.
#[test]
fn a_target_may_have_any_bytes_above_ascii() {
    for target in [&b"/\xe4.txt"[..], b"/\xff", b"/\x80\xc3?\xfe", b"/\xc3\xa4", b"http://h/\xe4"] {
        for version in ["HTTP/1.0", "HTTP/1.1", "HTTP/1.2"] {
            let rest = format!(" {version}\r\nHost: h\r\n\r\n");
            for front in [&b"GET "[..], b"\r\n\r\nGET "] {
                let head = accepted_bytes(&[front, target, rest.as_bytes()].concat());
                assert_eq!(head, target.strip_prefix(b"http://h").unwrap_or(target));
            }
        }
    }
    assert_eq!(accepted(b"GET /\xe4 HTTP/1.0\r\n\r\n").version, Version::Http10);
    assert_eq!(accepted(b"GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n").version, Version::Http11);
    assert_codes(&[
        (b"GET /\xe4 HTTP/2.0\r\n\r\n", 505),
        (b"GET /\xe4 HTTP/1\r\n\r\n", 400),
        (b"GET /\xe4 HTTP/1.0 \r\n\r\n", 400),
        (b"GET /\xe4  HTTP/1.0\r\n\r\n", 400),
        (b"GET /\xe4 b HTTP/1.0\r\n\r\n", 400),
        (b"GET /\xe4\x7f HTTP/1.0\r\n\r\n", 400),
        (b"GET /\xe4\0 HTTP/1.0\r\n\r\n", 400),
        (b"GET /\xe4\r\n\r\n", 400),
        (b"GET /\xe4 HTTP/1.0\n\n", 400),
        (b"GET /\xe4 HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xe4 HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400),
        (b"GET \xe4 HTTP/1.0\r\n\r\n", 400),
        (b"GET /\xe4#b HTTP/1.0\r\n\r\n", 400),
        (b"G\xe4T / HTTP/1.0\r\n\r\n", 400),
        (b"GET http://\xe4/ HTTP/1.0\r\n\r\n", 400),
    ]);
    let fields = "A: b\r\n".repeat(FIELDS_MAX + 1);
    let many = [b"GET /\xe4 HTTP/1.0\r\n", fields.as_bytes(), b"\r\n"].concat();
    assert_eq!(code(&many), 431);
}

/// The target of an accepted head.
fn accepted_bytes(head: &[u8]) -> Vec<u8> {
    accepted(head).request.target.to_vec()
}

#[test]
fn minor_versions_are_read_as_1_0_or_1_1_and_other_majors_are_refused() {
    for minor in 0..=9 {
        let head = format!("\r\nGET /p HTTP/1.{minor}\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (parsed, used) = answer(head.as_bytes()).unwrap();
        let expected = if minor == 0 { Version::Http10 } else { Version::Http11 };
        assert_eq!((parsed.version, used), (expected, head.len()));
        assert_eq!((parsed.request.target, parsed.request.host), (&b"/p"[..], &b"h"[..]));
        assert!(!parsed.keep_alive);
    }
    assert_codes(&[
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/10.0\r\n\r\n", 400),
        (b"GET / HTTP/1.10\r\n\r\n", 400),
        (b"GET / HTTP/1.21\r\n\r\n", 400),
        (b"GET / HTTP/1,1\r\n\r\n", 400),
        (b"GET / http/1.1\r\n\r\n", 400),
        (b"GET / HTTQ", 400),
        (b"GET / HTTP/1.2\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nHost : h\r\n\r\n", 400),
    ]);
    for part in ["GET / HTTP/", "GET / HTTP/2", "GET / HTTP/0.", "GET / HTTP/1.5\r"] {
        assert_eq!(parse(part.as_bytes(), &RequestLimits::default()), Ok(None), "{part}");
    }
}

#[test]
fn methods_are_supported_refused_or_unknown() {
    for (token, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("OPTIONS", Method::Options),
        ("POST", Method::Refused),
        ("TRACE", Method::Refused),
        ("PROPFIND", Method::Refused),
        ("get", Method::Unknown),
        ("GETS", Method::Unknown),
        ("!", Method::Unknown),
    ] {
        let head = with_fields(&format!("{token} / HTTP/1.1"), &[]);
        assert_eq!(accepted(&head).request.method, method);
    }
}

#[test]
fn options_with_a_requested_method_is_a_preflight() {
    let asks = "access-CONTROL-request-method: GET";
    for (method, field, is_preflight) in [
        ("OPTIONS", asks, true),
        ("OPTIONS", "Access-Control-Request-Headers: range", false),
        ("GET", asks, false),
    ] {
        let head = with_fields(&format!("{method} / HTTP/1.1"), &[field]);
        assert_eq!(accepted(&head).request.is_preflight, is_preflight, "{method} {field}");
    }
}

#[test]
fn connect_requires_a_host_and_a_port_and_closes() {
    let head = with_fields("CONNECT example.com:443 HTTP/1.1", &["Connection: keep-alive"]);
    let accepted = accepted(&head);
    assert_eq!((accepted.request.method, accepted.keep_alive), (Method::Connect, false));
    assert_eq!(accepted.request.host, b"example.com:443");
    for target in ["/", "example.com", ":443", "example.com:", "http://a/", "*"] {
        assert_eq!(code(&with_fields(&format!("CONNECT {target} HTTP/1.1"), &[])), 400, "{target}");
    }
}

#[test]
fn the_host_of_an_absolute_form_replaces_the_field() {
    for (raw, host, target) in [
        ("http://a/p?q", "a", "/p?q"),
        ("HTTPS://a:1/p", "a:1", "/p"),
        ("http://a", "a", "/"),
        ("http://a?q/r", "a", "?q/r"),
        ("http://[::1]:8/", "[::1]:8", "/"),
        ("/http://a/p", "h", "/http://a/p"),
        ("//a/p", "h", "//a/p"),
    ] {
        let head = with_fields(&format!("GET {raw} HTTP/1.1"), &[]);
        let request = accepted(&head).request;
        assert_eq!((request.host, request.target), (host.as_bytes(), target.as_bytes()), "{raw}");
    }
    for raw in ["http:///p", "http://", "http://:80/", "http://u@a/", "http://a..b/", "ftp://a/"] {
        assert_eq!(code(&with_fields(&format!("GET {raw} HTTP/1.1"), &[])), 400, "{raw}");
    }
    assert_eq!(code(b"GET http://a/ HTTP/1.1\r\n\r\n"), 400, "Host is still required");
}

#[test]
fn other_targets_must_begin_with_a_slash() {
    assert_eq!(accepted(&with_fields("OPTIONS * HTTP/1.1", &[])).request.target, b"*");
    for line in ["GET *", "GET a", "GET a:80", "GET ?q", "OPTIONS **", "OPTIONS a", "FOO a/b"] {
        assert_eq!(code(&with_fields(&format!("{line} HTTP/1.1"), &[])), 400, "{line}");
    }
}

#[test]
fn exactly_one_valid_host_is_required() {
    assert_codes(&[
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nhOST: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: u@a\r\n\r\n", 400),
    ]);
}

#[test]
fn malformed_field_lines_are_refused() {
    for (field, expected) in [
        ("A: b", 200),
        ("A:", 200),
        ("A:\t b \t", 200),
        ("A: caf\u{e9}", 200),
        ("A : b", 400),
        (" A: b", 400),
        ("A: b\r\n c", 400),
        ("A: b\r\n\tc", 400),
        ("A", 400),
        (": b", 400),
        ("A(: b", 400),
        ("A: \0", 400),
        ("A: b\rc", 400),
        ("A: b\x01", 400),
        ("A: b\x7f", 400),
    ] {
        assert_eq!(code(&with_fields("GET / HTTP/1.1", &[field])), expected, "{field:?}");
        assert_eq!(code(&with_fields("GET / HTTP/1.3", &[field])), expected, "{field:?}");
    }
}

#[test]
fn a_content_length_is_one_decimal_number() {
    for (value, length) in
        [("0", 0), ("5", 5), ("007", 7), (" 5 ", 5), ("18446744073709551615", u64::MAX)]
    {
        let head = with_fields("POST / HTTP/1.1", &[&format!("Content-Length:{value}")]);
        assert_eq!(accepted(&head).body, RequestBody::Length(length));
    }
    for value in ["", "+5", "-5", "5 5", "5,5", "0x5", "5.", "18446744073709551616", "\u{0663}"] {
        let field = format!("Content-Length: {value}");
        assert_eq!(code(&with_fields("GET / HTTP/1.1", &[&field])), 400, "{value}");
    }
    let twice = ["Content-Length: 5", "content-length: 5"];
    assert_eq!(code(&with_fields("GET / HTTP/1.1", &twice)), 400);
}

#[test]
fn the_only_transfer_coding_is_chunked() {
    let chunked = "Transfer-Encoding: chunked";
    let length = "Content-Length: 5";
    for value in ["chunked", "CHUNKED", " chunked "] {
        let head = with_fields("POST / HTTP/1.1", &[&format!("Transfer-Encoding:{value}")]);
        assert_eq!(accepted(&head).body, RequestBody::Chunked);
    }
    let unknown = ["gzip", "gzip, chunked", "chunked, chunked", "\"chunked\"", "identity", "x"];
    for value in unknown {
        let field = format!("Transfer-Encoding: {value}");
        assert_eq!(code(&with_fields("POST / HTTP/1.1", &[&field])), 501, "{value}");
        assert_eq!(code(&with_fields("POST / HTTP/1.0", &[&field])), 400, "{value}");
        assert_eq!(code(&with_fields("POST / HTTP/1.1", &[length, &field])), 400, "{value}");
    }
    assert_eq!(code(&with_fields("POST / HTTP/1.1", &["Transfer-Encoding:"])), 501);
    assert_eq!(code(&with_fields("POST / HTTP/1.1", &[chunked, chunked])), 501);
    assert_eq!(code(&with_fields("POST / HTTP/1.1", &[chunked, length])), 400);
    assert_eq!(code(&with_fields("POST / HTTP/1.1", &[length, chunked])), 400);
    assert_eq!(code(&with_fields("POST / HTTP/1.0", &[chunked])), 400);
}

#[test]
fn the_only_expectation_is_100_continue() {
    for (value, expected) in [("100-continue", true), ("100-CONTINUE", true), ("", false)] {
        let head = with_fields("PUT / HTTP/1.1", &[&format!("Expect: {value}")]);
        assert_eq!(accepted(&head).expects_continue, expected);
    }
    for value in ["200-ok", "100-continue, x", "100-continue;q=1", "100"] {
        let field = format!("Expect: {value}");
        assert_eq!(code(&with_fields("PUT / HTTP/1.1", &[&field])), 417, "{value}");
        assert!(!accepted(&with_fields("PUT / HTTP/1.0", &[&field])).expects_continue);
    }
    let both = ["Expect: x", "Content-Length: x"];
    assert_eq!(code(&with_fields("PUT / HTTP/1.1", &both)), 400, "framing comes first");
}

#[test]
fn connection_options_add_up_and_close_wins() {
    for (fields, open_in_11, open_in_10) in [
        (&[][..], true, false),
        (&["Connection: close"], false, false),
        (&["Connection: CLOSE"], false, false),
        (&["Connection: keep-alive"], true, true),
        (&["Connection: Keep-Alive, Upgrade"], true, true),
        (&["Connection: x ,\tclose, keep-alive"], false, false),
        (&["Connection: keep-alive", "Connection: close"], false, false),
        (&["Connection: close", "Connection: keep-alive"], false, false),
        (&["Connection: closed, not-keep-alive"], true, false),
        (&["Connection: ,,"], true, false),
        (&["Keep-Alive: timeout=5"], true, false),
    ] {
        let newer = accepted(&with_fields("GET / HTTP/1.1", fields)).keep_alive;
        let older = accepted(&with_fields("GET / HTTP/1.0", fields)).keep_alive;
        assert_eq!((newer, older), (open_in_11, open_in_10), "{fields:?}");
    }
}

#[test]
fn a_target_longer_than_the_limit_gets_414() {
    let limits =
        RequestLimits { head_bytes_max: 200, target_bytes_max: 10, ..RequestLimits::default() };
    let status = |input: &str| match parse(input.as_bytes(), &limits) {
        Ok(None) => 100,
        Ok(Some(_)) => 200,
        Err(refusal) => refusal.status.code(),
    };
    assert_eq!(status("GET /234567890 HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status("GET /2345678901 HTTP/1.0\r\n\r\n"), 414);
    assert_eq!(status("\r\nGET /2345678901 HTTP/1.0\r\n\r\n"), 414);
    assert_eq!(status("GET /234567890"), 100);
    assert_eq!(status("GET /2345678901"), 414);
    assert_eq!(status("METHOD7890 / HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status("METHOD78901"), 414);
    assert_eq!(status("GET /2345\x01789012"), 400, "the bad byte comes first");
    assert_eq!(status("GET /2345678901\x01"), 414, "the limit comes first");
    assert_eq!(status("\nGET /2345678901 HTTP/1.0\r\n\r\n"), 400);
    assert_eq!(status("GET /2345678901 HTTP/1.0\n\r\n"), 414);
}

#[test]
fn a_head_longer_than_the_limit_gets_431() {
    let head = b"\r\nGET / HTTP/1.0\r\nA: b\r\n\r\n";
    // Whether the head is complete, or the status that refuses it.
    let outcome = |input: &[u8], head_bytes_max| {
        let limits = RequestLimits { head_bytes_max, ..RequestLimits::default() };
        match parse(input, &limits) {
            Ok(answer) => Ok(answer.is_some()),
            Err(refusal) => Err(refusal.status.code()),
        }
    };
    assert_eq!(outcome(head, head.len()), Ok(true));
    assert_eq!(outcome(head, head.len() - 1), Err(431));
    assert_eq!(outcome(&head[..head.len() - 1], head.len()), Ok(false));
    assert_eq!(outcome(&b"\r\n".repeat(40), 80), Err(431));
    assert_eq!(outcome(&b"\r\n".repeat(39), 80), Ok(false));
}

#[test]
fn more_fields_than_the_limit_get_431() {
    for line in ["GET / HTTP/1.1", "GET / HTTP/1.9"] {
        // One of them is the host.
        let fields = ["A: b"; FIELDS_MAX];
        assert_eq!(code(&with_fields(line, &fields[1..])), 200);
        assert_eq!(code(&with_fields(line, &fields)), 431);
    }
}

/// Draws a head from pieces that violate different rules, and damages a few bytes.
fn any_head(random: &mut fastrand::Rng) -> Vec<u8> {
    const LINES: [&str; 13] = [
        "GET / HTTP/1.1\r\n",
        "GET /a%20b?c=d HTTP/1.1\r\n",
        "HEAD http://a/b HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.4\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
        "POST /0123456789012345678901234567890 HTTP/1.1\r\n",
        "METHODMETHODMETHODMETHODMETHOD / HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.1\n",
        "GET /caf\u{e9} HTTP/1.2\r\n",
        "GET /caf\u{fffd} HTTP/1.1\r\n",
        "GET /\r\n",
        "FOO /012345678901234567890\u{7f} HTTP/1.1\r\n",
    ];
    const FIELDS: [&str; 12] = [
        "Host: a\r\n",
        "Host: a..b\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 5x\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Expect: more\r\n",
        "Connection: close, x\r\n",
        "A: b\n",
        "A : b\r\n",
        "A: b\r\n c\r\n",
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
    ];
    let mut head = "\r\n".repeat(random.usize(..3));
    head.push_str(LINES[random.usize(..LINES.len())]);
    head.push_str("Host: h\r\n".repeat(usize::from(random.u8(..4) > 0)).as_str());
    for _ in 0..random.usize(..3) {
        head.push_str(FIELDS[random.usize(..FIELDS.len())]);
    }
    head.push_str("\r\nGET /next HTTP/1.1\r\n");
    let mut head = head.into_bytes();
    // In Latin-1, which is not UTF-8.
    if let Some(at) = head.windows(3).position(|three| three == "\u{fffd}".as_bytes()) {
        head.splice(at..at + 3, [0xe9]);
    }
    for _ in 0..random.usize(..3) {
        let at = random.usize(..head.len());
        match random.u8(..3) {
            0 => head[at] = b"\r\n \t:/#\0\x7f\xffH.,019"[random.usize(..16)],
            1 => drop(head.remove(at)),
            _ => head.insert(at, random.u8(..)),
        }
    }
    head
}

#[test]
fn splitting_any_input_does_not_change_the_result() {
    for seed in 0..if cfg!(miri) { 5 } else { 2000 } {
        println!("seed {seed}");
        fuzz_head(&any_head(&mut fastrand::Rng::with_seed(seed)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "it needs many seeds")]
fn the_generator_reaches_every_kind_of_result() {
    let limits =
        RequestLimits { head_bytes_max: 96, target_bytes_max: 24, ..RequestLimits::default() };
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..2000 {
        let head = any_head(&mut fastrand::Rng::with_seed(seed));
        seen.insert(match parse(&head, &limits) {
            Ok(_) => 200,
            Err(refusal) => refusal.status.code(),
        });
    }
    assert_eq!(Vec::from_iter(seen), [200, 400, 414, 417, 431, 501, 505]);
}
