//! Tells the operator why a file is not served, or not as it should be.

use std::io;

use super::http_settings::HttpSettings;
use super::lookup::{Lookup, LookupOutcome, LookupProgress, Surroundings};
use super::sites::Sites;
use crate::driver::{DenialCause, FileFailure};
use crate::events::{EventKind, EventMessage};
use crate::http::compress::Compressor;

impl Surroundings<'_> {
    /// A file of the site exists, or may exist, and the answer is 403.
    pub(super) fn tell_denied(&self, path: &[u8], error: &io::Error) {
        self.http.events.tell(EventKind::FileDenied, || {
            let remedy = match DenialCause::of(error) {
                DenialCause::Outside => {
                    "a symbolic link leads out of the root; move its target into the root, or see \
                     --symlinks"
                }
                DenialCause::Link => {
                    "it is a symbolic link, or beneath one, and those are not followed; see \
                     --symlinks"
                }
                DenialCause::Rights => {
                    "let the user of the server read it and search the directories above it"
                }
            };
            self.message(format!("403 for {}: {error}; {remedy}", self.name(path)), path, error)
        });
    }

    /// A lookup has taken a step. If that has failed, the answer is an error of the server.
    pub(super) fn tell_failed(&self, lookup: &Lookup, progress: &LookupProgress) {
        let LookupProgress::Done(LookupOutcome::Failed(error)) = progress else { return };
        let name = || self.name(lookup.path());
        match FileFailure::of(error) {
            FileFailure::Busy => {}
            FileFailure::Shortage => self.http.events.tell(EventKind::DescriptorsShort, || {
                let remedy = "raise the limit of descriptors with `ulimit -n`, or lower \
                              --cache-entries";
                let text = format!("cannot open {}: {error}; {remedy}", name());
                self.message(text, lookup.path(), error)
            }),
            _ => self.http.events.tell(EventKind::FileFailed, || {
                let text =
                    format!("500 for {}: {error}; check the disk and the file system", name());
                self.message(text, lookup.path(), error)
            }),
        }
    }

    fn message(&self, text: String, path: &[u8], error: &io::Error) -> EventMessage {
        let path = format!("/{}", path.escape_ascii());
        let message = EventMessage::new(text).with("path", path).with("site", &self.settings.name);
        message.with("error", error)
    }

    /// A path beneath the root, and whose it is.
    fn name(&self, path: &[u8]) -> String {
        format!("/{} of site {}", path.escape_ascii(), self.settings.name)
    }
}

impl HttpSettings {
    /// What compresses files for all workers. It tells why it leaves some out.
    #[must_use]
    pub fn compressor(&self) -> Compressor {
        let (events, bytes) = (self.events.clone(), self.compress.memory_file_max);
        let told = move |error: &io::Error| {
            events.tell(EventKind::Note, || {
                format!(
                    "files whose compressed form is larger than {bytes} bytes are sent plain, \
                     because the system denies files in memory: {error}; let the sandbox allow \
                     memfd_create(2), or raise --memory-file-max"
                )
            });
        };
        Compressor::new(self.compress, Box::new(told))
    }
}

impl Sites {
    /// A connection does not get the pace of the site at this place.
    pub(in crate::http::site) fn tell_pace(&self, place: usize, error: &io::Error) {
        self.settings.events.tell(EventKind::PaceFailed, || {
            let site = &self.site(place).settings.name;
            let text = format!(
                "a connection of site {site} is not limited to its send-rate: {error}; let the \
                 sandbox allow setsockopt(2) with SO_MAX_PACING_RATE"
            );
            EventMessage::new(text).with("site", site).with("error", error)
        });
    }
}
