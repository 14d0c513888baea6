//! What the files say, before it is merged and checked as a whole.

use std::path::PathBuf;

use super::door::DoorDraft;
use super::protocol::ListenerProtocol;
use super::rights::RightsDraft;
use super::setting::{Origin, Settings, Sourced};
use super::source::Place;
use crate::http::site::hosts::HostPattern;
use crate::http::site::rewrites::PathRule;

/// The content of a configuration file and of those that it includes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) server: Settings,
    pub(super) listeners: Vec<ListenerDraft>,
    pub(super) defaults: Settings,
    /// Redirects and rewrites of all sites.
    pub(super) default_rules: Vec<Sourced<PathRule>>,
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
    /// About its clients.
    pub(super) door: DoorDraft,
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
    pub(super) fallback_root: Option<Box<FallbackDraft>>,
    pub(super) settings: Settings,
    /// Redirects and rewrites, in the order of the file.
    pub(super) path_rules: Vec<Sourced<PathRule>>,
    /// Whether the file has hosts, even if they were refused.
    pub(super) has_hosts: bool,
    /// Whether the file has a root, even if it was refused.
    pub(super) has_root: bool,
}

/// A `fallback-root`.
#[derive(Clone, Debug)]
pub(super) struct FallbackDraft {
    pub(super) path: Sourced<PathBuf>,
    pub(super) only: Vec<Sourced<String>>,
}

impl SiteDraft {
    /// The place of a value, or of the heading.
    pub(super) fn place_of(&self, origin: Option<&Origin>) -> Option<Place> {
        origin.and_then(Origin::place).or(self.place.as_ref()).cloned()
    }
}
