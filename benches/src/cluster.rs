//! A cluster under test: its nodes, and the slots of each.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, Value, cmd, from_redis_value_ref};

use crate::Failure;

/// Number of nodes of our own cluster.
pub(crate) const NODES: usize = 3;

const SLOTS: u16 = 16384;

/// Longest time for our own nodes to become one cluster.
const FORM_WITHIN: Duration = Duration::from_secs(20);

/// One node of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) slots: RangeInclusive<u16>,
    /// Address of the primary: `host:port`.
    pub(crate) address: String,
}

/// Connect empty nodes to one cluster, each with an equal share of the slots. A node has its port
/// and the port of its cluster bus.
///
/// # Errors
///
/// Fails with the error of a node, or if the nodes do not agree in time.
pub(crate) fn form(nodes: &mut [Connection], ports: &[(u16, u16)]) -> Result<(), Failure> {
    let share = SLOTS.div_ceil(u16::try_from(nodes.len())?);
    for (node, first) in nodes.iter_mut().zip((0..SLOTS).step_by(share.into())) {
        let last = (first + share - 1).min(SLOTS - 1);
        cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last).exec(node)?;
        // Nodes with different epochs have no conflict to resolve.
        cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(first / share + 1).exec(node)?;
    }
    for (port, bus) in &ports[1..] {
        cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(port).arg(bus).exec(&mut nodes[0])?;
    }
    let known = format!("cluster_known_nodes:{}", nodes.len());
    let deadline = Instant::now() + FORM_WITHIN;
    for node in nodes {
        loop {
            let info: String = cmd("CLUSTER").arg("INFO").query(node)?;
            if info.contains("cluster_state:ok") && info.contains(&known) {
                break;
            }
            if Instant::now() > deadline {
                return Err("the nodes do not form a cluster".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Return the primaries of the cluster of a node, and their slots.
///
/// # Errors
///
/// Fails if the server is no node of a cluster.
pub(crate) fn shards(node: &mut Connection) -> Result<Vec<Shard>, Failure> {
    let reply: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query(node)?;
    reply.iter().map(|shard| shard_of(shard)).collect()
}

fn shard_of(reply: &[Value]) -> Result<Shard, Failure> {
    let [first, last, Value::Array(primary), ..] = reply else {
        return Err("CLUSTER SLOTS names no primary".into());
    };
    let [host, port, ..] = &primary[..] else {
        return Err("CLUSTER SLOTS names no address".into());
    };
    let slots = from_redis_value_ref(first)?..=from_redis_value_ref(last)?;
    let (host, port): (String, u16) = (from_redis_value_ref(host)?, from_redis_value_ref(port)?);
    Ok(Shard { slots, address: format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_of_a_shard_comes_first() {
        let node = |port| Value::Array(vec![Value::SimpleString("h".into()), Value::Int(port)]);
        let reply = [Value::Int(0), Value::Int(99), node(1), node(2)];
        let shard = Shard { slots: 0..=99, address: "h:1".to_owned() };
        assert_eq!(shard_of(&reply).unwrap(), shard);
        assert!(shard_of(&reply[..2]).is_err());
    }
}
