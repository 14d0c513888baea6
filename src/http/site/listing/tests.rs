//! Listings of real directories with hostile names, and of large lists in memory.

mod programs;

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::entries::ListedEntry;
use super::filter::tests::{file, listed};
use super::*;
use crate::driver::Links;
use crate::http::site::target;

/// A root, and requests for listings beneath it.
struct Fixture {
    folder: TempDir,
    root: Arc<File>,
    policy: Policy,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = File::open_root(folder.path(), Links::Beneath).unwrap();
        Self { folder, root: Arc::new(root), policy: Policy::default() }
    }

    fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.folder.path().join(OsStr::from_bytes(name.as_ref()))
    }

    fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn directory(&self, name: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) {
        symlink(to, self.path(name)).unwrap();
    }

    fn listing(&self, dir: &str) -> Listing {
        let directory = match dir {
            "" => File::open_root(self.folder.path(), self.root.links()),
            dir => File::open_beneath(&self.root, &CString::new(dir).unwrap()),
        };
        let (root, directory) = (Arc::clone(&self.root), Arc::new(directory.unwrap()));
        Listing::new(root, dir.into(), directory, self.policy.clone())
    }

    fn ask(&self, dir: &str, format: Format, query: &str) -> String {
        let asked = Asked::parse(format, Some(query.as_bytes()));
        String::from_utf8(self.listing(dir).page(&asked).unwrap()).unwrap()
    }

    fn html(&self, dir: &str, query: &str) -> String {
        self.ask(dir, Format::Html, query)
    }

    fn json(&self, dir: &str, query: &str) -> Value {
        serde_json::from_str(&self.ask(dir, Format::Json, query)).unwrap()
    }

    /// The names on the page in JSON, with a slash after those of directories.
    fn names(&self, dir: &str, query: &str) -> Vec<String> {
        let listing = self.json(dir, query);
        let name = |entry: &Value| {
            let end = if entry["type"] == "directory" { "/" } else { "" };
            format!("{}{end}", entry["name"].as_str().unwrap())
        };
        listing["entries"].as_array().unwrap().iter().map(name).collect()
    }
}

/// The references to entries in a page of HTML, unescaped.
fn references(html: &str) -> Vec<String> {
    let entry = |row: &str| Some(row.split_once('"')?.0.replace("&#39;", "'"));
    let rows = html.split("<tr><td><bdi><a href=\"").skip(1);
    rows.map(|row| entry(row).unwrap().replace("&amp;", "&")).collect()
}

/// Resolves a reference in the listing of `dir` to a path below the root.
fn follow(dir: &str, reference: &str) -> Vec<u8> {
    assert!(!reference.contains(':'), "not a scheme");
    let base = target::encode_path(dir.as_bytes());
    let whole = format!("{base}/{reference}");
    let target = target::resolve(whole.as_bytes()).unwrap();
    assert_eq!(target.query(), None);
    assert_eq!(target.directory(), reference.ends_with('/'));
    target.path().to_vec()
}

/// Names with special meaning for browsers, shells, terminals or URLs.
fn hostile() -> Vec<Vec<u8>> {
    let names = "% %2e%2e %zz 100% #fragment ?query=1 -rf --help a:b javascript:alert(1) http: C: \
        back\\slash ..\\.. \"quoted\" 'single' <script>alert(1) <!-- ]]> &amp; &lt a&b=c dots... ~ \
        * {}[]|^` a+b a;b,c @ = $(id) con \u{202e}gpj.exe \u{2066}\u{2069} \u{feff}bom \u{7f} \
        \u{1b}[31m \u{1f600} \u{1f469}\u{200d}\u{1f4bb} e\u{301} 日本語";
    let spaced = [
        "line\nbreak",
        "\r\n",
        "tab\t",
        " leading",
        "trailing  ",
        "...a b",
        "<img src=x onerror=alert(1)>",
        "\" onclick=\"alert(1)",
    ];
    let names = names.split(' ').filter(|name| !name.is_empty()).chain(spaced);
    let mut names: Vec<Vec<u8>> = names.map(|name| name.as_bytes().to_vec()).collect();
    names.push(b"\xff\xfe".to_vec());
    names.push(b"lat\xedn".to_vec());
    names.push(b"\xed\xa0\x80".to_vec());
    names.push(vec![b'n'; 255]);
    names.push(vec![0xff; 255]);
    names.push(vec![b'"'; 255]);
    names
}

#[test]
fn every_reference_resolves_to_its_file() {
    for dir in ["", "in", "in/%20 <&'\">?#"] {
        let mut fixture = Fixture::new();
        fixture.policy.hide_dotfiles = false;
        fixture.directory(dir);
        let mut expected = BTreeSet::new();
        for name in hostile() {
            let path = [dir.as_bytes(), b"/", &name].concat();
            let path = path.strip_prefix(b"/").unwrap_or(&path);
            fixture.file(path, &name);
            expected.insert(path.to_vec());
        }
        let page = fixture.html(dir, "");
        let listed: Vec<Vec<u8>> =
            references(&page).iter().map(|reference| follow(dir, reference)).collect();
        for path in &listed {
            let c_path = CString::new(path.clone()).unwrap();
            let file = File::open_beneath(&fixture.root, &c_path).unwrap();
            let content = fs::read(fixture.path(path)).unwrap();
            assert_eq!(file.metadata().len, content.len() as u64);
            assert!(path.ends_with(&content));
        }
        let of_json = fixture.json(dir, "");
        let of_json = of_json["entries"].as_array().unwrap();
        let of_json: Vec<Vec<u8>> =
            of_json.iter().map(|entry| follow(dir, entry["href"].as_str().unwrap())).collect();
        assert_eq!(of_json, listed);
        assert_eq!(listed.len(), expected.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'));
        assert!(!page.contains(['\u{202e}', '\u{2066}']));
    }
}

/// The body has only elements of the template, and they are properly nested.
#[test]
fn hostile_names_do_not_add_elements() {
    const ELEMENTS: [&str; 17] = [
        "main", "h1", "a", "bdi", "p", "table", "thead", "tr", "th", "tbody", "td", "time", "span",
        "nav", "form", "button", "input",
    ];
    let mut fixture = Fixture::new();
    fixture.policy.page_size = 7;
    // The slash separates two directories.
    let dir = "<b>&\"'\n</title><script>x";
    for name in hostile() {
        fixture.directory([dir.as_bytes(), b"/", &name].concat());
    }
    let pages = fixture.json(dir, "")["pages"].as_u64().unwrap();
    assert_eq!(pages, hostile().iter().filter(|name| name[0] != b'.').count().div_ceil(7) as u64);
    for page in 1..=pages {
        let html = fixture.html(dir, &format!("page={page}"));
        assert!(html.contains("<title>Index of /&lt;b&gt;&amp;&quot;&#39;␊&lt;/title&gt;"));
        let (_, body) = html.split_once("<body>").unwrap();
        let (body, _) = body.split_once("</body>").unwrap();
        let mut open: Vec<&str> = Vec::new();
        for tag in body.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').unwrap();
            assert!(!text.contains(['>', '"', '\'']), "{text}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split(' ').next().unwrap();
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed)),
                // It has no content and no end tag.
                None if name == "input" => {}
                None => open.push(name),
            }
            assert!(ELEMENTS.contains(&name.trim_start_matches('/')), "{name}");
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn hidden_names_special_files_and_broken_links_are_left_out() {
    let mut fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    for name in ["in/.git", "in/.well-known", ".well-known", ".cache", "in/deep"] {
        fixture.directory(name);
    }
    for name in ["in/page.html", "in/page.html.gz", "in/page.html.br", "in/only.gz", ".profile"] {
        fixture.file(name, "12345");
    }
    fixture.link("in/to-file", "page.html");
    fixture.link("in/to-directory", "../in/deep");
    fixture.link("in/dangling", "nowhere");
    fixture.link("in/circle", "circle");
    fixture.link("in/out", outside.path().join("secret"));
    fixture.link("in/up", "../../../../../../../../etc");
    let fifo = CString::new(fixture.path("in/fifo").into_os_string().into_vec()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("in/socket")).unwrap();
    assert_eq!(fixture.names("", ""), [".well-known/", "in/"]);
    let all = [
        "deep/",
        "to-directory/",
        "only.gz",
        "page.html",
        "page.html.br",
        "page.html.gz",
        "to-file",
    ];
    assert_eq!(fixture.names("in", ""), all);
    fixture.policy.hide_sidecars = true;
    let kept = ["deep/", "to-directory/", "only.gz", "page.html", "to-file"];
    for query in ["", "sort=size"] {
        assert_eq!(fixture.names("in", query), kept);
    }
    assert_eq!(fixture.json("in", "")["total"], 5);
    fixture.policy.hide_dotfiles = false;
    let dotted =
        [".git/", ".well-known/", "deep/", "to-directory/", "only.gz", "page.html", "to-file"];
    assert_eq!(fixture.names("in", ""), dotted);
    let link = &fixture.json("in", "")["entries"][6];
    assert_eq!((&link["name"], &link["size"]), (&"to-file".into(), &5.into()));
}

#[test]
fn links_are_listed_if_the_root_allows_to_follow_them() {
    let mut fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    fixture.file("page", "12345");
    fixture.directory("in");
    fixture.link("in/near", "../page");
    fixture.link("in/far", outside.path());
    let table: [(Links, &[&str]); 3] =
        [(Links::Beneath, &["near"]), (Links::Never, &[]), (Links::Follow, &["far/", "near"])];
    for (links, names) in table {
        fixture.root = Arc::new(File::open_root(fixture.folder.path(), links).unwrap());
        assert_eq!(fixture.names("in", ""), names, "{links:?}");
        assert_eq!(fixture.names("in", "sort=time"), names, "{links:?}");
    }
}

#[test]
fn pages_partition_the_entries_in_every_order() {
    let mut fixture = Fixture::new();
    let mut random = fastrand::Rng::with_seed(3);
    for number in 0..37 {
        let name = format!("{}{number}", random.choice(["a", "B", "", "x-"]).unwrap());
        let time = UNIX_EPOCH + Duration::from_secs(random.u64(1..9));
        if random.u8(..4) == 0 {
            fixture.directory(&name);
        } else {
            fixture.file(&name, vec![0; random.usize(..5)]);
        }
        fs::File::open(fixture.path(&name)).unwrap().set_modified(time).unwrap();
    }
    fixture.link("link", "nowhere");
    for sort in ["name", "size", "time"] {
        for order in ["asc", "desc"] {
            let query = format!("sort={sort}&order={order}");
            fixture.policy.page_size = 1000;
            let whole = fixture.names("", &query);
            assert_eq!(whole.len(), 37);
            for size in [0, 1, 2, 7, 36, 37, 38] {
                fixture.policy.page_size = size;
                let pages = 37_usize.div_ceil(size.max(1));
                let mut joined = Vec::new();
                let mut next = Some(query.clone());
                while let Some(query) = next {
                    let listing = fixture.json("", &query);
                    assert_eq!(listing["total"], 37);
                    assert_eq!(listing["pages"], pages);
                    joined.extend(fixture.names("", &query));
                    let follows = |next: &str| next.strip_prefix('?').unwrap().to_owned();
                    next = listing["next"].as_str().map(follows);
                }
                assert_eq!(joined, whole, "{query}, {size} a page");
                let beyond = fixture.json("", &format!("{query}&page=99999"));
                assert_eq!(beyond["page"], pages);
            }
        }
    }
}

#[test]
fn a_truncated_listing_says_so() {
    let mut fixture = Fixture::new();
    for number in 0..10 {
        fixture.file(format!("{number}"), "");
    }
    fixture.policy.entries_max = 10;
    assert_eq!(fixture.json("", "")["truncated"], false);
    assert!(!fixture.html("", "").contains("There are more"));
    fixture.policy.entries_max = 4;
    let listing = fixture.json("", "");
    assert_eq!((&listing["truncated"], &listing["total"]), (&true.into(), &4.into()));
    assert!(fixture.html("", "").contains("There are more: only the first 4 names were read."));
}

#[test]
fn a_page_has_path_order_entries_and_links_to_other_pages() {
    let mut fixture = Fixture::new();
    fixture.directory("a/b c/d");
    for number in 1..=5 {
        fixture.file(format!("a/b c/{number}.txt"), vec![0; 1500]);
        let file = fs::File::open(fixture.path(format!("a/b c/{number}.txt"))).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_709_251_199)).unwrap();
    }
    fixture.policy.page_size = 2;
    let html = fixture.html("a/b c", "sort=size&order=desc&page=2");
    for part in [
        "<!doctype html>\n<html lang=\"en\">",
        "<title>Index of /a/b c/</title>",
        "<h1>Index of <a href=\"../../\" aria-label=\"root\">/</a>\
         <bdi><a href=\"../\">a</a></bdi>/<bdi>b c</bdi>/</h1>",
        "<p>6 entries, page 2 of 3.</p>",
        "<th scope=\"col\"><form><button name=\"sort\" value=\"name\">Name</button></form></th>",
        "<th scope=\"col\" aria-sort=\"descending\">\
         <form><button name=\"sort\" value=\"size\">Size</button></form></th>",
        "<button name=\"sort\" value=\"time\">Modified<span> (UTC)</span></button>",
        "<a href=\"../\">Parent directory</a>",
        "<tr><td><bdi><a href=\"4.txt\">4.txt</a></bdi></td>\
         <td title=\"1,500 bytes\">1.5 kB</td>\
         <td><time datetime=\"2024-02-29T23:59:59Z\">2024-02-29<span> 23:59</span></time></td>\
         </tr>",
        "<a rel=\"prev nofollow\" href=\"?sort=size&amp;order=desc\">Previous</a>",
        "<span>Page 2 of 3</span>",
        "<a rel=\"next nofollow\" href=\"?sort=size&amp;order=desc&amp;page=3\">Next</a>",
    ] {
        assert!(html.contains(part), "{part}\nis not in\n{html}");
    }
    let html = fixture.html("a/b c", "");
    assert!(html.contains("<bdi><a href=\"d/\">d/</a></bdi></td><td></td>"), "{html}");
    assert!(html.contains("<a rel=\"next\" href=\"?page=2\">Next</a>"), "{html}");
    assert!(!html.contains("Previous"));
    let html = fixture.html("", "");
    assert!(html.contains("<h1>Index of /</h1>\n<p>1 entry.</p>"), "{html}");
    assert!(!html.contains("Parent") && !html.contains("<nav"));
    let html = fixture.html("a/b c/d", "");
    assert!(html.contains("<p>Nothing is listed here.</p>"), "{html}");
}

#[test]
fn json_has_the_documented_form() {
    let fixture = Fixture::new();
    fixture.directory("pub/iso");
    fixture.file("pub/a b", "1234567");
    fixture.file(b"pub/\xff", "");
    for name in [&b"iso"[..], b"a b", b"\xff"] {
        let file = fs::File::open(fixture.path([b"pub/", name].concat())).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_767_323_045)).unwrap();
    }
    let before_1970 = UNIX_EPOCH - Duration::from_secs(5);
    fs::File::open(fixture.path(b"pub/\xff")).unwrap().set_modified(before_1970).unwrap();
    let expected = serde_json::json!({
        "path": "/pub/", "page": 1, "pages": 1, "total": 3, "truncated": false,
        "entries": [
            {"name": "iso", "type": "directory", "mtime": "2026-01-02T03:04:05Z", "href": "iso/"},
            {"name": "a b", "type": "file", "size": 7, "mtime": "2026-01-02T03:04:05Z",
             "href": "a%20b"},
            {"name": "\u{fffd}", "type": "file", "size": 0, "href": "%FF"},
        ],
    });
    assert_eq!(fixture.json("pub", ""), expected);
}

/// Contents in memory, prepared for a request.
fn contents<'a>(
    items: impl IntoIterator<Item = ListedEntry<'a>>,
    asked: Asked,
    policy: &Policy,
) -> Contents {
    let mut contents = Contents { entries: listed(items), ..Contents::default() };
    contents.prepare(&asked, policy);
    contents
}

#[test]
fn a_deep_path_has_a_limited_number_of_links() {
    let dir = vec!["d"; 2048].join("/");
    let asked = Asked::new(Format::Html);
    let contents = contents([file("a", 0, (0, 0))], asked, &Policy::default());
    let page = ListingPage::of(dir.as_bytes(), &contents, asked);
    let html = String::from_utf8(html::render(&page)).unwrap();
    assert_eq!(html.matches("<a href=\"../").count(), 1 + 64 + 1);
    assert!(html.len() < 64 * 1024, "{}", html.len());
}

#[test]
fn a_page_of_a_large_directory_has_only_its_entries() {
    let mut random = fastrand::Rng::with_seed(4);
    let names: Vec<String> = (0..100_000).map(|number| format!("File {number}")).collect();
    let mut items: Vec<ListedEntry<'_>> =
        names.iter().map(|name| file(name, random.u64(..), (0, 0))).collect();
    random.shuffle(&mut items);
    let asked = Asked { page: 100, ..Asked::new(Format::Html) };
    let large = contents(items, asked, &Policy::default());
    let page = ListingPage::of(b"", &large, asked);
    assert_eq!((page.pages, page.total, page.items.len()), (100, 100_000, 1000));
    let html = String::from_utf8(html::render(&page)).unwrap();
    assert_eq!(html.matches("<tr><td>").count(), 1000);
    assert!(
        html.contains("Page 100 of 100")
            && html.contains("<p>100,000 entries, page 100 of 100.</p>")
    );
    assert!(html.contains("File 99000<") && html.contains("File 99999<"));
    assert!(!html.contains("File 98999<"));
    // Pages grow if there would be more than can be requested.
    for few in [
        Policy { page_size: 0, ..Policy::default() },
        Policy { page_bytes: 0, ..Policy::default() },
    ] {
        let items = std::iter::repeat_n(file("a", 0, (0, 0)), PAGE_MAX as usize + 1);
        let many = contents(items, asked, &few);
        let page = ListingPage::of(b"", &many, asked);
        assert_eq!((page.pages, page.items.len()), (PAGE_MAX / 2 + 1, 2));
    }
}

#[test]
fn a_page_does_not_depend_on_earlier_requests_for_the_listing() {
    let mut fixture = Fixture::new();
    fixture.policy.page_size = 5;
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..23 {
        match number % 5 {
            0 => fixture.directory(format!("directory {number}")),
            1 => fixture.link(&format!("link {number}"), "file 2"),
            _ => fixture.file(format!("file {number}"), vec![b'x'; random.usize(..4)]),
        }
    }
    for _ in 0..20 {
        let mut listing = fixture.listing("");
        for _ in 0..random.usize(1..15) {
            let sort = random.choice(["name", "size", "time"]).unwrap();
            let order = random.choice(["asc", "desc"]).unwrap();
            let query = format!("sort={sort}&order={order}&page={}", random.u8(1..7));
            let format = if random.bool() { Format::Html } else { Format::Json };
            let page = listing.page(&Asked::parse(format, Some(query.as_bytes()))).unwrap();
            assert_eq!(String::from_utf8(page).unwrap(), fixture.ask("", format, &query));
        }
    }
}

/// Entries that disappear leave no gap, and no entry is listed twice.
#[test]
fn a_listing_is_consistent_while_its_directory_changes() {
    let mut fixture = Fixture::new();
    fixture.policy.page_size = 4;
    for name in ["a", "b", "c", "d", "e", "f"] {
        fixture.file(name, name);
    }
    let mut listing = fixture.listing("");
    let mut names = |query: &str| -> Vec<String> {
        let page = listing.page(&Asked::parse(Format::Json, Some(query.as_bytes()))).unwrap();
        let page: Value = serde_json::from_slice(&page).unwrap();
        let entries = page["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("page=2"), ["e", "f"]);
    fixture.file("g", "g");
    fs::remove_file(fixture.path("b")).unwrap();
    assert_eq!(names(""), ["a", "c", "d"], "b is gone, but pages are not recomputed");
    assert_eq!(names("sort=size&order=desc"), ["f", "e", "d", "c"]);
    assert_eq!(names(""), ["a", "c", "d", "e"]);
    assert_eq!(names("page=2"), ["f"]);
}
