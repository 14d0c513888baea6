//! Chains that are not in use, so that a busy worker allocates none.

use crate::driver::Chain;

/// Chains that are kept; more are freed.
const CHAINS_MAX: usize = 64;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct ChainPool {
    #[expect(clippy::vec_box, reason = "chains travel through the driver in their boxes")]
    chains: Vec<Box<Chain>>,
}

impl ChainPool {
    /// An empty chain.
    pub(super) fn take(&mut self) -> Box<Chain> {
        self.chains.pop().unwrap_or_default()
    }

    /// Takes a chain back. Its leases and files are let go of, whether or not it is kept.
    pub(super) fn put(&mut self, mut chain: Box<Chain>) {
        chain.clear();
        if self.chains.len() < CHAINS_MAX {
            self.chains.push(chain);
        }
    }
}
