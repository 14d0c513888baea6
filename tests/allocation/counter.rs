//! An allocator that counts the calls of all threads but those that are exempt.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// Exempts this thread.
pub(crate) fn exempt() {
    EXEMPT.set(true);
}

/// The number of allocations so far, and of those that were enlarged or moved.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

fn count() {
    if !EXEMPT.get() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) struct CountingAllocator;

// SAFETY: every call is passed on to the allocator of the system with the same arguments, and
// counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}
