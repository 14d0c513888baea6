//! Listings as programs read them: media players, crawlers and scripts.

use super::*;

/// The entries that Kodi takes from a page (`CHTTPDirectory::GetDirectory`): each link whose text
/// is the decoded reference. Its regular expression is
/// `<a href="([^"]*)"[^>]*>\s*(.*?)\s*</a>(.+?)(?=<a|</tr|$)`.
fn taken_by_kodi(html: &str) -> BTreeSet<String> {
    let unescape = |text: &str| {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'")];
        let plain =
            entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        plain.replace("&amp;", "&")
    };
    let without_slash = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let entry = |link: &str| {
        let (href, rest) = link.split_once('"')?;
        let (text, rest) = rest.split_once('>')?.1.split_once("</a>")?;
        let follows = rest.find("<a").or_else(|| rest.find("</tr")).unwrap_or(rest.len());
        let name = without_slash(&unescape(text.trim()));
        let href = href.split('?').next()?;
        // `CURL::Decode` reads a plus sign as a space.
        let decoded = without_slash(&href.replace('+', " "));
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&decoded).collect();
        let decoded = unescape(&String::from_utf8(decoded).ok()?);
        let is_entry = follows > 0 && name == decoded && decoded != "..";
        is_entry.then(|| format!("{name}{}", if href.ends_with('/') { "/" } else { "" }))
    };
    html.split("<a href=\"").skip(1).filter_map(entry).collect()
}

#[test]
fn a_media_player_takes_every_entry() {
    let fixture = Fixture::new();
    let names = [
        "plain.mkv",
        "two words.mkv",
        "a:b",
        "http:",
        "a+b",
        "it's",
        "Tom & Jerry",
        "<i>",
        "\"quoted\"",
        "100%",
        "%41",
        "what?",
        "#1",
        "a;b=c,d@e!$(f)*~",
        "日本語",
        "e\u{301}",
        "...",
    ];
    let names = names.map(|name| format!("in/deep/x{name}"));
    let mut expected = BTreeSet::new();
    fixture.directory("in/deep");
    for name in &names {
        fixture.file(name, "");
        fixture.directory(format!("{name}.d"));
        let name = name.strip_prefix("in/deep/").unwrap();
        expected.extend([name.to_owned(), format!("{name}.d/")]);
    }
    fixture.file("in/deep/a:b", "");
    expected.insert("a:b".to_owned());
    for query in ["", "sort=size&order=desc"] {
        assert_eq!(taken_by_kodi(&fixture.html("in/deep", query)), expected, "{query}");
    }
}

/// A reference that is resolved as RFC 3986 says, and one that is appended to the address of the
/// listing, lead to the same file.
#[test]
fn references_are_names_without_a_prefix() {
    let fixture = Fixture::new();
    fixture.directory("a:b");
    fixture.file("c:d e+f", "");
    assert_eq!(references(&fixture.html("", "")), ["a%3Ab/", "c%3Ad%20e%2Bf"]);
    let listing = fixture.json("", "");
    let href = |place: usize| listing["entries"][place]["href"].as_str().unwrap().to_owned();
    assert_eq!([href(0), href(1)], ["a%3Ab/", "c%3Ad%20e%2Bf"]);
}

/// A crawler that follows all links gets each entry once, not once in each order: the headers are
/// buttons, which crawlers do not press.
#[test]
fn no_link_changes_the_order() {
    let mut fixture = Fixture::new();
    fixture.policy.page_size = 2;
    for number in 0..6 {
        fixture.file(format!("{number}"), "");
    }
    for page in 1..=3 {
        let html = fixture.html("", &format!("page={page}"));
        let links: Vec<&str> =
            html.split("href=\"").skip(1).filter_map(|link| link.split('"').next()).collect();
        let allowed = |link: &&str| {
            link.parse::<u32>().is_ok() || *link == "./" || link.starts_with("?page=")
        };
        assert!(links.iter().all(allowed), "{links:?}");
    }
    // What a browser requests if a button is pressed.
    let pressed = |html: &str| -> Vec<Asked> {
        let forms = html.split("<form>").skip(1).map(|form| form.split("</form>").next().unwrap());
        let query = |form: &str| {
            let fields = form.split(" name=\"").skip(1).map(|field| {
                let (name, value) = field.split_once("\" value=\"").unwrap();
                format!("{name}={}", value.split('"').next().unwrap())
            });
            fields.collect::<Vec<_>>().join("&")
        };
        forms.map(|form| Asked::parse(Format::Html, Some(query(form).as_bytes()))).collect()
    };
    let asked = |sort, order| Asked { sort, order, ..Asked::new(Format::Html) };
    use {Order::*, Sort::*};
    let table = [
        ("", [asked(Name, Descending), asked(Size, Ascending), asked(Time, Ascending)]),
        ("page=2", [asked(Name, Descending), asked(Size, Ascending), asked(Time, Ascending)]),
        ("order=desc", [asked(Name, Ascending), asked(Size, Ascending), asked(Time, Ascending)]),
        ("sort=size", [asked(Name, Ascending), asked(Size, Descending), asked(Time, Ascending)]),
        (
            "sort=time&order=desc&page=2",
            [asked(Name, Ascending), asked(Size, Ascending), asked(Time, Ascending)],
        ),
    ];
    for (query, expected) in table {
        assert_eq!(pressed(&fixture.html("", query)), expected, "{query}");
    }
}

/// A page ends after 256 KiB, so a client that does not read holds no more memory than that.
#[test]
fn pages_of_long_names_are_limited_in_bytes() {
    /// The limit of the entries, and what is around them.
    const PAGE_BYTES: usize = 256 * 1024 + 8 * 1024;
    let fixture = Fixture::new();
    fixture.directory("in");
    let quotes = "\"".repeat(250);
    for number in 0..250 {
        fixture.file(format!("in/{quotes}{number:05}"), "");
    }
    for sort in ["name", "size", "time"] {
        let (mut names, mut page, mut lengths) = (Vec::new(), 1, Vec::new());
        loop {
            let query = format!("sort={sort}&page={page}");
            let (html, listing) = (fixture.html("in", &query), fixture.json("in", &query));
            assert!(html.len() <= PAGE_BYTES, "page {page}: {}", html.len());
            assert!(listing.to_string().len() <= PAGE_BYTES);
            assert_eq!((&listing["page"], &listing["total"]), (&page.into(), &250.into()));
            let on_page = fixture.names("in", &query);
            assert_eq!(references(&html).len(), on_page.len(), "both formats have the same pages");
            lengths.push(html.len());
            names.extend(on_page);
            if listing["next"].is_null() {
                assert_eq!(listing["pages"], page);
                break;
            }
            page += 1;
        }
        let expected: Vec<String> = (0..250).map(|number| format!("{quotes}{number:05}")).collect();
        if sort != "time" {
            assert_eq!(names, expected);
        }
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected.into_iter().collect());
        assert!(page > 1 && lengths[0] > 200 * 1024, "pages are not smaller than need be");
    }
}
