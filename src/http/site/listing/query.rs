//! What is asked of a listing: `?sort=name|size|time&order=asc|desc&page=N`, and the format.
//!
//! A query has no bad form. Unknown parameters and values mean nothing, and of several parameters
//! of one name the first counts. So whatever is asked has one canonical form, which is what links
//! say ([`Asked::reference`]) and what a cache may file the answer under ([`Asked::key`]).

/// The last page that can be asked for, so that a cache does not see endless different questions.
pub const PAGE_MAX: u32 = 200_000;

/// The form of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A page for people, `text/html; charset=utf-8`.
    Html,
    /// An object for programs, `application/json`.
    Json,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Html, Self::Json];

    /// What [`Asked::key`] begins with.
    #[must_use]
    pub const fn initial(self) -> u8 {
        match self {
            Self::Html => b'h',
            Self::Json => b'j',
        }
    }
}

/// What entries are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// The name, in natural order.
    Name,
    /// The length in bytes.
    Size,
    /// The time of the last change of the content.
    Time,
}

impl Sort {
    /// As the query says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Time => "time",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Name, Self::Size, Self::Time].into_iter().find(|sort| sort.name().as_bytes() == name)
    }
}

/// Which end comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The least.
    Ascending,
    /// The greatest.
    Descending,
}

impl Order {
    /// As the query says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Ascending, Self::Descending]
            .into_iter()
            .find(|order| order.name().as_bytes() == name)
    }
}

/// What is asked of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The form of the answer.
    pub format: Format,
    /// What entries are sorted by.
    pub sort: Sort,
    /// Which end comes first.
    pub order: Order,
    /// The page, counted from 1; at most [`PAGE_MAX`].
    pub page: u32,
}

impl Asked {
    /// The first page by name, the least first: what a request without a query asks for.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format, sort: Sort::Name, order: Order::Ascending, page: 1 }
    }

    /// Reads the query of a request, what follows the `?`.
    #[must_use]
    pub fn parse(format: Format, query: Option<&[u8]>) -> Self {
        let query = query.unwrap_or_default();
        let default = Self::new(format);
        let sort = value(query, b"sort").and_then(Sort::from_name);
        let order = value(query, b"order").and_then(Order::from_name);
        let page = value(query, b"page").and_then(page_from);
        Self {
            format,
            sort: sort.unwrap_or(default.sort),
            order: order.unwrap_or(default.order),
            page: page.unwrap_or(default.page),
        }
    }

    /// A few bytes that differ whenever the answers may: digits and lower-case letters.
    #[must_use]
    pub fn key(self) -> Vec<u8> {
        let format = char::from(self.format.initial());
        let initial = |name: &str| name.chars().next().unwrap_or_default();
        let (sort, order) = (initial(self.sort.name()), initial(self.order.name()));
        format!("{format}{sort}{order}{}", self.page).into_bytes()
    }

    /// The relative reference that asks for this, from the listing itself: `?sort=size&page=2`.
    /// What goes without saying is not said; where nothing is left it is `./`.
    #[must_use]
    pub fn reference(self) -> String {
        let mut reference = String::new();
        let mut say = |name: &str, value: &str| {
            reference.push(if reference.is_empty() { '?' } else { '&' });
            reference.extend([name, "=", value]);
        };
        let default = Self::new(self.format);
        if self.sort != default.sort {
            say("sort", self.sort.name());
        }
        if self.order != default.order {
            say("order", self.order.name());
        }
        if self.page != default.page {
            say("page", &self.page.to_string());
        }
        if reference.is_empty() {
            reference.push_str("./");
        }
        reference
    }
}

/// The value of the first parameter of that name.
fn value<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let parameters = query.split(|&byte| byte == b'&');
    let mut values =
        parameters.filter_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="));
    values.next()
}

/// A page's number: decimal digits, at most as many as [`PAGE_MAX`] has.
fn page_from(value: &[u8]) -> Option<u32> {
    if value.len() > 6 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let page = str::from_utf8(value).ok()?.parse().ok()?;
    (1..=PAGE_MAX).contains(&page).then_some(page)
}

/// Fuzz entry: whatever is asked is within bounds, and its canonical form asks for the same.
///
/// # Panics
///
/// If an invariant of [`Asked`] does not hold.
#[doc(hidden)]
pub fn fuzz_listing_query(data: &[u8]) {
    let asked = Asked::parse(Format::Html, Some(data));
    assert!((1..=PAGE_MAX).contains(&asked.page));
    let reference = asked.reference();
    let query = reference.strip_prefix('?').map(str::as_bytes);
    assert_eq!(Asked::parse(Format::Html, query), asked, "{reference}");
    let json = Asked::parse(Format::Json, Some(data));
    assert_eq!(Asked { format: Format::Html, ..json }, asked);
    assert!(asked.key().len() <= 9 && asked.key() != json.key());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_asks(query: &str, sort: Sort, order: Order, page: u32) {
        fuzz_listing_query(query.as_bytes());
        let asked = Asked::parse(Format::Json, Some(query.as_bytes()));
        assert_eq!(asked, Asked { format: Format::Json, sort, order, page }, "{query}");
    }

    #[test]
    fn parameters_are_read_in_any_order() {
        use Order::{Ascending, Descending};
        use Sort::{Name, Size, Time};
        assert_asks("", Name, Ascending, 1);
        assert_asks("sort=size", Size, Ascending, 1);
        assert_asks("sort=time&order=desc&page=7", Time, Descending, 7);
        assert_asks("page=7&&order=desc&x=y&sort=name", Name, Descending, 7);
        assert_asks("page=200000", Name, Ascending, 200_000);
        assert_asks("page=007", Name, Ascending, 7);
    }

    #[test]
    fn what_is_not_understood_means_nothing() {
        use Order::{Ascending, Descending};
        use Sort::{Name, Size};
        for query in [
            "sort",
            "sort=",
            "sort=Size",
            "sort=sizes",
            "sort=%73ize",
            "xsort=size",
            "sort==size",
            "?sort=size",
            "order=descending",
            "order=",
            "page=0",
            "page=-1",
            "page=+2",
            "page= 2",
            "page=200001",
            "page=4294967297",
            "page=99999999999999999999",
            "page=2x",
            "page=",
            "page=0x2",
            "C=N;O=D",
            "\0",
            "=&=",
            "%",
        ] {
            assert_asks(query, Name, Ascending, 1);
        }
        // The first of a name counts, also where it says nothing.
        assert_asks("sort=size&sort=time", Size, Ascending, 1);
        assert_asks("sort=x&sort=time&order=desc", Name, Descending, 1);
        assert_eq!(Asked::parse(Format::Html, None), Asked::new(Format::Html));
    }

    #[test]
    fn references_say_what_is_not_the_default() {
        let reference =
            |query: &str| Asked::parse(Format::Html, Some(query.as_bytes())).reference();
        assert_eq!(reference(""), "./");
        assert_eq!(reference("order=asc&sort=name&page=1&utm=x"), "./");
        assert_eq!(reference("page=2"), "?page=2");
        assert_eq!(reference("page=3&order=desc&sort=time"), "?sort=time&order=desc&page=3");
    }

    #[test]
    fn keys_differ_whenever_the_question_does() {
        let mut keys = std::collections::BTreeSet::new();
        for format in [Format::Html, Format::Json] {
            for sort in [Sort::Name, Sort::Size, Sort::Time] {
                for order in [Order::Ascending, Order::Descending] {
                    for page in [1, 2, 12, PAGE_MAX] {
                        keys.insert(Asked { format, sort, order, page }.key());
                    }
                }
            }
        }
        assert_eq!(keys.len(), 2 * 3 * 2 * 4);
        assert!(keys.iter().flatten().all(u8::is_ascii_alphanumeric));
        assert_eq!(Asked::new(Format::Html).key(), b"hna1");
    }
}
