//! The cluster: `CLUSTER`, `ASKING`, `READONLY`, `READWRITE`.

use redcache_core::protocol::Slot;

use super::command::{ALLOW_LOADING, Command, Keys, NO_SCRIPT, Run};
use crate::server::call::Call;
use crate::server::cluster::{Cluster, Member};
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::family("cluster", SUBCOMMANDS),
    Command::new("asking", 1, 0, Keys::None, asking),
    Command::new("readonly", 1, ALLOW_LOADING, Keys::None, |call| set_reader(call, true)),
    Command::new("readwrite", 1, ALLOW_LOADING, Keys::None, |call| set_reader(call, false)),
];

const SUBCOMMANDS: &[Command] = &[
    subcommand("cluster|info", 2, info),
    subcommand("cluster|myid", 2, my_id),
    subcommand("cluster|keyslot", 3, key_slot),
    subcommand("cluster|slots", 2, slots),
    subcommand("cluster|shards", 2, shards),
    subcommand("cluster|countkeysinslot", 3, count_keys),
    subcommand("cluster|addslotsrange", -4, |call| assign(call, true)),
    subcommand("cluster|delslotsrange", -4, |call| assign(call, false)),
    subcommand("cluster|setslot", -4, set_slot),
];

const DISABLED: &str = "ERR This instance has cluster support disabled";

const fn subcommand(name: &'static str, arity: i32, run: Run) -> Command {
    Command::new(name, arity, ALLOW_LOADING | NO_SCRIPT, Keys::None, run)
}

fn cluster<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Cluster, ReplyError> {
    call.server.cluster.as_mut().ok_or_else(|| DISABLED.into())
}

fn asking(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    cluster(call)?;
    if let Some(client) = call.state() {
        client.is_asking = true;
    }
    Ok(Reply::OK)
}

fn set_reader(call: &mut Call<'_>, is_reader: bool) -> Result<Reply, ReplyError> {
    cluster(call)?;
    if let Some(client) = call.state() {
        client.is_reader = is_reader;
    }
    Ok(Reply::OK)
}

fn info(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let failing = call.server.config.failing_nodes();
    let cluster = cluster(call)?;
    let state = if cluster.is_down() { "fail" } else { "ok" };
    let (slots, size) = cluster.assigned();
    let (known, epoch) = (cluster.members().len(), cluster.epoch());
    let mine = cluster.members()[cluster.me()].epoch;
    Ok(Reply::Text(format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{slots}\r\ncluster_slots_ok:{slots}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n{failing}cluster_known_nodes:{known}\r\n\
         cluster_size:{size}\r\ncluster_current_epoch:{epoch}\r\ncluster_my_epoch:{mine}\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    )))
}

fn my_id(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let cluster = cluster(call)?;
    Ok(Reply::bulk(&cluster.members()[cluster.me()].id))
}

fn key_slot(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if !call.server.config.is_valkey() {
        cluster(call)?;
    }
    Ok(number(Slot::of(&call.args[2])))
}

fn number(slot: Slot) -> Reply {
    Reply::count(slot.index())
}

fn slots(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let cluster = cluster(call)?;
    let runs = cluster.runs().iter().map(|&(first, last, owner)| {
        let mut entry = vec![number(first), number(last), in_slots(&cluster.members()[owner])];
        let replicas = cluster.replicas_of(owner).filter(|replica| replica.is_online);
        entry.extend(replicas.map(in_slots));
        Reply::Array(entry)
    });
    Ok(Reply::Array(runs.collect()))
}

fn in_slots(member: &Member) -> Reply {
    let host = if member.host.is_empty() { Reply::Null } else { Reply::bulk(&member.host) };
    let port = Reply::Integer(i64::from(member.port));
    Reply::Array(vec![host, port, Reply::bulk(&member.id), Reply::Map(Vec::new())])
}

fn shards(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let has_ids = call.server.config.is_valkey();
    let lists_own = call.server.config.lists_own_shard;
    let cluster = cluster(call)?;
    let own = cluster.members()[cluster.me()].replica_of.unwrap_or_else(|| cluster.me());
    let members = (0..).zip(cluster.members()).filter(|(place, _)| !lists_own || *place == own);
    let primaries = members.filter(|(_, member)| member.replica_of.is_none());
    let shards = primaries.map(|(place, primary)| {
        let ranges = cluster.ranges_of(place).into_iter();
        let slots = ranges.flat_map(|(first, last)| [number(first), number(last)]);
        let mut nodes = vec![in_shards(primary)];
        nodes.extend(cluster.replicas_of(place).map(in_shards));
        let mut shard = vec![
            (Reply::bulk("slots"), Reply::Array(slots.collect())),
            (Reply::bulk("nodes"), Reply::Array(nodes)),
        ];
        if has_ids {
            // A shard has an id of its own; the model uses that of its primary.
            shard.push((Reply::bulk("id"), Reply::bulk(&primary.id)));
        }
        Reply::Map(shard)
    });
    Ok(Reply::Array(shards.collect()))
}

fn in_shards(member: &Member) -> Reply {
    let role = if member.replica_of.is_some() { "replica" } else { "master" };
    let health = if member.is_online { "online" } else { "fail" };
    Reply::named([
        ("id", Reply::bulk(&member.id)),
        ("port", Reply::Integer(i64::from(member.port))),
        ("ip", Reply::bulk(&member.host)),
        ("endpoint", Reply::bulk(&member.host)),
        ("role", Reply::bulk(role)),
        ("replication-offset", Reply::Integer(0)),
        ("health", Reply::bulk(health)),
    ])
}

fn count_keys(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    cluster(call)?;
    let slot = call.integer(2)?;
    let slot = u16::try_from(slot).ok().and_then(Slot::new).ok_or("ERR Invalid slot")?;
    Ok(Reply::count(call.server.keys_in(slot).len()))
}

/// Return argument `at` as a slot number.
fn slot_at(call: &Call<'_>, at: usize) -> Result<Slot, ReplyError> {
    let number = call.integer(at).ok().and_then(|number| u16::try_from(number).ok());
    number.and_then(Slot::new).ok_or_else(|| "ERR Invalid or out of range slot".into())
}

fn assign(call: &mut Call<'_>, adds: bool) -> Result<Reply, ReplyError> {
    cluster(call)?;
    if call.args.len() != 4 {
        return Err(ReplyError::not_modelled("several ranges of slots at once"));
    }
    let (first, last) = (slot_at(call, 2)?, slot_at(call, 3)?);
    let (from, to) = (first.index(), last.index());
    if from > to {
        return Err(ReplyError::new(format!(
            "ERR start slot number {from} is greater than end slot number {to}"
        )));
    }
    let cluster = cluster(call)?;
    for index in from..=to {
        let owner = u16::try_from(index).ok().and_then(Slot::new).and_then(|it| cluster.owner(it));
        match owner {
            Some(_) if adds => {
                return Err(ReplyError::new(format!("ERR Slot {index} is already busy")));
            }
            None if !adds => {
                return Err(ReplyError::new(format!("ERR Slot {index} is already unassigned")));
            }
            Some(_) | None => {}
        }
    }
    let owner = adds.then_some(cluster.me());
    cluster.assign_range(first, last, owner);
    Ok(Reply::OK)
}

fn set_slot(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    cluster(call)?;
    let slot = slot_at(call, 2)?;
    let (index, words) = (slot.index(), call.args.len());
    let held = call.server.keys_in(slot).len();
    let named = call.args.get(4).cloned().unwrap_or_default();
    let [migrating, importing, stable, node] =
        ["MIGRATING", "IMPORTING", "STABLE", "NODE"].map(|action| call.is(3, action));
    let view = cluster(call)?;
    let is_mine = view.owner(slot) == Some(view.me());
    let member = view.named(&named);
    let name = || String::from_utf8_lossy(&named);
    let unknown = || ReplyError::new(format!("ERR I don't know about node {}", name()));
    match (words, is_mine) {
        (4, _) if stable => {
            view.set_importing(slot, None);
            view.set_migrating(slot, None);
        }
        (5, false) if migrating => {
            return Err(ReplyError::new(format!("ERR I'm not the owner of hash slot {index}")));
        }
        (5, true) if migrating => view.set_migrating(slot, Some(member.ok_or_else(unknown)?)),
        (5, true) if importing => {
            return Err(ReplyError::new(format!("ERR I'm already the owner of hash slot {index}")));
        }
        (5, false) if importing => view.set_importing(slot, Some(member.ok_or_else(unknown)?)),
        (5, _) if node => {
            let unknown = || ReplyError::new(format!("ERR Unknown node {}", name()));
            let member = member.ok_or_else(unknown)?;
            if is_mine && member != view.me() && held > 0 {
                return Err(ReplyError::new(format!(
                    "ERR Can't assign hashslot {index} to a different node while I still hold \
                     keys for this hash slot."
                )));
            }
            if held == 0 {
                view.set_migrating(slot, None);
            }
            view.assign(slot, Some(member));
            if member == view.me() && view.importing.contains_key(&slot) {
                view.claim(slot);
            }
        }
        _ => {
            return Err("ERR Invalid CLUSTER SETSLOT action or number of arguments. \
                Try CLUSTER HELP"
                .into());
        }
    }
    Ok(Reply::OK)
}
