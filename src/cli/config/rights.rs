//! Who may connect to the Unix sockets of a `[[listen]]`: `mode`, `owner` and `group`.

use super::problem::{Problem, quoted};
use super::reader::{Node, Reader};
use super::setting::{Origin, Sourced};
use crate::server::{Account, ListenSpec, ListenSpecError, UnixOptions};

/// The bits of a mode that mean something for a socket.
const MODE_MAX: u32 = 0o777;

/// The number that `chown(2)` takes for "leave it as it is".
const NO_ACCOUNT: u32 = u32::MAX;

/// The rights as they are written; each is `None` if the default applies.
#[derive(Clone, Debug, Default)]
pub(super) struct RightsDraft {
    mode: Option<Sourced<u32>>,
    owner: Option<Sourced<String>>,
    group: Option<Sourced<String>>,
}

impl RightsDraft {
    /// What is written, as keys and texts with their origins.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, String, &Origin)> {
        let mode = self.mode.iter().map(|it| ("mode", format!("{:04o}", it.value), &it.origin));
        let owner = self.owner.iter().map(|it| ("owner", it.value.clone(), &it.origin));
        let group = self.group.iter().map(|it| ("group", it.value.clone(), &it.origin));
        mode.chain(owner).chain(group)
    }

    /// Gives the rights to a place, if any are written.
    ///
    /// # Errors
    ///
    /// When the place has no rights: see [`ListenSpec::with_options`].
    pub(super) fn apply(&self, place: ListenSpec) -> Result<ListenSpec, ListenSpecError> {
        if self.written().next().is_none() {
            return Ok(place);
        }
        let account = |text: &Sourced<String>| Account::from(&*text.value);
        let mut options = UnixOptions {
            owner: self.owner.as_ref().map(account),
            group: self.group.as_ref().map(account),
            ..UnixOptions::default()
        };
        if let Some(mode) = &self.mode {
            options.mode = mode.value;
        }
        place.with_options(options)
    }
}

impl Reader<'_> {
    /// Reads a key of a `[[listen]]` if it is about rights. Returns whether it is.
    pub(super) fn right(&mut self, name: &str, node: &Node<'_>, rights: &mut RightsDraft) -> bool {
        match name {
            "mode" => rights.mode = self.mode(node),
            "owner" => rights.owner = self.account("owner", "www-data", node),
            "group" => rights.group = self.account("group", "www-data", node),
            _ => return false,
        }
        true
    }

    /// A number is refused, because `mode = 660` would be decimal.
    fn mode(&mut self, node: &Node<'_>) -> Option<Sourced<u32>> {
        let expected = "octal digits in quotation marks, as in mode = \"0660\"";
        if !matches!(node.get_ref(), toml::de::DeValue::String(_)) {
            self.complain_of_type("mode", node, expected);
            return None;
        }
        let Sourced { value, origin } = self.text("mode", node)?;
        let is_octal = value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(&value, 8).ok().filter(|_| is_octal && value.len() <= 4);
        match mode {
            Some(mode) if mode <= MODE_MAX => return Some(Sourced { value: mode, origin }),
            Some(_) => self.complain(
                node.span(),
                format!("`mode` cannot be {}", quoted(&value)),
                "a socket has the modes from \"0000\" to \"0777\"",
            ),
            None => self.complain(
                node.span(),
                format!("`mode` cannot be {}", quoted(&value)),
                format!("write {expected}"),
            ),
        }
        None
    }

    fn account(
        &mut self,
        key: &'static str,
        example: &str,
        node: &Node<'_>,
    ) -> Option<Sourced<String>> {
        let account = self.text(key, node)?;
        let value = &*account.value;
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let wrong = if value.is_empty() || value.contains(['\0', ':', '\n']) {
            format!("write one name or number, as in {key} = \"{example}\"")
        } else if is_number && value.parse::<u32>().is_ok_and(|id| id != NO_ACCOUNT) || !is_number {
            return Some(account);
        } else {
            format!("a number is at most {}", NO_ACCOUNT - 1)
        };
        self.complain(node.span(), format!("`{key}` cannot be {}", quoted(value)), wrong);
        None
    }

    /// Complains if a place of a listener has no rights, but some are written.
    pub(super) fn check_rights(&mut self, addresses: &[Sourced<String>], rights: &RightsDraft) {
        let Some((key, _, origin)) = rights.written().next() else { return };
        for address in addresses {
            // Another problem says that it is no address.
            let Ok(place) = address.value.parse::<ListenSpec>() else { continue };
            if let Err(remedy) = rights.apply(place) {
                let title = format!("`{key}` beside {}", quoted(&address.value));
                let problem = Problem::new(address.origin.place(), title, remedy.to_string());
                self.problems.push(problem.and(origin.place(), "this is for the file of a socket"));
            }
        }
    }
}
