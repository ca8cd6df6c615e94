//! The decision whether the first read of a fetch asks for the TTL.
//!
//! Only a value with a known TTL enters the near cache, but `PTTL` costs a server as much as its
//! share of an `MGET`. While traffic is light the server has time to spare. Otherwise a key pays
//! for its TTL when it is read again, because many keys never are.

use std::hint::black_box;

/// A set of the keys that were read lately, by their hashes. It may contain a few others.
///
/// A read touches one place of the memory, because each place is a cache miss under load.
#[derive(Debug)]
pub(crate) struct Rereads {
    /// Words of two sets: one has the last keys, the other the keys before them.
    words: Box<[[u64; 2]]>,
    /// The set with the last keys.
    recent: usize,
    /// The number of the last keys.
    count: usize,
    /// The number of the last keys at which they become those before.
    count_max: usize,
}

/// The bits per key, so that a full set contains about one in twenty of the other keys.
const BITS: usize = 8;

/// The bytes of a typical entry of the near cache.
const ENTRY_TYPICAL: u64 = 512;
const KEYS_MIN: usize = 1 << 10;
const KEYS_MAX: usize = 1 << 22;

impl Rereads {
    /// Create a set for the keys that fit into a near cache of this size, if it is not empty.
    pub(crate) fn beside(near_bytes: u64) -> Option<Self> {
        let keys = usize::try_from(near_bytes / ENTRY_TYPICAL).unwrap_or(KEYS_MAX);
        (near_bytes > 0).then(|| Self::new(keys.clamp(KEYS_MIN, KEYS_MAX)))
    }

    /// Create a set that remembers this many keys, and up to as many before them.
    fn new(keys: usize) -> Self {
        let words = (keys * BITS).div_ceil(64).next_power_of_two();
        let words = vec![[0; 2]; words].into_boxed_slice();
        Self { words, recent: 0, count: 0, count_max: keys }
    }

    /// Set the number of keys that the set remembers.
    pub(crate) fn limit(&mut self, keys: usize) {
        self.count_max = keys;
    }

    /// Add the key with this hash. Return whether it was read before.
    pub(crate) fn on_read(&mut self, hash: u64) -> bool {
        let bits = 1 << (hash & 63) | 1 << (hash >> 6 & 63);
        let place = self.place(hash);
        let [recent, older] = [self.recent, 1 - self.recent].map(|set| self.words[place][set]);
        if recent & bits == bits {
            return true;
        }
        self.words[place][self.recent] |= bits;
        self.count += 1;
        if self.count >= self.count_max {
            self.recent = 1 - self.recent;
            self.words.iter_mut().for_each(|word| word[self.recent] = 0);
            self.count = 0;
        }
        older & bits == bits
    }

    /// Bring the words of the keys with these hashes into the processor's cache. The misses overlap
    /// here, and each would delay the start of a read.
    pub(crate) fn prefetch(&self, hashes: impl Iterator<Item = u64>) {
        black_box(hashes.fold(0, |all, hash| all | self.words[self.place(hash)][0]));
    }

    fn place(&self, hash: u64) -> usize {
        // The number of words is a power of two.
        (hash >> 12) as usize & (self.words.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::flights::Flights;

    fn count(rereads: &mut Rereads, keys: std::ops::Range<u32>) -> usize {
        let flights = Flights::<()>::new(1);
        keys.filter(|key| rereads.on_read(flights.hash(&key.to_be_bytes()))).count()
    }

    #[test]
    fn a_key_is_known_when_it_is_read_again_until_many_others_were() {
        let mut rereads = Rereads::new(1024);
        assert!(count(&mut rereads, 0..512) < 50);
        assert_eq!(count(&mut rereads, 0..512), 512);
        assert!(count(&mut rereads, 512..1536) < 200);
        // The older half was dropped before these keys.
        assert_eq!(count(&mut rereads, 1024..1536), 512);
        assert!(count(&mut rereads, 10_000..14_096) < 800);
        assert!(count(&mut rereads, 0..512) < 100);
    }
}
