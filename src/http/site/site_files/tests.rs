//! What becomes of the lines of `_redirects` and `_headers`.

use super::super::rewrites::{PathRule, PathRules, RulePhase, RuleUse};
use super::super::rules::{AnswerKind, Rules, SiteHeaders};
use super::super::target;
use super::{HostingService, parse_headers, parse_redirects};

/// What a line makes of a request: the phase, the status and the address.
fn used(line: &str, service: HostingService, asked: &str) -> Option<String> {
    let (rules, left_out) = parse_redirects(line, service);
    assert_eq!((rules.len(), left_out.len()), (1, 0), "{line}: {left_out:?}");
    let rules = PathRules::new(rules.into_iter().map(|(_, rule)| rule).collect()).unwrap().unwrap();
    let target = target::resolve(asked.as_bytes()).unwrap();
    let phases = [(RulePhase::BeforeFiles, "before"), (RulePhase::AfterFiles, "after")];
    phases.into_iter().find_map(|(phase, name)| {
        Some(match rules.find(phase, &target)? {
            RuleUse::Redirect { status, location } => {
                format!("{name} {} {location}", status.code())
            }
            RuleUse::Rewrite { status, navigations, target } => {
                let navigations = if navigations { " navigations" } else { "" };
                format!("{name} {} {target}{navigations}", status.code())
            }
        })
    })
}

/// Each line, a request, and what both services make of it; `None` for a line that is left out.
/// Where a rule is not left out for Netlify, `netlify-redirect-parser` 14.4 reads the same parts.
#[test]
fn lines_are_rules() {
    #[rustfmt::skip]
    let table: &[(&str, &str, Option<&str>, Option<&str>)] = &[
        ("/a /b", "/a", Some("after 301 /b"), Some("before 302 /b")),
        ("  /a\t/b   308 ", "/a", Some("after 308 /b"), Some("before 308 /b")),
        ("/a /b 301!", "/a", Some("before 301 /b"), None),
        ("/a /b # why", "/a", Some("after 301 /b"), Some("before 302 /b")),
        ("/a /b 302 # why", "/a", Some("after 302 /b"), Some("before 302 /b")),
        ("/a /b#c 303", "/a", Some("after 303 /b#c"), Some("before 303 /b#c")),
        ("/a /b 307", "/a?q", Some("after 307 /b?q"), Some("before 307 /b?q")),
        ("/a/* https://b.example/:splat 301", "/a/c", Some("after 301 https://b.example/c"),
            Some("before 301 https://b.example/c")),
        ("/n/:y/:m /p/:m/:y", "/n/1/2", Some("after 301 /p/2/1"), Some("before 302 /p/2/1")),
        ("/* /index.html 200", "/x", Some("after 200 /index.html navigations"),
            Some("after 200 /index.html navigations")),
        ("/* /index.html 200!", "/x", Some("before 200 /index.html navigations"), None),
        ("/a/* /b/:splat 200", "/a/x", Some("after 200 /b/x"), Some("before 200 /b/x")),
        ("/* /404.html 404", "/x", Some("after 404 /404.html"), None),
        ("/a/ /b?x=1 301 # why", "/a?y", Some("after 301 /b?x=1"), Some("before 301 /b?x=1")),
        ("/ü /ä", "/%C3%BC", Some("after 301 /%C3%A4"), Some("before 302 /%C3%A4")),
        ("/a /gone.html 410!", "/a", Some("before 410 /gone.html"), None),
    ];
    for (line, asked, netlify, cloudflare) in table {
        for (service, expected) in
            [(HostingService::Netlify, netlify), (HostingService::Cloudflare, cloudflare)]
        {
            match expected {
                Some(expected) => {
                    let used = used(line, service, asked);
                    assert_eq!(used.as_deref(), Some(*expected), "{service:?} {line}");
                }
                None => {
                    let (rules, left_out) = parse_redirects(line, service);
                    assert_eq!((rules.len(), left_out.len()), (0, 1), "{service:?} {line}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_followed_is_left_out() {
    for (line, why) in [
        ("/a", "there is no destination"),
        ("/a b", "there is no destination"),
        ("/a b /c", "b is no destination"),
        ("/a id=:id /b", "no conditions on the query"),
        ("/a /b Country=de,at", "no condition Country="),
        ("/a /b 302 Language=de", "no condition Language="),
        ("/a /b 200 Role=admin", "no condition Role="),
        ("/a /b 302 x", "x is no status"),
        ("/a /b 99", "99 is no status"),
        ("/a /b 3011", "3011 is no status"),
        ("/a /b 301 !", "! is no status"),
        ("/a 301 /b", "301 is no destination"),
        ("//a /b", "two slashes in a row"),
        ("/a/*/b /c", "an asterisk is the whole last segment"),
        ("/a /b 418", "cannot have the status 418"),
        ("/a https://b.example/ 200", "ringd is no proxy"),
        ("https://a.example/* /b", "a rule is for one site"),
        ("/a /.netlify/functions/x 200", "begins with a dot"),
        ("/a*b /c", "an asterisk is the whole last segment"),
        ("/a/:b/:b /c", "the path has :b twice"),
        ("/a /:c", "the destination has :c"),
        ("/a /a 301!", "leads to itself"),
        ("a /b", "the path is a path and begins"),
    ] {
        let text = format!("# a comment\n\n/x /y\n{line}\n/z /y\n");
        let (rules, left_out) = parse_redirects(&text, HostingService::Netlify);
        assert_eq!(rules.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5], "{line}");
        let [only] = &left_out[..] else { panic!("{line}: {left_out:?}") };
        assert_eq!((only.line, &*only.what), (4, line));
        assert!(only.why.contains(why), "{line}: {}", only.why);
    }
    // Whatever the bytes are, a message is short and has no line end.
    let long = format!("/a\u{7} {}", "x".repeat(1000));
    let (_, left_out) = parse_redirects(&long, HostingService::Cloudflare);
    assert!(left_out[0].what.len() < 100 && !left_out[0].what.contains('\u{7}'));
}

/// With Netlify, the first rule that matches decides, also if it applies only where no file is.
#[test]
fn the_first_rule_decides() {
    let text = "/a /b 301\n/a /c 302!\n/d/* /e 200\n/d/f /g 301!\n/h /i 301!\n/h /j 301\n";
    let (rules, left_out) = parse_redirects(text, HostingService::Netlify);
    assert_eq!(left_out, []);
    let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
    // One of a configuration goes before files in any case.
    let own = PathRule::redirect("/d/own", "/k", None, None).unwrap();
    let rules = PathRules::new([vec![own], rules].concat()).unwrap().unwrap();
    let find = |phase, path: &str| {
        let target = target::resolve(path.as_bytes()).unwrap();
        rules.find(phase, &target).map(|found| match found {
            RuleUse::Redirect { location, .. } => location,
            RuleUse::Rewrite { target, .. } => target,
        })
    };
    for (path, before, after) in [
        ("/a", None, Some("/b")),
        ("/d/f", None, Some("/e")),
        ("/h", Some("/i"), Some("/j")),
        ("/d/own", Some("/k"), Some("/e")),
        ("/x", None, None),
    ] {
        assert_eq!(find(RulePhase::BeforeFiles, path).as_deref(), before, "{path}");
        assert_eq!(find(RulePhase::AfterFiles, path).as_deref(), after, "{path}");
    }
}

fn fields(text: &str, operator: &[&str], path: &str, is_page: bool) -> String {
    let (blocks, _) = parse_headers(text, HostingService::Cloudflare);
    let headers = operator.iter().map(|rule| rule.parse().unwrap()).collect();
    let rules = Rules::new(Vec::new(), headers, false).unwrap();
    let rules = rules.with_site_headers(SiteHeaders::new(blocks).unwrap()).unwrap();
    let kind = match is_page {
        true => AnswerKind::Page { content_type: "text/html" },
        false => AnswerKind::Other,
    };
    let fields = rules.fields(path.as_bytes(), kind);
    String::from_utf8(fields.all().as_h1().to_vec()).unwrap().replace("\r\n", "|")
}

#[test]
fn blocks_add_fields() {
    let text = "\
# all
/*
  X-Frame-Options: DENY
  X-List: one
  Cache-Control: max-age=60
  Set-Cookie: a=1

/assets/*
  x-list: two
  ! X-Frame-Options
  Set-Cookie: b=2
/assets/:name/deep
\tX-List: three
/exact
  ! Cache-Control
  X-Url: https://a.example/:80
";
    for (path, is_page, expected) in [
        ("/", true, "Cache-Control: max-age=60|X-Frame-Options: DENY|X-List: one|Set-Cookie: a=1|"),
        (
            "/assets/a",
            true,
            "Cache-Control: max-age=60|X-List: one, two|Set-Cookie: a=1|Set-Cookie: b=2|",
        ),
        ("/assets/a/deep", false, "X-List: one, two, three|Set-Cookie: a=1|Set-Cookie: b=2|"),
        (
            "/exact",
            true,
            "X-Frame-Options: DENY|X-List: one|Set-Cookie: a=1|X-Url: https://a.example/:80|",
        ),
        (
            "/exact/",
            false,
            "X-Frame-Options: DENY|X-List: one|Set-Cookie: a=1|X-Url: https://a.example/:80|",
        ),
    ] {
        assert_eq!(fields(text, &[], path, is_page), expected, "{path}");
    }
    // What a block removes is what others have set.
    let removing = "/*\n  X-A: b\n/x\n  X-A: c\n  ! X-A\n";
    assert_eq!(fields(removing, &[], "/x", false), "X-A: c|");
    // What the operator says goes last.
    let operator = ["**=X-Frame-Options: SAMEORIGIN", "**=X-List:", "**=Set-Cookie:"];
    let expected = "Cache-Control: max-age=60|X-Frame-Options: SAMEORIGIN|";
    assert_eq!(fields(text, &operator, "/", true), expected);
    // A default stays without a block.
    assert_eq!(fields("/a\n  X: y\n", &[], "/b", true), "Cache-Control: no-cache|");
}

#[test]
fn fields_that_cannot_be_set_are_left_out() {
    for (line, why) in [
        ("  Content-Length: 3", "Content-Length cannot be set"),
        ("  content-type: text/plain", "choose the media type by the name"),
        ("  Location: /x", "Location cannot be set"),
        ("  Cache-Control: a b", "not like no-cache"),
        ("  X Y: z", "a name has letters"),
        ("  X-A", "there is no colon"),
        ("  X-A:", "X-A has no value"),
        ("  X-A: ü", "use printable ASCII"),
        ("  X-A: a/:splat", "does not replace :splat"),
        ("  ! Date", "Date cannot be set"),
        ("  !X-A", "write ! X-A"),
        ("https://a.example/*", "fields are those of one site"),
        ("/a*.js", "an asterisk is the whole last segment"),
    ] {
        let text = format!("/*\n{line}\n  X-B: c\n/d\n  X-E: f\n");
        let (blocks, left_out) = parse_headers(&text, HostingService::Cloudflare);
        let [only] = &left_out[..] else { panic!("{line}: {left_out:?}") };
        assert_eq!(only.line, 2, "{line}");
        assert!(only.why.contains(why), "{line}: {}", only.why);
        assert_eq!(blocks.last().unwrap().line, 4, "{line}");
    }
    let (_, left_out) = parse_headers("/*\n  ! X-A\n", HostingService::Netlify);
    assert!(left_out[0].why.contains("! belongs to Cloudflare"), "{}", left_out[0].why);
    let (blocks, left_out) = parse_headers("  X-A: b\n/x\n", HostingService::Netlify);
    assert_eq!((blocks.len(), left_out.len()), (0, 1));
    assert!(left_out[0].why.contains("there is no path before it"));
}

#[test]
fn headers_are_bounded() {
    let long = "x".repeat(3000);
    let of = |paths: &[&str]| {
        let text: String = paths.iter().map(|path| format!("{path}\n  X: {long}\n")).collect();
        let headers = SiteHeaders::new(parse_headers(&text, HostingService::Netlify).0).unwrap();
        Rules::default().with_site_headers(headers).is_ok()
    };
    assert!(of(&["/a", "/b", "/c", "/d/", "/*"]), "one path at a time");
    assert!(!of(&["/a", "/a/", "/*"]), "all for one path");
    assert!(!of(&["/a/*", "/b/*", "/*"]), "perhaps for one path");
}
