//! The generation of a namespace that can be cleared, and the call that uses it.
//!
//! The generation is a random text under a tracked key of the namespace, and part of the name of
//! each of its keys. To clear the namespace is to write another one. A call looks the generation up
//! before it runs, so that a load that began before a clear is stored under an old name. A write
//! looks it up again when it has run: if the namespace was cleared before the write began, it
//! removes its keys under the newer names, which ends loads of older values there.
//!
//! | waiting for          | given        | then                                         |
//! |----------------------|--------------|----------------------------------------------|
//! | the generation       | a generation | the call runs                                |
//! | the generation       | none         | look up, and create one                      |
//! | the generation       | an error     | a read fails, or loads without Redis         |
//! | the generation       | an error     | a write fails, and its removal is kept       |
//! | the end of a read    |              | done                                         |
//! | the end of a write   |              | look up, no older than the start of the call |
//! | the generation again | the same     | done                                         |
//! | the generation again | none         | done: no value from before has a name        |
//! | the generation again | another      | remove the keys under it, then done          |

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::error::Error;
use crate::api::options::{CallOptions, LoadOptions};

/// The text of one generation: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation([u8; 16]);

impl Generation {
    /// Return the generation of a random number.
    pub fn of_number(number: u64) -> Self {
        let number = if mutant!(GenerationReused) { number % 2 } else { number };
        Self(std::array::from_fn(|place| {
            let digit = number >> (60 - 4 * place) & 15;
            b"0123456789abcdef"[digit as usize]
        }))
    }

    /// Return the generation that a key holds. Another program may have written anything.
    pub fn of_stored(stored: Option<&[u8]>) -> Self {
        let stored = stored.unwrap_or_default();
        <[u8; 16]>::try_from(stored).map_or_else(|_| Self::hash(stored), Self)
    }

    /// Return the digits.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn hash(stored: &[u8]) -> Self {
        // FNV-1a, because every process has to get the same.
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self::of_number(stored.iter().fold(0xcbf2_9ce4_8422_2325, hash))
    }
}

/// The generation of one namespace that a process found last in Redis.
#[derive(Debug, Default)]
pub struct LastGeneration(Mutex<Option<Generation>>);

impl LastGeneration {
    /// Record a generation that was found in Redis.
    pub fn record(&self, found: Generation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// Return a generation for a namespace without one.
    pub fn successor(&self, random: u64) -> Generation {
        match self.get() {
            Some(last) if mutant!(LostGenerationRevived) => last,
            Some(_) | None => Generation::of_number(random),
        }
    }

    fn get(&self) -> Option<Generation> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceStep {
    /// Look up the generation.
    LookUp,
    /// Run the call under this generation.
    Run(Generation),
    /// Load without Redis. The generation only names the load, so that callers share it.
    Load(Generation),
    /// Remove the keys of the write under this generation. The call is then done.
    Remove(Generation),
    /// Keep the removal of the write's keys under this generation. The call has failed then.
    Keep(Generation),
    /// The call is done.
    Done,
}

impl NamespaceStep {
    /// Return the generation under which the step runs.
    pub fn generation(self) -> Option<Generation> {
        match self {
            Self::Run(generation)
            | Self::Load(generation)
            | Self::Remove(generation)
            | Self::Keep(generation) => Some(generation),
            Self::LookUp | Self::Done => None,
        }
    }
}

/// A call on keys of a namespace that can be cleared.
#[derive(Debug, Clone)]
pub struct NamespaceCall {
    options: CallOptions,
    /// The instant at which a write began.
    write_began: Option<Instant>,
    creates: bool,
    /// If Redis cannot be reached, the call runs its loader.
    loads_direct: bool,
    used: Option<Generation>,
}

impl NamespaceCall {
    /// Return a read with the options of its caller.
    pub fn read(options: CallOptions) -> Self {
        Self { options, write_began: None, creates: true, loads_direct: false, used: None }
    }

    /// Run the loader of a read if Redis cannot be reached.
    #[must_use]
    pub fn loading_direct(mut self) -> Self {
        self.loads_direct = true;
        self
    }

    /// Return a write that begins at `now`.
    pub fn write(now: Instant) -> Self {
        let options = CallOptions::new();
        let write_began = Some(now);
        Self { options, write_began, creates: false, loads_direct: false, used: None }
    }

    /// Return the options of a lookup at `now`, after the write has run.
    pub fn repeated_lookup_options(&self, now: Instant) -> CallOptions {
        let began = self.write_began.unwrap_or(now);
        CallOptions::new().max_staleness(now.saturating_duration_since(began))
    }

    /// Return the options of a lookup before the call runs.
    #[inline]
    pub fn lookup_options(&self) -> CallOptions {
        // An old generation names keys that may have been cleared since.
        let options = if self.options.asks_near() {
            CallOptions::new()
        } else {
            CallOptions::new().skip_near()
        };
        match self.options.staleness_max() {
            Some(max) if !mutant!(GenerationUnbounded) => options.max_staleness(max),
            Some(_) | None => options,
        }
    }

    /// Return the options of a lookup that creates a generation.
    pub fn load_options(&self, ttl: Duration, options: CallOptions) -> LoadOptions {
        let load = LoadOptions::new(ttl, options);
        if self.loads_direct { load.not_direct() } else { load }
    }

    /// Return whether the next lookup creates a generation if there is none.
    pub fn creates(&self) -> bool {
        self.creates
    }

    /// Take the content of the generation's key; `None` if it has none.
    #[inline]
    pub fn on_found(&mut self, stored: Option<&[u8]>, last: &LastGeneration) -> NamespaceStep {
        let is_repeated = self.used.is_some();
        if stored.is_none() && !self.creates {
            self.creates = true;
            return if is_repeated { NamespaceStep::Done } else { NamespaceStep::LookUp };
        }
        let found = Generation::of_stored(stored);
        let found = if mutant!(GenerationUntracked) { last.get().unwrap_or(found) } else { found };
        if is_repeated && self.used != Some(found) {
            return NamespaceStep::Remove(found);
        }
        self.used = Some(found);
        if is_repeated { NamespaceStep::Done } else { NamespaceStep::Run(found) }
    }

    /// Take the failure of a lookup. Return the step after it, which reads nothing under the last
    /// known generation, because the namespace may have been cleared since. `None` fails the call.
    ///
    /// The removal of a write is kept. A kept removal also removes the keys under the generation
    /// that it finds once Redis replies, so any other would do.
    pub fn on_failed(&self, error: &Error, last: &LastGeneration) -> Option<NamespaceStep> {
        let known = self.used.or_else(|| last.get());
        let known = known.unwrap_or_else(|| Generation::of_number(0));
        if self.write_began.is_some() {
            return (!mutant!(FailedLookupForgotten)).then_some(NamespaceStep::Keep(known));
        }
        let loads = self.loads_direct && error.is_for_want_of_redis();
        loads.then_some(NamespaceStep::Load(known))
    }

    /// Return the step after the call has run.
    pub fn on_ran(&mut self) -> NamespaceStep {
        self.creates = false;
        if self.write_began.is_none() || mutant!(WriteUnconfirmed) {
            return NamespaceStep::Done;
        }
        NamespaceStep::LookUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ErrorKind;

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    fn text(number: u64) -> Generation {
        Generation::of_number(number)
    }

    fn found(call: &mut NamespaceCall, number: u64) -> NamespaceStep {
        call.on_found(Some(text(number).as_bytes()), &LastGeneration::default())
    }

    #[test]
    fn a_generation_is_its_stored_text_or_a_hash_of_anything_else() {
        let stored = Generation::of_stored(Some(b"0000000000c0ffee"));
        assert_eq!(stored, text(0xc0_ffee));
        assert_eq!(stored.as_bytes(), b"0000000000c0ffee");
        let foreign = Generation::of_stored(Some(b"anything"));
        assert_eq!(foreign, Generation::of_stored(Some(b"anything")));
        assert_ne!(foreign, Generation::of_stored(Some(b"anythinG")));
        assert_ne!(foreign, Generation::of_stored(None));
    }

    #[test]
    fn a_read_looks_the_generation_up_once_within_the_limits_of_its_caller() {
        let limit = CallOptions::new().max_staleness(Duration::from_millis(3));
        let mut read = NamespaceCall::read(limit.timeout(Duration::from_secs(1)));
        assert_eq!(read.lookup_options(), limit);
        assert!(read.creates());
        assert_eq!(found(&mut read, 1), NamespaceStep::Run(text(1)));
        assert_eq!(read.on_ran(), NamespaceStep::Done);
        let fresh = NamespaceCall::read(CallOptions::new().reload());
        assert_eq!(fresh.lookup_options(), CallOptions::new().skip_near());
    }

    #[test]
    fn a_write_is_done_if_its_generation_was_current_after_its_start() {
        let now = now();
        let later = now + Duration::from_millis(7);
        let mut write = NamespaceCall::write(now);
        assert_eq!(write.lookup_options(), CallOptions::new());
        assert_eq!(found(&mut write, 1), NamespaceStep::Run(text(1)));
        assert_eq!(write.on_ran(), NamespaceStep::LookUp);
        let limit = CallOptions::new().max_staleness(Duration::from_millis(7));
        assert_eq!(write.repeated_lookup_options(later), limit);
        assert!(!write.creates());
        assert_eq!(found(&mut write, 1), NamespaceStep::Done);
    }

    #[test]
    fn a_write_under_an_old_generation_removes_its_keys_under_the_next() {
        let mut write = NamespaceCall::write(now());
        assert_eq!(found(&mut write, 1), NamespaceStep::Run(text(1)));
        assert_eq!(write.on_ran(), NamespaceStep::LookUp);
        assert_eq!(found(&mut write, 2), NamespaceStep::Remove(text(2)));
    }

    #[test]
    fn a_write_creates_a_missing_generation_before_it_runs_and_needs_none_afterwards() {
        let mut write = NamespaceCall::write(now());
        assert!(!write.creates());
        assert_eq!(write.on_found(None, &LastGeneration::default()), NamespaceStep::LookUp);
        assert!(write.creates());
        assert_eq!(found(&mut write, 1), NamespaceStep::Run(text(1)));
        assert_eq!(write.on_ran(), NamespaceStep::LookUp);
        assert_eq!(write.on_found(None, &LastGeneration::default()), NamespaceStep::Done);
    }

    #[test]
    fn the_removal_of_a_write_that_cannot_look_up_is_kept() {
        let (last, error) = (LastGeneration::default(), Error::new(ErrorKind::Timeout, ""));
        let mut write = NamespaceCall::write(now());
        assert_eq!(write.on_failed(&error, &last), Some(NamespaceStep::Keep(text(0))));
        last.record(text(3));
        assert_eq!(write.on_failed(&error, &last), Some(NamespaceStep::Keep(text(3))));
        assert_eq!(found(&mut write, 2), NamespaceStep::Run(text(2)));
        assert_eq!(write.on_ran(), NamespaceStep::LookUp);
        assert_eq!(write.on_failed(&error, &last), Some(NamespaceStep::Keep(text(2))));
    }

    #[test]
    fn a_read_that_cannot_look_up_loads_without_redis_where_the_settings_say_so() {
        let (last, error) = (LastGeneration::default(), Error::new(ErrorKind::Timeout, ""));
        last.record(text(3));
        let read = NamespaceCall::read(CallOptions::new());
        assert_eq!(read.on_failed(&error, &last), None);
        let read = read.loading_direct();
        assert_eq!(read.on_failed(&error, &last), Some(NamespaceStep::Load(text(3))));
        assert_eq!(read.on_failed(&Error::new(ErrorKind::DeadlineExceeded, ""), &last), None);
    }
}
