//! Clients that make calls while their cluster changes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use redcache_core::{Error, ErrorKind, LoadError, Loaded};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{Boom, TTL};

/// The database of the clients: the number of the last change of each key.
#[derive(Debug)]
pub(crate) struct Database {
    keys: Vec<String>,
    versions: Vec<AtomicU64>,
    loads: AtomicUsize,
}

impl Database {
    pub(crate) fn new(keys: Vec<String>) -> Self {
        let versions = keys.iter().map(|_| AtomicU64::new(1)).collect();
        Self { keys, versions, loads: AtomicUsize::new(0) }
    }

    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    pub(crate) fn change(&self, key: usize) -> u64 {
        self.versions[key].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn version(&self, key: usize) -> u64 {
        self.versions[key].load(Ordering::SeqCst)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
    pub(crate) fn load(&self, key: usize) -> Result<Loaded, Boom> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(Loaded::value(self.version(key).to_string()))
    }

    /// Return the number of loads.
    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// Read a key through a cache; return the number of the change that the answer has.
    pub(crate) fn read<C: Cache>(&self, cache: &C, key: usize) -> Result<u64, Error> {
        match cache.get_with(&self.keys[key], TTL, || self.load(key)) {
            Ok(answer) => {
                let value = answer.value.expect("every key is found");
                Ok(std::str::from_utf8(&value).unwrap().parse().unwrap())
            }
            Err(LoadError::Cache(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }
}

/// The guarantee that a client must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reliance {
    /// The client's own changes are never undone.
    OwnChanges,
    /// Servers may lose writes that they have acknowledged.
    Nothing,
}

/// Read, load, write and remove keys with each cache until `event` returns. Return all errors.
pub(crate) fn while_busy<C: Cache, T>(
    caches: &[C],
    database: &Database,
    reliance: Reliance,
    event: impl FnOnce() -> T,
) -> (T, Vec<Error>) {
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(caches)
            .map(|(number, cache)| {
                let stops = &stops;
                scope.spawn(move || Client::new(cache, database, number).work(reliance, stops))
            })
            .collect();
        // Clients stop with the event, even if it panics.
        let ends = StopsWhenDropped(&stops);
        let result = event();
        drop(ends);
        let errors = clients.into_iter().flat_map(|client| client.join().unwrap());
        (result, errors.collect())
    })
}

struct StopsWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Client<'a, C> {
    cache: &'a C,
    database: &'a Database,
    /// The last acknowledged change of each key by this client.
    changed: Vec<u64>,
    random: u64,
    errors: Vec<Error>,
}

impl<'a, C: Cache> Client<'a, C> {
    fn new(cache: &'a C, database: &'a Database, number: u64) -> Self {
        let changed = vec![0; database.keys.len()];
        Self { cache, database, changed, random: number, errors: Vec::new() }
    }

    fn work(mut self, reliance: Reliance, stops: &AtomicBool) -> Vec<Error> {
        while !stops.load(Ordering::SeqCst) {
            let key = self.below(self.database.keys.len());
            match self.below(8) {
                0 => self.remove(key),
                1 => self.replace(key),
                2 => self.touch(key),
                _ => self.read(key, reliance),
            }
        }
        self.errors
    }

    /// Return a pseudo-random number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.random >> 33) as usize % bound
    }

    fn remove(&mut self, key: usize) {
        let version = self.database.change(key);
        match self.cache.remove(&self.database.keys[key]) {
            Ok(_) => self.changed[key] = version,
            Err(error) => self.failed(error),
        }
    }

    fn replace(&mut self, key: usize) {
        let mut version = 0;
        let replaced = self.cache.insert_with(&self.database.keys[key], TTL, || {
            version = self.database.change(key);
            Ok::<_, Boom>(Loaded::value(version.to_string()))
        });
        match replaced {
            Ok(_) => self.changed[key] = version,
            Err(error) => self.failed(error),
        }
    }

    fn touch(&mut self, key: usize) {
        if let Err(error) = self.cache.touch(&self.database.keys[key], TTL) {
            self.failed(error);
        }
    }

    fn read(&mut self, key: usize, reliance: Reliance) {
        match self.database.read(self.cache, key) {
            Ok(version) => {
                let expected = self.changed[key];
                assert!(
                    version >= expected || reliance == Reliance::Nothing,
                    "{} is {version} after this client made it {expected}",
                    self.database.keys[key]
                );
            }
            Err(error) => self.errors.push(error),
        }
    }

    fn failed(&mut self, error: impl Into<Error>) {
        let error = error.into();
        match error.kind() {
            // Another client may have removed the key.
            ErrorKind::LockLost => {}
            ErrorKind::LoadFailed => panic!("{error}"),
            _ => self.errors.push(error),
        }
    }
}
