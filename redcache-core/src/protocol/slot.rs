//! The hash slots of a cluster.

use crc16::{State, XMODEM};

/// A hash slot of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The number of slots of a cluster.
    pub const COUNT: u16 = 16384;

    /// Return the slot with this number; `None` if there is no such slot.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Return the slot of a key.
    ///
    /// Keys with the same hash tag have the same slot. The tag is the text between the first `{`
    /// and the next `}`, unless it is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::protocol::Slot;
    ///
    /// assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"{user1000}.followers"));
    /// ```
    pub fn of(key: &[u8]) -> Self {
        Self(State::<XMODEM>::calculate(hashed_part(key)) % Self::COUNT)
    }

    /// Return the number of the slot, less than [`Slot::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The first slot. Every key of a standalone server belongs to it.
    pub(crate) const FIRST: Self = Self(0);

    /// Return the slots from this one to `last`, inclusive.
    pub(crate) fn up_to(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }

    /// Return all slots of a cluster.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

/// A set of slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SlotSet {
    /// Every slot, also without a cluster.
    All,
    /// One bit for each slot of a cluster.
    Some(Box<[u64; WORDS]>),
}

const WORDS: usize = Slot::COUNT as usize / 64;

impl Default for SlotSet {
    fn default() -> Self {
        Self::Some(Box::new([0; WORDS]))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl SlotSet {
    /// Add a slot. Return `false` if it was there already.
    pub(crate) fn insert(&mut self, slot: Slot) -> bool {
        let Self::Some(words) = self else { return false };
        let (word, bit) = (&mut words[slot.index() / 64], 1 << (slot.index() % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Some(words) => words[slot.index() / 64] & (1 << (slot.index() % 64)) != 0,
        }
    }

    /// Return whether the set contains the slot of a key.
    pub(crate) fn contains_key(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Some(_) => self.contains(Slot::of(key)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All => usize::from(Slot::COUNT),
            Self::Some(words) => words.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    pub(crate) fn is_subset(&self, of: &Self) -> bool {
        match (self, of) {
            (_, Self::All) => true,
            (Self::All, Self::Some(_)) => of.len() == usize::from(Slot::COUNT),
            (Self::Some(own), Self::Some(other)) => {
                own.iter().zip(other.iter()).all(|(own, other)| own & !other == 0)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::All => false,
            Self::Some(words) => words.iter().all(|word| *word == 0),
        }
    }
}

/// Return the hash tag of a key, or the whole key when it has none.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let tail = &key[open + 1..];
    match tail.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_the_xmodem_checksum_modulo_the_count() {
        // From the specification of Redis Cluster; 0x31C3 is less than the number of slots.
        assert_eq!(Slot::of(b"123456789").index(), 0x31C3);
        // Answers of CLUSTER KEYSLOT.
        assert_eq!(Slot::of(b"").index(), 0);
        assert_eq!(Slot::of(b"foo").index(), 12182);
        assert_eq!(Slot::of(b"user1000").index(), 3443);
    }

    #[test]
    fn only_the_first_tag_is_hashed_unless_it_is_empty() {
        let cases: [(&[u8], &[u8]); 10] = [
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"foo{bar", b"foo{bar"),
            (b"foo}bar", b"foo}bar"),
            (b"}foo{bar}", b"bar"),
            (b"{}", b"{}"),
            (b"{a}", b"a"),
            (b"", b""),
        ];
        for (key, hashed) in cases {
            assert_eq!(hashed_part(key), hashed, "{}", key.escape_ascii());
        }
        assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"user1000"));
    }

    #[test]
    fn a_set_contains_the_inserted_slots_only() {
        let mut set = SlotSet::default();
        assert!(set.is_empty());
        assert!(set.insert(Slot(0)) && set.insert(Slot(12182)) && !set.insert(Slot(0)));
        assert!(set.contains(Slot(0)) && set.contains_key(b"foo") && !set.contains(Slot(1)));
        let everything: SlotSet = Slot::all().collect();
        assert!(Slot::all().all(|slot| everything.contains(slot) && SlotSet::All.contains(slot)));
        assert_eq!(Slot(3).up_to(Slot(5)).map(Slot::index).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn a_number_beyond_the_last_slot_is_rejected() {
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
    }
}
