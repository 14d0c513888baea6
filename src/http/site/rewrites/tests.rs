//! The grammar of rules, and what they make of paths.

use super::super::target;
use super::{
    LITERALS_MAX, PATTERNS_MAX, PathRule, PathRuleError, PathRules, RulePhase, RuleUse,
    fuzz_rewrite,
};

/// What rules make of a target, in both phases: the status and the address.
fn used(rules: &PathRules, raw: &str) -> Option<(u16, String)> {
    let target = target::resolve(raw.as_bytes()).unwrap();
    let found = [RulePhase::BeforeFiles, RulePhase::AfterFiles]
        .into_iter()
        .find_map(|phase| rules.find(phase, &target));
    found.map(|found| match found {
        RuleUse::Redirect { status, location } => (status.code(), location),
        RuleUse::Rewrite { status, target, .. } => (status.code(), target),
    })
}

fn rules(rules: impl IntoIterator<Item = PathRule>) -> PathRules {
    PathRules::new(rules.into_iter().collect()).unwrap().unwrap()
}

#[track_caller]
fn redirect(from: &str, to: &str) -> PathRule {
    PathRule::redirect(from, to, None, None).unwrap_or_else(|error| panic!("{from} {to}: {error}"))
}

#[test]
fn a_rule_leads_elsewhere() {
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, Option<&str>)] = &[
        ("/a", "/b", "/a", Some("/b")),
        ("/a", "/b", "/a/", Some("/b")),
        ("/a/", "/b", "/a", Some("/b")),
        ("/a", "/b", "/a/c", None),
        ("/a", "/b", "/A", None),
        ("/a", "/b", "/%61", Some("/b")),
        ("/a", "/b", "//x/..//a", Some("/b")),
        ("/", "/b", "/", Some("/b")),
        ("/", "/b", "/a", None),
        ("/a%20b/ü", "/b", "/a%20b/%C3%BC", Some("/b")),
        ("/%3Aa", "/b", "/:a", Some("/b")),
        // One segment each.
        ("/blog/:y/:slug", "/posts/:slug-:y.html", "/blog/2026/x", Some("/posts/x-2026.html")),
        ("/blog/:year/:slug", "/posts/:slug", "/blog/2026", None),
        ("/blog/:year/:slug", "/posts/:slug", "/blog/2026/x/y", None),
        ("/:a", "/b/:a", "/", None),
        // All that follow.
        ("/old/*", "/new/:splat", "/old/a/b", Some("/new/a/b")),
        ("/old/*", "/new/:splat", "/old/a/b/", Some("/new/a/b/")),
        ("/old/*", "/new/:splat", "/old/", Some("/new/")),
        ("/old/*", "/new/:splat", "/old", Some("/new/")),
        ("/old/*", "/new/:splat", "/older", None),
        ("/old/*", "/new/:splat/end", "/old/", Some("/new/end")),
        ("/old/*", "/:splat/end", "/old/", Some("/end")),
        ("/*", "https://b.example/:splat", "/", Some("https://b.example/")),
        ("/*", "https://b.example/:splat", "/a/?q", Some("https://b.example/a/?q")),
        ("/*", "https://b.example:8443", "/a", Some("https://b.example:8443/")),
        ("/*", "HTTP://[::1]:80/x#y", "/a", Some("HTTP://[::1]:80/x#y")),
        // The query.
        ("/a", "/b", "/a?x=1&y", Some("/b?x=1&y")),
        ("/a", "/b", "/a?", Some("/b?")),
        ("/a", "/b?z", "/a?x=1", Some("/b?z")),
        ("/a", "/b#c", "/a?x", Some("/b?x#c")),
        ("/s/:a", "/b?q=:a&r", "/s/1&2%2B+%25", Some("/b?q=1%262%2B%2B%25&r")),
        // Captures are encoded anew, and stay parts of a path.
        ("/r/*", "/:splat", "/r/%5Cevil.example", Some("/%5Cevil.example")),
        ("/r/*", "/:splat", "/r//evil.example", Some("/evil.example")),
        ("/r/*", "/:splat", "/r/%0d%0aA:%20b", Some("/%0D%0AA:%20b")),
        ("/r/*", "/:splat", "/r/a%3Fb%23c%2525", Some("/a%3Fb%23c%2525")),
        ("/r/*", "/:splat", "/r/%252e%252e/x", Some("/%252e%252e/x")),
        // Text of the destination.
        ("/a", "/ü?ü#ü", "/a", Some("/%C3%BC?%C3%BC#%C3%BC")),
        ("/a", "/b:/%5B:2c", "/a", Some("/b:/%5B:2c")),
    ];
    for (from, to, asked, expected) in table {
        let rules = rules([redirect(from, to)]);
        let location = used(&rules, asked).map(|(_, location)| location);
        assert_eq!(location.as_deref(), *expected, "{from} {to} {asked}");
    }
}

#[test]
fn the_first_rule_that_matches_applies() {
    let rules = rules([
        redirect("/a/:x", "/1"),
        redirect("/a/b", "/2"),
        redirect("/c/d", "/3"),
        redirect("/:x/d", "/4"),
        redirect("/c/*", "/5"),
        PathRule::rewrite("/a/b", "/6", None, Some(true), None).unwrap(),
        PathRule::rewrite("/*", "/7", None, None, None).unwrap(),
        PathRule::redirect("/e", "/8", None, Some(false)).unwrap(),
        redirect("/e", "/9"),
    ]);
    for (asked, to) in
        [("/a/b", "/1"), ("/c/d", "/3"), ("/x/d", "/4"), ("/c/e", "/5"), ("/x", "/7"), ("/e", "/9")]
    {
        assert_eq!(used(&rules, asked).unwrap().1, to, "{asked}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_named() {
    for (from, to, part) in [
        ("a", "/b", "`from` is a path and begins with a slash"),
        ("", "/b", "`from` is a path and begins with a slash"),
        ("https://a.example/", "/b", "`from` is a path"),
        ("/a//b", "/b", "`from` has two slashes in a row"),
        ("//a", "/b", "`from` has two slashes in a row"),
        ("/a/../b", "/b", "`from` has a segment . or .."),
        ("/a/%2e", "/b", "`from` has a segment . or .."),
        ("/a?b", "/b", "without query"),
        ("/a#b", "/b", "without query"),
        ("/*/b", "/b", "an asterisk is the whole last segment"),
        ("/a*", "/b", "an asterisk is the whole last segment"),
        ("/*/", "/b", "an asterisk is the whole last segment"),
        ("/:splat", "/b", "an asterisk is the whole last segment"),
        ("/:", "/b", ": is no name"),
        ("/:1", "/b", ":1 is no name"),
        ("/:a-b", "/b", ":a-b is no name"),
        ("/:a/:a", "/b", "`from` has :a twice"),
        ("/a%2", "/b", "`from` has a %"),
        ("/a%2Fb", "/b", "`from` has a %"),
        ("/a%00", "/b", "`from` has a %"),
        ("/a", "b", "`to` is a path with one slash"),
        ("/a", "", "`to` is a path with one slash"),
        ("/a", "//b", "`to` is a path with one slash"),
        ("/a", "ftp://b", "`to` is a path with one slash"),
        ("/a", "javascript:alert(1)", "`to` is a path with one slash"),
        ("/a", "https:///b", "the host of `to` is written out"),
        ("/:a", "https://:a/b", "the host of `to` is written out"),
        ("/:a", "https://:a.example/b", "the host of `to` is written out"),
        ("/:a", "https://example.com:a/b", "the host of `to` is written out"),
        ("/:a", ":a://example.com/b", "`to` is a path with one slash"),
        ("/*", "https://example.com:splat", "the host of `to` is written out"),
        ("/a", "https://u@example.com/", "the host of `to` is written out"),
        ("/a", "https://exa\\mple.com/", "the host of `to` is written out"),
        ("/a", "https://[::x]/", "the host of `to` is written out"),
        ("/a", "https://b:99999/", "the host of `to` is written out"),
        ("/a", "/b//c", "`to` has two slashes in a row"),
        ("/a/*", "/:splat//c", "`to` has two slashes in a row"),
        ("/a", "/../b", "`to` has a segment . or .."),
        ("/a", "/%2e%2e/b", "`to` leads above the root"),
        ("/a", "/.git/b", "a name that begins with a dot"),
        ("/a", "/b%2Fc", "`to` leads above the root"),
        ("/a", "/b\\c", "the character '\\\\'"),
        ("/a", "/b c", "the character ' '"),
        ("/a", "/b\r\nc", "the character '\\r'"),
        ("/a", "/b?\u{85}", "the character"),
        ("/a", "/b%", "`to` has a %"),
        ("/a", "/:b", "`to` has :b, which `from` does not have"),
        ("/a", "/:splat", "`to` has :splat, which `from` does not have"),
        ("/a", "/a", "leads to itself"),
        ("/a", "/a/?x", "leads to itself"),
        ("/*", "/b", "leads to itself"),
        ("/a/*", "/a/b/:splat", "leads to itself"),
        ("/:a/:b", "/:b/x", "leads to itself"),
    ] {
        let error = PathRule::redirect(from, to, None, None).unwrap_err().to_string();
        assert!(error.contains(part), "{from} {to}: {error}");
    }
    let long = format!("/{}", "x".repeat(4096));
    for (from, to) in [(&*long, "/b"), ("/a", &*long)] {
        let error = PathRule::redirect(from, to, None, None).unwrap_err();
        assert!(matches!(error, PathRuleError::TooLong { .. }), "{error}");
    }
    let names: String = (0..17).map(|number| format!("/:a{number}")).collect();
    let error = PathRule::redirect(&names, "/b", None, None).unwrap_err();
    assert_eq!(error, PathRuleError::TooManyNames);
}

#[test]
fn statuses_and_their_defaults() {
    let code = |rule: PathRule| used(&rules([rule]), "/a").unwrap().0;
    let redirect = |status| PathRule::redirect("/a", "/b", status, None);
    let rewrite = |status| PathRule::rewrite("/a", "/b", status, None, None);
    assert_eq!(code(redirect(None).unwrap()), 308);
    assert_eq!(code(rewrite(None).unwrap()), 200);
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(code(redirect(Some(status)).unwrap()), status);
        assert_eq!(rewrite(Some(status)).unwrap_err(), PathRuleError::RewriteStatus(status));
    }
    for status in [200, 404, 410, 451] {
        assert_eq!(code(rewrite(Some(status)).unwrap()), status);
        assert_eq!(redirect(Some(status)).unwrap_err(), PathRuleError::RedirectStatus(status));
    }
    for status in [0, 300, 304, 500, 65535] {
        assert!(redirect(Some(status)).is_err() && rewrite(Some(status)).is_err(), "{status}");
    }
    let error = rewrite(Some(304)).unwrap_err().to_string();
    assert!(error.ends_with("write one of 200, 404, 410, 451"), "{error}");
    let error = PathRule::rewrite("/a", "/b", Some(410), None, Some(true)).unwrap_err();
    assert_eq!(error, PathRuleError::NavigationsOfError);
}

#[test]
fn a_rewrite_leads_to_a_file_of_the_site() {
    for (from, to, error) in [
        ("/a", "https://b.example/", PathRuleError::Proxy),
        ("/a", "/b#c", PathRuleError::Fragment),
        ("/a", "/a", PathRuleError::LeadsToItself),
        ("/a/*", "/a/:splat", PathRuleError::LeadsToItself),
    ] {
        let refused = PathRule::rewrite(from, to, None, None, None);
        assert_eq!(refused, Err(error), "{from} {to}");
    }
    // One page for many paths matches itself, and there is a file at its path.
    assert!(PathRule::rewrite("/*", "/index.html", None, None, None).is_ok());
    assert!(PathRule::redirect("/*", "/index.html", None, Some(false)).is_ok());
    // So there may be for a destination with captures, if the redirect applies after files.
    assert!(PathRule::redirect("/a/*", "/a/b/:splat", None, Some(false)).is_ok());
    let forced = PathRule::redirect("/a/*", "/a/b/:splat", None, Some(true));
    assert_eq!(forced, Err(PathRuleError::LeadsToItself));
}

/// Only for some captures, so no check finds it.
#[test]
fn a_rule_does_not_apply_to_its_own_destination() {
    let rules = rules([redirect("/:a/b", "/b/:a"), redirect("/b/*", "/c")]);
    assert_eq!(used(&rules, "/a/b"), Some((308, "/b/a".to_owned())));
    assert_eq!(used(&rules, "/b/b"), Some((308, "/c".to_owned())));
}

#[test]
fn an_address_has_a_longest_length() {
    let to = format!("/x{}", "/:splat".repeat(40));
    let rules = rules([redirect("/a/*", &to)]);
    assert!(used(&rules, "/a/b").is_some());
    assert!(used(&rules, &format!("/a/{}", "b".repeat(250))).is_none());
}

#[test]
fn the_rule_that_is_too_much_is_named() {
    let literal = |number: usize| redirect(&format!("/{number}"), "/x");
    let pattern = |number: usize| redirect(&format!("/{number}/*"), "/x");
    let all: Vec<_> =
        (0..PATTERNS_MAX).map(pattern).chain((0..LITERALS_MAX).map(literal)).collect();
    assert!(PathRules::new(all.clone()).is_ok());
    let error = PathRules::new([&all[..], &[literal(0)]].concat()).unwrap_err();
    assert_eq!(error, (all.len(), PathRuleError::TooManyLiterals));
    let error = PathRules::new([&all[..], &[pattern(0)]].concat()).unwrap_err();
    assert_eq!(error, (all.len(), PathRuleError::TooManyPatterns));
    let rules = rules(all);
    assert_eq!(used(&rules, "/9999").unwrap().1, "/x");
    assert_eq!(used(&rules, "/499/y").unwrap().1, "/x");
    assert_eq!(used(&rules, "/500/y"), None);
}

#[test]
fn one_page_for_many_paths_is_for_navigations() {
    for (from, to, chosen, expected) in [
        ("/*", "/index.html", None, true),
        ("/app/*", "/app/", None, true),
        ("/*", "/index.html", Some(false), false),
        ("/*", "/x/:splat", None, false),
        ("/a", "/index.html", None, false),
        ("/a", "/index.html", Some(true), true),
    ] {
        let rule = PathRule::rewrite(from, to, None, None, chosen).unwrap();
        let super::RuleAction::Rewrite { navigations, .. } = rule.action() else { panic!() };
        assert_eq!(navigations, expected, "{from} {to}");
    }
}

/// Random targets and rules; [`fuzz_rewrite`] checks what becomes of them.
#[test]
fn no_capture_leaves_its_place() {
    const PARTS: [&str; 34] = [
        "/",
        "//",
        "/a/",
        "/b/",
        "/c/",
        "/d/",
        "/e/",
        "/f/",
        "/g/",
        "/h/",
        "%2f",
        "%5c",
        "\\",
        "..",
        "%2e%2e",
        ".",
        "%0d%0a",
        "%00",
        "evil.example",
        ":",
        "@",
        "?",
        "#",
        "%25",
        "%3a",
        "x",
        "ü",
        "%ff",
        "*",
        ":one",
        ":splat",
        "https://example.com",
        "\n",
        " ",
    ];
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..5000 {
        let parts = (0..random.usize(1..12)).map(|_| *random.choice(&PARTS).unwrap());
        let text: String = parts.collect();
        fuzz_rewrite(text.as_bytes());
    }
}
