//! Commands of a fleet after the deletion of a key that every client has and reads again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use redcache_sim::listen::EmbeddedServer;
use redcache_tokio::Cache;

use crate::Failure;
use crate::runtime::{Runtime as _, Tokio};

/// Number of clients of the fleet, each with its own connection and near cache.
pub const CLIENTS: usize = 20;

const KEY: &str = "key";

const TTL: Duration = Duration::from_secs(600);

/// Duration of the loader, long enough for every client to wait for it.
const LOADER: Duration = Duration::from_millis(50);

/// Longest time for the invalidation to reach every client.
const SPREAD_WITHIN: Duration = Duration::from_secs(5);

/// Commands that the clients sent after the deletion.
#[derive(Clone, Copy, Debug)]
pub struct Deleted {
    /// Reads of the key.
    pub reads: usize,
    /// Attempts to take its lock.
    pub locks: usize,
    /// Scripts: the publication of the loaded value.
    pub scripts: usize,
}

/// Delete a key in every near cache, read it from all clients at once and count their commands.
///
/// # Errors
///
/// Fails if a client fails.
pub fn one_deleted_key() -> Result<Deleted, Failure> {
    Tokio::block_on(run())?
}

async fn run() -> Result<Deleted, Failure> {
    let server = EmbeddedServer::start()?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(redcache_tokio::connect(server.url().as_str()).await?);
    }
    for client in &clients {
        read(client).await?;
    }
    clients[0].remove(KEY).await?;
    let deadline = Instant::now() + SPREAD_WITHIN;
    while clients.iter().any(|client| client.stats().near_entries > 0) {
        if Instant::now() > deadline {
            return Err("a client did not hear of the deletion".into());
        }
        tokio::task::yield_now().await;
    }
    let before = sent(&server);
    let readers: Vec<_> = clients
        .iter()
        .cloned()
        .map(|client| Tokio::spawn(async move { read(&client).await }))
        .collect();
    for reader in readers {
        reader.await??;
    }
    let after = sent(&server);
    let count =
        |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    Ok(Deleted {
        reads: count("GET"),
        locks: count("SET"),
        scripts: count("EVALSHA") + count("EVAL"),
    })
}

async fn read(client: &Cache) -> Result<(), Failure> {
    let load = || async {
        Tokio::sleep(LOADER).await;
        Ok::<_, Infallible>("value")
    };
    client.get_with(KEY, TTL, load).await?;
    Ok(())
}

/// Count the commands of all clients by name. The log has room for all of them.
fn sent(server: &EmbeddedServer) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    server.with(|server| {
        for command in server.log() {
            if let Some(name) = command.args.first() {
                let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                *counts.entry(name).or_insert(0) += 1;
            }
        }
    });
    counts
}
