//! A dense array of records with an index by key, for pollers that walk all their sources, or pass
//! them all to the kernel, in every wait.
//!
//! Adding and removing take constant time: the last record fills the gap that a removal leaves. The
//! memory grows with the highest key and the largest number of records so far.

use std::io;

/// The place of a key without a record.
const NOWHERE: u32 = u32::MAX;

/// The set; see the module documentation.
#[derive(Debug)]
pub(super) struct SparseSet<T> {
    records: Vec<T>,
    /// The key of the record at each place.
    keys: Vec<u32>,
    /// The place of the record of each key.
    places: Vec<u32>,
}

impl<T> SparseSet<T> {
    pub(super) fn new() -> Self {
        Self { records: Vec::new(), keys: Vec::new(), places: Vec::new() }
    }

    /// Adds the record of a key that has none.
    pub(super) fn insert(&mut self, key: u32, record: T) {
        let index = key as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, NOWHERE);
        }
        assert_eq!(self.places[index], NOWHERE, "a key names one source at a time");
        self.places[index] = self.records.len() as u32;
        self.records.push(record);
        self.keys.push(key);
    }

    /// Removes the record of a key; an error if it has none.
    pub(super) fn remove(&mut self, key: u32) -> io::Result<T> {
        let place = self.place(key)?;
        self.places[key as usize] = NOWHERE;
        self.keys.swap_remove(place);
        if let Some(moved) = self.keys.get(place) {
            self.places[*moved as usize] = place as u32;
        }
        Ok(self.records.swap_remove(place))
    }

    /// The record of a key; an error if it has none.
    pub(super) fn get_mut(&mut self, key: u32) -> io::Result<&mut T> {
        let place = self.place(key)?;
        Ok(&mut self.records[place])
    }

    /// All records.
    pub(super) fn records_mut(&mut self) -> &mut [T] {
        &mut self.records
    }

    /// All records and their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.keys.iter().copied().zip(&self.records)
    }

    fn place(&self, key: u32) -> io::Result<usize> {
        match self.places.get(key as usize) {
            Some(&place) if place != NOWHERE => Ok(place as usize),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn assert_holds(set: &mut SparseSet<u64>, expected: &BTreeMap<u32, u64>) {
        let found: BTreeMap<u32, u64> = set.iter().map(|(key, record)| (key, *record)).collect();
        assert_eq!(&found, expected);
        assert_eq!(set.records_mut().len(), expected.len(), "no gaps");
        for key in 0..40 {
            assert_eq!(set.get_mut(key).ok().copied(), expected.get(&key).copied(), "{key}");
        }
    }

    #[test]
    fn a_record_is_found_after_it_has_moved() {
        let (mut set, mut expected) = (SparseSet::new(), BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(5);
        for step in 0..2000 {
            let key = random.u32(..32);
            if let Some(record) = expected.remove(&key) {
                assert_eq!(set.remove(key).unwrap(), record);
            } else {
                set.insert(key, step);
                expected.insert(key, step);
            }
            assert_holds(&mut set, &expected);
        }
    }

    #[test]
    fn removing_an_absent_key_is_an_error() {
        let mut set = SparseSet::new();
        set.insert(3, ());
        for key in [0, 4, 1000] {
            assert_eq!(set.remove(key).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        set.remove(3).unwrap();
        assert_eq!(set.remove(3).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[should_panic(expected = "one source at a time")]
    fn a_key_has_one_record() {
        let mut set = SparseSet::new();
        set.insert(3, ());
        set.insert(3, ());
    }
}
