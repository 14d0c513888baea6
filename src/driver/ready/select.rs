//! `select(2)`: three sets of bits, one bit for each descriptor that a process may have had in
//! 1983.
//!
//! The kernel keeps nothing between two waits, and overwrites the sets with its answer. So each
//! wait copies them, and afterwards walks all words up to the highest descriptor to find the bits
//! that are left. A bit has no room for a name: a table leads from descriptors to keys.
//!
//! *Cost*: one system call for a wait, whose work grows with the highest descriptor that is
//! watched, by whomever the smaller ones are used. 256 bytes for the sets, 4 KiB for the table.
//!
//! *Limits*: descriptors below [`FD_SETSIZE`], 1024, and that is the number itself, not how many
//! are watched: files that other parts of the process have open count as well. A descriptor
//! beyond is refused, where `FD_SET` would write behind the set. A bit says nothing of how a
//! connection ended; the attempt finds out. It suits programs that run everywhere.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use crate::driver::Limits;
use crate::driver::sys::{self, DescriptorSet, FD_SETSIZE};

#[cfg(test)]
mod tests;

/// The sets, and whose the descriptors in them are.
#[derive(Debug)]
pub struct SelectPoller {
    read: DescriptorSet,
    write: DescriptorSet,
    /// By descriptor; of meaning where a bit is set.
    keys: Box<[u32]>,
    system_calls: u64,
}

impl Poller for SelectPoller {
    const TRIGGER: Trigger = Trigger::Level;
    const FORGETS_CLOSED: bool = false;

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

/// Where a descriptor is in the sets, if there is a place for it.
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
