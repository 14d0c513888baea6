//! What an event says.

use std::fmt::Display;

/// A sentence for people, and the values in it for programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventMessage {
    pub(super) text: String,
    /// For lines of JSON.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl EventMessage {
    /// A sentence without values. It may have several lines.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), fields: Vec::new() }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
}

impl From<String> for EventMessage {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for EventMessage {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
