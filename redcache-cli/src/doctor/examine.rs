//! The examination of servers: it sends commands and collects facts.

use std::io;
use std::time::{Duration, Instant};

use redcache_core::Servers;
use redcache_core::resp::Frame;

use super::commands::{CLUSTER_PROBES, KEY, PROBES, Probe, TTL_MS, is_harmless};
use super::facts::{Facts, Kind, Latency, Memory, NodeFacts, Tracking, Tried};
use crate::arguments::Options;
use crate::exit::{Exit, Failure};
use crate::invalidation::is_invalidated;
use crate::nodes::{self, Node, Place, connect_cache, open, servers};
use crate::probe_key;
use crate::session::Session;

/// The number of `PING` for the latency.
const PINGS: usize = 20;

/// Examine the servers of the URL, with keys that begin with `prefix`.
///
/// # Errors
///
/// Fails if the operating system has no randomness for the names of the keys.
pub(super) fn examine(options: &Options, prefix: &str) -> Result<Facts, Failure> {
    let scratch = probe_key::scratch(prefix, "doctor")?;
    let config = &options.config;
    let cache = connect_cache(options).map(|(cache, _)| cache.close());
    let found = match &cache {
        Ok(()) => servers(options),
        Err(refused) => Err(refused.clone()),
    };
    let kind = match config.servers() {
        Servers::Cluster { .. } => Kind::Cluster,
        Servers::Sentinel { .. } => Kind::Sentinel,
        _ => Kind::One,
    };
    let (cache, places, left_out) = match found {
        Ok((places, left_out)) => (Ok(()), places, left_out),
        Err(refused) => (Err(refused), Vec::new(), 0),
    };
    Ok(Facts {
        servers: config.servers().to_string(),
        kind,
        has_tls: config.tls().is_some(),
        cache,
        nodes: places.iter().map(|place| node(options, place, &scratch)).collect(),
        left_out,
    })
}

fn node(options: &Options, place: &Place, scratch: &str) -> NodeFacts {
    let mut facts = NodeFacts {
        address: place.address.to_string(),
        greeting: Err(Failure { exit: Exit::Unreachable, text: String::new() }),
        commands: Vec::new(),
        tracking: Tracking::NotProbed("the server was not reached".to_owned()),
        latency: None,
        memory: None,
    };
    let mut node = match open(options, place) {
        Ok(node) => node,
        Err(failure) => {
            facts.greeting = Err(failure);
            return facts;
        }
    };
    facts.greeting = Ok(node.greeting.clone());
    if let Err(error) = fill(options, place, (&mut node, scratch), &mut facts) {
        facts.greeting = Err(nodes::lost(&place.address, &error));
    }
    facts
}

fn fill(
    options: &Options,
    place: &Place,
    (node, scratch): (&mut Node, &str),
    facts: &mut NodeFacts,
) -> io::Result<()> {
    let key = probe_key::key_of(scratch, node.owner.as_ref());
    let key = key.ok_or_else(|| io::Error::other("no key of the probe has a slot of this node"))?;
    facts.latency = latency(&mut node.session)?;
    facts.memory = memory(&mut node.session)?;
    let of_cluster = if node.owner.is_some() { CLUSTER_PROBES } else { &[] };
    for probe in PROBES.iter().chain(of_cluster) {
        facts.commands.push(tried(&mut node.session, probe, &key)?);
    }
    facts.tracking = tracking(options, place, node, &key)?;
    Ok(())
}

fn latency(session: &mut Session) -> io::Result<Option<Latency>> {
    let mut samples = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begun = Instant::now();
        session.call(&["PING"])?;
        samples.push(begun.elapsed());
    }
    Ok(Latency::of(samples))
}

fn memory(session: &mut Session) -> io::Result<Option<Memory>> {
    let mut setting = |name: &str| -> io::Result<Option<String>> {
        let reply = session.call(&["CONFIG", "GET", name])?;
        Ok(match reply.frame() {
            Frame::Map(pairs) => pairs.into_iter().find_map(|(_, value)| text(&value)),
            Frame::Array(items) => items.get(1).and_then(text),
            _ => None,
        })
    };
    let limit = setting("maxmemory")?.and_then(|limit| limit.parse().ok());
    let policy = setting("maxmemory-policy")?;
    Ok(limit.zip(policy).map(|(limit, policy)| Memory { limit, policy }))
}

fn text(frame: &Frame<'_>) -> Option<String> {
    match frame {
        Frame::Bulk(text) => Some(crate::output::printable(text)),
        _ => None,
    }
}

fn tried(session: &mut Session, probe: &Probe, key: &str) -> io::Result<Tried> {
    let words: Vec<&str> =
        probe.words.iter().map(|&word| if word == KEY { key } else { word }).collect();
    let refusal = session.call(&words)?.refusal().filter(|refusal| !is_harmless(refusal));
    Ok(Tried { name: probe.name, need: probe.need, refusal })
}

/// Read a key under tracking, change it from another connection, and wait for the invalidation.
fn tracking(options: &Options, place: &Place, node: &mut Node, key: &str) -> io::Result<Tracking> {
    if !node.greeting.has_resp3 {
        return Ok(Tracking::NoResp3);
    }
    if let Some(refusal) = node.session.call(&["CLIENT", "TRACKING", "ON"])?.refusal() {
        return Ok(Tracking::Refused(refusal));
    }
    let mut other = match open(options, place) {
        Ok(other) => other.session,
        Err(failure) => return Ok(Tracking::NotProbed(failure.text)),
    };
    let set = ["SET", key, "redcache doctor", "PX", TTL_MS];
    if let Some(refusal) = other.call(&set)?.refusal() {
        return Ok(Tracking::NotProbed(refusal));
    }
    node.session.call(&["GET", key])?;
    let changed_at = Instant::now();
    other.call(&["SET", key, "redcache doctor, changed", "PX", TTL_MS])?;
    let after = invalidated(&mut node.session, key, changed_at + options.timeout)?;
    other.call(&["DEL", key])?;
    Ok(after.map_or(Tracking::Silent, |at| Tracking::Invalidated(at - changed_at)))
}

/// Wait for the invalidation of a key. Return its time; `None` if there was none.
fn invalidated(session: &mut Session, key: &str, until: Instant) -> io::Result<Option<Instant>> {
    while let Some(push) = session.next_push(until)? {
        if is_invalidated(&push.frame(), key.as_bytes()) {
            return Ok(Some(Instant::now()));
        }
        if until.saturating_duration_since(Instant::now()) == Duration::ZERO {
            break;
        }
    }
    Ok(None)
}
