//! Two links of a process to one server: the commands of a key have one of them at a time, and a
//! near entry ends with the link that it came from.

use redcache_core::engine::NearHit;

use crate::invariant::{Checked, Invariant};
use crate::request::{keys, words};
use crate::state::world::World;

impl World {
    /// Check that a command goes to the link with the commands of its keys that the server has not
    /// executed. `at` is the position behind the command in the bytes that are sent.
    pub(crate) fn check_one_link(&mut self, link: usize, frame: &[u8], at: usize) -> Checked {
        if self.plan.large_value_bytes == 0 {
            return Ok(());
        }
        let keys: Vec<usize> =
            keys(&words(frame)).iter().filter_map(|name| self.key_named(name)).collect();
        let (process, node) = (self.links[link].process, self.links[link].node);
        for key in keys {
            for &other in self.processes[process].links.iter().filter(|&&other| other != link) {
                if self.links[other].node != node || self.links[other].executed == 0 {
                    continue;
                }
                self.tally.cover(Invariant::OneLink);
                let is_elsewhere = self.links[other].sent_keys.iter().any(|(_, it)| *it == key);
                Invariant::OneLink.holds(!is_elsewhere, || {
                    format!("p{process} sends a command of key {key} on link {link} beside {other}")
                })?;
            }
            let ends_at = self.links[link].up.sent + at as u64;
            self.links[link].sent_keys.push_back((ends_at, key));
        }
        Ok(())
    }

    /// Record the link that a near entry came from. Check that the process still uses it.
    pub(super) fn note_source(&mut self, process: usize, key: usize, hit: &NearHit) -> Checked {
        if self.plan.large_value_bytes == 0 {
            return Ok(());
        }
        let learned_at = self.time_of(process) - hit.age;
        let state = &mut self.processes[process];
        let known = state.sources[key].filter(|(at, _)| *at == learned_at);
        let source = known.or_else(|| state.read_last.map(|link| (learned_at, link)));
        state.sources[key] = source;
        let Some((_, link)) = source else { return Ok(()) };
        self.tally.cover(Invariant::EndsWithLink);
        Invariant::EndsWithLink.holds(state.links.contains(&link), || {
            format!("p{process} serves key {key} from near, whose link {link} has ended")
        })
    }
}
