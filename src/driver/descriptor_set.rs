//! The sets of descriptors that `select(2)` takes.

/// Bits of an `fd_set`: `select(2)` cannot watch descriptors from this number on.
pub(super) const FD_SETSIZE: usize = libc::FD_SETSIZE;

const WORD_BITS: usize = libc::c_ulong::BITS as usize;

/// The `fd_set` of `select(2)` with bounds checks: setting a bit that does not exist panics, while
/// `FD_SET` writes beyond the set.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct DescriptorSet {
    words: [libc::c_ulong; FD_SETSIZE / WORD_BITS],
}

const _: () = assert!(size_of::<DescriptorSet>() == size_of::<libc::fd_set>());
const _: () = assert!(align_of::<DescriptorSet>() == align_of::<libc::fd_set>());

impl DescriptorSet {
    /// Adds or removes a descriptor.
    pub(super) fn set(&mut self, descriptor: usize, member: bool) {
        let (word, bit) = (&mut self.words[descriptor / WORD_BITS], 1 << (descriptor % WORD_BITS));
        if member {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    pub(super) fn contains(&self, descriptor: usize) -> bool {
        self.words[descriptor / WORD_BITS] & 1 << (descriptor % WORD_BITS) != 0
    }

    /// The descriptors that are in either set.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self { words: std::array::from_fn(|index| self.words[index] | other.words[index]) }
    }

    /// The descriptors, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.into_iter().enumerate().flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(index * WORD_BITS + bit)
            })
        })
    }

    /// One more than the highest descriptor.
    pub(super) fn end(&self) -> usize {
        let last = self.words.iter().rposition(|word| *word != 0);
        last.map_or(0, |index| (index + 1) * WORD_BITS - self.words[index].leading_zeros() as usize)
    }
}
