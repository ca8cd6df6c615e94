//! The companions of entries: attachment and lookup.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{EntryAction, EntryResult};

use super::companion::Companion;
use super::packed::PackedEntry;
use super::store::{BySize, HOT_SHARE, Near};

impl Near {
    /// Return what `then` makes of the companion of the entry of `key`, if the entry has the value
    /// `value`.
    pub fn companion<T>(
        &self,
        key: &[u8],
        value: &Bytes,
        then: impl FnOnce(&Companion) -> Option<T>,
    ) -> Option<T> {
        let PackedEntry { content, .. } = self.store.as_ref()?.peek(key)?;
        let companion = content.companion()?;
        if companion.fits(content.value()?, value) { then(companion) } else { None }
    }

    /// Attach a companion to the entry of `key`, if the entry has the value `value` and no
    /// companion. The operation is atomic: an entry that is invalidated at the same time stays
    /// removed.
    pub fn attach<T: Any + Send + Sync>(&self, key: &[u8], value: &Bytes, companion: Companion<T>) {
        let Some(store) = &self.store else { return };
        // If there is nothing to attach, which is rare, no entry is touched.
        let Some(packed) = store.peek(key).filter(|packed| accepts(packed, value, &companion))
        else {
            return;
        };
        let key = Box::from(key);
        let added = companion.weight();
        let weight = BySize.weight(&key, &packed).saturating_add(added);
        if weight > (store.shard_capacity() as f64 * HOT_SHARE) as u64 {
            return;
        }
        let has_room = store.weight() + added <= store.capacity();
        let content = packed.content.with(companion);
        let attached = store.entry(&key, Some(Duration::ZERO), |_, packed| {
            if !content.companion().is_some_and(|companion| accepts(packed, value, companion)) {
                return EntryAction::Retain(());
            }
            if !has_room {
                return EntryAction::ReplaceWithGuard;
            }
            packed.content = content.clone();
            EntryAction::Retain(())
        });
        match attached {
            // The entry is removed and inserted again, because only an insertion evicts others. A
            // reader in the meantime finds no entry.
            EntryResult::Replaced(place, mut packed) => {
                packed.content = content;
                // The entry was invalidated in the meantime.
                drop(place.insert(packed));
            }
            EntryResult::Vacant(place) => drop(place),
            EntryResult::Retained(()) | EntryResult::Removed(..) | EntryResult::Timeout => {}
        }
    }
}

/// Return whether the entry has no companion, and its value fits a companion of `value`.
fn accepts<T: ?Sized>(packed: &PackedEntry, value: &Bytes, companion: &Companion<T>) -> bool {
    let fits = |stored| companion.fits(stored, value);
    packed.content.companion().is_none() && packed.content.value().is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::companion::OVERHEAD;
    use super::super::entry::Entry;
    use super::*;
    use crate::api::key::Key;
    use crate::protocol::slot::Slot;

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    fn insert(near: &Near, key: &str, value: &Bytes) {
        let (learned_at, compute_time) = (near.base, Duration::ZERO);
        let deadline = near.base + Duration::from_secs(60);
        let (value, expires_at) = (Some(value.clone()), Some(deadline));
        let entry =
            Entry { value, deadline, expires_at, learned_at, compute_time, is_published: false };
        near.insert(Slot::FIRST, &Key::from(key), entry);
    }

    fn near(keeps_stale: bool) -> Near {
        Near::new(base(), 1 << 20, keeps_stale, 1, 1)
    }

    fn number(near: &Near, value: &Bytes) -> Option<u32> {
        near.companion(b"k", value, |companion| companion.object().copied())
    }

    #[test]
    fn a_companion_is_returned_with_its_entry_and_ends_with_it() {
        let value = Bytes::from_static(b"v");
        for keeps_stale in [false, true] {
            let near = near(keeps_stale);
            let ends: [&dyn Fn(); 3] =
                [&|| near.remove(b"k"), &|| near.on_invalidated(b"k", near.base), &|| {
                    insert(&near, "k", &value)
                }];
            for end in ends {
                insert(&near, "k", &value);
                let object = Arc::new(7_u32);
                near.attach(b"k", &value, Companion::derived(Arc::clone(&object), 0));
                let hit = near.get(b"k", || near.base).unwrap();
                assert_eq!(hit.companion().unwrap().object::<Arc<u32>>(), Some(&object));
                drop(hit);
                end();
                assert_eq!(Arc::strong_count(&object), 1, "the object is still there");
            }
        }
    }

    #[test]
    fn a_companion_is_not_attached_to_another_value_nor_to_a_later_copy_if_it_is_of_one() {
        let near = near(false);
        let [one, copy] = [b"v", b"v"].map(|value| Bytes::copy_from_slice(value));
        insert(&near, "k", &one);
        near.attach(b"k", &Bytes::from_static(b"w"), Companion::derived(1_u32, 0));
        near.attach(b"k", &copy, Companion::of_copy(2_u32, 0));
        assert!(near.get(b"k", || near.base).unwrap().companion().is_none());
        near.attach(b"k", &one, Companion::of_copy(3_u32, 0));
        near.attach(b"k", &one, Companion::of_copy(4_u32, 0));
        assert_eq!((number(&near, &one), number(&near, &copy)), (Some(3), None));
        insert(&near, "k", &one);
        near.attach(b"k", &copy, Companion::derived(5_u32, 0));
        assert_eq!((number(&near, &one), number(&near, &copy)), (Some(5), Some(5)));
        near.remove(b"k");
        near.attach(b"k", &one, Companion::derived(6_u32, 0));
        assert!(near.is_empty());
    }

    #[test]
    fn companions_count_against_the_size_limit() {
        let near = near(false);
        let value = Bytes::from_static(b"v");
        insert(&near, "k", &value);
        let before = near.bytes();
        near.attach(b"k", &value, Companion::derived(0_u32, 1000));
        assert_eq!(near.bytes(), before + 1000 + OVERHEAD);
        near.remove(b"k");
        // All entries are inserted first, so that no later insertion evicts because of the
        // companions.
        let keys: Vec<_> = (0..2000).map(|number| format!("key:{number}")).collect();
        keys.iter().for_each(|key| insert(&near, key, &value));
        for key in &keys {
            near.attach(key.as_bytes(), &value, Companion::derived(0_u32, 2000));
        }
        assert!(near.bytes() <= 1 << 20, "{} bytes", near.bytes());
        near.attach(b"key:1999", &value, Companion::derived(0_u32, 1 << 20));
        assert!(near.bytes() <= 1 << 20 && near.len() > 100);
    }
}
