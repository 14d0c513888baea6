//! `allow` and `deny`: which clients may come in.

use super::client::Client;
use super::networks::{Network, Networks};

/// Who may come in. The default one admits everybody.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Access {
    /// `None` if all are allowed that are not denied.
    allow: Option<Networks>,
    deny: Networks,
}

impl Access {
    /// Those of `allow` may come in, and all if it is empty; except those of `deny`, which wins.
    pub fn new(
        allow: impl IntoIterator<Item = Network>,
        deny: impl IntoIterator<Item = Network>,
    ) -> Self {
        let allow = Networks::from_iter(allow);
        Self { allow: (!allow.is_empty()).then_some(allow), deny: Networks::from_iter(deny) }
    }

    /// Whether everybody may come in.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// Whether this client may come in. One whose address is not known may not if there are rules:
    /// it could be one of those that are denied.
    #[must_use]
    pub fn admits(&self, client: Client) -> bool {
        if self.is_open() {
            return true;
        }
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(client));
        is_allowed && client != Client::Unknown && !self.deny.contains(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_an_allow_denies_the_rest() {
        let access = |allow: &[&str], deny: &[&str]| {
            let list = |texts: &[&str]| -> Vec<Network> {
                texts.iter().map(|text| text.parse().unwrap()).collect()
            };
            Access::new(list(allow), list(deny))
        };
        let client = |text: &str| match text {
            "unix:" => Client::Unix,
            "-" => Client::Unknown,
            text => Client::Internet(text.parse().unwrap()),
        };
        for (allow, deny, admitted, refused) in [
            (&[][..], &[][..], &["192.0.2.1", "::1", "unix:", "-"][..], &[][..]),
            (&["10.0.0.0/8"], &[], &["10.1.2.3"], &["192.0.2.1", "::1", "unix:", "-"]),
            (&[], &["10.0.0.0/8"], &["192.0.2.1", "::1", "unix:"], &["10.1.2.3", "-"]),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], &["10.2.0.1"], &["10.1.0.1", "11.0.0.1"]),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], &[], &["10.1.0.1"]),
            (&["unix:", "::/0"], &[], &["unix:", "::1"], &["10.0.0.1"]),
        ] {
            let rules = access(allow, deny);
            for (clients, expected) in [(admitted, true), (refused, false)] {
                for text in clients {
                    assert_eq!(rules.admits(client(text)), expected, "{text} {allow:?} {deny:?}");
                }
            }
        }
    }
}
