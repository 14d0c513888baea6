//! Which media type a file is announced with: by its name, never by its content.
//!
//! The table is that of the `mime_guess` package. What is not in it is `application/octet-stream`;
//! text is announced as UTF-8.

/// For names without an extension, or with an unknown one (RFC 2046 section 4.5.1).
const UNKNOWN: &str = "application/octet-stream";

/// Types that the table lacks, or has under a name that browsers refuse.
const OURS: [(&str, &str); 5] = [
    // RFC 9239: the only name for modules that all browsers take.
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("md", "text/markdown"),
];

/// The value of `Content-Type` for a file of this name.
pub fn content_type(name: &[u8]) -> String {
    let media_type = media_type(name);
    if media_type.starts_with("text/") {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_owned()
    }
}

fn media_type(name: &[u8]) -> &'static str {
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let Ok(extension) = std::str::from_utf8(&name[dot + 1..]) else { return UNKNOWN };
    let ours = OURS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    match ours {
        Some((_, media_type)) => media_type,
        None => mime_guess::from_ext(extension).first_raw().unwrap_or(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_name() {
        let cases = [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b/STYLE.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("module.mjs", "text/javascript; charset=utf-8"),
            ("code.wasm", "application/wasm"),
            ("data.json", "application/json"),
            ("drawing.svg", "image/svg+xml"),
            ("photo.jpeg", "image/jpeg"),
            ("icon.ico", "image/x-icon"),
            ("font.woff2", "font/woff2"),
            ("notes.txt", "text/plain; charset=utf-8"),
            ("archive.tar.gz", "application/gzip"),
            ("README", "application/octet-stream"),
            ("dir.html/README", "application/octet-stream"),
            ("odd.", "application/octet-stream"),
            ("odd.nobody-knows", "application/octet-stream"),
        ];
        for (name, expected) in cases {
            assert_eq!(content_type(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(content_type(b"bytes.\xff\xfe"), UNKNOWN);
    }
}
