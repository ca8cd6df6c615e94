//! Replication and failover, with loss of what the replica has not received.

use crate::clock::Micros;
use crate::deque::pop_front_if;
use crate::fault::Fault;
use crate::invariant::Checked;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    /// Promote the replica of a shard. Changes that have not reached it are lost if `loses`.
    pub(crate) fn promote(&mut self, shard: usize, loses: bool) -> Checked {
        self.end_moves()?;
        if !loses {
            self.replicate(shard, Micros::MAX)?;
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let state = &mut cluster.shards[shard];
        if !state.under_way.is_empty() {
            self.tally.fault(Fault::WritesLost);
        }
        state.under_way.clear();
        state.lacks_primary = false;
        std::mem::swap(&mut state.primary, &mut state.replica);
        let (new, old) = (state.primary, state.replica);
        cluster.view.member_mut(new).replica_of = None;
        cluster.view.member_mut(old).replica_of = Some(new);
        let held: Vec<usize> =
            (0..cluster.slots.len()).filter(|&it| cluster.owner(it) == old).collect();
        for (first, last) in cluster.view.ranges_of(old) {
            cluster.view.assign_range(first, last, Some(new));
        }
        cluster.raise_epoch(new);
        cluster.note_new_owner(&held);
        self.trace.line(self.now, || format!("n{new} takes over from n{old}"));
        self.update_views(&[old, new]);
        if loses {
            self.nodes[old].server.drop_all();
            self.forgive_lost_writes(&held);
        }
        for key in 0..self.keys.len() {
            self.copy_key(key, new, old);
            let sent = self.nodes[new].server.copy_of(self.keys[key].name.as_bytes());
            if let Some(cluster) = &mut self.cluster {
                cluster.shards[shard].sent[key] = sent;
            }
        }
        self.check_nodes(&[old, new])
    }

    /// Forget the lost writes of these keys: lost deletions supersede no load, and the value that a
    /// restored lock had replaced is unknown.
    fn forgive_lost_writes(&mut self, keys: &[usize]) {
        for &key in keys {
            let raw = self.raw_of(key);
            if raw == self.keys[key].raw {
                continue;
            }
            self.keys[key].overwritten = 0;
            self.keys[key].committed = 0;
            if let Some(token) = raw.and_then(|raw| self.tokens.get_mut(&raw)) {
                token.came_back = true;
                token.write = None;
            }
        }
    }

    /// Kill the primary of a shard; its replica takes over later.
    pub(crate) fn kill_primary(&mut self, shard: usize) -> Checked {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        if cluster.shards[shard].lacks_primary {
            return Ok(());
        }
        cluster.shards[shard].lacks_primary = true;
        let primary = cluster.shards[shard].primary;
        let at = self.server_clock.at(self.now);
        let promoted_at = self.now + self.fault_rng.below(300_000);
        self.nodes[primary].server.restart(at, true);
        self.replace_server(primary);
        self.nodes[primary].refused_until = promoted_at + self.fault_rng.below(200_000);
        self.trace.line(self.now, || format!("n{primary} dies"));
        self.queue.plan(promoted_at, Event::Promote(shard));
        self.check_nodes(&[primary])
    }

    /// Promote the replica of a shard whose primary has died.
    pub(crate) fn promote_replica_if_due(&mut self, shard: usize) -> Checked {
        let lacks_primary = self.cluster.as_ref().is_some_and(|it| it.shards[shard].lacks_primary);
        if lacks_primary { self.promote(shard, true) } else { Ok(()) }
    }

    /// Send new changes of the primaries to their replicas.
    pub(crate) fn note_changes(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        for (number, shard) in cluster.shards.iter_mut().enumerate() {
            for (key, model) in self.keys.iter().enumerate() {
                let copy = self.nodes[shard.primary].server.copy_of(model.name.as_bytes());
                if shard.sent[key] != copy {
                    shard.sent[key].clone_from(&copy);
                    let at = self.now + cluster.lag;
                    shard.under_way.push_back((at, key, copy));
                    self.queue.plan(at, Event::Replicate(number));
                }
            }
        }
    }

    /// Apply the changes that have reached the replica of a shard.
    pub(crate) fn replicate(&mut self, shard: usize, now: Micros) -> Checked {
        loop {
            let Some(cluster) = &mut self.cluster else { return Ok(()) };
            let state = &mut cluster.shards[shard];
            // Changes that a dead primary has not sent are lost.
            let is_over = state.lacks_primary && now != Micros::MAX;
            let Some((_, key, copy)) =
                pop_front_if(&mut state.under_way, |(at, ..)| *at <= now && !is_over)
            else {
                return Ok(());
            };
            let replica = state.replica;
            let name = self.keys[key].name.clone();
            self.nodes[replica].server.put_copy(name.as_bytes(), copy);
            self.apply_server_events(replica, None)?;
        }
    }
}
