//! The near cache with its writer and one reader, under every schedule of the two.
//!
//! Each access to an epoch is a scheduling point. The checker tries all orders of these points, one
//! after the other on a single processor, so it cannot see how a processor reorders memory. The
//! epochs need only the order of accesses to each memory location, which every processor keeps.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::yielding::yield_to_others;
use super::{Entry, Near};
use crate::api::key::Key;
use crate::protocol::slot::{Slot, SlotSet};

/// The number of values that the writer inserts, and of lookups by the reader.
const ROUNDS: u64 = 2;
const LOOKS: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

/// A near cache and its clock. A value is the number of the round that inserted it.
struct Scene {
    near: Near,
    start: Instant,
    /// The seconds since `start`.
    clock: AtomicU64,
    /// The last value whose entry has ended.
    ended: shuttle::sync::atomic::AtomicU64,
}

impl Scene {
    fn new(keeps_stale: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let near = Near::new(start, 1 << 14, keeps_stale, 1, 1);
        Self { near, start, clock: AtomicU64::new(0), ended: 0.into() }
    }

    fn now(&self) -> Instant {
        self.start + SECOND * self.clock.load(Ordering::SeqCst) as u32
    }

    /// Insert the value of a round, valid for a second.
    fn keep(&self, round: u64) {
        let now = self.now();
        let value = Some(Bytes::copy_from_slice(&round.to_be_bytes()));
        let (deadline, learned_at, compute_time) = (now + SECOND, now, Duration::ZERO);
        let expires_at = Some(deadline);
        let entry =
            Entry { value, deadline, expires_at, learned_at, compute_time, is_published: false };
        self.near.insert(Slot::FIRST, &Key::from("k"), entry);
    }

    /// Return the value that the reader gets.
    fn look(&self, reader: Reader) -> Option<u64> {
        let hit = match reader {
            Reader::Get => self.near.get(b"k", || self.now()),
            Reader::Peek => self.near.peek(b"k", self.now()),
        };
        Some(u64::from_be_bytes(hit?.into_value()?.as_ref().try_into().unwrap()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Reader {
    Get,
    Peek,
}

/// Let the writer insert and `end` one value after another while a reader looks, and fail if the
/// reader gets a value that had ended before the lookup began.
fn check(keeps_stale: bool, end: fn(&Scene, u64)) {
    for reader in [Reader::Get, Reader::Peek] {
        let served = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&served);
        let run = move || {
            let scene = Arc::new(Scene::new(keeps_stale));
            let shared = Arc::clone(&scene);
            let writer = shuttle::thread::spawn(move || {
                for round in 1..=ROUNDS {
                    shared.keep(round);
                    yield_to_others();
                    end(&shared, round);
                    shared.ended.store(round, Ordering::SeqCst);
                }
            });
            for _ in 0..LOOKS {
                let ended = scene.ended.load(Ordering::SeqCst);
                let value = scene.look(reader);
                assert!(value.is_none_or(|value| value > ended), "{value:?} after {ended}");
                seen.lock().unwrap().extend(value);
            }
            writer.join().unwrap();
        };
        shuttle::check_dfs(run, None);
        assert!((1..=ROUNDS).all(|round| served.lock().unwrap().contains(&round)), "{reader:?}");
    }
}

#[test]
fn no_entry_is_returned_after_the_next_epoch_began() {
    check(false, |scene, _| scene.near.begin_epoch(&SlotSet::All));
}

#[test]
fn no_entry_is_returned_after_the_loss_of_its_epoch_or_after_the_next_began() {
    check(false, |scene, round| {
        scene.near.lose_epoch(&SlotSet::All);
        scene.ended.store(round, Ordering::SeqCst);
        scene.near.begin_epoch(&SlotSet::All);
    });
}

#[test]
fn no_entry_is_returned_after_its_removal() {
    check(false, |scene, _| scene.near.remove(b"k"));
    check(false, |scene, _| scene.near.on_invalidated(b"k", scene.now()));
    check(true, |scene, _| scene.near.on_invalidated(b"k", scene.now()));
    check(true, |scene, _| scene.near.on_absent(b"k", scene.now()));
}

#[test]
fn an_entry_that_expired_before_its_invalidation_is_no_hit() {
    check(true, |scene, round| {
        scene.clock.store(round, Ordering::SeqCst);
        scene.near.on_invalidated(b"k", scene.now());
    });
}

#[test]
fn no_entry_is_returned_after_its_replacement() {
    check(false, |scene, round| scene.keep(round + 1));
}

#[test]
#[should_panic(expected = "after")]
fn the_checker_finds_an_entry_that_is_returned_before_its_end() {
    check(false, |scene, round| {
        scene.ended.store(round, Ordering::SeqCst);
        scene.near.begin_epoch(&SlotSet::All);
    });
}

/// Let the writer insert a value, raise the bound, invalidate the value and raise the bound again
/// while a reader looks, and fail if a hit is said to be fresher than its invalidation.
fn check_bounds(slots: usize) {
    let run = move || {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let near = Near::new(start, 1 << 14, false, 1, slots);
        near.set_node(Slot::FIRST, Some(0));
        let deadline = start + 1000 * SECOND;
        let (learned_at, expires_at) = (start, Some(deadline));
        let (value, compute_time, is_published) = (None, Duration::ZERO, false);
        let entry = Entry { value, deadline, expires_at, learned_at, compute_time, is_published };
        near.insert(Slot::FIRST, &Key::from("k"), entry);
        let near = Arc::new(near);
        let shared = Arc::clone(&near);
        let writer = shuttle::thread::spawn(move || {
            shared.set_bound(0, Some(start + 10 * SECOND));
            shared.on_invalidated(b"k", start);
            shared.set_bound(0, Some(start + 20 * SECOND));
        });
        if let Some(hit) = near.get(b"k", || start + 30 * SECOND) {
            assert!(hit.fresh_as_of >= 20 * SECOND, "{:?}", hit.fresh_as_of);
        }
        writer.join().unwrap();
    };
    shuttle::check_dfs(run, None);
}

#[test]
fn no_hit_is_said_to_be_fresher_than_its_invalidation() {
    check_bounds(1);
    check_bounds(2);
}
