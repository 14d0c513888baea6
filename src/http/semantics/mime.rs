//! Which media type a file is announced with: by its name, never by its content.
//!
//! [`Types`] looks a name up in the overrides of the site, then in a table of ours, then in that
//! of the `mime_guess` package. What is in none of them is `application/octet-stream`. Text is
//! announced as UTF-8. Nothing else gets a `charset`: JSON is UTF-8 by definition (RFC 8259
//! section 8.1), and XML says itself what it is in, which a parameter would overrule (RFC 7303
//! section 3).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::http::semantics::grammar::{is_token, is_token_or_quoted, split};

#[cfg(test)]
mod tests;

/// Overrides of a site, at most.
pub const OVERRIDES_MAX: usize = 256;

/// Bytes of an extension and of a type, at most.
const EXTENSION_BYTES_MAX: usize = 32;
const TYPE_BYTES_MAX: usize = 256;

/// For names without an extension, or with an unknown one (RFC 2046 section 4.5.1).
const UNKNOWN: &str = "application/octet-stream";

/// Types that the table lacks, or has under a name that is not, or no longer, the right one.
const OURS: [(&str, &str); 29] = [
    // RFC 9239: the only name for modules that all browsers take.
    ("cjs", "text/javascript"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("wasm", "application/wasm"),
    ("wgsl", "text/wgsl"),
    ("webmanifest", "application/manifest+json"),
    ("map", "application/json"),
    ("topojson", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("jsonl", "application/jsonl"),
    ("md", "text/markdown"),
    ("mdx", "text/mdx"),
    ("toml", "application/toml"),
    // RFC 9512.
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    // RFC 6350.
    ("vcf", "text/vcard"),
    ("xslt", "application/xslt+xml"),
    // RFC 8081.
    ("otf", "font/otf"),
    ("woff", "font/woff"),
    // MPEG transport streams, which players of HLS insist on, as in nginx. No browser runs
    // TypeScript.
    ("m2ts", "video/mp2t"),
    ("mts", "video/mp2t"),
    ("ts", "video/mp2t"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("usdz", "model/vnd.usdz+zip"),
    ("rar", "application/vnd.rar"),
    ("rpm", "application/x-rpm"),
    ("tgz", "application/gzip"),
    // RFC 8878.
    ("zst", "application/zstd"),
];

/// A media type for names with a certain extension, in the form `EXT=TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// In lower case, with the dot before it.
    suffix: String,
    media_type: String,
}

impl FromStr for Override {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let split = text.split_once('=');
        let (extension, media_type) = split.ok_or(MediaTypeError::NoEqualsSign)?;
        let extension = extension.strip_prefix('.').unwrap_or(extension);
        if extension.split('.').any(str::is_empty) || extension.contains(['/', '\0']) {
            return Err(MediaTypeError::MalformedExtension);
        }
        if extension.len() > EXTENSION_BYTES_MAX || media_type.len() > TYPE_BYTES_MAX {
            return Err(MediaTypeError::TooLong);
        }
        if !is_media_type(media_type) {
            return Err(MediaTypeError::MalformedType);
        }
        let suffix = format!(".{}", extension.to_ascii_lowercase());
        Ok(Self { suffix, media_type: with_charset(media_type).into_owned() })
    }
}

/// Why media types cannot be overridden. The text names the cause and the remedy, but no option of
/// the command line, since overrides may come from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediaTypeError {
    /// No equals sign ends the extension.
    NoEqualsSign,
    /// The extension has a slash, a NUL or an empty part.
    MalformedExtension,
    /// The type breaks the grammar of media types.
    MalformedType,
    /// The extension or the type is longer than its limit.
    TooLong,
    /// There are more than [`OVERRIDES_MAX`] overrides.
    TooMany,
}

impl fmt::Display for MediaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &str = "write EXT=TYPE, as in gltf=model/gltf+json";
        match self {
            Self::NoEqualsSign => write!(f, "there is no equals sign; {FORM}"),
            Self::MalformedExtension => {
                write!(f, "an extension has no slash and no empty part; {FORM}")
            }
            Self::MalformedType => {
                write!(f, "the type is not like text/plain or text/plain; a=b; {FORM}")
            }
            Self::TooLong => write!(
                f,
                "an extension has at most {EXTENSION_BYTES_MAX} bytes, \
                 a type {TYPE_BYTES_MAX}; shorten it"
            ),
            Self::TooMany => {
                write!(f, "there may be {OVERRIDES_MAX} media types; leave some out")
            }
        }
    }
}

impl std::error::Error for MediaTypeError {}

/// Whether this is a media type with its parameters (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let mut pieces = split(text.as_bytes(), b';');
    let is_type = pieces.next().is_some_and(|name| {
        let mut halves = name.splitn(2, |byte| *byte == b'/');
        let mut is_half = || halves.next().is_some_and(is_token);
        is_half() && is_half()
    });
    let is_parameter = |piece: &[u8]| {
        memchr::memchr(b'=', piece)
            .is_some_and(|at| is_token(&piece[..at]) && is_token_or_quoted(&piece[at + 1..]))
    };
    let is_trimmed = text.trim() == text;
    text.is_ascii() && is_trimmed && is_type && pieces.all(is_parameter)
}

/// Text without a charset gets one.
fn with_charset(media_type: &str) -> Cow<'_, str> {
    let is_text = media_type.get(..5).is_some_and(|family| family.eq_ignore_ascii_case("text/"));
    let is_charset =
        |piece: &[u8]| piece.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"charset="));
    if is_text && !split(media_type.as_bytes(), b';').any(is_charset) {
        Cow::Owned(format!("{media_type}; charset=utf-8"))
    } else {
        Cow::Borrowed(media_type)
    }
}

/// The media types of a site. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Types {
    /// The longest suffix first, and of the same ones the one that counts.
    overrides: Arc<[Override]>,
}

impl Types {
    /// With overrides: the longest extension that fits wins (`tar.gz` over `gz`), and of those
    /// that are given twice the last. At most [`OVERRIDES_MAX`] of them.
    ///
    /// # Errors
    ///
    /// If there are more.
    pub fn new(mut overrides: Vec<Override>) -> Result<Self, MediaTypeError> {
        if overrides.len() > OVERRIDES_MAX {
            return Err(MediaTypeError::TooMany);
        }
        overrides.reverse();
        // Stable: of equals, the one that was given last comes first.
        overrides.sort_by_key(|one| std::cmp::Reverse(one.suffix.len()));
        Ok(Self { overrides: overrides.into() })
    }

    /// The value of `Content-Type` for a file of this name, which may be a whole path.
    pub fn content_type(&self, name: &[u8]) -> Cow<'_, str> {
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        let fits = |one: &&Override| {
            let start = name.len().checked_sub(one.suffix.len());
            start.is_some_and(|at| name[at..].eq_ignore_ascii_case(one.suffix.as_bytes()))
        };
        match self.overrides.iter().find(fits) {
            Some(one) => Cow::Borrowed(&one.media_type),
            None => with_charset(media_type(name)),
        }
    }
}

/// The value of `Content-Type` for a file of this name, where nothing is overridden.
pub fn content_type(name: &[u8]) -> String {
    Types::default().content_type(name).into_owned()
}

/// From the tables. `name` has no slash.
fn media_type(name: &[u8]) -> &'static str {
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let Ok(extension) = std::str::from_utf8(&name[dot + 1..]) else { return UNKNOWN };
    let ours = OURS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    if let Some((_, media_type)) = ours {
        return media_type;
    }
    match mime_guess::from_ext(extension).first_raw() {
        // The same type (RFC 7303 section 9.2), but no text, so that the file says its charset.
        Some("text/xml") => "application/xml",
        Some(media_type) => media_type,
        None => UNKNOWN,
    }
}

/// Types in the `application` family whose content is compressed already.
const COMPRESSED: [&str; 17] = [
    "application/epub+zip",
    "application/font-woff",
    "application/gzip",
    "application/java-archive",
    "application/vnd.android.package-archive",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip",
    "application/x-bzip2",
    "application/x-gzip",
    "application/x-rar-compressed",
    "application/x-rpm",
    "application/x-xz",
    "application/zip",
    "application/zstd",
    "font/woff",
    "font/woff2",
];

/// Images that are not compressed, or hardly.
const PLAIN_IMAGES: [&str; 6] = [
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "image/x-ms-bmp",
    "image/x-win-bitmap",
];

/// Whether the content of files of this type is compressed already, so that nobody keeps it in
/// another coding beside. Parameters are allowed.
pub fn is_compressed(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", _)) => !PLAIN_IMAGES.contains(&&*essence),
        Some(("audio" | "video", _)) => true,
        Some(("application", name))
            if name.starts_with("vnd.openxmlformats-officedocument.")
                || name.starts_with("vnd.oasis.opendocument.") =>
        {
            true
        }
        Some((_, name)) => name.ends_with("+zip") || COMPRESSED.contains(&&*essence),
        None => false,
    }
}
