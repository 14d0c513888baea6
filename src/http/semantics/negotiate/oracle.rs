//! A second, naive implementation of negotiation, and fuzz entries that compare both.

use super::{Coding, Codings, MEMBERS_MAX, accepts_html, choose, prefers_json};

/// Fuzz entry: the naive implementation selects the same coding, and it does not matter how the
/// list is split into lines. The first byte says which codings are available; newlines separate the
/// lines.
///
/// # Panics
///
/// If the two differ.
pub fn fuzz_accept_encoding(data: &[u8]) {
    let [available, list @ ..] = data else { return };
    let has = |coding: &Coding| available >> *coding as u8 & 1 != 0;
    let available: Codings = Coding::ALL.into_iter().filter(has).collect();
    let choice = choose(list.split(|byte| *byte == b'\n'), available);
    assert!(choice.is_none_or(|coding| available.contains(coding)));
    let joined = join(list);
    assert_eq!(choice, choose([&joined[..]], available), "{}", list.escape_ascii());
    assert_eq!(choice, naive_choice(&joined, available), "{}", list.escape_ascii());
    assert_eq!(choice, choose([&joined.to_ascii_uppercase()[..]], available));
}

/// Fuzz entry: the naive implementation reads the same preferences from `Accept`, and it does not
/// matter how the list is split into lines. Newlines separate the lines.
///
/// # Panics
///
/// If the two differ.
pub fn fuzz_accept(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n');
    let answers = (prefers_json(lines()), accepts_html(lines()));
    let joined = join(data);
    // The naive implementation does not parse quoted strings. Also, joining the lines would extend
    // an unterminated string into the next line.
    if joined.contains(&b'"') {
        return;
    }
    let upper = joined.to_ascii_uppercase();
    for line in [&joined[..], &upper] {
        let again = (prefers_json([line]), accepts_html([line]));
        assert_eq!(answers, again, "{}", data.escape_ascii());
    }
    let naive = naive_accept(&joined);
    assert_eq!(answers, naive, "{}", data.escape_ascii());
}

/// Joins the lines of a field to one list (RFC 9110 section 5.3).
fn join(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| if *byte == b'\n' { b',' } else { *byte }).collect()
}

/// The members of a list in lower case, each split into its name and its parameters.
///
/// Bytes that are not ASCII become characters that no name contains.
fn members(list: &[u8]) -> Vec<Vec<String>> {
    let text: String = list.iter().map(|byte| char::from(*byte)).collect();
    let blank = [' ', '\t'];
    let pieces = |member: &str| {
        member.split(';').map(|piece| piece.trim_matches(blank).to_ascii_lowercase()).collect()
    };
    text.split(',').take(MEMBERS_MAX).map(pieces).collect()
}

/// The weight in a parameter, if the parameter is a well-formed weight.
fn naive_weight(parameter: &str) -> Option<f64> {
    let value = parameter.strip_prefix("q=")?;
    let plain = value.chars().all(|char| char.is_ascii_digit() || char == '.');
    let dotted = value.len() == 1 || value.find('.') == Some(1);
    let weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    (plain && dotted && value.len() <= 5).then_some(weight)
}

fn naive_token(name: &str) -> bool {
    let others = "!#$%&'*+-.^_`|~";
    let allowed = |char: char| char.is_ascii_alphanumeric() || others.contains(char);
    !name.is_empty() && name.chars().all(allowed)
}

/// Sorts all acceptable codings by weight, and selects the first.
fn naive_choice(list: &[u8], available: Codings) -> Option<Coding> {
    let mut said: Vec<(String, f64)> = Vec::new();
    for member in members(list) {
        let weight = match &member[1..] {
            [] => Some(1.0),
            [parameter] => naive_weight(parameter),
            _ => None,
        };
        said.extend(weight.map(|weight| (member[0].replace("x-gzip", "gzip"), weight)));
    }
    let weight_of = |name: &str| {
        let weights = said.iter().filter(|(said, _)| said == name).map(|(_, weight)| *weight);
        weights.reduce(f64::max)
    };
    let mut ranking: Vec<(f64, Option<Coding>)> = Vec::new();
    for coding in available.iter() {
        let weight = weight_of(coding.name()).or_else(|| weight_of("*"));
        ranking.extend(weight.map(|weight| (weight, Some(coding))));
    }
    ranking.extend(weight_of("identity").map(|weight| (weight, None)));
    ranking.retain(|(weight, _)| *weight > 0.0);
    // The sort is stable: equal weights keep the server's order, with the plain form last.
    ranking.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    ranking.first().and_then(|(_, coding)| *coding)
}

/// A member of `Accept`: the type, whether it has parameters, the weight, the position.
type Naive = (String, bool, f64, usize);

fn naive_accept(list: &[u8]) -> (bool, bool) {
    let mut said: Vec<Naive> = Vec::new();
    'members: for (position, pieces) in members(list).into_iter().enumerate() {
        let Some((family, name)) = pieces[0].split_once('/') else { continue };
        if !naive_token(family) || !naive_token(name) || (family == "*" && name != "*") {
            continue;
        }
        let (mut has_parameters, mut weight) = (false, 1.0);
        for parameter in pieces[1..].iter().filter(|parameter| !parameter.is_empty()) {
            if parameter.starts_with("q=") {
                let Some(stated) = naive_weight(parameter) else { continue 'members };
                weight = stated;
                continue;
            }
            match parameter.split_once('=') {
                Some((key, value)) if naive_token(key) && naive_token(value) => {
                    has_parameters = true;
                }
                _ => continue 'members,
            }
        }
        said.push((pieces[0].clone(), has_parameters, weight, position));
    }
    let json = naive_opinion(&said, "application/json");
    let html = naive_opinion(&said, "text/html");
    let prefers_json = match (json, html) {
        (Some((_, 0.0, _)), _) | (None, _) => false,
        (Some(_), None) => true,
        (Some((near, weight, position)), Some((html_near, html_weight, html_position))) => {
            if weight != html_weight {
                weight > html_weight
            } else if near != html_near {
                near < html_near
            } else {
                position < html_position
            }
        }
    };
    let shows =
        |name| naive_opinion(&said, name).is_some_and(|(step, weight, _)| step < 2 && weight > 0.0);
    (prefers_json, shows("text/html") || shows("application/xhtml+xml"))
}

/// How specific the range that decides about a type is (0 is the most specific), its weight, and
/// its position.
fn naive_opinion(said: &[Naive], media_type: &str) -> Option<(usize, f64, usize)> {
    let family = media_type.split('/').next().unwrap_or("");
    let family = format!("{family}/*");
    let steps = [(media_type, false), (media_type, true), (&family, false), ("*/*", false)];
    for (step, (name, has_parameters)) in steps.into_iter().enumerate() {
        // Parameters of a wildcard range make no difference.
        let is_named = |said: &&Naive| said.0 == name && (step >= 2 || said.1 == has_parameters);
        let mut found: Vec<_> = said.iter().filter(is_named).collect();
        found.sort_by(|one, other| other.2.total_cmp(&one.2));
        if let Some((_, _, weight, position)) = found.first() {
            return Some((step, *weight, *position));
        }
    }
    None
}
