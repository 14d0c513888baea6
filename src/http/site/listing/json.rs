//! A page of a listing as JSON; [the folder's page](super) shows its form.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::filter::Item;
use super::page::Page;
use super::query::Asked;
use super::{escape, humanize};

#[derive(Serialize)]
struct Listing<'a> {
    path: Cow<'a, str>,
    page: u32,
    pages: u32,
    total: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    entries: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    href: String,
}

/// Writes the page.
pub(super) fn render(page: &Page<'_>) -> io::Result<Vec<u8>> {
    let path = page.path();
    let listing = Listing {
        path: String::from_utf8_lossy(&path),
        page: page.asked.page,
        pages: page.pages,
        total: page.total,
        truncated: page.truncated_at.is_some(),
        next: page.next().map(Asked::reference),
        entries: page.items.iter().map(row).collect(),
    };
    Ok(serde_json::to_vec(&listing)?)
}

fn row(item: &Item) -> Row<'_> {
    Row {
        name: String::from_utf8_lossy(&item.name),
        kind: if item.directory { "directory" } else { "file" },
        size: (!item.directory).then(|| item.len()),
        mtime: humanize::time(item.modified().0),
        href: escape::reference(&item.name, item.directory),
    }
}
