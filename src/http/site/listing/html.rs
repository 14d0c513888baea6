//! Formats a page of a listing as an HTML document without scripts and external resources.
//!
//! Links are relative, so they are correct behind a proxy that serves the site below a prefix.
//! The order is changed by buttons, because crawlers would follow links to all six orders, as
//! `wget -r` does, whatever `rel` says.

use std::fmt::{self, Display, Formatter};

use super::entries::ListedEntry;
use super::escape::{Text, reference};
use super::humanize;
use super::page::ListingPage;
use super::query::{Asked, Order, Sort};

/// How many parent directories are links. A path may have 2048 segments, and the n-th link repeats
/// `../` n times.
const CRUMBS_MAX: usize = 64;

/// The style sheet, which supports light and dark color schemes.
const STYLE: &str = include_str!("style.css");

/// Formats the page.
pub(super) fn render(page: &ListingPage<'_>) -> Vec<u8> {
    Document(page).to_string().into_bytes()
}

struct Document<'a>(&'a ListingPage<'a>);

impl Display for Document<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let page = self.0;
        let path = page.path();
        f.write_str(concat!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<meta name=\"color-scheme\" content=\"light dark\">\n",
        ))?;
        write!(f, "<title>Index of {}</title>\n<style>\n{STYLE}</style>\n", Text(&path))?;
        write!(f, "</head>\n<body>\n<main>\n<h1>Index of {}</h1>\n", Crumbs(page.dir))?;
        writeln!(f, "<p>{}</p>", Summary(page))?;
        writeln!(f, "<table>\n<thead>\n<tr>{}</tr>\n</thead>\n<tbody>", Headers(page.asked))?;
        if !page.dir.is_empty() {
            f.write_str("<tr><td colspan=\"3\"><a href=\"../\">Parent directory</a></td></tr>\n")?;
        }
        for item in &page.items {
            writeln!(f, "{}", HtmlRow(item))?;
        }
        f.write_str("</tbody>\n</table>\n")?;
        if page.pages > 1 {
            writeln!(f, "{}", Paging(page))?;
        }
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

/// The path from the root, with links to the parent directories.
struct Crumbs<'a>(&'a [u8]);

impl Display for Crumbs<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        let mut above = self.0.split(|&byte| byte == b'/').count();
        let up = |levels: usize| "../".repeat(levels);
        write!(f, "<a href=\"{}\" aria-label=\"root\">/</a>", up(above))?;
        for name in self.0.split(|&byte| byte == b'/') {
            above -= 1;
            let name = Text(name);
            if (1..=CRUMBS_MAX).contains(&above) {
                write!(f, "<bdi><a href=\"{}\">{name}</a></bdi>/", up(above))?;
            } else {
                write!(f, "<bdi>{name}</bdi>/")?;
            }
        }
        Ok(())
    }
}

/// The number of entries and pages.
struct Summary<'a>(&'a ListingPage<'a>);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let page = self.0;
        match page.total {
            0 => f.write_str("Nothing is listed here.")?,
            1 => f.write_str("1 entry.")?,
            total => {
                write!(f, "{} entries", humanize::grouped(total as u64))?;
                if page.pages > 1 {
                    write!(f, ", page {}", Number(page))?;
                }
                f.write_str(".")?;
            }
        }
        match page.truncated_at {
            None => Ok(()),
            Some(read) => {
                let read = humanize::grouped(read as u64);
                write!(
                    f,
                    " <strong>There are more: only the first {read} names were read.</strong>"
                )
            }
        }
    }
}

/// The column headers, each with a button that sorts by the column. A form without an action
/// replaces the query of the page.
struct Headers(Asked);

impl Display for Headers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let titles = [
            (Sort::Name, "Name"),
            (Sort::Size, "Size"),
            (Sort::Time, "Modified<span> (UTC)</span>"),
        ];
        for (sort, title) in titles {
            let (state, order) = match self.0.order {
                _ if sort != self.0.sort => ("", Order::Ascending),
                Order::Ascending => (" aria-sort=\"ascending\"", Order::Descending),
                Order::Descending => (" aria-sort=\"descending\"", Order::Ascending),
            };
            write!(f, "<th scope=\"col\"{state}><form>")?;
            if order != Order::Ascending {
                let order = order.name();
                write!(f, "<input type=\"hidden\" name=\"order\" value=\"{order}\">")?;
            }
            let sort = sort.name();
            write!(f, "<button name=\"sort\" value=\"{sort}\">{title}</button></form></th>")?;
        }
        Ok(())
    }
}

/// A table row for one entry.
struct HtmlRow<'a>(&'a ListedEntry<'a>);

impl Display for HtmlRow<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let item = self.0;
        let (href, name) = (reference(item.name, item.directory), Text(item.name));
        let end = if item.directory { "/" } else { "" };
        write!(f, "<tr><td><bdi><a href=\"{href}\">{name}{end}</a></bdi></td>")?;
        if item.directory {
            f.write_str("<td></td>")?;
        } else {
            let (exact, size) = (humanize::grouped(item.len()), humanize::size(item.len()));
            write!(f, "<td title=\"{exact} bytes\">{size}</td>")?;
        }
        f.write_str("<td>")?;
        if let Some(time) = humanize::time(item.modified().0) {
            // The style sheet hides the span where there is little room.
            let (day, minute) = (&time[..10], &time[11..16]);
            write!(f, "<time datetime=\"{time}\">{day}<span> {minute}</span></time>")?;
        }
        f.write_str("</td></tr>")
    }
}

/// The number of this page, and of all pages.
struct Number<'a>(&'a ListingPage<'a>);

impl Display for Number<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (number, pages) = (self.0.asked.page.into(), self.0.pages.into());
        write!(f, "{} of {}", humanize::grouped(number), humanize::grouped(pages))
    }
}

/// Links to the previous and the next page.
struct Paging<'a>(&'a ListingPage<'a>);

impl Display for Paging<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let page = self.0;
        let default = Asked::new(page.asked.format);
        let usual = (page.asked.sort, page.asked.order) == (default.sort, default.order);
        let also = if usual { "" } else { " nofollow" };
        f.write_str("<nav aria-label=\"Pages\">")?;
        if let Some(previous) = page.previous() {
            let href = previous.reference();
            let href = Text(href.as_bytes());
            write!(f, "<a rel=\"prev{also}\" href=\"{href}\">Previous</a> ")?;
        }
        write!(f, "<span>Page {}</span>", Number(page))?;
        if let Some(next) = page.next() {
            let href = next.reference();
            let href = Text(href.as_bytes());
            write!(f, " <a rel=\"next{also}\" href=\"{href}\">Next</a>")?;
        }
        f.write_str("</nav>")
    }
}
