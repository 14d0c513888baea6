//! What happens to the names of files, for the simulated watcher: what `inotify(7)` would see.

use std::collections::VecDeque;
use std::sync::Arc;

use super::network::Net;

/// Happenings that wait to be looked at. What is beyond is lost, and that is known.
const LOG_MAX: usize = 4096;

/// Something that has happened. Names are whole ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Happening {
    /// To what a directory has under a name.
    Entry {
        directory: Vec<u8>,
        name: Vec<u8>,
        /// It came, went or is another one.
        moved: bool,
    },
    /// A directory has gone, with the last name beneath it.
    Gone { directory: Vec<u8> },
}

/// All that has happened since somebody looked.
#[derive(Debug)]
pub(super) struct NameLog {
    happenings: VecDeque<Happening>,
    overflowed: bool,
    /// Who sleeps there is told.
    net: Arc<Net>,
}

impl NameLog {
    pub(super) fn new(net: Arc<Net>) -> Self {
        Self { happenings: VecDeque::new(), overflowed: false, net }
    }

    /// Whom to tell that there is more, without the locks that are held while it is written.
    pub(super) fn net(&self) -> Arc<Net> {
        Arc::clone(&self.net)
    }

    /// What has happened since the last time, and whether some of it was lost.
    pub(super) fn take(&mut self) -> (VecDeque<Happening>, bool) {
        (std::mem::take(&mut self.happenings), std::mem::take(&mut self.overflowed))
    }

    /// A file has changed.
    pub(super) fn changed(&mut self, name: &[u8]) {
        self.entry(name, false);
    }

    /// A name is about to come, or to stand for something else. The directories on the way to it
    /// come with it, unless they are there.
    pub(super) fn comes(&mut self, name: &[u8], is_there: impl Fn(&[u8]) -> bool) {
        for directory in directories(name).filter(|directory| !is_there(directory)) {
            self.entry(directory, true);
        }
        self.entry(name, true);
    }

    /// A name has gone, and directories that are not there any more with it.
    pub(super) fn went(&mut self, name: &[u8], is_there: impl Fn(&[u8]) -> bool) {
        self.entry(name, true);
        for directory in directories(name).rev().take_while(|directory| !is_there(directory)) {
            self.push(Happening::Gone { directory: directory.to_vec() });
            self.entry(directory, true);
        }
    }

    fn entry(&mut self, name: &[u8], moved: bool) {
        let (directory, name) = match memchr::memrchr(b'/', name) {
            Some(slash) => (name[..slash].to_vec(), name[slash + 1..].to_vec()),
            None => (Vec::new(), name.to_vec()),
        };
        self.push(Happening::Entry { directory, name, moved });
    }

    fn push(&mut self, happening: Happening) {
        match self.happenings.len() < LOG_MAX {
            true => self.happenings.push_back(happening),
            false => self.overflowed = true,
        }
    }
}

/// The directories on the way to a name, but for the one that is always there.
fn directories(name: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    memchr::memchr_iter(b'/', name).map(|slash| &name[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &mut NameLog) -> Vec<String> {
        let text = |happening| match happening {
            Happening::Entry { directory, name, moved } => {
                let end = if moved { "/" } else { "" };
                format!("{}|{}{end}", directory.escape_ascii(), name.escape_ascii())
            }
            Happening::Gone { directory } => format!("-{}", directory.escape_ascii()),
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
        let (happenings, overflowed) = log.take();
        assert_eq!((happenings.len(), overflowed), (LOG_MAX, true));
        assert_eq!(log.take(), (VecDeque::new(), false));
    }
}
