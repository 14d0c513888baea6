//! Content negotiation: which content coding and which media type a client prefers.
//!
//! [`choose`] selects the coding of a response by `Accept-Encoding` (RFC 9110 section 12.5.3);
//! [`prefers_json`] and [`accepts_html`] read `Accept` (section 12.5.1). Each takes the values of
//! all lines of the field, which together form one list (section 5.3).
//!
//! Malformed members are ignored. If a member occurs twice, the higher weight counts. Only the
//! first [`MEMBERS_MAX`] members are read, including empty ones; no browser sends a quarter as
//! many.

use crate::http::semantics::grammar::{is_token, is_token_or_quoted, split, trim};

#[cfg(any(test, feature = "simulation"))]
mod oracle;
#[cfg(test)]
mod tests;

#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub use oracle::{fuzz_accept, fuzz_accept_encoding};

/// How many members of a list are read.
pub const MEMBERS_MAX: usize = 64;

/// The weight 1 in thousandths, which is the resolution of weights (RFC 9110 section 12.4.2).
const WEIGHT_MAX: u16 = 1000;

/// A content coding in which a compressed file may stand beside the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952; also called `x-gzip` (RFC 9110 section 8.4.1.3).
    Gzip,
}

impl Coding {
    /// All codings, in the server's order of preference, which decides between equal weights.
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

    /// The suffix of file names in this coding.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// The coding of this name in `Accept-Encoding`.
    pub(in crate::http) fn named(name: &[u8]) -> Option<Self> {
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

    /// Removes a coding.
    pub const fn remove(&mut self, coding: Coding) {
        self.0 &= !(1 << coding as u8);
    }

    /// The codings that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a coding is in the set.
    #[must_use]
    pub const fn contains(self, coding: Coding) -> bool {
        self.0 & 1 << coding as u8 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The codings in the set, in the server's order of preference.
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

/// Whether the time of a compressed file, in seconds and nanoseconds, is not before that of the
/// plain file. One that is older belongs to an earlier version.
///
/// `brotli` sets the time of its output to that of its input, but truncates it to seconds. So a
/// time without a fraction may lie anywhere within its second.
#[must_use]
pub fn is_as_new(beside: (i64, u32), plain: (i64, u32)) -> bool {
    let whole_second = beside.1 == 0 && beside.0 == plain.0;
    whole_second || beside >= plain
}

/// Selects the coding of a response from those available; `None` means the plain form.
///
/// `lines` are the values of `Accept-Encoding`. The plain form is sent if there are none, or if no
/// available coding is acceptable; even if the client refuses the plain form as well, because
/// section 12.5.3 prefers that to an error. An accepted coding takes precedence over the plain
/// form, unless the client gives `identity` a higher weight.
pub fn choose<'a>(lines: impl IntoIterator<Item = &'a [u8]>, available: Codings) -> Option<Coding> {
    if available.is_empty() {
        return None;
    }
    CodingWeights::parse(lines).choose(available)
}

/// What a client says about codings.
#[derive(Clone, Copy, Debug)]
pub struct CodingWeights {
    /// By coding; `None` for those that are not named.
    named: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    /// The weight of `*`.
    others: Option<u16>,
}

impl CodingWeights {
    /// Parses the values of `Accept-Encoding`.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut weights = Self { named: [None; Coding::ALL.len()], identity: None, others: None };
        let members = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b','));
        for (name, weight) in members.take(MEMBERS_MAX).filter_map(coding_and_weight) {
            let slot = match Coding::named(name) {
                Some(coding) => &mut weights.named[coding as usize],
                None if name == b"*" => &mut weights.others,
                None if name.eq_ignore_ascii_case(b"identity") => &mut weights.identity,
                None => continue,
            };
            *slot = (*slot).max(Some(weight));
        }
        weights
    }

    /// Selects a coding as [`choose`] does.
    #[must_use]
    pub fn choose(&self, available: Codings) -> Option<Coding> {
        let mut best = None;
        let mut best_weight = 0;
        for coding in available.iter() {
            let weight = self.weight(coding);
            if weight > best_weight {
                (best, best_weight) = (Some(coding), weight);
            }
        }
        best.filter(|_| self.identity.is_none_or(|identity| identity <= best_weight))
    }

    /// Whether the client takes content in this coding; `None` is the plain form.
    #[must_use]
    pub fn accept(&self, coding: Option<Coding>) -> bool {
        match coding {
            Some(coding) => self.weight(coding) > 0,
            None => self.identity.or(self.others) != Some(0),
        }
    }

    fn weight(&self, coding: Coding) -> u16 {
        self.named[coding as usize].or(self.others).unwrap_or(0)
    }
}

/// Parses `codings [ weight ]`; `None` if the member is empty or malformed.
fn coding_and_weight(member: &[u8]) -> Option<(&[u8], u16)> {
    let (name, weight) = match memchr::memchr(b';', member) {
        Some(at) => (&member[..at], weight(trim(&member[at + 1..]))?),
        None => (member, WEIGHT_MAX),
    };
    let name = trim(name);
    is_token(name).then_some((name, weight))
}

/// Parses a weight like `q=0.5` into thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    match parameter {
        [b'q' | b'Q', b'=', value @ ..] => weight_value(value),
        _ => None,
    }
}

/// Parses a `qvalue` (section 12.4.2): at most 1, with at most three digits after the dot.
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

/// How specific a media range is. The most specific one decides (section 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    /// `*/*`.
    All,
    /// `text/*`.
    Family,
    /// `text/html;level=1`. The server has no variants of a type, so this counts as the type if the
    /// list does not have the type itself.
    Variant,
    /// `text/html`.
    Type,
}

/// What `Accept` says about a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opinion {
    closeness: Closeness,
    weight: u16,
    /// The number of the member that decides.
    position: usize,
}

/// Whether a client prefers `application/json` to `text/html`.
///
/// `lines` are the values of `Accept`. The higher weight decides. Between equal weights the more
/// specific range decides, so `application/json, */*` prefers JSON; then the position in the list.
/// A client without a preference gets HTML.
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

/// Whether a request is a navigation, that is, whether it explicitly accepts `text/html` or
/// `application/xhtml+xml`.
///
/// `lines` are the values of `Accept`. Browsers list these types when a user opens a page. For
/// scripts, images and data they do not, though they may send `*/*`.
pub fn accepts_html<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let names = [("text", "html"), ("application", "xhtml+xml")];
    let is_named = |opinion: &Opinion| opinion.closeness >= Closeness::Variant;
    opinions(lines, names).iter().flatten().any(|opinion| is_named(opinion) && opinion.weight > 0)
}

/// What `Accept` says about each of two types.
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
                // The weight may stand between other parameters (section 12.5.1).
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

    /// How specific the range is for a type; `None` if it does not include the type.
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
