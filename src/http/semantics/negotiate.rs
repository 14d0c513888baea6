//! What a client would rather have: content codings and media types, by weight.
//!
//! [`choose`] picks the coding of an answer from `Accept-Encoding` (RFC 9110 section 12.5.3),
//! [`prefers_json`] and [`accepts_html`] read `Accept` (section 12.5.1). All of them take the
//! values of a field, one for each line: a list means the same on one line or on several (section
//! 5.3).
//!
//! A member that breaks the grammar is passed over, and the others count. Of a member that is
//! said twice, the higher weight counts. The first [`MEMBERS_MAX`] members are read, empty ones
//! included; no browser sends a quarter of that.

use crate::http::semantics::grammar::{is_token, is_token_or_quoted, split, trim};

mod oracle;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use oracle::{fuzz_accept, fuzz_accept_encoding};

/// Members of a list that are read.
pub const MEMBERS_MAX: usize = 64;

/// A weight of 1, in thousandths: no weight is finer (RFC 9110 section 12.4.2).
const WEIGHT_MAX: u16 = 1000;

/// A content coding that a file may be kept in, beside its plain form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952; `x-gzip` is the same (RFC 9110 section 8.4.1.3).
    Gzip,
}

impl Coding {
    /// In our order of preference, which decides between codings that the client likes the same.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The name in `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What follows the name of a file that is kept in this coding.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// The coding that a client calls so.
    fn named(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        let is_it = |coding: &Self| name.eq_ignore_ascii_case(coding.name().as_bytes());
        Self::ALL.into_iter().find(is_it)
    }
}

/// A set of codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Codings(u8);

impl Codings {
    /// No coding.
    pub const NONE: Self = Self(0);

    /// Adds a coding.
    pub const fn insert(&mut self, coding: Coding) {
        self.0 |= 1 << coding as u8;
    }

    /// Whether a coding is in the set.
    #[must_use]
    pub const fn contains(self, coding: Coding) -> bool {
        self.0 & 1 << coding as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The codings in the set, in our order of preference.
    pub fn iter(self) -> impl Iterator<Item = Coding> {
        Coding::ALL.into_iter().filter(move |coding| self.contains(*coding))
    }
}

impl FromIterator<Coding> for Codings {
    fn from_iter<I: IntoIterator<Item = Coding>>(codings: I) -> Self {
        let mut set = Self::NONE;
        codings.into_iter().for_each(|coding| set.insert(coding));
        set
    }
}

/// The coding of an answer, of those that are available, or `None` for the plain form.
///
/// `lines` are the values of `Accept-Encoding`. Without one, and where nothing that is available
/// is acceptable, the answer is plain, even to a client that refuses that too: section 12.5.3
/// prefers it to an error. A coding that is accepted wins over the plain form, unless the client
/// gives `identity` itself a higher weight.
pub fn choose<'a>(lines: impl IntoIterator<Item = &'a [u8]>, available: Codings) -> Option<Coding> {
    if available.is_empty() {
        return None;
    }
    let mut weights = [None; Coding::ALL.len()];
    let mut identity = None;
    let mut others = None;
    let members = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b','));
    for (name, weight) in members.take(MEMBERS_MAX).filter_map(coding_and_weight) {
        let slot = match Coding::named(name) {
            Some(coding) => &mut weights[coding as usize],
            None if name == b"*" => &mut others,
            None if name.eq_ignore_ascii_case(b"identity") => &mut identity,
            None => continue,
        };
        *slot = (*slot).max(Some(weight));
    }
    let mut best = None;
    let mut best_weight = 0;
    for coding in available.iter() {
        let weight = weights[coding as usize].or(others).unwrap_or(0);
        if weight > best_weight {
            (best, best_weight) = (Some(coding), weight);
        }
    }
    best.filter(|_| identity.is_none_or(|identity| identity <= best_weight))
}

/// `codings [ weight ]`; empty members are none.
fn coding_and_weight(member: &[u8]) -> Option<(&[u8], u16)> {
    let (name, weight) = match memchr::memchr(b';', member) {
        Some(at) => (&member[..at], weight(trim(&member[at + 1..]))?),
        None => (member, WEIGHT_MAX),
    };
    let name = trim(name);
    is_token(name).then_some((name, weight))
}

/// `q=0.5`, in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    match parameter {
        [b'q' | b'Q', b'=', value @ ..] => weight_value(value),
        _ => None,
    }
}

/// The `qvalue` of section 12.4.2: at most three digits behind the dot, and nothing above 1.
fn weight_value(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', digits @ ..] => (*whole, digits),
        _ => return None,
    };
    if digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let places = digits.iter().zip([100, 10, 1]);
    let fraction = places.map(|(digit, place)| u16::from(digit - b'0') * place).sum();
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(WEIGHT_MAX),
        _ => None,
    }
}

/// How closely a range of media types names a type. The closest one decides (section 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    /// `*/*`.
    All,
    /// `text/*`.
    Family,
    /// `text/html;level=1`. Our answers come in one variant of a type, so such a range stands
    /// for the type where the type alone is not named.
    Variant,
    /// `text/html`.
    Type,
}

/// What a client thinks of a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opinion {
    closeness: Closeness,
    weight: u16,
    /// Which member of the list says so.
    position: usize,
}

/// Whether a client would rather have `application/json` than `text/html`.
///
/// `lines` are the values of `Accept`. The higher weight decides; then the closer name, so that
/// `application/json, */*` asks for JSON; then which comes first. A client that does not care
/// gets HTML.
pub fn prefers_json<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let [json, html] = opinions(lines, [("application", "json"), ("text", "html")]);
    match (json, html) {
        (Some(json), Some(html)) => {
            let rank = |opinion: Opinion| (opinion.weight, opinion.closeness);
            json.weight > 0 && (rank(json), html.position) > (rank(html), json.position)
        }
        (Some(json), None) => json.weight > 0,
        (None, _) => false,
    }
}

/// Whether a client asks for a page to show: it names `text/html` or `application/xhtml+xml`.
///
/// `lines` are the values of `Accept`. Browsers name them when a person goes somewhere, and send
/// `*/*` at most for the parts of a page.
pub fn accepts_html<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let names = [("text", "html"), ("application", "xhtml+xml")];
    let is_named = |opinion: &Opinion| opinion.closeness >= Closeness::Variant;
    opinions(lines, names).iter().flatten().any(|opinion| is_named(opinion) && opinion.weight > 0)
}

/// What `Accept` says of two types.
fn opinions<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    types: [(&str, &str); 2],
) -> [Option<Opinion>; 2] {
    let mut opinions = [None::<Opinion>; 2];
    let members = lines.into_iter().flat_map(|line| split(line, b','));
    for (position, member) in members.take(MEMBERS_MAX).enumerate() {
        let Some(range) = MediaRange::parse(member) else { continue };
        for (opinion, media_type) in opinions.iter_mut().zip(types) {
            let Some(closeness) = range.closeness(media_type) else { continue };
            let weight = range.weight;
            if opinion.is_none_or(|old| (closeness, weight) > (old.closeness, old.weight)) {
                *opinion = Some(Opinion { closeness, weight, position });
            }
        }
    }
    opinions
}

/// A member of `Accept`.
struct MediaRange<'a> {
    family: &'a [u8],
    name: &'a [u8],
    has_parameters: bool,
    weight: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(member: &'a [u8]) -> Option<Self> {
        let mut pieces = split(member, b';');
        let media_type = pieces.next()?;
        let slash = memchr::memchr(b'/', media_type)?;
        let (family, name) = (&media_type[..slash], &media_type[slash + 1..]);
        if !is_token(family) || !is_token(name) || (family == b"*" && name != b"*") {
            return None;
        }
        let mut range = Self { family, name, has_parameters: false, weight: WEIGHT_MAX };
        for parameter in pieces {
            let equals = memchr::memchr(b'=', parameter);
            match (parameter, equals) {
                // Parameters may be empty (section 5.6.6).
                ([], _) => {}
                // The weight, wherever it stands (section 12.5.1).
                ([b'q' | b'Q', b'=', value @ ..], _) => range.weight = weight_value(value)?,
                (_, Some(at)) => {
                    let (key, value) = (&parameter[..at], &parameter[at + 1..]);
                    if !is_token(key) || !is_token_or_quoted(value) {
                        return None;
                    }
                    range.has_parameters = true;
                }
                (_, None) => return None,
            }
        }
        Some(range)
    }

    /// How closely the range names a type, if it does.
    fn closeness(&self, (family, name): (&str, &str)) -> Option<Closeness> {
        if self.family == b"*" {
            Some(Closeness::All)
        } else if !self.family.eq_ignore_ascii_case(family.as_bytes()) {
            None
        } else if self.name == b"*" {
            Some(Closeness::Family)
        } else if !self.name.eq_ignore_ascii_case(name.as_bytes()) {
            None
        } else if self.has_parameters {
            Some(Closeness::Variant)
        } else {
            Some(Closeness::Type)
        }
    }
}
