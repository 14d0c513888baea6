//! Every option about content: the setting that it makes, and the errors for invalid values.

use clap::{CommandFactory, Parser};

use super::*;
use crate::http::site::rules::AnswerKind;

/// A root and the options about content, as `ringd serve` has them.
#[derive(Debug, Parser)]
struct TestArgs {
    #[arg(default_value = "./html")]
    root: String,
    #[command(flatten)]
    content: ContentArgs,
}

/// The header fields that the rules add to a response, as HTTP/1.1 writes them.
fn lines(content: &Content, path: &[u8], kind: AnswerKind<'_>) -> String {
    String::from_utf8(content.rules.fields(path, kind).all().as_h1().to_vec()).unwrap()
}

fn command(arguments: &[&str]) -> Result<TestArgs, String> {
    let all = std::iter::once(&"ringd").chain(arguments);
    TestArgs::try_parse_from(all).map_err(|error| error.to_string())
}

#[track_caller]
fn content(arguments: &[&str]) -> Content {
    command(arguments).unwrap().content.content().unwrap()
}

#[track_caller]
fn assert_refused(option: &str, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        let error = command(&[&format!("{option}={value}")]).unwrap_err();
        assert!(error.contains(expected) && error.contains(option), "{value}: {error}");
    }
}

#[test]
fn clap_accepts_the_definition() {
    TestArgs::command().debug_assert();
}

#[test]
fn without_options_the_content_is_the_default() {
    let (content, default) = (content(&[]), Content::default());
    assert_eq!(content.index, default.index);
    assert_eq!(content.index, [b"index.html"]);
    assert_eq!((content.spa, default.spa), (None, None));
    assert!(content.error_pages.is_empty() && default.error_pages.is_empty());
    for content in [&self::content(&[]), &Content::default()] {
        assert!(!content.clean_urls && !content.listing && content.precompressed);
        assert!(content.rules.is_empty());
        assert_eq!(content.types.content_type(b"a.js"), "text/javascript; charset=utf-8");
    }
    assert_eq!(command(&[]).unwrap().content.symlinks, LinksName::Beneath);
}

#[test]
fn switches_turn_features_on_and_off() {
    let content = content(&["--clean-urls", "--listing", "--cors", "--no-precompressed"]);
    assert!(content.clean_urls && content.listing && !content.precompressed);
    let fields = content.rules.fields(b"/a", AnswerKind::Other);
    assert_eq!(fields.all().get("Access-Control-Allow-Origin"), Some(&b"*"[..]));
    assert!(command(&["--hidden"]).is_err());
}

#[test]
fn media_types_are_added() {
    let content = content(&["--mime", "a=text/a", "--mime=tar.gz=application/x-tar+gzip"]);
    assert_eq!(content.types.content_type(b"x.a"), "text/a; charset=utf-8");
    assert_eq!(content.types.content_type(b"x.tar.gz"), "application/x-tar+gzip");
    assert_refused("--mime", &[("a", "equals sign"), ("a=b", "NAME=TYPE"), ("=a/b", "empty part")]);
    let many = vec!["--mime=a=a/b"; 257];
    let error = command(&many).unwrap().content.content().unwrap_err().to_string();
    assert!(error.contains("--mime") && error.contains("leave some out"), "{error}");
}

#[test]
fn index_names_replace_the_default() {
    let content = content(&["--index", "index.htm", "--index", "default.html"]);
    assert_eq!(content.index, [&b"index.htm"[..], b"default.html"]);
    assert_refused(
        "--index",
        &[
            ("a/b", "not contain a slash"),
            ("/index.html", "not contain a slash"),
            ("..", "segment .."),
            (".index", "dot"),
            (&"a".repeat(256), "at most 255"),
        ],
    );
    assert!(command(&["--index", ""]).unwrap_err().contains("empty"));
    assert_eq!(self::content(&["--index=a"; 8]).index.len(), 8);
    let error = command(&["--index=a"; 9]).unwrap().content.content().unwrap_err().to_string();
    assert!(error.contains("--index") && error.contains("leave some out"), "{error}");
}

#[test]
fn the_page_of_a_single_page_application_is_parsed() {
    assert_eq!(content(&["--spa"]).spa.as_deref(), Some(&b"index.html"[..]));
    assert_eq!(content(&["--spa=/app/200.html"]).spa.as_deref(), Some(&b"app/200.html"[..]));
    // A separate argument is the root, not the page. A percent sign is not an escape.
    let command = command(&["--spa", "./site"]).unwrap();
    assert_eq!((&*command.root, command.content.spa.as_deref()), ("./site", Some("index.html")));
    assert_eq!(content(&["--spa=/a%20b"]).spa.as_deref(), Some(&b"a%20b"[..]));
    let long = format!("/{}a", "a/".repeat(2048));
    assert_refused(
        "--spa",
        &[
            ("app.html", "the root: /app.html"),
            ("/", "as in /index.html"),
            ("/app/", "as in /app/index.html"),
            ("//a", "empty"),
            ("/a//b", "empty"),
            ("/../a", "segment .."),
            ("/a/./b", "segment ."),
            ("/.a", "dot"),
            ("/a/.b/c", "dot"),
            (&format!("/{}", "a".repeat(256)), "at most 255"),
            (&long, "at most 4095"),
        ],
    );
}

#[test]
fn error_pages_are_parsed() {
    let arguments = [
        "--error-page=404=/old.html",
        "--error-page=503=/e/5xx.html",
        "--error-page=404=/404.html",
    ];
    let pages = content(&arguments).error_pages;
    assert_eq!(pages, [(503, b"e/5xx.html".to_vec()), (404, b"404.html".to_vec())]);
    for status in ERRORS {
        let page: ErrorPage = format!("{}=/a=b", status.code()).parse().unwrap();
        assert_eq!(page, ErrorPage { status, path: "a=b".into() });
        assert!((400..600).contains(&status.code()));
    }
    assert_refused(
        "--error-page",
        &[
            ("/404.html", "STATUS=PATH"),
            ("=/404.html", "404, 405"),
            ("200=/a", "404, 405"),
            ("404.0=/a", "404, 405"),
            ("0404=/a", "404, 405"),
            ("4xx=/a", "404, 405"),
            ("418=/a", "404, 405"),
            ("404=404.html", "the root: /404.html"),
            ("404=/", "name a file"),
            ("404=/../a", "segment .."),
            ("404=/.404.html", "dot"),
        ],
    );
}

#[test]
fn rules_for_header_fields_are_parsed() {
    let content = content(&[
        "--cache-control=/assets/**=max-age=31536000, immutable",
        "--cache-control",
        "*.map=no-store",
        "--header",
        "**=X-Frame-Options: DENY",
        "--header=*.pdf=Content-Disposition:attachment",
    ]);
    let page = AnswerKind::Page { content_type: "text/javascript" };
    let expected = "Cache-Control: max-age=31536000, immutable\r\nX-Frame-Options: DENY\r\n";
    assert_eq!(lines(&content, b"/assets/a.js", page), expected);
    let expected = "Cache-Control: no-store\r\nX-Frame-Options: DENY\r\n";
    assert_eq!(lines(&content, b"/assets/a.js.map", page), expected);
    let expected = "X-Frame-Options: DENY\r\nContent-Disposition: attachment\r\n";
    assert_eq!(lines(&content, b"/a.pdf", page), expected);
    assert_refused("--cache-control", &[("a", "GLOB=VALUE"), ("*=max-age: 6", "max-age=60")]);
    assert_refused(
        "--header",
        &[
            ("*=a", "GLOB=NAME:VALUE"),
            ("*=ETag:\"a\"", "ringd itself sets it"),
            ("*=Content-Type:text/html", "--mime"),
            ("*=Cache-Control:no-store", "--cache-control"),
            ("[=a:b", "malformed"),
        ],
    );
    let long = format!("--header=*=a:{}", "b".repeat(9000));
    let error = command(&[&long]).unwrap().content.content().unwrap_err().to_string();
    assert!(error.contains("--header") && error.contains("shorten them"), "{error}");
}

#[test]
fn every_kind_of_symbolic_links_can_be_chosen() {
    for links in LinksName::value_variants() {
        let name = links.to_possible_value().unwrap();
        let arguments = ["--symlinks", name.get_name()];
        assert_eq!(command(&arguments).unwrap().content.symlinks, *links);
    }
    assert_refused("--symlinks", &[("all", "beneath, never, follow")]);
}
