//! The storage of the near cache.

use std::convert::identity;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::audits::Audits;
use super::companion::Companion;
use super::entry::{Entry, NearHit};
use super::epochs::Epochs;
use super::freshness::Freshness;
use super::hits::HitCounters;
use super::packed::{self, PackedEntry};
use crate::api::key::Key;
use crate::api::options::CallOptions;
use crate::protocol::slot::{Slot, SlotSet};

/// The number of independently locked parts.
const SHARDS: usize = 16;

/// The share of a shard that entries with several hits may fill, which is also the limit of a
/// single entry.
pub(super) const HOT_SHARE: f64 = 0.97;

/// The bytes of an entry beyond its key and value: the entry itself, its share of the table, and
/// the headers of its allocations.
const ENTRY_OVERHEAD: u64 = 146;

/// The size of a typical entry, from which the initial capacity is computed.
const ENTRY_TYPICAL: u64 = 512;

#[derive(Debug, Clone)]
pub(super) struct BySize;

impl Weighter<Box<[u8]>, PackedEntry> for BySize {
    fn weight(&self, key: &Box<[u8]>, packed: &PackedEntry) -> u64 {
        let companion = packed.content.companion().map_or(0, Companion::weight);
        (key.len() + packed.value_len()) as u64 + companion + ENTRY_OVERHEAD
    }
}

/// A copied key costs less memory than a shared one.
pub(super) type Store = Cache<
    Box<[u8]>,
    PackedEntry,
    BySize,
    SeedableRandomState,
    DefaultLifecycle<Box<[u8]>, PackedEntry>,
>;

/// The near cache, shared by the engine and the handles of one cache.
pub struct Near {
    pub(super) store: Option<Store>,
    /// The origin of the entries' times.
    pub(super) base: Instant,
    pub(super) epochs: Epochs,
    /// Expired entries are kept for [`stale`](Self::stale).
    pub(super) keeps_stale: bool,
    /// The [`packed::Time`] until which entries are hits unless a connection shows life.
    trusted_until: AtomicU64,
    pub(super) freshness: Freshness,
    /// The longest time in nanoseconds since an entry was known to be current for which it is a
    /// hit.
    staleness_max: u64,
    hits: HitCounters,
    audits: Audits,
    /// The number of values that were too large for a shard.
    oversized: AtomicU64,
}

impl std::fmt::Debug for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl Near {
    /// Create a near cache for keys of `slots` slots. No value is learned before `base`.
    pub(crate) fn new(
        base: Instant,
        bytes_max: u64,
        keeps_stale: bool,
        seed: u64,
        slots: usize,
    ) -> Self {
        let store = (bytes_max > 0).then(|| {
            let entries = usize::try_from(bytes_max / ENTRY_TYPICAL).unwrap_or(usize::MAX).max(1);
            let options = OptionsBuilder::new()
                .shards(SHARDS)
                .estimated_items_capacity(entries)
                .weight_capacity(bytes_max)
                .hot_allocation(HOT_SHARE)
                .build()
                // Both required options are set above.
                .expect("the options are complete");
            let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
            Cache::with_options(options, BySize, hasher, DefaultLifecycle::default())
        });
        let (epochs, hits) = (Epochs::new(slots), HitCounters::default());
        // Entries come from connections, and the first connection sets it.
        let trusted_until = AtomicU64::new(u64::MAX);
        let oversized = AtomicU64::new(0);
        let (freshness, staleness_max) = (Freshness::new(slots), u64::MAX);
        Self {
            store,
            base,
            epochs,
            keeps_stale,
            trusted_until,
            freshness,
            staleness_max,
            hits,
            audits: Audits::new(0),
            oversized,
        }
    }

    /// Make every entry a miss that was not known to be current within `max`. Zero allows any time.
    pub(crate) fn with_staleness_max(mut self, max: Duration) -> Self {
        self.staleness_max = if max.is_zero() { u64::MAX } else { nanos(max) };
        self
    }

    /// Choose the key of every n-th hit, to be read again. Zero chooses none.
    pub(crate) fn with_audits(mut self, every: u64) -> Self {
        self.audits = Audits::new(every);
        self
    }

    /// Take a key that is to be read again.
    pub(crate) fn take_audit(&self) -> Option<Key> {
        self.audits.take()
    }

    /// Return the hit for `key` at the time `now`. This takes no lock of the engine, copies no
    /// value and allocates nothing.
    #[inline]
    pub fn get(&self, key: &[u8], now: impl FnOnce() -> Instant) -> Option<NearHit> {
        self.get_and(key, None, || self.time_of(now()), identity)
    }

    /// Look up `key` like [`get`](Self::get), and return what `then` makes of the hit. There is no
    /// hit if the value was not known to be current within `staleness_max`.
    ///
    /// A hit is large: it is cheapest where `then` takes what it needs out of it.
    #[inline]
    pub fn get_and<T>(
        &self,
        key: &[u8],
        staleness_max: Option<Duration>,
        now: impl FnOnce() -> packed::Time,
        then: impl FnOnce(NearHit) -> T,
    ) -> Option<T> {
        let store = self.store.as_ref()?;
        let staleness_max = self.staleness_max.min(staleness_max.map_or(u64::MAX, nanos));
        let before = self.freshness.begin();
        let packed = store.get(key)?;
        let now = now();
        let Some(bound) = self.freshness.bound(before, packed.slot()) else {
            return self.get_after_bound(key, packed.slot(), (now, staleness_max)).map(then);
        };
        let learned_at = packed.learned_at();
        let fresh_at = learned_at.max(bound);
        if !self.is_trusted(now)
            || !self.is_hit(&packed, now)
            || now.nanos_since(fresh_at) > staleness_max
        {
            return None;
        }
        self.audits.on_hit(self.hits.add(1) + 1, key);
        Some(then(packed.hit(now, learned_at, fresh_at)))
    }

    /// Return `true` if a lookup with these options compares the staleness of entries with a limit.
    #[inline]
    pub fn limits_staleness(&self, options: &CallOptions) -> bool {
        self.staleness_max != u64::MAX || options.staleness_max().is_some()
    }

    /// Return an instant as a time of this near cache.
    #[inline]
    pub fn time_of(&self, instant: Instant) -> packed::Time {
        packed::Time::of(instant, self.base)
    }

    /// Look up a key of this slot, with its bound before its entry.
    #[cold]
    fn get_after_bound(
        &self,
        key: &[u8],
        slot: Slot,
        (now, staleness_max): (packed::Time, u64),
    ) -> Option<NearHit> {
        let bound = self.freshness.current(slot);
        let packed = self.store.as_ref()?.get(key)?;
        let learned_at = packed.learned_at();
        let fresh_at = learned_at.max(bound);
        let is_fresh = now.nanos_since(fresh_at) <= staleness_max;
        if !is_fresh || !self.is_trusted(now) || !self.is_hit(&packed, now) {
            return None;
        }
        self.audits.on_hit(self.hits.add(1) + 1, key);
        Some(packed.hit(now, learned_at, fresh_at))
    }

    /// Return a handle to look up several keys at the same time, within `staleness_max` if there
    /// is one.
    pub(crate) fn lookups(&self, now: Instant, staleness_max: Option<Duration>) -> Lookups<'_> {
        let now = packed::Time::of(now, self.base);
        let staleness_max = self.staleness_max.min(staleness_max.map_or(u64::MAX, nanos));
        Lookups { near: self, now, is_trusted: self.is_trusted(now), staleness_max, hits: 0 }
    }

    /// Record that every entry from this node was current at `at`; `None` if there is no such
    /// instant. The invalidations that were read so far have been applied.
    pub(crate) fn set_bound(&self, node: u16, at: Option<Instant>) {
        let bound = at.map_or(packed::Time(0), |at| packed::Time::of(at, self.base));
        self.freshness.set_bound(usize::from(node), bound);
    }

    /// Record that a slot belongs to another node. Its epoch has ended.
    pub(crate) fn set_node(&self, slot: Slot, node: Option<u16>) {
        self.freshness.set_node(slot, node);
    }

    /// Make every lookup after `until` a miss, unless a later call extends the time. The
    /// invalidations that were read so far have been applied.
    pub(crate) fn trust_until(&self, until: Instant) {
        self.trusted_until.store(packed::Time::of(until, self.base).0, Ordering::Release);
    }

    #[inline]
    fn is_trusted(&self, now: packed::Time) -> bool {
        now.0 <= self.trusted_until.load(Ordering::Acquire)
    }

    #[inline]
    fn is_hit(&self, packed: &PackedEntry, now: packed::Time) -> bool {
        self.is_current(packed) && packed.is_fresh(now)
    }

    /// Look up a key like [`get`](Self::get) without side effects, also if its connection shows no
    /// sign of life: no hit is counted, and the access does not affect eviction. For tests and
    /// diagnostics.
    pub fn peek(&self, key: &[u8], now: Instant) -> Option<NearHit> {
        let packed = self.store.as_ref()?.peek(key)?;
        let now = packed::Time::of(now, self.base);
        let fresh = packed.deadline.before(Duration::from_secs(1));
        let now = if mutant!(NearDeadlineIgnored) { now.min(fresh) } else { now };
        let is_missing = mutant!(NotFoundSurvivesMove) && packed.content.value().is_none();
        let is_hit = (self.is_current(&packed) || is_missing) && packed.is_fresh(now);
        let learned_at = packed.learned_at();
        let fresh_at = learned_at.max(self.freshness.current(packed.slot()));
        is_hit.then(|| packed.hit(now, learned_at, fresh_at))
    }

    /// Return `true` if the epoch of the entry has not ended.
    #[inline]
    fn is_current(&self, packed: &PackedEntry) -> bool {
        self.epochs.current(packed.slot()) == Some(packed.epoch)
    }

    /// Insert an entry, or remove the key if the entry is too large for its shard.
    pub(crate) fn insert(&self, slot: Slot, key: &Key, entry: Entry) {
        if let (Some(store), Some(epoch)) = (&self.store, self.epochs.current(slot)) {
            let packed = PackedEntry::new(entry, self.base, slot, epoch);
            let key = Box::from(key.as_bytes());
            if BySize.weight(&key, &packed) > (store.shard_capacity() as f64 * HOT_SHARE) as u64 {
                self.oversized.fetch_add(1, Ordering::Relaxed);
                store.remove(&key);
            } else {
                store.insert(key, packed);
            }
        }
    }

    /// Make every entry of these slots unreachable.
    pub(crate) fn begin_epoch(&self, slots: &SlotSet) {
        self.epochs.begin(slots);
    }

    /// Make every entry of these slots unreachable as a hit, because its changes are no longer
    /// reported.
    pub(crate) fn lose_epoch(&self, slots: &SlotSet) {
        self.epochs.lose(slots);
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        if let Some(store) = &self.store {
            store.remove(key);
        }
    }

    /// Return the number of entries, including ended ones that await eviction.
    pub fn len(&self) -> usize {
        self.store.as_ref().map_or(0, Cache::len)
    }

    /// Return `true` if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Return the bytes of all entries, bookkeeping included.
    pub fn bytes(&self) -> u64 {
        self.store.as_ref().map_or(0, Cache::weight)
    }

    /// Return the number of values that were too large.
    pub(crate) fn oversized(&self) -> u64 {
        self.oversized.load(Ordering::Relaxed)
    }

    /// Return the number of hits.
    pub fn hits(&self) -> u64 {
        self.hits.sum()
    }
}

/// Return a span in nanoseconds, or the longest such number.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Several lookups at one instant, whose hits are counted together.
#[derive(Debug)]
pub(crate) struct Lookups<'a> {
    near: &'a Near,
    now: packed::Time,
    is_trusted: bool,
    staleness_max: u64,
    hits: u64,
}

impl Lookups<'_> {
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<NearHit> {
        let before = self.near.freshness.begin();
        let packed = self.near.store.as_ref()?.get(key)?;
        let Some(bound) = self.near.freshness.bound(before, packed.slot()) else {
            let within = (self.now, self.staleness_max);
            return self.near.get_after_bound(key, packed.slot(), within);
        };
        let learned_at = packed.learned_at();
        let fresh_at = learned_at.max(bound);
        if !self.is_trusted
            || !self.near.is_hit(&packed, self.now)
            || self.now.nanos_since(fresh_at) > self.staleness_max
        {
            return None;
        }
        self.hits += 1;
        self.near.audits.on_hit(self.hits, key);
        Some(packed.hit(self.now, learned_at, fresh_at))
    }
}

impl Drop for Lookups<'_> {
    fn drop(&mut self) {
        self.near.hits.add(self.hits);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(value: &'static str, deadline: Instant) -> Entry {
        let value = Some(Bytes::from_static(value.as_bytes()));
        let learned_at = deadline - Duration::from_secs(1);
        let (compute_time, expires_at) = (Duration::ZERO, Some(deadline));
        Entry { value, deadline, expires_at, learned_at, compute_time, is_published: true }
    }

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    #[test]
    fn an_entry_is_returned_until_its_deadline() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        let deadline = start + Duration::from_secs(1);
        near.insert(Slot::FIRST, &Key::from("k"), entry("v", deadline));
        let hit = near.get(b"k", || start).unwrap();
        let (ttl, age) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!((hit.value().cloned(), hit.ttl, hit.age), (Some("v".into()), ttl, age));
        assert_eq!(near.get(b"k", || deadline), None);
        assert_eq!(near.hits(), 1);
    }

    #[test]
    fn a_new_epoch_ends_every_entry_before_it_and_none_after() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        let deadline = start + Duration::from_secs(1);
        near.insert(Slot::FIRST, &Key::from("a"), entry("v", deadline));
        near.begin_epoch(&SlotSet::All);
        near.insert(Slot::FIRST, &Key::from("b"), entry("v", deadline));
        assert_eq!(near.get(b"a", || start), None);
        assert!(near.get(b"b", || start).is_some());
    }

    #[test]
    fn a_new_epoch_of_a_slot_leaves_the_others_alone() {
        let (near, start) =
            (Near::new(base(), 1 << 20, false, 1, usize::from(Slot::COUNT)), base());
        let deadline = start + Duration::from_secs(1);
        for key in ["foo", "bar"].map(Key::from) {
            near.insert(Slot::of(key.as_bytes()), &key, entry("v", deadline));
        }
        near.begin_epoch(&[Slot::of(b"foo")].into_iter().collect());
        assert_eq!(near.get(b"foo", || start), None);
        assert!(near.get(b"bar", || start).is_some());
    }

    #[test]
    fn the_entries_stay_within_the_size_limit() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        for number in 0..100_000 {
            near.insert(Slot::FIRST, &Key::from(format!("key:{number}")), entry("value", start));
        }
        assert!(near.bytes() <= 1 << 20, "{} bytes", near.bytes());
        assert!(near.len() > 1000);
    }

    #[test]
    fn a_value_above_the_share_of_a_shard_is_counted_and_removes_the_old_one() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        let deadline = start + Duration::from_secs(1);
        let key = Key::from("k");
        let insert = |bytes: usize| {
            let value = Some(Bytes::from(vec![b'v'; bytes]));
            near.insert(Slot::FIRST, &key, Entry { value, ..entry("", deadline) });
            near.get(b"k", || start).is_some()
        };
        let limit = ((1 << 20) / SHARDS) * 97 / 100;
        assert!(insert(limit - 200));
        assert!(!insert(limit));
        assert_eq!(near.oversized(), 1);
    }

    #[test]
    fn without_bytes_no_entry_is_kept() {
        let (near, start) = (Near::new(base(), 0, false, 1, 1), base());
        near.insert(Slot::FIRST, &Key::from("k"), entry("v", start + Duration::from_secs(1)));
        assert!(near.is_empty());
        assert_eq!(near.get(b"k", || start), None);
    }
}
