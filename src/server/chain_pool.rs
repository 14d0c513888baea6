//! A pool of unused chains, so a busy worker does not allocate.
//!
//! One wait may bring events for thousands of connections, each of which fills a chain before the
//! first one is sent. Therefore the pool is bounded by its memory, not by the number of chains.

use crate::driver::Chain;

/// Maximum capacity of all chains in the pool. A chain that would exceed it is freed.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module documentation. Invariant: `bytes` is the total capacity of `chains`.
#[derive(Debug, Default)]
pub(super) struct ChainPool {
    #[expect(clippy::vec_box, reason = "a send passes its boxed chain to the driver and back")]
    chains: Vec<Box<Chain>>,
    bytes: usize,
}

impl ChainPool {
    /// Returns an empty chain.
    pub(super) fn take(&mut self) -> Box<Chain> {
        let Some(chain) = self.chains.pop() else { return Box::default() };
        self.bytes -= chain.capacity();
        chain
    }

    /// Takes a chain back. Its leases and files are released, even if the chain is not kept.
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

    /// The pool keeps thousands of small chains, or as many large ones as fit, and returns all of
    /// them empty.
    #[test]
    fn the_memory_of_the_pool_is_bounded() {
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
