//! Which of a cluster's hash slots a key belongs to.

use crc16::{State, XMODEM};

/// Names one of the hash slots that a cluster divides its keys into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// How many slots a cluster has.
    pub const COUNT: u16 = 16384;

    /// Returns the slot with a number, `None` when there is no such slot.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Returns the slot of a key.
    ///
    /// Keys with the same hash tag share a slot: the tag is what stands between the first `{` and the first `}` after it,
    /// and only when that is not empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Slot;
    ///
    /// assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"{user1000}.followers"));
    /// ```
    pub fn of(key: &[u8]) -> Self {
        Self(State::<XMODEM>::calculate(hashed_part(key)) % Self::COUNT)
    }

    /// Returns the number of the slot, less than [`Slot::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Returns the hash tag of a key, or all of a key that has none.
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
    fn only_the_first_tag_that_is_not_empty_is_hashed() {
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
    fn number_beyond_the_last_slot_is_refused() {
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
    }
}
