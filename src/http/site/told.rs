//! Tells the operator why a file is not served.

use std::io;

use super::lookup::{Lookup, LookupOutcome, LookupProgress, Surroundings};
use crate::driver::FileFailure;
use crate::events::EventKind;

impl Surroundings<'_> {
    /// A file of the site exists, or may exist, and the answer is 403.
    pub(super) fn tell_denied(&self, path: &[u8], error: &io::Error) {
        self.http.events.tell(EventKind::FileDenied, || {
            let remedy = match error.raw_os_error() {
                Some(libc::EXDEV) => {
                    "a symbolic link leads out of the root; move its target into the root, or see \
                     --symlinks"
                }
                Some(libc::ELOOP) => {
                    "it is a symbolic link, or beneath one, and those are not followed; see \
                     --symlinks"
                }
                _ => "let the user of the server read it and search the directories above it",
            };
            format!("403 for {}: {error}; {remedy}", self.name(path))
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
                format!("cannot open {}: {error}; {remedy}", name())
            }),
            _ => self.http.events.tell(EventKind::FileFailed, || {
                format!("500 for {}: {error}; check the disk and the file system", name())
            }),
        }
    }

    /// A path beneath the root, and whose it is.
    fn name(&self, path: &[u8]) -> String {
        format!("/{} of site {}", path.escape_ascii(), self.settings.name)
    }
}
