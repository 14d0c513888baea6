//! Which rules apply to which paths, how rules combine, and which are refused.

use super::*;

const PAGE: AnswerKind<'static> = AnswerKind::Page { content_type: "image/png" };
const HTML: AnswerKind<'static> = AnswerKind::Page { content_type: "text/html; charset=utf-8" };

#[track_caller]
fn rules(cache: &[&str], headers: &[&str], cors: bool) -> Rules {
    let cache = cache.iter().map(|rule| rule.parse().unwrap()).collect();
    let headers = headers.iter().map(|rule| rule.parse().unwrap()).collect();
    Rules::new(cache, headers, cors).unwrap()
}

#[track_caller]
fn assert_fields(rules: &Rules, path: &str, kind: AnswerKind<'_>, expected: &[&str]) {
    let expected: String = expected.iter().map(|line| format!("{line}\r\n")).collect();
    assert_eq!(lines(rules, path.as_bytes(), kind), expected, "{path}");
}

/// The fields as HTTP/1.1 writes them.
fn lines(rules: &Rules, path: &[u8], kind: AnswerKind<'_>) -> String {
    String::from_utf8(rules.fields(path, kind).all().as_h1().to_vec()).unwrap()
}

#[track_caller]
fn assert_refused<R: FromStr<Err = RuleError> + std::fmt::Debug>(rule: &str, expected: &str) {
    let error = rule.parse::<R>().unwrap_err().to_string();
    assert!(error.contains(expected), "{rule}: {error}");
    assert!(!error.contains("--"), "{error} names an option of the command line");
}

#[test]
fn globs_match_paths() {
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("*.js", &["/a.js", "/d/e/a.js", "/.js"], &["/a.mjs", "/a.JS", "/a.js/", "/a.js/b"]),
        ("/*.js", &["/a.js"], &["/d/a.js"]),
        ("/assets/**", &["/assets/", "/assets/a", "/assets/d/a"], &["/assets", "/x/assets/a"]),
        ("assets/**", &["/assets/a", "/x/assets/d/a"], &["/x/assets", "/my-assets/a"]),
        ("/a/**/b", &["/a/b", "/a/c/b", "/a/c/d/b"], &["/a", "/ab", "/a/b/"]),
        ("**", &["/", "/a", "/d/a", "/d/"], &[]),
        ("/**", &["/", "/a", "/d/a", "/d/"], &[]),
        ("*", &["/", "/a", "/d/a", "/d/"], &[]),
        ("/*", &["/", "/a"], &["/d/a", "/d/"]),
        ("/", &["/"], &["/a"]),
        ("/a?.{css,js}", &["/ab.css", "/ab.js"], &["/a.css", "/a/.css", "/abc.js"]),
        ("/[a-c]\\*", &["/a*", "/c*"], &["/ab", "/d*"]),
        ("/[!a]", &["/b"], &["/a", "/"]),
        ("/a[!b]c", &["/axc", "/a/c"], &["/abc", "/ac"]),
    ];
    for (glob, matching, others) in cases {
        let rules = rules(&[&format!("{glob}=no-store")], &[&format!("{glob}=X-A:b")], false);
        for path in matching {
            assert_fields(&rules, path, PAGE, &["Cache-Control: no-store", "X-A: b"]);
        }
        for path in others {
            assert_fields(&rules, path, PAGE, &[]);
        }
    }
}

#[test]
fn paths_need_not_be_utf8() {
    let rules = rules(&["/\u{fc}*=no-store", "/raw/*.bin=private"], &[], false);
    assert_fields(&rules, "/\u{fc}x", PAGE, &["Cache-Control: no-store"]);
    let private = "Cache-Control: private\r\n";
    assert_eq!(lines(&rules, b"/raw/\xff\xfe\n.bin", PAGE), private);
    assert_eq!(lines(&rules, b"/raw/\xff/\xfe.bin", PAGE), "");
    assert_eq!(lines(&rules, b"/\xfc", PAGE), "");
}

#[test]
fn pages_and_data_are_revalidated_by_default() {
    let types = [
        ("text/html; charset=utf-8", true),
        ("Text/HTML", true),
        ("application/xhtml+xml", true),
        ("application/json", true),
        ("application/manifest+json", true),
        ("text/css; charset=utf-8", false),
        ("text/javascript", false),
        ("image/png", false),
        ("application/octet-stream", false),
        ("", false),
    ];
    let with_rules = rules(&["/other=no-store"], &["/other=X-A:b"], false);
    assert!(Rules::default().is_empty() && !with_rules.is_empty());
    for rules in [Rules::default(), with_rules] {
        for (content_type, revalidated) in types {
            let expected: &[_] = if revalidated { &["Cache-Control: no-cache"] } else { &[] };
            assert_fields(&rules, "/a", AnswerKind::Page { content_type }, expected);
        }
        assert_fields(&rules, "/a", AnswerKind::Other, &[]);
        assert_fields(&rules, "/a", AnswerKind::Preflight, &[]);
    }
}

#[test]
fn the_last_matching_cache_rule_applies() {
    let cache =
        ["**=max-age=60", "/assets/**=max-age=31536000, immutable", "*.html=", "/x=a=\"b\""];
    let rules = rules(&cache, &[], false);
    let long = "Cache-Control: max-age=31536000, immutable";
    assert_fields(&rules, "/assets/a.js", PAGE, &[long]);
    assert_fields(&rules, "/a.js", PAGE, &["Cache-Control: max-age=60"]);
    assert_fields(&rules, "/", HTML, &["Cache-Control: max-age=60"]);
    assert_fields(&rules, "/a.html", HTML, &[]);
    assert_fields(&rules, "/assets/a.html", HTML, &[]);
    assert_fields(&rules, "/x", PAGE, &["Cache-Control: a=\"b\""]);
}

/// Otherwise clients could cache an error or a fallback page for a year.
#[test]
fn cache_rules_apply_to_requested_files_only() {
    let rules = rules(&["**=max-age=31536000, immutable"], &["**=X-A:b"], false);
    assert_fields(&rules, "/assets/gone.js", AnswerKind::Other, &["X-A: b"]);
    assert_fields(&rules, "/a", AnswerKind::Preflight, &["X-A: b"]);
}

#[test]
fn all_matching_header_rules_apply_in_order() {
    let headers = [
        "**=X-Frame-Options: DENY",
        "**=Referrer-Policy:no-referrer",
        "/embed/**=x-frame-options:SAMEORIGIN",
        "/embed/open/**=X-Frame-Options:",
        "**=Link: </a.css>; rel=preload; as=style",
        "*.html=Link:</b.js>; rel=preload; as=script",
        "*.html=Vary:Cookie",
        "*.html=Vary:\tOrigin ",
        "/plain.html=link:",
        "/plain.html=LINK:</c>; rel=next",
    ];
    let rules = rules(&[], &headers, false);
    let (deny, policy) = ("X-Frame-Options: DENY", "Referrer-Policy: no-referrer");
    let (style, script) =
        ("Link: </a.css>; rel=preload; as=style", "Link: </b.js>; rel=preload; as=script");
    assert_fields(&rules, "/a", PAGE, &[deny, policy, style]);
    assert_fields(&rules, "/a", AnswerKind::Other, &[deny, policy, style]);
    let same = "x-frame-options: SAMEORIGIN";
    assert_fields(&rules, "/embed/a", PAGE, &[same, policy, style]);
    assert_fields(&rules, "/embed/open/a", PAGE, &[policy, style]);
    let (cookie, origin) = ("Vary: Cookie", "Vary: Origin");
    assert_fields(&rules, "/a.html", PAGE, &[deny, policy, style, script, cookie, origin]);
    let next = "LINK: </c>; rel=next";
    assert_fields(&rules, "/plain.html", PAGE, &[deny, policy, cookie, origin, next]);
}

#[test]
fn every_response_has_the_cors_fields() {
    let rules = rules(&[], &["/mine/**=Access-Control-Allow-Origin:https://a.example"], true);
    assert!(!rules.is_empty());
    let exposed = "Access-Control-Expose-Headers: Accept-Ranges, Content-Encoding, \
                   Content-Length, Content-Range, Date, ETag, Location";
    let (any, policy) =
        ("Access-Control-Allow-Origin: *", "Cross-Origin-Resource-Policy: cross-origin");
    assert_fields(&rules, "/a", PAGE, &[any, exposed, policy]);
    assert_fields(&rules, "/a", AnswerKind::Other, &[any, exposed, policy]);
    let before = [
        "Access-Control-Allow-Methods: GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers: *",
        "Access-Control-Max-Age: 86400",
    ];
    let expected = [&[any, exposed, policy], &before[..]].concat();
    assert_fields(&rules, "/a", AnswerKind::Preflight, &expected);
    let html = ["Cache-Control: no-cache", any, exposed, policy];
    assert_fields(&rules, "/a", HTML, &html);
    let one = "Access-Control-Allow-Origin: https://a.example";
    assert_fields(&rules, "/mine/a", PAGE, &[one, exposed, policy]);
}

#[test]
fn a_malformed_rule_names_cause_and_remedy() {
    let headers = [
        ("", "no equals sign"),
        ("*.html", "no equals sign"),
        ("=X-A:b", "no glob"),
        ("*=X-A", "no colon"),
        ("*=", "no colon"),
        ("*=:b", "letters, digits and hyphens"),
        ("*=X A:b", "letters, digits and hyphens"),
        ("*=X-A :b", "letters, digits and hyphens"),
        ("*= X-A:b", "letters, digits and hyphens"),
        ("*=X-\u{fc}:b", "letters, digits and hyphens"),
        ("*=X-A\r\nX-B:c", "letters, digits and hyphens"),
        ("*=X-A:b\r\nX-B:c", "printable ASCII"),
        ("*=X-A:b\n", "printable ASCII"),
        ("*=X-A:\0", "printable ASCII"),
        ("*=X-A:\x7f", "printable ASCII"),
        ("*=X-A:\u{fc}", "printable ASCII"),
        ("[a=X-A:b", "is malformed"),
        ("{a=X-A:b", "is malformed"),
        ("a}=X-A:b", "is malformed"),
        ("[z-a]=X-A:b", "is malformed"),
        ("a\\=X-A:b", "is malformed"),
    ];
    for (rule, expected) in headers {
        assert_refused::<HeaderRule>(rule, expected);
    }
    let cache = [
        ("*.html", "no equals sign"),
        ("=no-cache", "no glob"),
        ("max-age=3600", "no glob before max-age"),
        ("s-maxage=60, max-age=3600", "no glob before s-maxage"),
        ("*=max-age: 60", "not like no-cache"),
        ("*=max-age 60", "not like no-cache"),
        ("*=max-age=", "not like no-cache"),
        ("*=no-cache,", "not like no-cache"),
        ("*=no-cache; a", "not like no-cache"),
        ("*=a=\"b", "not like no-cache"),
        ("*=no-cache\r\nX-Evil: yes", "not like no-cache"),
        ("*=a=\"\u{fc}\"", "printable ASCII"),
        ("[a=no-cache", "is malformed"),
    ];
    for (rule, expected) in cache {
        assert_refused::<CacheRule>(rule, expected);
    }
}

#[test]
fn reserved_fields_cannot_be_set() {
    for (name, owner) in RESERVED {
        for written in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            for value in ["1", ""] {
                let error = format!("**={written}:{value}").parse::<HeaderRule>().unwrap_err();
                assert_eq!(error, RuleError::Reserved { name, owner });
                let expected = format!("{name} cannot be set by a header rule; {owner}");
                assert_eq!(error.to_string(), expected);
            }
        }
    }
}

#[test]
fn too_many_rules_and_too_long_globs_are_refused() {
    let glob = format!("/{}=X-A:b", "a".repeat(GLOB_BYTES_MAX));
    assert_refused::<HeaderRule>(&glob, "use wildcards");
    assert!(format!("/{}", &glob[2..]).parse::<HeaderRule>().is_ok());

    let many = |count| vec!["/a=X-A:b".parse::<HeaderRule>().unwrap(); count];
    assert!(Rules::new(Vec::new(), many(RULES_MAX), false).is_ok());
    let error = Rules::new(Vec::new(), many(RULES_MAX + 1), false).unwrap_err().to_string();
    assert!(error.contains("128") && error.contains("merge some by {a,b}"), "{error}");
    let cache = vec!["/a=no-store".parse::<CacheRule>().unwrap(); RULES_MAX + 1];
    let error = Rules::new(cache, Vec::new(), false).unwrap_err();
    assert_eq!(error, RuleError::TooMany { rules_max: RULES_MAX });
}

/// The limit is exact, because all fields that are allowed can occur in one response.
#[test]
fn rules_cannot_add_more_bytes_than_the_limit() {
    for cors in [false, true] {
        let presets = if cors { CORS.iter().chain(&PREFLIGHT) } else { [].iter().chain(&[]) };
        let presets: usize = presets.map(|(name, value)| fields::line_bytes(name, value)).sum();
        let caching = fields::line_bytes("Cache-Control", REVALIDATE);
        let room = FIELD_BYTES_MAX - presets - caching - fields::line_bytes("Link", "");
        let rule = |bytes| format!("**=Link:{}", "x".repeat(bytes)).parse().unwrap();
        let error = Rules::new(Vec::new(), vec![rule(room + 1)], cors).unwrap_err();
        let expected =
            RuleError::TooLong { bytes: FIELD_BYTES_MAX + 1, bytes_max: FIELD_BYTES_MAX };
        assert_eq!(error, expected);
        assert!(error.to_string().contains("shorten them"), "{error}");
        let rules = Rules::new(Vec::new(), vec![rule(room)], cors).unwrap();
        assert_eq!(
            lines(&rules, b"/a.html", AnswerKind::Preflight).len(),
            FIELD_BYTES_MAX - caching
        );
        assert!(lines(&rules, b"/a.html", HTML).len() <= FIELD_BYTES_MAX);
    }
    let long = format!("**=a={}", "x".repeat(FIELD_BYTES_MAX)).parse().unwrap();
    assert!(Rules::new(vec![long], Vec::new(), false).is_err());
}
