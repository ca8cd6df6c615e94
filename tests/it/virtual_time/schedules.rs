//! Random schedules of changes, reads and crashes: a read that begins after a commit never returns
//! the value from before it.
//!
//! Each key caches its own row, a number that every commit increments.

use std::time::Duration;

use redcache_core::engine::{OpId, Outcome};
use redcache_core::{ConfigBuilder, Key, Loaded};
use redcache_tests::Rng;

use super::world::World;

const KEYS: [&str; 3] = ["a", "b", "c"];
const PROCESSES: usize = 3;
const TTL: Duration = Duration::from_secs(60);
const LOCK_TTL: Duration = Duration::from_millis(200);

fn settings(config: ConfigBuilder) -> ConfigBuilder {
    config.lock_ttl(LOCK_TTL).load_timeout(Duration::from_secs(5))
}

/// A change whose call has not ended.
struct Change {
    process: usize,
    op: OpId,
    keys: Vec<usize>,
    is_committing: bool,
    has_committed: bool,
}

/// A load that has read its row.
struct Load {
    process: usize,
    op: OpId,
    row: u32,
}

struct Schedule {
    seed: u64,
    rng: Rng,
    world: World,
    rows: [u32; KEYS.len()],
    changes: Vec<Change>,
    loads: Vec<Load>,
    commits: u32,
    kills: u32,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            world: World::new(PROCESSES, settings),
            rows: [0; KEYS.len()],
            changes: Vec::new(),
            loads: Vec::new(),
            commits: 0,
            kills: 0,
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        self.rng.below(count as u64) as usize
    }

    fn step(&mut self) {
        let process = self.pick(PROCESSES);
        let key = self.pick(KEYS.len());
        match self.rng.below(20) {
            0..8 => {
                let is_slow = self.rng.happens(1, 4);
                self.read(process, key, is_slow);
            }
            8..10 => self.end_load(),
            10..13 => self.change(process),
            13..16 => self.go_on(),
            16 => self.cancel(),
            17 => self.kill(process),
            _ => {
                let ms = self.rng.below(60);
                self.world.advance(Duration::from_millis(ms), |_| ());
            }
        }
        for change in &mut self.changes {
            if !change.is_committing {
                change.is_committing = self.world.take_load(change.process, change.op).is_some();
            }
        }
    }

    /// Read a key. The loader reads the row at once, and a slow one returns it later. Return `true`
    /// if there is an answer.
    fn read(&mut self, process: usize, key: usize, is_slow: bool) -> bool {
        if let Some(value) = self.world.near(process, KEYS[key]) {
            self.check(process, key, &value);
            return true;
        }
        let name = Key::from(KEYS[key]);
        let op = self.world.call(process, |engine, now| engine.get_with(now, name, TTL));
        let row = self.rows[key];
        if self.world.take_load(process, op).is_some() {
            if is_slow {
                self.loads.push(Load { process, op, row });
                return false;
            }
            self.world.loaded(process, op, Loaded::value(row.to_string()));
        }
        match self.world.outcome(process, op) {
            Some(Outcome::Answer(Ok(answer))) => {
                self.check(process, key, &answer.value.expect("rows are never missing"));
                true
            }
            Some(other) => panic!("seed {}: {other:?}", self.seed),
            None => {
                self.world.cancel(process, op);
                false
            }
        }
    }

    fn check(&self, process: usize, key: usize, value: &[u8]) {
        let row = self.rows[key].to_string();
        let (seed, name) = (self.seed, KEYS[key]);
        assert_eq!(value.escape_ascii().to_string(), row, "seed {seed}: p{process} reads {name}");
    }

    fn end_load(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let at = self.pick(self.loads.len());
        let Load { process, op, row } = self.loads.swap_remove(at);
        self.world.loaded(process, op, Loaded::value(row.to_string()));
    }

    fn change(&mut self, process: usize) {
        let first = self.pick(KEYS.len());
        let count = 1 + self.pick(KEYS.len());
        let keys: Vec<usize> = (0..count).map(|at| (first + at) % KEYS.len()).collect();
        let names = keys.iter().map(|&key| Key::from(KEYS[key])).collect();
        let op = self.world.call(process, |engine, now| engine.change(now, names));
        let change = Change { process, op, keys, is_committing: false, has_committed: false };
        self.changes.push(change);
    }

    /// Let a commit take effect, or end it.
    fn go_on(&mut self) {
        let committing = (0..self.changes.len()).filter(|&at| self.changes[at].is_committing);
        let committing: Vec<usize> = committing.collect();
        if committing.is_empty() {
            return;
        }
        let at = committing[self.pick(committing.len())];
        if !self.changes[at].has_committed && self.rng.happens(3, 4) {
            return self.commit(at);
        }
        let Change { process, op, has_committed, .. } = self.changes.swap_remove(at);
        if has_committed && self.rng.happens(3, 4) {
            self.world.load_many(process, op, Vec::new(), "");
        } else {
            self.world.fail(process, op);
        }
    }

    fn commit(&mut self, at: usize) {
        self.changes[at].has_committed = true;
        self.commits += 1;
        for &key in &self.changes[at].keys {
            self.rows[key] += 1;
        }
    }

    /// Drop the call of a change. A statement that the database has may still take effect.
    fn cancel(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        let at = self.pick(self.changes.len());
        let (process, op) = (self.changes[at].process, self.changes[at].op);
        self.world.cancel(process, op);
        self.end_late(at);
    }

    fn end_late(&mut self, at: usize) {
        let Change { is_committing, has_committed, .. } = self.changes[at];
        if is_committing && !has_committed && self.rng.happens(1, 2) {
            self.commit(at);
        }
        self.changes.swap_remove(at);
    }

    /// Kill a process, and replace it with a new one.
    fn kill(&mut self, process: usize) {
        self.kills += 1;
        self.world.restart(process);
        self.loads.retain(|load| load.process != process);
        while let Some(at) = self.changes.iter().position(|change| change.process == process) {
            self.end_late(at);
        }
    }

    /// Drop all calls. Every key is readable once the locks of killed processes have expired.
    fn finish(&mut self) {
        while !self.changes.is_empty() {
            let (process, op) = (self.changes[0].process, self.changes[0].op);
            self.world.cancel(process, op);
            self.end_late(0);
        }
        while !self.loads.is_empty() {
            self.end_load();
        }
        self.world.advance(2 * LOCK_TTL, |_| ());
        for process in 0..PROCESSES {
            for (key, name) in KEYS.iter().enumerate() {
                assert!(self.read(process, key, false), "seed {}: {name} is locked", self.seed);
            }
        }
    }
}

#[test]
fn no_schedule_of_changes_and_crashes_shows_a_value_from_before_a_commit() {
    let (mut commits, mut kills) = (0, 0);
    for seed in 0..400 {
        let mut schedule = Schedule::new(seed);
        (0..80).for_each(|_| schedule.step());
        schedule.finish();
        commits += schedule.commits;
        kills += schedule.kills;
    }
    assert!(commits > 500 && kills > 500, "{commits} commits, {kills} kills");
}
