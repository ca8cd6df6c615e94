//! The check of the locks that the fleet leaves in the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redcache_core::resp::{self, Frame};
use redcache_tests::Raw;

use crate::database;
use crate::limits::{LOAD_TIMEOUT, LOCK_TTL};
use crate::tally::Tally;

const LOCK_PREFIX: &str = "__redcache:lock:";
const REFRESH_LOCK_PREFIX: &str = "__redcache:refresh:";

/// The longest life of a lock that its holder renews: the load timeout and one more TTL.
const HELD_MAX: Duration = LOAD_TIMEOUT.saturating_add(LOCK_TTL).saturating_add(LOCK_TTL);

/// The script that returns the TTL and the token of a lock, or an empty string.
const LOOK: &str = "local value = redis.call('GET', KEYS[1]) \
    if not value or string.sub(value, 1, #ARGV[1]) ~= ARGV[1] then return '' end \
    return redis.call('PTTL', KEYS[1]) .. ' ' .. value";

pub(crate) struct Watch {
    address: SocketAddr,
    tally: Arc<Tally>,
    stops: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(address: SocketAddr, tally: &Arc<Tally>) -> Self {
        let (stops, stopped) = mpsc::channel::<()>();
        let watching = Arc::clone(tally);
        let thread = thread::spawn(move || {
            let mut held = BTreeMap::new();
            while stopped.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout)
            {
                // An error of a connection that the disturber has killed is ignored.
                let _ = Raw::try_connect(address)
                    .and_then(|mut raw| look(&mut raw, &mut held, &watching));
            }
        });
        Self { address, tally: Arc::clone(tally), stops, thread }
    }

    /// Wait for the TTL of a lock, and report the locks that are left. The fleet has been closed.
    pub(crate) fn stop(self) {
        drop(self.stops);
        self.thread.join().expect("the watch reports");
        thread::sleep(LOCK_TTL);
        let mut raw = Raw::connect(self.address);
        for key in database::keys() {
            let value = raw.get(&key);
            let refresh_lock = format!("{REFRESH_LOCK_PREFIX}{{{key}}}");
            if value.is_some_and(|value| value.starts_with(LOCK_PREFIX.as_bytes())) {
                self.tally.violation("lock left", key);
            } else if raw.get(&refresh_lock).is_some() {
                self.tally.violation("lock left", refresh_lock);
            }
        }
    }
}

/// Check every lock once. `held` has the token of each lock and the time when it was first seen.
fn look(
    raw: &mut Raw,
    held: &mut BTreeMap<String, (Vec<u8>, Instant)>,
    tally: &Tally,
) -> std::io::Result<()> {
    for key in database::keys() {
        let reply = raw.try_call(&["EVAL", LOOK, "1", &key, LOCK_PREFIX])?;
        let Ok(Frame::Bulk(reply)) = resp::decode(&reply) else { continue };
        let reply = String::from_utf8_lossy(reply).into_owned();
        let Some((left, token)) = reply.split_once(' ') else {
            held.remove(&key);
            continue;
        };
        tally.count("locks", "seen");
        let is_within = left.parse().is_ok_and(|left: u128| left <= LOCK_TTL.as_millis());
        if !is_within {
            tally.violation("lock beyond its ttl", format!("`{key}` lives for {left} ms"));
        }
        let token = token.as_bytes();
        let (known, since) =
            held.entry(key.clone()).or_insert_with(|| (token.to_vec(), Instant::now()));
        if known != token {
            (*known, *since) = (token.to_vec(), Instant::now());
        } else if since.elapsed() > HELD_MAX {
            tally.violation("lock beyond its load", format!("`{key}` for {:?}", since.elapsed()));
            *since = Instant::now();
        }
    }
    Ok(())
}
