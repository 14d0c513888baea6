//! The fuzz entry of rules for paths.

use std::sync::LazyLock;

use super::super::target::{self, Target};
use super::{PathRule, PathRules, RulePhase, RuleUse};

/// Rules whose captures stand wherever an address has captures.
const RULES: [(&str, &str); 9] = [
    ("/a/*", "/:splat"),
    ("/b/*", "/:splat/x"),
    ("/c/:one/:two", "/:one:two"),
    ("/d/:one/*", "/x/:splat/:one?q=:splat&r=:one"),
    ("/e/*", "https://example.com/:splat"),
    ("/f/:one/*", "https://example.com/:one:splat#end"),
    ("/g/*", "/.well-known/:splat"),
    ("/h/:one/*", "/x.:one/y.:splat"),
    ("/:first/*", "/z/:first-:splat"),
];

/// Fuzz entry: whatever a target captures, an address has no other host than the written one, and
/// only bytes that an address may have. The first line of the input is a pattern, the second one a
/// destination, and the rest a target; that target is used with fixed rules too.
///
/// # Panics
///
/// If a capture becomes anything else than a part of a path or of a query.
pub fn fuzz_rewrite(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let raw = parts.next().unwrap_or(data);
    let Ok(target) = target::resolve(raw) else { return };
    FIXED.iter().for_each(|rules| check(rules, &target));
    if let (Ok(from), Ok(to)) = (str::from_utf8(from), str::from_utf8(to)) {
        rules_of(from, to).iter().for_each(|rules| check(rules, &target));
    }
}

/// Made once, because this takes longer than their use.
static FIXED: LazyLock<Vec<PathRules>> =
    LazyLock::new(|| RULES.iter().flat_map(|(from, to)| rules_of(from, to)).collect());

/// All rules of a pattern and a destination, each for itself.
fn rules_of(from: &str, to: &str) -> Vec<PathRules> {
    let force = [None, Some(true), Some(false)];
    let redirects = force.iter().map(|force| PathRule::redirect(from, to, None, *force));
    let rewrites = force.iter().map(|force| PathRule::rewrite(from, to, None, *force, None));
    let alone = |rule| PathRules::new(vec![rule]).expect("one rule is not too many");
    redirects.chain(rewrites).flatten().filter_map(alone).collect()
}

/// Checks what a rule makes of a target.
fn check(rules: &PathRules, target: &Target<'_>) {
    let to = rules.rules()[0].to().to_owned();
    for phase in [RulePhase::BeforeFiles, RulePhase::AfterFiles] {
        let address = match rules.find(phase, target) {
            None => continue,
            Some(RuleUse::Redirect { location, .. }) => location,
            Some(RuleUse::Rewrite { target: rewritten, .. }) => {
                // It leads above no root; whether the name is served is decided later.
                let resolved = target::resolve(rewritten.as_bytes());
                assert!(resolved != Err(target::Unresolvable::Bad), "{rewritten}");
                rewritten
            }
        };
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        let own = address.split('?').next().unwrap_or_default();
        assert!(own.bytes().all(fits), "{address:?}");
        assert!(address.bytes().all(|byte| byte.is_ascii_graphic()), "{address:?}");
        match to.starts_with('/') {
            true => assert!(own.starts_with('/') && !own.starts_with("//"), "{address:?}"),
            // The host ends where the path begins, and it is the written one.
            false => {
                let end = to[8..].find(['/', '?', '#']).map_or(to.len(), |at| 8 + at);
                let rest = address.strip_prefix(&to[..end]);
                let rest = rest.unwrap_or_else(|| panic!("{address:?} is elsewhere"));
                assert!(rest.starts_with('/'), "{address:?}");
            }
        }
    }
}
