//! What the files say, before it is merged and checked as a whole.

use std::path::PathBuf;

use super::protocol::ListenerProtocol;
use super::rights::RightsDraft;
use super::setting::{Origin, Settings, Sourced};
use super::source::Place;
use crate::http::site::hosts::HostPattern;

/// The content of a configuration file and of those that it includes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) server: Settings,
    pub(super) listeners: Vec<ListenerDraft>,
    pub(super) defaults: Settings,
    pub(super) sites: Vec<SiteDraft>,
    /// Notes for the operator.
    pub(super) notes: Vec<String>,
}

/// A `[[listen]]`.
#[derive(Clone, Debug, Default)]
pub(super) struct ListenerDraft {
    pub(super) name: Option<Sourced<String>>,
    pub(super) addresses: Vec<Sourced<String>>,
    /// `None` for the usual one.
    pub(super) protocol: Option<Sourced<ListenerProtocol>>,
    /// Of its Unix sockets.
    pub(super) rights: RightsDraft,
}

/// A `[[site]]`.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteDraft {
    /// Its heading.
    pub(super) place: Option<Place>,
    pub(super) name: Option<Sourced<String>>,
    pub(super) hosts: Vec<Sourced<HostPattern>>,
    pub(super) is_default: Option<Sourced<bool>>,
    /// `None` for all listeners.
    pub(super) listen: Option<Vec<Sourced<String>>>,
    pub(super) root: Option<Sourced<PathBuf>>,
    pub(super) settings: Settings,
    /// Whether the file has hosts, even if they were refused.
    pub(super) has_hosts: bool,
    /// Whether the file has a root, even if it was refused.
    pub(super) has_root: bool,
}

impl SiteDraft {
    /// The place of a value, or of the heading.
    pub(super) fn place_of(&self, origin: Option<&Origin>) -> Option<Place> {
        origin.and_then(Origin::place).or(self.place.as_ref()).cloned()
    }
}
