//! Chains that are not in use, so that a busy worker allocates none.
//!
//! A wait may bring an event for each of thousands of connections, each of which fills a chain
//! before the first is sent. So the pool is bounded by the memory that it holds, not by a small
//! number of chains.

use crate::driver::Chain;

/// Memory of the chains that are kept, in bytes; a chain that does not fit any more is freed.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module documentation. Invariant: `bytes` is the capacity of all `chains`.
#[derive(Debug, Default)]
pub(super) struct ChainPool {
    #[expect(clippy::vec_box, reason = "chains travel through the driver in their boxes")]
    chains: Vec<Box<Chain>>,
    bytes: usize,
}

impl ChainPool {
    /// An empty chain.
    pub(super) fn take(&mut self) -> Box<Chain> {
        let Some(chain) = self.chains.pop() else { return Box::default() };
        self.bytes -= chain.capacity();
        chain
    }

    /// Takes a chain back. Its leases and files are let go of, whether or not it is kept.
    pub(super) fn put(&mut self, mut chain: Box<Chain>) {
        chain.clear();
        let bytes = self.bytes + chain.capacity();
        if bytes <= KEPT_BYTES_MAX {
            self.bytes = bytes;
            self.chains.push(chain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> Box<Chain> {
        let mut chain = Box::new(Chain::new());
        chain.copy(&vec![0; len]);
        chain
    }

    /// Of small chains thousands are kept, of large ones as many as fit; all come out empty.
    #[test]
    fn the_memory_that_is_kept_is_bounded() {
        for (len, kept) in [(0, 4096..1 << 17), (1024, 2048..4096), (64 * 1024, 32..64)] {
            let mut pool = ChainPool::default();
            (0..kept.end).for_each(|_| pool.put(filled(len)));
            assert!(kept.contains(&pool.chains.len()), "{len}: {}", pool.chains.len());
            assert!(pool.bytes <= KEPT_BYTES_MAX);
            (0..kept.end).for_each(|_| assert!(pool.take().is_empty()));
            assert_eq!((pool.chains.len(), pool.bytes), (0, 0));
        }
    }
}
