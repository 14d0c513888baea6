//! Targets of each kind, and a comparison with a naive implementation.

use std::borrow::Cow;

use super::Unresolvable::{Bad, NotFound};
use super::{
    PATH_BYTES_MAX, SEGMENT_BYTES_MAX, Unresolvable, encode_path, fuzz_target, has_hidden_segment,
    reference, resolve,
};

type Parts = (Vec<u8>, bool, Option<Vec<u8>>);

fn parts(raw: &[u8]) -> Result<Parts, Unresolvable> {
    fuzz_target(raw);
    let target = resolve(raw)?;
    Ok((target.path().to_vec(), target.directory(), target.query().map(<[u8]>::to_vec)))
}

#[track_caller]
fn assert_resolves(raw: &str, path: &str, directory: bool) {
    assert_eq!(parts(raw.as_bytes()), Ok((path.into(), directory, None)), "{raw}");
}

#[test]
fn plain_paths_resolve_without_outer_slashes() {
    assert_resolves("/", "", true);
    assert_resolves("", "", true);
    assert_resolves("/a", "a", false);
    assert_resolves("/a/", "a", true);
    assert_resolves("/a/b.c/d", "a/b.c/d", false);
    assert_resolves("/a+b\\c", "a+b\\c", false);
    assert_resolves("/a..b/c.", "a..b/c.", false);
}

#[test]
fn plain_paths_are_borrowed() {
    for raw in ["/", "/a", "/a/b/", "/index.html?q=%zz//../"] {
        let target = resolve(raw.as_bytes()).unwrap();
        assert!(matches!(target.path, Cow::Borrowed(_)), "{raw}");
    }
}

#[test]
fn bytes_are_decoded_once_and_need_not_be_utf8() {
    assert_resolves("/a%20b", "a b", false);
    assert_resolves("/%61%2B%5c", "a+\\", false);
    assert_resolves("/%2561", "%61", false);
    assert_resolves("/%252e%252e/a", "%2e%2e/a", false);
    assert_resolves("/%3Fq", "?q", false);
    assert_eq!(parts(b"/%ff%C3"), Ok((b"\xff\xc3".to_vec(), false, None)));
    assert_eq!(parts(b"/\xff"), Ok((b"\xff".to_vec(), false, None)));
}

#[test]
fn repeated_slashes_count_as_one() {
    assert_resolves("//", "", true);
    assert_resolves("//a", "a", false);
    assert_resolves("/a///b//", "a/b", true);
}

#[test]
fn dot_segments_are_applied_after_decoding() {
    for (raw, path, directory) in [
        ("/.", "", true),
        ("/a/.", "a", true),
        ("/./a", "a", false),
        ("/a/..", "", true),
        ("/a/b/..", "a", true),
        ("/a/../b", "b", false),
        ("/a/b/../../c/", "c", true),
        ("/a//../b", "b", false),
        ("/a/%2e%2E/b", "b", false),
        ("/a/.%2e", "", true),
        ("/%2e", "", true),
        ("/...", "...", false),
        ("/.a/..b", ".a/..b", false),
    ] {
        assert_resolves(raw, path, directory);
    }
}

#[test]
fn targets_above_the_root_are_bad() {
    for raw in ["/..", "/../a", "/a/../..", "/%2e%2e/a", "//..", "/./..", "/a%2Fb/../.."] {
        assert_eq!(parts(raw.as_bytes()), Err(Bad), "{raw}");
    }
}

#[test]
fn malformed_paths_are_bad() {
    for raw in ["/%", "/%2", "/%zz", "/%2g", "/% 1", "/%+1", "/%00", "/a/%00b", "a", "*", "a:80"] {
        assert_eq!(parts(raw.as_bytes()), Err(Bad), "{raw}");
    }
    assert_eq!(parts(b"/\0"), Err(Bad));
    assert_eq!(parts(b"/a%2Fb/%zz"), Err(Bad), "malformed comes before not found");
}

#[test]
fn a_target_with_an_encoded_slash_is_not_found() {
    for raw in ["/a%2Fb", "/%2f", "/..%2F..%2Fetc", "/a/%2F..", "/a%2Fb/../c"] {
        assert_eq!(parts(raw.as_bytes()), Err(NotFound), "{raw}");
    }
}

#[test]
fn the_query_is_everything_after_the_first_question_mark() {
    for (raw, path, query) in [
        ("/a?b=c", "a", "b=c"),
        ("/a?", "a", ""),
        ("/?/../?", "", "/../?"),
        ("?q", "", "q"),
        ("/%61?%zz", "a", "%zz"),
    ] {
        let (found_path, _, found_query) = parts(raw.as_bytes()).unwrap();
        assert_eq!((found_path, found_query), (path.into(), Some(query.into())), "{raw}");
    }
}

#[test]
fn names_longer_than_the_file_system_allows_are_not_found() {
    let longest = "a".repeat(SEGMENT_BYTES_MAX);
    for (raw, expected) in [
        (format!("/{longest}"), true),
        (format!("/{longest}/b?{longest}c"), true),
        (format!("/{longest}%61"), false),
        (format!("/{longest}b"), false),
        (format!("/{longest}b/c"), false),
        (format!("/{longest}b/"), false),
        (format!("/{longest}b/../c"), false),
        (format!("/{}", "%61".repeat(SEGMENT_BYTES_MAX)), true),
    ] {
        let found = parts(raw.as_bytes());
        assert!(if expected { found.is_ok() } else { found == Err(NotFound) }, "{raw}");
    }
    let path = "/abcdefg".repeat(PATH_BYTES_MAX.div_ceil(8));
    assert_eq!(path.len() - 1, PATH_BYTES_MAX);
    assert!(parts(path.as_bytes()).is_ok());
    assert_eq!(parts(format!("{path}h").as_bytes()), Err(NotFound));
    assert!(parts(format!("/./{path}").as_bytes()).is_ok());
    assert_eq!(parts(format!("/./{path}h").as_bytes()), Err(NotFound));
}

#[test]
fn encoded_paths_have_one_leading_slash_and_only_path_characters() {
    for (path, encoded) in [
        (&b""[..], "/"),
        (b"a/b", "/a/b"),
        (b"//evil.example/x", "/evil.example/x"),
        (b"a b?c#d%\"<>", "/a%20b%3Fc%23d%25%22%3C%3E"),
        (b"-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@"),
        (b"\\[]^`{|}", "/%5C%5B%5D%5E%60%7B%7C%7D"),
        (b"\xff\x00\r\n", "/%FF%00%0D%0A"),
    ] {
        assert_eq!(encode_path(path), encoded);
    }
}

#[test]
fn hidden_segments_begin_with_a_dot() {
    for (path, hidden) in [
        ("", false),
        ("a/b.c", false),
        (".a", true),
        ("a/.b", true),
        ("a/.b/c", true),
        (".well-known", false),
        (".well-known/acme", false),
        (".well-known/.a", true),
        ("a/.well-known", true),
        (".well-known2", true),
    ] {
        assert_eq!(has_hidden_segment(path.as_bytes()), hidden, "{path}");
    }
}

/// A naive implementation: splits the path, decodes each segment, and keeps a stack of them.
fn naive(raw: &[u8]) -> Result<Parts, Unresolvable> {
    let mut halves = raw.splitn(2, |&byte| byte == b'?');
    let raw_path = halves.next().unwrap_or_default();
    let query = halves.next().map(<[u8]>::to_vec);
    if !raw_path.is_empty() && raw_path[0] != b'/' {
        return Err(Bad);
    }
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let (mut not_found, mut directory) = (false, true);
    for segment in raw_path.split(|&byte| byte == b'/') {
        for at in (0..segment.len()).filter(|&at| segment[at] == b'%') {
            let digits = segment.get(at + 1..at + 3).ok_or(Bad)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(Bad);
            }
        }
        let name: Vec<u8> = percent_encoding::percent_decode(segment).collect();
        if name.contains(&0) {
            return Err(Bad);
        }
        not_found |= name.contains(&b'/') || name.len() > 255;
        directory = [&b""[..], b".", b".."].contains(&name.as_slice());
        match name.as_slice() {
            b"" | b"." => {}
            b".." => drop(stack.pop().ok_or(Bad)?),
            _ => stack.push(name),
        }
    }
    let path = stack.join(&b'/');
    if not_found || path.len() > 4095 { Err(NotFound) } else { Ok((path, directory, query)) }
}

#[test]
fn any_target_resolves_like_the_naive_implementation() {
    const PIECES: [&[u8]; 20] = [
        b"/", b"/", b"/", b"/", b"a", b"bc", b".", b".", b"..", b"%2e", b"%2E%2e", b"%2F", b"%61",
        b"%", b"%0", b"%00", b"?", b"+", b"\\", b"\xff",
    ];
    let long = "x".repeat(130);
    for seed in 0..10_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut raw = Vec::new();
        if random.u8(..20) > 0 {
            raw.push(b'/');
        }
        // Most targets have no malformed pieces, so that long paths resolve too.
        let kinds = if random.u8(..4) > 0 { 11 } else { PIECES.len() };
        for _ in 0..random.usize(..12) {
            match random.u8(..40) {
                0 => raw.extend(long.as_bytes()),
                _ => raw.extend(PIECES[random.usize(..kinds)]),
            }
        }
        assert_eq!(parts(&raw), naive(&raw), "seed {seed}: {}", raw.escape_ascii());
    }
}

#[test]
fn references_are_relative_to_the_target() {
    for (raw, path, expected) in [
        ("/sub", "/sub/", "sub/"),
        ("/a/sub", "/a/sub/", "sub/"),
        ("/a/sub?x/y", "/a/sub/", "sub/"),
        ("/%61/s%75b", "/a/sub/", "sub/"),
        ("/index.html", "/", "./"),
        ("/a/index", "/a/", "./"),
        ("/a.html", "/a", "a"),
        // A scheme, and an authority.
        ("/a:b", "/a:b/", "./a:b/"),
        ("/x/a:b.html", "/x/a:b", "./a:b"),
        ("/a/b:c", "/a/b:c/", "./b:c/"),
        // Repeated slashes are directories for some clients only.
        ("//sub", "/sub/", "sub/"),
        ("//a/sub", "/a/sub/", "sub/"),
        ("/a//sub", "/a/sub/", "sub/"),
        ("///index.html", "/", "./"),
        ("//a:b", "/a:b/", "./a:b/"),
        // Dot segments are none.
        ("/x/../sub", "/sub/", "sub/"),
        ("/./a/./sub", "/a/sub/", "sub/"),
        ("/a//../sub", "/a/sub/", "/a/sub/"),
        // Browsers decode dots and turn backslashes; other clients do not.
        ("/%2e/sub", "/sub/", "/sub/"),
        ("/x/.%2E/sub", "/sub/", "/sub/"),
        ("/a\\sub", "/a%5Csub/", "/a%5Csub/"),
        ("/sub/.", "/sub/", "/sub/"),
        ("/a/%2e%2e", "/", "/"),
        // Nothing leads out of the root.
        ("/../sub", "/sub/", "/sub/"),
        ("/a/../../sub", "/sub/", "/sub/"),
        // A backslash in a query means nothing.
        ("/sub?\\", "/sub/", "sub/"),
    ] {
        assert_eq!(reference(raw.as_bytes(), path), expected, "{raw}");
    }
}

/// Draws a target of segments that need care.
fn any_target(random: &mut fastrand::Rng) -> String {
    const SEGMENTS: [&str; 24] = [
        "a",
        "b.html",
        "",
        "",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ".%2e",
        "a:b",
        "http:",
        "%61",
        "a%20b",
        "\u{e4}",
        "%c3%a4",
        "%e4",
        "\\",
        "a\\b",
        "%5c",
        "@x",
        "...",
        "%2541",
        "a;b=c",
        "~'()*+,!$&=",
    ];
    let count = random.usize(1..6);
    let segments = (0..count).map(|_| SEGMENTS[random.usize(..SEGMENTS.len())]);
    let path: String = segments.map(|segment| format!("/{segment}")).collect();
    path + ["", "?", "?a=b", "?//c/../d:e"][random.usize(..4)]
}

/// The path of a target or a reference, with one slash in place of several.
fn single_slashes(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path + query
}

/// A client resolves the reference to the path, also if a proxy has removed a prefix from the
/// target, and also if it drops repeated slashes, as `urljoin` of Python does. The crate url
/// resolves as browsers do.
#[test]
fn clients_resolve_any_reference_to_its_path() {
    let (mut relative, mut absolute) = (0, 0);
    for seed in 0..20_000 {
        let raw = any_target(&mut fastrand::Rng::with_seed(seed));
        let Ok(target) = resolve(raw.as_bytes()) else { continue };
        let path = encode_path(target.path());
        let parent = &path[..=path.rfind('/').unwrap()];
        let slash = if target.path().is_empty() { "" } else { "/" };
        for wanted in [format!("{path}{slash}"), path.clone(), parent.to_owned()] {
            let reference = reference(raw.as_bytes(), &wanted);
            let resolved = |prefix: &str, raw: &str| {
                let base = url::Url::parse(&format!("http://host{prefix}{raw}")).unwrap();
                let resolved = base.join(&reference).unwrap();
                assert_eq!(resolved.host_str(), Some("host"), "{raw} {reference}");
                let path = single_slashes(resolved.path());
                percent_encoding::percent_decode_str(&path).collect::<Vec<u8>>()
            };
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(&wanted).collect();
            for raw in [raw.clone(), single_slashes(&raw)] {
                assert_eq!(resolved("", &raw), decoded, "seed {seed}: {raw} {reference}");
            }
            assert!(!reference.is_empty() && !reference.starts_with("//"), "{raw} {reference}");
            if reference.starts_with('/') {
                absolute += 1;
                let is_odd = raw.contains('\\')
                    || raw.contains("//..")
                    || raw.to_lowercase().contains("%2e");
                assert!(is_odd || target.directory(), "{raw} {reference}");
            } else {
                relative += 1;
                let beneath = [b"/files/x", &decoded[..]].concat();
                for raw in [raw.clone(), single_slashes(&raw)] {
                    assert_eq!(resolved("/files/x", &raw), beneath, "{raw} {reference}");
                }
            }
        }
    }
    assert!(relative > 5000 && absolute > 1000, "{relative} relative, {absolute} absolute");
}
