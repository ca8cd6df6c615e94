//! The request of a background refresh.

use std::time::Instant;

use redcache_core::Error;
use redcache_core::engine::{Engine, LoaderId, OpId, Outcome};

use super::Request;

/// One run of a registered loader, for all keys that wait for a refresh.
#[derive(Debug)]
pub struct Refresh {
    loader: LoaderId,
}

impl Refresh {
    /// Create the request.
    pub fn new(loader: LoaderId) -> Self {
        Self { loader }
    }
}

impl Request for Refresh {
    type Output = ();
    type Error = Error;
    const NAME: &'static str = "refresh";

    fn keys(&self) -> usize {
        0
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.begin_refresh(now, self.loader)
    }

    fn convert(outcome: Outcome) -> Option<Result<(), Error>> {
        match outcome {
            Outcome::Refreshed => Some(Ok(())),
            _ => None,
        }
    }
}
