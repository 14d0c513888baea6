//! The provided-buffer ring: free receive buffers, from which the kernel picks.
//!
//! The ring is an array that kernel and driver share. The driver writes a buffer's address and
//! number at the tail and publishes the tail; the kernel takes from the head and names the buffer
//! in the completion. Buffers that come back with a dropped lease are published once per turn.
//!
//! Invariant: `with_kernel` buffers lie between head and tail. There are never more of them than
//! entries, or the driver would overwrite entries that the kernel has not read. The [`Pool`] knows
//! which buffers they are.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::super::pool::{Lease, Pool};

/// The number by which receives refer to this group of buffers.
pub(super) const GROUP: u16 = 0;

/// A page-aligned array of buffer entries, registered with the kernel.
pub(super) struct BufferRing {
    pool: Rc<Pool>,
    entries: NonNull<BufRingEntry>,
    bytes: usize,
    mask: u16,
    tail: u16,
    /// Buffers that are published and not yet named in a completion.
    with_kernel: u16,
}

impl BufferRing {
    /// Registers a ring for all buffers of `pool`, whose count must be a power of two.
    pub(super) fn register(submitter: &Submitter<'_>, pool: &Rc<Pool>) -> io::Result<Self> {
        let count = pool.count();
        assert!(count.is_power_of_two(), "the number of buffers is not a power of two");
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
        // memory that is in use.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(address.cast()).expect("a mapping is never at address 0");
        let ring = Self {
            pool: Rc::clone(pool),
            entries,
            bytes,
            mask: count - 1,
            tail: 0,
            with_kernel: 0,
        };
        // SAFETY: the mapping is page-aligned, has room for `count` entries, and is unmapped only
        // after the ring with which it is registered is closed (see `Drop`).
        unsafe { submitter.register_buf_ring_with_flags(address as u64, count, GROUP, 0) }?;
        Ok(ring)
    }

    /// Gives the kernel all buffers that came back; returns how many it has to pick from.
    pub(super) fn publish(&mut self) -> usize {
        let before = self.tail;
        let (pool, entries, mask) = (Rc::clone(&self.pool), self.entries, self.mask);
        pool.drain_free(|buffer| {
            // SAFETY: the index is masked to the number of entries of the mapping.
            let entry = unsafe { entries.add(usize::from(self.tail & mask)) };
            // SAFETY: the entry lies behind the published tail, so the kernel does not read it
            // now. The three fields are written one by one because the ring's tail lives in the
            // fourth field of the first entry.
            let entry = unsafe { &mut *entry.as_ptr() };
            entry.set_addr(pool.address(buffer) as u64);
            entry.set_len(pool.buffer_bytes() as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        });
        let published = self.tail.wrapping_sub(before);
        if published == 0 {
            return usize::from(self.with_kernel);
        }
        self.with_kernel += published;
        assert!(
            self.with_kernel <= self.pool.count(),
            "the kernel has more buffers than there are"
        );
        // SAFETY: `entries` is the base of the ring, and its first entry is initialised.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is a 16-bit field of the mapping that the driver alone writes; the
        // kernel reads it with acquire order.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
        usize::from(self.with_kernel)
    }

    /// The lease of a buffer that a completion names.
    ///
    /// # Safety
    ///
    /// `buffer` comes from a completion of a receive of [`GROUP`], and is passed here once.
    pub(super) unsafe fn lease(&mut self, buffer: u16, len: usize) -> Lease {
        assert!(self.with_kernel > 0, "the kernel names buffer {buffer}, but has none");
        self.with_kernel -= 1;
        // SAFETY: the kernel names only buffers that were published, and no longer owns this one.
        unsafe { self.pool.adopt(buffer, len) }
    }
}

impl BufferRing {
    /// Buffers that are lent in leases.
    pub(super) fn leased(&self) -> usize {
        let with_driver = usize::from(self.pool.count() - self.with_kernel);
        assert!(self.pool.available() <= with_driver, "a buffer is both free and with the kernel");
        with_driver - self.pool.available()
    }

    /// Keeps the mapping on drop, because the kernel may still use it.
    pub(super) fn leak(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: the mapping belongs to this ring alone. The owner drops it after the kernel has
        // completed all receives and the ring is closed; otherwise it leaks it.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), self.bytes) };
    }
}
