//! `_redirects`: one rule a line, `FROM [QUERY ...] TO [STATUS] [CONDITION ...]`.

use super::super::rewrites::{PathRule, PathRuleError, REDIRECT_STATUSES, REWRITE_STATUSES};
use super::{HostingService, LeftOut, lines};

/// The rules of a file with the numbers of their lines, and what is left out.
#[must_use]
pub fn parse_redirects(
    text: &str,
    service: HostingService,
) -> (Vec<(usize, PathRule)>, Vec<LeftOut>) {
    let (mut rules, mut left_out) = (Vec::new(), Vec::new());
    for (number, line) in lines(text) {
        match rule(line, service) {
            Ok(rule) => rules.push((number, rule)),
            Err(why) => left_out.push(LeftOut::new(number, line, why)),
        }
    }
    (rules, left_out)
}

/// The parts of a line.
struct Parts<'a> {
    from: &'a str,
    to: &'a str,
    /// The code, and whether it has an exclamation mark.
    status: Option<(u16, bool)>,
}

fn rule(line: &str, service: HostingService) -> Result<PathRule, String> {
    let words: Vec<&str> =
        line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    let Parts { from, to, status } = parts(&words, service)?;
    if is_url(from) {
        return Err("a rule is for one site; write the path alone, and give the host a site of \
                    its own"
            .to_owned());
    }
    let default = match service {
        HostingService::Netlify => 301,
        HostingService::Cloudflare => 302,
    };
    let (code, is_forced) = status.unwrap_or((default, false));
    let rule = match service {
        HostingService::Netlify => netlify(from, to, code, is_forced),
        HostingService::Cloudflare if is_forced => {
            return Err("! belongs to Netlify; leave it out".to_owned());
        }
        HostingService::Cloudflare => cloudflare(from, to, code),
    };
    rule.map_err(|error| {
        error.to_string().replace("`from`", "the path").replace("`to`", "the destination")
    })
}

/// The first rule that matches decides, whether it applies before files or after them.
fn netlify(from: &str, to: &str, code: u16, is_forced: bool) -> Result<PathRule, PathRuleError> {
    let rule = match REWRITE_STATUSES.contains(&code) {
        true => PathRule::rewrite(from, to, Some(code), Some(is_forced), None),
        false => PathRule::redirect(from, to, Some(code), Some(is_forced)),
    };
    rule.map(PathRule::in_order)
}

/// Rules apply before files. Cloudflare ignores `/* /index.html 200`, because it leads to itself;
/// here such a rule applies after files, as its author means it.
fn cloudflare(from: &str, to: &str, code: u16) -> Result<PathRule, PathRuleError> {
    if code != 200 {
        // Other services have rewrites with an error status; this one has not.
        let is_redirect = REDIRECT_STATUSES.contains(&code);
        let code = if is_redirect { Ok(code) } else { Err(PathRuleError::RedirectStatus(code)) };
        return PathRule::redirect(from, to, Some(code?), Some(true));
    }
    let rule = PathRule::rewrite(from, to, None, Some(true), None)?;
    match rule.matches_its_destination() {
        true => PathRule::rewrite(from, to, None, Some(false), None),
        false => Ok(rule),
    }
}

fn parts<'a>(words: &[&'a str], service: HostingService) -> Result<Parts<'a>, String> {
    let Some((from, rest)) = words.split_first() else {
        return Err("the line is empty".to_owned());
    };
    let Some(at) = rest.iter().position(|word| word.starts_with('/') || is_url(word)) else {
        return Err("there is no destination; write a path that begins with a slash, or an \
                    address with https://"
            .to_owned());
    };
    if at > 0 {
        return Err(match rest[..at].iter().all(|word| word.contains('=')) {
            true => "ringd has no conditions on the query; leave it out".to_owned(),
            false => format!("{} is no destination; it begins with a slash", rest[0]),
        });
    }
    let (to, rest) = (rest[at], &rest[at + 1..]);
    let (status, rest) = match rest.split_first().map(|(word, rest)| (status(word), rest)) {
        Some((Some(status), rest)) => (Some(status), rest),
        _ => (None, rest),
    };
    match rest.first() {
        None => Ok(Parts { from, to, status }),
        Some(condition) if condition.contains('=') && service == HostingService::Netlify => {
            let name = condition.split('=').next().unwrap_or_default();
            Err(format!("ringd has no condition {name}=; without it, the rule would be for all"))
        }
        Some(word) => Err(format!("{word} is no status; write a number such as 301")),
    }
}

/// A status code, and whether it has an exclamation mark.
fn status(word: &str) -> Option<(u16, bool)> {
    let digits = word.strip_suffix('!').unwrap_or(word);
    let is_code = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| is_code)?, digits.len() < word.len()))
}

fn is_url(word: &str) -> bool {
    let starts = |scheme: &str| {
        word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts("http://") || starts("https://")
}
