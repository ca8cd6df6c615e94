//! Who owns which slot of a cluster, as one of its nodes says.
//!
//! Whatever the answer holds, what comes of it is sound: each slot has one owner at the most (the first that claims it),
//! and every owner is a primary that can be connected to.

use std::collections::BTreeMap;

use crate::protocol::redirect::Endpoint;
use crate::protocol::reply::Refusal;
use crate::protocol::slot::{Slot, SlotSet};
use crate::resp::{Frame, command};

/// What one node of a cluster knows of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) primaries: Vec<Primary>,
    /// Rises with every change of owners; `None` when the node does not say.
    pub(crate) epoch: Option<u64>,
}

/// A node that owns slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) endpoint: Endpoint,
    /// From the first to the last of each run. No two overlap.
    pub(crate) slots: Vec<(Slot, Slot)>,
}

/// How a node is asked who owns which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Redis 7 and later, and Valkey.
    Shards,
    /// All, and all that speak like them.
    Slots,
}

/// Why there is no topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoTopology {
    Refused(Refusal),
    Malformed(&'static str),
}

/// More primaries than any cluster has.
pub(crate) const PRIMARIES_MAX: usize = 1024;
/// How many slots may be claimed in all, those that are claimed twice included.
const CLAIMS_MAX: usize = 4 * Slot::COUNT as usize;

impl Question {
    pub(crate) fn ask(self, out: &mut Vec<u8>) {
        match self {
            Self::Shards => command(out, &[b"CLUSTER", b"SHARDS"]),
            Self::Slots => command(out, &[b"CLUSTER", b"SLOTS"]),
        }
    }

    pub(crate) fn read(self, frame: &Frame<'_>) -> Result<Topology, NoTopology> {
        let entries = match frame {
            Frame::Array(entries) => entries,
            Frame::Error(text) => return Err(NoTopology::Refused(Refusal::of(text))),
            _ => return Err(NoTopology::Malformed("it is not a list")),
        };
        let mut claims = Claims::default();
        for entry in entries {
            match self {
                Self::Shards => read_shard(entry, &mut claims)?,
                Self::Slots => read_range(entry, &mut claims)?,
            }
        }
        Ok(Topology { primaries: claims.primaries, epoch: None })
    }
}

/// Asks for the number that rises with every change of owners.
pub(crate) fn ask_epoch(out: &mut Vec<u8>) {
    command(out, &[b"CLUSTER", b"INFO"]);
}

pub(crate) fn read_epoch(frame: &Frame<'_>) -> Option<u64> {
    let Frame::Bulk(text) = frame else { return None };
    let text = std::str::from_utf8(text).ok()?;
    let epoch = text.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"))?;
    epoch.trim().parse().ok()
}

/// A shard is a primary with its replicas, and the slots that they have in common.
fn read_shard(shard: &Frame<'_>, claims: &mut Claims) -> Result<(), NoTopology> {
    let Some(Frame::Array(slots)) = field(shard, b"slots") else {
        return Err(NoTopology::Malformed("a shard has no slots"));
    };
    let Some(Frame::Array(nodes)) = field(shard, b"nodes") else {
        return Err(NoTopology::Malformed("a shard has no nodes"));
    };
    let primaries = || nodes.iter().filter(|node| is(node, b"role", b"master"));
    let healthy = primaries().find(|node| is(node, b"health", b"online"));
    let Some(endpoint) = healthy.or_else(|| primaries().next()).and_then(shard_endpoint) else {
        return Ok(());
    };
    for range in slots.chunks(2) {
        let [first, last] = range else {
            return Err(NoTopology::Malformed("a range of slots has no end"));
        };
        claims.add(&endpoint, first, last)?;
    }
    Ok(())
}

fn shard_endpoint(node: &Frame<'_>) -> Option<Endpoint> {
    let port = port(field(node, b"port")?)?;
    match field(node, b"endpoint") {
        Some(Frame::Bulk(host) | Frame::Simple(host)) => Endpoint::new(host, port),
        _ => Endpoint::new(b"", port),
    }
}

/// A range of slots, its primary, and the primary's replicas.
fn read_range(range: &Frame<'_>, claims: &mut Claims) -> Result<(), NoTopology> {
    let Frame::Array(parts) = range else {
        return Err(NoTopology::Malformed("a range of slots is not a list"));
    };
    let [first, last, Frame::Array(primary), ..] = &parts[..] else {
        return Err(NoTopology::Malformed("a range of slots has no owner"));
    };
    let endpoint = match &primary[..] {
        [Frame::Bulk(host) | Frame::Simple(host), number, ..] => {
            port(number).and_then(|port| Endpoint::new(host, port))
        }
        [Frame::Null, number, ..] => port(number).and_then(|port| Endpoint::new(b"", port)),
        _ => None,
    };
    match endpoint {
        Some(endpoint) => claims.add(&endpoint, first, last),
        None => Ok(()),
    }
}

/// The value under a name, in a map or in the flat list that RESP2 has for it.
fn field<'a, 'b>(frame: &'a Frame<'b>, name: &[u8]) -> Option<&'a Frame<'b>> {
    let is_name = |frame: &Frame<'_>| matches!(frame, Frame::Bulk(text) | Frame::Simple(text) if *text == name);
    match frame {
        Frame::Map(pairs) => pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value),
        Frame::Array(items) => {
            items.chunks_exact(2).find(|pair| is_name(&pair[0])).map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn is(node: &Frame<'_>, name: &[u8], expected: &[u8]) -> bool {
    matches!(field(node, name), Some(Frame::Bulk(text) | Frame::Simple(text)) if *text == expected)
}

fn port(frame: &Frame<'_>) -> Option<u16> {
    match frame {
        Frame::Integer(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
        _ => None,
    }
}

/// Who has claimed which slots so far.
#[derive(Default)]
struct Claims {
    primaries: Vec<Primary>,
    places: BTreeMap<Endpoint, usize>,
    taken: SlotSet,
    count: usize,
}

impl Claims {
    fn add(
        &mut self,
        endpoint: &Endpoint,
        first: &Frame<'_>,
        last: &Frame<'_>,
    ) -> Result<(), NoTopology> {
        let (Some(first), Some(last)) = (slot(first), slot(last)) else {
            return Err(NoTopology::Malformed("a slot has no number of one"));
        };
        self.count += (last.index() + 1).saturating_sub(first.index());
        if self.count > CLAIMS_MAX {
            return Err(NoTopology::Malformed("slots are claimed again and again"));
        }
        let mut run: Option<(Slot, Slot)> = None;
        let mut runs = Vec::new();
        for slot in first.up_to(last) {
            if self.taken.insert(slot) {
                let start = run.map_or(slot, |(start, _)| start);
                run = Some((start, slot));
            } else {
                runs.extend(run.take());
            }
        }
        runs.extend(run);
        if runs.is_empty() {
            return Ok(());
        }
        let next = self.primaries.len();
        let place = *self.places.entry(endpoint.clone()).or_insert(next);
        if place == next {
            if next == PRIMARIES_MAX {
                return Err(NoTopology::Malformed(
                    "there are more primaries than a cluster can have",
                ));
            }
            self.primaries.push(Primary { endpoint: endpoint.clone(), slots: Vec::new() });
        }
        self.primaries[place].slots.append(&mut runs);
        Ok(())
    }
}

fn slot(frame: &Frame<'_>) -> Option<Slot> {
    match frame {
        Frame::Integer(number) => u16::try_from(*number).ok().and_then(Slot::new),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
