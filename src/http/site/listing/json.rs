//! A page of a listing as JSON (RFC 8259); [the folder's page](super) shows its form.
//!
//! It is written by hand, so that the library does not need a JSON crate for one small object.

use std::fmt::Write;
use std::{fmt, io};

use super::entries::ListedEntry;
use super::page::ListingPage;
use super::query::Asked;
use super::{escape, humanize};

/// Writes the page.
pub(super) fn render(page: &ListingPage<'_>) -> io::Result<Vec<u8>> {
    let mut out = String::new();
    write_page(&mut out, page).map_err(io::Error::other)?;
    Ok(out.into_bytes())
}

fn write_page(out: &mut String, page: &ListingPage<'_>) -> fmt::Result {
    let path = page.path();
    let path = String::from_utf8_lossy(&path);
    let path = Quoted(&path);
    let (number, pages, total) = (page.asked.page, page.pages, page.total);
    let truncated = page.truncated_at.is_some();
    write!(out, r#"{{"path":{path},"page":{number},"pages":{pages},"total":{total},"#)?;
    write!(out, r#""truncated":{truncated},"#)?;
    if let Some(next) = page.next().map(Asked::reference) {
        write!(out, r#""next":{},"#, Quoted(&next))?;
    }
    out.push_str(r#""entries":["#);
    for (index, item) in page.items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_entry(out, item)?;
    }
    out.push_str("]}");
    Ok(())
}

fn write_entry(out: &mut String, item: &ListedEntry<'_>) -> fmt::Result {
    let name = String::from_utf8_lossy(item.name);
    let kind = if item.directory { "directory" } else { "file" };
    write!(out, r#"{{"name":{},"type":"{kind}","#, Quoted(&name))?;
    if !item.directory {
        write!(out, r#""size":{},"#, item.len())?;
    }
    if let Some(time) = humanize::time(item.modified().0) {
        write!(out, r#""mtime":{},"#, Quoted(&time))?;
    }
    let href = escape::reference(item.name, item.directory);
    write!(out, r#""href":{}}}"#, Quoted(&href))
}

/// A text as a JSON string. Only what RFC 8259 section 7 demands is escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", u32::from(char))?,
                _ => f.write_char(char)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_from_a_parser() {
        let all = ('\0'..='\u{2ff}').chain(['\u{2028}', '\u{fffd}', '\u{10ffff}']);
        for char in all {
            let text = format!("a{char}b");
            let quoted = Quoted(&text).to_string();
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text, "{quoted}");
        }
    }
}
