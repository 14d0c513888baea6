//! Parses the query of a listing: `?sort=name|size|time&order=asc|desc&page=N`.
//!
//! No query is an error. Unknown parameters and values are ignored, and the first of several
//! parameters with the same name counts. Each query has a canonical form, for links
//! ([`Asked::reference`]) and for cache keys ([`Asked::key`]).

/// The last page that can be requested. The limit bounds the number of different cache keys.
pub const PAGE_MAX: u32 = 200_000;

/// The format of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `text/html; charset=utf-8`, for people.
    Html,
    /// `application/json`, for programs.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Html, Self::Json];

    /// The first byte of [`Asked::key`].
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
    /// The modification time.
    Time,
}

impl Sort {
    /// The value of the parameter.
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

/// The direction of sorting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The least entry comes first.
    Ascending,
    /// The greatest entry comes first.
    Descending,
}

impl Order {
    /// The value of the parameter.
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

/// A request for a page of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The format.
    pub format: Format,
    /// What entries are sorted by.
    pub sort: Sort,
    /// The direction of sorting.
    pub order: Order,
    /// The number of the page, from 1 to [`PAGE_MAX`].
    pub page: u32,
}

impl Asked {
    /// The request without a query: the first page, by name, ascending.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format, sort: Sort::Name, order: Order::Ascending, page: 1 }
    }

    /// Parses the query of a request, without the `?`.
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

    /// A short key that differs between all requests: digits and lower-case letters.
    #[must_use]
    pub fn key(self) -> Vec<u8> {
        let format = char::from(self.format.initial());
        let initial = |name: &str| name.chars().next().unwrap_or_default();
        let (sort, order) = (initial(self.sort.name()), initial(self.order.name()));
        format!("{format}{sort}{order}{}", self.page).into_bytes()
    }

    /// The relative reference for this request, from the listing itself: `?sort=size&page=2`.
    /// Defaults are omitted; without any parameter, it is `./`.
    #[must_use]
    pub fn reference(self) -> String {
        let mut reference = String::new();
        let mut push = |name: &str, value: &str| {
            reference.push(if reference.is_empty() { '?' } else { '&' });
            reference.extend([name, "=", value]);
        };
        let default = Self::new(self.format);
        if self.sort != default.sort {
            push("sort", self.sort.name());
        }
        if self.order != default.order {
            push("order", self.order.name());
        }
        if self.page != default.page {
            push("page", &self.page.to_string());
        }
        if reference.is_empty() {
            reference.push_str("./");
        }
        reference
    }
}

/// The value of the first parameter with this name.
fn value<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let parameters = query.split(|&byte| byte == b'&');
    let mut values =
        parameters.filter_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="));
    values.next()
}

/// Parses the number of a page: at most as many digits as [`PAGE_MAX`] has.
fn page_from(value: &[u8]) -> Option<u32> {
    if value.len() > 6 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let page = str::from_utf8(value).ok()?.parse().ok()?;
    (1..=PAGE_MAX).contains(&page).then_some(page)
}

/// Fuzz entry: a parsed query is within its limits, and its canonical form parses to the same.
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
    fn unknown_parameters_and_values_are_ignored() {
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
        // The first parameter with a name counts, even if its value is ignored.
        assert_asks("sort=size&sort=time", Size, Ascending, 1);
        assert_asks("sort=x&sort=time&order=desc", Name, Descending, 1);
        assert_eq!(Asked::parse(Format::Html, None), Asked::new(Format::Html));
    }

    #[test]
    fn references_omit_defaults() {
        let reference =
            |query: &str| Asked::parse(Format::Html, Some(query.as_bytes())).reference();
        assert_eq!(reference(""), "./");
        assert_eq!(reference("order=asc&sort=name&page=1&utm=x"), "./");
        assert_eq!(reference("page=2"), "?page=2");
        assert_eq!(reference("page=3&order=desc&sort=time"), "?sort=time&order=desc&page=3");
    }

    #[test]
    fn different_requests_have_different_keys() {
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
