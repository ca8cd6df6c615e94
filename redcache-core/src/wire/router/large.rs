//! The large link: a second connection of a node, for large values, so that the replies to small
//! reads do not wait behind them.
//!
//! Each key has one link at a time. Its commands go to the other link only once none of them is
//! unanswered on the first, so the commands of a key are executed and answered in the order in
//! which they were sent, as on a single connection. A key changes to the large link once a large
//! value of it was read or is to be written, and back once its value was small.
//!
//! ```text
//!  large value      the link is ready, and no other        the commands on the
//!  of a key         command waits for the ordinary link    ordinary link are answered
//!  ────────▶ known ─────────────────────────────▶ switching ────────▶ assigned
//!              ▲                                                          │
//!              └─────────── the link is lost, or idle ◀───────────────────┤
//!  forgotten ◀──────────── small value, and all commands are answered ◀───┘
//! ```
//!
//! The large link lives within the ordinary one: it is dialed while the ordinary one is ready, and
//! ends with it. While it cannot be used, every command goes to the ordinary link. The near entry
//! of a key comes from the key's link: when the key changes its link, or the link is lost, the
//! entry ends.

use std::time::Instant;

use super::context::earliest;
use super::effects::Effects;
use super::large_keys::{Grouped, KeyState, LargeKeys};
use super::link::Link;
use super::waiting::Waiting;
use crate::api::config::Config;
use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;
use crate::wire::issued::Issued;
use crate::wire::pieces::Pieces;

/// The time without commands after which the link is closed, in heartbeat intervals.
const IDLE_HEARTBEATS: u32 = 6;

#[derive(Debug)]
pub(super) struct LargeLink {
    pub(super) link: Link,
    keys: LargeKeys,
    /// Commands that wait for room, or for keys that are switching.
    waiting: Waiting,
    /// Assigned keys with unanswered commands on the ordinary link. No command leaves `waiting`
    /// before these are answered.
    switching: Vec<Key>,
    /// Keys whose near entries may have come from this link, which no longer serves them.
    untracked: Vec<Key>,
    backoff: Backoff,
    /// A command of a large value was sent on the ordinary link while this one was not ready.
    is_wanted: bool,
    ready_since: Option<Instant>,
    /// The server tracks the keys that this link reads.
    is_tracked: bool,
    used_at: Instant,
}

/// The way of a command on the large link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carriage {
    /// The length of the key's last value, if it was large.
    value: Option<usize>,
}

impl Carriage {
    /// Have a read of a large value ask for pieces.
    pub(super) fn prepare(self, issued: &mut Issued) {
        let reads = matches!(issued.command, Command::Read { .. } | Command::ReadOrLock { .. });
        issued.pieces = self.value.filter(|_| reads).map(|length| Box::new(Pieces::new(length)));
    }
}

/// The remains of a large link that is lost.
#[derive(Debug)]
pub(super) struct LostLarge {
    /// The keys whose near entries may have come from the link.
    pub(super) untracked: Vec<Key>,
    /// The unanswered commands, oldest first.
    pub(super) unanswered: Vec<Issued>,
    /// The commands that were not sent.
    pub(super) unsent: Vec<Issued>,
}

impl LargeLink {
    /// Create a link that is not dialed yet. It pauses between attempts like `backoff`.
    pub(super) fn new(now: Instant, mut backoff: Backoff) -> Self {
        backoff.reset();
        Self {
            link: Link::Down { dial_at: now },
            keys: LargeKeys::new(),
            waiting: Waiting::default(),
            switching: Vec::new(),
            untracked: Vec::new(),
            backoff,
            is_wanted: false,
            ready_since: None,
            is_tracked: false,
            used_at: now,
        }
    }

    /// Record that a value of the key is large, and has this length.
    pub(super) fn mark(&mut self, key: Grouped<'_>, length: usize) {
        self.is_wanted = true;
        let Self { link, keys, waiting, untracked, .. } = self;
        untracked.extend(keys.insert(key, length, |key| has(link, waiting, key)));
    }

    /// Record that a value of the key is small.
    pub(super) fn unmark(&mut self, key: Grouped<'_>) {
        self.keys.on_small(key);
    }

    /// Return how a command of the key goes to this link; `None` if it goes to the `ordinary` one.
    /// `is_open` is `true` if keys may change to this link now.
    pub(super) fn takes(
        &mut self,
        now: Instant,
        (grouped, releases): (Grouped<'_>, bool),
        (ordinary, is_open): (&Link, bool),
    ) -> Option<Carriage> {
        let key = grouped.key;
        let KeyState { large, is_assigned } = self.keys.get(grouped)?;
        let carriage = Carriage { value: large };
        if is_assigned {
            let is_used = has(&self.link, &self.waiting, key) && !mutant!(LargeKeyLeavesEarly);
            if large.is_none() && !is_used {
                self.keys.remove(grouped);
                if !mutant!(LargeKeyForgotten) {
                    self.untracked.push(key.clone());
                }
                return None;
            }
            self.used_at = now;
            // A lock is released behind the commands that may have taken it.
            return (!releases || !self.switching.contains(key)).then_some(carriage);
        }
        if large.is_none() {
            self.keys.remove(grouped);
            return None;
        }
        self.is_wanted = true;
        let is_busy = ordinary.open().is_some_and(|(_, conn)| conn.awaits(key));
        if !is_open || !self.link.is_ready() || is_busy && releases {
            return None;
        }
        self.keys.assign(grouped);
        // Its near entry comes from the ordinary link.
        self.untracked.push(key.clone());
        // A key that has left while it was switching is still there.
        let is_switching = self.switching.contains(key);
        if is_busy && !is_switching && !mutant!(LargeKeyEntersEarly) {
            self.switching.push(key.clone());
        }
        self.used_at = now;
        Some(carriage)
    }

    /// Send a command, or let it wait.
    pub(super) fn send(&mut self, now: Instant, issued: Issued, locks: &LockSettings, max: usize) {
        let passes = self.switching.is_empty() || issued.command.releases_lock();
        let passes = passes && self.has_room(max) && self.waiting.lets_pass(&issued);
        match self.link.ready_mut() {
            Some(conn) if passes => conn.send(now, issued, locks),
            Some(_) | None => self.waiting.push(issued),
        }
    }

    fn has_room(&self, max: usize) -> bool {
        self.link.open().is_some_and(|(_, conn)| conn.unanswered() < max)
    }

    /// Return whether no command waits for the link, and no key has left it unreported.
    pub(super) fn is_at_rest(&self) -> bool {
        self.waiting.is_at_rest() && self.untracked.is_empty()
    }

    /// Remove the next command that waits, if the link has room for it.
    pub(super) fn next_waiting(&mut self, max: usize) -> Option<Issued> {
        if !self.switching.is_empty() || !self.has_room(max) {
            return None;
        }
        let conn = self.link.ready_mut()?;
        self.waiting.pop(conn.awaited())
    }

    /// Record that the ordinary link has answered a command of the key.
    pub(super) fn on_ordinary_answer(&mut self, key: &Key, ordinary: &Link) {
        if let Some(place) = self.switching.iter().position(|switching| switching == key)
            && !ordinary.open().is_some_and(|(_, conn)| conn.awaits(key))
        {
            self.switching.swap_remove(place);
        }
    }

    pub(super) fn on_ready(&mut self, now: Instant, is_tracked: bool, rng: &mut Rng) {
        self.is_tracked = is_tracked;
        self.ready_since = Some(now);
        self.used_at = now;
        if let Some((_, conn)) = self.link.open_mut() {
            conn.on_logged_in(now, true, rng);
        }
    }

    /// Return whether the commands of the key go to this link.
    pub(super) fn is_assigned(&mut self, key: Grouped<'_>) -> bool {
        self.keys.get(key).is_some_and(|state| state.is_assigned)
    }

    /// Return whether the server tracks the key of a reply of this link.
    pub(super) fn tracks(&mut self, key: Grouped<'_>) -> bool {
        self.is_assigned(key) && self.is_tracked
    }

    /// Return the keys whose near entries may come from this link.
    pub(super) fn tracked_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.assigned()
    }

    /// Take the keys that have left the link.
    pub(super) fn take_untracked(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.untracked)
    }

    /// Give the connection up, or the attempt to connect.
    pub(super) fn on_disconnect(&mut self, now: Instant, rng: &mut Rng) -> LostLarge {
        if let Some(since) = self.ready_since.take() {
            self.backoff.on_lost(now.saturating_duration_since(since), true);
        }
        let dial_at = now + self.backoff.pause(rng);
        let (unanswered, _) = self.link.on_disconnect(dial_at);
        self.waiting.on_disconnect();
        self.switching.clear();
        self.is_wanted = false;
        let mut untracked = self.keys.unassign_all();
        untracked.append(&mut self.untracked);
        LostLarge { untracked, unanswered, unsent: self.waiting.take().collect() }
    }

    /// Return whether the link is to be dialed if it is not connected.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Return whether every command that was sent is answered.
    pub(super) fn is_answered(&self) -> bool {
        self.link.open().is_none_or(|(_, conn)| conn.unanswered() == 0)
    }

    /// Return the number of commands that wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.link.open().map_or(0, |(_, conn)| conn.awaited()) + self.waiting.len()
    }

    /// Remove a command that waits and was issued at `limit` or before.
    pub(super) fn pop_until(&mut self, limit: Instant) -> Option<Issued> {
        self.waiting.pop_until(limit)
    }

    /// Return the instant at which the link is closed if it is not used before.
    pub(super) fn idle_at(&self, config: &Config) -> Option<Instant> {
        let is_idle = self.link.is_ready() && self.in_flight() == 0;
        is_idle.then(|| self.used_at + IDLE_HEARTBEATS * config.heartbeat_interval)
    }

    /// Record that near entries that came from the link are still hits.
    pub(super) fn on_used(&mut self, now: Instant) {
        self.used_at = now;
    }

    /// Return the instant at which every entry that came from the link was known to be current;
    /// `None` if there is no such entry.
    pub(super) fn fresh_as_of(&self) -> Option<Instant> {
        let (_, conn) =
            self.link.open().filter(|_| self.keys.has_assigned() && !mutant!(LargeBoundIgnored))?;
        conn.fresh_as_of().max(self.ready_since)
    }

    /// Return the earliest deadline. `dials` is `true` if the link may be dialed.
    pub(super) fn poll_timeout(&self, dials: bool, config: &Config) -> Option<Instant> {
        let waiting = self.waiting.first_at().map(|issued_at| issued_at + config.command_timeout);
        let link = self.link.poll_timeout(dials && self.is_wanted, config);
        earliest(earliest(link, waiting), self.idle_at(config))
    }

    /// Hang up. Return the unanswered and the waiting commands.
    pub(super) fn hang_up(mut self, effects: &mut Effects) -> impl Iterator<Item = Issued> {
        self.link.hang_up(effects).into_iter().chain(self.waiting.take())
    }
}

/// Return whether a command of the key is unanswered on the link, or waits for it.
fn has(link: &Link, waiting: &Waiting, key: &Key) -> bool {
    link.open().is_some_and(|(_, conn)| conn.awaits(key)) || waiting.has(key)
}
