//! `redcache watch`: keys as they change.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::arguments::{Limits, Options};
use crate::exit::{Exit, Failure};
use crate::invalidation::{Invalidated, invalidated};
use crate::nodes::{Node, lost, open, servers};
use crate::output::{Output, printable};

/// The longest time until a thread notices that it must end.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// A change on one server.
struct Change {
    server: String,
    /// `None` for all keys.
    key: Option<String>,
}

/// Write each key with this prefix that changes, until a limit is reached or the program ends.
///
/// # Errors
///
/// Fails if a connection is refused or lost.
pub(crate) fn run(
    options: &Options,
    prefix: &str,
    limits: Limits,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (places, left_out) = servers(options)?;
    if left_out > 0 {
        let text = format!("the cluster has {left_out} primaries more than can be watched");
        return Err(Failure::new(Exit::Usage, text));
    }
    let nodes = places.iter().map(|place| {
        let mut node = open(options, place)?;
        track(&mut node, prefix)?;
        Ok(node)
    });
    let nodes = nodes.collect::<Result<Vec<_>, Failure>>()?;
    let names: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
    output.write(
        || format!("watching {}; Ctrl-C ends it", names.join(", ")),
        || json!({ "watching": names }),
    )?;
    let (changes, received) = mpsc::channel();
    thread::scope(|scope| {
        for node in nodes {
            let changes = changes.clone();
            scope.spawn(move || follow(node, &changes));
        }
        drop(changes);
        let until = limits.duration.map(|duration| Instant::now() + duration);
        let done = print(&received, (until, limits.count.unwrap_or(u64::MAX)), output);
        // The threads end soon, because their channel has no receiver.
        drop(received);
        done
    })
}

fn track(node: &mut Node, prefix: &str) -> Result<(), Failure> {
    let refused = |reason: &str| {
        let text = format!("{} does not report changes: {reason}", node.address);
        Failure::new(Exit::CommandRefused, text)
    };
    if !node.greeting.has_resp3 {
        return Err(refused("it has no RESP3"));
    }
    let mut command = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
    if !prefix.is_empty() {
        command.extend(["PREFIX", prefix]);
    }
    let reply = node.session.call(&command).map_err(|error| lost(&node.address, &error))?;
    reply.refusal().map_or(Ok(()), |reason| Err(refused(&reason)))
}

/// Send each change of one server to `changes`, until the channel has no receiver or the connection
/// ends.
fn follow(mut node: Node, changes: &Sender<Result<Option<Change>, Failure>>) {
    loop {
        let found = match node.session.next_push(Instant::now() + LOOK_AFTER) {
            Ok(None) => vec![Ok(None)],
            Ok(Some(push)) => found(&node, &push.frame()),
            Err(error) => vec![Err(lost(&node.address, &error))],
        };
        for found in found {
            let is_over = found.is_err();
            if changes.send(found).is_err() || is_over {
                return;
            }
        }
    }
}

fn found(
    node: &Node,
    push: &redcache_core::resp::Frame<'_>,
) -> Vec<Result<Option<Change>, Failure>> {
    let change = |key| Ok(Some(Change { server: node.address.to_string(), key }));
    match invalidated(push) {
        Some(Invalidated::Keys(keys)) => {
            keys.into_iter().map(|key| change(Some(printable(key)))).collect()
        }
        Some(Invalidated::All) => vec![change(None)],
        None => Vec::new(),
    }
}

fn print(
    received: &mpsc::Receiver<Result<Option<Change>, Failure>>,
    (until, mut left): (Option<Instant>, u64),
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    while left > 0 {
        let patience = until.map_or(LOOK_AFTER, |until| {
            until.saturating_duration_since(Instant::now()).min(LOOK_AFTER)
        });
        if until.is_some() && patience.is_zero() {
            break;
        }
        match received.recv_timeout(patience) {
            Ok(change) => {
                if let Some(change) = change? {
                    left -= 1;
                    write(&change, output)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(Exit::Good)
}

fn write(change: &Change, output: &mut Output<'_>) -> Result<(), Failure> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let key = change.key.as_deref();
    output.write(
        || {
            let shown = key.unwrap_or("(all keys: a database was flushed)");
            format!("{:.3} {shown}", at.as_secs_f64())
        },
        || {
            json!({
                "unix_time": at.as_secs_f64(),
                "server": change.server,
                "key": key,
                "all_keys": key.is_none(),
            })
        },
    )
}
