//! `change`: after the commit, no reader sees a value from before it, wherever the process ends.

use std::time::Duration;

use redcache_core::engine::{CallError, OpId, Outcome};
use redcache_core::{ConfigBuilder, ErrorKind, Key, LOCK_PREFIX};

use super::world::World;

const TTL: Duration = Duration::from_secs(60);
const LOCK_TTL: Duration = Duration::from_millis(200);
const WRITER: usize = 0;
const READER: usize = 1;

fn short_lock(config: ConfigBuilder) -> ConfigBuilder {
    config.lock_ttl(LOCK_TTL).load_timeout(Duration::from_secs(1))
}

fn keys() -> Vec<Key> {
    vec![Key::from("a"), Key::from("b")]
}

/// A world with a database of one row, whose value both keys cache.
struct Shop {
    world: World,
    row: &'static str,
}

impl Shop {
    /// Start with the row `old`, which both processes have in their near caches.
    fn new() -> Self {
        let mut shop = Self { world: World::new(2, short_lock), row: "old" };
        for process in [READER, WRITER] {
            for key in ["a", "b"] {
                assert_eq!(shop.read(process, key), Some("old"));
            }
        }
        shop
    }

    fn change(&mut self) -> OpId {
        self.world.call(WRITER, |engine, now| engine.change(now, keys()))
    }

    /// Return whether the commit of the change is requested.
    fn begins(&mut self, change: OpId) -> bool {
        self.world.take_load(WRITER, change).is_some_and(|asked| asked == keys())
    }

    fn committed(&mut self, change: OpId) {
        self.world.load_many(WRITER, change, Vec::new(), "");
    }

    fn commit(&mut self) {
        self.row = "new";
    }

    /// Read a key, and load the row on a miss. `None` if the call waits for a lock.
    fn read(&mut self, process: usize, key: &'static str) -> Option<&'static str> {
        if let Some(value) = self.world.near(process, key) {
            return Some(text(&value));
        }
        let op = self.world.call(process, |engine, now| engine.get_with(now, Key::from(key), TTL));
        if self.world.take_load(process, op).is_some() {
            let row = self.row;
            self.world.load(process, op, row);
        }
        match self.world.outcome(process, op) {
            Some(Outcome::Answer(Ok(answer))) => Some(text(answer.value.as_deref()?)),
            Some(other) => panic!("{other:?}"),
            None => {
                self.world.cancel(process, op);
                None
            }
        }
    }

    /// Check, for longer than a lock lives, that no running process reads a value other than the
    /// row's, and that every key is readable in the end.
    fn check_reads(&mut self, processes: &[usize]) {
        let mut last = Vec::new();
        for _ in 0..LOCK_TTL.as_millis() / 5 + 20 {
            last.clear();
            for &process in processes {
                for key in ["a", "b"] {
                    let value = self.read(process, key);
                    assert!(value.is_none_or(|value| value == self.row), "{key}: {value:?}");
                    last.push(value);
                }
            }
            self.world.advance(Duration::from_millis(5), |_| ());
        }
        assert!(last.iter().all(|value| *value == Some(self.row)), "{last:?}");
    }

    fn is_locked(&self, key: &str) -> bool {
        let value = self.world.server.value(0, key.as_bytes());
        value.is_some_and(|value| value.starts_with(LOCK_PREFIX.as_bytes()))
    }

    fn ended(&mut self, change: OpId) -> Option<Result<(), CallError>> {
        let Outcome::StoredMany(results) = self.world.outcome(WRITER, change)? else { panic!() };
        Some(results.into_iter().try_for_each(|result| result.map(drop)))
    }
}

fn text(value: &[u8]) -> &'static str {
    match value {
        b"old" => "old",
        b"new" => "new",
        _ => panic!("{}", value.escape_ascii()),
    }
}

#[test]
fn a_change_fences_its_keys_from_before_the_commit_to_the_removal() {
    let mut shop = Shop::new();
    let change = shop.change();
    assert!(shop.begins(change));
    assert!(shop.is_locked("a") && shop.is_locked("b"));
    for process in [READER, WRITER] {
        assert_eq!(shop.read(process, "a"), None, "the old value is gone before the commit");
    }
    shop.commit();
    assert_eq!((shop.read(READER, "a"), shop.read(WRITER, "b")), (None, None));
    shop.committed(change);
    assert!(matches!(shop.ended(change), Some(Ok(()))));
    assert_eq!((shop.read(READER, "a"), shop.read(WRITER, "b")), (Some("new"), Some("new")));
    shop.check_reads(&[READER, WRITER]);
}

#[test]
fn a_process_that_is_killed_at_any_step_leaves_no_old_value_and_no_lock() {
    for step in 0..4 {
        let mut shop = Shop::new();
        let change = shop.change();
        assert!(shop.begins(change));
        if step == 0 {
            shop.world.kill(WRITER);
        }
        if step > 0 {
            shop.commit();
        }
        if step == 1 {
            shop.world.kill(WRITER);
        }
        if step > 1 {
            shop.committed(change);
        }
        if step == 2 {
            shop.world.kill(WRITER);
        }
        shop.check_reads(if step < 3 { &[READER] } else { &[READER, WRITER] });
    }
}

#[test]
fn a_commit_that_fails_leaves_keys_that_are_loaded_again() {
    for has_changed in [false, true] {
        let mut shop = Shop::new();
        let change = shop.change();
        assert!(shop.begins(change));
        if has_changed {
            shop.commit();
        }
        shop.world.fail(WRITER, change);
        assert!(matches!(shop.ended(change), Some(Err(CallError::Load(_)))));
        assert_eq!(shop.world.server.value(0, b"a"), None, "the old value is not restored");
        shop.check_reads(&[READER, WRITER]);
    }
}

#[test]
fn a_commit_that_is_cut_off_keeps_its_locks_until_they_expire() {
    let mut shop = Shop::new();
    let change = shop.change();
    assert!(shop.begins(change));
    shop.world.cancel(WRITER, change);
    shop.world.advance(LOCK_TTL / 2, |_| ());
    assert!(shop.is_locked("a") && shop.is_locked("b"));
    for process in [READER, WRITER] {
        assert_eq!(shop.read(process, "a"), None);
    }
    // The database executes the statement late.
    shop.commit();
    shop.check_reads(&[READER, WRITER]);
}

#[test]
fn a_change_that_is_dropped_before_its_commit_restores_the_values() {
    let mut shop = Shop::new();
    shop.world.foreign(&["SET", "b", &format!("{LOCK_PREFIX}somebody:1")]);
    let change = shop.change();
    assert!(!shop.begins(change), "a key is locked");
    shop.world.cancel(WRITER, change);
    let value = shop.world.server.value(0, b"a").unwrap();
    assert!(value.ends_with(b":old"), "{value:?}");
}

#[test]
fn a_commit_does_not_run_if_its_keys_cannot_be_locked() {
    let mut shop = Shop::new();
    shop.world.server.set_out_of_memory(true);
    let change = shop.change();
    assert!(!shop.begins(change));
    let Some(Err(CallError::Cache(error))) = shop.ended(change) else {
        panic!("it has not failed")
    };
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    assert!(!shop.is_locked("a"));
    assert_eq!(shop.read(READER, "a"), Some("old"));
}

#[test]
fn neither_the_load_timeout_nor_that_of_the_call_ends_a_commit() {
    let mut shop = Shop::new();
    let change = shop.change();
    assert!(shop.begins(change));
    shop.world.set_timeout(WRITER, change, Duration::from_millis(10));
    shop.world.advance(Duration::from_secs(3), |world| {
        for key in [b"a", b"b"] {
            let value = world.server.value(0, key).expect("the lock is renewed");
            assert!(value.starts_with(LOCK_PREFIX.as_bytes()), "{value:?}");
        }
    });
    assert!(shop.ended(change).is_none());
    shop.commit();
    shop.committed(change);
    assert!(matches!(shop.ended(change), Some(Ok(()))));
    shop.check_reads(&[READER, WRITER]);
}

#[test]
fn a_writer_that_stands_still_beyond_its_locks_removes_what_others_have_loaded() {
    let mut shop = Shop::new();
    let change = shop.change();
    assert!(shop.begins(change));
    shop.world.stop(WRITER, true);
    shop.world.advance(2 * LOCK_TTL, |_| ());
    assert_eq!(shop.read(READER, "a"), Some("old"), "the lock has expired");
    shop.commit();
    shop.world.stop(WRITER, false);
    shop.committed(change);
    assert!(matches!(shop.ended(change), Some(Ok(()))));
    shop.check_reads(&[READER, WRITER]);
}

#[test]
fn a_load_that_began_before_the_commit_is_not_stored_after_it() {
    let mut shop = Shop::new();
    shop.world.foreign(&["DEL", "a", "b"]);
    let load = shop.world.call(READER, |engine, now| engine.get_with(now, Key::from("a"), TTL));
    assert!(shop.world.take_load(READER, load).is_some());
    // The load holds the key's lock, so the change waits for it.
    let change = shop.change();
    assert!(!shop.begins(change));
    shop.world.load(READER, load, "old");
    shop.world.advance(2 * LOCK_TTL, |_| ());
    assert!(shop.begins(change));
    shop.commit();
    shop.committed(change);
    shop.check_reads(&[READER, WRITER]);
}
