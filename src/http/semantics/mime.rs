//! The media type of a file, by its name. Content is never inspected.
//!
//! [`Types`] looks a name up in the overrides of the site, then in a table of our own, then in that
//! of the crate `mime_guess`. If none has it, the type is `application/octet-stream`. Text types
//! get `charset=utf-8`. Other types get no `charset`: JSON is UTF-8 by definition (RFC 8259 section
//! 8.1), and XML declares its own encoding, which a parameter would override (RFC 7303 section 3).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::http::semantics::file_names::{NamePattern, NameTable, PatternError};
use crate::http::semantics::grammar::{is_token, is_token_or_quoted, split};

#[cfg(test)]
mod tests;

/// How many overrides a site may have.
pub const OVERRIDES_MAX: usize = 256;

/// How long the type of an override may be.
const TYPE_BYTES_MAX: usize = 256;

/// For names without an extension, or with an unknown one (RFC 2046 section 4.5.1).
const UNKNOWN: &str = "application/octet-stream";

/// Types that `mime_guess` lacks, or has under a wrong or outdated name.
const OWN_TYPES: [(&str, &str); 29] = [
    // RFC 9239: the other names of this type are obsolete.
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
    // MPEG transport streams, as in nginx: HLS players require this type, and no browser runs
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

/// A media type for names that match a pattern, in the form `NAME=TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pattern: NamePattern,
    media_type: String,
}

impl Override {
    /// Gives a media type to names that match a pattern (`file_names.rs`): an extension, a whole
    /// name or a glob.
    ///
    /// # Errors
    ///
    /// When the pattern or the type is malformed or too long.
    pub fn new(pattern: &str, media_type: &str) -> Result<Self, MediaTypeError> {
        let pattern = NamePattern::new(pattern).map_err(MediaTypeError::Pattern)?;
        if media_type.len() > TYPE_BYTES_MAX {
            return Err(MediaTypeError::TooLong);
        }
        if !is_media_type(media_type) {
            return Err(MediaTypeError::MalformedType);
        }
        Ok(Self { pattern, media_type: with_charset(media_type).into_owned() })
    }
}

impl FromStr for Override {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let split = text.split_once('=');
        let (pattern, media_type) = split.ok_or(MediaTypeError::NoEqualsSign)?;
        Self::new(pattern, media_type)
    }
}

/// Why media types cannot be overridden. The text names the cause and the remedy, but no option of
/// the command line, since overrides may come from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaTypeError {
    /// There is no equals sign after the pattern.
    NoEqualsSign,
    /// The pattern is malformed or too long.
    Pattern(PatternError),
    /// The type violates the grammar of media types.
    MalformedType,
    /// The type is longer than its limit.
    TooLong,
    /// There are more than [`OVERRIDES_MAX`] overrides.
    TooMany,
}

impl fmt::Display for MediaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &str = "write NAME=TYPE, as in gltf=model/gltf+json";
        match self {
            Self::NoEqualsSign => write!(f, "there is no equals sign; {FORM}"),
            Self::Pattern(error) => error.fmt(f),
            Self::MalformedType => {
                write!(
                    f,
                    "the type is not a media type such as text/plain or text/plain; a=b; {FORM}"
                )
            }
            Self::TooLong => write!(f, "a type has at most {TYPE_BYTES_MAX} bytes; shorten it"),
            Self::TooMany => {
                write!(f, "there may be {OVERRIDES_MAX} media types; leave some out")
            }
        }
    }
}

impl std::error::Error for MediaTypeError {}

/// Whether `text` is a media type, perhaps with parameters (RFC 9110 section 8.3.1).
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

/// Adds `charset=utf-8` to a text type that has no charset.
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

/// The media types of a site. Clones share the overrides.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Types {
    overrides: NameTable<String>,
}

impl Types {
    /// Types with overrides. A whole name takes precedence over globs, and those over extensions
    /// (`file_names.rs`).
    ///
    /// # Errors
    ///
    /// If there are more than [`OVERRIDES_MAX`] overrides.
    pub fn new(overrides: Vec<Override>) -> Result<Self, MediaTypeError> {
        if overrides.len() > OVERRIDES_MAX {
            return Err(MediaTypeError::TooMany);
        }
        let entries = overrides.into_iter().map(|one| (one.pattern, one.media_type)).collect();
        Ok(Self { overrides: NameTable::new(entries) })
    }

    /// The value of `Content-Type` for a file of this name or path.
    pub fn content_type(&self, name: &[u8]) -> Cow<'_, str> {
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        match self.overrides.get(name) {
            Some(media_type) => Cow::Borrowed(media_type),
            None => with_charset(media_type(name)),
        }
    }
}

/// The value of `Content-Type` for a file of this name or path, without overrides.
pub fn content_type(name: &[u8]) -> String {
    Types::default().content_type(name).into_owned()
}

/// Looks a name without slashes up in both tables.
fn media_type(name: &[u8]) -> &'static str {
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let Ok(extension) = std::str::from_utf8(&name[dot + 1..]) else { return UNKNOWN };
    let own = OWN_TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    if let Some((_, media_type)) = own {
        return media_type;
    }
    match mime_guess::from_ext(extension).first_raw() {
        // Both names mean the same (RFC 7303 section 9.2). A text type would get a charset, which
        // would override the one that the file declares.
        Some("text/xml") => "application/xml",
        Some(media_type) => media_type,
        None => UNKNOWN,
    }
}

/// Types whose content is compressed already, beside audio, video and images.
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

/// Image types that are not compressed, or hardly.
const PLAIN_IMAGES: [&str; 6] = [
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "image/x-ms-bmp",
    "image/x-win-bitmap",
];

/// Whether files of this type, which may have parameters, are compressed already. Such a file has
/// no compressed file beside it.
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

/// Types that compress well, beside text, and those whose names end in `+json` or `+xml`.
const COMPRESSIBLE: [&str; 24] = [
    "application/dart",
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/msword",
    "application/postscript",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-tex",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/ttf",
];

/// Whether files of this type, which may have parameters, compress well as a rule. No such type is
/// compressed already, in the sense of [`is_compressed`].
pub fn is_compressible(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("text", _)) => true,
        Some(("image", _)) => PLAIN_IMAGES.contains(&&*essence),
        Some(("audio" | "video", _)) | None => false,
        Some((_, name)) => {
            name.ends_with("+json") || name.ends_with("+xml") || COMPRESSIBLE.contains(&&*essence)
        }
    }
}
