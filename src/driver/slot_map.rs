//! A table of fixed capacity whose entries are named by slot *and* generation.
//!
//! A handle is valid until its entry is removed. Afterwards the slot may hold another entry, but
//! with another generation, so an old handle finds nothing instead of the wrong entry. A bare
//! descriptor number or a pointer cannot do this (`docs/architecture.md`, identity).
//!
//! The capacity is fixed when the table is made. Memory is used up to the high-water mark only.
//! [`SlotMap::reserved`] is for tables that may become large.
//!
//! Invariants: every entry is either in use and counted by `used`, or in the free list, once. So
//! the free list is empty exactly if all entries are in use. There are at most `capacity` entries.
//! An entry's generation changes only when it is removed.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Bits of a slot and of a generation: both share a 64-bit word with a tag of 16 bits.
const BITS: u32 = 24;
const MASK: u32 = (1 << BITS) - 1;
const NONE: u32 = u32::MAX;

/// The largest capacity of a table.
pub const CAPACITY_MAX: u32 = MASK;

/// The most entries for which a table reserves room. Beyond, it grows like any vector.
const RESERVED_MAX: u32 = 1 << 17;

/// An empty vector with room for `capacity` elements, but for no more than [`RESERVED_MAX`]. The
/// room takes up addresses, and memory only where it is used (unless the kernel gives out huge
/// pages unasked). A vector that grows instead copies itself, for which all connections wait, and
/// leaves holes in the heap. If there is no such room, the vector has to grow.
pub(crate) fn reserve<T>(capacity: u32) -> Vec<T> {
    let mut reserved = Vec::new();
    let _ = reserved.try_reserve_exact(capacity.min(RESERVED_MAX) as usize);
    reserved
}

/// Names an entry of a [`SlotMap`]. `K` is only a marker: tables whose handles must not be confused
/// have different ones.
pub struct Handle<K> {
    slot: u32,
    generation: u32,
    table: PhantomData<fn() -> K>,
}

// Written by hand, because `derive` would require the same traits of `K`.

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Handle<K> {}

impl<K> PartialEq for Handle<K> {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }
}

impl<K> Eq for Handle<K> {}

impl<K> Hash for Handle<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.slot, self.generation).hash(state);
    }
}

impl<K> fmt::Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({}, generation {})", self.slot, self.generation)
    }
}

impl<K> Handle<K> {
    fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation, table: PhantomData }
    }

    /// Names no entry of any table, since none has more than [`CAPACITY_MAX`].
    pub const NOBODY: Self = Self { slot: MASK, generation: MASK, table: PhantomData };

    /// Names `slot` of a table whose entries are never removed, so it needs no generation.
    pub fn at(slot: u32) -> Self {
        Self::new(slot, 0)
    }

    /// The index of the entry; dense, starting at 0.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// How many entries its slot held before, modulo 2^24.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// Packs the handle and a tag into one word: `tag:16 | generation:24 | slot:24`.
    pub fn pack(self, tag: u16) -> u64 {
        u64::from(tag) << (2 * BITS) | u64::from(self.generation) << BITS | u64::from(self.slot)
    }

    /// The inverse of [`Handle::pack`].
    pub fn unpack(word: u64) -> (Self, u16) {
        let generation = (word >> BITS) as u32 & MASK;
        (Self::new(word as u32 & MASK, generation), (word >> (2 * BITS)) as u16)
    }
}

/// The table; see the module documentation. Its handles have the marker `K`.
#[derive(Debug)]
pub struct SlotMap<T, K = T> {
    slots: Vec<Slot<T>>,
    free: u32,
    used: u32,
    capacity: u32,
    handles: PhantomData<fn() -> K>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    state: SlotState<T>,
}

#[derive(Debug)]
enum SlotState<T> {
    Free { next: u32 },
    Used(T),
}

impl<T> SlotMap<T> {
    /// An empty table for at most `capacity` entries; the type of the entries marks the handles.
    pub fn new(capacity: u32) -> Self {
        Self::marked(capacity)
    }
}

impl<T, K> SlotMap<T, K> {
    /// An empty table for at most `capacity` entries, whose handles have another marker than the
    /// type of the entries.
    pub fn marked(capacity: u32) -> Self {
        assert!(capacity <= CAPACITY_MAX, "a table has at most {CAPACITY_MAX} entries");
        Self { slots: Vec::new(), free: NONE, used: 0, capacity, handles: PhantomData }
    }

    /// The same for a table that may become large: with room for its entries from the start, as far
    /// as [`reserve`] goes.
    pub fn reserved(capacity: u32) -> Self {
        Self { slots: reserve(capacity), ..Self::marked(capacity) }
    }

    /// The number of entries in use.
    pub fn len(&self) -> u32 {
        self.used
    }

    /// Whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether [`SlotMap::insert`] would refuse.
    pub fn is_full(&self) -> bool {
        self.used == self.capacity
    }

    /// Stores `value`; returns it if the table is full.
    pub fn insert(&mut self, value: T) -> Result<Handle<K>, T> {
        if self.is_full() {
            return Err(value);
        }
        Ok(self.insert_with(|_| value).expect("the table is not full"))
    }

    /// Stores what `make` returns for the new handle; `None` if the table is full.
    pub fn insert_with(&mut self, make: impl FnOnce(Handle<K>) -> T) -> Option<Handle<K>> {
        if self.is_full() {
            return None;
        }
        let handle = if self.free == NONE {
            let handle = Handle::at(self.slots.len() as u32);
            self.slots.push(Slot { generation: 0, state: SlotState::Used(make(handle)) });
            handle
        } else {
            let entry = &mut self.slots[self.free as usize];
            let SlotState::Free { next } = entry.state else {
                panic!("the free list names entry {}, which is in use", self.free)
            };
            let handle = Handle::new(self.free, entry.generation);
            entry.state = SlotState::Used(make(handle));
            self.free = next;
            handle
        };
        self.used += 1;
        self.check();
        Some(handle)
    }

    /// Asserts those invariants that take constant time.
    fn check(&self) {
        let entries = self.slots.len();
        assert!(self.used as usize <= entries, "{} of {entries} entries in use", self.used);
        assert!(entries <= self.capacity as usize, "{entries} entries of {}", self.capacity);
        assert!(
            (self.free == NONE) == (self.used as usize == entries),
            "{} of {entries} entries in use, but the free list begins with {}",
            self.used,
            self.free
        );
    }

    /// The entry, unless the handle is stale.
    pub fn get(&self, handle: Handle<K>) -> Option<&T> {
        match self.slots.get(handle.slot as usize) {
            Some(Slot { generation, state: SlotState::Used(value) })
                if *generation == handle.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The entry, unless the handle is stale.
    pub fn get_mut(&mut self, handle: Handle<K>) -> Option<&mut T> {
        match self.slots.get_mut(handle.slot as usize) {
            Some(Slot { generation, state: SlotState::Used(value) })
                if *generation == handle.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The handle of the entry in `slot`, if it is in use.
    pub fn handle_at(&self, slot: u32) -> Option<Handle<K>> {
        match self.slots.get(slot as usize) {
            Some(Slot { generation, state: SlotState::Used(_) }) => {
                Some(Handle::new(slot, *generation))
            }
            _ => None,
        }
    }

    /// Removes the entry, and makes all its handles stale.
    pub fn remove(&mut self, handle: Handle<K>) -> Option<T> {
        self.get(handle)?;
        let entry = &mut self.slots[handle.slot as usize];
        let state = std::mem::replace(&mut entry.state, SlotState::Free { next: self.free });
        entry.generation = (entry.generation + 1) & MASK;
        self.free = handle.slot;
        assert!(self.used > 0, "an entry was in use, but none was counted");
        self.used -= 1;
        self.check();
        match state {
            SlotState::Used(value) => Some(value),
            SlotState::Free { .. } => unreachable!("get found it in use"),
        }
    }

    /// The entries in use, in the order of their slots.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|entry| match entry.state {
            SlotState::Used(value) => Some(value),
            SlotState::Free { .. } => None,
        })
    }

    /// The handles of all entries in use, in the order of their slots.
    pub fn handles(&self) -> Vec<Handle<K>> {
        (0..self.slots.len() as u32).filter_map(|slot| self.handle_at(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_handle_is_stale_even_when_its_slot_is_reused() {
        let mut slots = SlotMap::new(4);
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_eq!(first.slot(), second.slot());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
    }

    #[test]
    fn a_full_table_returns_the_value() {
        let mut slots = SlotMap::new(2);
        slots.insert(1).unwrap();
        slots.insert(2).unwrap();
        assert!(slots.is_full());
        assert_eq!(slots.insert(3), Err(3));
    }

    /// Where the first entry is.
    fn start(slots: &SlotMap<u64>) -> *const Slot<u64> {
        slots.slots.as_ptr()
    }

    #[test]
    fn a_reserved_table_never_moves() {
        let mut slots = SlotMap::reserved(5000);
        let before = start(&slots);
        assert!((0..5000).all(|value| slots.insert(value).is_ok()));
        assert_eq!(start(&slots), before);
        assert_eq!(slots.insert(1), Err(1));
    }

    /// The room has a limit, and the capacity does not depend on it.
    #[test]
    #[cfg_attr(miri, ignore = "so many entries take minutes")]
    fn a_table_may_have_more_entries_than_are_reserved() {
        let mut slots: SlotMap<u32> = SlotMap::reserved(CAPACITY_MAX);
        assert_eq!(slots.slots.capacity(), RESERVED_MAX as usize);
        assert!((0..RESERVED_MAX + 1).all(|value| slots.insert(value).is_ok()));
        assert_eq!(slots.len(), RESERVED_MAX + 1);
    }

    #[test]
    fn packing_keeps_slot_generation_and_tag() {
        let mut slots = SlotMap::new(8);
        for round in 0..1000 {
            let handle = slots.insert(round).unwrap();
            assert_eq!(Handle::unpack(handle.pack(0xA55A)), (handle, 0xA55A));
            slots.remove(handle);
        }
    }

    #[test]
    fn the_generation_wraps_within_its_bits() {
        let mut slots = SlotMap::new(1);
        let handle = slots.insert(()).unwrap();
        slots.remove(handle);
        slots.slots[0].generation = MASK;
        let last = slots.insert(()).unwrap();
        slots.remove(last);
        let wrapped = slots.insert(()).unwrap();
        assert_eq!(wrapped.generation, 0);
        assert_eq!(Handle::unpack(last.pack(1)).0, last);
    }

    /// A table of two entries, one of which is free; there is room for a third.
    fn half_full() -> SlotMap<char> {
        let mut slots = SlotMap::new(3);
        let first = slots.insert('a').unwrap();
        slots.insert('b').unwrap();
        slots.remove(first);
        slots
    }

    #[test]
    #[should_panic = "in use, but the free list begins with"]
    fn a_free_list_that_lost_an_entry_is_noticed() {
        let mut slots = half_full();
        slots.free = NONE;
        let _ = slots.insert('c');
    }

    #[test]
    #[should_panic = "the free list names entry 1, which is in use"]
    fn a_free_list_that_names_a_used_entry_is_noticed() {
        let mut slots = half_full();
        slots.free = 1;
        let _ = slots.insert('c');
    }

    #[test]
    #[should_panic = "in use, but the free list begins with"]
    fn a_wrong_count_is_noticed() {
        let mut slots = half_full();
        slots.used = 0;
        let _ = slots.insert('c');
    }

    #[test]
    #[should_panic = "none was counted"]
    fn a_count_that_ran_below_zero_is_noticed() {
        let mut slots = half_full();
        slots.used = 0;
        let handle = slots.handle_at(1).unwrap();
        slots.remove(handle);
    }

    /// Random inserts and removals, checked against a simple model.
    #[test]
    fn it_behaves_like_a_map_with_unique_keys() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut slots = SlotMap::new(16);
        let mut model: Vec<(Handle<u64>, u64)> = Vec::new();
        let mut dead: Vec<Handle<u64>> = Vec::new();
        for value in 0..if cfg!(miri) { 300 } else { 20_000u64 } {
            if random.bool() {
                match slots.insert(value) {
                    Ok(handle) => model.push((handle, value)),
                    Err(_) => assert_eq!(model.len(), 16),
                }
            } else if !model.is_empty() {
                let (handle, value) = model.swap_remove(random.usize(..model.len()));
                assert_eq!(slots.remove(handle), Some(value));
                dead.push(handle);
            }
            assert_eq!(slots.len() as usize, model.len());
            assert!(model.iter().all(|(handle, value)| slots.get(*handle) == Some(value)));
            assert!(dead.iter().rev().take(50).all(|handle| slots.get(*handle).is_none()));
        }
    }
}
