//! The slot map of a cluster, as one of its nodes reports it.
//!
//! A parsed topology is sound for every answer: each slot has one owner at most (the first that
//! claims it), and each owner has an address.

use std::collections::BTreeMap;

use crate::api::address::Address;
use crate::protocol::redirect::Endpoint;
use crate::protocol::refusal::Refusal;
use crate::protocol::slot::{Slot, SlotSet};
use crate::resp::{Frame, command};

/// The slot map that one node of a cluster reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) primaries: Vec<Primary>,
    /// The slots of all primaries.
    pub(crate) slots: SlotSet,
    pub(crate) info: ClusterInfo,
}

/// The part of `CLUSTER INFO` that decides whether a slot map is adopted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClusterInfo {
    /// The epoch, which rises with every change of owners; `None` if the node does not report it.
    pub(crate) epoch: Option<u64>,
    /// The number of slots that have an owner; `None` if the node does not report it.
    pub(crate) assigned: Option<usize>,
}

/// A node that owns slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) endpoint: Endpoint,
    /// The first and the last slot of each range. No two ranges overlap.
    pub(crate) slots: Vec<(Slot, Slot)>,
}

/// The command that queries the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// `CLUSTER SHARDS`, for Redis 7 and later, and Valkey.
    Shards,
    /// `CLUSTER SLOTS`, for every server.
    Slots,
}

/// An owner of slots of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotOwner {
    /// The address of the node.
    pub address: Address,
    /// The first and the last slot of each range.
    pub slots: Vec<(Slot, Slot)>,
}

/// Return the owners that a reply to `CLUSTER SLOTS` names, given the address of the node that sent
/// it; `None` if it is another reply.
///
/// # Examples
///
/// ```
/// use redcache_core::{Address, protocol, resp};
///
/// let asked = Address::Tcp { host: "10.0.0.1".to_owned(), port: 7000 };
/// let reply = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$8\r\n10.0.0.2\r\n:7001\r\n";
/// let owners = protocol::slot_owners(&resp::decode(reply)?, &asked).unwrap();
/// assert_eq!(owners[0].address.to_string(), "10.0.0.2:7001");
/// # Ok::<(), resp::DecodeError>(())
/// ```
pub fn slot_owners(reply: &Frame<'_>, asked: &Address) -> Option<Vec<SlotOwner>> {
    let topology = Question::Slots.read(reply).ok()?;
    let owners = topology.primaries.into_iter().map(|primary| SlotOwner {
        address: primary.endpoint.address(asked),
        slots: primary.slots,
    });
    Some(owners.collect())
}

/// Reason why an answer holds no topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoTopology {
    Refused(Refusal),
    Malformed(&'static str),
}

/// The largest number of primaries of a cluster.
pub(crate) const PRIMARIES_MAX: usize = 1024;
/// The largest number of claims to slots in one answer, repeated claims included.
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
            _ => return Err(NoTopology::Malformed("the answer is not a list")),
        };
        let mut claims = Claims::default();
        for entry in entries {
            match self {
                Self::Shards => read_shard(entry, &mut claims)?,
                Self::Slots => read_range(entry, &mut claims)?,
            }
        }
        Ok(claims.finish())
    }
}

impl Topology {
    /// Return whether the map leaves out slots that have an owner according to the same node.
    ///
    /// A node that was upgraded from Redis 7.0 may know the shards of some nodes only, and then
    /// `CLUSTER SHARDS` lists only those. No answer lists a node whose address is unknown.
    pub(crate) fn is_partial(&self) -> bool {
        let assigned = self.info.assigned.unwrap_or_else(|| usize::from(Slot::COUNT));
        self.slots.len() < assigned
    }
}

impl ClusterInfo {
    /// Append the command that queries the topology.
    pub(crate) fn ask(out: &mut Vec<u8>) {
        command(out, &[b"CLUSTER", b"INFO"]);
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Self {
        let Some(text) = text_of(frame).and_then(|text| std::str::from_utf8(text).ok()) else {
            return Self::default();
        };
        let number = |name| {
            let number = text.lines().find_map(|line| line.strip_prefix(name))?;
            number.trim().parse::<u64>().ok()
        };
        let assigned = number("cluster_slots_assigned:");
        Self {
            epoch: number("cluster_current_epoch:"),
            assigned: assigned.and_then(|number| usize::try_from(number).ok()),
        }
    }
}

/// Read a shard: a primary with its replicas, and their common slots.
fn read_shard(shard: &Frame<'_>, claims: &mut Claims) -> Result<(), NoTopology> {
    let Some(Frame::Array(slots)) = field(shard, b"slots") else {
        return Err(NoTopology::Malformed("a shard has no slots"));
    };
    let Some(Frame::Array(nodes)) = field(shard, b"nodes") else {
        return Err(NoTopology::Malformed("a shard has no nodes"));
    };
    let primaries = || nodes.iter().filter(|node| is(node, b"role", b"master"));
    let healthy = primaries().find(|node| is(node, b"health", b"online"));
    let Some(owner) = healthy.or_else(|| primaries().next()).and_then(shard_owner) else {
        return Ok(());
    };
    for range in slots.chunks(2) {
        let [first, last] = range else {
            return Err(NoTopology::Malformed("a range of slots has no end"));
        };
        claims.add(&owner, first, last)?;
    }
    Ok(())
}

fn shard_owner(node: &Frame<'_>) -> Option<Owner> {
    let host = field(node, b"endpoint").and_then(text_of);
    let ip = field(node, b"ip").and_then(text_of);
    Owner::new(host, ip, port(field(node, b"port")?)?)
}

/// Read a range of slots, its primary, and the primary's replicas.
fn read_range(range: &Frame<'_>, claims: &mut Claims) -> Result<(), NoTopology> {
    let Frame::Array(parts) = range else {
        return Err(NoTopology::Malformed("a range of slots is not a list"));
    };
    let [first, last, Frame::Array(primary), ..] = &parts[..] else {
        return Err(NoTopology::Malformed("a range of slots has no owner"));
    };
    let owner = match &primary[..] {
        [host @ (Frame::Bulk(_) | Frame::Simple(_) | Frame::Null), number, rest @ ..] => {
            let ip = rest.get(1).and_then(|names| field(names, b"ip")).and_then(text_of);
            port(number).and_then(|port| Owner::new(text_of(host), ip, port))
        }
        _ => None,
    };
    match owner {
        Some(owner) => claims.add(&owner, first, last),
        None => Ok(()),
    }
}

/// Return the value under a name, in a map or in the flat list that RESP2 uses instead.
fn field<'a, 'b>(frame: &'a Frame<'b>, name: &[u8]) -> Option<&'a Frame<'b>> {
    let is_name = |frame: &Frame<'_>| text_of(frame) == Some(name);
    match frame {
        Frame::Map(pairs) => pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value),
        Frame::Array(items) => {
            items.chunks_exact(2).find(|pair| is_name(&pair[0])).map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn is(node: &Frame<'_>, name: &[u8], expected: &[u8]) -> bool {
    field(node, name).and_then(text_of) == Some(expected)
}

fn text_of<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    match frame {
        Frame::Bulk(text) | Frame::Simple(text) => Some(text),
        _ => None,
    }
}

fn port(frame: &Frame<'_>) -> Option<u16> {
    match frame {
        Frame::Integer(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
        _ => None,
    }
}

/// An owner of slots, as one answer describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    endpoint: Endpoint,
    /// The node's address within the cluster, if the answer has no endpoint.
    ip: Option<String>,
}

impl Owner {
    /// Parse an owner. If the host is `?` or empty, the node has no host name, so its address is
    /// used. Without a host, clients reach the node at the host that they queried.
    fn new(host: Option<&[u8]>, ip: Option<&[u8]>, port: u16) -> Option<Self> {
        let ip = ip.and_then(|ip| Endpoint::new(ip, port)).and_then(|endpoint| endpoint.host);
        let mut endpoint = Endpoint::new(host.unwrap_or_default(), port)?;
        if host.is_some() && endpoint.host.is_none() {
            endpoint.host.clone_from(&ip);
        }
        let ip = ip.filter(|_| endpoint.host.is_none());
        Some(Self { endpoint, ip })
    }
}

/// The claims to slots that were read so far.
#[derive(Default)]
struct Claims {
    primaries: Vec<Primary>,
    places: BTreeMap<Owner, usize>,
    taken: SlotSet,
    count: usize,
}

impl Claims {
    fn add(
        &mut self,
        owner: &Owner,
        first: &Frame<'_>,
        last: &Frame<'_>,
    ) -> Result<(), NoTopology> {
        let (Some(first), Some(last)) = (slot(first), slot(last)) else {
            return Err(NoTopology::Malformed("a slot has an invalid number"));
        };
        self.count += (last.index() + 1).saturating_sub(first.index());
        if self.count > CLAIMS_MAX {
            return Err(NoTopology::Malformed("too many slots are claimed"));
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
        let place = *self.places.entry(owner.clone()).or_insert(next);
        if place == next {
            if next == PRIMARIES_MAX {
                return Err(NoTopology::Malformed(
                    "there are more primaries than a cluster can have",
                ));
            }
            self.primaries.push(Primary { endpoint: owner.endpoint.clone(), slots: Vec::new() });
        }
        self.primaries[place].slots.append(&mut runs);
        Ok(())
    }

    /// Return the map. Two nodes cannot share a port at the queried host, so such nodes are reached
    /// at their own addresses.
    fn finish(mut self) -> Topology {
        let mut at_port = BTreeMap::<u16, usize>::new();
        let without_host = self.places.keys().filter(|owner| owner.endpoint.host.is_none());
        without_host.for_each(|owner| *at_port.entry(owner.endpoint.port).or_default() += 1);
        for (Owner { endpoint, ip }, place) in self.places {
            if endpoint.host.is_none() && at_port[&endpoint.port] > 1 {
                self.primaries[place].endpoint.host = ip;
            }
        }
        Topology { primaries: self.primaries, slots: self.taken, info: ClusterInfo::default() }
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
