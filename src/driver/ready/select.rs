//! `select(2)`: sets of bits, with one bit per descriptor.
//!
//! The kernel keeps no state between two waits, and overwrites the sets with its result. So each
//! wait copies the sets, and then scans all words up to the highest descriptor for the bits that
//! are left. A table maps descriptors to keys.
//!
//! *Cost*: one system call per wait, whose work grows with the highest watched descriptor, even if
//! the lower ones are not watched. 256 bytes for the sets, 4 KiB for the table.
//!
//! *Limits*: descriptors below [`FD_SETSIZE`], 1024. This bounds the number of the descriptor, not
//! how many are watched: files that other parts of the process have open count as well. A higher
//! descriptor is refused; `FD_SET` would write past the end of the set. A bit does not show how a
//! connection ended; the next attempt finds out. It suits programs that must run everywhere.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use crate::driver::Limits;
use crate::driver::sys::{self, DescriptorSet, FD_SETSIZE};

#[cfg(test)]
mod tests;

/// The sets, and the keys of the descriptors in them.
#[derive(Debug)]
pub struct SelectPoller {
    read: DescriptorSet,
    write: DescriptorSet,
    /// By descriptor; valid where a bit is set.
    keys: Box<[u32]>,
    system_calls: u64,
}

impl Poller for SelectPoller {
    const TRIGGER: Trigger = Trigger::Level;
    const FORGETS_CLOSED: bool = false;
    const CALLS: (&'static str, &'static str) = ("pselect6", "pselect6");

    fn open(_limits: &Limits) -> io::Result<Self> {
        let (read, write) = (DescriptorSet::default(), DescriptorSet::default());
        Ok(Self { read, write, keys: vec![0; FD_SETSIZE].into_boxed_slice(), system_calls: 0 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        let index = index(fd)?;
        self.keys[index] = key;
        self.set(index, want);
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, _key: u32, want: Interest) -> io::Result<()> {
        self.set(index(fd)?, want);
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, _key: u32) -> io::Result<()> {
        self.set(index(fd)?, Interest::NONE);
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        let (mut readable, mut writable) = (self.read, self.write);
        self.system_calls += 1;
        sys::select(&mut readable, &mut writable, timeout)?;
        out.extend(readable.union(&writable).iter().map(|index| Event {
            key: self.keys[index],
            readable: readable.contains(index),
            writable: writable.contains(index),
            hangup: false,
        }));
        Ok(())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

impl SelectPoller {
    fn set(&mut self, index: usize, want: Interest) {
        self.read.set(index, want.read);
        self.write.set(index, want.write);
    }
}

/// The index of a descriptor in the sets; an error if it is too high.
fn index(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let number = fd.as_raw_fd();
    match usize::try_from(number) {
        Ok(index) if index < FD_SETSIZE => Ok(index),
        _ => Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            format!(
                "select(2) cannot watch descriptor {number}: its sets end at {FD_SETSIZE}; \
                 use --driver poll or epoll"
            ),
        )),
    }
}
