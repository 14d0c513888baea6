//! The types of many names, and overrides.

use super::*;

#[track_caller]
fn assert_types(cases: &[(&str, &str)]) {
    for (name, expected) in cases {
        assert_eq!(content_type(name.as_bytes()), *expected, "{name}");
        let upper = name.to_ascii_uppercase();
        assert_eq!(content_type(upper.as_bytes()), *expected, "{upper}");
    }
}

#[test]
fn pages_and_data_have_their_types() {
    assert_types(&[
        // Pages and their parts.
        ("index.html", "text/html; charset=utf-8"),
        ("old.htm", "text/html; charset=utf-8"),
        ("page.xhtml", "application/xhtml+xml"),
        ("a/b/STYLE.CSS", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("module.mjs", "text/javascript; charset=utf-8"),
        ("node.cjs", "text/javascript; charset=utf-8"),
        ("app.js.map", "application/json"),
        ("code.wasm", "application/wasm"),
        ("shader.wgsl", "text/wgsl; charset=utf-8"),
        ("site.webmanifest", "application/manifest+json"),
        ("captions.vtt", "text/vtt; charset=utf-8"),
        // Data.
        ("data.json", "application/json"),
        ("data.jsonld", "application/ld+json"),
        ("map.geojson", "application/geo+json"),
        ("map.topojson", "application/json"),
        ("log.ndjson", "application/x-ndjson"),
        ("log.jsonl", "application/jsonl"),
        ("Cargo.toml", "application/toml"),
        ("ci.yaml", "application/yaml"),
        ("ci.yml", "application/yaml"),
        ("sitemap.xml", "application/xml"),
        ("sheet.xsl", "application/xml"),
        ("sheet.xslt", "application/xslt+xml"),
        ("feed.atom", "application/atom+xml"),
        ("feed.rss", "application/rss+xml"),
        ("table.csv", "text/csv; charset=utf-8"),
        ("meeting.ics", "text/calendar; charset=utf-8"),
        ("card.vcf", "text/vcard; charset=utf-8"),
        ("notes.txt", "text/plain; charset=utf-8"),
        ("README.md", "text/markdown; charset=utf-8"),
    ]);
}

#[test]
fn media_and_archives_have_their_types() {
    assert_types(&[
        // Images and models.
        ("drawing.svg", "image/svg+xml"),
        ("photo.jpeg", "image/jpeg"),
        ("photo.avif", "image/avif"),
        ("photo.webp", "image/webp"),
        ("photo.heic", "image/heic"),
        ("photo.jxl", "image/jxl"),
        ("icon.ico", "image/x-icon"),
        ("scene.glb", "model/gltf-binary"),
        ("scene.gltf", "model/gltf+json"),
        ("scene.usdz", "model/vnd.usdz+zip"),
        // Sound and moving pictures.
        ("film.mp4", "video/mp4"),
        ("film.webm", "video/webm"),
        ("film.m3u8", "application/vnd.apple.mpegurl"),
        ("film.mpd", "application/dash+xml"),
        ("segment.ts", "video/mp2t"),
        ("clip.mts", "video/mp2t"),
        ("song.opus", "audio/ogg"),
        ("song.mp3", "audio/mpeg"),
        ("song.m4a", "audio/mp4"),
        ("song.flac", "audio/flac"),
        // Fonts.
        ("font.woff", "font/woff"),
        ("font.woff2", "font/woff2"),
        ("font.ttf", "font/ttf"),
        ("font.otf", "font/otf"),
        // Documents and archives.
        ("paper.pdf", "application/pdf"),
        ("book.epub", "application/epub+zip"),
        ("all.zip", "application/zip"),
        ("all.7z", "application/x-7z-compressed"),
        ("all.rar", "application/vnd.rar"),
        ("archive.tar.gz", "application/gzip"),
        ("archive.tgz", "application/gzip"),
        ("archive.tar.zst", "application/zstd"),
        ("archive.tar.xz", "application/x-xz"),
        ("package.rpm", "application/x-rpm"),
        // RFC 7932 registers a content coding, but no media type.
        ("app.js.br", "application/octet-stream"),
    ]);
}

#[test]
fn names_without_a_known_extension_are_octet_streams() {
    assert_types(&[
        ("README", UNKNOWN),
        ("dir.html/README", UNKNOWN),
        ("odd.", UNKNOWN),
        ("odd.nobody-knows", UNKNOWN),
        ("", UNKNOWN),
    ]);
    assert_eq!(content_type(b"bytes.\xff\xfe"), UNKNOWN);
    assert_eq!(content_type(b"\xff\xfe.png"), "image/png");
}

fn types(overrides: &[&str]) -> Types {
    Types::new(overrides.iter().map(|one| one.parse().unwrap()).collect()).unwrap()
}

#[test]
fn overrides_take_precedence_and_longer_ones_over_shorter() {
    let types = types(&[
        "html=application/xhtml+xml",
        "ts=text/plain",
        ".md=text/plain; charset=latin1",
        "css=TEXT/CSS;Charset=\"utf-16\"",
        "gz=application/x-gzip",
        "tar.gz=application/x-first",
        "Tar.GZ=application/x-tar+gzip",
        "br=application/x-brotli",
        "log=text/plain; format=flowed",
    ]);
    let cases = [
        ("index.html", "application/xhtml+xml"),
        ("a/App.TS", "text/plain; charset=utf-8"),
        ("a.md", "text/plain; charset=latin1"),
        ("a.css", "TEXT/CSS;Charset=\"utf-16\""),
        ("a.gz", "application/x-gzip"),
        ("a.tar.gz", "application/x-tar+gzip"),
        ("a.TAR.gz", "application/x-tar+gzip"),
        // An extension is also the name of a file.
        ("tar.gz", "application/x-first"),
        ("gz", "application/x-gzip"),
        ("dir.gz/a", "application/octet-stream"),
        ("xgz", "application/octet-stream"),
        ("a.js.br", "application/x-brotli"),
        ("a.log", "text/plain; format=flowed; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
    ];
    for (name, expected) in cases {
        assert_eq!(types.clone().content_type(name.as_bytes()), expected, "{name}");
    }
    assert_eq!(types.content_type(b"\xff\xfe.gz"), "application/x-gzip");
}

#[test]
fn malformed_overrides_name_cause_and_remedy() {
    let cases = [
        ("html", "equals sign"),
        ("=text/html", "empty part"),
        (".=text/html", "empty part"),
        ("tar..gz=text/html", "empty part"),
        ("a.=text/html", "empty part"),
        ("a/b=text/html", "slash"),
        ("a=", "not a media type such as text/plain"),
        ("a=text", "not a media type such as text/plain"),
        ("a=text/", "not a media type such as text/plain"),
        ("a=/html", "not a media type such as text/plain"),
        ("a=text/a/b", "not a media type such as text/plain"),
        ("a=text/ html", "not a media type such as text/plain"),
        ("a= text/html", "not a media type such as text/plain"),
        ("a=text/html; charset", "not a media type such as text/plain"),
        ("a=text/html;", "not a media type such as text/plain"),
        ("a=text/html; charset=", "not a media type such as text/plain"),
        ("a=text/html; charset=\"u", "not a media type such as text/plain"),
        ("a=text/html\r\nX-Evil: yes", "not a media type such as text/plain"),
        ("a=text/html; a=\"\r\nX-Evil: yes\"", "not a media type such as text/plain"),
        ("a=text/h\u{fc}tml", "not a media type such as text/plain"),
        ("a=text/html; a=\"\u{fc}\"", "not a media type such as text/plain"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Override>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let long_type = format!("a=a/{}", "x".repeat(TYPE_BYTES_MAX));
    assert_eq!(long_type.parse::<Override>(), Err(MediaTypeError::TooLong));
    let long_name = format!("{}=a/b", "x".repeat(256)).parse::<Override>().unwrap_err();
    assert!(long_name.to_string().contains("shorten"));
    assert!("a=text/plain;x=\"a;b=c\" ; y=z".parse::<Override>().is_ok());
    let many = vec!["a=b/c".parse().unwrap(); OVERRIDES_MAX + 1];
    assert!(Types::new(many[1..].to_vec()).is_ok());
    assert_eq!(Types::new(many).unwrap_err(), MediaTypeError::TooMany);
    assert!(MediaTypeError::TooLong.to_string().contains("shorten"));
    assert!(MediaTypeError::TooMany.to_string().contains("leave some out"));
}

#[test]
fn compressed_types_are_recognised() {
    let compressed = [
        "a.png", "a.jpg", "a.gif", "a.webp", "a.avif", "a.mp4", "a.webm", "a.ts", "a.mp3",
        "a.opus", "a.wav", "a.woff", "a.woff2", "a.zip", "a.gz", "a.tgz", "a.7z", "a.zst", "a.xz",
        "a.bz2", "a.rar", "a.jar", "a.apk", "a.epub", "a.docx", "a.odt", "a.usdz", "a.rpm",
    ];
    for name in compressed {
        let media_type = content_type(name.as_bytes());
        assert!(is_compressed(&media_type), "{name}: {media_type}");
    }
    let plain = [
        "a.html", "a.css", "a.js", "a.mjs", "a.json", "a.wasm", "a.svg", "a.bmp", "a.ico", "a.ttf",
        "a.otf", "a.xml", "a.txt", "a.csv", "a.tar", "a.glb", "a.pdf", "a.m3u8", "a",
    ];
    for name in plain {
        let media_type = content_type(name.as_bytes());
        assert!(!is_compressed(&media_type), "{name}: {media_type}");
    }
    assert!(is_compressed("IMAGE/PNG; a=b") && !is_compressed("Image/SVG+XML ;a=b"));
    assert!(!is_compressed("") && !is_compressed("png"));
}

/// What is not known to compress well is left alone: an unknown type, archives, media.
#[test]
fn compressible_types_are_recognised() {
    let compressible = [
        "a.html",
        "a.css",
        "a.js",
        "a.mjs",
        "a.json",
        "a.map",
        "a.wasm",
        "a.svg",
        "a.bmp",
        "a.ico",
        "a.ttf",
        "a.otf",
        "a.eot",
        "a.xml",
        "a.txt",
        "a.csv",
        "a.md",
        "a.webmanifest",
        "a.rss",
        "a.atom",
        "a.geojson",
        "a.yaml",
        "a.m3u8",
        "a.vtt",
        "a.xhtml",
        "a.ics",
    ];
    for name in compressible {
        let media_type = content_type(name.as_bytes());
        assert!(is_compressible(&media_type), "{name}: {media_type}");
        assert!(!is_compressed(&media_type), "{name}: {media_type}");
    }
    for name in ["a.png", "a.mp4", "a.mp3", "a.woff2", "a.zip", "a.gz", "a.tar", "a.bin", "a"] {
        let media_type = content_type(name.as_bytes());
        assert!(!is_compressible(&media_type), "{name}: {media_type}");
    }
    assert!(is_compressible("TEXT/HTML; charset=utf-8") && !is_compressible("text"));
}
