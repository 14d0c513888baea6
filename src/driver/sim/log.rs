//! The log of changes to files and names, for the simulated watcher: the events of `inotify(7)`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::network::Net;

/// The capacity of the log. Events beyond it are lost, and the log records that.
const LOG_MAX: usize = 4096;

/// An event. Directories have their full names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NameEvent {
    /// An entry of a directory changed.
    Entry {
        directory: Vec<u8>,
        name: Vec<u8>,
        /// The entry was created, removed or replaced, not only its content changed.
        moved: bool,
    },
    /// A directory ceased to exist, with the last name beneath it.
    Gone { directory: Vec<u8> },
}

/// The events since the last [`NameLog::take`].
#[derive(Debug)]
pub(super) struct NameLog {
    events: VecDeque<NameEvent>,
    overflowed: bool,
    /// To be notified of new events.
    net: Arc<Net>,
}

impl NameLog {
    pub(super) fn new(net: Arc<Net>) -> Self {
        Self { events: VecDeque::new(), overflowed: false, net }
    }

    /// The network to notify of new events, after the lock of the files is released.
    pub(super) fn net(&self) -> Arc<Net> {
        Arc::clone(&self.net)
    }

    /// Takes the events since the last call. Returns also whether events were lost.
    pub(super) fn take(&mut self) -> (VecDeque<NameEvent>, bool) {
        (std::mem::take(&mut self.events), std::mem::take(&mut self.overflowed))
    }

    /// Logs that the content of a file changed.
    pub(super) fn changed(&mut self, name: &[u8]) {
        self.entry(name, false);
    }

    /// Logs that a name is about to be created or replaced, and with it the directories on its path
    /// that do not exist yet.
    pub(super) fn comes(&mut self, name: &[u8], is_there: impl Fn(&[u8]) -> bool) {
        for directory in directories(name).filter(|directory| !is_there(directory)) {
            self.entry(directory, true);
        }
        self.entry(name, true);
    }

    /// Logs that a name was removed, and with it the directories on its path that ceased to exist.
    pub(super) fn went(&mut self, name: &[u8], is_there: impl Fn(&[u8]) -> bool) {
        self.entry(name, true);
        for directory in directories(name).rev().take_while(|directory| !is_there(directory)) {
            self.push(NameEvent::Gone { directory: directory.to_vec() });
            self.entry(directory, true);
        }
    }

    fn entry(&mut self, name: &[u8], moved: bool) {
        let (directory, name) = match memchr::memrchr(b'/', name) {
            Some(slash) => (name[..slash].to_vec(), name[slash + 1..].to_vec()),
            None => (Vec::new(), name.to_vec()),
        };
        self.push(NameEvent::Entry { directory, name, moved });
    }

    fn push(&mut self, event: NameEvent) {
        match self.events.len() < LOG_MAX {
            true => self.events.push_back(event),
            false => self.overflowed = true,
        }
    }
}

/// The directories on the path to a name, except the root.
fn directories(name: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    memchr::memchr_iter(b'/', name).map(|slash| &name[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &mut NameLog) -> Vec<String> {
        let text = |event| match event {
            NameEvent::Entry { directory, name, moved } => {
                let end = if moved { "/" } else { "" };
                format!("{}|{}{end}", directory.escape_ascii(), name.escape_ascii())
            }
            NameEvent::Gone { directory } => format!("-{}", directory.escape_ascii()),
        };
        log.take().0.into_iter().map(text).collect()
    }

    #[test]
    fn directories_come_and_go_with_names() {
        let mut log = NameLog::new(Net::new());
        log.comes(b"a/b/c/file", |directory| directory == b"a");
        assert_eq!(text(&mut log), ["a|b/", "a/b|c/", "a/b/c|file/"]);
        log.went(b"a/b/c/file", |directory| directory == b"a" || directory == b"a/b");
        assert_eq!(text(&mut log), ["a/b/c|file/", "-a/b/c", "a/b|c/"]);
        log.changed(b"file");
        assert_eq!(text(&mut log), ["|file"]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "it fills the log")]
    fn a_log_is_bounded() {
        let mut log = NameLog::new(Net::new());
        (0..=LOG_MAX).for_each(|_| log.changed(b"file"));
        let (events, overflowed) = log.take();
        assert_eq!((events.len(), overflowed), (LOG_MAX, true));
        assert_eq!(log.take(), (VecDeque::new(), false));
    }
}
