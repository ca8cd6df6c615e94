//! Faults that are planned with random numbers of their own, so that a seed without them gives the
//! same world as before they existed.

use std::time::Duration;

use redcache_core::Key;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::rng::Rng;

/// The time for which two nodes redirect to each other, if that is long.
pub(crate) const LONG_LOOP: Micros = 8_000_000;

/// The number of crashes that are added to a run with mostly changes.
const CRASHES: u64 = 20;

impl Plan {
    /// Add one of these faults to some worlds with a single server.
    pub(super) fn add_own(&mut self, seed: u64) {
        let is_taken = self.is_undisturbed || self.is_slow || self.faults.has(Fault::HangUp);
        if self.cluster.is_some() || is_taken {
            return;
        }
        let mut rng = Rng::new(seed ^ 0x6f77_6e20_6661_756c);
        let untracked = [Fault::NoTracking, Fault::NoProto, Fault::HelloHangUp];
        let is_tracked = !untracked.into_iter().any(|fault| self.faults.has(fault));
        let loses_hello = u64::from(!self.is_healthy && is_tracked);
        let fault = rng.weighted(&[
            (40, None),
            (4 * loses_hello, Some(Fault::HelloLost)),
            (3, Some(Fault::ForeignOversized)),
            (4, Some(Fault::Unread)),
        ]);
        let Some(fault) = fault else { return };
        self.faults.add(fault);
        let count = rng.between(1, 4);
        let times = (0..count).map(|_| (rng.below(self.disturbed), fault));
        self.injections.extend(times);
        self.injections.sort_by_key(|(at, _)| *at);
        if fault == Fault::Unread {
            self.limit_unanswered(&mut rng);
        }
    }

    /// Have a single server hang up at scripts for a while in some worlds.
    pub(super) fn add_script_hang_ups(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x6e6f_2073_6372_6970);
        let is_taken = self.is_undisturbed || self.is_slow || self.faults.has(Fault::HangUp);
        if self.cluster.is_some() || is_taken || self.only_unread || !rng.chance(50) {
            return;
        }
        self.faults.add(Fault::ScriptsLost);
        self.injections.push((rng.below(self.disturbed / 2), Fault::ScriptsLost));
        self.injections.sort_by_key(|(at, _)| *at);
        self.is_healthy = false;
    }

    /// Forbid `CLIENT CACHING` in some worlds with a single server, and have it sent often.
    pub(super) fn forbid_untracking(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x6f70_7465_6420_6f75);
        let is_taken = self.is_slow || self.only_unread || self.faults.has(Fault::HangUp);
        if self.cluster.is_some() || self.refresh.is_some() || is_taken || !rng.chance(40) {
            return;
        }
        self.faults.add(Fault::UntrackingForbidden);
        self.server.forbidden.insert("client|caching".to_owned());
        // Batches of several reads whose values are not kept go untracked.
        self.near_bytes = 0;
        for name in [&b"k"[..], b"user:{1}", b"__redcache:lock:key", b""].map(Key::from) {
            if self.keys.len() < 4 && !self.keys.contains(&name) {
                self.keys.push(name);
            }
        }
    }

    /// Have some loading calls not polled for a while in some worlds.
    pub(super) fn add_stalls(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x7374_616c_6c65_6421);
        if self.is_undisturbed || self.is_slow || !rng.chance(60) {
            return;
        }
        self.faults.add(Fault::LoaderNotPolled);
        // Each of the callers may have to pass a load on.
        self.callers = self.callers.clamp(2, 3);
        self.times.load = Duration::from_secs(2);
    }

    /// Have two nodes of a cluster redirect to each other in some worlds, after all other faults:
    /// for more than eight redirects, whose pauses grow.
    pub(super) fn prolong_redirects(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x6c6f_6f70_7320_6c6f);
        if self.cluster.is_none() || self.is_healthy || self.only_hangs_up || !rng.chance(20) {
            return;
        }
        self.faults.add(Fault::MovedLoop);
        self.redirects_for_long = true;
        self.injections.push((self.disturbed, Fault::MovedLoop));
        self.disturbed += LONG_LOOP;
        self.times.command = Duration::from_micros(LONG_LOOP);
        self.callers = self.callers.min(2);
        self.think = self.think.max(20_000);
    }

    /// Limit the unanswered bytes of a connection, and give it more commands than fit.
    fn limit_unanswered(&mut self, rng: &mut Rng) {
        self.unanswered_max = Some(rng.between(300, 1_500));
        self.callers = 6;
        self.think = 4_000;
        self.only_unread = self.is_healthy;
        self.is_healthy = false;
        if self.only_unread {
            // Commands wait for others, and the server is late, for handshakes too.
            self.times.command = Duration::from_secs(1);
            self.times.load = Duration::from_secs(2);
            self.times.connect = Duration::from_secs(1);
            (self.latency, self.jitter) = (self.latency.min(1_000), self.jitter.min(1_000));
        }
    }

    /// Make some values large.
    pub(crate) fn add_large_values(&mut self, seed: u64) {
        let mut rng = Rng::new(seed ^ 0x6c61_7267_6576_616c);
        // Values have 5 bytes or more, and "not found" has 20.
        self.large_value_bytes = rng.pick(&[1, 6, 16, 24]);
        // A read in pieces takes several round trips, and another one if its key changes.
        let round_trips = Duration::from_micros(16 * (self.latency + self.jitter));
        self.times.command = self.times.command.max(round_trips);
        // The checks of stale values know one connection only.
        (self.stale_if_error, self.stale_while_revalidate) = (Duration::ZERO, Duration::ZERO);
    }

    /// Make most calls changes, and crash processes at many moments of the run.
    pub(crate) fn change_and_crash(&mut self, seed: u64) {
        if self.is_undisturbed || self.is_slow || self.only_hangs_up {
            return;
        }
        self.changes = 850;
        self.faults.add(Fault::Crash);
        let mut rng = Rng::new(seed ^ 0x6372_6173_6865_7321);
        let crashes = (0..CRASHES).map(|_| (rng.below(self.disturbed), Fault::Crash));
        self.injections.extend(crashes);
        self.injections.sort_by_key(|(at, _)| *at);
    }
}
