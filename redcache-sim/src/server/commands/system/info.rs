//! `INFO`: the figures that clients and tests read, in the sections of Redis.

use crate::server::call::Call;
use crate::server::instance::Server;
use crate::server::reply::{Reply, ReplyError};

type Section = (&'static str, fn(&Server) -> String);

const SECTIONS: [Section; 6] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Stats", stats),
    ("Replication", replication),
    ("Commandstats", command_stats),
];

/// The section that is returned only on request.
const ON_REQUEST: &str = "Commandstats";

pub(super) fn info(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let asked = |name: &str| (1..call.args.len()).any(|at| call.is(at, name));
    let all = asked("all") || asked("everything");
    let default = call.args.len() == 1 || asked("default");
    let wanted = SECTIONS
        .into_iter()
        .filter(|(name, _)| all || asked(name) || default && *name != ON_REQUEST);
    let text = wanted.map(|(name, write)| format!("# {name}\r\n{}", write(call.server)));
    Ok(Reply::Text(text.collect::<Vec<_>>().join("\r\n")))
}

fn server(server: &Server) -> String {
    let version = server.config.version_text();
    let mode = if server.cluster.is_some() { "cluster" } else { "standalone" };
    format!("redis_version:{version}\r\nredis_mode:{mode}\r\n")
}

fn clients(server: &Server) -> String {
    let connected = server.clients.len();
    let tracking = server.clients.values().filter(|client| client.tracking.is_some()).count();
    let limit = server.config.clients_max;
    format!(
        "connected_clients:{connected}\r\nmaxclients:{limit}\r\ntracking_clients:{tracking}\r\n"
    )
}

fn memory(server: &Server) -> String {
    let (used, max) = (server.keyspace.used_bytes(), server.config.memory_max);
    let policy = server.config.eviction.name();
    format!("used_memory:{used}\r\nmaxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n")
}

fn stats(server: &Server) -> String {
    let (expired, evicted) = (server.record.expired_keys, server.record.evicted_keys);
    let tracked = server.tracking.len();
    format!("expired_keys:{expired}\r\nevicted_keys:{evicted}\r\ntracking_total_keys:{tracked}\r\n")
}

fn replication(server: &Server) -> String {
    let role = if server.is_replica() { "slave" } else { "master" };
    format!("role:{role}\r\n")
}

fn command_stats(server: &Server) -> String {
    let lines = server.record.counts.iter().map(|(name, count)| {
        let (calls, rejected, failed) = (count.calls, count.rejected, count.failed);
        format!(
            "cmdstat_{name}:calls={calls},usec=0,usec_per_call=0.00,\
             rejected_calls={rejected},failed_calls={failed}\r\n"
        )
    });
    lines.collect()
}
