//! The near cache: values of Redis kept in this process, for as long as Redis promises to tell of their change.
//!
//! It is the one part that adapters and engine touch at the same time, so that a hit needs no other lock. The engine
//! is its only writer and writes while it parses the server's stream: a value enters where its reply stands, an
//! invalidation drops it where its push stands. Each entry carries the epoch it was learned in; when the server flushes
//! or its connection is lost a new epoch begins, and all entries are unreachable at once, however many they are. In a
//! cluster each slot has epochs of its own, so that what happens to one node leaves the keys of the others alone.
//!
//! What has become of entries that are no longer hits, but might be given in place of an error, says `stale`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::api::answer::{Answer, Source};
use crate::api::key::Key;
use crate::protocol::slot::{Slot, SlotSet};

pub(crate) mod batch;
mod epochs;
mod packed;
mod stale;

use epochs::Epochs;
use packed::Kept;
pub(crate) use stale::{Evidence, Staleness};

/// What an entry costs beyond the bytes of its key and value: the entry itself, its share of the table, and the
/// allocations' headers.
const ENTRY_OVERHEAD: u64 = 146;

/// What counts as one entry when the number of shards and ghosts is chosen.
const ENTRY_TYPICAL: u64 = 512;

/// A value in the near cache.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `None` when the key is cached as not found.
    pub(crate) value: Option<Bytes>,
    pub(crate) deadline: Instant,
    /// When it was asked for, or published.
    pub(crate) learned_at: Instant,
    /// How long it took to load; zero when unknown.
    pub(crate) compute_time: Duration,
    /// This process has published it.
    pub(crate) is_published: bool,
}

/// What the near cache knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearHit {
    /// The value; `None` when the key is cached as not found.
    pub value: Option<Bytes>,
    /// How long the value may still be served from here.
    pub ttl: Duration,
    /// How long ago this process learned the value.
    pub age: Duration,
    pub(crate) compute_time: Duration,
    pub(crate) is_published: bool,
}

impl From<NearHit> for Answer {
    fn from(hit: NearHit) -> Self {
        Self { value: hit.value, source: Source::Near, ttl: Some(hit.ttl), age: Some(hit.age) }
    }
}

#[derive(Debug, Clone)]
struct Bytesize;

impl Weighter<Box<[u8]>, Kept> for Bytesize {
    fn weight(&self, key: &Box<[u8]>, packed: &Kept) -> u64 {
        (key.len() + packed.value_len()) as u64 + ENTRY_OVERHEAD
    }
}

/// A key of its own costs less than a share of one.
type Store =
    Cache<Box<[u8]>, Kept, Bytesize, SeedableRandomState, DefaultLifecycle<Box<[u8]>, Kept>>;

/// The near cache of one redcache, shared between the engine and the adapter's handles.
pub struct Near {
    store: Option<Store>,
    /// What entries count their time from.
    base: Instant,
    epochs: Epochs,
    /// Outdated entries may still be asked for.
    keeps_stale: bool,
    hits: HitCounters,
}

impl std::fmt::Debug for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl Near {
    /// `slots` says how many slots the keys may belong to, and nothing is learned before `base`.
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
                .build()
                // Both required options are set above.
                .expect("the options are complete");
            let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
            Cache::with_options(options, Bytesize, hasher, DefaultLifecycle::default())
        });
        let (epochs, hits) = (Epochs::new(slots), HitCounters::default());
        Self { store, base, epochs, keeps_stale, hits }
    }

    /// Looks `key` up at the time `now`. Takes no lock of the engine, copies no value, allocates nothing.
    pub fn get(&self, key: &[u8], now: impl FnOnce() -> Instant) -> Option<NearHit> {
        let packed = self.store.as_ref()?.get(key)?;
        let hit = self.hit(packed, packed::Time::of(now(), self.base))?;
        self.hits.add(1);
        Some(hit)
    }

    /// Looks up each of several keys as [`get`](Self::get) does, all at one time.
    pub(crate) fn lookups(&self, now: Instant) -> Lookups<'_> {
        Lookups { near: self, now: packed::Time::of(now, self.base), hits: 0 }
    }

    fn hit(&self, packed: Kept, now: packed::Time) -> Option<NearHit> {
        (self.is_current(&packed) && packed.is_good(now)).then(|| packed.hit(now))
    }

    /// Gives what [`get`](Self::get) would, and leaves no trace of having asked: no hit is counted, and the entry is
    /// not kept any longer for it. For tests and diagnostics.
    pub fn peek(&self, key: &[u8], now: Instant) -> Option<NearHit> {
        let packed = self.store.as_ref()?.peek(key)?;
        let now = packed::Time::of(now, self.base);
        let good = packed.deadline.before(Duration::from_secs(1));
        let now = if mutant!(NearDeadlineIgnored) { now.min(good) } else { now };
        let is_missing = mutant!(NotFoundSurvivesMove) && packed.clone().hit(now).value.is_none();
        let is_hit = (self.is_current(&packed) || is_missing) && packed.is_good(now);
        is_hit.then(|| packed.hit(now))
    }

    /// Whether the epoch of an entry goes on.
    fn is_current(&self, packed: &Kept) -> bool {
        self.epochs.current(packed.slot) == Some(packed.epoch)
    }

    pub(crate) fn insert(&self, slot: Slot, key: &Key, entry: Entry) {
        if let (Some(store), Some(epoch)) = (&self.store, self.epochs.current(slot)) {
            let packed = Kept::new(entry, self.base, slot, epoch);
            store.insert(key.as_bytes().into(), packed);
        }
    }

    /// Makes every entry of these slots unreachable for good.
    pub(crate) fn begin_epoch(&self, slots: &SlotSet) {
        self.epochs.begin(slots);
    }

    /// Makes every entry of these slots unreachable as a hit: nobody would tell of its change any more.
    pub(crate) fn lose_epoch(&self, slots: &SlotSet) {
        self.epochs.lose(slots);
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        if let Some(store) = &self.store {
            store.remove(key);
        }
    }

    /// How many entries it holds, among them those of past epochs or deadlines that await replacement.
    pub fn len(&self) -> usize {
        self.store.as_ref().map_or(0, Cache::len)
    }

    /// Whether it holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes its entries hold, overhead included.
    pub fn bytes(&self) -> u64 {
        self.store.as_ref().map_or(0, Cache::weight)
    }

    /// How many lookups were answered.
    pub fn hits(&self) -> u64 {
        self.hits.sum()
    }
}

/// Several lookups at one time, whose hits are counted together.
#[derive(Debug)]
pub(crate) struct Lookups<'a> {
    near: &'a Near,
    now: packed::Time,
    hits: u64,
}

impl Lookups<'_> {
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<NearHit> {
        let packed = self.near.store.as_ref()?.get(key)?;
        let hit = self.near.hit(packed, self.now)?;
        self.hits += 1;
        Some(hit)
    }
}

impl Drop for Lookups<'_> {
    fn drop(&mut self) {
        self.near.hits.add(self.hits);
    }
}

const SHARDS: usize = 16;

/// How many threads have counted a hit.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which of the counters is this thread's. Only their sum is ever told.
    static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// Counts hits on several cache lines, so that threads seldom meet on one.
#[derive(Debug, Default)]
struct HitCounters([HitCounter; 16]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct HitCounter(AtomicU64);

impl HitCounters {
    fn add(&self, hits: u64) {
        let stripe = STRIPE.with(|stripe| *stripe) % self.0.len();
        self.0[stripe].0.fetch_add(hits, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    pub(super) mod interleavings;

    use super::*;

    fn entry(value: &'static str, deadline: Instant) -> Entry {
        let value = Some(Bytes::from_static(value.as_bytes()));
        let learned_at = deadline - Duration::from_secs(1);
        Entry { value, deadline, learned_at, compute_time: Duration::ZERO, is_published: true }
    }

    fn base() -> Instant {
        // Tests need some instant to count from; the code under test never reads a clock.
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    #[test]
    fn an_entry_is_served_until_its_deadline_and_not_at_it() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        let deadline = start + Duration::from_secs(1);
        near.insert(Slot::FIRST, &Key::from("k"), entry("v", deadline));
        let hit = near.get(b"k", || start).unwrap();
        let (ttl, age) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!((hit.value, hit.ttl, hit.age), (Some("v".into()), ttl, age));
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
    fn it_stays_within_its_bytes() {
        let (near, start) = (Near::new(base(), 1 << 20, false, 1, 1), base());
        for number in 0..100_000 {
            near.insert(Slot::FIRST, &Key::from(format!("key:{number}")), entry("value", start));
        }
        assert!(near.bytes() <= 1 << 20, "{} bytes", near.bytes());
        assert!(near.len() > 1000);
    }

    #[test]
    fn without_bytes_it_holds_nothing() {
        let (near, start) = (Near::new(base(), 0, false, 1, 1), base());
        near.insert(Slot::FIRST, &Key::from("k"), entry("v", start + Duration::from_secs(1)));
        assert!(near.is_empty());
        assert_eq!(near.get(b"k", || start), None);
    }
}
