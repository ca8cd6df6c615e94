//! A fork of the process, which shares the sockets of the cache and has none of its threads.

use std::fs;
use std::pin::pin;
use std::process;
use std::task::{Context, Poll, Waker};

use fork::Fork;

use crate::adapter::Adapter;
use crate::outcome::Outcome;

/// Read a key in a fork, and return the text of the error.
pub(crate) fn read(cache: &impl Adapter, key: &str) -> Outcome {
    let path = std::env::temp_dir().join(format!("redcache-fork-{}", process::id()));
    match fork::fork() {
        Ok(Fork::Child) => {
            let mut context = Context::from_waker(Waker::noop());
            let text = match pin!(cache.get(key)).poll(&mut context) {
                Poll::Ready(result) => {
                    result.map_or_else(|error| error.to_string(), |_| "read".into())
                }
                Poll::Pending => "the call waits".to_owned(),
            };
            process::exit(i32::from(fs::write(path, text).is_err()));
        }
        Ok(Fork::Parent(fork)) => {
            let ended = fork::waitpid(fork);
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Without a text, there may be no file.
            let _ = fs::remove_file(path);
            Outcome::ok(if ended.is_ok_and(|status| status == 0) { text } else { String::new() })
        }
        Err(error) => Outcome::ok(error.to_string()),
    }
}
