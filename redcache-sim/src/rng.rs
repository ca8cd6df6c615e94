//! The random number generator of a simulation, repeatable from its seed.

use redcache_core::engine::Seed;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Return a generator that is independent of the further numbers of this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Return a seed for an engine that starts at the beginning of the run.
    pub(crate) fn engine_seed(&mut self) -> Seed {
        let mut random = [0; 32];
        for chunk in random.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        Seed::new(random, 1_700_000_000_000)
    }

    /// Return a number in `0..bound`; 0 if the range is empty.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is negligible here.
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// Return an index in `0..bound`; 0 if the range is empty.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// Return a number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Return `true` with a probability of `per_mille` in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Return one of the choices by weight.
    ///
    /// # Panics
    ///
    /// Panics if all weights are zero.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for &(weight, choice) in choices {
            if left < weight {
                return choice;
            }
            left -= weight;
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
