//! The files `_redirects` and `_headers` at the top of a root, as hosting services read them.
//!
//! A line that this server cannot follow is left out and reported, so that the others apply. Both
//! parsers take any text.
//!
//! | | Netlify | Cloudflare |
//! | --- | --- | --- |
//! | status of a redirect that names none | 301 | 302 |
//! | where there is a file | the file, unless the status has an `!` | the rule |

mod headers;
mod redirects;
#[cfg(test)]
mod tests;

pub use headers::parse_headers;
pub use redirects::parse_redirects;

/// How long a file may be.
pub const SITE_FILE_BYTES_MAX: u64 = 1 << 20;

/// The service whose files are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostingService {
    /// Netlify.
    Netlify,
    /// Cloudflare Pages and Workers.
    Cloudflare,
}

/// A line that does not apply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// The number of the line; the first one has 1.
    pub line: usize,
    /// What is left out.
    pub what: String,
    /// Why, and what to do about it.
    pub why: String,
}

/// How much of a line a message shows.
const SHOWN_CHARS_MAX: usize = 80;

impl LeftOut {
    fn new(line: usize, what: &str, why: impl Into<String>) -> Self {
        let escaped: String = what.trim().escape_debug().collect();
        let mut what: String = escaped.chars().take(SHOWN_CHARS_MAX).collect();
        if what.len() < escaped.len() {
            what.push_str("...");
        }
        Self { line, what, why: why.into() }
    }
}

/// The lines of a text with their numbers, without comments that take a whole line, and without
/// empty lines.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines());
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}
