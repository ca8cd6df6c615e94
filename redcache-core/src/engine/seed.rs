//! The randomness and the date that an engine starts with.

/// The inputs that the engine cannot generate itself: randomness, and the date.
#[derive(Clone)]
#[non_exhaustive]
pub struct Seed {
    /// Random bytes from the operating system. They make the locks of every process unique.
    pub random: [u8; 32],
    /// Milliseconds since 1970, for the time field of the process's UUIDv7.
    pub unix_ms: u64,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

impl Seed {
    /// Create a seed.
    pub fn new(random: [u8; 32], unix_ms: u64) -> Self {
        Self { random, unix_ms }
    }

    /// Return the seeds of the near cache, the flights and the generator.
    pub(crate) fn words(&self) -> [u64; 3] {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.random[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        [word(0), word(8), word(16) ^ word(24)]
    }

    /// Return the random part of the process's UUID.
    pub(crate) fn lock_random(&self) -> [u8; 10] {
        let mut random = [0; 10];
        random.copy_from_slice(&self.random[22..]);
        random
    }
}
