//! Routing in a cluster: what each process was told, and where it sends its commands.

use crate::clock::Micros;
use crate::deque::pop_front_if;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::plan::cluster::port_of;
use crate::request::words;
use crate::state::call::Kind;
use crate::state::executed::{Executed, Verb};
use crate::state::link::Link;
use crate::state::queue::Event;
use crate::state::slot_map::{OwnersReply, TopologyReply};
use crate::state::world::World;

/// The limit of redirects per command: eight, the refusal after them, and refusals on connections
/// lost with that refusal.
const REFUSALS_MAX: u32 = 9 + 5;

/// The time after a reconnect within which waiting calls must have read their keys again.
const REREAD_WITHIN: Micros = 80_000;

impl World {
    /// Record what the reply of a node tells its process about the cluster.
    pub(crate) fn note_topology_reply(
        &mut self,
        link: usize,
        executed: &Executed,
        frame: &[u8],
        ends_at: u64,
    ) -> Checked {
        let (Some(node), Some(cluster)) = (self.links[link].node, &self.cluster) else {
            return Ok(());
        };
        let told = match (executed.verb, executed.parts.first().map(|part| part.key)) {
            (Verb::Epoch, _) if frame[0] == b'-' => TopologyReply::Epoch(None),
            (Verb::Epoch, _) => {
                TopologyReply::Epoch(self.nodes[node].server.cluster().map(|view| view.epoch()))
            }
            (Verb::Owners, _) if frame[0] == b'-' => return Ok(()),
            (Verb::Owners, _) => {
                let Some(view) = self.nodes[node].server.cluster() else { return Ok(()) };
                let lists_own = self.plan.server.lists_own_shard;
                let owners = (0..self.keys.len()).map(|key| {
                    let owner = view.owner(cluster.slots[key]);
                    let port = owner.map(|owner| view.members()[owner].port);
                    let port = port.filter(|port| *port != 0);
                    let is_true = port == Some(port_of(cluster.owner(key)));
                    (port, is_true.then_some(cluster.versions[key]))
                });
                let reply = OwnersReply::of(view, owners.collect());
                // A list of some shards is no slot map: the slots are asked for next.
                if is_list_of_shards(frame) && (reply.is_partial || lists_own) {
                    return Ok(());
                }
                TopologyReply::Owners(reply)
            }
            (_, Some(key)) if frame.starts_with(b"-MOVED ") => {
                // A command of several parts is redirected once the last is answered.
                let is_last = !matches!(executed.verb, Verb::Read | Verb::Queued);
                let version = cluster.versions[key];
                TopologyReply::Moved { key, port: port_in(frame), version, is_last }
            }
            (_, Some(key)) if frame.starts_with(b"-ASK ") => {
                TopologyReply::Ask { key, port: port_in(frame) }
            }
            _ => return Ok(()),
        };
        if matches!(told, TopologyReply::Moved { .. } | TopologyReply::Ask { .. }) {
            self.check_redirects(executed)?;
        }
        self.links[link].told.push_back((ends_at, told));
        Ok(())
    }

    /// Check that a command is not redirected forever. Only unique commands are counted.
    fn check_redirects(&mut self, executed: &Executed) -> Checked {
        self.tally.cover(Invariant::RedirectsBounded);
        let name = executed.parts.first().and_then(|part| part.words.first());
        let (Verb::Lock | Verb::Insert, Some(name)) = (executed.verb, name) else {
            return Ok(());
        };
        let count = self.redirects.entry(name.clone()).or_default();
        *count += 1;
        Invariant::RedirectsBounded.holds(*count <= REFUSALS_MAX, || {
            format!("p{} was redirected {count} times with {name:?}", executed.process)
        })
    }

    /// Record what a process is about to read on a link. Until all of it is read, the process may
    /// act on any part.
    pub(crate) fn begin_reading(&mut self, link: usize) {
        let Link { process, ref told, ref down, .. } = self.links[link];
        let routes = &mut self.processes[process].map.routes;
        for (_, told) in told.iter().take_while(|(end, _)| *end <= down.delivered) {
            match told {
                TopologyReply::Moved { port, .. } | TopologyReply::Ask { port, .. } => {
                    routes.iter_mut().for_each(|route| route.named.extend(port));
                }
                TopologyReply::Epoch(_) => {}
                TopologyReply::Owners(reply) => {
                    for (route, (port, _)) in routes.iter_mut().zip(&reply.owners) {
                        route.named.extend(port);
                    }
                }
            }
        }
    }

    /// Apply what a process has read on a link. After a hang-up the amount read is unknown.
    pub(crate) fn end_reading(&mut self, link: usize) {
        let state = &self.links[link];
        let (delivered, is_current) = (state.down.delivered, state.is_current);
        for route in &mut self.processes[state.process].map.routes {
            let named = std::mem::take(&mut route.named);
            if !is_current {
                route.owners.extend(&named);
                route.asked.extend(named);
            }
        }
        while is_current
            && let Some((_, told)) =
                pop_front_if(&mut self.links[link].told, |(end, _)| *end <= delivered)
        {
            self.learn_owners(link, told);
        }
    }

    fn learn_owners(&mut self, link: usize, told: TopologyReply) {
        let Some(cluster) = &self.cluster else { return };
        let state = &mut self.links[link];
        let map = &mut self.processes[state.process].map;
        match told {
            TopologyReply::Moved { key, port, version, is_last } => {
                let is_self = port.is_some() && port == state.node.map(port_of);
                for other in 0..cluster.slots.len() {
                    if cluster.slots[other] == cluster.slots[key] && !is_self {
                        map.routes[other].owners.extend(port);
                    }
                }
                if port.is_some() && !is_self {
                    map.on_moved(cluster.slots[key]);
                }
                if is_last {
                    state.moved.push((key, version));
                }
            }
            TopologyReply::Ask { key, port } => map.routes[key].asked.extend(port),
            TopologyReply::Epoch(epoch) => state.epoch = epoch,
            TopologyReply::Owners(reply) => {
                let epoch = state.epoch.take();
                // A slot map without any owner is rejected.
                if let Some(node) = state.node
                    && reply.named.contains(&true)
                {
                    map.hear(node, epoch, reply);
                }
            }
        }
    }

    /// Check that a command goes to the node that its process takes for the owner.
    pub(crate) fn check_route(&mut self, link: usize, frame: &[u8]) -> Checked {
        let words = words(frame);
        let at = match words.first().copied().unwrap_or_default() {
            b"EVAL" | b"EVALSHA" => 3,
            b"GET" | b"GETRANGE" | b"MGET" | b"PTTL" | b"SET" | b"DEL" | b"DELIFEQ" | b"DELEX" => 1,
            _ => usize::MAX,
        };
        let key = words.get(at).and_then(|name| self.key_named(name));
        let process = self.links[link].process;
        if let Some(key) = key {
            self.processes[process].learned[key].named_at = self.now;
        }
        let (Some(node), true) = (self.links[link].node, self.cluster.is_some()) else {
            return Ok(());
        };
        let is_asking = std::mem::take(&mut self.links[link].asking);
        if words[..] == [b"ASKING"] {
            self.links[link].asking = true;
            return Invariant::AskingFirst
                .holds(!is_asking, || format!("p{process} sends ASKING twice"));
        }
        let Some(key) = key else {
            return Invariant::AskingFirst.holds(!is_asking, || {
                format!("p{process} sends {} after ASKING", frame.escape_ascii())
            });
        };
        let (route, port) = (&self.processes[process].map.routes[key], port_of(node));
        if is_asking {
            self.tally.cover(Invariant::AskingFirst);
            return Invariant::AskingFirst
                .holds(route.asked.contains(&port) || route.named.contains(&port), || {
                    format!("p{process} sends key {key} to n{node} with ASKING and without an ASK")
                });
        }
        self.tally.cover(Invariant::ByTheMap);
        // A script whose hash was unknown is repeated on the same connection, and so is a native
        // command that was refused, as a script. A read in pieces has several exchanges there, and
        // the value is read at once if it has changed.
        let is_native = self.nodes[node].server.has_native_commands();
        let is_read = matches!(words[0], b"GET" | b"GETRANGE" | b"PTTL" | b"SET");
        let is_repeated = words[0] == b"EVAL"
            || words[0] == b"EVALSHA" && is_native
            || is_read && self.links[link].in_pieces.contains(&key);
        let is_there = route.owners.contains(&port) || route.named.contains(&port);
        Invariant::ByTheMap.holds(is_there || is_repeated, || {
            let (owners, named) = (&route.owners, &route.named);
            format!(
                "p{process} sends key {key} to port {port}; known {owners:?}, just named {named:?}"
            )
        })?;
        if words[0] == b"GETRANGE" {
            self.links[link].in_pieces.insert(key);
        }
        Ok(())
    }

    /// Check that no transmission ends with `ASKING`.
    pub(crate) fn check_asking_over(&self, link: usize) -> Checked {
        let state = &self.links[link];
        Invariant::AskingFirst
            .holds(!state.asking, || format!("p{} sends ASKING without a command", state.process))
    }

    /// Schedule a check that calls waiting for keys of this node read them again.
    pub(crate) fn expect_reread(&mut self, link: usize) {
        let state = &mut self.links[link];
        let lost = &mut self.processes[state.process].lost;
        let Some(at) = lost.iter().position(|(node, _)| *node == state.node) else { return };
        state.lost_at = lost.swap_remove(at).1;
        let within = REREAD_WITHIN + self.turns_of_suspects(link);
        self.queue.plan(self.now + within, Event::Reread(link));
    }

    /// Return the time that a call may have to wait for its turn: after a hang-up, the suspects go
    /// alone, and in turn with the others.
    fn turns_of_suspects(&self, link: usize) -> Micros {
        let process = self.links[link].process;
        let hangs_up = [Fault::HangUp, Fault::ScriptsLost];
        if !hangs_up.into_iter().any(|fault| self.plan.faults.has(fault)) {
            return 0;
        }
        let calls = self.waiting.iter().filter(|&&call| self.calls[call].process == process);
        4 * self.one_way() * Micros::try_from(calls.count()).unwrap_or(0)
    }

    /// Check that each call that waited when a connection was lost has read its key again.
    pub(crate) fn check_reread(&mut self, link: usize) -> Checked {
        let state = &self.links[link];
        let process = &self.processes[state.process];
        let lives = process.life == state.life && process.is_open;
        // All commands that a lost connection has not answered are suspects. Suspects, and commands
        // without room, wait for the replies to those before them.
        let is_mute = |link: &usize| {
            let Link { up, down, .. } = &self.links[*link];
            let held_until = up.held_until.max(down.held_until);
            up.dead || down.dead || held_until > state.lost_at
        };
        // A key may be read on the other connection to the server.
        let has_two = self.plan.large_value_bytes > 0;
        if is_mute(&link) || has_two && process.links.iter().any(is_mute) {
            return Ok(());
        }
        if !state.is_current || !lives || process.paused_until > state.lost_at {
            return Ok(());
        }
        let lost_at = state.lost_at;
        let mut waiting = self.waiting.iter().map(|&call| (call, &self.calls[call]));
        let forgotten = waiting.find(|(_, call)| {
            let key = call.keys.first().copied().unwrap_or(0);
            let learned = &process.learned[key];
            let home = self.home(key);
            let is_known = self.cluster.is_none() || process.map.is_at(key, port_of(home));
            let is_here = state.node == Some(home) && is_known;
            call.process == state.process
                && call.kind == Kind::GetWith
                && call.started_at < lost_at
                && is_here
                && learned.load_until <= lost_at
                && learned.named_at < lost_at
                && !self.is_in_batch(state.process, key)
                && !self.is_stalled(state.process, key)
        });
        let forgotten = forgotten.map(|(call, _)| call);
        self.tally.cover(Invariant::Reread);
        Invariant::Reread.holds(forgotten.is_none(), || {
            format!("call {forgotten:?} has not read again since its link was lost at {lost_at} µs")
        })
    }
}

/// Return whether a topology reply lists shards: each begins with a name, and a range of slots with
/// a number.
fn is_list_of_shards(frame: &[u8]) -> bool {
    let first = frame.split(|&byte| byte == b'\n').nth(2);
    first.is_some_and(|line| line.starts_with(b"$"))
}

/// Return the port at the end of a redirect.
fn port_in(frame: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(frame).ok()?.trim_end();
    let port = text.rsplit(':').next()?.parse().ok();
    port.filter(|port| *port != 0)
}
