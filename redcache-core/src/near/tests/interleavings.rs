//! The near cache with its one writer and a reader beside it, in every order that the two can run in.
//!
//! Each access to an epoch is a point where the checker may let the other go on. It tries all orders of these points, one
//! after the other on a single processor: what a processor may do to the order of memory is out of its sight. The epochs
//! need no order between different places in memory, only that of each, which every processor keeps.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

/// How many values the writer keeps, and how often the reader looks.
const ROUNDS: u64 = 2;
const LOOKS: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

/// That of the standard library, with the checker's leave before each access. Outside of a check nobody else runs.
pub(in crate::near) struct AtomicU32(std::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub(in crate::near) fn new(value: u32) -> Self {
        Self(value.into())
    }

    pub(in crate::near) fn load(&self, order: Ordering) -> u32 {
        let_others_run();
        self.0.load(order)
    }

    pub(in crate::near) fn store(&self, value: u32, order: Ordering) {
        let_others_run();
        self.0.store(value, order);
    }

    pub(in crate::near) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        let_others_run();
        self.0.fetch_or(value, order)
    }
}

fn let_others_run() {
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::yield_now();
    }
}

/// A near cache and what surrounds it. A value is the number of the round in which it was kept.
struct Scene {
    near: Near,
    start: Instant,
    /// How many seconds have passed.
    clock: AtomicU64,
    /// The values up to this one have ended.
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

    /// Keeps the value of a round, to be served for a second.
    fn keep(&self, round: u64) {
        let now = self.now();
        let value = Some(Bytes::copy_from_slice(&round.to_be_bytes()));
        let (deadline, learned_at, compute_time) = (now + SECOND, now, Duration::ZERO);
        let entry = Entry { value, deadline, learned_at, compute_time, is_published: false };
        self.near.insert(Slot::FIRST, &Key::from("k"), entry);
    }

    /// Gives the value that a reader is served.
    fn look(&self, reader: Reader) -> Option<u64> {
        let hit = match reader {
            Reader::Get => self.near.get(b"k", || self.now()),
            Reader::Peek => self.near.peek(b"k", self.now()),
        };
        Some(u64::from_be_bytes(hit?.value?.as_ref().try_into().unwrap()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Reader {
    Get,
    Peek,
}

/// Lets the writer keep a value and `end` it, again and again, while a reader looks, and fails when the reader is served
/// a value that had ended when it began to look.
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
                    let_others_run();
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
        // Or nothing was tried.
        assert!((1..=ROUNDS).all(|round| served.lock().unwrap().contains(&round)), "{reader:?}");
    }
}

#[test]
fn nothing_is_served_of_an_epoch_after_the_next_began() {
    check(false, |scene, _| scene.near.begin_epoch(&SlotSet::All));
}

#[test]
fn nothing_is_served_of_an_epoch_after_its_loss_nor_after_the_next_began() {
    check(false, |scene, round| {
        scene.near.lose_epoch(&SlotSet::All);
        scene.ended.store(round, Ordering::SeqCst);
        scene.near.begin_epoch(&SlotSet::All);
    });
}

#[test]
fn nothing_is_served_after_its_removal() {
    check(false, |scene, _| scene.near.remove(b"k"));
    check(false, |scene, _| scene.near.on_reported(b"k", scene.now()));
    check(true, |scene, _| scene.near.on_reported(b"k", scene.now()));
    check(true, |scene, _| scene.near.on_absent(b"k", scene.now()));
}

#[test]
fn a_report_after_the_deadline_keeps_a_copy_that_is_served_no_more() {
    check(true, |scene, round| {
        scene.clock.store(round, Ordering::SeqCst);
        scene.near.on_reported(b"k", scene.now());
    });
}

#[test]
fn nothing_is_served_after_it_was_replaced() {
    check(false, |scene, round| scene.keep(round + 1));
}

#[test]
#[should_panic(expected = "after")]
fn the_checker_finds_what_is_served_while_the_writer_is_about_to_end_it() {
    check(false, |scene, round| {
        scene.ended.store(round, Ordering::SeqCst);
        scene.near.begin_epoch(&SlotSet::All);
    });
}
