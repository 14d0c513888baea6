//! Receive buffers: one allocation, divided into buffers of equal size that are lent one at a time.
//!
//! A [`Lease`] is the right to use one buffer. A readiness driver takes it just before a receive;
//! on io_uring, the kernel picks the buffer during the receive. The lease goes up in a completion,
//! and returns the buffer when it is dropped. So no buffer belongs to an idle connection, and none
//! can be forgotten.
//!
//! The free buffers are a stack. Readiness drivers pop from it. The io_uring driver moves the whole
//! stack to the kernel's buffer ring once per turn; there the stack holds the buffers that came
//! back since.
//!
//! Invariant: every buffer has one holder: the free stack, one lease, or the kernel. Each transfer
//! asserts the previous holder, because two leases of one buffer would be two exclusive rights to
//! its bytes.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

/// The first buffer starts on a page boundary, which is a boundary of cache lines too.
const ALIGNMENT: usize = 4096;

/// The distance between the end of a buffer and the beginning of the next one: a cache line.
/// Without it, buffers of a power of two bytes would all begin in the same set of a cache. Most
/// requests are short, so those of a batch would evict each other.
const GAP: usize = 64;

/// The buffers of one driver.
pub struct Pool {
    /// The whole allocation.
    allocation: NonNull<u8>,
    layout: Layout,
    /// The first page boundary in it, where the buffers begin.
    memory: NonNull<u8>,
    buffer_bytes: usize,
    /// The distance of the beginnings of two buffers.
    stride: usize,
    count: u16,
    free: RefCell<Vec<u16>>,
    /// The holder of each buffer.
    holders: Box<[Cell<Holder>]>,
}

/// What holds a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    Free,
    Lease,
    Kernel,
}

/// The right to use one buffer of a [`Pool`]; the first bytes of the buffer are data. Dropping it
/// returns the buffer.
pub struct Lease {
    pool: Rc<Pool>,
    buffer: u16,
    len: u32,
}

impl Pool {
    /// Allocates `count` zeroed buffers of `buffer_bytes` each. The kernel provides each page when
    /// it is first touched.
    pub fn new(count: u16, buffer_bytes: u32) -> Rc<Self> {
        assert!(count > 0 && buffer_bytes > 0);
        let stride = buffer_bytes as usize + GAP;
        let bytes = usize::from(count) * stride;
        // With an alignment, the allocator zeroes the memory itself and touches all pages. Without
        // one, it gets zeroed memory from the kernel and touches none.
        let layout = Layout::array::<u8>(bytes + ALIGNMENT).expect("limits bound the size");
        // SAFETY: `layout` is not of size zero: both factors were just asserted to be positive.
        let allocation = unsafe { alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(allocation) else { handle_alloc_error(layout) };
        let to_page = allocation.align_offset(ALIGNMENT);
        assert!(to_page < ALIGNMENT, "every allocation of a page or more has a page boundary");
        // SAFETY: it skips less than a page, and the allocation is a page longer than needed.
        let memory = unsafe { allocation.add(to_page) };
        // The stack is filled from the top, so buffer 0 is lent first and few pages are touched.
        let free = RefCell::new((0..count).rev().collect());
        let buffer_bytes = buffer_bytes as usize;
        let holders = (0..count).map(|_| Cell::new(Holder::Free)).collect();
        Rc::new(Self { allocation, layout, memory, buffer_bytes, stride, count, free, holders })
    }

    /// Changes the holder of a buffer.
    fn pass(&self, buffer: u16, from: Holder, to: Holder) {
        let was = self.holders[usize::from(buffer)].replace(to);
        assert!(was == from, "buffer {buffer} goes from {from:?} to {to:?}, but {was:?} had it");
    }

    /// Size of one buffer, in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// The number of buffers.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The number of buffers on the free stack.
    pub fn available(&self) -> usize {
        self.free.borrow().len()
    }

    /// The number of buffers not on the free stack: in leases, or with the kernel.
    pub(super) fn lent(&self) -> usize {
        usize::from(self.count) - self.available()
    }

    /// Takes a free buffer, with its whole length as data; `None` if all are lent.
    pub fn take(self: &Rc<Self>) -> Option<Lease> {
        let buffer = self.free.borrow_mut().pop()?;
        self.pass(buffer, Holder::Free, Holder::Lease);
        Some(Lease { pool: Rc::clone(self), buffer, len: self.buffer_bytes as u32 })
    }

    /// Passes all free buffers to `give`. The kernel owns them until [`Pool::adopt`].
    pub(super) fn drain_free(&self, mut give: impl FnMut(u16)) {
        for buffer in self.free.borrow_mut().drain(..) {
            self.pass(buffer, Holder::Free, Holder::Kernel);
            give(buffer);
        }
    }

    /// The address of a buffer, for the kernel.
    pub(super) fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count);
        // SAFETY: the buffer's index was just checked, so the offset stays inside `memory`.
        unsafe { self.memory.as_ptr().add(usize::from(buffer) * self.stride) }
    }

    /// Makes a lease of a buffer that the kernel has filled with `len` bytes and released.
    ///
    /// # Safety
    ///
    /// [`Pool::drain_free`] has given this buffer away, the kernel has named it in a completion,
    /// and that completion is turned into a lease once.
    pub(super) unsafe fn adopt(self: &Rc<Self>, buffer: u16, len: usize) -> Lease {
        assert!(buffer < self.count && len <= self.buffer_bytes);
        self.pass(buffer, Holder::Kernel, Holder::Lease);
        Lease { pool: Rc::clone(self), buffer, len: len as u32 }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: `allocation` came from `alloc_zeroed(layout)`, and every lease holds an `Rc` of
        // this pool, so none is left to use it.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} free)", self.available(), self.count)
    }
}

impl Lease {
    /// The whole buffer, for a system call to fill. [`Lease::truncate`] then sets the length of the
    /// data.
    pub(super) fn spare_mut(&mut self) -> &mut [u8] {
        let address = self.pool.address(self.buffer);
        // SAFETY: this lease is the only right to the buffer, the memory was zeroed when it was
        // allocated, and the lease keeps the pool alive for the borrow.
        unsafe { std::slice::from_raw_parts_mut(address, self.pool.buffer_bytes) }
    }

    /// Keeps the first `len` bytes as data.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.pool.buffer_bytes);
        self.len = len as u32;
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let address = self.pool.address(self.buffer);
        // SAFETY: this lease is the only right to the buffer, `len` is at most its size, and all
        // of it was initialised when it was allocated.
        unsafe { std::slice::from_raw_parts(address, self.len as usize) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.pass(self.buffer, Holder::Lease, Holder::Free);
        let mut free = self.pool.free.borrow_mut();
        free.push(self.buffer);
        assert!(free.len() <= usize::from(self.pool.count), "more buffers are free than there are");
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, {} bytes)", self.buffer, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_is_available_again() {
        let pool = Pool::new(2, 64);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        drop(first);
        assert_eq!(pool.available(), 1);
        assert!(pool.take().is_some());
        drop(second);
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn two_leases_never_share_a_byte() {
        let pool = Pool::new(8, 32);
        let mut leases: Vec<Lease> = (0..8).map(|_| pool.take().unwrap()).collect();
        for (mark, lease) in leases.iter_mut().enumerate() {
            lease.spare_mut().fill(mark as u8);
        }
        for (mark, lease) in leases.iter().enumerate() {
            assert!(lease.iter().all(|byte| *byte == mark as u8));
        }
    }

    #[test]
    fn a_lease_outlives_the_driver_that_made_it() {
        let pool = Pool::new(1, 16);
        let mut lease = pool.take().unwrap();
        lease.spare_mut()[..2].copy_from_slice(b"ok");
        lease.truncate(2);
        drop(pool);
        assert_eq!(&*lease, b"ok");
    }

    #[test]
    fn the_kernels_buffers_come_back_through_a_lease() {
        let pool = Pool::new(4, 16);
        let mut given = Vec::new();
        pool.drain_free(|buffer| given.push(buffer));
        assert_eq!((given.len(), pool.available()), (4, 0));
        // SAFETY: buffer 2 was drained above and no kernel holds it.
        drop(unsafe { pool.adopt(2, 5) });
        assert_eq!(pool.available(), 1);
    }

    /// As if the kernel had named a buffer in two completions.
    #[test]
    #[should_panic = "goes from Kernel to Lease, but Lease had it"]
    fn a_buffer_that_is_leased_twice_is_noticed() {
        let pool = Pool::new(4, 16);
        pool.drain_free(|_| {});
        // SAFETY: buffer 2 was drained above and no kernel holds it.
        let _first = unsafe { pool.adopt(2, 5) };
        // SAFETY: this breach is what the test is about; it panics before the bytes are used.
        let _second = unsafe { pool.adopt(2, 5) };
    }

    #[test]
    #[should_panic = "goes from Kernel to Lease, but Free had it"]
    fn a_buffer_that_the_kernel_never_had_is_noticed() {
        // SAFETY: this breach is what the test is about; it panics before the bytes are used.
        let _lease = unsafe { Pool::new(4, 16).adopt(2, 5) };
    }

    #[test]
    #[should_panic = "goes from Free to Lease, but Lease had it"]
    fn a_stack_that_holds_a_buffer_twice_is_noticed() {
        let pool = Pool::new(4, 16);
        pool.free.borrow_mut().push(0);
        let _leases = [pool.take(), pool.take()];
    }
}
