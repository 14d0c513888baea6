//! What a `[[listen]]` knows of proxies, and whom it lets in: `proxy-protocol`, `forwarded`,
//! `trusted`, `allow` and `deny`.

use std::sync::Arc;

use super::problem::{Problem, quoted};
use super::reader::{Node, Reader, is_empty};
use super::setting::{Origin, Sourced};
use crate::clients::{Access, Door, ForwardedField, Network, Networks};

/// The word for what is not used.
const OFF: &str = "off";

/// The values of `proxy-protocol`.
const REQUIRE: &str = "require";

/// The keys as they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct DoorDraft {
    is_proxied: Option<Sourced<bool>>,
    forwarded: Option<Sourced<Option<ForwardedField>>>,
    trusted: Vec<Sourced<Network>>,
    allow: Vec<Sourced<Network>>,
    deny: Vec<Sourced<Network>>,
}

impl DoorDraft {
    /// The texts that are written, as keys and texts with their origins.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &'static str, &Origin)> {
        let proxied = self.is_proxied.iter().map(|it| {
            let text = if it.value { REQUIRE } else { OFF };
            ("proxy-protocol", text, &it.origin)
        });
        let forwarded = self
            .forwarded
            .iter()
            .map(|it| ("forwarded", it.value.map_or(OFF, ForwardedField::name), &it.origin));
        proxied.chain(forwarded)
    }

    /// The lists that are written, by their keys.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&'static str, &[Sourced<Network>])> {
        let lists = [("trusted", &self.trusted), ("allow", &self.allow), ("deny", &self.deny)];
        lists.into_iter().map(|(key, list)| (key, &**list)).filter(|(_, list)| !list.is_empty())
    }

    /// Whether requests have a field that says what clients have used.
    pub(super) fn is_forwarded(&self) -> bool {
        self.forwarded.as_ref().is_some_and(|it| it.value.is_some())
    }

    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.texts().next().is_none() && self.lists().next().is_none()
    }

    /// The settings; `None` if they are the default.
    pub(super) fn door(&self) -> Option<Arc<Door>> {
        let list = |list: &[Sourced<Network>]| -> Vec<Network> {
            list.iter().map(|network| network.value).collect()
        };
        let door = Door {
            is_proxied: self.is_proxied.as_ref().is_some_and(|it| it.value),
            forwarded: self.forwarded.as_ref().and_then(|it| it.value),
            trusted: Networks::from_iter(list(&self.trusted)),
            access: Access::new(list(&self.allow), list(&self.deny)),
        };
        (door != Door::default()).then(|| Arc::new(door))
    }
}

impl Reader<'_> {
    /// Reads a key of a `[[listen]]` if it is about clients. Returns whether it is.
    pub(super) fn door(&mut self, name: &str, node: &Node<'_>, door: &mut DoorDraft) -> bool {
        match name {
            "proxy-protocol" => {
                let values = [(OFF, false), (REQUIRE, true)];
                door.is_proxied = self.word("proxy-protocol", node, &values);
            }
            "forwarded" => {
                let [one, other] = ForwardedField::ALL;
                let values = [(OFF, None), (one.name(), Some(one)), (other.name(), Some(other))];
                door.forwarded = self.word("forwarded", node, &values);
            }
            "trusted" => door.trusted = self.networks("trusted", node),
            "allow" => door.allow = self.networks("allow", node),
            "deny" => door.deny = self.networks("deny", node),
            _ => return false,
        }
        true
    }

    fn word<T: Copy>(
        &mut self,
        key: &'static str,
        node: &Node<'_>,
        values: &[(&str, T)],
    ) -> Option<Sourced<T>> {
        let Sourced { value, origin } = self.text(key, node)?;
        if let Some((_, value)) = values.iter().find(|(word, _)| *word == value) {
            return Some(Sourced { value: *value, origin });
        }
        let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
        let title = format!("`{key}` cannot be {}", quoted(&value));
        self.complain(node.span(), title, format!("it must be one of {}", words.join(", ")));
        None
    }

    fn networks(&mut self, key: &'static str, node: &Node<'_>) -> Vec<Sourced<Network>> {
        let mut networks = Vec::new();
        if key == "allow" && is_empty(node) {
            let remedy = "name those who are allowed, or leave `allow` out for all";
            self.complain(node.span(), "`allow` is empty", remedy);
        }
        for Sourced { value, origin } in self.texts(key, node).unwrap_or_default() {
            match value.parse::<Network>() {
                Ok(value) => networks.push(Sourced { value, origin }),
                Err(error) => {
                    let title = format!("`{key}` cannot have {}", quoted(&value));
                    self.problems.push(Problem::new(origin.place(), title, error.to_string()));
                }
            }
        }
        networks
    }

    /// Complains about keys that do not fit together. `before` are the problems that were known
    /// before the listener was read: a network that is none may be what seems to be missing.
    pub(super) fn check_door(&mut self, door: &DoorDraft, before: usize) {
        if self.problems.len() > before {
            return;
        }
        let is_used = |text: &str| text != OFF;
        let user = door.texts().find(|(_, text, _)| is_used(text));
        let problem = match (user, door.trusted.first()) {
            (Some((key, text, origin)), None) => Problem::new(
                origin.place(),
                format!("`{key} = \"{text}\"` without `trusted`"),
                "everybody can write what proxies write; name the proxies that are believed, as in \
                 trusted = [\"10.0.0.0/8\"]",
            ),
            (None, Some(network)) => Problem::new(
                network.origin.place(),
                "`trusted` has no effect",
                "it is for `proxy-protocol` or `forwarded`; add one of them, or remove it",
            ),
            _ => return,
        };
        self.problems.push(problem);
    }
}
