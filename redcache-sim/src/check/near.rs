//! The entries of the near caches against the server's keys and tracking table.

use redcache_core::engine::NearHit;

use crate::clock::Micros;
use crate::history::Content;
use crate::invariant::{Checked, Invariant, Violation};
use crate::state::call::{Kind, State};
use crate::state::link::{Gate, Link};
use crate::state::world::{Phase, World};

impl World {
    pub(crate) fn check_near(&mut self) -> Checked {
        for process in 0..self.processes.len() {
            let state = &self.processes[process];
            if !state.is_open && state.closing_since.is_none() {
                continue;
            }
            self.note_near_entries(process);
            self.check_audits(process)?;
            let bytes = self.processes[process].engine.near().bytes();
            Invariant::NearBytes.holds(bytes <= self.plan.near_bytes, || {
                format!("p{process} keeps {bytes} bytes near, allowed are {}", self.plan.near_bytes)
            })?;
            if bytes == 0 {
                continue;
            }
            self.tally.cover(Invariant::NearBytes);
            let now = self.time_of(process);
            for key in 0..self.keys.len() {
                let near = self.processes[process].engine.near();
                if let Some(hit) = near.peek(self.keys[key].name.as_bytes(), now) {
                    self.check_entry(process, key, &hit)?;
                }
            }
        }
        Ok(())
    }

    fn check_entry(&mut self, process: usize, key: usize, hit: &NearHit) -> Checked {
        self.note_source(process, key, hit)?;
        let Some(link) = self.source_of(process, key)? else { return Ok(()) };
        let link = &self.links[link];
        self.tally.cover(Invariant::FailClosed);
        Invariant::FailClosed.holds(link.gate == Gate::Passed && link.tracked, || {
            format!("p{process} serves key {key} from near and is not tracked")
        })?;
        self.tally.cover(Invariant::Tracked);
        let Some(client) = link.client.filter(|_| !link.will_end() && !link.will_invalidate(key))
        else {
            return Ok(());
        };
        let name = self.keys[key].name.as_bytes();
        let node = link.node.map(|node| &self.nodes[node].server);
        Invariant::Tracked.holds(node.is_some_and(|it| it.is_tracked(client, name)), || {
            format!("p{process} serves key {key} from near, and no invalidation will reach it")
        })?;
        let left = self.ttl_of(key).map(|ttl| self.server_clock.stretch(ttl));
        let kept = self.processes[process].clock.stretch(hit.ttl);
        let content = self.keys[key].content();
        match (content, hit.value()) {
            (Content::Value(payload), Some(value)) if payload == value => {}
            (Content::NotFound, None) => {}
            // The server has not yet noticed that the key has expired.
            (Content::Absent, _) if left.is_some_and(|left| left < 1000) => {}
            _ => {
                return Err(Invariant::Tracked.broken(format!(
                    "p{process} serves {:?} for key {key} from near, the server has {content:?}, \
                     and no news of that is under way",
                    hit.value()
                )));
            }
        }
        let since = self.keys[key].periods.last().map(|period| period.from);
        let known = self.processes[process].learned[key].ttl_known;
        self.tally.cover(Invariant::TtlKnown);
        let is_known = since.is_none_or(|since| since <= known);
        Invariant::TtlKnown.holds(is_known || *content == Content::Absent, || {
            format!("p{process} has not read the ttl of key {key} and serves it from near")
        })?;
        let Some(left) = left else { return Ok(()) };
        self.tally.cover(Invariant::Lifetime);
        // The clocks may have drifted apart since the start of the world.
        Invariant::Lifetime.holds(kept <= left + drift(kept + self.now) + 2_000, || {
            format!("p{process} keeps key {key} for {kept} µs, and it has {left} µs left")
        })
    }

    /// Return how much longer a read in pieces takes on a slow line.
    fn in_pieces(&self) -> Micros {
        if !self.plan.is_slow || self.plan.large_value_bytes == 0 {
            return 0;
        }
        // A value that has grown takes up to five round trips before it is read at once. The lock
        // that follows may be refused because of another value, which is read too.
        2 * 5 * 2 * self.one_way()
    }

    /// Check in a healthy world that no call waits for a key that is unlocked.
    pub(crate) fn check_wake_ups(&mut self) -> Checked {
        if !self.plan.is_healthy || self.phase > Phase::Quiesced {
            return Ok(());
        }
        // Time for an invalidation, a read, a lock, a publish, one `NOSCRIPT` and the pause between
        // reads.
        let limit = 14 * self.one_way() + 80_000;
        self.check_orphans(limit)?;
        self.check_idle_locks(limit)?;
        let limit = limit + self.in_pieces();
        for &call in &self.waiting {
            let state = &self.calls[call];
            if !matches!(state.kind, Kind::GetWith | Kind::SetWith) || state.state != State::Waiting
            {
                continue;
            }
            let process = &self.processes[state.process];
            let key = state.keys[0];
            let Some(unlocked) = self.keys[key].unlocked_since else { continue };
            // A batch loads its keys in turns, and writes queue behind earlier writes, which may
            // wait for other keys.
            if self.is_in_batch(state.process, key) || self.is_stalled(state.process, key) {
                continue;
            }
            let since = unlocked
                .max(state.started_at)
                .max(process.disrupted_at)
                .max(process.learned[key].load_until)
                .max(process.paused_until)
                .max(if state.kind.is_set() { process.learned[key].idle_since } else { 0 });
            // Nobody invalidates the keys of a moving slot; waiters poll.
            let looks_within = if self.has_moved(key) { 600_000 } else { 0 };
            Invariant::WakeUp.holds(
                self.now <= since.saturating_add(limit + looks_within),
                || {
                    format!(
                        "call {call} has waited for key {key} since {since} µs, and it is unlocked"
                    )
                },
            )?;
        }
        Ok(())
    }
}

impl World {
    /// Return the link that must invalidate a near entry; `None` if the process will learn in
    /// another way that the entry is stale.
    fn source_of(&mut self, process: usize, key: usize) -> Result<Option<usize>, Violation> {
        let state = &self.processes[process];
        let source = state.sources[key].map(|(_, link)| link);
        let Some(cluster) = &self.cluster else {
            if source.is_some() {
                return Ok(source);
            }
            return match state.links.first() {
                Some(&link) => Ok(Some(link)),
                None => Err(Invariant::FailClosed.broken(format!(
                    "p{process} serves key {key} from near and has no connection"
                ))),
            };
        };
        let (owner, version) = (cluster.owner(key), cluster.versions[key]);
        let was_owner =
            |link: &Link| link.node.is_some_and(|node| cluster.owners[key].contains(&node));
        let links = || state.links.iter().copied().filter(|&link| was_owner(&self.links[link]));
        if version > 0 {
            self.tally.cover(Invariant::OwnerKeepsNear);
        }
        let is_untold = |link: &Link| {
            link.node != Some(owner)
                && !link.knows_owner(key, version)
                && !state.map.knows_owner(key, version)
        };
        let is_excused = |link: &Link| {
            let is_live = link.gate == Gate::Passed && link.tracked;
            is_live && (link.will_end() || link.will_invalidate(key) || is_untold(link))
        };
        if links().any(|link| is_excused(&self.links[link])) {
            return Ok(None);
        }
        let of_owner = |link: &usize| self.links[*link].node == Some(owner);
        links()
            .find(|link| Some(*link) == source && of_owner(link))
            .or_else(|| links().find(of_owner))
            .map(Some)
            .ok_or_else(|| {
                Invariant::OwnerKeepsNear.broken(format!(
                "p{process} serves key {key} from near, and has no connection to n{owner}, which \
                 owns it"
            ))
            })
    }

    /// Record that a call waited for a lock of another call and was woken.
    pub(crate) fn count_wake_up(&mut self, call: usize) {
        let state = &self.calls[call];
        if !self.plan.is_healthy || state.kind != Kind::GetWith || !state.given.is_empty() {
            return;
        }
        let periods = self.keys[state.keys[0]].periods.iter().rev();
        let mut during = periods.take_while(|period| period.to_at >= state.started_at);
        if during.any(|period| period.content == Content::Lock) {
            self.tally.cover(Invariant::WakeUp);
        }
    }

    pub(crate) fn is_in_batch(&self, process: usize, key: usize) -> bool {
        self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            let is_batch =
                matches!(call.kind, Kind::GetManyWith | Kind::SetManyWith | Kind::Change);
            call.process == process && is_batch && call.keys.contains(&key)
        })
    }

    /// Return whether a batch of the process may be reloading the key.
    pub(crate) fn reloads_in_batch(&self, process: usize, key: usize) -> bool {
        self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            let reloads =
                call.kind == Kind::GetManyWith && (call.style.reload || call.is_superseded);
            call.process == process && reloads && call.keys.contains(&key)
        })
    }

    /// Check that no key stays locked for a process whose calls have all ended.
    fn check_orphans(&self, limit: Micros) -> Checked {
        for (number, key) in self.keys.iter().enumerate() {
            let Some(token) = key.raw.as_ref().and_then(|raw| self.tokens.get(raw)) else {
                continue;
            };
            let process = &self.processes[token.process];
            let learned = &process.learned[number];
            if process.life != token.life || !process.is_open || learned.waiting > 0 {
                continue;
            }
            // A closing process dials no new owner to release a lock.
            if self.cluster.is_some() && process.closing_since.is_some() {
                continue;
            }
            let since = learned.idle_since.max(process.disrupted_at).max(process.paused_until);
            let limit = limit + self.fenced_for(token);
            Invariant::Orphans.holds(self.now <= since + limit, || {
                format!(
                    "p{} keeps key {number} locked, and no call has needed it since {since} µs",
                    token.process
                )
            })?;
        }
        Ok(())
    }
}

/// Return the most that two clocks drift apart in `span`.
pub(crate) fn drift(span: Micros) -> Micros {
    span / 45
}
