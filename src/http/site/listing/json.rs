//! Formats a page of a listing as JSON, in the form that [`super`] documents.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::filter::ListedEntry;
use super::page::ListingPage;
use super::query::Asked;
use super::{escape, humanize};

#[derive(Serialize)]
struct JsonListing<'a> {
    path: Cow<'a, str>,
    page: u32,
    pages: u32,
    total: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    entries: Vec<JsonEntry<'a>>,
}

#[derive(Serialize)]
struct JsonEntry<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    href: String,
}

/// Formats the page.
pub(super) fn render(page: &ListingPage<'_>) -> io::Result<Vec<u8>> {
    let path = page.path();
    let listing = JsonListing {
        path: String::from_utf8_lossy(&path),
        page: page.asked.page,
        pages: page.pages,
        total: page.total,
        truncated: page.truncated_at.is_some(),
        next: page.next().map(Asked::reference),
        entries: page.items.iter().map(json_entry).collect(),
    };
    Ok(serde_json::to_vec(&listing)?)
}

fn json_entry(item: &ListedEntry) -> JsonEntry<'_> {
    JsonEntry {
        name: String::from_utf8_lossy(&item.name),
        kind: if item.directory { "directory" } else { "file" },
        size: (!item.directory).then(|| item.len()),
        mtime: humanize::time(item.modified().0),
        href: escape::reference(&item.name, item.directory),
    }
}
